//! What is made on a device's disks: files and block devices, written so that a crash at any time leaves
//! either what was there before or something that the next run goes on from.
//!
//! [`Making`] applies a patch to a [`Destination`]: a [`Verifier`] syncs the result, reads it back and hashes it
//! while it is written, and a [`Notary`] notes in a [`Journal`] how far it is on the disk. [`durable`] has what gives files their names.
//! Nothing here draws bars, knows exit codes, or decides what is applied to what.

mod contents;
mod destination;
pub mod durable;
mod journal;
mod making;
mod medium;
mod notary;
mod pages;
mod scratch;
mod verifier;

pub use contents::Contents;
pub use destination::{Destination, DestinationError};
pub use journal::{Entry, Journal, Restart};
pub use making::{
    MakeError, MakeObserver, MakePhase, Making, Watch, header_sha256, only_target, patch_bytes,
};
pub use medium::{Identity, Medium, is_at};
pub use notary::Notary;
pub use scratch::DiskScratch;
pub use verifier::Verifier;
