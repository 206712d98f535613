//! Deltas in the store.

use std::fs;
use std::num::NonZeroUsize;

use fluvial_artifacts::{
    Algorithm, Compression, DeltaFile, DeltaInfo, Existing, FORMAT_VERSION, FileInfo, Filter, PackedFile,
    PackedInfo, Pair, PartitionUpdate, Patterns, PruneOptions, Sha256Digest, StoreError, UpdateDraft,
    UpdateError, UpdateKind, Why, creator,
};
use sha2::{Digest as _, Sha256};

use crate::support::{Depot, overwrite, version};

/// What is told of a delta whose package has these bytes: the first partition comes as a delta, others whole.
pub fn info_of(pair: &Pair, package: &[u8]) -> DeltaInfo {
    let digest = Sha256Digest(Sha256::digest(package).into());
    let (from, to) = (&pair.base.version, &pair.target.version);
    let update = |(index, name): (usize, &fluvial_artifacts::Name)| {
        let info = |partition: &fluvial_artifacts::Partition| FileInfo {
            size_bytes: partition.size_bytes,
            sha256: partition.sha256,
        };
        let delta = DeltaFile {
            algorithm: Algorithm::Rdiff,
            block_len_bytes: 2048,
            size_bytes: 100,
            sha256: digest,
            compression: Compression::Gzip,
            compressed_size_bytes: 50,
            compressed_sha256: digest,
        };
        let full = PackedInfo {
            compression: Compression::Zstd,
            compressed_size_bytes: 60,
            compressed_sha256: digest,
        };
        let is_delta = index == 0;
        PartitionUpdate {
            name: name.clone(),
            base: info(pair.base.partition(name).unwrap()),
            target: info(pair.target.partition(name).unwrap()),
            kind: if is_delta { UpdateKind::Delta } else { UpdateKind::Full },
            why: if is_delta { Why::DeltaSmaller } else { Why::DeltaNotSmaller },
            delta: is_delta.then_some(delta),
            full: (!is_delta).then_some(full),
        }
    };
    DeltaInfo {
        format_version: FORMAT_VERSION,
        machine: pair.of.machine.clone(),
        image: pair.of.image.clone(),
        from: (&pair.base).into(),
        to: (&pair.target).into(),
        partitions: pair
            .target
            .partitions
            .iter()
            .map(|partition| &partition.name)
            .enumerate()
            .map(update)
            .collect(),
        swu: PackedFile {
            name: format!("delta-update-{from}-to-{to}.swu").parse().unwrap(),
            size_bytes: package.len() as u64,
            sha256: digest,
        },
        created_by: creator(),
        time_unix_s: Some(1_700_000_000),
    }
}

/// A folder with a package and what else a delta leaves.
pub fn begin(depot: &Depot, from: &str, to: &str) -> (UpdateDraft, DeltaInfo) {
    begin_with(depot, (from, to), Existing::Kept)
}

fn begin_with(depot: &Depot, (from, to): (&str, &str), existing: Existing) -> (UpdateDraft, DeltaInfo) {
    let draft = depot.store.begin_update(depot.pair(from, to), existing).unwrap();
    let package = format!("the package from {from} to {to}");
    let info = info_of(draft.pair(), package.as_bytes());
    fs::write(draft.path().join(info.swu.name.as_str()), package).unwrap();
    for name in ["rootfs.delta", "rootfs.delta.gz", "rootfs.signature"] {
        fs::write(draft.path().join(name), name).unwrap();
    }
    fs::create_dir(draft.path().join("scratch")).unwrap();
    (draft, info)
}

/// A finished delta.
pub fn make(depot: &Depot, from: &str, to: &str) {
    let (draft, info) = begin(depot, from, to);
    draft.finish(&info, &Patterns::DEFAULT.parse().unwrap()).unwrap();
}

