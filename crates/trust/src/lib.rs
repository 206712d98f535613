//! Who may release: keys, signed metadata, and what a device makes of it. All of it is TUF, The Update
//! Framework (specification 1.0), through the crate `tough`.
//!
//! A release's manifest is the only thing that is signed, and names everything else by its hash. To this
//! crate it is bytes. An operator keeps a [`KeyFolder`], and [`sign()`]s a manifest with it. That makes
//! [`Metadata`], a few small files which go wherever the manifest goes. A device has a root.json and
//! [`Trust`]s it: [`Trust::verify`] says whether the manifest is what the keys stand for, in time, and not
//! older than what was seen. [`Trust::remember`] is a step of its own, so that looking leaves no trace.
//!
//! The crate reads no clock: the caller says what time it is. It fetches nothing, and looks into no
//! manifest. Its functions wait until the work is done, and must not be called from inside an async
//! runtime: a small one of its own stands inside. docs/trust.md has the files, and what each refusal means.

#![forbid(unsafe_code)]

mod disk;
mod keys;
mod limits;
mod metadata;
mod role;
mod runtime;
mod sign;
mod trust;

pub use jiff::Timestamp;

pub use keys::{
    InitOptions, KeyError, KeyFolder, KeyInfo, Lifetimes, Overview, RoleInfo, RoleOptions, RotateOptions,
    Rotation,
};
pub use limits::{
    KEYS_PER_ROLE_MAX, MANIFEST_BYTES_MAX, METADATA_BYTES_MAX, METADATA_FILE_BYTES_MAX, METADATA_FILES_MAX,
    METADATA_NAME_BYTES_MAX, ROOT_VERSION_MAX,
};
pub use metadata::{Metadata, MetadataError};
pub use role::Role;
pub use sign::{MANIFEST_NAME, SignError, SignOptions, sign};
pub use trust::{Policy, StateError, Trust, TrustError, Verified, VerifyError};
