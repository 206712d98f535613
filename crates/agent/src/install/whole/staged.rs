//! Packed pieces of frames that have come: kept until their frame is written, so that a run that is cut goes on.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use fluvial_bundle::{Piece, Whole};
use fluvial_console::Fault;

use crate::install::{Job, Work};

/// Files named by frames, in a folder named by the image. They are not waited for: what a power cut takes is fetched
/// again, and most are removed before the system writes them to the disk.
pub struct StagedFrames {
    folder: PathBuf,
}

impl StagedFrames {
    pub fn new(work: &Work<'_>, job: &Job<'_>) -> Self {
        Self { folder: work.staging().join(format!("{}.whole", hex::encode(job.payload.sha256))) }
    }

    /// Whether an earlier run has begun.
    pub fn is_begun(&self) -> bool {
        self.folder.exists()
    }

    /// Notes that it has begun.
    pub fn begin(&self) -> Result<(), Fault> {
        std::fs::create_dir_all(&self.folder).map_err(|error| Fault::writing(&self.folder, error))
    }

    /// A piece of a frame, if it has come.
    pub fn get(&self, whole: &Whole, frame: usize, piece: &Piece) -> Option<Vec<u8>> {
        let file = File::open(self.path(frame)).ok()?;
        let mut bytes = vec![0; (piece.range.end - piece.range.start) as usize];
        file.read_exact_at(&mut bytes, place(whole, frame, piece)).ok()?;
        whole.is_right(piece, &bytes).then_some(bytes)
    }

    /// Keeps a piece of a frame.
    pub fn put(&self, whole: &Whole, frame: usize, piece: &Piece, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.path(frame);
        let write = || -> io::Result<()> {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.write_all_at(bytes, place(whole, frame, piece))
        };
        write().map_err(|error| Fault::writing(&path, error))
    }

    /// Removes a frame that was written.
    pub fn remove(&self, frame: usize) -> Result<(), Fault> {
        let path = self.path(frame);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::writing(&path, error)),
            _ => Ok(()),
        }
    }

    fn path(&self, frame: usize) -> PathBuf {
        self.folder.join(frame.to_string())
    }
}

fn place(whole: &Whole, frame: usize, piece: &Piece) -> u64 {
    piece.range.start - whole.frames[frame].packed.start
}
