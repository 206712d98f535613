//! Reading everything again.

use std::fs;
use std::path::PathBuf;

use fluvial_artifacts::{Damage, StoreError, VerifyReport};

use crate::support::{Depot, overwrite};
use crate::update::make;

impl Depot {
    fn verify(&self, text: &str) -> VerifyReport {
        let stored = self.store.version(&self.id(text)).unwrap();
        self.store.verify(stored, &|_| true).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.store.version_folder(&self.id("0.2.0")).join(name)
    }
}

/// 0.1.0, 0.2.0 and the delta between them.
fn depot() -> Depot {
    let depot = Depot::new();
    depot.add("0.1.0");
    depot.add("0.2.0");
    make(&depot, "0.1.0", "0.2.0");
    depot
}

#[test]
fn what_is_whole_is_whole() {
    let depot = depot();
    let report = depot.verify("0.2.0");
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.bytes, 19 * 512 + fs::metadata(depot.file(PACKAGE)).unwrap().len());
    let stored = depot.store.version(&depot.id("0.2.0")).unwrap();
    assert!(matches!(depot.store.verify(stored, &|_| false), Err(StoreError::Cancelled)));
}

const PACKAGE: &str = "updates/from_0.1.0/delta-update-0.1.0-to-0.2.0.swu";

#[test]
fn every_byte_counts() {
    for name in ["rootfs.img", "boot.img"] {
        let depot = depot();
        let mut bytes = fs::read(depot.file(name)).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        overwrite(&depot.file(name), &bytes);
        let report = depot.verify("0.2.0");
        let [Damage::Digest { partition }] = &report.damages[..] else { panic!("{report:?}") };
        assert!(name.starts_with(partition.as_str()) && report.delta_damages.is_empty());
        overwrite(&depot.file(name), &bytes[1..]);
        let report = depot.verify("0.2.0");
        assert!(matches!(report.damages[..], [Damage::Size { .. }]), "{report:?}");
        fs::remove_file(depot.file(name)).unwrap();
        let report = depot.verify("0.2.0");
        assert!(matches!(report.damages[..], [Damage::Image { .. }]), "{report:?}");
        // What is outside of the store is not read.
        std::os::unix::fs::symlink(depot.path("rootfs-0.2.0.img"), depot.file(name)).unwrap();
        let report = depot.verify("0.2.0");
        assert!(matches!(report.damages[..], [Damage::Image { .. }]), "{report:?}");
        assert!(depot.verify("0.1.0").is_whole());
    }
}

#[test]
fn documents_and_packages_count_too() {
    let depot = depot();
    overwrite(&depot.file("build-info.txt"), b"MACHINE=other\n");
    overwrite(&depot.file(PACKAGE), b"another package");
    overwrite(&depot.file("updates/from_0.1.0/build-info.txt"), b"");
    let report = depot.verify("0.2.0");
    assert!(matches!(report.damages[..], [Damage::Text(_)]), "{report:?}");
    let found: Vec<_> = report.delta_damages.iter().map(|(name, damage)| (name.as_str(), damage)).collect();
    let [("from_0.1.0", Damage::Text(_)), ("from_0.1.0", Damage::OtherPackage { .. })] = found[..] else {
        panic!("{report:?}")
    };
    overwrite(&depot.file("build-info.json"), b"{\"format_version\":2}");
    let report = depot.verify("0.2.0");
    assert!(matches!(report.damages[..], [Damage::Document { .. }]), "{report:?}");
    overwrite(&depot.file("updates/from_0.1.0/delta-info.json"), b"{}");
    let report = depot.verify("0.2.0");
    assert!(matches!(report.delta_damages[..], [(_, Damage::Document { .. })]), "{report:?}");
}

#[test]
fn a_delta_has_to_fit_its_versions() {
    let depot = depot();
    fs::rename(depot.file("updates/from_0.1.0"), depot.file("updates/from_0.0.9")).unwrap();
    let report = depot.verify("0.2.0");
    let damages: Vec<_> = report.delta_damages.iter().map(|(_, damage)| damage.to_string()).collect();
    let found = "it says that it is qemux86-64/image-prod/0.2.0 from 0.1.0";
    assert_eq!(damages, [found, "its base 0.0.9 is not there"]);
    fs::rename(depot.file("updates/from_0.0.9"), depot.file("updates/from_0.1.0")).unwrap();

    fs::remove_dir_all(depot.store.version_folder(&depot.id("0.1.0"))).unwrap();
    let mut other = depot.new_version("0.1.0");
    other.images[1].path = depot.write("other", &[3; 1536]);
    depot.try_add(&other).unwrap();
    let report = depot.verify("0.2.0");
    let [(_, Damage::OtherImage { partition, version })] = &report.delta_damages[..] else {
        panic!("{report:?}")
    };
    assert_eq!((partition.as_str(), version.as_str()), ("boot", "0.1.0"));
}
