//! Waiting for what tough does.

use std::io;

use tokio::runtime::Builder;

/// Runs a future to its end, on this thread. What touches files does so on another.
///
/// # Errors
/// Where the system gives no runtime.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(Builder::new_current_thread().build()?.block_on(future))
}
