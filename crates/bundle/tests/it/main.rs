//! Payloads are cut, written, and put together again.
#![expect(clippy::unwrap_used, reason = "test code")]

mod beside;
mod casync;
mod left;
mod parity;
mod repaired;
mod scattered;
mod scratch;
mod whole;

use std::io;
use std::sync::Mutex;

use fluvial_bundle::{
    AssembleError, Assembly, Cutting, HashKind, Index, Part, Payload, Shelf, Survey, Tally, Want,
    WriteOptions, write,
};
use fluvial_delta::memory::MemoryTarget;
use fluvial_delta::scratch::{MemoryScratch, ScratchStore};
use fluvial_delta::structure::{Extent, Files, ReadAt};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

/// A published chunk file. Everything is there; what was asked for is counted.
struct Published {
    chunks: Vec<u8>,
    /// A byte that comes wrong: always, or the first time only.
    wrong: Mutex<Option<(usize, bool)>>,
}

impl Shelf for Published {
    fn read(&self, _payload: usize, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.chunks.read_at(offset, buf)?;
        let mut wrong = self.wrong.lock().unwrap();
        if let Some((at, is_lasting)) = *wrong
            && let Some(byte) = at.checked_sub(offset as usize).and_then(|at| buf.get_mut(at))
        {
            *byte ^= 0x40;
            if !is_lasting {
                *wrong = None;
            }
        }
        Ok(())
    }
}

fn publish(bytes: &Vec<u8>, files: &[Extent]) -> (Index, Published) {
    publish_cut(bytes, files, Cutting::Files)
}

fn publish_cut(bytes: &Vec<u8>, files: &[Extent], cutting: Cutting) -> (Index, Published) {
    publish_files(bytes, &files.iter().copied().collect(), cutting)
}

fn publish_files(bytes: &Vec<u8>, files: &Files, cutting: Cutting) -> (Index, Published) {
    let mut chunks = Vec::new();
    let payload =
        Payload { name: "payload", sha256: Sha256::digest(bytes).into(), bytes, files, unpacked: None };
    let options = WriteOptions { level: 3, cutting, hash: HashKind::default() };
    let index = write(payload, options, &mut chunks, &|_| true).unwrap();
    assert_eq!(index.chunk_file_len(), chunks.len() as u64);
    let index = Index::read(&index.to_bytes().unwrap()).unwrap();
    (index, Published { chunks, wrong: Mutex::new(None) })
}

/// Puts a payload together; answers it, how much was wanted, and where it came from.
fn assemble(
    index: &Index,
    published: &Published,
    old: &[Vec<u8>],
) -> Result<(Vec<u8>, u64, Tally), AssembleError> {
    let mut wanted = 0;
    let (made, tally) = assemble_with(index, published, old, &mut |want| wanted += want.len)?;
    Ok((made, wanted, tally))
}

/// As [`assemble`]; `each` hears of everything that is wanted.
fn assemble_with(
    index: &Index,
    published: &Published,
    old: &[Vec<u8>],
    each: &mut dyn FnMut(&Want),
) -> Result<(Vec<u8>, Tally), AssembleError> {
    assemble_in(&MemoryScratch, index, published, old, each)
}

/// As [`assemble_with`], with temporary storage of `store`.
fn assemble_in(
    store: &dyn ScratchStore,
    index: &Index,
    published: &Published,
    old: &[Vec<u8>],
    each: &mut dyn FnMut(&Want),
) -> Result<(Vec<u8>, Tally), AssembleError> {
    let target = MemoryTarget::new(index.len as usize);
    let old = old.iter().map(|one| one as &dyn ReadAt).collect();
    let mut assembly = Assembly::new(&[Part { index, target: &target }], old).with_scratch(store);
    complete(&mut assembly, published, each)?;
    let tally = assembly.tally();
    drop(assembly);
    Ok((target.into_bytes(), tally))
}

/// Makes what an assembly is for.
fn complete(
    assembly: &mut Assembly<'_>,
    published: &Published,
    each: &mut dyn FnMut(&Want),
) -> Result<(), AssembleError> {
    assembly.find_runs(&|_| true)?;
    fetch_rest(assembly, published, each)
}

