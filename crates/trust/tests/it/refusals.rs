//! What is accepted, and every way to be refused.

use fluvial_trust::{
    Lifetimes, MANIFEST_BYTES_MAX, METADATA_FILE_BYTES_MAX, Metadata, Policy, Role, Timestamp, Trust,
    TrustError, VerifyError,
};
use serde_json::Value;

use crate::support::{MANIFEST, Operator, after_days, changed, days, edited, file, now, strict};

#[test]
fn what_was_signed_is_accepted() {
    let operator = Operator::new();
    let metadata = operator.sign(7);
    let names: Vec<_> = metadata.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["1.root.json", "timestamp.json", "snapshot.json", "targets.json"]);

    let verified = operator.device().verify(&metadata).unwrap();
    let versions = [verified.timestamp_version, verified.snapshot_version, verified.targets_version];
    assert_eq!((verified.root_version, versions), (1, [7; 3]));
    assert_eq!((verified.expires_role, verified.expires), (Role::Timestamp, after_days(90)));
    assert!(!verified.is_expired);
}

#[test]
fn a_device_takes_what_it_was_given_the_root_for() {
    let (operator, stranger) = (Operator::new(), Operator::new());
    let refused = operator.device().verify(&stranger.sign(1)).unwrap_err();
    let VerifyError::OtherKeys { name, role: Role::Timestamp } = refused else { panic!("{refused:?}") };
    assert_eq!(name, "timestamp.json");
}

#[test]
fn what_is_not_signed_is_refused() {
    let operator = Operator::new();
    let device = operator.device();
    assert!(matches!(device.verify(&Metadata::default()), Err(VerifyError::Unsigned)));
    let metadata = operator.sign(1);
    for left_out in ["timestamp.json", "snapshot.json", "targets.json"] {
        let refused = device.verify(&changed(&metadata, left_out, |_| None)).unwrap_err();
        assert!(matches!(&refused, VerifyError::Missing { name } if name == left_out), "{refused:?}");
        let unsigned = edited(&metadata, left_out, |file| file["signatures"] = Value::Array(Vec::new()));
        let refused = device.verify(&unsigned).unwrap_err();
        // The rest of the metadata names timestamp by its signature, the others by their hashes.
        let is_expected = match &refused {
            VerifyError::OtherKeys { name, .. } | VerifyError::Mixed { name } => name == left_out,
            _ => false,
        };
        assert!(is_expected, "{refused:?}");
    }
    // What the device has is not asked for.
    device.verify(&changed(&metadata, "1.root.json", |_| None)).unwrap();
}

#[test]
fn another_manifest_is_refused() {
    let operator = Operator::new();
    let (device, metadata) = (operator.device(), operator.sign(1));
    let verify = |manifest: &[u8]| device.trust.verify(&metadata, manifest, &strict(now()));
    verify(MANIFEST).unwrap();
    let mut longer = MANIFEST.to_vec();
    longer.push(b'\n');
    let mut other = MANIFEST.to_vec();
    other[3] ^= 1;
    for manifest in [&longer, &other, &Vec::new()] {
        assert!(matches!(verify(manifest), Err(VerifyError::Manifest)));
    }
    assert!(matches!(verify(&vec![0; MANIFEST_BYTES_MAX + 1]), Err(VerifyError::ManifestBytes)));
}

