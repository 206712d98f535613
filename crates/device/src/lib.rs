//! What touches a device: its disks, its slots and boot loader, and the container engines that run on it.
//!
//! An [`engine::Engine`] is `dockerd` or `podman system service`, unmodified, spoken to through its
//! socket. The files of its images are read where its storage driver keeps them ([`overlay`]); new
//! layers go to it as a partial archive, which leaves out what it has. [`disk`] makes files and block
//! devices durably.
//!
//! A [`system::System`] is what a device's configuration says of its slots and boot groups, and a
//! [`boot::BootFlow`] tells its boot loader which group to boot. Neither writes to a slot.

pub mod boot;
pub mod disk;
pub mod engine;
pub mod overlay;
pub mod system;
