//! The hot parts of diff and apply, on small inputs that are the same at each run:
//!
//! - `exact`: content that moved, found by content-defined chunks;
//! - `approximate`: content with scattered changes, found by the suffix array;
//! - `predict`: references of a program whose code moved, encoded and decoded;
//! - `apply`: frames of copies, of residuals and of literals.
//!
//! `cargo bench -p fluvial-delta` measures; whole images are measured by `cargo xtask bench`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fluvial_delta::apply::{Checkpoint, Patch, Target};
use fluvial_delta::diff::{DiffOptions, Named, Preset, Unobserved, diff};
use fluvial_delta::memory::MemoryTarget;
use fluvial_delta::predict::{Cover, Predictor};
use fluvial_delta::scratch::MemoryScratch;
use fluvial_delta::structure::{Extent, Opaque};

const LEN: usize = 4 << 20;

/// Bytes that cannot be compressed (xorshift, G. Marsaglia, 2003).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

/// Blocks of `old` in another order.
fn moved(old: &[u8]) -> Vec<u8> {
    let blocks: Vec<_> = old.chunks(50_000).collect();
    (0..blocks.len()).flat_map(|index| blocks[index * 37 % blocks.len()]).copied().collect()
}

/// `old` with a byte in 100 changed, and now and then some put in.
fn changed(old: &[u8]) -> Vec<u8> {
    let mut new = Vec::with_capacity(old.len());
    for (index, block) in old.chunks(100).enumerate() {
        new.extend_from_slice(block);
        if let Some(last) = new.last_mut() {
            *last ^= index as u8 | 1;
        }
        if index % 500 == 0 {
            new.extend_from_slice(b"put in");
        }
    }
    new
}

fn make(old: &[u8], new: &[u8], preset: Preset) -> Vec<u8> {
    let options = DiffOptions { preset, verify: false, ..DiffOptions::default() };
    let mut patch = Vec::new();
    let old = [Named::new("old", &old)];
    let new = [Named::new("new", &new)];
    diff(&old, &new, &Opaque, &MemoryScratch, &options, &Unobserved, &mut patch).expect("a patch is made");
    patch
}

fn matching(criterion: &mut Criterion) {
    let old = noise(1, LEN);
    let mut group = criterion.benchmark_group("diff");
    group.sample_size(10).throughput(Throughput::Bytes(LEN as u64));
    for (name, new) in [("exact", moved(&old)), ("approximate", changed(&old)), ("literal", noise(2, LEN))] {
        group.bench_function(name, |bencher| bencher.iter(|| make(black_box(&old), &new, Preset::Fast)));
    }
    group.finish();
}

fn applying(criterion: &mut Criterion) {
    let old = noise(1, LEN);
    let mut group = criterion.benchmark_group("apply");
    group.sample_size(20).throughput(Throughput::Bytes(LEN as u64));
    for (name, new) in [("exact", moved(&old)), ("approximate", changed(&old)), ("literal", noise(2, LEN))] {
        let bytes = make(&old, &new, Preset::Fast);
        let patch = Patch::open(&bytes).expect("a whole patch");
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || MemoryTarget::new(new.len()),
                |target| {
                    let targets: [&dyn Target; 1] = [&target];
                    let from = Checkpoint::default();
                    patch.apply(&[&old], &targets, &MemoryScratch, from, &mut Unobserved).expect("it fits");
                    target
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// Where code begins in [`program`].
const CODE_AT: usize = 4096;
/// Length of a function in [`program`].
const FUNCTION_BYTES: usize = 32;

/// An x86-64 program (ELF, System V ABI) of one segment and one section of code: functions that each
/// call another. `gap` bytes stand in front of function `count / 2`.
fn program(count: usize, gap: usize) -> Vec<u8> {
    let place = |index: usize| index * FUNCTION_BYTES + if index >= count / 2 { gap } else { 0 };
    let mut code = vec![0x90; count * FUNCTION_BYTES + gap];
    for index in 0..count {
        let at = place(index);
        let distance = place(index * 7 % count) as i64 - (at + 5) as i64;
        code[at] = 0xe8;
        code[at + 1..at + 5].copy_from_slice(&(distance as i32).to_le_bytes());
    }
    let mut file = vec![0; CODE_AT];
    let names = b"\0.text\0.names\0";
    let (names_at, headers_at) = (CODE_AT + code.len(), CODE_AT + code.len() + 16);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[3, 0, 62, 0, 1]);
    put(32, &64_u64.to_le_bytes());
    put(40, &(headers_at as u64).to_le_bytes());
    put(52, &[64, 0, 56, 0, 1, 0, 64, 0, 3, 0, 2, 0]);
    put(64, &[1, 0, 0, 0, 5]);
    put(96, &(headers_at as u64).to_le_bytes());
    put(104, &(headers_at as u64).to_le_bytes());
    file.extend_from_slice(&code);
    file.extend_from_slice(names);
    file.resize(headers_at, 0);
    file.extend_from_slice(&[0; 64]);
    for (name, kind, flags, at, len) in
        [(1_u32, 1_u32, 6_u64, CODE_AT, code.len()), (7, 3, 0, names_at, names.len())]
    {
        file.extend_from_slice(&name.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        for word in [flags, at as u64, at as u64, len as u64, 0, 1, 0] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    file
}

/// Encodes, then decodes, all covers; answers how many bytes differed from what was predicted.
fn predict(old: &[u8], new: &[u8], covers: &[Cover], bytes: &mut [u8], encode: bool) {
    let old_files = [Extent { offset: 0, len: old.len() as u64 }];
    let new_files = [Extent { offset: 0, len: new.len() as u64 }];
    let mut predictor = Predictor::new(covers, &old, &old_files[..], &new_files).expect("the covers fit");
    predictor.recode(bytes, encode).expect("old bytes are read");
}

fn predicting(criterion: &mut Criterion) {
    let (count, gap) = (60_000, 9600);
    let (old, new) = (program(count, 0), program(count, gap));
    let half = (CODE_AT + count / 2 * FUNCTION_BYTES) as u64;
    let covers = [
        Cover { old: 0, new: 0, len: half },
        Cover { old: half, new: half + gap as u64, len: (count / 2 * FUNCTION_BYTES) as u64 },
    ];
    let mut differences = new.clone();
    predict(&old, &new, &covers, &mut differences, true);
    let code = CODE_AT..half as usize;
    let unequal = differences[code].iter().filter(|&&byte| byte != 0).count();
    assert!(unequal < count / 100, "{unequal} bytes are not predicted: this is no measure of anything");
    let mut group = criterion.benchmark_group("predict");
    group.sample_size(20).throughput(Throughput::Bytes(new.len() as u64));
    for (name, encode, bytes) in [("encode", true, &new), ("decode", false, &differences)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || bytes.clone(),
                |mut bytes| {
                    predict(&old, &new, &covers, &mut bytes, encode);
                    bytes
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, matching, applying, predicting);
criterion_main!(benches);
