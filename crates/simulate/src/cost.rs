//! What is transferred.

use serde::{Deserialize, Serialize};

/// What a request takes beside its body, in bytes: the request's own headers and those of the answer. The
/// figure of Rugix's benchmark ("overhead for downloading a block or a group of blocks"); what TLS and TCP add
/// where each request has a connection of its own is not counted.
pub const REQUEST_OVERHEAD_BYTES: u64 = 768;
/// The shortest range that Rugix asks for, in bytes (`MIN_CHUNK_SIZE` in its `http_source.rs`).
pub const RANGE_BYTES_MIN: u64 = 64 << 10;

/// What one update transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// The bodies of all answers but the index, in bytes.
    pub data_bytes: u64,
    /// What tells a device what there is to fetch, in bytes.
    pub index_bytes: u64,
    /// How many requests are made.
    pub requests: u64,
}

impl Cost {
    /// One file, fetched in one request.
    pub fn of_file(bytes: u64) -> Self {
        Self { data_bytes: bytes, index_bytes: 0, requests: 1 }
    }

    /// What the requests take beside their bodies, in bytes.
    pub fn overhead_bytes(&self) -> u64 {
        self.requests * REQUEST_OVERHEAD_BYTES
    }

    /// Everything together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.data_bytes + self.index_bytes + self.overhead_bytes()
    }
}
