//! What the tests share: content, budgets, and the check that a recipe keeps its word.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use fluvial_codec::{Budget, Effort, Format, PackContext, Prover, Recipe, UnpackError, Unpacked};
use proptest::prelude::*;

/// A budget that forbids nothing that the tests do.
pub const AMPLE: Budget = Budget { memory_bytes: 1 << 30, plain_bytes_max: 1 << 28, effort: Effort::Max };

/// Content with repeats near and far, as files have them.
pub fn content(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let run = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Piece::Fresh),
        (any::<prop::sample::Index>(), 4_usize..400).prop_map(|(from, len)| Piece::Again(from, len)),
        (any::<u8>(), 1_usize..300).prop_map(|(byte, len)| Piece::Run(byte, len)),
    ];
    proptest::collection::vec(run, 0..200).prop_map(move |pieces| {
        let mut content = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Fresh(bytes) => content.extend(bytes),
                Piece::Run(byte, len) => content.resize(content.len() + len, byte),
                Piece::Again(from, len) if !content.is_empty() => {
                    let from = from.index(content.len());
                    let end = (from + len).min(content.len());
                    content.extend_from_within(from..end);
                }
                Piece::Again(..) => {}
            }
        }
        content.truncate(len_max);
        content
    })
}

#[derive(Debug, Clone)]
enum Piece {
    Fresh(Vec<u8>),
    Again(prop::sample::Index, usize),
    Run(u8, usize),
}

/// Text of about `len` bytes that packs like a log file.
pub fn text(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 100);
    let mut seed = 12_345_u64;
    while out.len() < len {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (a, b, c) = (seed >> 60, seed >> 40 & 0xfff, seed >> 20 & 0xff);
        writeln!(
            out,
            "unit-{a}.service: step {b} took {c} ms, state {}",
            ["ok", "late", "failed"][(seed >> 33) as usize % 3]
        )
        .unwrap();
    }
    out.truncate(len);
    out
}

/// Unpacks, and checks everything that an [`Unpacked`] promises.
pub fn prove(prover: &mut Prover, format: Format, packed: &[u8]) -> Result<Unpacked, UnpackError> {
    let unpacked = prover.unpack(format, packed)?;
    let stream = &packed[..unpacked.packed_len];
    let recipe = Recipe::from_bytes(&unpacked.recipe.to_bytes()).unwrap();
    assert_eq!(recipe, unpacked.recipe);

    let mut block = b"left over".to_vec();
    let mut context = PackContext::new();
    recipe.pack_block(&unpacked.plain, &unpacked.corrections, &mut context, &mut block).unwrap();
    assert!(block == stream, "pack_block of {recipe} differs");

    let mut streamed = Vec::new();
    let plain_len = unpacked.plain.len() as u64;
    let mut packer = recipe.packer(plain_len, stream.len() as u64, &unpacked.corrections).unwrap();
    for piece in unpacked.plain.chunks(unpacked.plain.len() / 3 + 1) {
        packer.write(piece, &mut streamed).unwrap();
    }
    packer.finish(&mut streamed).unwrap();
    assert!(streamed == stream, "packer of {recipe} differs");

    let mut plain = Vec::new();
    format.reader(Box::new(packed)).unwrap().read_to_end(&mut plain).unwrap();
    assert!(plain == unpacked.plain, "the reader of {format} differs");
    format.decode_block(packed, plain.len(), &mut plain).unwrap();
    assert!(plain == unpacked.plain, "decode_block of {format} differs");
    Ok(unpacked)
}

/// Runs a tool with `input` on its standard input and gives what it writes. `None` where the tool
/// is not installed; every machine of ours has it, other people's need not.
pub fn run(tool: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let spawned = Command::new(tool).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: {tool} is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{tool} {args:?} failed");
    Some(output.stdout)
}

/// A program of this machine: real code to pack.
pub fn program() -> Vec<u8> {
    ["/bin/bash", "/bin/sh"].iter().map(Path::new).find_map(|path| std::fs::read(path).ok()).unwrap()
}
