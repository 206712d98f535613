//! Packages: put together so that an unmodified `SWUpdate` cannot install the wrong bytes, and opened.
//!
//! `SWUpdate` checks what it reads from the package. It checks neither what a delta is applied to nor what comes
//! of it: with another base, or with a delta that ends early, it reports success. So every package has, whatever
//! the caller says:
//!
//! - the hardware that it fits, its version, and the SHA-256 of everything that is packed;
//! - a script that runs before anything is written. It refuses older versions, slots that are in use, and a base
//!   whose length or SHA-256 is not the one that the delta was made from;
//! - a check of what was written, its length and SHA-256, before the boot loader is told. `SWUpdate`'s `readback`
//!   does that; for 4 GiB and more, which `readback` counts in 32 bits, the script does.
//!
//! Nothing is installed while it arrives (`installed-directly`): the script would come too late.

mod digest;
mod error;
mod guarded;
mod open;
mod script;
mod spec;
mod version;
mod write;

pub use digest::ImageDigest;
pub use error::{ContentError, OpenError, RefusalError, WriteError};
pub use guarded::{BaseInfo, PartitionInfo};
pub use open::{PackageReader, PackedFile};
pub use spec::{Choice, Downgrade, FileSpec, Hardware, PackageSpec, Partition, Place};
pub use version::{VersionOrder, compare_versions};
pub use write::write;

/// The name of the description in an archive.
pub const DESCRIPTION_NAME: &str = "sw-description";
/// The name of its signature.
pub const SIGNATURE_NAME: &str = "sw-description.sig";
