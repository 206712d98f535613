//! `--dry-run` says what it would do, and does nothing.

use crate::device::{Device, Snapshot};
use crate::release::{Operator, Release, changed, image};

/// All files of the device, but for what has come: that may be kept.
fn without_staging(device: &Device) -> Snapshot {
    let mut files = device.snapshot();
    files.retain(|path, _| !path.starts_with(device.path("state/staging")) && !path.ends_with("state/lock"));
    files
}

#[test]
fn a_dry_run_changes_nothing_and_foresees_what_is_done() {
    let operator = Operator::new();
    let old = image(1, 1 << 20);
    let new = changed(&old, 100, 8);
    let full = Release::full(1, &new);
    let full_path = operator.publish("full.fluvial", full.clone());
    let fits = operator.publish("fits.fluvial", Release::patch(&full, "full.fluvial", &old, &new));
    let misfit = Release::patch(&full, "full.fluvial", &image(5, 1 << 20), &new);
    let misfit = operator.publish("misfit.fluvial", misfit);
    for (bundle, arguments, route) in [
        (&full_path, &[][..], "dynamic"),
        (&full_path, &["--route", "full"], "full"),
        (&fits, &[], "static"),
        (&misfit, &[], "dynamic"),
    ] {
        let device = Device::new(&old, &image(3, 1 << 20), &operator);
        let before = without_staging(&device);
        let arguments = [&["install", bundle.as_str()], arguments].concat();
        let foreseen = device.done(&[&arguments[..], &["--dry-run"]].concat());
        assert!(without_staging(&device) == before, "{arguments:?}: a dry run has changed something");
        assert_eq!((&foreseen["dry_run"], &foreseen["slots"][0]["route"]), (&true.into(), &route.into()));

        let done = device.installed(bundle, &arguments[2..], &new);
        assert_eq!(done["slots"][0]["route"], route);
        let [foreseen, done] =
            [&foreseen, &done].map(|one| one["slots"][0]["fetched_bytes"].as_u64().unwrap());
        // At most what was said, but for the full bundle's own index where that had to be looked at.
        assert!(done <= foreseen + (32 << 10), "{arguments:?}: {done} fetched, {foreseen} foreseen");
    }
}

#[test]
fn a_dry_run_leaves_what_is_known_of_slots() {
    let operator = Operator::new();
    let old = image(1, 1 << 20);
    let new = changed(&old, 100, 4);
    let bundle = operator.publish("1.fluvial", Release::full(1, &new));
    let device = Device::new(&old, &[], &operator);
    device.done(&["slots", "create-index", "system-a"]);
    // Something that is wanted is not where the index says.
    let mut slot = device.read("a.img");
    slot[700_000..710_000].fill(b'x');
    device.write("a.img", slot);
    let before = without_staging(&device);
    device.done(&["install", &bundle, "--dry-run"]);
    assert!(without_staging(&device) == before, "the index was touched");
}
