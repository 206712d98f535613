//! Published payloads from static servers and folders.
//!
//! A [`Site`] is what was published: it reads whole files, ranges of them, and chunks of payloads, several ranges
//! in one request over a few connections. What has come is kept in a [`Store`], so that nothing is fetched twice,
//! not even after a kill. [`assemble()`] makes payloads of old streams and what it fetches.
//!
//! The crate never decides what is wanted, and never vouches for what came: `fluvial-bundle` says the one and
//! checks the other. It never writes outside of its store's folder, never takes more into memory than the caller
//! allows, and never opens more connections than it was told. It draws no bars and knows no exit codes.

#![forbid(unsafe_code)]

mod assemble;
mod error;
mod files;
mod multipart;
mod observer;
mod ranges;
mod server;
mod site;
mod store;

pub use assemble::{assemble, complete};
pub use error::FetchError;
pub use files::ChunkFile;
pub use observer::{FetchObserver, FetchPhase};
pub use site::{Counters, Site};
pub use store::Store;
