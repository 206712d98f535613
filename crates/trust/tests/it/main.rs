//! Operators sign, devices verify, and others try to get in between.
#![expect(clippy::unwrap_used, reason = "what the tests share is test code too")]

mod damage;
mod keys;
mod refusals;
mod rotation;
mod state;
mod support;
