//! Signatures and deltas, with the real `rdiff`, and of any bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use fluvial_delta::structure::ReadAt;
use fluvial_swu::rsync::{
    Applier, ApplyError, BLOCK_LEN_MAX, DeltaError, DeltaReport, Magic, Signature, SignatureOptions,
    write_delta,
};
use proptest::prelude::*;
use tempfile::TempDir;

fn options(magic: Magic, block_len: usize) -> SignatureOptions {
    SignatureOptions { magic, block_len, strong_len: magic.strong_len_max() }
}

fn sign(base: &[u8], options: SignatureOptions) -> Signature {
    Signature::make(&base, options, &|_| true).unwrap()
}

fn written(signature: &Signature) -> Vec<u8> {
    let mut bytes = Vec::new();
    signature.write(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, signature.written_bytes());
    bytes
}

fn delta(signature: &Signature, base: Option<&dyn ReadAt>, target: &[u8]) -> (Vec<u8>, DeltaReport) {
    let mut delta = Vec::new();
    let report = write_delta(signature, base, &target, &mut delta, &|_| true).unwrap();
    assert_eq!(report.delta_bytes, delta.len() as u64);
    assert_eq!(report.literal_bytes + report.copied_bytes, target.len() as u64);
    (delta, report)
}

fn apply(base: &[u8], mut delta: &[u8], target_len: usize) -> Result<Vec<u8>, ApplyError> {
    let mut target = Vec::new();
    let mut applier = Applier::new(&base, target_len as u64);
    let result = applier.apply(&mut delta, &mut target, &|_| true);
    assert_eq!(applier.made_bytes(), target.len() as u64);
    result.map(|()| target)
}

/// Bytes without likeness.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u8
    };
    (0..len).map(next).collect()
}

/// A base and targets of it, as `rdiff` and ours make deltas of them.
fn pairs() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let base = [noise(1, 300_001), vec![0; 200_000], noise(2, 1_700_003), vec![7; 100_000]].concat();
    let mut moved = [&base[700_000..2_100_000], &noise(3, 70_001), &base[11..650_000]].concat();
    for at in (5_000..moved.len()).step_by(37_777) {
        moved[at] ^= 0x55;
    }
    let mut edited = base.clone();
    for at in (700..base.len()).step_by(9_999) {
        edited[at..(at + 3).min(base.len())].fill(0xee);
    }
    let end = [&noise(4, 3_000), &base[base.len() - 777..]].concat();
    let short_end = base[2_299_000..].to_vec();
    vec![
        ("same", base.clone(), base.clone()),
        ("moved", base.clone(), moved),
        ("edited", base.clone(), edited),
        ("grown", base.clone(), [&base[..], &noise(5, 123_457)].concat()),
        ("cut", base.clone(), base[..1_234_567].to_vec()),
        ("the end only", base.clone(), end),
        ("a base of few blocks", short_end.clone(), [&noise(6, 10), &short_end[..]].concat()),
        ("short", b"a short base".to_vec(), b"a short base".to_vec()),
        ("shorter", b"a short base".to_vec(), b"base".to_vec()),
        ("from nothing", Vec::new(), noise(7, 70_000)),
        ("to nothing", base, Vec::new()),
        ("nothing", Vec::new(), Vec::new()),
    ]
}

/// Files for `rdiff`.
struct Rdiff {
    folder: TempDir,
}

impl Rdiff {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, arguments: &[&str], inputs: &[&Path]) -> Vec<u8> {
        let out = self.path("out");
        let status = Command::new("rdiff").arg("-f").args(arguments).args(inputs).arg(&out).status().unwrap();
        assert!(status.success(), "rdiff {arguments:?}: {status}");
        fs::read(out).unwrap()
    }

    fn signature(&self, base: &[u8], options: SignatureOptions) -> Vec<u8> {
        let (hash, rolling) = match options.magic {
            Magic::Md4Rollsum => ("md4", "rollsum"),
            Magic::Blake2Rollsum => ("blake2", "rollsum"),
            Magic::Md4RabinKarp => ("md4", "rabinkarp"),
            Magic::Blake2RabinKarp => ("blake2", "rabinkarp"),
        };
        let (block_len, strong_len) = (options.block_len.to_string(), options.strong_len.to_string());
        let base = self.put("base", base);
        self.run(&["-H", hash, "-R", rolling, "-b", &block_len, "-S", &strong_len, "signature"], &[&base])
    }

    fn delta(&self, signature: &[u8], target: &[u8]) -> Vec<u8> {
        let (signature, target) = (self.put("signature", signature), self.put("target", target));
        self.run(&["delta"], &[&signature, &target])
    }

    fn patch(&self, base: &[u8], delta: &[u8]) -> Vec<u8> {
        let (base, delta) = (self.put("base", base), self.put("delta", delta));
        self.run(&["patch"], &[&base, &delta])
    }
}

