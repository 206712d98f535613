//! GRUB itself, as a program of the system (`grub-emu`), on an image of the file system that has its
//! environment.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fluvial_device::boot::BootError;

use crate::conformance;
use crate::device::{Device, Loader, has, snippet};

pub const BOOT: &str = "flow = 'grub'\nenvironment = 'DIR/grubenv'\n\
                        active = { parameter = 'fluvial.group', command-line = 'DIR/cmdline' }";

/// The file system in which the environment stands.
enum Grub {
    /// As it should be.
    Ext4,
    /// One to which GRUB cannot write.
    Squashfs,
}

impl Grub {
    /// Makes an image of a folder.
    fn image(&self, device: &Device, folder: &str, image: &str) {
        let (folder, image) = (device.path(folder), device.path(image));
        let _ = fs::remove_file(&image);
        let mut command = match self {
            Self::Ext4 => {
                fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
                let mut command = Command::new("mkfs.ext4");
                // GRUB reads no journal, and none has room.
                command.args(["-q", "-F", "-O", "^has_journal", "-d"]).arg(folder).arg(image);
                command
            }
            Self::Squashfs => {
                let mut command = Command::new("mksquashfs");
                command.arg(folder).arg(image).args(["-quiet", "-no-progress"]);
                command
            }
        };
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    }
}

/// A file of an ext4 image.
fn file_of(device: &Device, image: &str, name: &str) -> Vec<u8> {
    let mut command = Command::new("debugfs");
    let output = command.arg("-R").arg(format!("cat {name}")).arg(device.path(image)).output().unwrap();
    assert_eq!(output.stdout.len(), 1024, "{output:?}");
    output.stdout
}

impl Loader for Grub {
    fn start(&self, device: &Device, _: Option<&str>) {
        device.write("environment/boot/grub/grubenv", device.read("grubenv"));
        self.image(device, "environment", "environment.img");
        boot_from(device, "environment.img");
        if matches!(self, Self::Ext4) {
            device.write("grubenv", file_of(device, "environment.img", "/boot/grub/grubenv"));
        }
    }

    fn damage(&self, device: &Device) {
        let mut bytes = device.read("grubenv");
        bytes[2] = b'g';
        device.write("grubenv", bytes);
    }
}

/// Lets GRUB carry out the documented snippet, with its environment in this image, up to where it loads the
/// kernel. Which group that would be it says in an environment of its own.
fn boot_from(device: &Device, image: &str) {
    fs::create_dir_all(device.path("told")).unwrap();
    editenv(device, "told/told", &["create"]);
    Grub::Ext4.image(device, "told", "told.img");
    let [environment, told] = [image, "told.img"].map(|name| device.path(name));
    device.write("map", format!("(hd0) {}\n(hd1) {}\n", environment.display(), told.display()));
    let snippet = snippet("grub");
    let (choice, _) = snippet.split_once("search ").unwrap();
    let script = format!("set prefix=(hd0)/boot/grub\n{choice}\nsave_env -f (hd1)/told group\nhalt\n");
    device.write("grub/grub.cfg", script);
    let mut command = Command::new("grub-emu");
    command.arg("-m").arg(device.path("map")).arg("-d").arg(device.path("grub")).args(["-r", "host"]);
    let output = command.env("TERM", "dumb").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    device.write("told/told", file_of(device, "told.img", "/told"));
    device.write("cmdline", format!("ro fluvial.{}", editenv(device, "told/told", &["list"])));
}

