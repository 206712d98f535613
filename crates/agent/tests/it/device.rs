//! A folder that stands for a device: two slots, GRUB's environment, and the agent's state.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fluvial_device::boot;
use fluvial_device::system::System;
use serde_json::Value;
use tempfile::TempDir;

use crate::release::Operator;

/// The bytes of every file in a folder.
pub type Snapshot = BTreeMap<PathBuf, Vec<u8>>;

/// A device whose files all stand in one folder. Group a runs.
pub struct Device {
    folder: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub exit_code: Option<i32>,
    /// What it printed, and what it complained of, where that is JSON.
    pub output: Value,
    pub error: Value,
    pub warnings: String,
}

impl Device {
    /// Slots with this content, and the operator's root.
    pub fn new(active: &[u8], inactive: &[u8], operator: &Operator) -> Self {
        let device = Self { folder: tempfile::tempdir().unwrap() };
        let text = "hardware = 'box'\n\
             [[slot]]\nname = 'system-a'\nrole = 'system'\ngroup = 'a'\nfile = 'DIR/a.img'\n\
             [[slot]]\nname = 'system-b'\nrole = 'system'\ngroup = 'b'\nfile = 'DIR/b.img'\n\
             [boot]\nflow = 'grub'\nenvironment = 'DIR/grubenv'\nactive = { file = 'DIR/running' }\n\
             reboot = ['/bin/sh', '-c', 'printf asked > DIR/restart']\n";
        device.write("system.toml", text.replace("DIR", device.folder.path().to_str().unwrap()));
        device.write("a.img", active);
        device.write("b.img", inactive);
        device.write("running", "a\n");
        let mut environment = b"# GRUB Environment Block\n".to_vec();
        environment.resize(1024, b'#');
        device.write("grubenv", environment);
        device.write("root.json", operator.keys.root_json());
        device
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The agent on this device, to be run by `program` if there is one.
    pub fn agent_under(&self, program: &[&str], arguments: &[&str]) -> Command {
        let agent = env!("CARGO_BIN_EXE_fluvial-agent");
        let mut command = match program {
            [] => Command::new(agent),
            [program, before @ ..] => {
                let mut command = Command::new(program);
                command.args(before).arg(agent);
                command
            }
        };
        command.args(arguments).arg("--json").stdin(Stdio::null());
        command.env("FLUVIAL_CONFIG", self.path("system.toml"));
        command.env("FLUVIAL_ROOT", self.path("root.json"));
        command.env("FLUVIAL_STATE", self.path("state"));
        command
    }

    /// Runs the agent to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.agent_under(&[], arguments).output().unwrap())
    }

    /// Runs what must succeed; answers what it printed.
    pub fn done(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments);
        assert_eq!(ran.exit_code, Some(0), "{arguments:?}: {ran:?}");
        ran.output
    }

    /// Installs what must be installed; answers what was printed of its one slot, and checks what can be
    /// checked always: the slot is right, and tried next.
    pub fn installed(&self, bundle: &str, arguments: &[&str], image: &[u8]) -> Value {
        let output = self.done(&[&["install", bundle], arguments].concat());
        assert_eq!(self.read("b.img")[..image.len()], *image);
        assert_eq!(self.choice(), "a, then once b");
        output
    }

    /// Runs what must fail with this kind and exit code, and a hint; answers the messages. Neither a slot nor
    /// what boots may be other than before.
    pub fn refused(&self, arguments: &[&str], kind: &str, exit_code: i32) -> String {
        let before = self.slots_and_choice();
        let messages = self.failed(arguments, kind, exit_code);
        assert!(self.slots_and_choice() == before, "{messages}: a slot, or what boots, was changed");
        messages
    }

    /// Runs what must fail with this kind and exit code, and a hint; answers the messages.
    pub fn failed(&self, arguments: &[&str], kind: &str, exit_code: i32) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.exit_code, Some(exit_code), "{ran:?}");
        assert_eq!((&ran.error["kind"], &ran.error["exit_code"]), (&kind.into(), &exit_code.into()));
        assert!(ran.error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{ran:?}");
        ran.error["messages"].to_string()
    }

    pub fn slots_and_choice(&self) -> (Vec<u8>, Vec<u8>, String) {
        (self.read("a.img"), self.read("b.img"), self.choice())
    }

    /// What boots, as the boot loader would read it.
    pub fn choice(&self) -> String {
        let system = System::load(&self.path("system.toml")).unwrap();
        boot::open(&system).choice().unwrap().to_string()
    }

    /// Restarts it: the boot loader forgets the try, and boots it.
    pub fn restart(&self) -> String {
        let system = System::load(&self.path("system.toml")).unwrap();
        let flow = boot::open(&system);
        let choice = flow.choice().unwrap();
        if choice.pending.is_some() {
            flow.cancel_try().unwrap();
        }
        let running = choice.pending.unwrap_or(choice.default).to_string();
        self.write("running", &running);
        running
    }

    /// All its files.
    pub fn snapshot(&self) -> Snapshot {
        let mut files = Snapshot::new();
        gather(self.folder.path(), &mut files);
        files
    }
}

fn gather(folder: &Path, files: &mut Snapshot) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, files);
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = warnings.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        Self {
            exit_code: output.status.code(),
            output: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            error: error.map(|error| error["error"].clone()).unwrap_or_default(),
            warnings,
        }
    }
}
