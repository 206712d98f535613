//! Boot flows against the real tools of their boot loaders, and killed at every system call that writes.
#![expect(clippy::unwrap_used, reason = "what the tests share is test code too")]

mod conformance;
mod custom;
mod device;
mod grub;
mod kill;
mod systemd_boot;
mod tryboot;
mod uboot;
