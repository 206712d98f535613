//! The package, read once from its start to its end.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fluvial_console::{Fault, Interrupt, Kind, Progress};
use fluvial_device::disk::Identity;
use fluvial_swu::package::PackageReader;
use fluvial_swu::sign::{UnixSeconds, Verifier};

use super::fault;

/// The name of the standard input.
const STANDARD_INPUT: &str = "-";
/// Bytes that are read at a time.
const STEP_BYTES: usize = 256 << 10;

/// A package that is being read. Nothing of it is held but its description.
pub(super) type Package<'a> = PackageReader<BufReader<Input<'a>>>;

/// Where a package comes from.
pub(super) struct Source {
    path: PathBuf,
    reader: Box<dyn Read>,
    /// Its length in bytes; 0 where that is not known.
    pub len: u64,
    /// Which file it is; none for a stream.
    pub identity: Option<Identity>,
}

/// Reads, tells how much, and stops when asked to.
pub(super) struct Input<'a> {
    reader: Box<dyn Read>,
    advance: &'a dyn Fn(u64) -> bool,
}

impl Source {
    /// Opens a file, or the standard input.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        if path.as_os_str() == STANDARD_INPUT {
            let path = "the standard input".into();
            return Ok(Self { path, reader: Box::new(io::stdin()), len: 0, identity: None });
        }
        let failed = |source| Fault::reading(path, source);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        // A pipe has no identity that counts: nobody writes a slot to it.
        let identity = metadata.is_file().then(|| Identity::File(metadata.dev(), metadata.ino()));
        Ok(Self { path: path.to_owned(), reader: Box::new(file), len: metadata.len(), identity })
    }

    /// Where it is, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Reads the description and verifies it. `advance` hears of every byte that is read.
    pub(super) fn package<'a>(
        self,
        verifier: Option<&Verifier>,
        time: UnixSeconds,
        advance: &'a dyn Fn(u64) -> bool,
    ) -> Result<Package<'a>, Fault> {
        let input = BufReader::with_capacity(STEP_BYTES, Input { reader: self.reader, advance });
        PackageReader::open(input, verifier, time).map_err(|error| fault::of_open(&self.path, error))
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buf)?;
        // Not `Interrupted`, after which readers try again.
        if (self.advance)(count as u64) { Ok(count) } else { Err(io::Error::other("cancelled")) }
    }
}

/// Runs a command with its bars.
pub(super) fn watched<T>(
    interrupt: Interrupt,
    json: bool,
    work: impl FnOnce(&Progress) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let progress = Progress::new(interrupt, json);
    let result = work(&progress);
    progress.finish();
    result.map_err(|fault| because(fault, &progress))
}

/// Whatever fails after somebody has asked to stop has failed because of that.
pub(super) fn because(fault: Fault, progress: &Progress) -> Fault {
    let is_consequence = matches!(fault.kind, Kind::Io | Kind::DamagedPackage);
    if progress.advance(0) || !is_consequence {
        return fault;
    }
    Fault::new(Kind::Cancelled, "cancelled").hint("run the same command again")
}

/// What the clock says.
pub(super) fn now() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
