//! Container registries (OCI Distribution Specification 1.1): images are read from them, patches are
//! stored in them and found again.
//!
//! A [`Repository`] is one repository of one registry. Its functions wait until the work is done: a small
//! runtime of its own stands inside, and one request is under way at a time. What was fetched is kept
//! under its digest, half of it under that name and `.part`, so that a cut link or a killed process costs
//! nothing but the bytes that were lost. Nothing has its name before its digest was compared.
//!
//! The crate unpacks nothing and knows no patches: it moves bytes that are named by their digest. Plain
//! http is spoken with this machine only. Everything that a registry answers is hostile: lengths are
//! limited before anything is read.

#![forbid(unsafe_code)]

mod blob;
mod client;
mod credentials;
mod error;
mod image;
mod part;
mod patience;
mod push;
mod referrers;
mod repository;
mod settings;

pub use error::RegistryError;
pub use image::{Manifest, RegistryImage};
pub use repository::Repository;
pub use settings::Settings;

/// Hears how many bytes have come or gone since its last call, and cancels by answering `false`. It is
/// asked with 0 while nothing comes.
pub type Watch<'a> = &'a dyn Fn(u64) -> bool;
