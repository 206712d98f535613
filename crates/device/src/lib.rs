//! What touches a device: its disks, and the container engines that run on it.
//!
//! An [`engine::Engine`] is `dockerd` or `podman system service`, unmodified, spoken to through its
//! socket. The files of its images are read where its storage driver keeps them ([`overlay`]); new
//! layers go to it as a partial archive, which leaves out what it has. [`disk`] makes files and block
//! devices durably.

pub mod disk;
pub mod engine;
pub mod overlay;
