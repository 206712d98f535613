//! Other keys for a role.

use fluvial_trust::{Metadata, Role, Trust, VerifyError};

use crate::support::{MANIFEST, Operator, changed, file, now, strict};

/// An operator who has rotated twice since a device got its root, and a thief of the first keys.
fn rotated() -> (Operator, Operator, Trust) {
    let mut operator = Operator::new();
    let first_root = operator.keys.root_json().to_vec();
    let thief = operator.thief();
    operator.rotate(Role::Timestamp);
    operator.rotate(Role::Root);
    (operator, thief, Trust::new(&first_root, None).unwrap())
}

#[test]
fn a_device_follows_from_the_first_root_to_the_third() {
    let (operator, _, trust) = rotated();
    let metadata = operator.sign(1);
    let names: Vec<_> = metadata.iter().map(|(name, _)| name).take(4).collect();
    assert_eq!(names, ["1.root.json", "2.root.json", "3.root.json", "timestamp.json"]);
    assert_eq!(trust.verify(&metadata, MANIFEST, &strict(now())).unwrap().root_version, 3);
}

#[test]
fn each_role_can_be_rotated() {
    for role in Role::ALL {
        let mut operator = Operator::with_keys(3, 2);
        let device = operator.device();
        device.install(&operator.sign(1)).unwrap();
        let thief = operator.thief();
        operator.rotate(role);
        assert_eq!(device.install(&operator.sign(2)).unwrap().root_version, 2, "{role}");
        // The old keys count no more, whatever version they sign.
        let refused = device.verify(&thief.sign(9));
        match (role, refused) {
            // The old root's keys sign no release: those of the other roles are the same.
            (Role::Root, Ok(_)) => {}
            (_, Err(VerifyError::OtherKeys { role: found, .. })) => assert_eq!(found, role),
            (_, refused) => panic!("{role}: {refused:?}"),
        }
    }
}

#[test]
fn keys_of_the_first_root_do_not_sign_beside_the_third() {
    let (operator, thief, trust) = rotated();
    let stolen = thief.sign(9);
    let mixed =
        changed(&operator.sign(1), "timestamp.json", |_| Some(file(&stolen, "timestamp.json").to_vec()));
    let refused = trust.verify(&mixed, MANIFEST, &strict(now())).unwrap_err();
    assert!(matches!(refused, VerifyError::OtherKeys { role: Role::Timestamp, .. }), "{refused:?}");
}

#[test]
fn a_device_does_not_go_back_to_a_root_that_it_has_left() {
    let mut operator = Operator::new();
    let device = operator.device();
    let thief = operator.thief();
    operator.rotate(Role::Timestamp);
    device.install(&operator.sign(1)).unwrap();
    // The thief's metadata has the first root only.
    let refused = device.verify(&thief.sign(2)).unwrap_err();
    assert!(matches!(refused, VerifyError::OtherKeys { role: Role::Timestamp, .. }), "{refused:?}");
    // Nor when a later update gives the device the same root again.
    let again = Trust::new(thief.keys.root_json(), Some(&device.state_folder())).unwrap();
    let refused = again.verify(&thief.sign(2), MANIFEST, &strict(now())).unwrap_err();
    assert!(matches!(refused, VerifyError::OtherKeys { role: Role::Timestamp, .. }), "{refused:?}");
    // A newer one is welcome.
    operator.rotate(Role::Targets);
    let newer = Trust::new(operator.keys.root_json(), Some(&device.state_folder())).unwrap();
    let verified = newer.verify(&operator.sign(2), MANIFEST, &strict(now())).unwrap();
    newer.remember(&verified).unwrap();
    assert_eq!(device.verify(&operator.sign(3)).unwrap().root_version, 3);
}

#[test]
fn rollback_is_found_across_a_rotation() {
    let mut operator = Operator::new();
    let device = operator.device();
    device.install(&operator.sign(5)).unwrap();
    operator.rotate(Role::Targets);
    let refused = device.verify(&operator.sign(4)).unwrap_err();
    assert!(matches!(refused, VerifyError::Rollback { seen: 5, offered: 4, .. }), "{refused:?}");
    device.install(&operator.sign(6)).unwrap();
    let refused = device.verify(&operator.sign(5)).unwrap_err();
    assert!(matches!(refused, VerifyError::Rollback { seen: 6, offered: 5, .. }), "{refused:?}");
    // New keys for timestamps undo what a thief of the old ones has counted up (TUF 5.3.11).
    device.install(&operator.sign(1_000_000)).unwrap();
    operator.rotate(Role::Timestamp);
    assert_eq!(device.install(&operator.sign(7)).unwrap().targets_version, 7);
    assert!(matches!(device.verify(&operator.sign(6)), Err(VerifyError::Rollback { .. })));
}

#[test]
fn roots_follow_one_another() {
    let (operator, thief, trust) = rotated();
    let metadata = operator.sign(1);
    let verify = |metadata: &Metadata| trust.verify(metadata, MANIFEST, &strict(now())).unwrap_err();

    let refused = verify(&changed(&metadata, "2.root.json", |_| None));
    assert!(matches!(&refused, VerifyError::Missing { name } if name == "2.root.json"), "{refused:?}");
    // The first root again, under the second one's name.
    let first = file(&metadata, "1.root.json").to_vec();
    let refused = verify(&changed(&metadata, "2.root.json", |_| Some(first.clone())));
    assert!(matches!(&refused, VerifyError::RootChain { name, .. } if name == "2.root.json"), "{refused:?}");
    // A stranger's second root.
    let mut stranger = Operator::new();
    stranger.rotate(Role::Root);
    let second = file(&stranger.sign(1), "2.root.json").to_vec();
    let refused = verify(&changed(&metadata, "2.root.json", |_| Some(second.clone())));
    assert!(matches!(&refused, VerifyError::RootChain { name, .. } if name == "2.root.json"), "{refused:?}");
    // What a thief of old root keys makes of the third, for a device that has the third.
    let mut thief = thief;
    for _ in 0..3 {
        thief.rotate(Role::Root);
    }
    let refused = operator.device().verify(&thief.sign(9)).unwrap_err();
    assert!(matches!(&refused, VerifyError::RootChain { name, .. } if name == "4.root.json"), "{refused:?}");
}
