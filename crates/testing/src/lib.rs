//! Servers that tests start, each on a folder and a port of its own: real programs, stopped when they are dropped,
//! and a server of ranges that misbehaves on demand. Devices that run the real `swupdate`.

mod range_server;
mod registry;
mod swupdate;

pub use range_server::{RangeCounts, RangeFault, RangeServer};
pub use registry::DockerRegistry;
pub use swupdate::{Installed, SwupdateDevice};
