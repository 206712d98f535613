//! Against a real registry, and against one that misbehaves.
#![expect(clippy::unwrap_used, reason = "what the tests share is test code too")]

mod faults;
mod real;
mod server;
