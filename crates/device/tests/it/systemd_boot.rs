//! systemd-boot, with a folder of EFI variables.

use std::fs;

use fluvial_device::boot::BootError;

use crate::conformance;
use crate::device::{Device, Loader};

const BOOT: &str = "flow = 'systemd-boot'\nvariables = 'DIR/efivars'\nloader = 'DIR/loader.conf'\n\
                    entries = { a = 'fluvial-a.conf', b = 'fluvial-b.conf' }";

struct SystemdBoot;

fn name(variable: &str) -> String {
    format!("efivars/{variable}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
}

/// A variable's value, as the firmware keeps it.
fn get(device: &Device, variable: &str) -> Option<Vec<u8>> {
    let bytes = fs::read(device.path(&name(variable))).ok()?;
    assert_eq!(bytes[..4], [7, 0, 0, 0], "attributes");
    Some(bytes[4..].to_vec())
}

fn set(device: &Device, variable: &str, value: &[u8]) {
    device.write(&name(variable), [&[7, 0, 0, 0], value].concat());
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

impl Loader for SystemdBoot {
    /// As systemd-boot does: the one-shot entry, which it removes first, before the default that a variable
    /// says, before the one of `loader.conf`.
    fn start(&self, device: &Device, _: Option<&str>) {
        let one_shot = get(device, "LoaderEntryOneShot");
        if one_shot.is_some() {
            fs::remove_file(device.path(&name("LoaderEntryOneShot"))).unwrap();
        }
        let chosen = one_shot.or_else(|| get(device, "LoaderEntryDefault"));
        set(device, "LoaderEntrySelected", &chosen.unwrap_or_else(|| utf16("fluvial-a.conf")));
    }

    fn damage(&self, device: &Device) {
        set(device, "LoaderEntryDefault", b"odd");
    }
}

pub fn device() -> Device {
    let device = Device::new(BOOT);
    device.write("loader.conf", "timeout 0\ndefault fluvial-a.conf\n");
    fs::create_dir(device.path("efivars")).unwrap();
    device
}

#[test]
fn conforms() {
    let device = device();
    conformance::check(&device, &SystemdBoot);
}

#[test]
fn a_try_is_one_variable_and_leaves_the_default_alone() {
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    device.flow().try_next(b).unwrap();
    assert_eq!(get(&device, "LoaderEntryOneShot"), Some(utf16("fluvial-b.conf")));
    assert_eq!(get(&device, "LoaderEntryDefault"), None);
    device.flow().commit(b).unwrap();
    assert_eq!(get(&device, "LoaderEntryOneShot"), None);
    assert_eq!(get(&device, "LoaderEntryDefault"), Some(utf16("fluvial-b.conf")));
}

#[test]
fn entries_of_others_are_told() {
    let device = device();
    set(&device, "LoaderEntrySelected", &utf16("rescue.conf"));
    assert!(matches!(device.flow().active(), Err(BootError::UnknownGroup { .. })));
    device.write("loader.conf", "default @saved\n");
    assert!(matches!(device.flow().choice(), Err(BootError::UnknownGroup { .. })));
    device.write("loader.conf", "timeout 0\n");
    assert!(matches!(device.flow().choice(), Err(BootError::Damaged { .. })));
}

#[test]
fn a_device_that_did_not_boot_through_it_is_told() {
    let device = device();
    assert!(matches!(device.flow().active(), Err(BootError::NoActive { .. })));
    fs::remove_dir(device.path("efivars")).unwrap();
    assert!(matches!(device.flow().choice(), Err(BootError::Read { .. })));
}
