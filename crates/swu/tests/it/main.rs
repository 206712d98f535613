//! What the crate writes is read by the real tools, and the other way round.
#![expect(clippy::unwrap_used, reason = "test code")]

mod archive;
mod faults;
mod openssl;
mod refusals;
mod rsync;
mod script;
mod support;
mod swupdate;
