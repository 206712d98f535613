//! How patient a client is.

use std::time::Duration;

/// How long a registry may be silent, and how often it is asked again.
///
/// The defaults are those of balena's supervisor for deltas: 30 tries, 10 s apart, 30 s of silence each,
/// which is 20 minutes altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A connection that takes longer to come about has failed, in milliseconds.
    pub connect_timeout_ms: u64,
    /// A connection that is silent for longer is given up, in milliseconds.
    pub read_timeout_ms: u64,
    /// How often a request is repeated in a row; 0 for never. The count starts anew when bytes have come.
    pub retry_count: u32,
    /// The longest pause between tries, in milliseconds. The first one takes an eighth of it, each further
    /// one twice as long as the one before.
    pub retry_interval_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 30_000,
            read_timeout_ms: 30_000,
            retry_count: 30,
            retry_interval_ms: 10_000,
        }
    }
}

impl Settings {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.read_timeout_ms)
    }
}
