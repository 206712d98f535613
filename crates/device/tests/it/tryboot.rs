//! Raspberry Pi's firmware, as its documentation tells it.

use std::fs;

use fluvial_device::boot::BootError;

use crate::conformance;
use crate::device::{Device, Loader};

const BOOT: &str = "flow = 'tryboot'\npartitions = { a = 2, b = 3 }\nautoboot = 'DIR/autoboot.txt'\n\
                    booted = 'DIR/partition'\nmarker = 'DIR/run/fluvial/tryboot'";

pub struct Firmware;

impl Loader for Firmware {
    /// Takes the last `boot_partition` under a filter that is in force.
    fn start(&self, device: &Device, argument: Option<&str>) {
        let text = String::from_utf8(device.read("autoboot.txt")).unwrap();
        let is_try = argument == Some("0 tryboot");
        let (mut is_in_force, mut partition) = (true, 1_u32);
        for line in text.lines() {
            match line {
                "[all]" => is_in_force = true,
                "[tryboot]" => is_in_force = is_try,
                _ => {
                    if let Some(number) = line.strip_prefix("boot_partition=").filter(|_| is_in_force) {
                        partition = number.parse().unwrap();
                    }
                }
            }
        }
        device.write("partition", partition.to_be_bytes());
        // The folder is in memory.
        let _ = fs::remove_dir_all(device.path("run"));
    }

    fn damage(&self, device: &Device) {
        device.write("autoboot.txt", [0; 64]);
    }

    fn keeps_try_without_power(&self) -> bool {
        false
    }
}

pub fn device() -> Device {
    let device = Device::new(BOOT);
    device.write("autoboot.txt", "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n");
    device.write("partition", 2_u32.to_be_bytes());
    device
}

#[test]
fn conforms() {
    let device = device();
    conformance::check(&device, &Firmware);
}

#[test]
fn conforms_where_no_try_was_prepared() {
    let device = device();
    device.write("autoboot.txt", "tryboot_a_b=1\nboot_partition=2\n");
    conformance::check(&device, &Firmware);
}

#[test]
fn a_commit_swaps_the_partitions_and_leaves_nothing_beside() {
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    device.flow().commit(b).unwrap();
    let text = String::from_utf8(device.read("autoboot.txt")).unwrap();
    assert_eq!(text, "[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2\n");
    assert!(!device.path(".autoboot.txt.tmp").exists());
}

#[test]
fn other_partitions_are_told() {
    let device = device();
    device.write("partition", 4_u32.to_be_bytes());
    assert!(matches!(device.flow().active(), Err(BootError::UnknownGroup { .. })));
    device.write("partition", [0; 3]);
    assert!(matches!(device.flow().active(), Err(BootError::Damaged { .. })));
    device.write("autoboot.txt", "tryboot_a_b=1\nboot_partition=4\n");
    assert!(matches!(device.flow().choice(), Err(BootError::UnknownGroup { .. })));
}
