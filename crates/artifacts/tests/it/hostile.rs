//! Documents that nobody of ours wrote.

use fluvial_artifacts::{DeltaInfo, Manifest};
use proptest::prelude::*;
use serde_json::Value;

/// Reading answers, whatever it is given, and what it takes it writes as it read it.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(manifest) = Manifest::read(bytes) {
        let written = manifest.to_bytes().unwrap();
        prop_assert_eq!(Manifest::read(&written).unwrap(), manifest);
    }
    if let Ok(info) = DeltaInfo::read(bytes) {
        let written = info.to_bytes().unwrap();
        prop_assert_eq!(DeltaInfo::read(&written).unwrap(), info);
    }
    Ok(())
}

const SEEDS: [&str; 2] =
    [include_str!("../seeds/build-info-1.json"), include_str!("../seeds/delta-info-1.json")];

/// Any JSON, with the names of ours among its fields.
fn any_json() -> impl Strategy<Value = Value> {
    let names =
        ["format_version", "machine", "version", "partitions", "size_bytes", "sha256", "from", "swu", "x"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        Just(Value::from(1)),
        "[a-z0-9./-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(names.to_vec()), inner, 0..8).prop_map(
                |fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            ),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes)?;
    }

    #[test]
    fn any_document(document in any_json()) {
        check(&serde_json::to_vec(&document).unwrap())?;
    }

    #[test]
    fn documents_with_bytes_changed(
        seed in 0..2_usize,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes)?;
    }
}

#[test]
fn documents_nested_without_end() {
    check(&b"[".repeat(1 << 19)).unwrap();
    check(&br#"{"format_version":1,"partitions":["#.repeat(1 << 10)).unwrap();
}
