//! Devices on which a release is installed over another one that waits to be tried, what `strace` hears of that,
//! and what must hold whenever it is cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::device::{Device, Snapshot};
use crate::release::{Operator, Release, changed, image};

/// Bytes of a slot.
pub const LEN: usize = 1 << 20;

/// What writes, syncs, renames, or removes. Not every architecture has all of them.
pub const CALLS: &str = "write,pwrite64,fsync,fdatasync,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,ftruncate,\
                         fallocate,?mkdir,mkdirat";

/// An installation that is cut again and again.
pub struct Scene {
    operator: Operator,
    /// What the device was before, by names below its folder.
    before: Snapshot,
    pub old: Vec<u8>,
    /// The release that waits in the other slot.
    first: Vec<u8>,
    pub new: Vec<u8>,
    pub bundle: String,
    pub route: &'static str,
}

impl Scene {
    /// The device runs one release, another one waits, and a third comes by this route.
    pub fn new(route: &'static str) -> Self {
        let operator = Operator::new();
        let old = image(1, LEN);
        let (first, new) = (changed(&old, 50, 3), changed(&old, 100, 5));
        let waiting = operator.publish("1.fluvial", Release::full(1, &first));
        let full = Release::full(2, &new);
        let full_path = operator.publish("2.fluvial", full.clone());
        let patch = operator.publish("patch.fluvial", Release::patch(&full, "2.fluvial", &old, &new));
        let device = Device::new(&old, &[], &operator);
        device.installed(&waiting, &[], &first);
        let folder = device.path("");
        let below = |(path, bytes): (&std::path::PathBuf, &Vec<u8>)| {
            (path.strip_prefix(&folder).unwrap().to_owned(), bytes.clone())
        };
        let mut before: Snapshot = device.snapshot().iter().map(below).collect();
        // It names the folder.
        before.remove(Path::new("system.toml"));
        let bundle = if route == "static" { patch } else { full_path };
        Self { operator, before, old, first, new, bundle, route }
    }

    /// The device as it was before.
    pub fn device(&self) -> Device {
        self.device_of(&self.before)
    }

    /// A device with these files.
    pub fn device_of(&self, files: &Snapshot) -> Device {
        let device = Device::new(&[], &[], &self.operator);
        for (name, bytes) in files {
            let path = device.path(name.to_str().unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        device
    }

    pub fn before(&self) -> &Snapshot {
        &self.before
    }

    pub fn arguments(&self) -> [&str; 4] {
        ["install", &self.bundle, "--route", self.route]
    }

    /// Installs under `strace` with these options; answers whether it was killed.
    pub fn is_killed(&self, device: &Device, options: &[&str]) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        let strace = [&["strace", "-f", "-qq"], options].concat();
        let output = device.agent_under(&strace, &self.arguments()).output().unwrap();
        let is_killed = output.status.signal() == Some(9);
        assert!(is_killed || output.status.success(), "{output:?}");
        is_killed
    }

    /// What must hold whenever an installation is cut. `when` tells where that was.
    pub fn check(&self, device: &Device, when: &str) {
        assert!(device.read("a.img") == self.old, "{when}: the slot that runs was written to");
        let (choice, target) = (device.choice(), device.read("b.img"));
        let is_whole = target == self.new || target == self.first;
        match choice.as_str() {
            "a" => {}
            "a, then once b" => assert!(is_whole, "{when}: what is tried next is not whole"),
            other => panic!("{when}: {other} boots"),
        }
        let info = device.done(&["system", "info"]);
        let content = &info["slots"][1]["content"];
        if content["is_whole"] == true {
            let right = if content["release"]["sequence"] == 2 { &self.new } else { &self.first };
            assert!(target == *right, "{when}: what is known of the slot is wrong");
        }
    }

    /// Installs it to its end.
    pub fn complete(&self, device: &Device, when: &str) {
        self.check(device, when);
        device.installed(&self.bundle, &["--route", self.route], &self.new);
        self.check(device, when);
        let left = device.snapshot();
        let is_left = |path: &Path| {
            let name = path.to_string_lossy();
            name.contains("staging") || name.ends_with(".journal")
        };
        let left: Vec<_> = left.keys().filter(|path| is_left(path)).collect();
        assert!(left.is_empty(), "{when}: {left:?} is left");
    }

    /// How often each call is made for each file, at most by one thread: `strace` counts threads by themselves.
    /// Names are below the device's folder.
    pub fn calls(&self) -> Vec<(String, String, usize)> {
        let device = self.device();
        let log = tempfile::NamedTempFile::new().unwrap();
        let trace = format!("trace={CALLS}");
        self.is_killed(&device, &["-y", "-s", "0", "-o", log.path().to_str().unwrap(), "-e", &trace]);
        let folder = device.path("").to_str().unwrap().to_owned();
        let mut counts: BTreeMap<(String, String, String), usize> = BTreeMap::new();
        for line in fs::read_to_string(log.path()).unwrap().lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let Some((call, arguments)) = call.trim().split_once('(') else { continue };
            let Some((_, rest)) = arguments.split_once(&folder) else { continue };
            let name = rest.split(['>', '"']).next().unwrap().to_owned();
            *counts.entry((name, call.to_owned(), thread.to_owned())).or_default() += 1;
        }
        let mut most: BTreeMap<(String, String), usize> = BTreeMap::new();
        for ((name, call, _), count) in counts {
            let one = most.entry((name, call)).or_default();
            *one = count.max(*one);
        }
        most.into_iter().map(|((name, call), count)| (name, call, count)).collect()
    }
}

/// Whether a program is installed; says so if it is not.
pub fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: {program} is not installed");
    }
    is_there
}
