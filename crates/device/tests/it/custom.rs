//! A program of the device's own: a shell script that keeps two files.

use std::fs;

use fluvial_device::boot::BootError;

use crate::conformance;
use crate::device::{Device, Loader};

const SCRIPT: &str = r#"#!/bin/sh
set -e
export LC_ALL=C
cd "$(dirname "$0")"
case "$1" in
    active | default) cat "$1" ;;
    pending) if [ -e pending ]; then cat pending; fi ;;
    try) echo "$2" > pending.new; mv pending.new pending ;;
    commit) echo "$2" > default.new; mv default.new default; rm -f pending ;;
    cancel) rm -f pending ;;
    *) echo "unknown: $1" >&2; exit 2 ;;
esac
"#;

struct Script;

impl Loader for Script {
    fn start(&self, device: &Device, _: Option<&str>) {
        let pending = fs::read(device.path("pending"));
        let _ = fs::remove_file(device.path("pending"));
        device.write("active", pending.unwrap_or_else(|_| device.read("default")));
    }

    fn damage(&self, device: &Device) {
        device.write("default", "");
    }
}

fn device(script: &str, further: &str) -> Device {
    let device = Device::new(&format!("flow = 'custom'\nprogram = 'DIR/boot'\n{further}"));
    device.write_script("boot", script);
    device.write("default", "a\n");
    device
}

#[test]
fn conforms() {
    let device = device(SCRIPT, "");
    conformance::check(&device, &Script);
}

#[test]
fn what_a_program_says_when_it_fails_stands_in_the_error() {
    let device = device(SCRIPT, "");
    fs::remove_file(device.path("default")).unwrap();
    let error = device.flow().choice().unwrap_err();
    let BootError::Failed { arguments, message, .. } = &error else { panic!("{error}") };
    assert_eq!(arguments, "default");
    assert!(message.contains("No such file"), "{message}");
}

#[test]
fn wrong_answers_are_told() {
    let device = device("#!/bin/sh\necho c\n", "");
    assert!(matches!(device.flow().active(), Err(BootError::UnknownGroup { .. })));
    let silent = self::device("#!/bin/sh\n", "");
    assert!(matches!(silent.flow().active(), Err(BootError::NoActive { .. })));
}

#[test]
fn a_program_that_only_says_that_it_has_done_it_is_found_out() {
    let device = device("#!/bin/sh\nif [ $1 = default ]; then echo a; fi\n", "");
    let b = device.system.groups().find("b").unwrap();
    let done = device.flow().try_next(b);
    assert!(matches!(done, Err(BootError::NotKept { .. })), "{done:?}");
}

#[test]
fn a_program_that_hangs_is_stopped() {
    let device = device("#!/bin/sh\nsleep 1000\n", "time-limit-s = 1");
    let error = device.flow().choice().unwrap_err();
    assert!(matches!(error, BootError::TimedOut { limit_s: 1, .. }), "{error}");
}

#[test]
fn the_configuration_can_say_what_runs() {
    let device = device(SCRIPT, "active = { file = 'DIR/group' }");
    device.write("group", "b\n");
    assert_eq!(device.flow().active().unwrap().as_str(), "b");
}
