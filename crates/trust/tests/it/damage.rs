//! Any bytes: refused, and never a panic.

use std::sync::LazyLock;

use fluvial_trust::{Metadata, Role, Trust};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use crate::support::{MANIFEST, Operator, changed, file, now, strict};

/// A device with the first root, and a release that was signed two rotations later.
static RELEASE: LazyLock<(Trust, Metadata)> = LazyLock::new(|| {
    let mut operator = Operator::with_keys(2, 2);
    let trust = Trust::new(operator.keys.root_json(), None).unwrap();
    operator.rotate(Role::Root);
    operator.rotate(Role::Timestamp);
    (trust, operator.sign(3))
});

/// Every file that the device reads; it has the first root already.
const NAMES: [&str; 5] = ["2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json"];

fn is_refused(metadata: &Metadata) -> bool {
    RELEASE.0.verify(metadata, MANIFEST, &strict(now())).is_err()
}

/// Nothing of these may change; what is not named by its hash may be written in another way.
fn is_named_by_hash(name: &str) -> bool {
    ["snapshot.json", "targets.json"].contains(&name)
}

/// What a file says. Hexadecimal digits and the letters in dates are the same in small and in capitals, and
/// a type is not read, but put in place of what is there before signatures are checked.
fn meaning(bytes: &[u8]) -> Option<String> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    value.get_mut("signed")?.as_object_mut()?.remove("_type")?;
    Some(value.to_string().to_ascii_lowercase())
}

proptest! {
    #[test]
    fn a_flipped_bit_is_refused(name in select(&NAMES), at in any::<Index>(), bit in 0..8) {
        let original = file(&RELEASE.1, name);
        let mut flipped = original.to_vec();
        flipped[at.index(original.len())] ^= 1u8 << bit;
        let is_same = !is_named_by_hash(name) && meaning(&flipped) == meaning(original);
        let metadata = changed(&RELEASE.1, name, |_| Some(flipped.clone()));
        prop_assert!(is_refused(&metadata) || is_same);
    }

    #[test]
    fn a_cut_file_is_refused(name in select(&NAMES), at in any::<Index>()) {
        // The last byte is the end of a line.
        let len = at.index(file(&RELEASE.1, name).len() - 1);
        prop_assert!(is_refused(&changed(&RELEASE.1, name, |bytes| Some(bytes[..len].to_vec()))));
    }

    #[test]
    fn any_other_bytes_are_refused(name in select(&NAMES), bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(is_refused(&changed(&RELEASE.1, name, |_| Some(bytes.clone()))));
    }

    #[test]
    fn any_other_value_is_refused(
        name in select(&NAMES),
        at in any::<Index>(),
        to in select(&["0", "-1", "1e99", "null", "\"\"", "[]", "{}", "18446744073709551616", "0.5"]),
    ) {
        let text = String::from_utf8(file(&RELEASE.1, name).to_vec()).unwrap();
        let values: Vec<_> = text.match_indices(": ").map(|(at, _)| at + 2).collect();
        let start = values[at.index(values.len())];
        let end = start + text[start..].find(['\n', ',']).unwrap();
        let edited = format!("{}{to}{}", &text[..start], &text[end..]);
        let is_same = !is_named_by_hash(name) && meaning(edited.as_bytes()) == meaning(text.as_bytes());
        prop_assert!(is_refused(&changed(&RELEASE.1, name, |_| Some(edited.clone().into_bytes()))) || is_same);
    }

    #[test]
    fn any_other_manifest_is_refused(at in 0..MANIFEST.len(), bit in 0..8) {
        let mut manifest = MANIFEST.to_vec();
        manifest[at] ^= 1u8 << bit;
        prop_assert!(RELEASE.0.verify(&RELEASE.1, &manifest, &strict(now())).is_err());
    }

    #[test]
    fn any_root_is_a_root_or_an_error(bytes in vec(any::<u8>(), 0..200), at in any::<Index>(), bit in 0..8) {
        prop_assert!(Trust::new(&bytes, None).is_err());
        let mut root = file(&RELEASE.1, "1.root.json").to_vec();
        let index = at.index(root.len());
        root[index] ^= 1u8 << bit;
        let is_same = meaning(&root) == meaning(file(&RELEASE.1, "1.root.json"));
        prop_assert!(Trust::new(&root, None).is_err() || is_same);
    }
}
