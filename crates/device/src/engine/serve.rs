//! An image offered to an engine on this machine as a registry would offer it.
//!
//! Podman keeps an archive that it loads three times before it is unpacked, and a layer that it pulls once.
//! So it pulls from here: an HTTP server on a free port of the loopback address, for one image and as long
//! as one pull (OCI Distribution Specification 1.1, the part that pulls need).

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Method, Response, StatusCode, Uri};
use bytes::Bytes;
use fluvial_image::oci::digest_text;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::mpsc::{Sender, channel};

use super::archive::{CONFIG_TYPE, Documents, LAYER_TYPE, MANIFEST_TYPE};
use super::feed::{Stop, copy};
use super::load::{LoadLayer, Progress};
use super::{Engine, EngineError};

/// The image's name in the registry, and its tag.
const NAME: &str = "fluvial";
const TAG: &str = "latest";
/// Pieces of a layer on their way to the engine.
const STEPS: usize = 2;
/// How often it is looked whether the work is over, in milliseconds.
const LOOK_INTERVAL_MS: u64 = 50;

type Pieces = Sender<Result<Bytes, io::Error>>;

/// What can be asked for, by its path.
#[derive(Clone)]
enum Offer {
    Document {
        kind: &'static str,
        bytes: Bytes,
    },
    /// A layer, by its index.
    Layer {
        index: usize,
        len: u64,
    },
}

/// A pull that failed.
pub(super) struct PullError {
    pub(super) error: EngineError,
    /// Whether layers were given away meanwhile: then nothing can be tried again.
    pub(super) has_begun: bool,
}

impl Engine {
    /// Lets the engine pull an image from here. Answers the name by which it knows it then.
    pub(super) fn pull_from_here(
        &self,
        config: &[u8],
        layers: &[LoadLayer<'_>],
        progress: Progress<'_>,
    ) -> Result<String, PullError> {
        let (asked, requests) = mpsc::channel::<(usize, Pieces)>();
        let [has_begun, is_over, is_cancelled] = [const { AtomicBool::new(false) }; 3];
        let is_offered_once =
            |index: usize| layers[..index].iter().all(|l| l.diff_id != layers[index].diff_id);
        let give = |index: usize, pieces: &Pieces| {
            has_begun.store(true, Ordering::Relaxed);
            let Some(tar) = layers[index].tar else { return };
            let send = |bytes| pieces.blocking_send(Ok(bytes)).map_err(|_| Stop::Refused);
            // Who asks twice for a layer has none of it.
            if let Err(Stop::Fault(error)) = copy(tar, true, progress, send) {
                is_cancelled.store(matches!(error, EngineError::Cancelled), Ordering::Relaxed);
                let _ = pieces.blocking_send(Err(io::Error::other(error)));
            }
        };
        let pulled = std::thread::scope(|scope| {
            let (give, is_over) = (&give, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    match requests.recv_timeout(Duration::from_millis(LOOK_INTERVAL_MS)) {
                        Ok((index, pieces)) => drop(scope.spawn(move || give(index, &pieces))),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
            });
            let offers = offers(config, layers, is_offered_once);
            let pulled = self.pull(offers, asked, &is_cancelled);
            is_over.store(true, Ordering::Relaxed);
            pulled
        });
        pulled.map_err(|error| PullError { error, has_begun: has_begun.load(Ordering::Relaxed) })
    }

    /// Serves until the engine has pulled. When this returns, nobody listens any more.
    fn pull(
        &self,
        offers: HashMap<String, Offer>,
        asked: mpsc::Sender<(usize, Pieces)>,
        is_cancelled: &AtomicBool,
    ) -> Result<String, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(EngineError::System)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let listener = listener.map_err(EngineError::System)?;
            let port = listener.local_addr().map_err(EngineError::System)?.port();
            let offers = Arc::new(offers);
            let answer = move |method: Method, uri: Uri| {
                let response = answer(&offers, &asked, &method, uri.path());
                async { response }
            };
            tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
            let name = format!("{}:{port}/{NAME}:{TAG}", Ipv4Addr::LOCALHOST);
            let cancelled = async {
                while !is_cancelled.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(LOOK_INTERVAL_MS)).await;
                }
            };
            tokio::select! {
                () = cancelled => Err(EngineError::Cancelled),
                pulled = self.ask_to_pull(&name) => pulled.map(|()| name),
            }
        })
    }

    /// Podman's own interface: the one that it shares with Docker cannot ask for plain HTTP.
    async fn ask_to_pull(&self, name: &str) -> Result<(), EngineError> {
        let failed = |error: reqwest::Error| EngineError::Load { reason: error.to_string() };
        // It is asked for even where nothing is encrypted; an error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().unix_socket(self.socket.as_path()).no_proxy().build();
        let url = format!("http://podman/v4.0.0/libpod/images/pull?reference={name}&tlsVerify=false");
        let response = client.map_err(failed)?.post(url).send().await.map_err(failed)?;
        let text = response.text().await.map_err(failed)?;
        let said: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let error = said.iter().find_map(|line| line["error"].as_str().or(line["cause"].as_str()));
        match error {
            Some(reason) => Err(EngineError::Load { reason: reason.into() }),
            None if said.iter().any(|line| line["id"].is_string()) => Ok(()),
            None => Err(EngineError::Load { reason: "it does not say whether it pulled".into() }),
        }
    }
}

