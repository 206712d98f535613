//! A workplace for one test: a folder, the binary, and bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own for each test.
pub struct Workplace {
    folder: TempDir,
}

impl Workplace {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `fluvial` with these arguments, in this folder.
    pub fn fluvial(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fluvial"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("COLUMNS");
        for name in ["FLUVIAL_ARTIFACTS", "BUILD_VERSION", "SOURCE_DATE_EPOCH"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs `fluvial` to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.fluvial(arguments).output().unwrap()
    }

    /// Runs `fluvial ... --json` and expects it to work; answers the object that it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.fluvial(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs `fluvial ... --json` and expects it to fail; answers kind and exit code. All but errors that
    /// any program may have come with a hint.
    pub fn fault(&self, arguments: &[&str]) -> (String, i32) {
        let output = self.fluvial(arguments).arg("--json").output().unwrap();
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        let object: Value = serde_json::from_slice(&output.stderr)
            .unwrap_or_else(|_| panic!("{arguments:?}: {}", text(&output.stderr)));
        let exit_code = output.status.code().unwrap();
        assert_eq!(object["error"]["exit_code"], exit_code);
        let kind = object["error"]["kind"].as_str().unwrap().to_owned();
        let hinted = object["error"]["hint"].as_str().is_some_and(|hint| !hint.is_empty());
        assert!(hinted || ["usage", "io"].contains(&kind.as_str()), "no hint: {object}");
        (kind, exit_code)
    }

    /// Starts `fluvial` and does not wait for it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.fluvial(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Kills a run at each of its system calls that write, early and late, and runs it again; its result `name` must
    /// be `expected` whenever it is there, and nothing else is left in the end.
    pub fn kill_at_writes(&self, arguments: &[&str], name: &str, expected: &[u8]) {
        if !can("strace", false) {
            return;
        }
        let moments = [
            ("pwrite64", &[1, 20, 77, 150][..]),
            ("fdatasync", &[1, 2, 4]),
            ("fsync", &[1, 2, 3, 6]),
            ("rename", &[1, 2, 3, 4]),
            ("unlink", &[1]),
            ("fallocate", &[1]),
        ];
        let before = self.names();
        let all = moments.iter().flat_map(|(call, whens)| whens.iter().map(move |when| (call, when)));
        for (call, when) in all {
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={when}")])
                .arg(env!("CARGO_BIN_EXE_fluvial"))
                .args(arguments)
                .current_dir(self.path(""));
            let output = strace.output().unwrap();
            if text(&output.stderr).contains("Operation not permitted") {
                println!("skipped: no tracing here");
                return;
            }
            let take = || {
                assert!(self.read(name) == expected, "{call} {when}: the result differs");
                fs::remove_file(self.path(name)).unwrap();
            };
            if self.path(name).exists() {
                take();
            }
            self.json(arguments);
            take();
            assert_eq!(self.names(), before, "{call} {when}");
        }
    }
}

/// Bytes as text, for messages.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes that cannot be compressed, the same at each run (xorshift, G. Marsaglia, 2003).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Old bytes of about `len`, and new ones with insertions, removals and changes.
pub fn edited(len: usize) -> (Vec<u8>, Vec<u8>) {
    let old = noise(1, len);
    let mut new = old.clone();
    new.splice(len / 2..len / 2 + 100, noise(2, 5000));
    new.drain(len / 4..len / 4 + 3000);
    for at in (0..len / 8).step_by(97) {
        new[at] ^= 0x55;
    }
    (old, new)
}

/// Whether the test runs as root, and a tool is there. Prints why not.
pub fn can(tool: &str, needs_root: bool) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| {
        use std::os::unix::fs::MetadataExt as _;
        metadata.uid() == 0
    });
    if !found {
        println!("skipped: {tool} is not installed");
    } else if needs_root && !is_root {
        println!("skipped: not root");
    }
    found && (is_root || !needs_root)
}

/// Runs a tool and expects it to work.
pub fn tool(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    output
}

/// A folder that is mounted as long as it lives.
pub struct Mount {
    folder: TempDir,
}

impl Mount {
    /// A file system in memory, of so many bytes; `None`, with a printed word, where none may be had.
    pub fn memory(bytes: usize) -> Option<Self> {
        if !can("mount", true) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={bytes}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "fluvial-test"])
            .arg(folder.path())
            .output()
            .unwrap();
        if !mount.status.success() {
            println!("skipped: {}", text(&mount.stderr));
            return None;
        }
        Some(Self { folder })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Nothing may be written any more.
    pub fn make_read_only(&self) {
        tool(Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}
