//! An image as a whole: frames are fetched while the one before is unpacked and written.

use std::sync::mpsc::sync_channel;

use fluvial_bundle::limits::FRAME_PACKED_BYTES_MAX;
use fluvial_bundle::{Assembly, BundlePart, Want};
use fluvial_console::{Fault, Kind};

use crate::bundle::Bundle;
use crate::install::Work;

/// Fetches and takes all frames that hold something that is missing.
pub fn fetch(
    work: &Work<'_>,
    bundle: &Bundle,
    full: &BundlePart,
    assembly: &mut Assembly<'_>,
) -> Result<(), Fault> {
    let wants = assembly.frames().unwrap_or_default();
    work.progress.phase("fetching", wants.iter().map(|want| want.len).sum());
    let read = |want: Want| -> Result<Vec<u8>, Fault> {
        let start = full.range.start + want.offset;
        Ok(bundle.site.read_range(&bundle.name, start..start + want.len, FRAME_PACKED_BYTES_MAX)?)
    };
    std::thread::scope(|scope| {
        // One frame waits while another one is on its way.
        let (sender, receiver) = sync_channel(0);
        scope.spawn({
            let wants = wants.clone();
            move || {
                for want in wants {
                    // Whoever receives has given up.
                    if sender.send((want, read(want))).is_err() {
                        return;
                    }
                }
            }
        });
        for (want, packed) in receiver {
            assembly.take_frame(want, &packed?)?;
            if !work.progress.advance(want.len) {
                return Err(Fault::new(Kind::Cancelled, "cancelled").hint("what was written is found again"));
            }
        }
        Ok(())
    })
}