fn names_in(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_the_patterns_name_is_collected() {
    let depot = Depot::new();
    for text in ["0.1.0", "0.2.0", "0.3.0"] {
        depot.add(text);
    }
    let swu = |from| format!("delta-update-{from}-to-0.3.0.swu");
    let kept = |from, patterns: &str| {
        let (draft, info) = begin(&depot, from, "0.3.0");
        let folder = draft.finish(&info, &patterns.parse().unwrap()).unwrap();
        assert_eq!(folder, depot.store.update_folder(&depot.of, &version(from), &version("0.3.0")));
        assert_eq!(DeltaInfo::read(&fs::read(folder.join("delta-info.json")).unwrap()).unwrap(), info);
        let text = fs::read_to_string(folder.join("build-info.txt")).unwrap();
        assert!(text.contains(&format!("VERSION_FROM={from}\nVERSION_TO=0.3.0\n")), "{text}");
        assert!(text.contains("INIT_MANAGER=systemd\nCOMMIT='of 0.3.0'\n"), "{text}");
        names_in(&folder)
    };
    assert_eq!(kept("0.1.0", "*.swu"), ["build-info.txt", "delta-info.json", &swu("0.1.0")]);
    let all = kept("0.2.0", "*.delta *.signature *.gz");
    let expected = ["build-info.txt", "delta-info.json", &swu("0.2.0"), "rootfs.delta", "rootfs.delta.gz"];
    assert_eq!(all[..5], expected);
    assert_eq!(all[5..], ["rootfs.signature"]);
    assert_eq!(names_in(&depot.store.version_folder(&depot.id("0.3.0")).join("updates")).len(), 2);
}

#[test]
fn a_delta_is_there_at_once_or_not_at_all() {
    let depot = Depot::new();
    depot.add("0.1.0");
    depot.add("0.2.0");
    let before = depot.files();
    let (draft, _) = begin(&depot, "0.1.0", "0.2.0");
    assert_eq!(depot.stored()[1].deltas.len(), 0);
    drop(draft);
    assert_eq!(depot.files(), before);

    let (draft, mut info) = begin(&depot, "0.1.0", "0.2.0");
    info.swu.size_bytes += 1;
    let result = draft.finish(&info, &Patterns::DEFAULT.parse().unwrap());
    assert!(matches!(result, Err(UpdateError::Package { source: None, .. })), "{result:?}");
    assert_eq!(depot.files(), before);

    // Killed: its lock is gone, its folder is not.
    let left = depot.store.version_folder(&depot.id("0.2.0")).join("updates/.making-dead");
    fs::create_dir_all(left.join("more")).unwrap();
    make(&depot, "0.1.0", "0.2.0");
    assert!(!left.exists());
    let again = depot.store.begin_update(depot.pair("0.1.0", "0.2.0"), Existing::Kept);
    assert!(matches!(again, Err(UpdateError::Exists { .. })), "{again:?}");
}

#[test]
fn a_delta_stays_until_another_takes_its_place() {
    let depot = Depot::new();
    depot.add("0.1.0");
    depot.add("0.2.0");
    let replace = |patterns: &str, change: fn(&mut DeltaInfo)| {
        let (draft, mut info) = begin_with(&depot, ("0.1.0", "0.2.0"), Existing::Replaced);
        change(&mut info);
        draft.finish(&info, &patterns.parse().unwrap())
    };
    // There is none, which is no harm.
    let folder = replace("*.swu", |_| {}).unwrap();
    let before = depot.files();
    let result = replace("*", |info| info.swu.size_bytes += 1);
    assert!(matches!(result, Err(UpdateError::Package { source: None, .. })), "{result:?}");
    assert_eq!(depot.files(), before);
    replace("*.swu *.delta", |info| info.time_unix_s = None).unwrap();
    assert_eq!(names_in(&folder).len(), 4);
    assert_eq!(names_in(folder.parent().unwrap()), ["from_0.1.0"], "the old one is gone");
    let document = fs::read(folder.join(DeltaInfo::FILE_NAME)).unwrap();
    assert_eq!(DeltaInfo::read(&document).unwrap().time_unix_s, None);
}

#[test]
fn what_is_told_must_be_of_these_versions() {
    let depot = Depot::new();
    for text in ["0.1.0", "0.2.0", "0.3.0"] {
        depot.add(text);
    }
    let other = info_of(&depot.pair("0.1.0", "0.3.0"), b"x");
    let changes: [fn(&mut DeltaInfo, DeltaInfo); 4] = [
        |info, _| info.machine = "other".parse().unwrap(),
        |info, other| info.to = other.to,
        |info, _| info.partitions.truncate(1),
        |info, other| info.partitions[0].target = other.partitions[0].target,
    ];
    for change in changes {
        let (draft, mut info) = begin(&depot, "0.1.0", "0.2.0");
        change(&mut info, other.clone());
        let result = draft.finish(&info, &Patterns::DEFAULT.parse().unwrap());
        assert!(matches!(result, Err(UpdateError::NotSo(_))), "{result:?}");
    }
}

#[test]
fn nothing_is_pruned_while_a_delta_is_made_and_nothing_made_of_what_changed() {
    let depot = Depot::new();
    depot.add("0.1.0");
    depot.add("0.2.0");
    let pair = depot.pair("0.1.0", "0.2.0");
    let keep = NonZeroUsize::MIN;
    let prune =
        || depot.store.prune(&Filter::default(), PruneOptions { keep, deltas: false, dry_run: false });
    // Two deltas at a time are no harm.
    let first = depot.store.begin_update(pair.clone(), Existing::Kept).unwrap();
    let second = depot.store.begin_update(pair.clone(), Existing::Kept).unwrap();
    assert!(matches!(prune(), Err(StoreError::Busy(_))));
    drop(first);
    assert!(matches!(prune(), Err(StoreError::Busy(_))));
    drop(second);
    prune().unwrap();
    assert_eq!(depot.versions(), ["0.2.0"]);
    let gone = depot.store.begin_update(pair, Existing::Kept);
    assert!(matches!(gone, Err(UpdateError::Store(StoreError::NoVersion { .. }))), "{gone:?}");

    depot.add("0.1.0");
    let pair = depot.pair("0.1.0", "0.2.0");
    let mut changed = pair.base.clone();
    changed.time_unix_s = Some(5);
    let path = depot.store.version_folder(&depot.id("0.1.0")).join("build-info.json");
    overwrite(&path, &changed.to_bytes().unwrap());
    let result = depot.store.begin_update(pair, Existing::Kept);
    assert!(matches!(&result, Err(UpdateError::Changed(found)) if *found == version("0.1.0")), "{result:?}");
}
