//! Damaged patches and wrong sources: never a NEW, always a kind of its own.

use crate::support::{Workplace, edited};

/// A small pair and its patch.
fn prepared() -> Workplace {
    let work = Workplace::new();
    let (old, new) = edited(20_000);
    work.write("old", &old);
    work.write("new", &new);
    work.json(&["diff", "old", "new", "-o", "patch", "--preset", "fast"]);
    work
}

const INPUTS: [&str; 3] = ["new", "old", "patch"];

#[test]
fn a_patch_cut_anywhere_makes_nothing() {
    let work = prepared();
    let patch = work.read("patch");
    // Every length in the header and the map; then, in the frames, one in 61.
    let lengths = (0..600.min(patch.len())).chain((600..patch.len()).step_by(61));
    for len in lengths {
        work.write("patch", &patch[..len]);
        let (kind, _) = work.fault(&["apply", "old", "patch", "-o", "result"]);
        let expected = if len == 0 { "not_a_patch" } else { "damaged_patch" };
        assert_eq!(kind, expected, "cut at {len}");
        assert_eq!(work.names(), INPUTS, "cut at {len}");
    }
}

#[test]
fn a_patch_with_a_flipped_bit_makes_nothing() {
    let work = prepared();
    let patch = work.read("patch");
    let places = (0..600.min(patch.len())).chain((600..patch.len()).step_by(61));
    for at in places {
        let mut damaged = patch.clone();
        damaged[at] ^= 1 << (at % 8);
        work.write("patch", &damaged);
        let (kind, _) = work.fault(&["apply", "old", "patch", "-o", "result"]);
        let expected = match at {
            0..8 => "not_a_patch",
            8 => "unsupported_patch",
            _ => "damaged_patch",
        };
        assert_eq!(kind, expected, "byte {at}");
        assert_eq!(work.names(), INPUTS, "byte {at}");
    }
}

#[test]
fn a_wrong_source_is_refused_before_anything_is_written() {
    let work = prepared();
    let mut old = work.read("old");
    old[7777] ^= 1;
    work.write("old", &old);
    assert_eq!(work.fault(&["apply", "old", "patch", "-o", "result"]), ("wrong_source".into(), 13));
    old.pop();
    work.write("old", &old);
    assert_eq!(work.fault(&["apply", "old", "patch", "-o", "result"]), ("wrong_source".into(), 13));
    assert_eq!(work.names(), INPUTS);
}

#[test]
fn an_existing_result_survives_every_refusal() {
    let work = prepared();
    work.write("result", b"precious");
    let mut patch = work.read("patch");
    let last = patch.len() - 1;
    patch[last] ^= 1;
    work.write("patch", &patch);
    assert_eq!(work.fault(&["apply", "old", "patch", "-o", "result"]).0, "damaged_patch");
    assert_eq!(work.read("result"), b"precious");
    assert_eq!(work.names(), ["new", "old", "patch", "result"]);
}

#[test]
fn a_patch_that_takes_too_much_memory_is_refused() {
    let work = prepared();
    let fault = work.fault(&["apply", "old", "patch", "-o", "result", "--memory-limit", "1MiB"]);
    assert_eq!(fault, ("over_memory".into(), 14));
    assert_eq!(work.names(), INPUTS);
    let fault = work.fault(&["diff", "old", "new", "-o", "other", "--apply-memory", "1MiB"]);
    assert_eq!(fault, ("over_memory".into(), 14));
    assert_eq!(work.names(), INPUTS);
}

#[test]
fn inputs_are_not_written_over() {
    let work = prepared();
    let before = ["old", "new", "patch"].map(|name| work.read(name));
    for (arguments, why) in [
        (["diff", "old", "new", "-o", "old"], "PATCH is OLD"),
        (["diff", "old", "new", "-o", "new"], "PATCH is NEW"),
        (["diff", "old", "new", "-o", "/dev/null"], "PATCH is a device"),
        (["apply", "old", "patch", "-o", "."], "NEW is a folder"),
        (["apply", "old", "patch", "-o", "/dev/null"], "NEW is a character device"),
        (["apply", "old", "patch", "-o", "patch"], "NEW is PATCH"),
    ] {
        assert_eq!(work.fault(&arguments), ("usage".into(), 2), "{why}");
    }
    // NEW.part would be OLD.
    std::fs::rename(work.path("old"), work.path("old.part")).unwrap();
    assert_eq!(work.fault(&["apply", "old.part", "patch", "-o", "old"]).0, "usage");
    std::fs::rename(work.path("old.part"), work.path("old")).unwrap();
    assert_eq!(["old", "new", "patch"].map(|name| work.read(name)), before);
    assert_eq!(work.names(), INPUTS);
}

#[test]
fn a_link_in_the_place_of_the_part_is_not_followed() {
    let work = prepared();
    work.write("precious", b"precious");
    std::os::unix::fs::symlink("precious", work.path("result.part")).unwrap();
    let (kind, _) = work.fault(&["apply", "old", "patch", "-o", "result"]);
    assert_eq!(kind, "io");
    assert_eq!(work.read("precious"), b"precious");
}
