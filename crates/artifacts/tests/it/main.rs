//! The store, on real folders.
#![expect(clippy::unwrap_used, reason = "what the tests share is test code too")]

mod add;
mod documents;
mod hostile;
mod list;
mod pair;
mod prune;
mod support;
mod update;
mod verify;
