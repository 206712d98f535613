//! A repository of a registry.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};
use tokio::runtime::{Builder, Runtime};

use crate::client::{USER_AGENT, http_client, is_loopback};
use crate::credentials::credentials_for;
use crate::{RegistryError, Settings};

/// A repository of a registry: a host and a name, `registry.example/team/app`.
pub struct Repository {
    /// The image that it was opened for.
    pub(crate) reference: Reference,
    /// `https://HOST/v2/NAME`.
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    /// Signs in, and pushes blobs.
    pub(crate) oci: Client,
    pub(crate) auth: RegistryAuth,
    /// What was given to us when we signed in; nothing where nobody asks for it.
    pub(crate) tokens: RefCell<BTreeMap<RegistryOperation, Option<String>>>,
    pub(crate) settings: Settings,
    pub(crate) runtime: Runtime,
    pub(crate) fetched_bytes: Cell<u64>,
}

impl Repository {
    /// Prepares work with the repository of an image. Credentials are those that Docker and Podman keep.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`RegistryError::Client`], [`RegistryError::Credentials`].
    pub fn open(reference: &Reference, settings: Settings) -> Result<Self, RegistryError> {
        let host = reference.resolve_registry();
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| RegistryError::Client {
            host: host.into(),
            source,
        };
        let is_plain = is_loopback(host);
        let http = http_client(is_plain, &settings).map_err(|error| failed(error.into()))?;
        let config = ClientConfig {
            protocol: if is_plain { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(settings.connect_timeout()),
            read_timeout: Some(settings.read_timeout()),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        let oci = Client::try_from(config).map_err(|error| failed(error.into()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let scheme = if is_plain { "http" } else { "https" };
        Ok(Self {
            reference: reference.clone(),
            url: format!("{scheme}://{host}/v2/{}", reference.repository()),
            http,
            oci,
            auth: credentials_for(host)?,
            tokens: RefCell::default(),
            settings,
            runtime: runtime.map_err(|error| failed(error.into()))?,
            fetched_bytes: Cell::new(0),
        })
    }

    /// How many bytes have come, everything included: manifests, lists, and what was thrown away.
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.get()
    }

    /// The name of something in the repository, for messages.
    pub(crate) fn name_of(&self, what: &str) -> String {
        let (host, name) = (self.reference.registry(), self.reference.repository());
        let joint = if what.contains(':') { '@' } else { ':' };
        format!("{host}/{name}{joint}{what}")
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Credentials are shown to nobody.
        f.debug_struct("Repository").field("url", &self.url).finish_non_exhaustive()
    }
}