fn offers(
    config: &[u8],
    layers: &[LoadLayer<'_>],
    is_offered_once: impl Fn(usize) -> bool,
) -> HashMap<String, Offer> {
    let Documents { manifest, manifest_digest, config_digest } = Documents::of(config, layers);
    let blob = |digest: &str| format!("/v2/{NAME}/blobs/{digest}");
    let manifest = Offer::Document { kind: MANIFEST_TYPE, bytes: manifest.into() };
    let config = Offer::Document { kind: CONFIG_TYPE, bytes: Bytes::copy_from_slice(config) };
    let root = Offer::Document { kind: "application/json", bytes: Bytes::from_static(b"{}") };
    let mut offers = HashMap::from([
        ("/v2/".to_owned(), root),
        (format!("/v2/{NAME}/manifests/{TAG}"), manifest.clone()),
        (format!("/v2/{NAME}/manifests/{manifest_digest}"), manifest),
        (blob(&config_digest), config),
    ]);
    for (index, layer) in layers.iter().enumerate().filter(|(index, _)| is_offered_once(*index)) {
        if let Some(tar) = layer.tar {
            offers.insert(blob(&digest_text(&layer.diff_id)), Offer::Layer { index, len: tar.len() });
        }
    }
    offers
}

fn answer(
    offers: &HashMap<String, Offer>,
    asked: &mpsc::Sender<(usize, Pieces)>,
    method: &Method,
    path: &str,
) -> Response<Body> {
    let refuse = |status: StatusCode| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    };
    if method != Method::GET && method != Method::HEAD {
        return refuse(StatusCode::METHOD_NOT_ALLOWED);
    }
    let Some(offer) = offers.get(path) else { return refuse(StatusCode::NOT_FOUND) };
    let (kind, len, body) = match offer.clone() {
        Offer::Document { kind, bytes } => (kind, bytes.len() as u64, Body::from(bytes)),
        Offer::Layer { len, .. } if method == Method::HEAD => (LAYER_TYPE, len, Body::empty()),
        Offer::Layer { index, len } => {
            let (pieces, mut reader) = channel(STEPS);
            if asked.send((index, pieces)).is_err() {
                return refuse(StatusCode::SERVICE_UNAVAILABLE);
            }
            let stream = stream::poll_fn(move |context| reader.poll_recv(context));
            (LAYER_TYPE, len, Body::from_stream(stream))
        }
    };
    let response = Response::builder().header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, len);
    response.body(body).unwrap_or_else(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR))
}
