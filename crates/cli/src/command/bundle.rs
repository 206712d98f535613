//! `fluvial bundle`: releases in one file.

mod create;
mod delta;
mod file;
mod inspect;
mod release;
mod verify;

use std::io;
use std::path::Path;

use fluvial_bundle::{BundleHeader, PartKind};
use fluvial_delta::structure::ReadAt;

use crate::arguments::{BundleArguments, BundleCommand};

pub(super) use create::{hash, write_chunks};
pub(super) use file::BundleFile;

/// What applying a patch may take on a device, in bytes, if nothing else is said.
pub(super) const APPLY_MEMORY_BYTES: u64 = 64 << 20;
/// How much work goes into packing chunks, if nothing else is said: a level of Zstandard.
pub(super) const CHUNK_LEVEL: i32 = 8;

/// Bytes that are copied at a time.
const STEP_BYTES: usize = 256 << 10;
use fluvial_console::Fault;
use fluvial_console::Interrupt;

/// Carries out a command for bundles.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &BundleArguments, interrupt: Interrupt) -> Result<(), Fault> {
    match &arguments.command {
        BundleCommand::Create(create) => create::run(create, interrupt),
        BundleCommand::Delta(delta) => delta::run(delta, interrupt),
        BundleCommand::Inspect(inspect) => inspect::run(inspect),
        BundleCommand::Verify(verify) => verify::run(verify, interrupt),
    }
}

/// How many bytes a part of a component has; none if it is not there.
fn part_bytes(header: &BundleHeader, component: usize, kind: PartKind) -> Option<u64> {
    header.part(component, kind).map(|part| part.range.end - part.range.start)
}

/// Copies a part of a file.
pub(super) fn copy(from: &dyn ReadAt, start: u64, len: u64, to: &mut dyn io::Write) -> io::Result<()> {
    let mut buf = vec![0; STEP_BYTES];
    let mut done = 0;
    while done < len {
        let step = (len - done).min(STEP_BYTES as u64) as usize;
        from.read_at(start + done, &mut buf[..step])?;
        to.write_all(&buf[..step])?;
        done += step as u64;
    }
    Ok(())
}

/// A file's name without its folder.
fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
