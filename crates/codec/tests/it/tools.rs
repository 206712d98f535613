//! Streams made by real tools.

use fluvial_codec::{Format, Prover};

use crate::support::{AMPLE, program, prove, run, text};

#[test]
fn a_kernel_s_legacy_lz4_comes_back() {
    // More than two blocks of 8 MiB, the length appended as Linux' build does.
    let plain = [text(9 << 20), program().repeat(8)].concat();
    let Some(mut packed) = run("lz4", &["-l", "-9", "-c"], &plain) else { return };
    let packed_len = packed.len();
    packed.extend((plain.len() as u32).to_le_bytes());
    let unpacked = prove(&mut Prover::new(AMPLE), Format::sniff(&packed).unwrap(), &packed).unwrap();
    assert_eq!(unpacked.packed_len, packed_len);
    assert!(unpacked.plain == plain);
    assert_eq!(unpacked.recipe.to_string(), "lz4-1.10.0 -9 -l");
    assert!(unpacked.recipe.pack_memory_bytes(plain.len() as u64, u64::MAX) < 18 << 20);
}

#[test]
fn every_level_of_legacy_lz4_comes_back() {
    let plain = program();
    for level in ["-1", "-3", "-5", "-9", "-11", "-12"] {
        let Some(packed) = run("lz4", &["-l", level, "-c"], &plain) else { return };
        let unpacked = prove(&mut Prover::new(AMPLE), Format::Lz4Legacy, &packed).unwrap();
        assert!(unpacked.plain == plain, "{level}");
    }
}

#[test]
fn lz4_frames_come_back() {
    let long = [program().repeat(5), text(5 << 20)].concat();
    let short = text(1000);
    for args in [
        &["-1"][..],
        &["-9"],
        &["-12", "-B4"],
        &["-1", "-B5", "-BD"],
        &["-9", "-B4", "-BD", "-BX"],
        &["-3", "--no-frame-crc"],
    ] {
        for plain in [&long, &short, &Vec::new()] {
            let Some(packed) = run("lz4", &[args, &["-c"]].concat(), plain) else { return };
            let found = prove(&mut Prover::new(AMPLE), Format::Lz4Frame, &packed);
            let unpacked = found.unwrap_or_else(|error| panic!("{args:?}: {error}"));
            assert!(&unpacked.plain == plain, "{args:?}");
        }
    }
}