/// Makes what whole runs of the old streams have left.
fn fetch_rest(
    assembly: &mut Assembly<'_>,
    published: &Published,
    each: &mut dyn FnMut(&Want),
) -> Result<(), AssembleError> {
    loop {
        let pages = assembly.pages();
        if pages.is_empty() {
            break;
        }
        pages.iter().for_each(&mut *each);
        assembly.open_pages(published)?;
        assembly.find_chunks(&|_| true)?;
        loop {
            let wants = assembly.next_round(published, &|_| true)?;
            if wants.is_empty() {
                break;
            }
            wants.iter().for_each(&mut *each);
            assembly.take(published, &|_| true)?;
        }
    }
    assembly.copy_repeats(&|_| true)
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Half of the bits are always the same, so that there is something to pack.
        (state >> 33) as u8 & 0x0f
    };
    (0..len).map(&mut next).collect()
}

/// Headers with files behind them.
fn archive(files: &[Vec<u8>]) -> (Vec<u8>, Vec<Extent>) {
    let (mut bytes, mut extents) = (Vec::new(), Vec::new());
    for (index, file) in files.iter().enumerate() {
        bytes.extend(format!("header of file {index:100}").bytes());
        extents.push(Extent { offset: bytes.len() as u64, len: file.len() as u64 });
        bytes.extend_from_slice(file);
    }
    extents.retain(|extent| extent.len > 0);
    (bytes, extents)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_payload_comes_back(
        lens in proptest::collection::vec(0_usize..120_000, 0..6),
        edits in proptest::collection::vec((0_usize..1_000_000, 0_usize..300), 0..6),
        kept in 0_usize..7,
    ) {
        let old: Vec<Vec<u8>> = lens.iter().enumerate().map(|(seed, &len)| noise(seed as u64, len)).collect();
        let mut new = old.clone();
        for (at, len) in edits {
            let count = new.len();
            if count > 0 {
                let file = &mut new[at % count];
                let at = at % (file.len() + 1);
                let end = (at + len / 2).min(file.len());
                file.splice(at..end, noise(9, len));
            }
        }
        let (bytes, files) = archive(&new);
        let (index, published) = publish(&bytes, &files);
        let (made, _, tally) = assemble(&index, &published, &old[..kept.min(old.len())]).unwrap();
        prop_assert!(made == bytes);
        prop_assert_eq!(tally.repaired_runs, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_payload_that_is_cut_to_blocks_comes_back(
        name in proptest::sample::select(vec!["casync-4", "casync-16", "casync-64", "casync-256", "fixed-4", "fixed-64"]),
        lens in proptest::collection::vec((0_usize..700_000, any::<bool>()), 0..5),
        edits in proptest::collection::vec((0_usize..2_000_000, 0_usize..300), 0..5),
        has_old: bool,
    ) {
        let part = |(seed, &(len, is_zeros)): (usize, &(usize, bool))| {
            if is_zeros { vec![0; len] } else { noise(seed as u64, len) }
        };
        let old = lens.iter().enumerate().map(part).collect::<Vec<_>>().concat();
        let mut new = old.clone();
        for (at, len) in edits {
            let at = at % (new.len() + 1);
            new.splice(at..(at + len / 2).min(new.len()), noise(9, len));
        }
        // Files mean nothing here.
        let files = [Extent { offset: 0, len: new.len() as u64 }];
        let files = if new.is_empty() { &[][..] } else { &files };
        let cutting: Cutting = name.parse().unwrap();
        let (index, published) = publish_cut(&new, files, cutting);
        prop_assert_eq!((index.cutting, index.files.len()), (cutting, 0));
        let old = if has_old { vec![old] } else { Vec::new() };
        let (made, _, tally) = assemble(&index, &published, &old).unwrap();
        prop_assert!(made == new);
        prop_assert_eq!(tally.repaired_runs, 0);
    }
}

/// Bytes inserted into 4 MiB, and other bytes later: how much is fetched, pages included.
fn wanted_behind_an_insertion(name: &str) -> u64 {
    let old = noise(1, 4 << 20);
    let mut new = old.clone();
    new[3 << 20] ^= 1;
    new.splice(1 << 20..1 << 20, *b"inserted");
    let (index, published) = publish_cut(&new, &[], name.parse().unwrap());
    let (made, wanted, tally) = assemble(&index, &published, &[old]).unwrap();
    assert!(made == new);
    assert_eq!(tally.found_bytes + tally.fetched_bytes, new.len() as u64);
    wanted
}

#[test]
fn what_stands_behind_an_insertion_is_found_by_content_and_not_by_blocks() {
    // Every byte packs to half of one. Chunks of casync have four times their average at most, and a few pass
    // until the cuts are the same again.
    for (name, wanted_max) in [("casync-4", 20 << 10), ("casync-16", 80 << 10), ("casync-64", 320 << 10)] {
        let wanted = wanted_behind_an_insertion(name);
        assert!(wanted < wanted_max, "{name}: {wanted}");
    }
    let wanted = wanted_behind_an_insertion("fixed-4");
    assert!(wanted > (3 << 20) / 2, "{wanted}");
}

#[test]
fn blocks_that_changed_are_fetched_and_no_others() {
    let old = noise(1, 4 << 20);
    let mut new = old.clone();
    for at in [10, 1_000_000, 2_000_000, 3_000_000] {
        new[at] ^= 1;
    }
    let (index, published) = publish_cut(&new, &[], "fixed-4".parse().unwrap());
    let (made, wanted, tally) = assemble(&index, &published, &[old]).unwrap();
    assert!(made == new);
    assert_eq!(tally.fetched_bytes, 4 * 4096);
    // Four blocks, and the pages of their runs.
    assert!(wanted < 4 * 3000, "{wanted}");
}

#[test]
fn a_chunk_of_blocks_that_comes_wrong_twice_is_an_error() {
    for name in ["casync-4", "casync-64", "fixed-4", "fixed-64"] {
        let (index, published) = publish_cut(&noise(1, 500_000), &[], name.parse().unwrap());
        *published.wrong.lock().unwrap() = Some((20_000, false));
        assemble(&index, &published, &[]).unwrap();
        *published.wrong.lock().unwrap() = Some((20_000, true));
        let result = assemble(&index, &published, &[]);
        assert!(matches!(result, Err(AssembleError::Content { payload: 0, .. })), "{name}");
    }
}

#[test]
fn little_is_wanted_where_little_has_changed() {
    let old: Vec<Vec<u8>> = (0..30).map(|seed| noise(seed, 20_000)).collect();
    let mut new = old.clone();
    new[7][500] ^= 1;
    new[20].splice(9000..9000, *b"inserted");
    let (bytes, files) = archive(&new);
    let (index, published) = publish(&bytes, &files);
    let (made, wanted, tally) = assemble(&index, &published, &old).unwrap();
    assert!(made == bytes);
    assert!(tally.found_bytes > 595_000, "{tally:?}");
    // Most of it is the pages of the two runs, which list runs beside them.
    assert!(wanted < 14_000, "{wanted}");
    // With the old archive's headers nothing else is left to fetch.
    let (_, everything, _) = assemble(&index, &published, &[]).unwrap();
    assert!(everything > 280_000, "{everything}");
}

#[test]
fn what_comes_wrong_once_is_asked_for_again_and_twice_is_an_error() {
    let (bytes, files) = archive(&[noise(1, 90_000), noise(2, 300)]);
    let (index, published) = publish(&bytes, &files);
    *published.wrong.lock().unwrap() = Some((20_000, false));
    let (made, _, _) = assemble(&index, &published, &[]).unwrap();
    assert!(made == bytes);
    *published.wrong.lock().unwrap() = Some((20_000, true));
    assert!(matches!(assemble(&index, &published, &[]), Err(AssembleError::Content { payload: 0, .. })));
    *published.wrong.lock().unwrap() = Some((10, true));
    assert!(matches!(assemble(&index, &published, &[]), Err(AssembleError::PageDigest { .. })));
}

#[test]
fn files_that_overlap_are_refused() {
    let bytes = vec![0; 100];
    let files = [Extent { offset: 0, len: 60 }, Extent { offset: 50, len: 10 }].into_iter().collect();
    let payload = Payload { name: "x", sha256: [0; 32], bytes: &bytes, files: &files, unpacked: None };
    let options = WriteOptions { level: 3, cutting: Cutting::Files, hash: HashKind::default() };
    let result = write(payload, options, &mut Vec::new(), &|_| true);
    assert!(matches!(result, Err(fluvial_bundle::WriteError::Files(1))));
}

#[test]
fn what_stands_in_place_is_not_fetched() {
    let mut bytes = [noise(1, 5 << 20), vec![0; 1 << 20], noise(2, 4 << 20)].concat();
    bytes.extend_from_slice(b"the end");
    let (index, published) = publish(&bytes, &[Extent { offset: 4096, len: 1 << 20 }]);
    // The zeros are something else, too.
    let mut before = bytes.clone();
    before[5 << 20..(5 << 20) + 200_000].fill(7);
    let target = MemoryTarget::from(before);
    let mut assembly = Assembly::new(&[Part { index: &index, target: &target }], Vec::new());
    assembly.find_in_place(&|_| true).unwrap();
    let in_place = assembly.tally().in_place_bytes;
    assert!(in_place > 9 << 20 && in_place < bytes.len() as u64, "{in_place}");
    assembly.find_runs(&|_| true).unwrap();
    assert!(assembly.chunk_bytes_max() < 200_000, "{}", assembly.chunk_bytes_max());
    while !assembly.pages().is_empty() {
        assembly.open_pages(&published).unwrap();
        while !assembly.next_round(&published, &|_| true).unwrap().is_empty() {
            assembly.take(&published, &|_| true).unwrap();
        }
    }
    assembly.copy_repeats(&|_| true).unwrap();
    drop(assembly);
    assert!(target.into_bytes() == bytes);
}

#[test]
fn an_index_of_what_is_there_tells_where_to_read_and_is_not_believed() {
    let files: Vec<Vec<u8>> = (0..20).map(|seed| noise(seed, 30_000)).collect();
    let (mut old, extents) = archive(&files);
    let old_files = extents.iter().copied().collect();
    let payload = Payload { name: "old", sha256: [0; 32], bytes: &old, files: &old_files, unpacked: None };
    let survey = Survey::plain(Cutting::Files, HashKind::default());
    let (known, _) = fluvial_bundle::index_of(payload, &survey, &|_, _| {}, &|_| true).unwrap();
    let known = Index::read(&known.to_bytes().unwrap()).unwrap();
    let mut changed = files;
    changed[3][100] ^= 1;
    let (new, new_extents) = archive(&changed);
    let (index, published) = publish(&new, &new_extents);
    // Since it was made, something else has changed.
    let at = extents[7].offset as usize + 5;
    old[at] ^= 1;

    let target = MemoryTarget::new(new.len());
    let streams: Vec<fluvial_bundle::Scatter<&Vec<u8>>> =
        std::iter::once(fluvial_bundle::Scatter::new(&old, fluvial_bundle::gaps(&extents, old.len() as u64)))
            .chain(extents.iter().map(|extent| fluvial_bundle::Scatter::new(&old, [*extent])))
            .collect();
    let old_streams = streams.iter().map(|stream| stream as &dyn ReadAt).collect();
    let mut assembly = Assembly::new(&[Part { index: &index, target: &target }], old_streams);
    assert_eq!(assembly.find_indexed((&known, &[]), &|_| true).unwrap(), 1);
    assert!(assembly.chunk_bytes_max() < 60_000, "{}", assembly.chunk_bytes_max());
    fetch_rest(&mut assembly, &published, &mut |_| ()).unwrap();
    drop(assembly);
    assert!(target.into_bytes() == new);
}

#[test]
fn what_stands_twice_is_fetched_once() {
    let files = [noise(1, 60_000), noise(2, 30_000), noise(1, 60_000)];
    let (bytes, extents) = archive(&files);
    let (index, published) = publish(&bytes, &extents);
    let (made, wanted, tally) = assemble(&index, &published, &[]).unwrap();
    assert!(made == bytes);
    assert!(wanted < published.chunks.len() as u64 * 3 / 4, "{wanted} of {}", published.chunks.len());
    assert!(tally.found_bytes >= 60_000, "{tally:?}");
}
