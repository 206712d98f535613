//! Named pipes in the folder to which `dockerd` unpacks an archive that it loads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::EngineError;
use super::feed::Stop;

/// How the folders begin that `dockerd` makes for archives.
const IMPORT_PREFIX: &str = "docker-import-";
/// How names begin in archives that come from here; what follows is the number of the process.
const NAME_PREFIX: &str = "fluvial-";
/// How long to look for the folder, in milliseconds: it is there as soon as the engine has read one
/// kilobyte.
const APPEAR_TIMEOUT_MS: u64 = 10_000;
const LOOK_INTERVAL_MS: u64 = 10;

/// Where `dockerd` makes folders for archives.
pub(super) struct PipeFolder {
    tmp: PathBuf,
}

/// The folder of one archive.
pub(super) struct ImportFolder {
    path: PathBuf,
}

/// The end of a pipe to which a layer is written.
pub(super) struct Pipe(File);

impl PipeFolder {
    /// Opens the engine's temporary folder, if it can be read here.
    pub(super) fn open(tmp: &Path) -> Option<Self> {
        fs::read_dir(tmp).ok()?;
        Some(Self { tmp: tmp.into() })
    }

    /// A name for a member that no other archive has at the same time.
    pub(super) fn name(suffix: &str) -> String {
        format!("{NAME_PREFIX}{}-{suffix}", std::process::id())
    }

    fn imports(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.tmp).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(IMPORT_PREFIX))
            .map(|e| e.path())
    }

    /// Ends what waits for a process that was killed: its reader would wait forever.
    pub(super) fn let_go_of_stale(&self) {
        for import in self.imports() {
            for entry in fs::read_dir(import).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let process = name.strip_prefix(NAME_PREFIX).and_then(|rest| rest.split('-').next());
                let is_pipe = entry.file_type().is_ok_and(|kind| kind.is_fifo());
                if let Some(process) = process
                    && is_pipe
                    && !Path::new("/proc").join(process).exists()
                {
                    // The reader finds the end of the layer. Where none waits, opening fails.
                    let _ = open_to_write(&entry.path());
                }
            }
        }
    }

    /// Waits for the folder in which a member of this name appears.
    pub(super) fn find(&self, name: &str, is_over: &AtomicBool) -> Result<ImportFolder, Stop> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(APPEAR_TIMEOUT_MS) {
            if let Some(path) = self.imports().find(|import| import.join(name).exists()) {
                return Ok(ImportFolder { path });
            }
            if is_over.load(Ordering::Relaxed) {
                return Err(Stop::Refused);
            }
            std::thread::sleep(Duration::from_millis(LOOK_INTERVAL_MS));
        }
        Err(Stop::NoPipes)
    }
}

impl ImportFolder {
    /// Opens a pipe once the engine reads from it: it unpacks the layers before it first.
    pub(super) fn open(
        &self,
        name: &str,
        is_over: &AtomicBool,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<Pipe, Stop> {
        let path = self.path.join(name);
        loop {
            match open_to_write(&path) {
                Ok(file) => return Ok(Pipe(file)),
                // It is not made yet, or nobody reads from it yet.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        || error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {}
                Err(error) => return Err(Stop::Fault(EngineError::Write(error))),
            }
            if is_over.load(Ordering::Relaxed) {
                return Err(Stop::Refused);
            }
            if !progress(0) {
                self.let_go_of_all();
                return Err(Stop::Fault(EngineError::Cancelled));
            }
            std::thread::sleep(Duration::from_millis(LOOK_INTERVAL_MS));
        }
    }

    /// Ends what the engine waits for, or is about to.
    fn let_go_of_all(&self) {
        let began = Instant::now();
        while self.path.exists() && began.elapsed() < Duration::from_millis(APPEAR_TIMEOUT_MS) {
            for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_fifo()) {
                    // Where nobody waits, opening fails.
                    let _ = open_to_write(&entry.path());
                }
            }
            std::thread::sleep(Duration::from_millis(LOOK_INTERVAL_MS));
        }
    }
}

impl Pipe {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.0.write_all(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::Refused,
            _ => Stop::Fault(EngineError::Write(error)),
        })
    }
}

/// Opens a pipe that somebody reads from.
fn open_to_write(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn pipe(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    }

    #[test]
    fn who_waits_for_a_dead_process_is_let_go() {
        let work = tempfile::tempdir().unwrap();
        let import = work.path().join("docker-import-1");
        fs::create_dir(&import).unwrap();
        // No process has this number: it is above the kernel's limit.
        let path = import.join("fluvial-99999999-1.tar");
        pipe(&path);
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            File::open(path).unwrap().read_to_end(&mut bytes).map(|_| bytes)
        });
        let folder = PipeFolder::open(work.path()).unwrap();
        while !reader.is_finished() {
            folder.let_go_of_stale();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(reader.join().unwrap().unwrap(), b"");
    }

    #[test]
    fn a_pipe_is_opened_once_it_is_read_from() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("p");
        pipe(&path);
        let over = AtomicBool::new(false);
        let import = ImportFolder { path: work.path().into() };
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let mut text = String::new();
            File::open(path).unwrap().read_to_string(&mut text).map(|_| text)
        });
        let Ok(mut pipe) = import.open("p", &over, &|_| true) else { panic!("it is read from") };
        assert!(pipe.write(b"layer").is_ok());
        drop(pipe);
        assert_eq!(reader.join().unwrap().unwrap(), "layer");
        over.store(true, Ordering::Relaxed);
        assert!(matches!(import.open("p", &over, &|_| true), Err(Stop::Refused)));
    }
}
