//! Unpacking, proving and packing again, each codec on the same 1 MiB of text-like bytes.
//!
//! `cargo bench -p fluvial-codec` measures. `unpack` is the decoder alone, `prove` the search for a recipe
//! (default effort), `pack` what a device does.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::io::Read as _;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use fluvial_codec::{Budget, Effort, Format, PackContext, Prover, Recipe, RecipeError};
use liblzma::read::XzEncoder;

const LEN: usize = 1 << 20;
const BUDGET: Budget =
    Budget { memory_bytes: 256 << 20, plain_bytes_max: 2 * LEN as u64, effort: Effort::Default };

/// Words in an order that is the same at each run.
fn text() -> Vec<u8> {
    let words = ["delta", "fleet", "slot", "release", "patch", "block", "the", "of", "inode", "extent"];
    let mut text = Vec::with_capacity(LEN + 16);
    let mut state = 1_u32;
    while text.len() < LEN {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(state >> 16) as usize % words.len()].as_bytes());
        text.push(if state & 0x0700_0000 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(LEN);
    text
}

/// A stream of each kind, as common tools make it.
fn streams(plain: &[u8]) -> Vec<(&'static str, Format, Vec<u8>)> {
    let read = |mut encoder: Box<dyn std::io::Read + '_>| {
        let mut packed = Vec::new();
        encoder.read_to_end(&mut packed).expect("memory takes it");
        packed
    };
    let level = Compression::new(6);
    let zstd = |level| zstd::bulk::compress(plain, level).expect("libzstd packs anything");
    vec![
        ("gzip-6", Format::Gzip, read(Box::new(GzEncoder::new(plain, level)))),
        ("zlib-6", Format::Zlib, read(Box::new(ZlibEncoder::new(plain, level)))),
        ("deflate-6", Format::Deflate, read(Box::new(DeflateEncoder::new(plain, level)))),
        ("zstd-3", Format::Zstd, zstd(3)),
        ("zstd-15", Format::Zstd, zstd(15)),
        ("xz-0", Format::Xz, read(Box::new(XzEncoder::new(plain, 0)))),
        ("xz-6", Format::Xz, read(Box::new(XzEncoder::new(plain, 6)))),
    ]
}

fn codecs(criterion: &mut Criterion) {
    let plain = text();
    let mut group = criterion.benchmark_group("codec");
    group.sample_size(10).throughput(Throughput::Bytes(LEN as u64));
    for (name, format, packed) in streams(&plain) {
        let mut out = Vec::new();
        group.bench_function(format!("unpack/{name}"), |bencher| {
            bencher.iter(|| format.decode_block(black_box(&packed), LEN, &mut out).expect("a valid stream"));
        });
        group.bench_function(format!("prove/{name}"), |bencher| {
            bencher.iter(|| Prover::new(BUDGET).unpack(format, black_box(&packed)).expect("a recipe fits"));
        });
        let unpacked = Prover::new(BUDGET).unpack(format, &packed).expect("a recipe fits");
        pack(&mut group, name, &unpacked.recipe, &unpacked.plain, &unpacked.corrections);
    }
    // Bare blocks have no library of their own here that packs as liblz4 does: its recipes pack them.
    for (name, level) in [("lz4-fast", 0), ("lz4hc-12", 12)] {
        let recipe = lz4_recipe(level);
        pack(&mut group, name, &recipe, &plain, &[]);
        let (mut packed, mut out) = (Vec::new(), Vec::new());
        recipe.pack_block(&plain, &[], &mut PackContext::new(), &mut packed).expect("liblz4 packs anything");
        group.bench_function(format!("unpack/{name}"), |bencher| {
            bencher.iter(|| Format::Lz4Block.decode_block(black_box(&packed), LEN, &mut out).expect("valid"));
        });
    }
    group.finish();
}

/// A recipe for bare blocks by the liblz4 that is linked, whatever its version: at a level, or fast (0).
fn lz4_recipe(level: u8) -> Recipe {
    const BLOCK: u8 = 2;
    let parameters = if level == 0 { vec![129, usize::BITS as u8] } else { vec![level] };
    let of_version = |version: u32| {
        let version = [version as u8 | 0x80, (version >> 7) as u8 | 0x80, (version >> 14) as u8];
        Recipe::from_bytes(&[&[BLOCK][..], &version, &parameters].concat())
    };
    match of_version(0) {
        Err(RecipeError::Version { linked, .. }) => of_version(linked).expect("it is linked"),
        other => panic!("version 0 is no version, but gives {other:?}"),
    }
}

fn pack(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    recipe: &Recipe,
    plain: &[u8],
    corrections: &[u8],
) {
    let (mut context, mut packed) = (PackContext::new(), Vec::new());
    group.bench_function(format!("pack/{name}"), |bencher| {
        bencher.iter(|| {
            recipe
                .pack_block(black_box(plain), corrections, &mut context, &mut packed)
                .expect("the recipe fits");
        });
    });
}

criterion_group!(benches, codecs);
criterion_main!(benches);
