//! Payloads as a whole: packed, cut to pieces, unpacked.

use fluvial_bundle::{
    FrameReader, HashKind, IndexError, Restorer, Whole, WholeFrame, WholeOptions, write_whole,
};
use fluvial_delta::structure::Extent;

use crate::noise;

const OPTIONS: WholeOptions = WholeOptions {
    level: 3,
    hash: HashKind::Sha256,
    window_log: 20,
    frame_bytes: 1 << 20,
    piece_bytes: 64 << 10,
};

/// Packs it; answers what stands in a bundle.
fn pack(bytes: &[u8], files: &[Extent], options: WholeOptions) -> (Whole, Vec<u8>) {
    let mut packed = Vec::new();
    let whole = write_whole(&bytes, files, options, &mut packed, &|_| true).unwrap();
    assert_eq!(whole.packed_len(), packed.len() as u64);
    (Whole::read(&whole.to_bytes().unwrap()).unwrap(), packed)
}

fn unpack(whole: &Whole, frame: &WholeFrame, packed: &[u8]) -> Result<Vec<u8>, IndexError> {
    let mut reader = FrameReader::new(whole, frame)?;
    let mut restorer = Restorer::new(whole);
    let mut made = Vec::new();
    for piece in &frame.pieces {
        let bytes = &packed[piece.range.start as usize..piece.range.end as usize];
        reader.push(bytes, &mut |offset, mut block| {
            assert_eq!(offset, frame.content.start + made.len() as u64);
            restorer.restore(offset, &mut block);
            made.extend_from_slice(&block);
            Ok::<(), IndexError>(())
        })?;
    }
    reader.finish()?;
    Ok(made)
}

#[test]
fn a_payload_comes_back_frame_by_frame() {
    for len in [1, 4096, 300_000, 1 << 20, (3 << 20) + 7] {
        let bytes = [noise(1, len / 2), vec![0; len - len / 2]].concat();
        let (whole, packed) = pack(&bytes, &[], OPTIONS);
        assert_eq!(whole.frames.len(), len.div_ceil(1 << 20));
        for frame in &whole.frames {
            let made = unpack(&whole, frame, &packed).unwrap();
            assert!(made == bytes[frame.content.start as usize..frame.content.end as usize], "{len}");
        }
    }
}

#[test]
fn programs_pack_better_and_come_back_wherever_frames_end() {
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let program = program[..program.len().min(6 << 20)].to_vec();
    let bytes = [noise(1, 40_960), program.clone(), noise(2, 10_000)].concat();
    let file = Extent { offset: 40_960, len: program.len() as u64 };
    let options = WholeOptions { frame_bytes: 64 << 20, window_log: 23, ..OPTIONS };
    let plain = pack(&bytes, &[], options).1.len();
    let (whole, packed) = pack(&bytes, &[file], options);
    assert!(packed.len() < plain * 99 / 100, "{} of {plain}", packed.len());
    assert!(unpack(&whole, &whole.frames[0], &packed).unwrap() == bytes);

    let (whole, packed) = pack(&bytes, &[file], OPTIONS);
    let made: Vec<u8> =
        whole.frames.iter().flat_map(|frame| unpack(&whole, frame, &packed).unwrap()).collect();
    assert!(made == bytes);
}

#[test]
fn a_slot_is_known_to_hold_a_frame() {
    let mut bytes = noise(1, 3 << 20);
    let (whole, _) = pack(&bytes, &[], OPTIONS);
    bytes[(1 << 20) + 70_000] ^= 1;
    let held: Vec<bool> = whole.frames.iter().map(|frame| whole.holds(frame, &bytes).unwrap()).collect();
    assert_eq!(held, [true, false, true]);
    assert!(whole.holds(&whole.frames[2], &bytes[..100].to_vec()).is_err());
}

#[test]
fn a_piece_is_right_or_not() {
    let bytes = noise(1, 1 << 20);
    let (whole, packed) = pack(&bytes, &[], OPTIONS);
    let piece = &whole.frames[0].pieces[3];
    let mut bytes = packed[piece.range.start as usize..piece.range.end as usize].to_vec();
    assert!(whole.is_right(piece, &bytes));
    assert!(!whole.is_right(piece, &bytes[1..]));
    bytes[7] ^= 1;
    assert!(!whole.is_right(piece, &bytes));
}

/// A frame of 1 MiB that has these packed bytes.
fn forged(packed: &[u8]) -> Result<Vec<u8>, IndexError> {
    let (whole, _) = pack(&noise(1, 1 << 20), &[], OPTIONS);
    let mut frame = whole.frames[0].clone();
    frame.pieces.truncate(1);
    frame.pieces[0].range = 0..packed.len() as u64;
    unpack(&whole, &frame, packed)
}

#[test]
fn bombs_stop_at_the_declared_length_and_large_windows_are_refused() {
    let refused = |packed: &[u8]| forged(packed).unwrap_err().to_string();
    let streamed = |bytes: &[u8], window_log| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    assert!(refused(&streamed(&vec![7; 64 << 20], 20)).contains("more than it should be"));
    assert!(refused(&streamed(&noise(1, 1 << 20), 21)).contains("damaged"));
    let right = streamed(&noise(1, 1 << 20), 20);
    assert!(forged(&right).unwrap() == noise(1, 1 << 20));
    assert!(refused(&right[..right.len() - 9]).contains("cut"));
    assert!(refused(&[&right[..], b"more"].concat()).contains("ends where it should not"));
    assert!(refused(&streamed(&noise(1, 1000), 20)).contains("ends where it should not"));
    assert!(refused(b"no frame").contains("damaged"));
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    let (whole, _) = pack(&noise(1, 3 << 20), &[], OPTIONS);
    let refused = |change: &dyn Fn(&mut Whole)| {
        let mut whole = whole.clone();
        change(&mut whole);
        whole.to_bytes().unwrap_err().to_string()
    };
    assert!(refused(&|whole| whole.window_log = 25).contains("window"));
    assert!(refused(&|whole| whole.frames[0].packed.end = 0).contains("packed length"));
    assert!(refused(&|whole| whole.frames[0].packed.end += 100 << 20).contains("damaged"));
    assert!(refused(&|whole| whole.len += 1 << 20).contains("damaged"));
    assert!(matches!(Whole::read(b"something else"), Err(IndexError::Invalid(_))));
    assert!(matches!(Whole::read(b"FLUVIALw\x09....."), Err(IndexError::Version(9))));
    let bomb = [&b"FLUVIALw\x01"[..], &u32::MAX.to_le_bytes()].concat();
    assert!(matches!(Whole::read(&bomb), Err(IndexError::Range(_))));
    let bytes = whole.to_bytes().unwrap();
    for cut in 0..bytes.len() {
        assert!(Whole::read(&bytes[..cut]).is_err(), "{cut}");
    }
}
