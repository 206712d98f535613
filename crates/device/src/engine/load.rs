//! Loading an image: its config, and those of its layers that the engine lacks.

use std::sync::atomic::{AtomicBool, Ordering};

use bollard::query_parameters::ImportImageOptionsBuilder;
use fluvial_delta::header::Sha256Digest;
use fluvial_image::oci::{EngineKind, digest_text};
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::archive::{self, Member, MemberContent, is_last_use};
use super::feed::{Body, Content, Stop, body, copy};
use super::pipes::PipeFolder;
use super::serve::PullError;
use super::{Engine, EngineError, check_name};

/// A layer of an image that is loaded.
#[derive(Clone, Copy)]
pub struct LoadLayer<'a> {
    /// The SHA-256 of its tar.
    pub diff_id: Sha256Digest,
    /// Its tar; `None` for a layer that the engine has, see [`Engine::known_layers`].
    pub tar: Option<&'a dyn Content>,
}

/// Takes bytes as they go, and answers whether to go on.
pub(super) type Progress<'a> = &'a (dyn Fn(u64) -> bool + Sync);

impl Engine {
    /// Loads an image and gives it a name. Layers are given back to the disk as the engine takes them. When it
    /// fails, the engine has what it had before. `progress` hears how many bytes of layers have gone since its
    /// last call, and cancels by answering `false`.
    ///
    /// `dockerd` unpacks an archive to its temporary storage before it looks at the layers. A layer that
    /// stands in the archive as a **named pipe** is made as one there, and then read from: so nothing is
    /// kept twice. Podman pulls from a registry on this machine that has just this image. Where an engine does
    /// not do so, it gets an archive.
    ///
    /// # Errors
    /// [`EngineError`]; [`EngineError::Load`] where the engine refuses it.
    pub fn load(
        &self,
        config: &[u8],
        layers: &[LoadLayer<'_>],
        name: &str,
        progress: Progress<'_>,
    ) -> Result<(), EngineError> {
        check_name(name)?;
        let id = Sha256::digest(config).into();
        let mut other_name = None;
        let is_loaded = match self.kind {
            EngineKind::Docker => self.load_by_pipes(config, layers, progress)?,
            EngineKind::Podman => match self.pull_from_here(config, layers, progress) {
                Ok(name) => {
                    other_name = Some(name);
                    true
                }
                Err(PullError { error, has_begun }) if has_begun => return Err(error),
                Err(_) => false,
            },
        };
        if !is_loaded {
            self.load_archive(config, layers, progress)?;
        }
        if !self.has(&id)? {
            return Err(EngineError::Lost { digest: digest_text(&id) });
        }
        self.tag(&id, name)?;
        if let Some(other_name) = other_name {
            self.forget(&other_name)?;
        }
        Ok(())
    }

    /// Answers `false` where the engine makes no pipes that can be found here.
    fn load_by_pipes(
        &self,
        config: &[u8],
        layers: &[LoadLayer<'_>],
        progress: Progress<'_>,
    ) -> Result<bool, EngineError> {
        let Some(folder) = self.pipe_folder() else { return Ok(false) };
        folder.let_go_of_stale();
        let sent = self.send(|body, is_over| feed_pipes(config, layers, &folder, body, is_over, progress));
        match sent {
            Ok(()) => Ok(true),
            Err(SendError::NoPipes) => Ok(false),
            Err(SendError::Engine(error)) => Err(error),
        }
    }

    fn load_archive(
        &self,
        config: &[u8],
        layers: &[LoadLayer<'_>],
        progress: Progress<'_>,
    ) -> Result<(), EngineError> {
        let members = match self.kind {
            EngineKind::Docker => archive::docker(config, layers),
            EngineKind::Podman => archive::oci(config, layers),
        };
        let sent = self.send(|body, _| {
            if let Err(stop) = members.iter().try_for_each(|member| body.put(member, progress)) {
                body.abort();
                return Err(stop);
            }
            body.finish()
        });
        match sent {
            Ok(()) => Ok(()),
            Err(SendError::Engine(error)) => Err(error),
            Err(SendError::NoPipes) => Err(EngineError::Load { reason: "no pipe was asked for".into() }),
        }
    }

    /// Where the engine would make pipes.
    fn pipe_folder(&self) -> Option<PipeFolder> {
        // Another store reads archives in another way.
        let status = self.info.driver_status.iter().flatten().flatten();
        let is_containerd = status.into_iter().any(|word| word.contains("io.containerd."));
        if is_containerd { None } else { PipeFolder::open(&self.data_folder()?.join("tmp")) }
    }

    /// Sends what `feed` makes, and hears what the engine says to it.
    fn send(&self, feed: impl FnOnce(Body, &AtomicBool) -> Result<(), Stop> + Send) -> Result<(), SendError> {
        let (body, mut reader) = body();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let feeder = scope.spawn(|| feed(body, &is_over));
            let answer = self.runtime.block_on(async {
                let options = ImportImageOptionsBuilder::new().quiet(true).build();
                let bytes = stream::poll_fn(move |context| reader.poll_recv(context));
                let mut answer = std::pin::pin!(self.docker.import_image_stream(options, bytes, None));
                while let Some(said) = answer.next().await {
                    let said = said.map_err(reason_of)?;
                    if let Some(detail) = said.error_detail {
                        return Err(detail.message.unwrap_or_default());
                    }
                }
                Ok(())
            });
            is_over.store(true, Ordering::Relaxed);
            let sent = feeder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (sent, answer) {
                (Err(Stop::NoPipes), _) => Err(SendError::NoPipes),
                (Err(Stop::Fault(error)), _) => Err(SendError::Engine(error)),
                (_, Err(reason)) => Err(SendError::Engine(EngineError::Load { reason })),
                (Err(Stop::Refused), Ok(())) => {
                    let reason = "it stopped in the middle, and did not say why".into();
                    Err(SendError::Engine(EngineError::Load { reason }))
                }
                (Ok(()), Ok(())) => Ok(()),
            }
        })
    }
}

enum SendError {
    NoPipes,
    Engine(EngineError),
}

fn reason_of(error: bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerStreamError { error } => error,
        bollard::errors::Error::DockerResponseServerError { message, .. } => message,
        error => {
            let mut reason = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                reason = format!("{reason}: {error}");
                source = error.source();
            }
            reason
        }
    }
}

