//! Full disks, read-only file systems, block devices. Most of it needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Mount, Workplace, can, edited, noise, text, tool};

fn prepared() -> Workplace {
    let work = Workplace::new();
    let (old, new) = edited(3 << 20);
    work.write("old", &old);
    work.write("new", &new);
    work.json(&["diff", "old", "new", "-o", "patch", "--preset", "fast"]);
    work
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_written() {
    let Some(mount) = Mount::memory(2 << 20) else { return };
    let work = prepared();
    let result = mount.path().join("result");
    let fault = work.fault(&["apply", "old", "patch", "-o", result.to_str().unwrap()]);
    assert_eq!(fault, ("no_space".into(), 15));
    assert_eq!(entries(mount.path()), 0);
}

#[test]
fn a_disk_that_is_full_for_the_patch_gets_none() {
    let Some(mount) = Mount::memory(64 << 10) else { return };
    let work = Workplace::new();
    work.write("old", b"nothing alike");
    work.write("new", &noise(5, 1 << 20));
    let patch = mount.path().join("patch");
    let fault = work.fault(&["diff", "old", "new", "-o", patch.to_str().unwrap(), "--preset", "fast"]);
    assert_eq!(fault, ("no_space".into(), 15));
    assert_eq!(entries(mount.path()), 0);
}

#[test]
fn a_read_only_place_is_refused() {
    let Some(mount) = Mount::memory(16 << 20) else { return };
    mount.make_read_only();
    let work = prepared();
    let place = |name: &str| mount.path().join(name).into_os_string().into_string().unwrap();
    let result = place("result");
    assert_eq!(work.fault(&["apply", "old", "patch", "-o", &result]), ("read_only".into(), 16));
    let patch = place("patch");
    assert_eq!(work.fault(&["diff", "old", "new", "-o", &patch]), ("read_only".into(), 16));
}

/// A block device in a file, detached when it goes.
pub struct Loop {
    device: PathBuf,
}

impl Loop {
    /// One of so many bytes; `None`, with a printed word, where none may be had.
    pub fn new(work: &Workplace, name: &str, bytes: &[u8]) -> Option<Self> {
        if !can("losetup", true) {
            return None;
        }
        let file = work.write(name, bytes);
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().unwrap();
        if !output.status.success() {
            println!("skipped: {}", text(&output.stderr));
            return None;
        }
        Some(Self { device: text(&output.stdout).trim().into() })
    }

    /// Where it stands.
    pub fn path(&self) -> &str {
        self.device.to_str().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).output();
    }
}

#[test]
fn from_one_device_to_another() {
    let work = Workplace::new();
    let (mut old, mut new) = edited(3 << 20);
    // Devices have whole sectors.
    old.resize(old.len().next_multiple_of(4096), 0);
    new.resize(new.len().next_multiple_of(4096), 0);
    let Some(source) = Loop::new(&work, "slot-a", &old) else { return };
    let Some(image) = Loop::new(&work, "image", &new) else { return };
    let Some(target) = Loop::new(&work, "slot-b", &noise(6, new.len() + (1 << 20))) else { return };
    work.json(&["diff", source.path(), image.path(), "-o", "patch", "--preset", "fast"]);
    work.json(&["apply", source.path(), "patch", "-o", target.path()]);
    let written = fs::read(&target.device).unwrap();
    assert!(written[..new.len()] == new, "the result differs");
    assert!(written[new.len()..] == noise(6, written.len())[new.len()..], "what lies behind is kept");
    assert_eq!(work.names(), ["image", "patch", "slot-a", "slot-b"]);
}

#[test]
fn a_device_goes_on_after_a_damaged_frame() {
    let work = Workplace::new();
    let new = noise(7, 16 << 20);
    work.write("old", b"nothing alike");
    work.write("new", &new);
    work.json(&["diff", "old", "new", "-o", "patch", "--preset", "fast"]);
    let Some(target) = Loop::new(&work, "slot", &vec![0; new.len()]) else { return };
    let whole = work.read("patch");
    let mut damaged = whole.clone();
    let at = whole.len() * 3 / 4;
    damaged[at] ^= 1;
    work.write("patch", &damaged);
    let apply = ["apply", "old", "patch", "-o", target.path()];
    assert_eq!(work.fault(&apply).0, "damaged_patch");
    assert!(work.path("patch.journal").exists());
    work.write("patch", &whole);
    assert!(work.json(&apply)["first_frame"].as_u64().unwrap() > 0);
    assert!(fs::read(&target.device).unwrap() == new);
    assert!(!work.path("patch.journal").exists());
}

#[test]
fn devices_that_are_too_small_mounted_or_the_source_are_refused() {
    let work = prepared();
    let Some(small) = Loop::new(&work, "small", &vec![0; 1 << 20]) else { return };
    assert_eq!(work.fault(&["apply", "old", "patch", "-o", small.path()]).0, "no_space");

    let Some(source) = Loop::new(&work, "source", &noise(8, 4 << 20)) else { return };
    work.json(&["diff", source.path(), "new", "-o", "same", "--preset", "fast"]);
    assert_eq!(work.fault(&["apply", source.path(), "same", "-o", source.path()]).0, "usage");
    assert!(fs::read(&source.device).unwrap() == noise(8, 4 << 20));

    if !can("mke2fs", true) {
        return;
    }
    let Some(mounted) = Loop::new(&work, "mounted", &vec![0; 4 << 20]) else { return };
    tool(Command::new("mke2fs").args(["-q", mounted.path()]));
    let folder = work.path("mounted-here");
    fs::create_dir(&folder).unwrap();
    if !Command::new("mount").arg(mounted.path()).arg(&folder).status().unwrap().success() {
        println!("skipped: no mount here");
        return;
    }
    let fault = work.fault(&["apply", "old", "patch", "-o", mounted.path()]);
    tool(Command::new("umount").arg(&folder));
    assert_eq!(fault, ("busy".into(), 18));
}
