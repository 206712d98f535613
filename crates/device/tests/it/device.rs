//! A folder that stands for a device.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fluvial_device::boot::{self, BootFlow};
use fluvial_device::system::System;
use tempfile::TempDir;

/// What a boot loader does when the device starts. `argument` is what the restart was asked for; none after a
/// power cut.
pub trait Loader {
    /// Chooses a group, and tells the system which.
    fn start(&self, device: &Device, argument: Option<&str>);
    /// Damages what it keeps.
    fn damage(&self, device: &Device);
    /// Whether a pending try outlasts a power cut.
    fn keeps_try_without_power(&self) -> bool {
        true
    }
}

/// A device whose files all stand in one folder.
pub struct Device {
    folder: TempDir,
    pub system: System,
}

impl Device {
    /// A device with this `[boot]`, in which `DIR` is its folder.
    pub fn new(boot: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display().to_string();
        // Restarting is noting down what for.
        let text = format!(
            "hardware = 'box'\n\
             [[slot]]\nname = 'system-a'\nrole = 'system'\ngroup = 'a'\nfile = 'DIR/a.img'\n\
             [[slot]]\nname = 'system-b'\nrole = 'system'\ngroup = 'b'\nfile = 'DIR/b.img'\n\
             [boot]\n{boot}\n\
             reboot = ['/bin/sh', '-c', 'printf %s \"$1\" > DIR/restart', 'sh']\n"
        );
        let text = text.replace("DIR", &dir);
        fs::write(folder.path().join("system.toml"), &text).unwrap();
        Self { folder, system: System::parse(&text).unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes a script. Another program does it: a file that somebody still has open for writing, and be it a
    /// child of another test that is about to start, cannot be run.
    pub fn write_script(&self, name: &str, script: &str) {
        let source = format!("{name}.sh");
        self.write(&source, script);
        let mut install = Command::new("install");
        let status = install.args(["-m", "755"]).arg(self.path(&source)).arg(self.path(name)).status();
        assert!(status.unwrap().success());
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub fn flow(&self) -> Box<dyn BootFlow> {
        boot::open(&self.system)
    }

    /// Restarts it as the agent does.
    pub fn restart(&self, loader: &dyn Loader) {
        self.flow().reboot().unwrap();
        let argument = String::from_utf8(self.read("restart")).unwrap();
        fs::remove_file(self.path("restart")).unwrap();
        loader.start(self, Some(&argument).filter(|argument| !argument.is_empty()).map(String::as_str));
    }

    /// Lets a shell do what a snippet of `docs/boot.md` does, with functions for the boot loader's commands.
    pub fn run_snippet(&self, shell: &str, functions: &str, language: &str) {
        let script = format!("{functions}\n{}", snippet(language));
        let mut command = Command::new(shell);
        let status = command.arg("-c").arg(&script).current_dir(self.folder.path()).status().unwrap();
        assert!(status.success(), "{script}");
    }
}

/// The snippet in a language of `docs/boot.md`.
pub fn snippet(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/boot.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Whether a program is installed; says so if it is not.
pub fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let is_there = command.arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !is_there {
        println!("skipped: {program} is not installed");
    }
    is_there
}
