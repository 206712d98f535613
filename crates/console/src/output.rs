//! What is printed.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

use crate::fault::Fault;

/// How long `patch` is in percent of `new`; 0 for an empty NEW.
pub fn percent(patch: u64, new: u64) -> f64 {
    if new == 0 { 0.0 } else { 100.0 * patch as f64 / new as f64 }
}

/// Prints a line, or several. Whoever reads it may stop reading at any time (`| head`).
///
/// # Errors
/// What the system reports otherwise.
pub fn say(text: impl fmt::Display) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fault::writing(Path::new("the standard output"), error))
        }
        _ => Ok(()),
    }
}
