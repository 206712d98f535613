//! GRUB, with `grub-editenv` in place of its own commands.

use std::process::Command;

use fluvial_device::boot::BootError;

use crate::conformance;
use crate::device::{Device, Loader, has, snippet};

pub const BOOT: &str = "flow = 'grub'\nenvironment = 'DIR/grubenv'\n\
                        active = { parameter = 'fluvial.group', command-line = 'DIR/cmdline' }";

/// GRUB's commands, for a shell.
const FUNCTIONS: &str = r#"
set() { eval "${1%%=*}=\${1#*=}"; }
load_env() { for name; do eval "$name=\$(grub-editenv grubenv list | sed -n "s/^$name=//p")"; done; }
save_env() { grub-editenv grubenv set "$1=${!1}"; }
search() { :; }
initrd() { :; }
boot() { :; }
linux() { printf '%s\n' "${*:2}" > cmdline; }
"#;

pub struct Grub;

impl Loader for Grub {
    fn start(&self, device: &Device, _: Option<&str>) {
        device.run_snippet("bash", FUNCTIONS, "grub");
    }

    fn damage(&self, device: &Device) {
        let mut bytes = device.read("grubenv");
        bytes[2] = b'g';
        device.write("grubenv", bytes);
    }
}

pub fn editenv(device: &Device, arguments: &[&str]) -> String {
    let mut command = Command::new("grub-editenv");
    let output = command.arg(device.path("grubenv")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A device whose environment holds something else too.
pub fn device() -> Device {
    let device = Device::new(BOOT);
    editenv(&device, &["create"]);
    editenv(&device, &["set", "saved_entry=a\\b c"]);
    device.write("cmdline", "fluvial.group=a\n");
    device
}

#[test]
fn conforms() {
    if has("grub-editenv") {
        let device = device();
        conformance::check(&device, &Grub);
    }
}

#[test]
fn grub_reads_what_is_written_and_other_variables_stay() {
    if !has("grub-editenv") {
        return;
    }
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    device.flow().try_next(b).unwrap();
    assert_eq!(editenv(&device, &["list"]), "fluvial_default=a\nfluvial_try=b\nsaved_entry=a\\b c\n");
    assert_eq!(device.read("grubenv").len(), 1024);
    editenv(&device, &["unset", "fluvial_try"]);
    editenv(&device, &["set", "fluvial_default=b"]);
    assert_eq!(device.flow().choice().unwrap().to_string(), "b");
}

#[test]
fn a_full_environment_is_told_and_stays() {
    if !has("grub-editenv") {
        return;
    }
    let device = device();
    editenv(&device, &["set", &format!("long={}", "x".repeat(870))]);
    let before = device.read("grubenv");
    let b = device.system.groups().find("b").unwrap();
    let done = device.flow().try_next(b);
    assert!(matches!(done, Err(BootError::Full { .. })), "{done:?}");
    assert_eq!(device.read("grubenv"), before);
}

#[test]
fn the_documented_snippet_is_what_grub_understands() {
    if !has("grub-script-check") {
        return;
    }
    let device = Device::new(BOOT);
    device.write("grub.cfg", snippet("grub"));
    let output = Command::new("grub-script-check").arg(device.path("grub.cfg")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_kernel_that_is_told_nothing_is_told_of() {
    let device = Device::new(BOOT);
    for (line, is_told) in [("quiet\n", false), ("fluvial.group=\n", false), ("fluvial.group=c\n", true)] {
        device.write("cmdline", line);
        let active = device.flow().active();
        match active {
            Err(BootError::NoActive { .. }) => assert!(!is_told, "{line}"),
            Err(BootError::UnknownGroup { .. }) => assert!(is_told, "{line}"),
            other => panic!("{other:?}"),
        }
    }
}
