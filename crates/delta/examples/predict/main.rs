//! Measures reference prediction: `predict OLD NEW [--plain-match] [--no-predict]`.
//!
//! Finds covers, codes the differences with and without prediction, proves the round trip, and
//! prints what the streams come to.

mod matcher;
mod streams;

use std::time::Instant;

use fluvial_delta::predict::{Cover, Predictor, neutral};
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
    let clock = Instant::now();
    let covers = if flag("--plain-match") {
        matcher::covers(&old, &new, costs)
    } else {
        matcher::covers(&neutral(&old), &neutral(&new), costs)
    };
    println!("match: {} covers, {:.1} s", covers.len(), clock.elapsed().as_secs_f64());

    let files = |bytes: &[u8]| vec![Extent { offset: 0, len: bytes.len() as u64 }];
    let (old_files, new_files) = if flag("--no-predict") { (vec![], vec![]) } else { (files(&old), files(&new)) };
    let clock = Instant::now();
    let mut predictor = Predictor::new(&covers, &old, &old_files, &new_files).expect("covers");
    let mut differences = new.clone();
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
    let tally = predictor.tally();
    println!("encode: {:.2} s {tally:?}", clock.elapsed().as_secs_f64());

    let clock = Instant::now();
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
    let seconds = clock.elapsed().as_secs_f64();
    println!("decode: {seconds:.2} s, {:.0} MB/s", new.len() as f64 / 1e6 / seconds);

    let streams = split(&covers, &differences);
    let mut total = (0, 0);
    for (name, bytes) in &streams.named {
        let (zstd, xz) = sizes(bytes);
        println!("{name:>10} {:>9} raw {zstd:>8} zstd {xz:>8} xz", bytes.len());
        total = (total.0 + zstd, total.1 + xz);
    }
    println!("{:>10} {:>9}     {:>8} zstd {:>8} xz", "total", "", total.0, total.1);
    if flag("--residue") {
        residue(&old, &covers, &differences);
    }
}

/// Where the unequal bytes are, by section of the new file: unequal bytes, literals.
fn residue(_old: &[u8], covers: &[Cover], differences: &[u8]) {
    let mut kinds = std::collections::BTreeMap::<u64, (u64, u64, u64)>::new();
    let mut at = 0;
    for cover in covers {
        for position in at..cover.new {
            kinds.entry(position >> 18).or_default().1 += 1;
        }
        for position in cover.new..cover.new + cover.len {
            let entry = kinds.entry(position >> 18).or_default();
            entry.0 += u64::from(differences[position as usize] != 0);
        }
        kinds.entry(cover.new >> 18).or_default().2 += 1;
        at = cover.new + cover.len;
    }
    for (block, (unequal, literals, covers)) in kinds {
        println!("{:#10x} unequal {unequal:>7} literals {literals:>7} covers {covers:>7}", block << 18);
    }
}

fn split(covers: &[Cover], differences: &[u8]) -> Streams {
    let (mut lens, mut gaps, mut moves) = (Vec::new(), Vec::new(), Vec::new());
    let (mut runs, mut unequal, mut literals) = (Vec::new(), Vec::new(), Vec::new());
    let (mut at, mut from) = (0_u64, 0_u64);
    let mut run = 0_u64;
    for cover in covers {
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