fn editenv(device: &Device, name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("grub-editenv");
    let output = command.arg(device.path(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A device whose environment holds something else too.
pub fn device() -> Device {
    let device = Device::new(BOOT);
    editenv(&device, "grubenv", &["create"]);
    editenv(&device, "grubenv", &["set", "saved_entry=a\\b c"]);
    device.write("cmdline", "fluvial.group=a\n");
    device
}

#[test]
fn conforms() {
    if has("grub-editenv") && has("grub-emu") {
        let device = device();
        conformance::check(&device, &Grub::Ext4);
    }
}

#[test]
fn grub_does_not_try_what_it_cannot_forget() {
    if !has("grub-editenv") || !has("grub-emu") {
        return;
    }
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    device.flow().try_next(b).unwrap();
    Grub::Squashfs.start(&device, None);
    assert_eq!(device.flow().active().unwrap().as_str(), "a");
    Grub::Ext4.start(&device, None);
    assert_eq!(device.flow().active().unwrap().as_str(), "b");
}

/// A mounted image.
struct Mounted(PathBuf);

impl Mounted {
    /// None, with a word about it, where this is not allowed.
    fn new(device: &Device, image: &str) -> Option<Self> {
        let folder = device.path("mounted");
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("mount");
        let output = command.args(["-o", "loop"]).arg(device.path(image)).arg(&folder).output().unwrap();
        if !output.status.success() {
            println!("skipped: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Self(folder))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// GRUB reads no journal: it must find what was written where the file was before, and what it clears there
/// must be cleared when the journal is carried out.
#[test]
fn a_try_is_made_once_after_a_power_cut_with_a_journal() {
    if !has("grub-editenv") || !has("grub-emu") {
        return;
    }
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    // As the image's builder leaves it: with a default.
    device.flow().commit(b).unwrap();
    let a = device.system.groups().find("a").unwrap();
    device.write("environment/boot/grub/grubenv", device.read("grubenv"));
    let image = fs::File::create(device.path("disk.img")).unwrap();
    image.set_len(64 << 20).unwrap();
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-F", "-d"]).arg(device.path("environment")).arg(device.path("disk.img"));
    assert!(command.status().unwrap().success());
    fs::remove_file(device.path("grubenv")).unwrap();
    symlink("mounted/boot/grub/grubenv", device.path("grubenv")).unwrap();
    let Some(mounted) = Mounted::new(&device, "disk.img") else { return };
    device.flow().try_next(a).unwrap();
    // What the disk has when the power is cut.
    fs::copy(device.path("disk.img"), device.path("cut.img")).unwrap();
    drop(mounted);
    boot_from(&device, "cut.img");
    assert_eq!(device.flow().active().unwrap(), *a);
    let mounted = Mounted::new(&device, "cut.img").unwrap();
    assert_eq!(device.flow().choice().unwrap().to_string(), "b");
    drop(mounted);
    boot_from(&device, "cut.img");
    assert_eq!(device.flow().active().unwrap(), *b);
}

#[test]
fn grub_boots_the_first_group_where_its_environment_is_damaged() {
    if !has("grub-editenv") || !has("grub-emu") {
        return;
    }
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    device.flow().commit(b).unwrap();
    Grub::Ext4.start(&device, None);
    assert_eq!(device.flow().active().unwrap().as_str(), "b");
    Grub::Ext4.damage(&device);
    Grub::Ext4.start(&device, None);
    assert_eq!(device.flow().active().unwrap().as_str(), "a");
}

#[test]
fn grub_reads_what_is_written_and_other_variables_stay() {
    if !has("grub-editenv") {
        return;
    }
    let device = device();
    let b = device.system.groups().find("b").unwrap();
    device.flow().try_next(b).unwrap();
    assert_eq!(
        editenv(&device, "grubenv", &["list"]),
        "fluvial_default=a\nfluvial_try=b\nsaved_entry=a\\b c\n"
    );
    assert_eq!(device.read("grubenv").len(), 1024);
    editenv(&device, "grubenv", &["unset", "fluvial_try"]);
    editenv(&device, "grubenv", &["set", "fluvial_default=b"]);
    assert_eq!(device.flow().choice().unwrap().to_string(), "b");
}

#[test]
fn a_full_environment_is_told_and_stays() {
    if !has("grub-editenv") {
        return;
    }
    let device = device();
    editenv(&device, "grubenv", &["set", &format!("long={}", "x".repeat(870))]);
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
