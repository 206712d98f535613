//! What a device remembers.

use std::fs;

use fluvial_trust::{Policy, Role, StateError, Trust, VerifyError};
use serde_json::Value;

use crate::support::{MANIFEST, Operator, after_days, now, strict};

#[test]
fn older_releases_are_refused_once_a_newer_one_is_remembered() {
    let operator = Operator::new();
    let device = operator.device();
    let (fourth, fifth) = (operator.sign(4), operator.sign(5));
    device.install(&fourth).unwrap();
    device.install(&fifth).unwrap();
    let refused = device.verify(&fourth).unwrap_err();
    let VerifyError::Rollback { role: Role::Timestamp, seen: 5, offered: 4 } = refused else {
        panic!("{refused:?}")
    };
    // What expired is no way around it.
    let policy = Policy { now: after_days(4000), allow_expired: true };
    let refused = device.trust.verify(&fourth, MANIFEST, &policy).unwrap_err();
    assert!(matches!(refused, VerifyError::Rollback { .. }), "{refused:?}");
    assert_eq!(device.install(&fifth).unwrap().targets_version, 5);
    assert_eq!(device.install(&operator.sign(6)).unwrap().targets_version, 6);
}

#[test]
fn an_old_timestamp_does_until_it_expires() {
    let operator = Operator::new();
    let device = operator.device();
    let metadata = operator.sign(1);
    device.install(&metadata).unwrap();
    let verify = |days| device.trust.verify(&metadata, MANIFEST, &strict(after_days(days)));
    verify(89).unwrap();
    assert!(matches!(verify(90), Err(VerifyError::Expired { role: Role::Timestamp, .. })));
}

#[test]
fn looking_leaves_no_trace() {
    let operator = Operator::new();
    let device = operator.device();
    device.verify(&operator.sign(9)).unwrap();
    assert!(!device.state_folder().exists());
    device.install(&operator.sign(1)).unwrap();

    let path = device.state_folder().join("trust.json");
    let before = fs::read(&path).unwrap();
    device.verify(&operator.sign(9)).unwrap();
    device.trust.verify(&operator.sign(9), b"another manifest", &strict(now())).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(device.state_folder()).unwrap().count(), 1);
    device.install(&operator.sign(2)).unwrap();
}

#[test]
fn a_device_without_a_state_folder_remembers_nothing() {
    let operator = Operator::new();
    let trust = Trust::new(operator.keys.root_json(), None).unwrap();
    let verified = trust.verify(&operator.sign(5), MANIFEST, &strict(now())).unwrap();
    trust.remember(&verified).unwrap();
    assert_eq!(trust.verify(&operator.sign(4), MANIFEST, &strict(now())).unwrap().targets_version, 4);
}

#[test]
fn what_was_verified_before_a_newer_release_came_is_not_remembered_after_it() {
    let operator = Operator::new();
    let device = operator.device();
    let fourth = device.verify(&operator.sign(4)).unwrap();
    device.install(&operator.sign(5)).unwrap();
    assert!(matches!(device.trust.remember(&fourth), Err(StateError::Stale { .. })));
    assert!(matches!(device.verify(&operator.sign(4)), Err(VerifyError::Rollback { .. })));
}

#[test]
fn one_process_at_a_time_remembers() {
    let operator = Operator::new();
    let device = operator.device();
    device.install(&operator.sign(1)).unwrap();
    let verified = device.verify(&operator.sign(2)).unwrap();
    let folder = fs::File::open(device.state_folder()).unwrap();
    folder.lock().unwrap();
    assert!(matches!(device.trust.remember(&verified), Err(StateError::Busy { .. })));
    drop(folder);
    device.trust.remember(&verified).unwrap();
}

#[test]
fn a_draft_that_a_power_cut_has_left_does_no_harm() {
    let operator = Operator::new();
    let device = operator.device();
    device.install(&operator.sign(1)).unwrap();
    fs::write(device.state_folder().join(".trust.json.draft"), b"{\"format\":1,\"gen").unwrap();
    device.install(&operator.sign(2)).unwrap();
    assert!(matches!(device.verify(&operator.sign(1)), Err(VerifyError::Rollback { .. })));
    assert_eq!(fs::read_dir(device.state_folder()).unwrap().count(), 1);
}

#[test]
fn a_damaged_state_is_an_error_and_forgets_nothing() {
    let operator = Operator::new();
    let device = operator.device();
    device.install(&operator.sign(5)).unwrap();
    let path = device.state_folder().join("trust.json");
    let whole = fs::read(&path).unwrap();
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut state = serde_json::from_slice(&whole).unwrap();
        edit(&mut state);
        serde_json::to_vec(&state).unwrap()
    };
    let damages = [
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        b"[".repeat(10_000),
        vec![b' '; 1 << 20],
        edited(&|state| state["timestamp"]["signed"]["version"] = 1.into()),
        edited(&|state| state["snapshot"]["signatures"] = Value::Array(Vec::new())),
        edited(&|state| state["root"]["signed"]["version"] = 7.into()),
        edited(&|state| state["more"] = true.into()),
    ];
    for damage in damages {
        fs::write(&path, &damage).unwrap();
        let refused = device.verify(&operator.sign(6)).unwrap_err();
        assert!(matches!(refused, VerifyError::State(StateError::Damaged { .. })), "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), damage);
    }
    fs::write(&path, edited(&|state| state["format"] = 2.into())).unwrap();
    let refused = device.verify(&operator.sign(6)).unwrap_err();
    assert!(matches!(refused, VerifyError::State(StateError::Format { format: 2, .. })), "{refused:?}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = device.verify(&operator.sign(6)).unwrap_err();
    assert!(matches!(refused, VerifyError::State(StateError::File { .. })), "{refused:?}");
}

#[test]
fn a_device_that_is_given_another_root_is_told_so() {
    let (mut operator, stranger) = (Operator::new(), Operator::new());
    let device = operator.device();
    operator.rotate(Role::Snapshot);
    device.install(&operator.sign(1)).unwrap();
    let given = Trust::new(stranger.keys.root_json(), Some(&device.state_folder())).unwrap();
    let refused = given.verify(&stranger.sign(1), MANIFEST, &strict(now())).unwrap_err();
    assert!(matches!(refused, VerifyError::State(StateError::OtherRoot { .. })), "{refused:?}");
}
