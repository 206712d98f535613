//! Folders of keys.

use std::fs;
use std::num::{NonZeroU8, NonZeroU64};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use fluvial_trust::{
    InitOptions, KEYS_PER_ROLE_MAX, KeyError, KeyFolder, Lifetimes, METADATA_FILES_MAX, Role, RoleOptions,
    RotateOptions, SignError, SignOptions, VerifyError, sign,
};

use crate::support::{MANIFEST, Operator, after_days, days, now};

fn sign_at(operator: &Operator, now: fluvial_trust::Timestamp) -> Result<(), SignError> {
    let version = NonZeroU64::MIN;
    sign(&operator.keys, MANIFEST, &SignOptions { version, lifetimes: None, now }).map(|_| ())
}

#[test]
fn a_folder_has_keys_that_its_owner_alone_may_read() {
    let operator = Operator::with_keys(2, 1);
    let overview = operator.keys.show().unwrap();
    assert_eq!((overview.root_version, overview.root_expires), (1, after_days(3650)));
    for (info, role) in overview.roles.iter().zip(Role::ALL) {
        assert_eq!((info.role, info.threshold, info.keys.len()), (role, 1, 2));
        assert!(info.unused_keys.is_empty());
        let mut paths: Vec<_> = info.keys.iter().map(|key| key.path.clone().unwrap()).collect();
        paths.sort();
        assert_eq!(paths, operator.key_files(role));
        for path in paths {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }
    }
    assert_eq!(fs::metadata(operator.keys.path()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::read(operator.keys.path().join("root.json")).unwrap(), operator.keys.root_json());
}

#[test]
fn nothing_is_overwritten() {
    let operator = Operator::new();
    let before = fs::read(operator.keys.path().join("root.json")).unwrap();
    let refused = KeyFolder::init(operator.keys.path(), &InitOptions::new(now())).unwrap_err();
    assert!(matches!(refused, KeyError::AlreadyThere { .. }), "{refused:?}");
    assert_eq!(fs::read(operator.keys.path().join("root.json")).unwrap(), before);
    let file = operator.path("file");
    fs::write(&file, b"mine").unwrap();
    let refused = KeyFolder::init(&file, &InitOptions::new(now())).unwrap_err();
    assert!(matches!(refused, KeyError::AlreadyThere { .. }), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    // Drafts are gone, and an empty folder may be used.
    let empty = operator.path("empty");
    fs::create_dir(&empty).unwrap();
    KeyFolder::init(&empty, &InitOptions::new(now())).unwrap();
    assert_eq!(fs::read_dir(operator.path("")).unwrap().count(), 3);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let operator = Operator::new();
    let init = |keys: u8, threshold: u8| {
        let role = RoleOptions {
            keys: NonZeroU8::new(keys).unwrap(),
            threshold: NonZeroU8::new(threshold).unwrap(),
        };
        let options = InitOptions { targets: role, ..InitOptions::new(now()) };
        KeyFolder::init(&operator.path("other"), &options).map(|_| ())
    };
    assert!(matches!(init(2, 3), Err(KeyError::Threshold { role: Role::Targets, threshold: 3, keys: 2 })));
    let keys = KEYS_PER_ROLE_MAX + 1;
    assert!(matches!(init(keys, 1), Err(KeyError::TooManyKeys { role: Role::Targets, .. })));
    assert!(!operator.path("other").exists());
    init(KEYS_PER_ROLE_MAX, KEYS_PER_ROLE_MAX).unwrap();
}

#[test]
fn the_root_keys_may_be_elsewhere_when_a_release_is_signed() {
    let mut operator = Operator::new();
    fs::rename(operator.keys.path().join("root"), operator.path("offline")).unwrap();
    sign_at(&operator, now()).unwrap();
    let overview = operator.keys.show().unwrap();
    assert_eq!(overview.roles[0].keys[0].path, None);
    let options = RotateOptions { keys: None, threshold: None, now: now() };
    let refused = operator.keys.rotate(Role::Timestamp, &options).unwrap_err();
    let KeyError::KeysMissing { role: Role::Root, needed: 1, found: 0, .. } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(operator.key_files(Role::Timestamp).len(), 1, "no key is made that is of no use");
}

#[test]
fn as_many_keys_as_have_to_sign_must_be_here() {
    let operator = Operator::with_keys(3, 2);
    let targets = operator.key_files(Role::Targets);
    fs::remove_file(&targets[0]).unwrap();
    sign_at(&operator, now()).unwrap();
    fs::remove_file(&targets[1]).unwrap();
    let refused = sign_at(&operator, now()).unwrap_err();
    let SignError::Keys(KeyError::KeysMissing { role: Role::Targets, needed: 2, found: 1, .. }) = refused
    else {
        panic!("{refused:?}")
    };
}

#[test]
fn a_rotation_tells_what_is_new_and_what_is_of_no_use() {
    let mut operator = Operator::new();
    let old = operator.key_files(Role::Targets);
    let two = NonZeroU8::new(2);
    let rotation = operator
        .keys
        .rotate(Role::Targets, &RotateOptions { keys: two, threshold: two, now: after_days(10) })
        .unwrap();
    assert_eq!((rotation.root_version, rotation.new_keys.len()), (2, 2));
    assert_eq!(rotation.unused_keys, old);
    let overview = operator.keys.show().unwrap();
    assert_eq!(overview.root_expires, after_days(3660));
    assert_eq!((overview.roles[1].threshold, overview.roles[1].keys.len()), (2, 2));
    assert_eq!(overview.roles[1].unused_keys, old);
    let root = |name: &str| fs::read(operator.keys.path().join(name)).unwrap();
    assert_eq!(root("root.json"), root("2.root.json"));
    assert_ne!(root("1.root.json"), root("2.root.json"));
    // The new number stays.
    operator.rotate(Role::Targets);
    assert_eq!(operator.keys.show().unwrap().roles[1].threshold, 2);
}

#[test]
fn an_expired_root_signs_nothing() {
    let operator = Operator::new();
    let refused = sign_at(&operator, after_days(3650)).unwrap_err();
    let SignError::Refused(VerifyError::Expired { role: Role::Root, .. }) = refused else {
        panic!("{refused:?}")
    };
}

#[test]
fn the_folder_says_how_long_releases_live() {
    let lifetimes = Lifetimes { timestamp_days: days(3), ..Lifetimes::default() };
    let operator = Operator::with(&InitOptions { lifetimes, ..InitOptions::new(now()) });
    assert_eq!(KeyFolder::open(operator.keys.path()).unwrap().lifetimes(), lifetimes);
    let verified = operator.device().verify(&operator.sign(1)).unwrap();
    assert_eq!(verified.expires, after_days(3));
}

#[test]
fn what_is_no_folder_of_keys_is_told_apart() {
    let operator = Operator::new();
    let path = operator.keys.path();
    let open = || KeyFolder::open(path).unwrap_err();
    let refused = KeyFolder::open(&operator.path("")).unwrap_err();
    assert!(matches!(refused, KeyError::NotAKeyFolder { .. }), "{refused:?}");
    assert!(matches!(KeyFolder::open(&operator.path("nothing")), Err(KeyError::File { .. })));

    fs::copy(path.join("1.root.json"), path.join("3.root.json")).unwrap();
    assert!(matches!(open(), KeyError::Gap { path } if path.ends_with("2.root.json")));
    fs::rename(path.join("3.root.json"), path.join("2.root.json")).unwrap();
    assert!(matches!(open(), KeyError::Version { path } if path.ends_with("2.root.json")));
    fs::write(path.join("2.root.json"), b"{").unwrap();
    assert!(matches!(open(), KeyError::Malformed { path, .. } if path.ends_with("2.root.json")));
    fs::write(path.join("2.root.json"), vec![b' '; 1 << 20]).unwrap();
    assert!(matches!(open(), KeyError::TooLong { path, .. } if path.ends_with("2.root.json")));
    fs::remove_file(path.join("2.root.json")).unwrap();
    fs::write(path.join("timestamp/mine.pem"), b"no key").unwrap();
    let refused = sign_at(&operator, now()).unwrap_err();
    assert!(matches!(refused, SignError::Keys(KeyError::Key { .. })), "{refused:?}");
}

#[test]
fn a_folder_holds_as_many_roots_as_a_device_follows() {
    let mut operator = Operator::new();
    let first: serde_json::Value = serde_json::from_slice(operator.keys.root_json()).unwrap();
    // Nobody has signed them: that is found when they are used.
    let forge = |version: u64| {
        let mut root = first.clone();
        root["signed"]["version"] = version.into();
        let path = operator.keys.path().join(format!("{version}.root.json"));
        fs::write(path, serde_json::to_vec(&root).unwrap()).unwrap();
    };
    let most = METADATA_FILES_MAX as u64 - 3;
    (2..=most).for_each(forge);
    let path = operator.keys.path().to_owned();
    operator.keys = KeyFolder::open(&path).unwrap();
    let refused = sign_at(&operator, now()).unwrap_err();
    let SignError::Refused(VerifyError::RootChain { name, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(name, "2.root.json");
    let options = RotateOptions { keys: None, threshold: None, now: now() };
    assert!(matches!(operator.keys.rotate(Role::Targets, &options), Err(KeyError::TooManyRoots)));
    fs::copy(path.join("1.root.json"), path.join(format!("{}.root.json", most + 1))).unwrap();
    assert!(matches!(KeyFolder::open(&path), Err(KeyError::TooMany { .. })));
}

#[test]
fn another_rotation_that_came_first_is_seen() {
    let mut operator = Operator::new();
    let mut second = KeyFolder::open(operator.keys.path()).unwrap();
    operator.rotate(Role::Targets);
    let rotation =
        second.rotate(Role::Snapshot, &RotateOptions { keys: None, threshold: None, now: now() }).unwrap();
    assert_eq!(rotation.root_version, 3);
    let device = operator.device();
    operator.keys = second;
    assert_eq!(device.verify(&operator.sign(1)).unwrap().root_version, 3);
}

/// Runs openssl, and answers what it prints.
fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn openssl_reads_our_keys() {
    let operator = Operator::new();
    let key = operator.key_files(Role::Root).remove(0);
    let public = openssl(&["pkey", "-in", key.to_str().unwrap(), "-pubout", "-outform", "DER"]);
    let root: serde_json::Value = serde_json::from_slice(operator.keys.root_json()).unwrap();
    let id = root["signed"]["roles"]["root"]["keyids"][0].as_str().unwrap();
    let ours = root["signed"]["keys"][id]["keyval"]["public"].as_str().unwrap();
    // SubjectPublicKeyInfo ends with the key (RFC 8410, 4).
    assert_eq!(hex::encode(&public[public.len() - 32..]), ours);
}

#[test]
fn a_key_that_openssl_has_made_is_a_key_that_nobody_named() {
    let operator = Operator::new();
    let path = operator.keys.path().join("targets/mine.pem");
    openssl(&["genpkey", "-algorithm", "ED25519", "-out", path.to_str().unwrap()]);
    assert_eq!(operator.keys.show().unwrap().roles[1].unused_keys, [path]);
    sign_at(&operator, now()).unwrap();
}
