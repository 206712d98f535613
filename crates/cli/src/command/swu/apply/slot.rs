//! One target in the making.
//!
//! How far it is on the disk is noted in a journal, in steps of [`STEP_BYTES`]. The next run makes what stands
//! before that again, in passing, and does not write it. Whatever was kept is read back and hashed with the rest.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fluvial_console::{Fault, Kind, Progress};
use fluvial_delta::apply::Target as _;
use fluvial_device::disk::durable::beside;
use fluvial_device::disk::{Destination, Entry, Identity, Journal, Medium, Notary, Restart, Verifier};
use fluvial_swu::description::Compression;
use fluvial_swu::package::{ImageDigest, PartitionInfo};
use fluvial_swu::rsync::{Applier, ApplyError};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::super::fault;
use super::super::unpack::Unpacked;

/// What the journal counts, in bytes: numbers of 32 bits reach 256 TiB.
const STEP_BYTES: u64 = 64 << 10;

/// An image has another length than is described.
#[derive(Debug, Error)]
enum LengthError {
    #[error("the image is cut short after {found} bytes of {wanted}")]
    TooShort { found: u64, wanted: u64 },
    #[error("the image has more than {wanted} bytes")]
    TooLong { wanted: u64 },
}

/// A target in the making. In this order: [`Slot::begin`]; [`Slot::check_distinct`]; [`Slot::reserve`];
/// [`Slot::write`]; [`Slot::publish`], or after a fault [`Slot::keep_or_discard`].
pub(super) struct Slot {
    name: String,
    path: PathBuf,
    base: Option<Medium>,
    image: ImageDigest,
    destination: Destination,
    journal: Journal,
    kept_bytes: u64,
    restart: Option<Restart>,
    /// What reading it back has told, once it was.
    check: Check,
}

/// Whether a target is what is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Open,
    Whole,
    Wrong,
}

/// A target that is made.
pub(super) struct Target {
    name: String,
    path: PathBuf,
    image: ImageDigest,
    kept_bytes: u64,
    /// Why an earlier run's work was thrown away.
    pub(super) restart: Option<String>,
}

impl Slot {
    /// Opens a target, and looks what an earlier run of the same package (`text` is its description) has left.
    /// Nothing is written.
    pub(super) fn begin(
        partition: &PartitionInfo<'_>,
        base: Option<Medium>,
        path: &Path,
        text: &[u8],
        state_folder: &Path,
    ) -> Result<Self, Fault> {
        let destination = Destination::open(path)?;
        let journal_path = if destination.is_in_place() {
            state_folder
                .join(format!(".fluvial-swu-{}.journal", hex::encode(&key(b"", partition, path)[..8])))
        } else {
            beside(destination.part(), ".journal")
        };
        let journal = Journal::new(journal_path, key(text, partition, path), destination.inode()?);
        let image = partition.target;
        let steps = image.size_bytes.div_ceil(STEP_BYTES) as usize;
        let (step, restart) = journal
            .starting_point(destination.holds(image.size_bytes), steps)
            .map_err(|error| Fault::reading(journal.path(), error))?;
        Ok(Self {
            name: partition.name.to_owned(),
            path: path.to_owned(),
            base,
            image,
            destination,
            journal,
            kept_bytes: (step as u64 * STEP_BYTES).min(image.size_bytes),
            restart,
            check: Check::Open,
        })
    }

    /// Refuses what is read as a place to write to: any base, or the package.
    pub(super) fn check_distinct(&self, slots: &[Self], package: Option<Identity>) -> Result<(), Fault> {
        let hint = "choose another place with --target";
        for base in slots.iter().filter_map(|slot| slot.base.as_ref()) {
            let distinct = self.destination.check_distinct(base.identity().ok(), "a base");
            distinct.map_err(|error| Fault::from(error).hint(hint))?;
        }
        let distinct = self.destination.check_distinct(package, "the package");
        distinct.map_err(|error| Fault::from(error).hint(hint))
    }

    /// Sees to it that the target has room, and that progress can be noted.
    pub(super) fn reserve(&self) -> Result<(), Fault> {
        if self.kept_bytes == 0 {
            self.journal.note(0).map_err(|error| {
                Fault::writing(self.journal.path(), error)
                    .hint("--state names another folder for what is noted")
            })?;
            self.destination.clear()?;
        }
        self.medium().map(drop)
    }

    fn medium(&self) -> Result<Medium, Fault> {
        // Nothing but the target is written.
        let folder = Path::new(".");
        Ok(self.destination.reserve(self.image.size_bytes, 0, folder)?)
    }

    /// Makes the target of a file of the package at `package`, reads it back, and compares its SHA-256.
    pub(super) fn write(
        &mut self,
        package: &Path,
        file: &mut dyn Read,
        compression: Option<Compression>,
        progress: &Progress,
    ) -> Result<(), Fault> {
        let medium = self.medium()?;
        let part = self.destination.part().to_owned();
        let unwritten = |error| Fault::writing(&part, error);
        let verifier = Verifier::begin(medium.try_clone().map_err(unwritten)?, true).map_err(unwritten)?;
        verifier.keep(0, self.kept_bytes);
        let files = vec![medium.file().try_clone().map_err(unwritten)?];
        let notary = Notary::begin(files, self.journal.clone()).map_err(unwritten)?;
        let mut sink = Sink { verifier: &verifier, notary, at: self.kept_bytes };
        let made = self.make(package, file, compression, &mut sink, progress);
        let mut notary = sink.notary;
        if let Err(fault) = made {
            // The first fault tells more than a journal that cannot be written because of it.
            let _ = notary.finish();
            return Err(fault);
        }
        notary.note(self.image.size_bytes.div_ceil(STEP_BYTES) as usize).map_err(unwritten)?;
        let digest = verifier.finish().map_err(|error| Fault::reading(&part, error));
        notary.finish().map_err(unwritten)?;
        // No digest: something was written twice, and nothing is proven.
        self.check = if digest? == Some(self.image.sha256) { Check::Whole } else { Check::Wrong };
        if self.check == Check::Whole { Ok(()) } else { Err(self.wrong_target()) }
    }

