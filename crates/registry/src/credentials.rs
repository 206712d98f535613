//! What Docker and Podman know about signing in.

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

use crate::RegistryError;

/// Docker Hub's hosts, and the names under which Docker and Podman keep its credentials.
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
const HUB_KEYS: [&str; 2] = ["https://index.docker.io/v1/", "docker.io"];

/// The credentials for a registry from Docker's `config.json` or Podman's `auth.json`; none where neither
/// has any. An identity token, which stands for a session of `docker login` in a browser, is not used.
pub(crate) fn credentials_for(host: &str) -> Result<RegistryAuth, RegistryError> {
    let is_hub = HUB_HOSTS.contains(&host);
    let keys = if is_hub { HUB_KEYS.to_vec() } else { vec![host] };
    for key in keys {
        for look_up in [docker_credential::get_podman_credential, docker_credential::get_credential] {
            match look_up(key) {
                Ok(DockerCredential::UsernamePassword(user, password)) => {
                    return Ok(RegistryAuth::Basic(user, password));
                }
                Ok(DockerCredential::IdentityToken(_))
                | Err(
                    CredentialRetrievalError::NoCredentialConfigured
                    | CredentialRetrievalError::ConfigNotFound
                    | CredentialRetrievalError::ConfigReadError,
                ) => {}
                // What a helper printed may be a secret.
                Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                    let reason = format!("the helper {helper} failed");
                    return Err(RegistryError::Credentials { host: host.into(), reason });
                }
                Err(error) => {
                    return Err(RegistryError::Credentials { host: host.into(), reason: error.to_string() });
                }
            }
        }
    }
    Ok(RegistryAuth::Anonymous)
}
