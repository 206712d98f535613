//! What is removed, and what is kept.

use std::fs::{self, File};
use std::num::NonZeroUsize;

use fluvial_artifacts::{Fate, Filter, ImageReport, KeepReason, PruneOptions, StoreError};

use crate::support::{Depot, overwrite};
use crate::update::make;

impl Depot {
    fn prune(&self, keep: usize, deltas: bool, dry_run: bool) -> ImageReport {
        let keep = NonZeroUsize::new(keep).unwrap();
        let options = PruneOptions { keep, deltas, dry_run };
        let mut reports = self.store.prune(&Filter::default(), options).unwrap();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }
}

/// What happens to each version, in words.
fn shown(report: &ImageReport) -> Vec<String> {
    let fate = |fate: &Fate| match fate {
        Fate::Removed { .. } => "removed".to_owned(),
        Fate::Kept(reasons) => reasons.iter().map(KeepReason::to_string).collect::<Vec<_>>().join(", "),
    };
    report
        .decisions
        .iter()
        .map(|decision| format!("{}: {}", decision.version, fate(&decision.fate)))
        .collect()
}

#[test]
fn the_newest_stay() {
    let depot = Depot::new();
    for text in ["0.9.0", "0.10.0", "0.10.0-rc1", "0.8.0"] {
        depot.add(text);
    }
    let plan = depot.prune(2, false, true);
    assert_eq!(depot.versions().len(), 4);
    let report = depot.prune(2, false, false);
    assert_eq!(plan, report);
    let bytes = 19 * 512;
    assert_eq!(report.decisions[0].fate, Fate::Removed { bytes });
    assert_eq!(
        shown(&report),
        ["0.8.0: removed", "0.9.0: removed", "0.10.0-rc1: one of the newest", "0.10.0: one of the newest"]
    );
    assert_eq!(depot.versions(), ["0.10.0-rc1", "0.10.0"]);
    assert_eq!(depot.prune(9, false, false).decisions.len(), 2);
}

#[test]
fn what_a_delta_names_stays() {
    let depot = Depot::new();
    for text in ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0"] {
        depot.add(text);
    }
    make(&depot, "0.2.0", "0.3.0");
    make(&depot, "0.2.0", "0.5.0");
    let report = depot.prune(1, false, false);
    assert_eq!(
        shown(&report),
        [
            "0.1.0: removed",
            "0.2.0: base of the delta to 0.3.0, base of the delta to 0.5.0",
            "0.3.0: target of the delta from 0.2.0",
            "0.4.0: removed",
            "0.5.0: one of the newest, target of the delta from 0.2.0",
        ]
    );
    assert_eq!(depot.versions(), ["0.2.0", "0.3.0", "0.5.0"]);

    // Deltas to versions that are not the newest go first, then whatever only they named.
    let report = depot.prune(1, true, true);
    assert_eq!(shown(&report)[1], "0.3.0: removed");
    assert_eq!(report.deltas, []);
    assert_eq!(depot.prune(1, true, false), report);
    assert_eq!(depot.versions(), ["0.2.0", "0.5.0"]);
    assert_eq!(depot.stored()[1].deltas.len(), 1);
}

#[test]
fn a_delta_goes_by_itself_where_its_target_stays() {
    let depot = Depot::new();
    for text in ["0.1.0", "0.2.0", "0.3.0"] {
        depot.add(text);
    }
    make(&depot, "0.1.0", "0.2.0");
    make(&depot, "0.2.0", "0.3.0");
    let report = depot.prune(1, true, false);
    assert_eq!(
        shown(&report),
        [
            "0.1.0: removed",
            "0.2.0: base of the delta to 0.3.0",
            "0.3.0: one of the newest, target of the delta from 0.2.0",
        ]
    );
    assert_eq!(report.deltas.len(), 1);
    assert_eq!(report.deltas[0].to.as_str(), "0.2.0");
    assert!(!report.deltas[0].path.exists());
}

#[test]
fn a_delta_that_cannot_be_read_keeps_what_its_folder_names() {
    let depot = Depot::new();
    for text in ["0.1.0", "0.2.0", "0.3.0"] {
        depot.add(text);
    }
    make(&depot, "0.1.0", "0.2.0");
    overwrite(&depot.stored()[1].deltas[0].path.join("delta-info.json"), b"{");
    fs::create_dir_all(depot.store.version_folder(&depot.id("0.3.0")).join("updates/from_..")).unwrap();
    let report = depot.prune(1, false, false);
    assert_eq!(
        shown(&report),
        [
            "0.1.0: base of the delta to 0.2.0",
            "0.2.0: target of the delta from 0.1.0",
            "0.3.0: one of the newest, target of a delta that cannot be read",
        ]
    );
}

#[test]
fn what_is_damaged_stays_and_counts_for_none() {
    let depot = Depot::new();
    for text in ["0.1.0", "0.2.0", "0.3.0"] {
        depot.add(text);
    }
    make(&depot, "0.1.0", "0.3.0");
    overwrite(&depot.store.version_folder(&depot.id("0.3.0")).join("build-info.json"), b"{");
    let report = depot.prune(1, true, false);
    assert_eq!(
        shown(&report),
        [
            "0.1.0: base of the delta to 0.3.0",
            "0.2.0: one of the newest",
            "0.3.0: damaged, not removed, target of the delta from 0.1.0",
        ]
    );
}

#[test]
fn leftovers_go_and_work_under_way_stays() {
    let depot = Depot::new();
    depot.add("0.1.0");
    depot.add("0.2.0");
    let folder = depot.store.image_folder(&depot.of);
    let left = [".adding-a", ".removing-b", "0.2.0/updates/.making-c"].map(|name| folder.join(name));
    for path in &left {
        fs::create_dir_all(path.join("it")).unwrap();
    }
    let lock = File::open(&left[0]).unwrap();
    lock.lock().unwrap();
    assert_eq!(depot.prune(2, false, true).leftovers, 3);
    assert_eq!(depot.prune(2, false, false).leftovers, 2);
    assert!(left[0].exists() && !left[1].exists() && !left[2].exists());
    drop(lock);
    assert_eq!(depot.prune(2, false, false).leftovers, 1);

    let in_use = File::open(&folder).unwrap();
    in_use.lock_shared().unwrap();
    let options = PruneOptions { keep: NonZeroUsize::MIN, deltas: false, dry_run: false };
    let result = depot.store.prune(&Filter::default(), options);
    assert!(matches!(&result, Err(StoreError::Busy(id)) if *id == depot.of), "{result:?}");
    assert_eq!(depot.versions().len(), 2);
}

#[test]
fn only_leftovers_are_pruned_too() {
    let depot = Depot::new();
    let left = depot.store.image_folder(&depot.of).join(".adding-dead");
    fs::create_dir_all(&left).unwrap();
    let report = depot.prune(1, false, false);
    assert_eq!((report.leftovers, report.decisions.len()), (1, 0));
    assert!(!left.exists());
}