    fn make(
        &self,
        package: &Path,
        file: &mut dyn Read,
        compression: Option<Compression>,
        sink: &mut Sink<'_>,
        progress: &Progress,
    ) -> Result<(), Fault> {
        let part = self.destination.part();
        let of_reader = |error| fault::of_reader(package, &self.name, error);
        let mut content = Unpacked::new(file, compression).map_err(of_reader)?;
        let advance = |bytes| progress.advance(bytes);
        let Some(base) = &self.base else { return self.copy(package, &mut content, sink, &advance) };
        let made = Applier::new(base, self.image.size_bytes).skip_to(self.kept_bytes).apply(
            &mut content,
            sink,
            &advance,
        );
        made.map_err(|error| match error {
            ApplyError::Write(error) => Fault::writing(part, error),
            ApplyError::ReadBase(error) => Fault::reading(Path::new("the base"), error),
            error => fault::of_delta(package, &self.name, error),
        })
    }

    /// Copies an image as it is.
    fn copy(
        &self,
        package: &Path,
        content: &mut dyn Read,
        sink: &mut Sink<'_>,
        advance: &dyn Fn(u64) -> bool,
    ) -> Result<(), Fault> {
        let wanted = self.image.size_bytes;
        let (mut found, mut buf) = (0, vec![0; STEP_BYTES as usize]);
        loop {
            let count = content.read(&mut buf);
            let count = count.map_err(|error| fault::of_reader(package, &self.name, error))?;
            if count == 0 {
                break;
            }
            let end = found + count as u64;
            if end > wanted {
                return Err(fault::of_content(&self.name, LengthError::TooLong { wanted }));
            }
            let skipped = self.kept_bytes.saturating_sub(found).min(count as u64) as usize;
            let written = sink.write_all(&buf[skipped..count]);
            written.map_err(|error| Fault::writing(self.destination.part(), error))?;
            found = end;
            if !advance(count as u64) {
                return Err(Fault::new(Kind::Cancelled, "cancelled"));
            }
        }
        if found == wanted {
            return Ok(());
        }
        Err(fault::of_content(&self.name, LengthError::TooShort { found, wanted }))
    }

    fn wrong_target(&self) -> Fault {
        let message = format!("{} came out wrong: its SHA-256 is not what is described", self.name);
        let fault = Fault::new(Kind::WrongTarget, message);
        if self.destination.is_in_place() {
            let part = self.destination.part().display();
            return fault
                .hint(format!("{part} holds no usable image now; run the same command to begin again"));
        }
        fault.hint("run the same command to begin again; if it happens twice, the package or the storage is at fault")
    }

    /// Makes the checked target durable, and gives it its name.
    pub(super) fn publish(self) -> Result<Target, Fault> {
        let Self { name, path, image, destination, journal, kept_bytes, restart, check, .. } = self;
        if check != Check::Whole {
            return Err(Fault::new(Kind::Internal, format!("{name} was not checked")));
        }
        destination.publish(image.size_bytes)?;
        journal.remove().map_err(|error| Fault::writing(journal.path(), error))?;
        Ok(Target { name, path, image, kept_bytes, restart: restart.map(|restart| restart.to_string()) })
    }

    /// After a fault: keeps what a later run can go on from, if it is worth it, and removes everything else.
    /// Answers how many bytes are kept.
    pub(super) fn keep_or_discard(&self, is_worth_it: bool) -> u64 {
        let is_kept = match self.check {
            Check::Open => is_worth_it,
            Check::Whole => true,
            Check::Wrong => false,
        };
        match self.journal.read() {
            Ok(Entry::Frames(step)) if step > 0 && is_kept => {
                (step as u64 * STEP_BYTES).min(self.image.size_bytes)
            }
            _ => {
                // Should this fail too, the next run starts over.
                let _ = self.journal.remove();
                let _ = self.destination.discard();
                0
            }
        }
    }
}

/// Names what is made where: a description, a partition and its target.
fn key(text: &[u8], partition: &PartitionInfo<'_>, path: &Path) -> [u8; 32] {
    let hash = Sha256::new_with_prefix(Sha256::digest(text)).chain_update(Sha256::digest(partition.name));
    hash.chain_update(path.as_os_str().as_encoded_bytes()).finalize().into()
}

/// Writes a target in order, and notes how far it is.
struct Sink<'a> {
    verifier: &'a Verifier,
    notary: Notary,
    at: u64,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.verifier.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        self.notary.made(bytes.len() as u64);
        self.notary.checkpoint((self.at / STEP_BYTES) as usize)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target {
    /// For machines.
    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "target": self.path,
            "target_bytes": self.image.size_bytes,
            "target_sha256": hex::encode(self.image.sha256),
            "kept_bytes": self.kept_bytes,
            "restart": self.restart,
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let (name, path, bytes) = (&self.name, self.path.display(), self.image.size_bytes);
        let kept = match self.kept_bytes {
            0 => String::new(),
            kept => format!(", {kept} of them from an earlier run"),
        };
        format!("{name}: {path}: {bytes} bytes{kept}, SHA-256 {}", hex::encode(self.image.sha256))
    }
}
