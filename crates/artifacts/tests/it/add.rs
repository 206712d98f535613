//! Adding versions.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Barrier;
use std::thread;

use fluvial_artifacts::{AddError, BuildInfo, DocumentError, Manifest};
use sha2::{Digest as _, Sha256};

use crate::support::{Depot, new_image};

#[test]
fn a_version_is_what_was_added() {
    let depot = Depot::new();
    let manifest = depot.add("0.1.0");
    let folder = depot.store.version_folder(&depot.id("0.1.0"));
    assert_eq!(
        depot.files().iter().map(|name| name.rsplit('/').next().unwrap()).collect::<Vec<_>>(),
        ["qemux86-64", "image-prod", "0.1.0", "boot.img", "build-info.json", "build-info.txt", "rootfs.img"]
    );
    for (partition, name) in manifest.partitions.iter().zip(["rootfs", "boot"]) {
        let added = fs::read(depot.path(&format!("{name}-0.1.0.img"))).unwrap();
        assert_eq!(fs::read(folder.join(partition.file_name())).unwrap(), added);
        assert_eq!(partition.name.as_str(), name);
        assert_eq!(partition.size_bytes, added.len() as u64);
        assert_eq!(partition.sha256.0, <[u8; 32]>::from(Sha256::digest(&added)));
    }
    assert_eq!(depot.store.manifest(&depot.id("0.1.0")).unwrap(), manifest);
    let text = fs::read_to_string(folder.join(Manifest::TEXT_NAME)).unwrap();
    let expected = "MACHINE=qemux86-64\nIMAGE=image-prod\nBUILD_VERSION=0.1.0\nDISTRO=poky\n\
                    PARTITIONS='rootfs boot'\nINIT_MANAGER=systemd\nCOMMIT='of 0.1.0'\n";
    assert_eq!(text, expected);
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("rootfs.img"), mode("build-info.json")), (0o444, 0o444));
    // Others may read it, as the process's mask allows.
    let fresh = depot.path("fresh");
    fs::create_dir(&fresh).unwrap();
    assert_eq!(mode(""), fs::metadata(fresh).unwrap().permissions().mode() & 0o777);
}

#[test]
fn a_version_that_is_there_is_never_overwritten() {
    let depot = Depot::new();
    let manifest = depot.add("0.1.0");
    let mut other = depot.new_version("0.1.0");
    other.images[0].path = depot.write("other", &[7; 1024]);
    assert!(matches!(depot.try_add(&other), Err(AddError::Exists(id)) if id == depot.id("0.1.0")));
    assert_eq!(depot.store.manifest(&depot.id("0.1.0")).unwrap(), manifest);

    // Whatever has the name, and is none of ours.
    let folder = depot.store.image_folder(&depot.of);
    fs::create_dir(folder.join("0.2.0")).unwrap();
    fs::write(folder.join("0.3.0"), "a file").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("0.4.0")).unwrap();
    for text in ["0.2.0", "0.3.0", "0.4.0"] {
        assert!(matches!(depot.try_add(&depot.new_version(text)), Err(AddError::Exists(_))), "{text}");
    }
    assert_eq!(fs::read_dir(folder.join("0.2.0")).unwrap().count(), 0);
}

