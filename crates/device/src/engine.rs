//! Container engines, unmodified, through the Docker Engine API (version 1.41), which Podman serves too.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use bollard::models::{ImageInspect, SystemInfo};
use bollard::query_parameters::{ListImagesOptionsBuilder, TagImageOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use fluvial_delta::header::Sha256Digest;
use fluvial_image::oci::{EngineKind, digest_of, digest_text};
use futures_util::StreamExt as _;
use thiserror::Error;
use tokio::runtime::Runtime;

mod archive;
mod feed;
mod load;
mod pipes;
mod serve;

pub use feed::Content;
pub use load::LoadLayer;

/// How long an engine may take to answer, in seconds: one that loads a large image from slow flash says
/// nothing until it is done.
const ANSWER_TIMEOUT_S: u64 = 6 * 3600;

/// An engine cannot do what it was asked to.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Nothing answers.
    #[error("{kind} does not answer at {}", socket.display())]
    Connect {
        /// What should answer, as references name it.
        kind: &'static str,
        /// Where.
        socket: PathBuf,
        /// Why not.
        source: Box<bollard::errors::Error>,
    },
    /// It answers that something cannot be done.
    #[error("the engine cannot {what}")]
    Request {
        /// What it was asked to do.
        what: &'static str,
        /// What it says.
        source: Box<bollard::errors::Error>,
    },
    /// It has no such image.
    #[error("the engine has no image {name:?}")]
    NoImage {
        /// The name.
        name: String,
    },
    /// The name of an image has other characters than names have.
    #[error("{name:?} is no name of an image")]
    Name {
        /// The name.
        name: String,
    },
    /// It refuses to load an image.
    #[error("the engine does not load the image: {reason}")]
    Load {
        /// What it says.
        reason: String,
    },
    /// It loaded something else.
    #[error("the engine has loaded the image, but does not have {digest} now")]
    Lost {
        /// The image's id.
        digest: String,
    },
    /// What is loaded cannot be read.
    #[error("a layer that goes to the engine cannot be read")]
    Read(#[source] io::Error),
    /// What comes from it cannot be written.
    #[error("the image that comes from the engine cannot be written")]
    Write(#[source] io::Error),
    /// Something of the system fails.
    #[error("no connection to an engine can be made")]
    System(#[source] io::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A connection to an engine.
#[derive(Debug)]
pub struct Engine {
    kind: EngineKind,
    runtime: Runtime,
    docker: Docker,
    socket: PathBuf,
    info: SystemInfo,
}

/// An image of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// Its id: the SHA-256 of its config.
    pub id: Sha256Digest,
    /// Its layers, the lowest first.
    pub diff_ids: Vec<Sha256Digest>,
    /// Where the storage driver keeps its layers, the topmost first; empty where that is not told.
    pub folders: Vec<PathBuf>,
}

impl Engine {
    /// Connects to an engine, at `socket` or where it usually listens.
    ///
    /// # Errors
    /// [`EngineError::Connect`].
    pub fn connect(kind: EngineKind, socket: Option<&Path>) -> Result<Self, EngineError> {
        let socket = socket.map_or_else(|| usual_socket(kind), Path::to_path_buf);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(EngineError::System)?;
        let failed = |source| EngineError::Connect {
            kind: kind.transport(),
            socket: socket.clone(),
            source: Box::new(source),
        };
        let path = socket.to_string_lossy();
        let connected = {
            let _entered = runtime.enter();
            Docker::connect_with_unix(&path, ANSWER_TIMEOUT_S, API_DEFAULT_VERSION)
        };
        let docker = connected.map_err(failed)?;
        let docker = runtime.block_on(docker.negotiate_version()).map_err(failed)?;
        let info = runtime.block_on(docker.info()).map_err(failed)?;
        Ok(Self { kind, runtime, docker, socket, info })
    }

    /// Which engine it is.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    fn ask<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        let answer = self.runtime.block_on(request);
        answer.map_err(|source| EngineError::Request { what, source: Box::new(source) })
    }

    /// Looks for an image by its name or id.
    ///
    /// # Errors
    /// [`EngineError::NoImage`] where there is none.
    pub fn image(&self, name: &str) -> Result<EngineImage, EngineError> {
        check_name(name)?;
        let inspected = self.runtime.block_on(self.docker.inspect_image(name));
        match inspected {
            Ok(inspected) => image_of(name, &inspected),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                Err(EngineError::NoImage { name: name.into() })
            }
            Err(source) => Err(EngineError::Request { what: "tell of an image", source: Box::new(source) }),
        }
    }

    /// Whether it has the image of this id.
    ///
    /// # Errors
    /// What the engine reports.
    pub fn has(&self, id: &Sha256Digest) -> Result<bool, EngineError> {
        match self.image(&digest_text(id)) {
            Ok(image) => Ok(image.id == *id),
            Err(EngineError::NoImage { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How many of these layers, the lowest first, it has in this order one on another.
    ///
    /// # Errors
    /// What the engine reports.
    pub fn known_layers(&self, diff_ids: &[Sha256Digest]) -> Result<usize, EngineError> {
        let options = ListImagesOptionsBuilder::new().all(true).build();
        let images = self.ask("list its images", self.docker.list_images(Some(options)))?;
        let mut known = 0;
        for summary in images {
            // An image may go while they are listed.
            let Ok(image) = self.image(&summary.id) else { continue };
            let common = image.diff_ids.iter().zip(diff_ids).take_while(|(a, b)| a == b).count();
            known = known.max(common);
        }
        Ok(known)
    }

    /// Gives an image another name, as `NAME[:TAG]`.
    ///
    /// # Errors
    /// What the engine reports.
    pub fn tag(&self, id: &Sha256Digest, name: &str) -> Result<(), EngineError> {
        check_name(name)?;
        let (repository, tag) = split_name(name);
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        self.ask("name the image", self.docker.tag_image(&digest_text(id), Some(options)))
    }

    /// Takes one of several names from an image.
    fn forget(&self, name: &str) -> Result<(), EngineError> {
        let options = None::<bollard::query_parameters::RemoveImageOptions>;
        self.ask("forget a name of the image", self.docker.remove_image(name, options, None)).map(drop)
    }

    /// Writes an image with all its layers as an archive, as `docker save` does. `progress` hears how many
    /// bytes came since its last call, and cancels by answering `false`.
    ///
    /// # Errors
    /// What the engine reports, [`EngineError::Write`].
    pub fn save(
        &self,
        name: &str,
        archive: &mut dyn io::Write,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<(), EngineError> {
        check_name(name)?;
        self.runtime.block_on(async {
            let mut stream = std::pin::pin!(self.docker.export_image(name));
            while let Some(bytes) = stream.next().await {
                let failed =
                    |source| EngineError::Request { what: "save an image", source: Box::new(source) };
                let bytes = bytes.map_err(failed)?;
                archive.write_all(&bytes).map_err(EngineError::Write)?;
                if !progress(bytes.len() as u64) {
                    return Err(EngineError::Cancelled);
                }
            }
            Ok(())
        })
    }

    /// The folder in which it keeps its data, where that stands on this machine.
    fn data_folder(&self) -> Option<PathBuf> {
        self.info.docker_root_dir.as_ref().map(PathBuf::from).filter(|folder| folder.is_dir())
    }
}

fn image_of(name: &str, inspected: &ImageInspect) -> Result<EngineImage, EngineError> {
    let no_image = || EngineError::NoImage { name: name.into() };
    let id = inspected.id.as_deref().and_then(digest_of).ok_or_else(no_image)?;
    let layers = inspected.root_fs.as_ref().and_then(|root_fs| root_fs.layers.as_ref());
    let diff_ids = layers.into_iter().flatten().map(|layer| digest_of(layer));
    let diff_ids: Vec<_> = diff_ids.collect::<Option<_>>().ok_or_else(no_image)?;
    let mut folders = Vec::new();
    if let Some(driver) = &inspected.graph_driver {
        let of = |key: &str| driver.data.get(key).map_or("", String::as_str);
        let all = [of("UpperDir"), of("LowerDir")];
        folders = all.iter().flat_map(|list| list.split(':')).filter(|path| !path.is_empty()).collect();
    }
    // Anything else is another driver's, with other rules.
    let is_overlay = folders.len() == diff_ids.len();
    let folders = if is_overlay { folders.into_iter().map(PathBuf::from).collect() } else { Vec::new() };
    Ok(EngineImage { id, diff_ids, folders })
}

/// Where an engine listens if nobody says otherwise.
fn usual_socket(kind: EngineKind) -> PathBuf {
    let (variable, system, user) = match kind {
        EngineKind::Docker => ("DOCKER_HOST", "/var/run/docker.sock", "docker.sock"),
        EngineKind::Podman => ("CONTAINER_HOST", "/run/podman/podman.sock", "podman/podman.sock"),
    };
    if let Some(socket) =
        std::env::var(variable).ok().and_then(|host| Some(host.strip_prefix("unix://")?.into()))
    {
        return socket;
    }
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join(user));
    match own {
        Some(own) if own.exists() && !Path::new(system).exists() => own,
        _ => system.into(),
    }
}

/// Names stand in addresses of requests.
fn check_name(name: &str) -> Result<(), EngineError> {
    let is_good = |character: char| character.is_ascii_alphanumeric() || "._-/:@".contains(character);
    if !name.is_empty() && !name.contains("..") && name.chars().all(is_good) {
        return Ok(());
    }
    Err(EngineError::Name { name: name.into() })
}

/// Repository and tag of a name.
fn split_name(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_their_tag() {
        assert_eq!(split_name("app"), ("app", "latest"));
        assert_eq!(split_name("app:2"), ("app", "2"));
        assert_eq!(split_name("host:5000/app"), ("host:5000/app", "latest"));
        assert_eq!(split_name("host:5000/team/app:2"), ("host:5000/team/app", "2"));
    }

    #[test]
    fn names_say_nothing_else_to_the_engine() {
        for name in ["", "a b", "a?all=1", "../containers/x", "a#b", "a%2f"] {
            assert!(matches!(check_name(name), Err(EngineError::Name { .. })), "{name}");
        }
        check_name("host:5000/team/app_1.x@sha256:00").unwrap();
    }
}
