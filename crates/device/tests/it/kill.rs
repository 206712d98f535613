//! Changes that are killed at every system call that writes, by `strace`. What is found afterwards is what was
//! before or what should be, and the same change then succeeds.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use fluvial_device::boot;
use fluvial_device::system::System;

use crate::device::{Device, has};
use crate::{grub, systemd_boot, tryboot};

/// What writes, syncs, renames, or removes. Not every architecture has all of them.
const CALLS: [&str; 10] = [
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "?rename",
    "?renameat",
    "renameat2",
    "?unlink",
    "unlinkat",
    "ftruncate",
];
/// `SIGKILL`.
const KILLED: i32 = 9;

/// Names the configuration, and the change, of the process that is killed.
const CONFIG: &str = "FLUVIAL_TEST_CONFIG";
const CHANGE: &str = "FLUVIAL_TEST_CHANGE";

/// Writes that count for nothing, in front of a change. `strace` counts for each thread by itself, and the test
/// runner's own thread writes a few times before the test's thread begins.
const IDLE_WRITES: usize = 16;

/// What the process that is killed does.
#[test]
#[ignore = "the other tests start it, as a process of its own"]
fn change_for_another_test() {
    let [config, change] = [CONFIG, CHANGE].map(|name| std::env::var(name).unwrap());
    let system = System::load(Path::new(&config)).unwrap();
    let flow = boot::open(&system);
    let group = |name: &str| system.groups().find(name).unwrap();
    let mut nowhere = OpenOptions::new().write(true).open("/dev/null").unwrap();
    for _ in 0..IDLE_WRITES {
        nowhere.write_all(b".").unwrap();
    }
    match change.split_once(' ') {
        Some(("try", name)) => flow.try_next(group(name)).unwrap(),
        Some(("commit", name)) => flow.commit(group(name)).unwrap(),
        _ => flow.cancel_try().unwrap(),
    }
}

/// Has this very program make a change, in a command that was begun.
fn making(mut command: Command, device: &Device, change: &str) -> Output {
    command.args(["--ignored", "--exact", "kill::change_for_another_test", "--test-threads", "1"]);
    command.env(CONFIG, device.path("system.toml")).env(CHANGE, change).output().unwrap()
}

/// Makes a change; answers whether it was killed at the `at`th of the calls.
fn is_killed(device: &Device, change: &str, call: &str, at: usize) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("inject={call}:signal=KILL:when={at}"));
    command.arg(std::env::current_exe().unwrap());
    let output = making(command, device, change);
    if output.status.signal() == Some(KILLED) {
        return true;
    }
    assert!(output.status.success(), "{output:?}");
    false
}

/// Checks a change of a device that is made anew each time; answers how often it was killed, and how often it
/// had been made by then.
fn check(new_device: &dyn Fn() -> Device, change: &str, before: &str, after: &str) -> (usize, usize) {
    let (mut killed, mut made) = (0, 0);
    for call in CALLS {
        let first = if call == "write" { IDLE_WRITES + 1 } else { 1 };
        for at in first.. {
            let device = new_device();
            assert_eq!(device.flow().choice().unwrap().to_string(), before);
            let was_killed = is_killed(&device, change, call, at);
            let unreadable = |error| panic!("{change}, killed at {call} {at}: {error}");
            let found = device.flow().choice().unwrap_or_else(unreadable).to_string();
            if !was_killed {
                assert_eq!(found, after, "{change}");
                break;
            }
            assert!(found == before || found == after, "{change}, killed at {call} {at}: {found}");
            killed += 1;
            made += usize::from(found == after);
            let output = making(Command::new(std::env::current_exe().unwrap()), &device, change);
            assert!(output.status.success(), "{output:?}");
            assert_eq!(device.flow().choice().unwrap().to_string(), after, "{change} again");
        }
    }
    (killed, made)
}

/// A device with a pending try.
fn trying(device: Device) -> Device {
    let b = device.system.groups().find("b").unwrap();
    device.flow().try_next(b).unwrap();
    device
}

fn check_all(new_device: &dyn Fn() -> Device) {
    let with_try = || trying(new_device());
    let mut sums = (0, 0);
    for (new_device, change, before, after) in [
        (new_device, "try b", "a", "a, then once b"),
        (new_device, "commit b", "a", "b"),
        (&with_try, "commit b", "a, then once b", "b"),
        (&with_try, "commit a", "a, then once b", "a"),
        (&with_try, "cancel", "a, then once b", "a"),
    ] {
        let (killed, made) = check(new_device, change, before, after);
        assert!(killed > 0, "{change} was never killed");
        sums = (sums.0 + killed, sums.1 + made);
    }
    // Kills before and behind the moment at which a change counts.
    assert!(sums.1 > 0 && sums.1 < sums.0, "{sums:?}");
    println!("{} kills, {} of them after the change", sums.0, sums.1);
}

#[test]
fn grub_has_one_of_two_choices_after_a_kill() {
    if has("strace") && has("grub-editenv") {
        check_all(&grub::device);
    }
}

#[test]
fn systemd_boot_has_one_of_two_choices_after_a_kill() {
    if has("strace") {
        check_all(&systemd_boot::device);
    }
}

#[test]
fn tryboot_has_one_of_two_choices_after_a_kill() {
    if has("strace") {
        check_all(&tryboot::device);
    }
}
