//! Notes checkpoints in the background, while the next frames are applied.
//!
//! A checkpoint counts once the bytes before it are on the disk. Waiting for that would leave the
//! processor idle, so a thread of its own syncs the result, then writes the journal. While it is
//! busy, checkpoints pass unnoted, until so much is unnoted that it is worth waiting for: a run that
//! is cut loses no more than that.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::journal::Journal;

/// Bytes of the result between two notes, at least. A note costs three syncs of a few KiB, and
/// making so many bytes again costs less than that on slow flash.
const NOTE_BYTES_MIN: u64 = 4 << 20;
/// With so many bytes unnoted, the disk is waited for. It is slow then, and would be waited for at the end
/// anyway.
const UNNOTED_BYTES_MAX: u64 = 64 << 20;
/// The thread makes system calls only, and hashes 57 bytes.
const STACK_BYTES: usize = 256 << 10;

/// The thread that notes, and what it has not been told yet.
#[derive(Debug)]
pub struct Notary {
    sender: Option<SyncSender<usize>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    unnoted_bytes: u64,
    /// The last checkpoint that the thread was not told.
    pending: Option<usize>,
}

impl Notary {
    /// Starts to note the checkpoints of what stands in `files` in `journal`.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn begin(files: Vec<File>, journal: Journal) -> io::Result<Self> {
        // No queue: an offer is taken only while the thread waits for one.
        let (sender, receiver) = sync_channel::<usize>(0);
        let work = move || {
            for frame in receiver {
                files.iter().try_for_each(File::sync_data)?;
                journal.note(frame)?;
            }
            Ok(())
        };
        let thread = Builder::new().name("notary".into()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { sender: Some(sender), thread: Some(thread), unnoted_bytes: 0, pending: None })
    }

    /// So many more bytes of the result are written.
    pub fn made(&mut self, bytes: u64) {
        self.unnoted_bytes += bytes;
    }

    /// Everything before `frame` is written. Noted when it is worth it and the thread is free.
    ///
    /// # Errors
    /// Why an earlier checkpoint could not be noted.
    pub fn checkpoint(&mut self, frame: usize) -> io::Result<()> {
        self.pending = Some(frame);
        if self.unnoted_bytes < NOTE_BYTES_MIN {
            return Ok(());
        }
        let Some(sender) = &self.sender else { return Ok(()) };
        let sent = if self.unnoted_bytes < UNNOTED_BYTES_MAX {
            sender.try_send(frame)
        } else {
            sender.send(frame).map_err(|error| TrySendError::Disconnected(error.0))
        };
        match sent {
            Ok(()) => {
                self.unnoted_bytes = 0;
                self.pending = None;
                Ok(())
            }
            Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Disconnected(_)) => self.join(),
        }
    }

    /// Notes `frame`, in the background, as soon as what is being noted is done.
    ///
    /// # Errors
    /// Why a checkpoint could not be noted.
    pub fn note(&mut self, frame: usize) -> io::Result<()> {
        self.pending = None;
        match self.sender.as_ref().map(|sender| sender.send(frame)) {
            Some(Err(_)) => self.join(),
            _ => Ok(()),
        }
    }

    /// Waits until everything is noted, the last checkpoint too.
    ///
    /// # Errors
    /// Why a checkpoint could not be noted.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(frame) = self.pending {
            self.note(frame)?;
        }
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the thread that notes progress panicked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Entry;

    fn begin(folder: &tempfile::TempDir) -> (Notary, Journal) {
        let journal = Journal::new(folder.path().join("journal"), [1; 32], 1);
        let file = tempfile::tempfile_in(folder.path()).unwrap();
        (Notary::begin(vec![file], journal.clone()).unwrap(), journal)
    }

    #[test]
    fn the_last_checkpoint_is_noted_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut notary, journal) = begin(&folder);
        for frame in 1..=50 {
            notary.made(NOTE_BYTES_MIN);
            notary.checkpoint(frame).unwrap();
        }
        notary.finish().unwrap();
        assert_eq!(journal.read().unwrap(), Entry::Frames(50));
    }

    #[test]
    fn a_journal_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (mut notary, _) = begin(&folder);
        std::fs::remove_dir_all(folder.path()).unwrap();
        notary.note(1).unwrap();
        assert!(notary.finish().is_err());
    }
}
