//! What packed files of a payload hold stands behind it, and is not always needed.

use std::sync::Mutex;

use fluvial_bundle::{
    Assembly, Cutting, HashKind, Index, Part, Payload, RunDigest, Scatter, Survey, Unpacked, WriteOptions,
    between, index_of, write,
};
use fluvial_delta::memory::MemoryTarget;
use fluvial_delta::structure::{Extent, Files, ReadAt};

use crate::{Published, noise};

const CONTENT_BYTES: u64 = 100_000;
const IMAGE_BYTES: u64 = 40_000;
/// A file of the image that is not packed.
const FILE: Extent = Extent { offset: 10_000, len: 25_000 };

/// An image with two packed files, behind it what these hold; where its files stand, and what is told of the packed
/// ones.
fn image(seeds: [u64; 3]) -> (Vec<u8>, Files, Unpacked) {
    let [plain, first, second] = seeds;
    let contents = [first, second].map(|seed| noise(seed, CONTENT_BYTES as usize));
    image_of(noise(plain, IMAGE_BYTES as usize), &contents)
}

/// The same of an image of [`IMAGE_BYTES`] and what its packed files hold.
fn image_of(image: Vec<u8>, contents: &[Vec<u8>; 2]) -> (Vec<u8>, Files, Unpacked) {
    let lens = contents.each_ref().map(|content| content.len() as u64);
    let bytes = [image, contents.concat()].concat();
    let packed = |offset| vec![Extent { offset, len: 1000 }];
    let unpacked = Unpacked {
        files: vec![packed(4000), packed(6000)],
        digests: vec![RunDigest([1; 12]), RunDigest([2; 12])],
        lens: lens.to_vec(),
        packing: vec![7],
    };
    let files = [
        FILE,
        Extent { offset: IMAGE_BYTES, len: lens[0] },
        Extent { offset: IMAGE_BYTES + lens[0], len: lens[1] },
    ];
    (bytes, files.into_iter().collect(), unpacked)
}

fn publish(seeds: [u64; 3]) -> (Vec<u8>, Index, Published) {
    published(image(seeds))
}

fn published((bytes, files, unpacked): (Vec<u8>, Files, Unpacked)) -> (Vec<u8>, Index, Published) {
    let payload =
        Payload { name: "system", sha256: [0; 32], bytes: &bytes, files: &files, unpacked: Some(&unpacked) };
    let options = WriteOptions { level: 3, cutting: Cutting::Files, hash: HashKind::default() };
    let mut chunks = Vec::new();
    let index = write(payload, options, &mut chunks, &|_| true).unwrap();
    let index = Index::read(&index.to_bytes().unwrap()).unwrap();
    assert_eq!(index.unpacked, unpacked);
    (bytes, index, Published { chunks, wrong: Mutex::default() })
}

/// Fetches what is missing; answers how much, and after how many rounds everything behind the image was there.
fn fill(assembly: &mut Assembly<'_>, published: &Published) -> (u64, Option<usize>) {
    let (mut fetched, mut rounds, mut behind) = (0, 0, None);
    while {
        let pages = assembly.pages();
        fetched += pages.iter().map(|want| want.len).sum::<u64>();
        !pages.is_empty()
    } {
        assembly.open_pages(published).unwrap();
        assembly.find_chunks(&|_| true).unwrap();
        loop {
            if behind.is_none() && assembly.is_behind_made().unwrap() {
                behind = Some(rounds);
            }
            let wants = assembly.next_round(published, &|_| true).unwrap();
            if wants.is_empty() {
                break;
            }
            fetched += wants.iter().map(|want| want.len).sum::<u64>();
            assembly.take(published, &|_| true).unwrap();
            rounds += 1;
        }
    }
    assembly.copy_repeats(&|_| true).unwrap();
    (fetched, behind)
}