/// Both ways, with and without the base.
fn exchange(rdiff: &Rdiff, name: &str, base: &[u8], target: &[u8], options: SignatureOptions) {
    let what = format!("{name}, {options:?}");
    let signature = sign(base, options);
    let theirs = rdiff.signature(base, options);
    assert_eq!(written(&signature), theirs, "{what}: the signature");
    let read = Signature::read(&mut &theirs[..]).unwrap();
    assert_eq!(read.options(), options, "{what}");
    assert_eq!(written(&read), theirs, "{what}: the signature, read and written");

    let theirs = rdiff.delta(&theirs, target);
    assert_eq!(apply(base, &theirs, target.len()).unwrap(), target, "{what}: their delta, applied here");
    let by_sums = delta(&read, None, target).0;
    assert_eq!(delta(&signature, None, target).0, by_sums, "{what}: signatures made and read are the same");
    let with_base = delta(&signature, Some(&base), target).0;
    for (way, ours) in [("by sums", &by_sums), ("with the base", &with_base)] {
        assert_eq!(apply(base, ours, target.len()).unwrap(), target, "{what} {way}: applied here");
        assert_eq!(rdiff.patch(base, ours), target, "{what} {way}: applied by rdiff");
        // Of a delta of few commands each one is more than half a percent.
        let limit = theirs.len() + (theirs.len() / 200).max(16);
        assert!(ours.len() <= limit, "{what} {way}: {} > {}", ours.len(), theirs.len());
    }
}

#[test]
fn rdiff_and_ours_read_each_other() {
    let rdiff = Rdiff::new();
    for (place, (name, base, target)) in pairs().iter().enumerate() {
        for magic in Magic::ALL {
            // All lengths with each magic, but not with each pair: a thousand processes are enough.
            let lens = [512, 1024, 2048, 4096, 16384, 65536];
            for block_len in [lens[place % 6], lens[(place + 3) % 6], 1000 + place] {
                exchange(&rdiff, name, base, target, options(magic, block_len));
            }
        }
    }
}

#[test]
fn short_strong_sums_are_as_rdiff_writes_them() {
    let rdiff = Rdiff::new();
    let base = noise(8, 100_000);
    for magic in Magic::ALL {
        for strong_len in [5, 8, magic.strong_len_max() - 1] {
            let options = SignatureOptions { magic, block_len: 700, strong_len };
            assert_eq!(written(&sign(&base, options)), rdiff.signature(&base, options), "{options:?}");
        }
    }
}

#[test]
fn blocks_of_any_length_serve() {
    let base = noise(9, 30_011);
    let target = [&base[5_001..], &base[..9_000]].concat();
    for block_len in [1, 2, 3, 7, 15, 16, 17, 63, 30_010, 30_011, 30_012, BLOCK_LEN_MAX] {
        for magic in Magic::ALL {
            let signature = sign(&base, options(magic, block_len));
            for base_there in [None, Some(&base as &dyn ReadAt)] {
                let (delta, _) = delta(&signature, base_there, &target);
                assert!(apply(&base, &delta, target.len()).unwrap() == target, "blocks of {block_len}");
            }
        }
    }
}

/// Whoever made the sums short, or has found two blocks with the same MD4: a wrong delta must not come of it
/// where the base is at hand.
#[test]
fn equal_sums_of_different_blocks_do_no_harm_where_the_base_is_at_hand() {
    // Both sums of the rolling sum are the same where bytes go one up, two down and one up.
    let base = [10, 20, 30, 40].repeat(64);
    let target = [11, 18, 31, 40].repeat(64);
    // With one byte of a strong sum, some of the blocks of so many targets collide.
    let mut are_wrong = 0;
    for salt in 0..2_000u16 {
        let salted = |bytes: &[u8]| [bytes, &salt.to_be_bytes()].concat();
        let (base, target) = (salted(&base), salted(&target));
        let options = SignatureOptions { magic: Magic::Md4Rollsum, block_len: base.len(), strong_len: 1 };
        let signature = sign(&base, options);
        let (by_sums, _) = delta(&signature, None, &target);
        are_wrong += usize::from(apply(&base, &by_sums, target.len()).unwrap() != target);
        let (with_base, _) = delta(&signature, Some(&base), &target);
        assert!(apply(&base, &with_base, target.len()).unwrap() == target);
    }
    assert!(are_wrong > 0, "the blocks were to collide");
}