/// Sends an archive whose layers are pipes, then the layers through them.
fn feed_pipes(
    config: &[u8],
    layers: &[LoadLayer<'_>],
    folder: &PipeFolder,
    body: Body,
    is_over: &AtomicBool,
    progress: Progress<'_>,
) -> Result<(), Stop> {
    let config_name = PipeFolder::name("json");
    let name = |index: usize| PipeFolder::name(&format!("{index}.tar"));
    let [config, manifest] = archive::docker_documents(config, layers, config_name.clone(), name);
    let announce = || {
        // Nothing would ever let go of a pipe that is made where we do not see it: so what is no pipe goes
        // first.
        body.put(&config, progress)?;
        let import = folder.find(&config_name, is_over)?;
        for index in (0..layers.len()).filter(|&index| layers[index].tar.is_some()) {
            body.put(&Member { name: name(index), content: MemberContent::Pipe }, progress)?;
        }
        body.put(&manifest, progress)?;
        Ok(import)
    };
    let import = match announce() {
        Ok(import) => import,
        Err(stop) => {
            body.abort();
            return Err(stop);
        }
    };
    body.finish()?;
    for (index, layer) in layers.iter().enumerate() {
        let Some(tar) = layer.tar else { continue };
        let mut pipe = import.open(&name(index), is_over, progress)?;
        copy(tar, is_last_use(layers, index), progress, |bytes| pipe.write(&bytes))?;
    }
    Ok(())
}
