//! How often, and after which pauses, a request is repeated.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{RegistryError, Settings, Watch};

/// How long nobody is asked whether to go on.
const TICK: Duration = Duration::from_millis(100);
/// The first pause is this part of the longest one.
const FIRST_PART: u64 = 8;

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Patience {
    settings: Settings,
    left: u32,
    pause_ms: u64,
}

impl Patience {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (left, pause_ms) = (settings.retry_count, settings.retry_interval_ms / FIRST_PART);
        Self { settings: *settings, left, pause_ms }
    }

    /// The last try brought something: what it cost is forgotten.
    pub(crate) fn renew(&mut self) {
        *self = Self::new(&self.settings);
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// `error`, where another try is of no use or was tried often enough; [`RegistryError::Cancelled`].
    pub(crate) async fn pause(
        &mut self,
        error: RegistryError,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        if self.left == 0 || !error.is_passing() {
            return Err(error);
        }
        self.left -= 1;
        watched(sleep(Duration::from_millis(self.pause_ms)), watch).await?;
        self.pause_ms = self.pause_ms.saturating_mul(2).min(self.settings.retry_interval_ms);
        Ok(())
    }
}

/// Waits for `work`, and asks every now and then whether to go on.
pub(crate) async fn watched<T>(work: impl Future<Output = T>, watch: Watch<'_>) -> Result<T, RegistryError> {
    let mut work = pin!(work);
    loop {
        match timeout(TICK, work.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_) if watch(0) => {}
            Err(_) => return Err(RegistryError::Cancelled),
        }
    }
}