#[test]
fn one_of_many_that_add_the_same_version_wins() {
    let depot = Depot::new();
    let mut runs: Vec<_> = (0..8)
        .map(|run| {
            let mut new = depot.new_version("0.1.0");
            new.images[0].path = depot.write(&format!("run-{run}"), &vec![run; 512 << run]);
            new
        })
        .collect();
    let barrier = Barrier::new(runs.len());
    let results: Vec<_> = thread::scope(|scope| {
        let start = |new| {
            let (depot, barrier) = (&depot, &barrier);
            scope.spawn(move || {
                barrier.wait();
                depot.try_add(new)
            })
        };
        let threads: Vec<_> = runs.iter_mut().map(|new| start(&*new)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    let lost = results.iter().filter(|result| matches!(result, Err(AddError::Exists(_)))).count();
    assert_eq!((won.len(), lost), (1, runs.len() - 1), "{results:?}");
    assert_eq!(depot.store.manifest(&depot.id("0.1.0")).unwrap(), *won[0]);
    assert!(depot.store.verify(depot.stored().remove(0), &|_| true).unwrap().is_whole());
    assert_eq!(depot.files().len(), 7, "{:?}", depot.files());
}

#[test]
fn what_a_killed_run_has_left_is_removed_and_what_another_makes_is_not() {
    let depot = Depot::new();
    depot.add("0.1.0");
    let folder = depot.store.image_folder(&depot.of);
    let (dead, alive) = (folder.join(".adding-dead"), folder.join(".adding-alive"));
    for path in [&dead, &alive] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("rootfs.img"), "half").unwrap();
    }
    let lock = File::open(&alive).unwrap();
    lock.lock().unwrap();
    depot.add("0.2.0");
    assert!(!dead.exists() && alive.join("rootfs.img").exists());
    drop(lock);
    depot.add("0.3.0");
    assert!(!alive.exists());
    assert_eq!(depot.versions(), ["0.1.0", "0.2.0", "0.3.0"]);
}

#[test]
fn what_fails_leaves_nothing_behind() {
    let depot = Depot::new();
    let calls = std::cell::Cell::new(0);
    let stop = |_| {
        calls.set(calls.get() + 1);
        calls.get() < 2
    };
    let stopped = depot.store.add(&depot.new_version("0.1.0"), &stop);
    assert!(matches!(stopped, Err(AddError::Cancelled)), "{stopped:?}");
    assert!(!depot.store.root().exists());
    assert_eq!(calls.get(), 2);

    let mut new = depot.new_version("0.1.0");
    new.images[1].path = depot.path("missing");
    assert!(matches!(depot.try_add(&new), Err(AddError::Read { path, .. }) if path == depot.path("missing")));
    new.images[1].path = depot.path("");
    assert!(matches!(depot.try_add(&new), Err(AddError::Read { .. })));
    assert!(!depot.store.root().exists());
}

#[test]
fn what_cannot_be_described_is_not_copied() {
    let depot = Depot::new();
    let refused = |change: fn(&mut fluvial_artifacts::NewVersion)| {
        let mut new = depot.new_version("0.1.0");
        change(&mut new);
        match depot.store.add(&new, &|_| panic!("it was copied")) {
            Err(AddError::Document { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(refused(|new| new.images.clear()), DocumentError::Range(_)));
    let twice = refused(|new| new.images[1].name = "rootfs".parse().unwrap());
    assert!(matches!(twice, DocumentError::Twice(name) if name == "rootfs"));
    assert!(matches!(refused(|new| new.images[0].block_len_bytes = 0), DocumentError::Range(_)));
    assert!(matches!(refused(|new| new.images[0].partition_bytes = Some(512)), DocumentError::Range(_)));
    let other = refused(|new| new.build_info = BuildInfo::from_lines(["MACHINE=other"]).unwrap());
    assert!(matches!(other, DocumentError::Contradiction(_)));
    let both = refused(|new| new.build_info = new.build_notes.clone());
    assert!(matches!(both, DocumentError::Contradiction(_)));
    let empty = depot.write("empty", b"");
    let mut new = depot.new_version("0.1.0");
    new.images.push(new_image("data", &empty));
    assert!(matches!(depot.try_add(&new), Err(AddError::Document { .. })));
}

#[test]
fn a_copy_shares_nothing_with_its_source() {
    let depot = Depot::new();
    let new = depot.new_version("0.1.0");
    depot.try_add(&new).unwrap();
    let copy = depot.store.version_folder(&depot.id("0.1.0")).join("rootfs.img");
    let before = fs::read(&copy).unwrap();
    assert_ne!(fs::metadata(&copy).unwrap().ino(), fs::metadata(&new.images[0].path).unwrap().ino());
    fs::write(&new.images[0].path, "another build").unwrap();
    assert_eq!(fs::read(&copy).unwrap(), before);
}
