//! What runs, what is confirmed, and what is known of slots.

use crate::device::Device;
use crate::release::{Operator, Release, changed, image};

const LEN: usize = 256 << 10;

/// A device on which release 2 was installed into b, and its operator.
fn installed() -> (Operator, Device, Vec<u8>, Vec<u8>) {
    let operator = Operator::new();
    let old = image(1, LEN);
    let new = changed(&old, 100, 2);
    let device = Device::new(&old, &[], &operator);
    let bundle = operator.publish("2.fluvial", Release::full(2, &new));
    device.installed(&bundle, &[], &new);
    (operator, device, old, new)
}

#[test]
fn a_release_is_tried_and_confirmed() {
    let (_, device, ..) = installed();
    let info = device.done(&["system", "info"]);
    assert_eq!(info["boot"]["active_group"], "a");
    assert_eq!(info["boot"]["pending_group"], "b");
    assert_eq!(info["pending"]["release"]["sequence"], 2);
    assert_eq!(device.restart(), "b");
    assert_eq!(device.done(&["system", "info"])["boot"]["is_confirmed"], false);
    let committed = device.done(&["system", "commit"]);
    assert_eq!((&committed["committed_group"], &committed["confirmed_sequence"]), (&"b".into(), &2.into()));
    assert_eq!(device.choice(), "b");
    let info = device.done(&["system", "info"]);
    assert_eq!((&info["boot"]["is_confirmed"], &info["release"]["version"]), (&true.into(), &"2.0".into()));
    assert!(info["pending"].is_null());
}

#[test]
fn a_release_that_nobody_confirms_is_left_by_the_next_restart() {
    let (_, device, ..) = installed();
    assert_eq!(device.restart(), "b");
    assert_eq!(device.restart(), "a");
    assert_eq!(device.done(&["system", "info"])["confirmed_sequence"], 0);
}

#[test]
fn a_device_goes_back() {
    let (_, device, ..) = installed();
    device.restart();
    assert_eq!(device.done(&["system", "rollback"])["next_group"], "a");
    assert_eq!(device.choice(), "a");
    device.restart();
    // Forth without a try, because somebody asks for it.
    assert_eq!(device.done(&["system", "rollback", "--reboot", "yes"])["next_group"], "b");
    assert_eq!((device.choice().as_str(), &device.read("restart")[..]), ("b", &b"asked"[..]));
}

#[test]
fn a_release_that_was_never_confirmed_is_not_gone_back_to() {
    let (_, device, ..) = installed();
    device.refused(&["system", "rollback"], "refused", 25);
    // It is tried, and fails.
    device.restart();
    device.restart();
    let message = device.refused(&["system", "rollback"], "refused", 25);
    assert!(message.contains("never confirmed"), "{message}");
    device.done(&["system", "commit"]);
    assert_eq!(device.choice(), "a");
}

#[test]
fn what_the_device_falls_back_to_is_not_written() {
    let (operator, device, _, new) = installed();
    device.restart();
    let bundle = operator.publish("3.fluvial", Release::full(3, &changed(&new, 5, 1)));
    let message = device.refused(&["install", &bundle], "refused", 25);
    assert!(message.contains("falls back to"), "{message}");
    device.done(&["system", "commit"]);
    device.done(&["install", &bundle]);
    assert_eq!(device.choice(), "b, then once a");
}

#[test]
fn a_group_that_is_half_written_is_neither_gone_back_to_nor_confirmed() {
    let (_, device, ..) = installed();
    let state = String::from_utf8(device.read("state/slots.json")).unwrap();
    device.write("state/slots.json", state.replace("\"is_whole\": true", "\"is_whole\": false"));
    device.refused(&["system", "rollback"], "refused", 25);
    device.restart();
    device.refused(&["system", "commit"], "refused", 25);
}

#[test]
fn the_boot_loader_is_told_as_asked() {
    let operator = Operator::new();
    let (old, new) = (image(1, LEN), image(2, LEN));
    let bundle = operator.publish("1.fluvial", Release::full(1, &new));
    let device = Device::new(&old, &[], &operator);
    device.done(&["install", &bundle, "--reboot", "no"]);
    assert_eq!(device.choice(), "a");
    assert_eq!(device.done(&["system", "info"])["pending"]["group"], "b");
    assert!(!device.path("restart").exists());
    device.done(&["install", &bundle, "--reboot", "yes"]);
    assert_eq!((device.choice().as_str(), &device.read("restart")[..]), ("a, then once b", &b"asked"[..]));
}

#[test]
fn an_older_release_is_taken_only_where_that_is_allowed() {
    let (operator, device, old, _) = installed();
    device.restart();
    device.done(&["system", "commit"]);
    let bundle = operator.publish("1.fluvial", Release::full(1, &old));
    device.refused(&["install", &bundle], "untrusted", 24);
    device.done(&["install", &bundle, "--allow-downgrade"]);
    assert_eq!(device.choice(), "b, then once a");
    assert_eq!(device.read("a.img"), old);
}

#[test]
fn slots_are_listed_compared_and_indexed() {
    let (_, device, _, new) = installed();
    let listed = device.done(&["slots", "list"]);
    assert_eq!(listed["slots"][1]["content"]["release"]["sequence"], 2);
    assert_eq!(listed["slots"][1]["size_bytes"], LEN);
    assert!(listed["slots"][0]["content"].is_null());
    let verified = device.done(&["slots", "verify"]);
    assert_eq!(verified["slots"], serde_json::json!([{ "name": "system-b", "is_right": true }]));
    let created = device.done(&["slots", "create-index", "system-b", "files", "sha256"]);
    let len = std::fs::metadata(created["index"].as_str().unwrap()).unwrap().len();
    assert_eq!(created["index_bytes"], len);
    device.refused(&["slots", "create-index", "nothing"], "usage", 2);

    device.write("b.img", changed(&new, 9, 1));
    device.refused(&["slots", "verify"], "wrong_target", 17);
}

#[test]
fn a_second_agent_waits_its_turn() {
    let (operator, device, _, new) = installed();
    let bundle = operator.publish("3.fluvial", Release::full(3, &new));
    let lock = std::fs::File::open(device.path("state/lock")).unwrap();
    lock.lock().unwrap();
    device.refused(&["install", &bundle], "busy", 18);
    lock.unlock().unwrap();
    device.done(&["install", &bundle]);
}