/// Whether nothing was written here.
fn is_untouched(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

#[test]
fn what_is_not_needed_is_neither_fetched_nor_written() {
    let (bytes, index, published) = publish([1, 2, 3]);
    let content = Extent { offset: IMAGE_BYTES, len: CONTENT_BYTES };
    let packed = 4000..7000;
    let mut fetched_before = u64::MAX;
    for left in [&[][..], &[content], &[Extent { len: 2 * CONTENT_BYTES, ..content }]] {
        let target = MemoryTarget::new(bytes.len());
        let mut assembly = Assembly::new(&[Part { index: &index, target: &target }], Vec::new());
        assembly.leave(0, left);
        assembly.find_runs(&|_| true).unwrap();
        let most = assembly.chunk_bytes_max();
        let (fetched, behind) = fill(&mut assembly, &published);
        assert!(fetched <= most && fetched < fetched_before, "{fetched} of {most}");
        fetched_before = fetched;
        // Where nothing is needed it is there from the start on.
        let is_all = left.iter().map(|extent| extent.len).sum::<u64>() == 2 * CONTENT_BYTES;
        assert_eq!(behind, Some(usize::from(!is_all)));
        drop(assembly);
        let made = target.into_bytes();
        let from = (IMAGE_BYTES + left.iter().map(|extent| extent.len).sum::<u64>()) as usize;
        assert!(is_untouched(&made[IMAGE_BYTES as usize..from]));
        assert!(made[from..] == bytes[from..]);
        assert!(made[..packed.start] == bytes[..packed.start]);
        assert!(made[packed.end..IMAGE_BYTES as usize] == bytes[packed.end..IMAGE_BYTES as usize]);
    }
}

#[test]
fn what_stands_twice_is_fetched_for_what_stands_behind_the_image() {
    let plain = noise(1, IMAGE_BYTES as usize);
    let file = plain[FILE.offset as usize..FILE.end() as usize].to_vec();
    let (bytes, index, published) = published(image_of(plain, &[file, noise(2, CONTENT_BYTES as usize)]));
    let target = MemoryTarget::new(bytes.len());
    let mut assembly = Assembly::new(&[Part { index: &index, target: &target }], Vec::new());
    assembly.find_runs(&|_| true).unwrap();
    let (fetched, behind) = fill(&mut assembly, &published);
    // Before anything is copied to the image.
    assert_eq!(behind, Some(1));
    assert!(fetched < IMAGE_BYTES + CONTENT_BYTES, "{fetched}");
    assert_eq!(assembly.tally().found_bytes, FILE.len);
    drop(assembly);
    let (made, packed) = (target.into_bytes(), 4000..7000);
    assert!(made[..packed.start] == bytes[..packed.start]);
    assert!(made[packed.end..] == bytes[packed.end..]);
}

#[test]
fn what_an_index_tells_and_the_old_streams_lack_is_no_source() {
    let (old, files, unpacked) = image([4, 2, 3]);
    let (new, index, published) = publish([5, 2, 3]);
    let survey = Survey::plain(Cutting::Files, HashKind::default());
    let payload =
        Payload { name: "", sha256: [0; 32], bytes: &old, files: &files, unpacked: Some(&unpacked) };
    let (known, _) = index_of(payload, &survey, &|_, _| {}, &|_| true).unwrap();
    let absent = Extent { offset: IMAGE_BYTES, len: CONTENT_BYTES };
    let mut here = old;
    here[absent.offset as usize..absent.end() as usize].fill(0);
    let between = Scatter::new(&here, between(&files, &unpacked.files, here.len() as u64));
    let streams: Vec<Scatter<&Vec<u8>>> = std::iter::once(between)
        .chain(files.iter().map(|file| Scatter::new(&here, file.iter().copied())))
        .collect();
    for (absent, lost) in [(&[absent][..], false), (&[], true)] {
        let target = MemoryTarget::new(new.len());
        let old = streams.iter().map(|stream| stream as &dyn ReadAt).collect();
        let mut assembly = Assembly::new(&[Part { index: &index, target: &target }], old);
        let count = assembly.find_indexed((&known, absent), &|_| true).unwrap();
        assert_eq!(count > 0, lost, "{count} runs are not what the index tells");
        let (fetched, _) = fill(&mut assembly, &published);
        // The second content is there.
        assert!(fetched > CONTENT_BYTES / 2 && fetched < CONTENT_BYTES, "{fetched}");
        drop(assembly);
        let made = target.into_bytes();
        assert!(made[IMAGE_BYTES as usize..] == new[IMAGE_BYTES as usize..]);
    }
}
