//! The real binary, on slots that are files, with GRUB's environment block.
#![expect(clippy::unwrap_used, reason = "what the tests share is test code too")]

mod cut;
mod device;
mod dry_run;
mod file_system;
mod hostile;
mod hostile_server;
mod kill;
mod packed;
mod power;
mod recording;
mod release;
mod routes;
mod system;
