//! Documents of the artifact store.
//!
//! Input: one byte says what follows.
//! - 0: a `build-info.json`.
//! - 1: a `delta-info.json`.
//! - 2: two versions, apart by a space.

use fluvial_artifacts::{DeltaInfo, Manifest, Version};

/// What is read is written and read as the same; versions have an order.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => {
            let Ok(manifest) = Manifest::read(rest) else { return };
            let written = manifest.to_bytes().expect("what was read can be written");
            assert_eq!(Manifest::read(&written).expect("what was written can be read"), manifest);
            assert!(manifest.shell_text().starts_with(b"MACHINE="));
        }
        1 => {
            let Ok(info) = DeltaInfo::read(rest) else { return };
            let written = info.to_bytes().expect("what was read can be written");
            assert_eq!(DeltaInfo::read(&written).expect("what was written can be read"), info);
            assert!(info.shell_text().starts_with(b"MACHINE="));
        }
        _ => compare(rest),
    }
}

fn compare(bytes: &[u8]) {
    let Some((left, right)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once(' ')) else {
        return;
    };
    let (Ok(left), Ok(right)) = (left.parse::<Version>(), right.parse::<Version>()) else { return };
    assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
    assert_eq!(left.cmp(&right).is_eq(), left == right);
}
