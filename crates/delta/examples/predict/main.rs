//! Measures reference prediction: `predict OLD NEW [--plain-match] [--no-predict]`.
//!
//! Finds covers, codes the differences with and without prediction, proves the round trip, and
//! prints what the streams come to.

mod matcher;
mod streams;

use std::time::Instant;

use fluvial_delta::predict::{Cover, Predictor, labels, neutral};
use fluvial_delta::structure::Extent;
use streams::{Streams, sizes, varint, zigzag};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        arguments.iter().find_map(|argument| argument.strip_prefix(name)).and_then(|value| value.parse().ok())
    };
    let old = std::fs::read(&arguments[0]).expect("old");
    let new = std::fs::read(&arguments[1]).expect("new");
    let mut costs = matcher::Costs::default();
    for (name, cost) in [
        ("--equal=", &mut costs.equal),
        ("--unequal=", &mut costs.unequal),
        ("--again=", &mut costs.unequal_again),
        ("--literal=", &mut costs.literal),
        ("--switch=", &mut costs.switch),
        ("--min=", &mut costs.match_min),
    ] {
        if let Some(value) = value(name) {
            *cost = value;
        }
    }
    let files = |bytes: &[u8]| vec![Extent { offset: 0, len: bytes.len() as u64 }];
    let (old_files, new_files) =
        if flag("--no-predict") { (vec![], vec![]) } else { (files(&old), files(&new)) };
    let clock = Instant::now();
    let mut covers = if flag("--plain-match") {
        matcher::covers(&old, &new, costs)
    } else {
        matcher::covers(&neutral(&old), &neutral(&new), costs)
    };
    println!("match: {} covers, {:.1} s", covers.len(), clock.elapsed().as_secs_f64());
    let mut differences;
    let mut passes = value("--passes=").unwrap_or(2);
    loop {
        let clock = Instant::now();
        let mut predictor = Predictor::new(&covers, &old, &old_files, &new_files).expect("covers");
        differences = encode(&mut predictor, &covers, &new);
        println!("encode: {:.2} s {:?}", clock.elapsed().as_secs_f64(), predictor.tally());
        passes -= 1;
        if passes == 0 {
            break;
        }
        let clock = Instant::now();
        let labelled = predictor.labels(0, 0).expect("labels");
        drop(predictor);
        covers = matcher::covers(&labelled, &labels(&new), costs);
        println!("match: {} covers, {:.1} s", covers.len(), clock.elapsed().as_secs_f64());
    }

    let clock = processor_seconds();
    let mut predictor = Predictor::new(&covers, &old, &old_files, &new_files).expect("covers");
    let mut again = differences.clone();
    let mut at = 0;
    for (index, cover) in covers.iter().enumerate() {
        predictor.literal(at as u64, &again[at..cover.new as usize]);
        let mut done = 0;
        loop {
            let len = predictor.step_len(index, done);
            if len == 0 {
                break;
            }
            let from = (cover.new + done) as usize;
            predictor.decode(index, done, &mut again[from..from + len as usize]).expect("decode");
            done += len;
        }
        at = (cover.new + cover.len) as usize;
    }
    assert!(again == new, "round trip");
    let seconds = processor_seconds() - clock;
    println!("decode: {seconds:.2} CPU s, {:.0} MB/s", new.len() as f64 / 1e6 / seconds);

    let streams = split(&covers, &differences);
    let mut total = (0, 0);
    for (name, bytes) in &streams.named {
        let (zstd, xz) = sizes(bytes);
        println!("{name:>10} {:>9} raw {zstd:>8} zstd {xz:>8} xz", bytes.len());
        total = (total.0 + zstd, total.1 + xz);
    }
    println!("{:>10} {:>9}     {:>8} zstd {:>8} xz", "total", "", total.0, total.1);
    if flag("--residue") {
        residue(&new, &covers, &differences);
    }
}

/// Time on the processor so far; other programs do not count.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    nanoseconds / 1e9
}

fn encode(predictor: &mut Predictor<'_>, covers: &[Cover], new: &[u8]) -> Vec<u8> {
    let mut differences = new.to_vec();
    let mut at = 0;
    for (index, cover) in covers.iter().enumerate() {
        predictor.literal(at as u64, &new[at..cover.new as usize]);
        let mut done = 0;
        loop {
            let len = predictor.step_len(index, done);
            if len == 0 {
                break;
            }
            let from = (cover.new + done) as usize;
            predictor.encode(index, done, &mut differences[from..from + len as usize]).expect("encode");
            done += len;
        }
        at = (cover.new + cover.len) as usize;
    }
    differences
}