#[test]
fn what_did_not_change_is_one_copy() {
    let base = [noise(10, 2_000_000), vec![0; 5_000_000], noise(11, 3_000_000)].concat();
    for magic in Magic::ALL {
        let signature = sign(&base, options(magic, 2048));
        for base_there in [None, Some(&base as &dyn ReadAt)] {
            let (delta, report) = delta(&signature, base_there, &base);
            assert_eq!(report.copies, 1);
            assert_eq!(delta.len(), 4 + 1 + 1 + 4 + 1);
        }
    }
}

#[test]
fn with_the_base_a_changed_byte_costs_few_bytes() {
    let base = noise(12, 4_000_000);
    let mut target = base.clone();
    let changed: Vec<usize> = (0..target.len()).step_by(701).collect();
    for &at in &changed {
        target[at] ^= 1;
    }
    let signature = sign(&base, SignatureOptions::default());
    let (by_sums, _) = delta(&signature, None, &target);
    assert!(by_sums.len() > target.len(), "no block is the same");
    let (with_base, report) = delta(&signature, Some(&base), &target);
    assert_eq!(report.literal_bytes as usize, changed.len());
    assert!(with_base.len() < changed.len() * 11);
}

#[test]
fn a_delta_is_the_same_on_any_number_of_threads() {
    let (_, base, target) = pairs().swap_remove(1);
    let signature = sign(&base, SignatureOptions { block_len: 60, ..SignatureOptions::default() });
    for base_there in [None, Some(&base as &dyn ReadAt)] {
        let on = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (sign(&base, signature.options()), delta(&signature, base_there, &target).0))
        });
        assert!(on[0] == on[1]);
        assert!(on[0].0 == signature);
    }
}

#[test]
fn another_base_is_refused() {
    let base = noise(13, 10_000);
    let signature = sign(&base, SignatureOptions::default());
    let read = Signature::read(&mut &written(&signature)[..]).unwrap();
    for other in [noise(13, 10_241), noise(13, 8_192), Vec::new()] {
        for signature in [&signature, &read] {
            let made = write_delta(signature, Some(&other), &base, &mut Vec::new(), &|_| true);
            assert!(matches!(made, Err(DeltaError::OtherBase { blocks: 10, .. })));
        }
    }
    // As many blocks, another length: only the one that was made knows that.
    let other = noise(13, 9_999);
    let made = write_delta(&signature, Some(&other), &base, &mut Vec::new(), &|_| true);
    assert!(matches!(made, Err(DeltaError::OtherBase { base_len: 9_999, blocks: 10 })));
}

#[test]
fn the_caller_can_cancel() {
    let base = noise(14, 3_000_000);
    let signature = sign(&base, SignatureOptions::default());
    let made = write_delta(&signature, None, &base, &mut Vec::new(), &|_| false);
    assert!(matches!(made, Err(DeltaError::Cancelled)));
    let (delta, _) = delta(&signature, None, &base);
    let mut target = Vec::new();
    let mut again = Applier::new(&base, base.len() as u64);
    let stopped = again.apply(&mut &delta[..], &mut target, &|_| false);
    assert!(matches!(stopped, Err(ApplyError::Cancelled)));
    assert_eq!(again.made_bytes(), target.len() as u64);
    assert_eq!(target, base[..target.len()]);
}

#[test]
fn an_applier_goes_on_where_another_one_stopped() {
    let (_, base, target) = pairs().swap_remove(1);
    let (delta, _) = delta(&sign(&base, SignatureOptions::default()), None, &target);
    let len = target.len();
    for from in [0, 1, 100_000, 1_400_001, 1_450_000, len - 1, len, len + 5] {
        let mut rest = Vec::new();
        let mut applier = Applier::new(&base, len as u64).skip_to(from as u64);
        assert_eq!(applier.made_bytes(), from.min(len) as u64);
        applier.apply(&mut &delta[..], &mut rest, &|_| true).unwrap();
        assert!(rest == target[from.min(len)..], "from {from}");
    }
}

/// A packed stream whose own end was cut off.
struct CutBehind<'a>(&'a [u8]);

impl io::Read for CutBehind<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

#[test]
fn a_fault_behind_the_end_is_not_the_end() {
    let (base, delta) = (noise(16, 10), b"rs\x02\x36\x01x\0");
    let made = Applier::new(&base, 1).apply(&mut CutBehind(delta), &mut Vec::new(), &|_| true);
    assert!(
        matches!(made, Err(ApplyError::ReadDelta(error)) if error.kind() == io::ErrorKind::UnexpectedEof)
    );
}

