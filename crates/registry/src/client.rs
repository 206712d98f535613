//! Requests, one at a time.

use std::net::IpAddr;

use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};

use crate::patience::watched;
use crate::{RegistryError, Repository, Settings, Watch};

/// What we call ourselves.
pub(crate) const USER_AGENT: &str = concat!("fluvial/", env!("CARGO_PKG_VERSION"));
/// Registries send to their storage, which may send elsewhere.
const REDIRECTS_MAX: usize = 10;

/// Whether a host, with or without a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A client that follows no redirection to plain http, unless it speaks that anyway.
pub(crate) fn http_client(is_plain: bool, settings: &Settings) -> reqwest::Result<Client> {
    // Whoever came first has chosen, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let policy = Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS_MAX {
            return attempt.error("too many redirections");
        }
        let url = attempt.url();
        let may_be_plain = is_plain && url.host_str().is_some_and(is_loopback);
        if url.scheme() == "https" || may_be_plain {
            return attempt.follow();
        }
        attempt.error("a redirection to plain http")
    });
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(settings.connect_timeout())
        .read_timeout(settings.read_timeout())
        .redirect(policy)
        .build()
}

impl Repository {
    /// Sends a request, signed in where that is asked for. Where we are refused, we sign in anew, once: a
    /// token does not live long.
    pub(crate) async fn send(
        &self,
        operation: RegistryOperation,
        request: impl Fn(&Client) -> RequestBuilder,
        watch: Watch<'_>,
    ) -> Result<Response, RegistryError> {
        let is_known = self.tokens.borrow().contains_key(&operation);
        let answer = self.send_once(operation, &request, watch).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !is_known {
            return Ok(answer);
        }
        self.tokens.borrow_mut().remove(&operation);
        self.send_once(operation, &request, watch).await
    }

    async fn send_once(
        &self,
        operation: RegistryOperation,
        request: impl Fn(&Client) -> RequestBuilder,
        watch: Watch<'_>,
    ) -> Result<Response, RegistryError> {
        let token = self.token(operation, watch).await?;
        let request = request(&self.http);
        let request = match (token, &self.auth) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        let host = self.reference.registry();
        let failed = |source| RegistryError::Unreachable { host: host.into(), source };
        watched(request.send(), watch).await?.map_err(failed)
    }

    /// What we were given when we signed in.
    async fn token(
        &self,
        operation: RegistryOperation,
        watch: Watch<'_>,
    ) -> Result<Option<String>, RegistryError> {
        if let Some(token) = self.tokens.borrow().get(&operation) {
            return Ok(token.clone());
        }
        let token = watched(self.oci.auth(&self.reference, &self.auth, operation), watch).await?;
        let host = self.reference.registry();
        let token = token.map_err(|error| match error {
            OciDistributionError::RequestError(source) => {
                RegistryError::Unreachable { host: host.into(), source }
            }
            error => RegistryError::Session { what: format!("signing in at {host}"), source: error.into() },
        })?;
        self.tokens.borrow_mut().insert(operation, token.clone());
        Ok(token)
    }

    /// What a status means that is not the one hoped for.
    pub(crate) fn refusal(&self, what: &str, status: StatusCode) -> RegistryError {
        let what = self.name_of(what);
        match status.as_u16() {
            404 => RegistryError::Missing { what },
            status @ (401 | 403) => RegistryError::Denied { what, status },
            status => RegistryError::Status { what, status },
        }
    }

    /// Reads a short answer.
    pub(crate) async fn body(
        &self,
        mut answer: Response,
        what: &str,
        limit: u64,
        watch: Watch<'_>,
    ) -> Result<Vec<u8>, RegistryError> {
        let too_long = || RegistryError::TooLong { what: self.name_of(what), limit };
        if answer.content_length().is_some_and(|len| len > limit) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = watched(answer.chunk(), watch)
            .await?
            .map_err(|source| RegistryError::Cut { what: self.name_of(what), source: Some(source) })?
        {
            self.count(chunk.len(), watch)?;
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_long());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// So many bytes have come.
    pub(crate) fn count(&self, bytes: usize, watch: Watch<'_>) -> Result<(), RegistryError> {
        self.fetched_bytes.set(self.fetched_bytes.get() + bytes as u64);
        if watch(bytes as u64) { Ok(()) } else { Err(RegistryError::Cancelled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["registry.example", "localhost.example:5000", "10.0.0.1:5000", "[::2]:5000", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
