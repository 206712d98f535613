//! `apply(diff(old, new), old) = new`, for any bytes.

use fluvial_delta::apply::{
    ApplyError, Checkpoint, Patch, Target, check_sources, check_starts, check_target,
};
use fluvial_delta::diff::{DiffOptions, Named, Preset, Unobserved, diff};
use fluvial_delta::header::{Header, START_BYTES};
use fluvial_delta::memory::MemoryTarget;
use fluvial_delta::scratch::MemoryScratch;
use fluvial_delta::structure::{Opaque, ReadAt};
use proptest::prelude::*;

fn make(old: &[u8], new: &[u8], preset: Preset) -> Vec<u8> {
    let options = DiffOptions { preset, ..DiffOptions::default() };
    let mut patch = Vec::new();
    let old = [Named::new("old", &old)];
    let new = [Named::new("new", &new)];
    diff(&old, &new, &Opaque, &MemoryScratch, &options, &Unobserved, &mut patch).expect("a patch is made");
    patch
}

fn apply(old: &[u8], bytes: &[u8]) -> Result<Vec<u8>, ApplyError> {
    let patch = Patch::open(&bytes)?;
    check_sources(&[&old], &patch.header, &mut |_| true)?;
    let info = &patch.header.targets[0];
    let target = MemoryTarget::new(info.size as usize);
    patch.apply(&[&old], &[&target], &MemoryScratch, Checkpoint::default(), &mut Unobserved)?;
    check_target(&target, info, &mut |_| true)?;
    Ok(target.into_bytes())
}

/// Old bytes, and what edits make of them.
fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let edit = (any::<prop::sample::Index>(), 0_usize..3000, prop::collection::vec(any::<u8>(), 0..2000));
    let seed = prop::collection::vec(any::<u8>(), 0..4000);
    (seed, 1_usize..12, prop::collection::vec(edit, 0..8)).prop_map(|(seed, repeat, edits)| {
        let old: Vec<u8> = (0..repeat)
            .flat_map(|round| seed.iter().map(move |byte| byte.wrapping_add(round as u8)))
            .collect();
        let mut new = old.clone();
        for (at, remove, insert) in edits {
            let at = at.index(new.len() + 1);
            let end = (at + remove).min(new.len());
            new.splice(at..end, insert);
        }
        (old, new)
    })
}

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A copy must not read what it has yet to write, though several of them go on from one another.
#[test]
fn new_content_that_is_repeated_comes_back() {
    let old = noise(1, 50_000);
    for len in [300, 5000, 40_000] {
        let repeated = noise(2, len).repeat(12);
        let new = [&old[..20_000], &repeated, &old[20_000..]].concat();
        for preset in [Preset::Fast, Preset::Default] {
            let patch = make(&old, &new, preset);
            assert!(patch.len() < len + 1000, "{} bytes", patch.len());
            assert!(apply(&old, &patch).unwrap() == new, "{len} bytes repeated, {preset:?}");
        }
    }
}

