//! `apply(diff(old, new), old) = new`, for any bytes.

use fluvial_delta::apply::{ApplyError, Checkpoint, Patch, check_sources, check_starts, check_target};
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
