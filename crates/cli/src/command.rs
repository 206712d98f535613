//! The commands.

pub mod apply;
pub mod diff;
pub mod image;
pub mod inspect;
pub mod savings;
pub mod simulate;

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

use crate::fault::Fault;
use crate::medium::Medium;

/// Opens a file or a block device to read.
fn open(path: &Path) -> Result<Medium, Fault> {
    Medium::open(path).map_err(|source| Fault::reading(path, source))
}

/// A digest as people write it.
fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// How long `patch` is in percent of `new`; 0 for an empty NEW.
fn percent(patch: u64, new: u64) -> f64 {
    if new == 0 { 0.0 } else { 100.0 * patch as f64 / new as f64 }
}

/// Prints a line, or several. Whoever reads it may stop reading at any time (`| head`).
fn say(text: impl fmt::Display) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fault::writing(Path::new("the standard output"), error))
        }
        _ => Ok(()),
    }
}
