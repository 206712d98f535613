//! scratch driver
use fluvial_codec::reparse::*;
use std::time::Instant;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let packed = std::fs::read(&a[1]).unwrap();
    let n = |i: usize, d: u32| a.get(i).and_then(|s| s.parse().ok()).unwrap_or(d);
    let t = Instant::now();
    let parsed = parse_stream(&packed, 1 << 32).unwrap();
    let t1 = t.elapsed();
    // strategy wlog clog hlog slog mm tl since jobbytes overlap fine
    let search = Search { strategy: n(2,5) as u8, window_log: n(3,22) as u8, chain_log: n(4,20) as u8, hash_log: n(5,21) as u8, search_log: n(6,4) as u8, min_match: n(7,5) as u8, target_length: n(8,16) as u16, traits: Traits::from_bits(n(9,0x41) as u16).unwrap() };
    let recipe = Reparse { search, job_bytes: n(10, 1<<24), overlap_bytes: n(11, 1<<20) };
    let t = Instant::now();
    let c = correct(&parsed, recipe).unwrap();
    let t2 = t.elapsed();
    let t = Instant::now();
    let ok = prove(&packed[..parsed.packed_len], &parsed.plain, recipe, &c);
    println!("{} packed {} plain {} corrections {} ({:.3}%) parse {:?} correct {:?} prove {:?} {:?}", a[1], parsed.packed_len, parsed.plain.len(), c.len(), c.len() as f64*100.0/parsed.packed_len as f64, t1, t2, t.elapsed(), ok);
}