#[test]
fn a_source_with_one_other_bit_is_refused_by_either_hash() {
    for (len, hash) in [(200_000, "SHA-256"), (1 << 20, "BLAKE3")] {
        let old = noise(3, len);
        let patch = make(&old, &old[1000..], Preset::Fast);
        let mut other = old.clone();
        other[len / 2] ^= 4;
        let error = apply(&other, &patch).unwrap_err();
        assert!(
            matches!(error, ApplyError::WrongSource { .. }) && error.to_string().contains(hash),
            "{error}"
        );
        assert!(apply(&old, &patch).unwrap() == old[1000..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn targets_are_made_of_what_they_are_said_to_read(
        (old, new) in edited(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
        wanted: [bool; 3],
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(new.len() + 1)).collect();
        cuts.sort_unstable();
        let new = [&new[..cuts[0]], &new[cuts[0]..cuts[1]], &new[cuts[1]..]].map(<[u8]>::to_vec);
        make_some(&old, &new, &wanted);
    }

    #[test]
    fn the_new_bytes_come_back((old, new) in edited()) {
        for preset in [Preset::Fast, Preset::Default] {
            let patch = make(&old, &new, preset);
            prop_assert_eq!(&apply(&old, &patch).unwrap(), &new);
        }
    }

    #[test]
    fn bytes_without_anything_in_common_come_back(old: Vec<u8>, new: Vec<u8>) {
        let patch = make(&old, &new, Preset::Default);
        prop_assert_eq!(&apply(&old, &patch).unwrap(), &new);
    }
}

fn sample() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let old: Vec<u8> =
        (0..40_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
    let mut new = old.clone();
    new.splice(50_000..50_010, *b"other bytes of another length");
    for at in (100_000..120_000).step_by(97) {
        new[at] ^= 0x55;
    }
    let patch = make(&old, &new, Preset::Default);
    (old, new, patch)
}

#[test]
fn a_patch_cut_at_any_byte_is_refused() {
    let (old, _, patch) = sample();
    for len in 0..patch.len() {
        assert!(apply(&old, &patch[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn any_flipped_bit_is_noticed() {
    let (old, _, patch) = sample();
    for bit in 0..patch.len() * 8 {
        let mut damaged = patch.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(apply(&old, &damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn another_source_is_refused_by_the_header_alone() {
    let (mut old, _, patch) = sample();
    let (header, _) = Header::read(&patch).unwrap();
    old[777] ^= 1;
    let error = check_sources(&[&old], &header, &mut |_| true).unwrap_err();
    assert!(matches!(error, ApplyError::WrongSource { .. }), "{error}");
    old.pop();
    let error = check_sources(&[&old], &header, &mut |_| true).unwrap_err();
    assert!(matches!(error, ApplyError::WrongSource { .. }), "{error}");
}

/// Bytes of which only the first may be read.
struct StartOf<'a>(&'a [u8]);

impl ReadAt for StartOf<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        assert!(offset + buf.len() as u64 <= START_BYTES as u64, "more than the start is read");
        self.0.read_at(offset, buf)
    }
}

#[test]
fn another_version_is_refused_by_its_start() {
    let old = noise(5, 1 << 20);
    let patch = make(&old, &old[5000..], Preset::Fast);
    let (header, _) = Header::read(&patch).unwrap();
    check_starts(&[&StartOf(&old)], &header).unwrap();
    for at in [0, START_BYTES - 1] {
        let mut other = old.clone();
        other[at] ^= 1;
        let source = StartOf(&other);
        for error in [
            check_starts(&[&source], &header).unwrap_err(),
            check_sources(&[&source], &header, &mut |_| true).unwrap_err(),
        ] {
            assert!(error.to_string().contains("starts differently"), "{error}");
        }
    }
}

#[test]
fn a_small_patch_is_small() {
    let (old, new, patch) = sample();
    assert_eq!(apply(&old, &patch).unwrap(), new);
    assert!(patch.len() < 900, "{}", patch.len());
}

#[test]
fn equal_sides_take_next_to_nothing() {
    let (old, _, _) = sample();
    let patch = make(&old, &old, Preset::Default);
    assert!(patch.len() < 300, "{}", patch.len());
}

/// A target that somebody else has made.
struct Made(MemoryTarget);

impl ReadAt for Made {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buf)
    }
}

impl Target for Made {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> std::io::Result<()> {
        panic!("nothing is written to what is made")
    }

    fn is_made(&self) -> bool {
        true
    }
}

/// A patch of several targets; makes those that are wanted of what the patch says that they read, and of nothing else.
/// Answers how many bytes that is.
fn make_some(old: &[u8], new: &[Vec<u8>], wanted: &[bool]) -> u64 {
    let options = DiffOptions::default();
    let targets: Vec<Named<'_>> = new.iter().map(|target| Named::new("new", target)).collect();
    let mut bytes = Vec::new();
    let sources = [Named::new("old", &old)];
    diff(&sources, &targets, &Opaque, &MemoryScratch, &options, &Unobserved, &mut bytes)
        .expect("a patch is made");
    let bytes = bytes.as_slice();
    let patch = Patch::open(&bytes).expect("a patch");
    let reads = patch.source_reads(|target| wanted[target]).expect("a patch");
    let mut part = vec![0xa5; old.len()];
    for read in &reads {
        let range = read.offset as usize..read.end() as usize;
        part[range.clone()].copy_from_slice(&old[range]);
    }
    let target = |(bytes, &is_wanted): (&Vec<u8>, &bool)| -> Box<dyn Target> {
        if is_wanted {
            return Box::new(MemoryTarget::new(bytes.len()));
        }
        Box::new(Made(MemoryTarget::from(bytes.clone())))
    };
    let targets: Vec<Box<dyn Target>> = new.iter().zip(wanted).map(target).collect();
    let to: Vec<&dyn Target> = targets.iter().map(AsRef::as_ref).collect();
    patch
        .apply(&[&part], &to, &MemoryScratch, Checkpoint::default(), &mut Unobserved)
        .expect("it is applied");
    for (target, info) in targets.iter().zip(&patch.header.targets) {
        check_target(target.as_ref(), info, &mut |_| true).expect("the target is right");
    }
    reads.iter().map(|read| read.len).sum()
}

#[test]
fn what_some_targets_read_is_no_more_than_it_must_be() {
    let old = noise(5, 300_000);
    let new: Vec<Vec<u8>> = old.chunks(100_000).map(<[u8]>::to_vec).collect();
    assert_eq!(make_some(&old, &new, &[false; 3]), 0);
    assert_eq!(make_some(&old, &new, &[true; 3]), 300_000);
    let middle = make_some(&old, &new, &[false, true, false]);
    assert!((100_000..101_000).contains(&middle), "{middle}");
    // One of them is made of another one, or of what that is made of.
    let new =
        [noise(6, 50_000), [&noise(6, 50_000)[..], &old[..10_000]].concat(), old[5000..60_000].to_vec()];
    for wanted in 0..8 {
        make_some(&old, &new, &[wanted & 1 != 0, wanted & 2 != 0, wanted & 4 != 0]);
    }
}
