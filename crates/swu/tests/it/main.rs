//! What the crate writes is read by the real tools, and the other way round.
#![expect(clippy::unwrap_used, reason = "test code")]

mod rsync;