/// Where the unequal bytes are, by section of the new file.
fn residue(new: &[u8], covers: &[Cover], differences: &[u8]) {
    use object::{Object, ObjectSection};
    let Ok(file) = object::File::parse(new) else { return };
    let mut sections: Vec<(u64, u64, String)> = file
        .sections()
        .filter_map(|section| {
            let (offset, len) = section.file_range()?;
            Some((offset, offset + len, section.name().unwrap_or("?").to_owned()))
        })
        .filter(|section| section.1 > section.0)
        .collect();
    sections.sort();
    let mut kinds = std::collections::BTreeMap::<&str, [u64; 4]>::new();
    let name = |position: u64| {
        let index = sections.partition_point(|section| section.0 <= position);
        index
            .checked_sub(1)
            .filter(|&index| position < sections[index].1)
            .map_or("", |index| &sections[index].2)
    };
    for section in &sections {
        kinds.entry(&section.2).or_default()[0] += section.1 - section.0;
    }
    let mut at = 0;
    for cover in covers {
        for position in at..cover.new {
            kinds.entry(name(position)).or_default()[2] += 1;
        }
        for position in cover.new..cover.new + cover.len {
            if differences[position as usize] != 0 {
                kinds.entry(name(position)).or_default()[1] += 1;
            }
        }
        kinds.entry(name(cover.new)).or_default()[3] += 1;
        at = cover.new + cover.len;
    }
    for (name, [bytes, unequal, literals, covers]) in kinds {
        if unequal + literals + covers > 200 {
            println!(
                "{name:>24} {bytes:>9} bytes, unequal {unequal:>7} literals {literals:>7} covers {covers:>7}"
            );
        }
    }
}

/// Diagonals that are remembered.
const RANKS: usize = 64;

fn split(covers: &[Cover], differences: &[u8]) -> Streams {
    let (mut lens, mut gaps, mut moves) = (Vec::new(), Vec::new(), Vec::new());
    let (mut runs, mut unequal, mut literals) = (Vec::new(), Vec::new(), Vec::new());
    let (mut at, mut from) = (0_u64, 0_u64);
    let mut run = 0_u64;
    let mut recent: Vec<i64> = Vec::new();
    let mut seen = [0_u32; 4];
    let (mut ranks, mut far) = (Vec::new(), Vec::new());
    let mut near = 0;
    for cover in covers {
        let diagonal = cover.old.wrapping_sub(cover.new) as i64;
        let rank = recent.iter().position(|&known| known == diagonal);
        seen[match rank {
            Some(0..2) => 0,
            Some(2..16) => 1,
            Some(_) => 2,
            None => 3,
        }] += 1;
        #[expect(clippy::single_match_else, reason = "two cases of equal weight")]
        match rank {
            Some(rank) => {
                ranks.push(rank as u8);
                recent.remove(rank);
            }
            None => {
                let closest =
                    recent.iter().take(RANKS).enumerate().min_by_key(|(_, known)| (*known - diagonal).abs());
                let (index, known) = closest.map_or((0, 0), |(i, k)| (i, *k));
                let delta = diagonal - known;
                if delta.abs() < 1 << 12 {
                    near += 1;
                    ranks.push(100 + index as u8);
                    varint(&mut far, zigzag(delta));
                } else {
                    ranks.push(255);
                    varint(&mut far, cover.old);
                }
                recent.truncate(RANKS - 1);
            }
        }
        recent.insert(0, diagonal);
        varint(&mut gaps, cover.new - at);
        varint(&mut lens, cover.len);
        varint(&mut moves, zigzag(cover.old.wrapping_sub(from).wrapping_sub(cover.new - at) as i64));
        literals.extend_from_slice(&differences[at as usize..cover.new as usize]);
        for &byte in &differences[cover.new as usize..(cover.new + cover.len) as usize] {
            if byte == 0 {
                run += 1;
            } else {
                varint(&mut runs, run);
                unequal.push(byte);
                run = 0;
            }
        }
        at = cover.new + cover.len;
        from = cover.old + cover.len;
    }
    literals.extend_from_slice(&differences[at as usize..]);
    println!(
        "ranks 0-1, 2-15, 16.., none: {seen:?} near {near}; ranks {:?} far {:?}",
        sizes(&ranks),
        sizes(&far)
    );
    Streams {
        named: vec![
            ("gaps", gaps),
            ("lens", lens),
            ("moves", moves),
            ("runs", runs),
            ("unequal", unequal),
            ("literals", literals),
        ],
    }
}