/// Verifies release 1 at a time, and answers what has expired.
fn expired(lifetimes: Lifetimes, at: Timestamp) -> Option<(Role, Timestamp)> {
    let operator = Operator::new();
    let (device, metadata) = (operator.device(), operator.sign_for(1, lifetimes));
    let allowing = Policy { now: at, allow_expired: true };
    let allowed = device.trust.verify(&metadata, MANIFEST, &allowing).unwrap();
    let expired = match device.trust.verify(&metadata, MANIFEST, &strict(at)) {
        Ok(_) => None,
        Err(VerifyError::Expired { role, at }) => Some((role, at)),
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(allowed.is_expired, expired.is_some());
    expired
}

#[test]
fn each_part_expires() {
    let long = Lifetimes {
        root_days: days(3650),
        targets_days: days(9000),
        snapshot_days: days(9000),
        timestamp_days: days(9000),
    };
    assert_eq!(expired(long, after_days(3649)), None);
    assert_eq!(expired(long, after_days(3650)), Some((Role::Root, after_days(3650))));
    let cases = [
        (Role::Targets, Lifetimes { targets_days: days(9), ..long }),
        (Role::Snapshot, Lifetimes { snapshot_days: days(9), ..long }),
        (Role::Timestamp, Lifetimes { timestamp_days: days(9), ..long }),
    ];
    for (role, lifetimes) in cases {
        let second = jiff::SignedDuration::from_secs(1);
        assert_eq!(expired(lifetimes, after_days(9) - second), None, "{role}");
        assert_eq!(expired(lifetimes, after_days(9)), Some((role, after_days(9))), "{role}");
    }
}

#[test]
fn parts_of_two_releases_do_not_go_together() {
    let operator = Operator::new();
    let device = operator.device();
    let (first, second) = (operator.sign(1), operator.sign(2));
    let again = operator
        .sign_for(2, Lifetimes { targets_days: days(5), snapshot_days: days(5), ..Lifetimes::default() });
    // Another release, and the same version signed a second time.
    for other in [&first, &again] {
        for name in ["snapshot.json", "targets.json"] {
            let mixed = changed(&second, name, |_| Some(file(other, name).to_vec()));
            let refused = device.verify(&mixed).unwrap_err();
            assert!(matches!(&refused, VerifyError::Mixed { name: found } if found == name), "{refused:?}");
        }
        let mixed = changed(&second, "timestamp.json", |_| Some(file(other, "timestamp.json").to_vec()));
        let refused = device.verify(&mixed).unwrap_err();
        assert!(matches!(&refused, VerifyError::Mixed { name } if name == "snapshot.json"), "{refused:?}");
    }
}

#[test]
fn two_of_three_keys_have_to_sign() {
    let operator = Operator::with_keys(3, 2);
    let device = operator.device();
    let metadata = operator.sign(1);
    let with = |count: usize| {
        edited(&metadata, "timestamp.json", |file| file["signatures"].as_array_mut().unwrap().truncate(count))
    };
    device.verify(&metadata).unwrap();
    device.verify(&with(2)).unwrap();
    let refused = device.verify(&with(1)).unwrap_err();
    let VerifyError::TooFewKeys { role: Role::Timestamp, valid: 1, threshold: 2, .. } = refused else {
        panic!("{refused:?}")
    };
    assert!(matches!(device.verify(&with(0)), Err(VerifyError::OtherKeys { .. })));
    // One key that signs twice is one key.
    let twice = edited(&with(1), "timestamp.json", |file| {
        let signatures = file["signatures"].as_array_mut().unwrap();
        signatures.push(signatures[0].clone());
    });
    let refused = device.verify(&twice).unwrap_err();
    assert!(
        matches!(&refused, VerifyError::Malformed { name, .. } if name == "timestamp.json"),
        "{refused:?}"
    );
}

#[test]
fn what_is_no_metadata_is_refused() {
    let operator = Operator::new();
    let (device, metadata) = (operator.device(), operator.sign(1));
    let deep = [b"[".repeat(METADATA_FILE_BYTES_MAX / 2), b"]".repeat(METADATA_FILE_BYTES_MAX / 2)].concat();
    let wide = format!("[{}0]", "0,".repeat(METADATA_FILE_BYTES_MAX / 2 - 2)).into_bytes();
    let fraction = br#"{"signed":{"_type":"timestamp","spec_version":"1.0.0","version":1,
        "expires":"2030-01-01T00:00:00Z","meta":{},"x":0.5},"signatures":[]}"#;
    for bytes in [b"".to_vec(), b"{}".to_vec(), b"\xff".to_vec(), deep, wide, fraction.to_vec()] {
        let refused =
            device.verify(&changed(&metadata, "timestamp.json", |_| Some(bytes.clone()))).unwrap_err();
        assert!(
            matches!(&refused, VerifyError::Malformed { name, .. } if name == "timestamp.json"),
            "{refused:?}"
        );
    }
}

#[test]
fn a_root_must_be_signed_by_itself() {
    let operator = Operator::new();
    let root: Value = serde_json::from_slice(operator.keys.root_json()).unwrap();
    let trust = |edit: &dyn Fn(&mut Value)| {
        let mut root = root.clone();
        edit(&mut root);
        Trust::new(&serde_json::to_vec(&root).unwrap(), None).map(|_| ())
    };
    trust(&|_| ()).unwrap();
    let refused = trust(&|root| root["signed"]["expires"] = "2099-01-01T00:00:00Z".into());
    assert!(matches!(refused, Err(TrustError::Signatures { .. })));
    assert!(matches!(trust(&|root| root["signatures"] = Value::Null), Err(TrustError::Malformed { .. })));
    // There is no version after the last one.
    let refused = trust(&|root| root["signed"]["version"] = u64::MAX.into());
    assert!(matches!(refused, Err(TrustError::Version)));
    assert!(matches!(Trust::new(&vec![b' '; METADATA_FILE_BYTES_MAX + 1], None), Err(TrustError::Bytes)));
}
