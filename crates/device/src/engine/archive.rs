//! The members of a partial archive: an image without the layers that the engine has.
//!
//! Docker takes what `docker save` writes (Docker Image Specification 1.3), Podman that and an OCI image
//! layout in a tar (OCI Image Format Specification 1.1); only of the latter does it miss no layers.

use fluvial_delta::structure::ReadAt;
use fluvial_image::oci::digest_text;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::feed::Content;
use super::load::LoadLayer;

pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// A member of an archive.
pub(super) struct Member<'a> {
    pub(super) name: String,
    pub(super) content: MemberContent<'a>,
}

/// What a member holds.
pub(super) enum MemberContent<'a> {
    /// A few bytes.
    Bytes(Vec<u8>),
    /// A layer. Nobody reads it after its last use.
    Layer { tar: &'a dyn Content, is_last_use: bool },
    /// A named pipe, through which a layer will come.
    Pipe,
}

impl<'a> Member<'a> {
    fn bytes(name: String, bytes: Vec<u8>) -> Self {
        Self { name, content: MemberContent::Bytes(bytes) }
    }

    fn layer(name: String, layers: &[LoadLayer<'a>], index: usize) -> Option<Self> {
        let tar = layers[index].tar?;
        let content = MemberContent::Layer { tar, is_last_use: is_last_use(layers, index) };
        Some(Self { name, content })
    }
}

/// Whether the layer at `index` does not come again: an empty one often does.
pub(super) fn is_last_use(layers: &[LoadLayer<'_>], index: usize) -> bool {
    layers[index + 1..].iter().all(|later| later.diff_id != layers[index].diff_id)
}

/// The members of an archive as `docker save` writes it, but for the layers: `name` names the config, and
/// layers by their index.
pub(super) fn docker_documents<'a>(
    config: &[u8],
    layers: &[LoadLayer<'_>],
    config_name: String,
    layer_name: impl Fn(usize) -> String,
) -> [Member<'a>; 2] {
    let names: Vec<String> = (0..layers.len()).map(layer_name).collect();
    let manifest = json!([{ "Config": config_name, "RepoTags": [], "Layers": names }]);
    [
        Member::bytes(config_name, config.to_vec()),
        Member::bytes("manifest.json".into(), manifest.to_string().into_bytes()),
    ]
}

/// A whole archive as `docker save` writes it.
pub(super) fn docker<'a>(config: &[u8], layers: &[LoadLayer<'a>]) -> Vec<Member<'a>> {
    let name = |index: usize| format!("{index}/layer.tar");
    let [config, manifest] = docker_documents(config, layers, "config.json".into(), name);
    let layers = (0..layers.len()).filter_map(|index| Member::layer(name(index), layers, index));
    [config].into_iter().chain(layers).chain([manifest]).collect()
}

/// The documents of an image whose layers are plain tars. Their digests are the diff ids, by which an engine
/// finds those that it has; it does not ask for the length of these.
pub(super) struct Documents {
    pub(super) manifest: Vec<u8>,
    pub(super) manifest_digest: String,
    pub(super) config_digest: String,
}

impl Documents {
    pub(super) fn of(config: &[u8], layers: &[LoadLayer<'_>]) -> Self {
        let descriptor = |layer: &LoadLayer<'_>| {
            let len = layer.tar.map_or(0, ReadAt::len);
            json!({ "mediaType": LAYER_TYPE, "digest": digest_text(&layer.diff_id), "size": len })
        };
        let config_digest = digest_of_bytes(config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": config_digest, "size": config.len() },
            "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        Self { manifest_digest: digest_of_bytes(&manifest), manifest, config_digest }
    }
}

/// A whole archive of an OCI image layout.
pub(super) fn oci<'a>(config: &[u8], layers: &[LoadLayer<'a>]) -> Vec<Member<'a>> {
    let Documents { manifest, manifest_digest, config_digest } = Documents::of(config, layers);
    let name = |digest: &str| format!("blobs/{}", digest.replacen(':', "/", 1));
    let descriptor = json!({ "mediaType": MANIFEST_TYPE, "digest": manifest_digest, "size": manifest.len() });
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
    let layout = json!({ "imageLayoutVersion": "1.0.0" });
    let mut members = vec![
        Member::bytes("oci-layout".into(), layout.to_string().into_bytes()),
        Member::bytes("index.json".into(), index.to_string().into_bytes()),
        Member::bytes(name(&manifest_digest), manifest),
        Member::bytes(name(&config_digest), config.to_vec()),
    ];
    // Where a layer stands twice, its blob stands once.
    let last_uses = (0..layers.len()).filter(|&index| is_last_use(layers, index));
    members.extend(
        last_uses
            .filter_map(|index| Member::layer(name(&digest_text(&layers[index].diff_id)), layers, index)),
    );
    members
}

fn digest_of_bytes(bytes: &[u8]) -> String {
    digest_text(&Sha256::digest(bytes).into())
}
