//! `sw-description`. Input: its text.

use fluvial_swu::description::{Description, DeviceChoice};

/// What was read is written, unless some device would cut it, and read again as it was.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let Ok(description) = Description::read(bytes) else { return };
    let _ = description.partitions_for(&DeviceChoice::default());
    let Ok(text) = description.to_text() else { return };
    assert_eq!(Description::read(text.as_bytes()), Ok(description), "what was written is read again");
}
