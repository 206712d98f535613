//! Metadata in memory, as tough fetches it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream;
use tough::{Transport, TransportError, TransportErrorKind, TransportStream};
use url::Url;

use crate::Metadata;

/// Answers with files of the metadata, and remembers which one was asked for last: errors do not tell.
#[derive(Debug, Clone)]
pub(super) struct Files {
    metadata: Arc<Metadata>,
    last_name: Arc<Mutex<String>>,
}

impl Files {
    pub(super) fn new(metadata: Metadata) -> Self {
        Self { metadata: Arc::new(metadata), last_name: Arc::default() }
    }

    /// The file that was asked for last, whether there is such a file or not.
    pub(super) fn last_name(&self) -> String {
        self.last_name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Transport for Files {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let name = url.path().trim_start_matches('/');
        name.clone_into(&mut self.last_name.lock().unwrap_or_else(PoisonError::into_inner));
        match self.metadata.file(name) {
            Some(bytes) => Ok(Box::pin(stream::iter([Ok(bytes.clone())]))),
            None => Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
        }
    }
}
