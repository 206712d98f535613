//! The commands beside `install`.

pub mod slots;
pub mod system;
