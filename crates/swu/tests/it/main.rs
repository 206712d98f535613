//! Packages, signatures and archives against the real programs.
#![expect(clippy::unwrap_used, reason = "what the tests share is test code too")]

mod archive;
mod faults;
mod openssl;
mod refusals;
mod script;
mod support;
mod swupdate;
