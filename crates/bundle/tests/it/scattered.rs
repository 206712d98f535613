//! Files that a file system keeps in pieces, with holes.

use fluvial_bundle::{Assembly, Cutting, HashKind, Index, Part, Payload, Scatter, Survey, between, index_of};
use fluvial_delta::memory::MemoryTarget;
use fluvial_delta::structure::{Extent, Files, ReadAt};
use proptest::prelude::*;

use crate::parity::{code, program};
use crate::{Published, assemble, noise, publish, publish_files};

const BLOCK_BYTES: usize = 4096;

/// An image of files as a file system may keep them: in pieces of so many blocks, all of which are shuffled, and
/// without blocks of zeros but their first.
fn image(files: &[Vec<u8>], piece_blocks: usize, mut seed: u64) -> (Vec<u8>, Files) {
    let mut pieces = Vec::new();
    for (file, content) in files.iter().enumerate() {
        for (number, piece) in content.chunks(piece_blocks * BLOCK_BYTES).enumerate() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            pieces.push((seed >> 20, file, number, piece));
        }
    }
    pieces.sort_unstable();
    // Tables first, and something between files.
    let mut bytes = noise(seed, 3000);
    let mut lists: Vec<Vec<(usize, Extent)>> = vec![Vec::new(); files.len()];
    for (mark, file, number, piece) in pieces {
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 1);
        if mark % 3 == 0 {
            bytes.extend(noise(mark, BLOCK_BYTES));
        }
        let is_hole = number > 0 && piece.iter().all(|&byte| byte == 0);
        let len = piece.len() as u64;
        let extent = if is_hole { Extent::hole(len) } else { Extent { offset: bytes.len() as u64, len } };
        lists[file].push((number, extent));
        bytes.extend_from_slice(if is_hole { &[] } else { piece });
    }
    let mut lists: Vec<Vec<Extent>> = lists
        .into_iter()
        .filter(|list| !list.is_empty())
        .map(|mut list| {
            list.sort_unstable();
            list.into_iter().map(|(_, extent)| extent).collect()
        })
        .collect();
    lists.sort_unstable_by_key(|list| list[0].offset);
    let files = lists.iter().map(Vec::as_slice).collect();
    (bytes, files)
}

/// A program with zeros in it, and some data behind them.
fn with_zeros(is_new: bool) -> Vec<u8> {
    let code = [code(is_new), vec![0; 7 * BLOCK_BYTES], noise(5, 5000)].concat();
    program(&code)
}

#[test]
fn a_scattered_program_costs_what_one_in_a_row_does() {
    let (old, new) = (with_zeros(false), with_zeros(true));
    let row = vec![Extent { offset: 0, len: new.len() as u64 }];
    let (index, published) = publish(&new, &row);
    let (made, in_a_row, tally) = assemble(&index, &published, std::slice::from_ref(&old)).unwrap();
    assert!(made == new && tally.predicted_bytes > 20_000, "{tally:?}");

    let (bytes, files) = image(&[new], 2, 3);
    let file = files.iter().next().unwrap();
    assert!(file.len() > 20 && file.iter().filter(|extent| extent.is_hole()).count() > 1, "{file:?}");
    let (index, published) = publish_files(&bytes, &files, Cutting::Files);
    assert_eq!(index.programs, [true]);
    let (made, scattered, tally_scattered) = assemble(&index, &published, &[old]).unwrap();
    assert!(made == bytes);
    assert_eq!(tally_scattered.predicted_bytes, tally.predicted_bytes);
    // What stands between the pieces is fetched, too.
    let between: u64 = bytes.len() as u64 - files.stored().map(|extent| extent.len).sum::<u64>();
    assert!(scattered < in_a_row + between, "{scattered} bytes, {in_a_row} in a row, {between} between");
}

