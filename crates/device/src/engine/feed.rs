//! The body of a request that loads an image: an archive that is made while it is sent.

use std::io;

use bytes::Bytes;
use fluvial_delta::structure::ReadAt;
use fluvial_image::oci::{Blob, Slice};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::EngineError;
use super::archive::{Member, MemberContent};

/// Bytes that are sent at a time.
const STEP_BYTES: u64 = 256 << 10;
/// Steps on their way.
const STEPS: usize = 2;
const RECORD_BYTES: u64 = 512;
/// Two records of zeros end a tar.
const END_BYTES: usize = 2 * RECORD_BYTES as usize;

/// A layer's tar that goes to an engine.
pub trait Content: ReadAt {
    /// These bytes have arrived, and nobody will read them again.
    fn release(&self, _offset: u64, _len: u64) {}
}

impl Content for Blob {
    fn release(&self, offset: u64, len: u64) {
        Blob::release(self, offset, len);
    }
}

impl Content for Slice {}

/// Why sending ended early.
pub(super) enum Stop {
    /// The engine does not take more: it says why.
    Refused,
    /// No pipe appeared where it should have.
    NoPipes,
    /// Of itself.
    Fault(EngineError),
}

/// The end that sends.
pub(super) struct Body {
    sender: Sender<Result<Bytes, io::Error>>,
}

/// The end that the request reads.
pub(super) type BodyReader = Receiver<Result<Bytes, io::Error>>;

/// Both ends of a body.
pub(super) fn body() -> (Body, BodyReader) {
    let (sender, receiver) = channel(STEPS);
    (Body { sender }, receiver)
}

impl Body {
    fn send(&self, bytes: Bytes) -> Result<(), Stop> {
        self.sender.blocking_send(Ok(bytes)).map_err(|_| Stop::Refused)
    }

    /// Breaks the connection: what has been sent is no archive.
    pub(super) fn abort(&self) {
        // Whoever no longer listens needs no telling.
        let _ = self.sender.blocking_send(Err(io::ErrorKind::ConnectionAborted.into()));
    }

    /// Sends a member.
    pub(super) fn put(&self, member: &Member<'_>, progress: &dyn Fn(u64) -> bool) -> Result<(), Stop> {
        let (kind, len) = match &member.content {
            MemberContent::Bytes(bytes) => (tar::EntryType::Regular, bytes.len() as u64),
            MemberContent::Layer { tar, .. } => (tar::EntryType::Regular, tar.len()),
            MemberContent::Pipe => (tar::EntryType::Fifo, 0),
        };
        let mut header = tar::Header::new_ustar();
        let named = header.set_path(&member.name);
        named.map_err(|error| Stop::Fault(EngineError::Read(error)))?;
        header.set_entry_type(kind);
        header.set_size(len);
        header.set_mode(0o600);
        header.set_cksum();
        self.send(Bytes::copy_from_slice(header.as_bytes()))?;
        match &member.content {
            MemberContent::Bytes(bytes) => self.send(Bytes::copy_from_slice(bytes))?,
            MemberContent::Layer { tar, is_last_use } => {
                copy(*tar, *is_last_use, progress, |bytes| self.send(bytes))?;
            }
            MemberContent::Pipe => {}
        }
        let padding = len.next_multiple_of(RECORD_BYTES) - len;
        if padding > 0 { self.send(vec![0; padding as usize].into()) } else { Ok(()) }
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> Result<(), Stop> {
        self.send(vec![0; END_BYTES].into())
    }
}

/// Reads a layer from its start to its end, and gives its bytes back to the disk behind it.
pub(super) fn copy(
    tar: &dyn Content,
    is_last_use: bool,
    progress: &dyn Fn(u64) -> bool,
    mut sink: impl FnMut(Bytes) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut at = 0;
    while at < tar.len() {
        let mut bytes = vec![0; (tar.len() - at).min(STEP_BYTES) as usize];
        tar.read_at(at, &mut bytes).map_err(|error| Stop::Fault(EngineError::Read(error)))?;
        let len = bytes.len() as u64;
        sink(bytes.into())?;
        if is_last_use {
            tar.release(at, len);
        }
        at += len;
        if !progress(len) {
            return Err(Stop::Fault(EngineError::Cancelled));
        }
    }
    Ok(())
}
