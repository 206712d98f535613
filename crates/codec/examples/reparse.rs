//! scratch driver
use fluvial_codec::reparse::*;
use std::time::Instant;
fn prove(packed: &[u8], plain: &[u8], recipe: Reparse, corrections: &[u8]) -> bool {
    let mut out = Vec::new();
    let mut p = StreamPacker::new(recipe, plain.len() as u64, corrections);
    p.write(plain, &mut out).is_ok() && p.finish(&mut out).is_ok() && out == packed
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let packed = std::fs::read(&a[1]).unwrap();
    let plain = zstd::decode_all(&packed[..]).unwrap();
    let n = |i: usize, d: u32| a.get(i).and_then(|s| s.parse().ok()).unwrap_or(d);
    let t = Instant::now();
    let (recipe, c) = if a.len() > 2 {
        let search = Search {
            strategy: n(2, 5) as u8,
            window_log: n(3, 22) as u8,
            chain_log: n(4, 20) as u8,
            hash_log: n(5, 21) as u8,
            search_log: n(6, 4) as u8,
            min_match: n(7, 5) as u8,
            target_length: n(8, 16) as u16,
            traits: Traits::from_bits(n(9, 0x41) as u16).unwrap(),
        };
        let recipe = Reparse { search, job_bytes: n(10, 1 << 24), overlap_bytes: n(11, 1 << 20) };
        (recipe, correct(&packed, &plain, recipe, usize::MAX).unwrap().unwrap())
    } else {
        match fit(&packed, &plain, &[], &mut |_| true) {
            Ok(f) => (f.recipe, f.corrections),
            Err(e) => {
                println!("{} {:?}", a[1], e);
                return;
            }
        }
    };
    let t2 = t.elapsed();
    let t = Instant::now();
    let ok = prove(&packed, &plain, recipe, &c);
    println!(
        "{} packed {} plain {} corrections {} ({:.3}%) analyze {:.2}s pack {:.2}s {} {} mem {}K",
        a[1].rsplit('/').next().unwrap(),
        packed.len(),
        plain.len(),
        c.len(),
        c.len() as f64 * 100.0 / packed.len() as f64,
        t2.as_secs_f64(),
        t.elapsed().as_secs_f64(),
        ok,
        recipe,
        recipe.pack_memory_bytes(plain.len() as u64) >> 10
    );
}
