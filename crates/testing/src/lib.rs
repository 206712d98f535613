//! Real programs that tests start: each on a folder and a port of its own, stopped when it is dropped.

mod registry;

pub use registry::DockerRegistry;
