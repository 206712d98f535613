//! The commands.

pub mod apply;
pub mod bundle;
pub mod diff;
pub mod image;
pub mod inspect;
pub mod key;
pub mod release;
pub mod savings;
pub mod simulate;
pub mod swu;
