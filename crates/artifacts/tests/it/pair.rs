//! What is checked before a delta is made.

use std::collections::BTreeSet;
use std::fs;

use fluvial_artifacts::{BuildInfo, LayoutDifference, NewVersion, PairError, PairOptions, Role, StoreError};

use crate::support::{Depot, overwrite, version};

impl Depot {
    fn try_pair(&self, from: &str, to: &str) -> Result<fluvial_artifacts::Pair, PairError> {
        self.store.pair(&self.of, &version(from), &version(to), &PairOptions::default())
    }

    fn add_changed(&self, text: &str, change: impl FnOnce(&mut NewVersion)) {
        let mut new = self.new_version(text);
        change(&mut new);
        self.try_add(&new).unwrap();
    }
}

#[test]
fn two_versions_that_fit() {
    let depot = Depot::new();
    let (old, new) = (depot.add("0.1.0"), depot.add("0.2.0"));
    let pair = depot.try_pair("0.1.0", "0.2.0").unwrap();
    assert_eq!((pair.base, pair.target), (old, new));
}

#[test]
fn what_is_missing_comes_with_what_there_is() {
    let depot = Depot::new();
    depot.add("0.2.0");
    depot.add("0.10.0");
    depot.add_changed("0.1.0", |new| new.id.of.machine = "raspberrypi4".parse().unwrap());
    let error = depot.try_pair("0.1.0", "0.2.0").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no base qemux86-64/image-prod/0.1.0; it has 0.2.0, 0.10.0 (there is one for raspberrypi4)"
    );
    let PairError::Missing { role, versions, elsewhere, .. } = error else { panic!("{error}") };
    assert_eq!((role, versions.len(), elsewhere.len()), (Role::Base, 2, 1));
    let error = depot.try_pair("0.2.0", "0.3.0").unwrap_err();
    assert!(matches!(error, PairError::Missing { role: Role::Target, .. }), "{error}");
    assert!(matches!(depot.try_pair("0.2.0", "0.2.0"), Err(PairError::SameVersion(_))));
    overwrite(&depot.store.version_folder(&depot.id("0.2.0")).join("build-info.json"), b"");
    let error = depot.try_pair("0.2.0", "0.10.0").unwrap_err();
    let is_damage =
        matches!(error, PairError::Store { role: Role::Base, source: StoreError::Damaged { .. } });
    assert!(is_damage, "{error}");
}

#[test]
fn a_version_that_was_moved_is_refused() {
    let depot = Depot::new();
    depot.add("0.2.0");
    depot.add_changed("0.1.0", |new| new.id.of.machine = "raspberrypi4".parse().unwrap());
    let machine = depot.store.root().join("raspberrypi4/image-prod/0.1.0");
    fs::rename(machine, depot.store.image_folder(&depot.of).join("0.1.0")).unwrap();
    let error = depot.try_pair("0.1.0", "0.2.0").unwrap_err();
    assert_eq!(error.to_string(), "the base 0.1.0 is for the machine raspberrypi4, not for qemux86-64");
    assert!(matches!(error, PairError::OtherMachine { role: Role::Base, .. }));

    let folder = depot.store.image_folder(&depot.of);
    depot.add("0.3.0");
    fs::rename(folder.join("0.3.0"), folder.join("0.4.0")).unwrap();
    let error = depot.try_pair("0.2.0", "0.4.0").unwrap_err();
    assert!(matches!(error, PairError::Misplaced { role: Role::Target, .. }), "{error}");
}

#[test]
fn another_configuration_is_told_key_by_key() {
    let depot = Depot::new();
    depot.add("0.1.0");
    depot.add_changed("0.2.0", |new| {
        new.distribution = None;
        new.build_info = BuildInfo::from_lines(["INIT_MANAGER=sysvinit", "PREFERRED_LIBC=musl"]).unwrap();
    });
    let error = depot.try_pair("0.1.0", "0.2.0").unwrap_err();
    assert_eq!(
        error.to_string(),
        "0.1.0 and 0.2.0 were configured otherwise: DISTRO (\"poky\", then not set); \
         INIT_MANAGER (\"systemd\", then \"sysvinit\"); PREFERRED_LIBC (not set, then \"musl\")"
    );
    let keys = ["DISTRO", "INIT_MANAGER", "PREFERRED_LIBC"].map(|key| key.parse().unwrap());
    let ignored_keys = BTreeSet::from(keys);
    let options = PairOptions { ignored_keys, ..PairOptions::default() };
    depot.store.pair(&depot.of, &version("0.1.0"), &version("0.2.0"), &options).unwrap();
}

#[test]
fn another_layout_is_told_partition_by_partition() {
    let depot = Depot::new();
    depot.add("0.1.0");
    let differences = |from, to| match depot.try_pair(from, to) {
        Err(PairError::OtherLayout { differences, .. }) => differences,
        other => panic!("{other:?}"),
    };
    depot.add_changed("0.2.0", |new| new.images.reverse());
    let [LayoutDifference::Partitions { base, target }] = &differences("0.1.0", "0.2.0")[..] else {
        panic!()
    };
    assert_eq!((base[0].as_str(), target[0].as_str()), ("rootfs", "boot"));
    depot.add_changed("0.3.0", |new| new.images.truncate(1));
    assert!(matches!(differences("0.1.0", "0.3.0")[..], [LayoutDifference::Partitions { .. }]));
    depot.add_changed("0.4.0", |new| {
        new.images[0].path = depot.write("longer", &[1; 8704]);
        new.images[1].block_len_bytes = 1536;
    });
    let found = differences("0.1.0", "0.4.0");
    assert!(matches!(found[0], LayoutDifference::Size { base: 8192, target: 8704, .. }));
    assert!(matches!(found[1], LayoutDifference::BlockLen { base: 512, target: 1536, .. }));
    // Images of different lengths fit into a partition that has room for both.
    for (text, len) in [("0.5.0", 8192), ("0.6.0", 8704)] {
        depot.add_changed(text, |new| {
            new.images[0].path = depot.write("image", &vec![2; len]);
            new.images[0].partition_bytes = Some(65536);
        });
    }
    depot.try_pair("0.5.0", "0.6.0").unwrap();
}

#[test]
fn half_blocks_and_downgrades_are_refused() {
    let depot = Depot::new();
    depot.add("0.2.0");
    depot.add("0.10.0");
    for text in ["0.11.0", "0.12.0"] {
        depot.add_changed(text, |new| {
            new.images[0].path = depot.write("odd", &[1; 8191]);
        });
    }
    let error = depot.try_pair("0.11.0", "0.12.0").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image of rootfs in 0.11.0 has 8191 bytes: not a whole number of blocks of 512"
    );
    let error = depot.try_pair("0.10.0", "0.2.0").unwrap_err();
    assert_eq!(error.to_string(), "0.2.0 is older than 0.10.0");
    assert!(matches!(error, PairError::Downgrade { .. }));
    let options = PairOptions { downgrade: true, ..PairOptions::default() };
    depot.store.pair(&depot.of, &version("0.10.0"), &version("0.2.0"), &options).unwrap();
}
