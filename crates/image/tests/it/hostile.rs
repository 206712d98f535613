//! Small real images of every format, whole and damaged.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fluvial_delta::structure::{Dissector as _, Structure};
use fluvial_image::{Anatomist, leftover_bytes};
use proptest::prelude::*;

use crate::proof::{check_form, content};

/// Longest that a damaged image of 200 KiB may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Name and bytes of the committed images.
fn seeds() -> &'static [(String, Vec<u8>)] {
    static SEEDS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
        let mut seeds: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().extension().is_none_or(|extension| extension != "sh"))
            .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
            .collect();
        seeds.sort();
        assert!(seeds.len() > 15);
        seeds
    })
}

/// Whatever comes out must be well formed, and come soon.
fn survives(name: &str, image: &[u8]) -> Option<Structure> {
    let start = Instant::now();
    let image = image.to_vec();
    let structure = Anatomist.dissect(&image, name);
    let leftover_bytes = leftover_bytes(&image);
    assert!(leftover_bytes <= image.len() as u64, "{name}: {leftover_bytes}");
    assert!(start.elapsed() < PATIENCE, "{name}: {:?}", start.elapsed());
    if let Some(structure) = &structure {
        check_form(structure, image.len() as u64);
    }
    structure
}

/// FNV-1a of the part's bytes.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[test]
fn seeds_hold_what_they_held() {
    for (name, image) in seeds() {
        let structure = survives(name, image).unwrap_or_else(|| panic!("{name}: not recognised"));
        let mut listing = format!("{}\n", structure.kind);
        for part in &structure.parts {
            let bytes = content(image, &part.content);
            writeln!(listing, "{:>6} {:016x} {}", bytes.len(), hash(&bytes), part.path).unwrap();
        }
        insta::assert_snapshot!(name.as_str(), listing);
    }
}

#[test]
fn a_seed_cut_anywhere_survives() {
    for (name, image) in seeds() {
        for cut in (0..image.len()).step_by(509).chain(0..image.len().min(256)) {
            survives(name, &image[..cut]);
        }
    }
}

/// Changes that go to the heart of a format's numbers: a bit, or a field of up to eight bytes set to
/// an extreme.
#[derive(Debug, Clone)]
enum Damage {
    Bit(usize, u8),
    Field(usize, usize, u8),
    Number(usize, u32),
}

impl Damage {
    /// Damages one of the bytes that are not zero, or one near it: most of an image is padding.
    fn inflict(&self, image: &mut [u8], used: &[usize]) {
        let place = |at: usize| used[at % used.len()];
        match *self {
            Self::Bit(at, bit) => image[place(at)] ^= 1 << bit,
            Self::Field(at, len, value) => {
                let start = place(at) & !(len - 1);
                let end = (start + len).min(image.len());
                image[start..end].fill(value);
            }
            Self::Number(at, value) => {
                let start = place(at) & !3;
                let end = (start + 4).min(image.len());
                image[start..end].copy_from_slice(&value.to_le_bytes()[..end - start]);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        (
            any::<usize>(),
            prop_oneof![Just(1), Just(2), Just(4), Just(8)],
            prop_oneof![Just(0), Just(0xff), Just(0x7f)]
        )
            .prop_map(|(at, len, value)| Damage::Field(at, len, value)),
        (any::<usize>(), 0..1_u32 << 18).prop_map(|(at, value)| Damage::Number(at, value)),
    ]
}

proptest! {
    #[test]
    fn damaged_seeds_survive(damages in proptest::collection::vec(damage(), 1..6)) {
        for (name, seed) in seeds() {
            let mut image = seed.clone();
            let used: Vec<_> = (0..image.len()).filter(|at| image[*at] != 0).collect();
            for damage in &damages {
                damage.inflict(&mut image, &used);
            }
            survives(name, &image);
        }
    }

    /// As above, but close to the start of the metadata, where superblocks and tables are.
    #[test]
    fn damaged_headers_survive(damages in proptest::collection::vec(damage(), 1..4)) {
        for (name, seed) in seeds() {
            let mut image = seed.clone();
            let used: Vec<_> = (0..image.len().min(4096)).filter(|at| image[*at] != 0).collect();
            for damage in &damages {
                damage.inflict(&mut image, &used);
            }
            survives(name, &image);
        }
    }

    #[test]
    fn any_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        survives("any", &bytes);
    }
}
