//! How the work comes along.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchPhase {
    /// What is there already is looked through.
    Look,
    /// Bytes are fetched.
    Fetch,
}

/// Hears how fetching and putting together come along.
pub trait FetchObserver: Sync {
    /// A phase begins that handles about so many bytes.
    fn begin(&self, phase: FetchPhase, bytes: u64);

    /// So many more bytes of the phase are done; answers whether to go on.
    fn advance(&self, bytes: u64) -> bool;

    /// What stands behind the payloads is there and stays, but for what others copy there. Whoever needs nothing else
    /// can begin. May not be told.
    fn behind_is_made(&self) {}
}
