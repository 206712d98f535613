//! Deflate in all its wrappings, by several compressors.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use fluvial_codec::{Budget, Effort, Format, PackContext, PackError, Prover, UnpackError};
use proptest::prelude::*;

use crate::support::{AMPLE, content, program, prove, run, text};

fn gzip(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn deflate(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_wrapping_comes_back(plain in content(1 << 15), level in 0_u32..=9, tail: Vec<u8>) {
        let streams = [
            (Format::Gzip, gzip(&plain, level)),
            (Format::Zlib, zlib(&plain, level)),
            (Format::Deflate, deflate(&plain, level)),
        ];
        for (format, stream) in streams {
            let packed = [&stream[..], &tail].concat();
            match prove(&mut Prover::new(AMPLE), format, &packed) {
                Ok(unpacked) => {
                    prop_assert_eq!(unpacked.packed_len, stream.len());
                    prop_assert_eq!(&unpacked.plain, &plain);
                }
                // Tiny streams may need more corrections than they have bytes.
                Err(UnpackError::NotReproducible) => prop_assert!(stream.len() < 200),
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }
}

#[test]
fn members_with_names_come_back() {
    let (one, other) = (text(70_000), program());
    let mut packed =
        flate2::GzBuilder::new().filename("log.1").mtime(7).write(Vec::new(), Compression::best());
    packed.write_all(&one).unwrap();
    let packed = [packed.finish().unwrap(), gzip(&other, 6), gzip(&one, 9)].concat();
    let unpacked = prove(&mut Prover::new(AMPLE), Format::Gzip, &packed).unwrap();
    assert_eq!(unpacked.packed_len, packed.len());
    assert!(unpacked.plain == [&one[..], &other, &one].concat());
}

#[test]
fn long_streams_are_packed_in_chunks() {
    let plain = [program().repeat(2), text(9 << 20), program()].concat();
    let Some(packed) = run("gzip", &["-n", "-6"], &plain) else { return };
    let mut prover = Prover::new(Budget { memory_bytes: 24 << 20, effort: Effort::Default, ..AMPLE });
    let unpacked = prove(&mut prover, Format::Gzip, &packed).unwrap();
    assert!(unpacked.plain == plain);
    assert!(unpacked.corrections.len() < packed.len() / 50, "{}", unpacked.corrections.len());
}

#[test]
fn changelogs_of_this_machine_come_back() {
    let mut prover = Prover::new(Budget { effort: Effort::Default, ..AMPLE });
    let (mut count, mut back, mut packed_bytes, mut correction_bytes) = (0, 0, 0, 0);
    let mut paths: Vec<_> = glob_changelogs();
    paths.sort();
    for path in paths.iter().take(80) {
        let packed = std::fs::read(path).unwrap();
        count += 1;
        if let Ok(unpacked) = prove(&mut prover, Format::Gzip, &packed) {
            back += 1;
            packed_bytes += packed.len();
            correction_bytes += unpacked.corrections.len();
        }
    }
    println!("{back} of {count} changelogs, {packed_bytes} bytes, corrections {correction_bytes}");
    assert!(back * 100 >= count * 97, "{back} of {count}");
    assert!(correction_bytes * 20 <= packed_bytes, "{correction_bytes} of {packed_bytes}");
}

/// `/usr/share/doc/*/changelog*.gz`: what every Debian system has.
fn glob_changelogs() -> Vec<std::path::PathBuf> {
    let Ok(folders) = std::fs::read_dir("/usr/share/doc") else { return Vec::new() };
    folders
        .filter_map(|folder| std::fs::read_dir(folder.ok()?.path()).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gz"))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("changelog")))
        .collect()
}

#[test]
fn gzip_of_every_level_comes_back() {
    for plain in [program(), text(300_000), Vec::new(), b"short".to_vec()] {
        for level in ["-1", "-6", "-9"] {
            let Some(packed) = run("gzip", &["-n", level], &plain) else { return };
            match prove(&mut Prover::new(AMPLE), Format::Gzip, &packed) {
                Ok(unpacked) => assert!(unpacked.plain == plain),
                Err(error) => assert!(plain.len() < 10, "{level}: {error}"),
            }
        }
    }
}

#[test]
fn spoilt_corrections_are_refused_or_give_other_bytes() {
    let plain = text(50_000);
    let packed = gzip(&plain, 6);
    let unpacked = Prover::new(AMPLE).unpack(Format::Gzip, &packed).unwrap();
    let mut out = Vec::new();
    let refused = unpacked.recipe.pack_block(&plain[1..], &[9], &mut PackContext::new(), &mut out);
    assert!(matches!(refused, Err(PackError::Corrections)));
}