#[test]
fn damaged_deltas_are_refused_for_what_they_are() {
    let base = noise(15, 1_000);
    let magic = [0x72, 0x73, 0x02, 0x36];
    let refused = |commands: &[u8], target_len| {
        let delta = [&magic[..], commands].concat();
        apply(&base, &delta, target_len).expect_err("it is damaged")
    };
    assert_eq!(apply(&base, &[&magic[..], &[2, 8, 9, 0x45, 1, 1, 0]].concat(), 3).unwrap(), [8, 9, base[1]]);
    assert!(matches!(apply(&base, b"rs\x02", 0), Err(ApplyError::Truncated { target_offset: 0 })));
    assert!(matches!(apply(&base, b"rs\x01\x36\0", 0), Err(ApplyError::NotADelta)));
    assert!(matches!(refused(&[], 0), ApplyError::Truncated { target_offset: 0 }));
    assert!(matches!(refused(&[2, 8, 9], 2), ApplyError::Truncated { target_offset: 2 }));
    assert!(matches!(refused(&[1, 8, 2, 8], 3), ApplyError::Truncated { target_offset: 1 }));
    assert!(matches!(refused(&[0x48, 0], 1), ApplyError::Truncated { .. }));
    assert!(matches!(refused(&[0, 0], 0), ApplyError::TrailingBytes));
    assert!(matches!(refused(&[1, 8, 0], 2), ApplyError::TooShort { have: 1, target_len: 2 }));
    assert!(matches!(refused(&[2, 8, 9, 0], 1), ApplyError::TooLong { target_len: 1 }));
    assert!(matches!(refused(&[0x45, 0, 3, 0], 2), ApplyError::TooLong { target_len: 2 }));
    assert!(matches!(refused(&[0x41, 0, 0], 0), ApplyError::EmptyCommand { target_offset: 0 }));
    assert!(matches!(refused(&[0x45, 1, 0, 0], 0), ApplyError::EmptyCommand { target_offset: 0 }));
    for first in 0x55..=0xff {
        let error = refused(&[1, 8, first], 1);
        assert!(
            matches!(error, ApplyError::UnknownCommand { first: found, target_offset: 1 } if found == first)
        );
    }
    let outside = [0x4a, 0x03, 0xe8, 0, 1, 0];
    assert!(matches!(
        refused(&outside, 1),
        ApplyError::OutsideBase { offset: 1_000, len: 1, base_len: 1_000 }
    ));
    let far = [&[0x51][..], &[0xff; 8], &[1, 0]].concat();
    assert!(matches!(refused(&far, 1), ApplyError::OutsideBase { offset: u64::MAX, .. }));
    let huge = [&[0x44][..], &[0xff; 8]].concat();
    assert!(matches!(refused(&huge, 1), ApplyError::TooLong { .. }));
}

/// A base, and edits of it that make the target.
fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let row = prop_oneof![
        (any::<u64>(), 0..3_000usize).prop_map(|(seed, len)| noise(seed, len)),
        (0u8..3, 0..3_000usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let edit = (any::<prop::sample::Index>(), 0..2_000usize, row.clone());
    (prop::collection::vec(row, 0..6), prop::collection::vec(edit, 0..6)).prop_map(|(rows, edits)| {
        let base = rows.concat();
        let mut target = base.clone();
        for (at, out, put) in edits {
            let at = at.index(target.len() + 1);
            let end = target.len().min(at + out);
            target.splice(at..end, put);
        }
        (base, target)
    })
}

proptest! {
    #[test]
    fn what_a_delta_makes_is_the_target(
        (base, target) in edited(),
        block_len in prop_oneof![1usize..40, 40usize..3_000],
        magic in 0usize..4,
        skip in any::<prop::sample::Index>(),
    ) {
        let signature = sign(&base, options(Magic::ALL[magic], block_len));
        let read = Signature::read(&mut &written(&signature)[..]).unwrap();
        let by_sums = delta(&signature, None, &target).0;
        prop_assert_eq!(&delta(&read, None, &target).0, &by_sums);
        for made in [by_sums, delta(&read, Some(&base), &target).0] {
            prop_assert!(apply(&base, &made, target.len()).unwrap() == target);
            let from = skip.index(target.len() + 1);
            let mut rest = Vec::new();
            let mut applier = Applier::new(&base, target.len() as u64).skip_to(from as u64);
            applier.apply(&mut &made[..], &mut rest, &|_| true).unwrap();
            prop_assert!(rest == target[from..]);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_applied_within_their_limits(
        commands in prop::collection::vec(
            prop_oneof![4 => 0u8..0x48, 2 => 0x45u8..0x55, 1 => any::<u8>()], 0..60),
        target_len in 0usize..500,
    ) {
        let base = noise(16, 256);
        let delta = [&[0x72, 0x73, 0x02, 0x36], &commands[..]].concat();
        if let Ok(made) = apply(&base, &delta, target_len) {
            prop_assert_eq!(made.len(), target_len);
        }
    }
}