/// Puts `new` together over what is in `before`, with `old` as the source; both are known by indexes that are
/// believed.
fn update(
    (index, published): (&Index, &Published),
    (before, before_files): (&Vec<u8>, &Files),
    (old, old_files): (&Vec<u8>, &Files),
) -> (Vec<u8>, u64) {
    let known = |bytes: &Vec<u8>, files: &Files| {
        let payload = Payload { name: "old", sha256: [0; 32], bytes, files, unpacked: None };
        let survey = Survey::plain(Cutting::Files, HashKind::default());
        let (index, _) = index_of(payload, &survey, &|_, _| {}, &|_| true).unwrap();
        Index::read(&index.to_bytes().unwrap()).unwrap()
    };
    let mut target = before.clone();
    target.resize(index.len as usize, 7);
    let target = MemoryTarget::from(target);
    let gaps = Scatter::new(old, between(old_files, &[], old.len() as u64));
    let streams: Vec<Scatter<&Vec<u8>>> = std::iter::once(gaps)
        .chain(old_files.iter().map(|file| Scatter::new(old, file.iter().copied())))
        .collect();
    let streams = streams.iter().map(|stream| stream as &dyn ReadAt).collect();
    let mut assembly = Assembly::new(&[Part { index, target: &target }], streams);
    assembly.note_in_place(&known(before, before_files)).unwrap();
    assert_eq!(assembly.find_indexed((&known(old, old_files), &[]), &|_| true).unwrap(), 0);
    while !assembly.pages().is_empty() {
        assembly.open_pages(published).unwrap();
        assembly.find_chunks(&|_| true).unwrap();
        while !assembly.next_round(published, &|_| true).unwrap().is_empty() {
            assembly.take(published, &|_| true).unwrap();
        }
    }
    assembly.copy_repeats(&|_| true).unwrap();
    let (in_place, mut kept) = (assembly.tally().in_place_bytes, 0);
    assembly.kept(&mut |range| kept += range.end - range.start).unwrap();
    assert!(kept <= in_place, "holes are nowhere");
    drop(assembly);
    (target.into_bytes(), in_place)
}

#[test]
fn what_is_scattered_as_it_was_stays_in_place() {
    let files = [noise(1, 300_000), [noise(2, 40_000), vec![0; 60_000], noise(3, 90_000)].concat()];
    let (bytes, extents) = image(&files, 3, 1);
    let (index, published) = publish_files(&bytes, &extents, Cutting::Files);
    let nothing = (&Vec::new(), &Files::new());
    let (made, in_place) = update((&index, &published), (&bytes, &extents), nothing);
    assert!(made == bytes);
    // All but what is in holes alone.
    assert!(in_place >= bytes.len() as u64, "{in_place} of {}", bytes.len());
    // The same files in other pieces.
    let (other, other_extents) = image(&files, 5, 2);
    let (made, in_place) = update((&index, &published), (&other, &other_extents), (&other, &other_extents));
    assert!(made == bytes && in_place < bytes.len() as u64 / 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn scattered_files_come_back(
        lens in proptest::collection::vec((1_usize..90_000, 0_usize..40_000, 1_usize..60_000), 1..5),
        edits in proptest::collection::vec((0_usize..1_000_000, 0_usize..300), 0..5),
        pieces in proptest::collection::vec((1_usize..9, any::<u64>()), 3),
    ) {
        let content = |(seed, &(first, zeros, last)): (usize, &(usize, usize, usize))| {
            [noise(seed as u64, first), vec![0; zeros.min(first)], noise(100 + seed as u64, last)].concat()
        };
        let old: Vec<Vec<u8>> = lens.iter().enumerate().map(content).collect();
        let mut new = old.clone();
        for (at, len) in edits {
            let count = new.len();
            let file = &mut new[at % count];
            let at = at % (file.len() + 1);
            let end = (at + len / 2).min(file.len());
            file.splice(at..end, noise(9, len));
        }
        let [of_new, before, source] = [(&new, 0), (&old, 1), (&old, 2)]
            .map(|(files, number)| image(files, pieces[number].0, pieces[number].1));
        let (index, published) = publish_files(&of_new.0, &of_new.1, Cutting::Files);
        prop_assert_eq!(&index.files, &of_new.1);
        let (made, _) =
            update((&index, &published), (&before.0, &before.1), (&source.0, &source.1));
        prop_assert!(made == of_new.0);
        let (made, _, tally) = assemble(&index, &published, &old).unwrap();
        prop_assert!(made == of_new.0);
        prop_assert_eq!(tally.repaired_runs, 0);
    }
}
