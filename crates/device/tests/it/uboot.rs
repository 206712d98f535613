//! U-Boot, with `fw_printenv` and `fw_setenv` on a file in place of its own commands.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use fluvial_device::boot::BootError;

use crate::conformance;
use crate::device::{Device, Loader, has};

const BOOT: &str = "flow = 'u-boot'\nconfig = 'DIR/fw_env.config'\n\
                    active = { parameter = 'fluvial.group', command-line = 'DIR/cmdline' }";

/// The length of one copy of the environment, in bytes.
const COPY_BYTES: u64 = 0x4000;

/// U-Boot's commands, for a shell.
const FUNCTIONS: &str = r#"
for name in fluvial_default fluvial_try; do
    eval "$name=\$(fw_printenv -c fw_env.config | sed -n "s/^$name=//p")"
done
setenv() { name=$1; shift; eval "$name=\$*"; }
saveenv() {
    printf 'fluvial_default=%s\nfluvial_try=%s\n' "$fluvial_default" "$fluvial_try" > script
    fw_setenv -c fw_env.config -s script
}
load() { :; }
booti() { printf '%s\n' "$bootargs" > cmdline; }
"#;

struct UBoot;

impl Loader for UBoot {
    fn start(&self, device: &Device, _: Option<&str>) {
        device.run_snippet("sh", FUNCTIONS, "u-boot");
    }

    /// Both copies: one alone is what redundancy is for.
    fn damage(&self, device: &Device) {
        damage(device, 0);
        damage(device, COPY_BYTES);
    }
}

fn damage(device: &Device, copy: u64) {
    let file = OpenOptions::new().write(true).open(device.path("env")).unwrap();
    file.write_all_at(b"damage", copy + 5).unwrap();
}

/// A device with a redundant environment that holds something else.
fn device() -> Device {
    let device = Device::new(BOOT);
    device.write("env", vec![0; 2 * COPY_BYTES as usize]);
    let env = device.path("env");
    let env = env.display();
    device.write(
        "fw_env.config",
        format!("{env} 0x0 {COPY_BYTES:#x}\n{env} {COPY_BYTES:#x} {COPY_BYTES:#x}\n"),
    );
    device.write("initial", "bootdelay=2\n");
    setenv(&device, &["bootcmd", "run distro_bootcmd"]);
    setenv(&device, &["fluvial_default", "a"]);
    device
}

fn tool(device: &Device, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.arg("-c").arg(device.path("fw_env.config")).arg("-f").arg(device.path("initial"));
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn setenv(device: &Device, arguments: &[&str]) {
    tool(device, "fw_setenv", arguments);
}

#[test]
fn conforms() {
    if has("fw_setenv") {
        let device = device();
        conformance::check(&device, &UBoot);
    }
}

#[test]
fn both_variables_change_in_one_write_and_others_stay() {
    if !has("fw_setenv") {
        return;
    }
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    device.flow().try_next(b).unwrap();
    let before = device.read("env");
    device.flow().commit(b).unwrap();
    let after = device.read("env");
    let is_same = |range: std::ops::Range<usize>| before[range.clone()] == after[range];
    let copy = COPY_BYTES as usize;
    assert_ne!(is_same(0..copy), is_same(copy..2 * copy), "one copy was written");
    let variables = tool(&device, "fw_printenv", &[]);
    assert!(variables.contains("fluvial_default=b\n") && !variables.contains("fluvial_try"), "{variables}");
    assert!(variables.contains("bootcmd=run distro_bootcmd\n"), "{variables}");
}

#[test]
fn one_damaged_copy_leaves_the_choice_before() {
    if !has("fw_setenv") {
        return;
    }
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    device.flow().commit(b).unwrap();
    // The copy that was written last has the higher counter.
    let bytes = device.read("env");
    let copy = if bytes[4] > bytes[4 + COPY_BYTES as usize] { 0 } else { COPY_BYTES };
    damage(&device, copy);
    assert_eq!(device.flow().choice().unwrap().to_string(), "a");
}

#[test]
fn an_initial_environment_that_tools_take_instead_is_no_answer() {
    let device = Device::new(&format!("{BOOT}\nprintenv = 'DIR/printenv'"));
    let script = "#!/bin/sh\necho 'Cannot read environment, using default' >&2\necho fluvial_default=b\n";
    device.write_script("printenv", script);
    let choice = device.flow().choice();
    assert!(matches!(choice, Err(BootError::Damaged { .. })), "{choice:?}");
}

#[test]
fn missing_tools_are_told() {
    let device = Device::new(&format!("{BOOT}\nprintenv = 'DIR/printenv'"));
    let choice = device.flow().choice();
    assert!(matches!(choice, Err(BootError::Start { .. })), "{choice:?}");
}
