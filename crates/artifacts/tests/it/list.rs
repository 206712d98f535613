//! What the store lists.

use std::fs;

use fluvial_artifacts::{Damage, Entry, Filter, ImageId, StoreError};

use crate::support::{Depot, overwrite, version};

#[test]
fn versions_come_from_the_oldest_to_the_newest() {
    let depot = Depot::new();
    for text in ["0.10.0", "0.9.0", "0.10.0-rc1", "0.2.0"] {
        depot.add(text);
    }
    assert_eq!(depot.versions(), ["0.2.0", "0.9.0", "0.10.0-rc1", "0.10.0"]);
    let none = ImageId { machine: "other".parse().unwrap(), image: "image-prod".parse().unwrap() };
    assert!(depot.store.versions(&none).unwrap().is_empty());
}

#[test]
fn filters_let_through_what_they_name() {
    let depot = Depot::new();
    depot.add("0.1.0");
    depot.add("0.2.0");
    let mut other = depot.new_version("0.1.0");
    other.id.of.machine = "raspberrypi4".parse().unwrap();
    depot.try_add(&other).unwrap();
    let count = |filter: &Filter| depot.store.list(filter).unwrap().len();
    assert_eq!(count(&Filter::default()), 3);
    assert_eq!(count(&Filter::image(&depot.of)), 2);
    assert_eq!(count(&Filter { version: Some(version("0.1.0")), ..Filter::default() }), 2);
    assert_eq!(count(&Filter::one(&depot.id("0.2.0"))), 1);
    assert_eq!(depot.store.elsewhere(&depot.id("0.1.0")).unwrap(), ["raspberrypi4".parse().unwrap()]);
    assert!(depot.store.elsewhere(&depot.id("0.2.0")).unwrap().is_empty());
}

#[test]
fn what_is_damaged_or_foreign_is_told_and_stops_nothing() {
    let depot = Depot::new();
    let folder = depot.store.image_folder(&depot.of);
    for text in ["0.1.0", "0.2.0", "0.3.0", "0.4.0"] {
        depot.add(text);
    }
    overwrite(&folder.join("0.2.0/build-info.json"), b"{");
    fs::remove_file(folder.join("0.3.0/build-info.json")).unwrap();
    fs::rename(folder.join("0.4.0"), folder.join("0.5.0")).unwrap();
    fs::create_dir(folder.join(".adding-xyz")).unwrap();
    fs::create_dir(folder.join("lost+found: 1")).unwrap();
    fs::write(folder.join("README"), "").unwrap();
    fs::write(depot.store.root().join("notes.txt"), "").unwrap();

    let entries = depot.store.list(&Filter::default()).unwrap();
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| match entry {
            Entry::Version(stored) => match &stored.manifest {
                Ok(_) => format!("{}: whole", stored.id.version),
                Err(damage) => format!("{}: {damage}", stored.id.version),
            },
            Entry::Foreign { path, damage } => {
                format!("{}: {damage}", path.file_name().unwrap().to_str().unwrap())
            }
            Entry::Leftover(path) => format!("{}: left", path.file_name().unwrap().to_str().unwrap()),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "notes.txt: it is no folder",
            ".adding-xyz: left",
            "README: it is no folder",
            "lost+found: 1: its name is none of ours",
            "0.1.0: whole",
            "0.2.0: build-info.json cannot be used",
            "0.3.0: there is no build-info.json",
            "0.5.0: it says that it is qemux86-64/image-prod/0.4.0",
        ]
    );
    let manifest = |text| depot.store.manifest(&depot.id(text));
    let Err(StoreError::NoVersion { versions, .. }) = manifest("0.4.0") else { panic!() };
    assert_eq!(versions.len(), 4);
    assert!(matches!(manifest("0.5.0"), Err(StoreError::Damaged { source: Damage::Misplaced { .. }, .. })));
    assert!(matches!(manifest("0.3.0"), Err(StoreError::Damaged { source: Damage::Missing(_), .. })));
}

#[test]
fn a_store_that_is_not_there_is_no_empty_one() {
    let depot = Depot::new();
    assert!(matches!(depot.store.list(&Filter::default()), Err(StoreError::Read { .. })));
    fs::create_dir(depot.store.root()).unwrap();
    assert!(depot.store.list(&Filter::default()).unwrap().is_empty());
}
