//! An OCI image layout that holds every image of the bench with plain layers: each layer stands there once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::data::part;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The annotation that names an image in a layout.
const TAG: &str = "org.opencontainers.image.ref.name";
/// Every image is of the same moment: its digest tells what is in it, not when it was built.
const CREATED: &str = "2026-01-01T00:00:00Z";

/// How much of a file is read at once.
const READ_BYTES: usize = 64 << 10;

/// A layer in the layout.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    pub name: String,
    /// SHA-256 of the plain tar, in hex: its diff id and its blob's name.
    pub digest: String,
    pub bytes: u64,
}

/// An image read back: its config and layers by digest, in hex.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    pub config: String,
    pub layers: Vec<String>,
}

/// The folder of a layout.
pub struct Layout {
    folder: PathBuf,
    /// Manifest descriptors by tag.
    images: BTreeMap<String, Value>,
}

impl Layout {
    /// Opens a layout with the images that it has, or begins one. Blobs may be there before any image is.
    ///
    /// # Errors
    /// When the folder cannot be made, or holds something else.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
        let images = match fs::read(folder.join("index.json")) {
            Ok(text) => images_of(&text)?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Self { folder: folder.to_owned(), images })
    }

    /// How skopeo and fluvial name an image of it.
    pub fn reference(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.folder.display())
    }

    /// Where a layer, config or manifest stands.
    pub fn blob(&self, digest: &str) -> PathBuf {
        blob(&self.folder, digest)
    }

    /// Puts an image of layers that are there into the layout, in the place of one of the same tag.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn put(&mut self, tag: &str, command: &[&str], layers: &[Layer]) -> Result<()> {
        let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect();
        let history = layers.iter().map(|layer| json!({"created": CREATED, "created_by": layer.name}));
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": CREATED,
            "config": {
                "Cmd": command,
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history.collect::<Vec<_>>(),
        });
        let layers = layers.iter().map(
            |layer| json!({"mediaType": LAYER_TYPE, "digest": format!("sha256:{}", layer.digest), "size": layer.bytes}),
        );
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": self.put_blob(CONFIG_TYPE, &config)?,
            "layers": layers.collect::<Vec<_>>(),
        });
        let mut entry = self.put_blob(MANIFEST_TYPE, &manifest)?;
        entry["annotations"] = json!({ TAG: tag });
        self.images.insert(tag.to_owned(), entry);
        let manifests: Vec<&Value> = self.images.values().collect();
        write(
            &self.folder.join("index.json"),
            &json!({"schemaVersion": 2, "manifests": manifests}).to_string(),
        )
    }

    fn put_blob(&self, media_type: &str, value: &Value) -> Result<Value> {
        let text = value.to_string();
        let digest = hex(&Sha256::digest(text.as_bytes()));
        write(&self.blob(&digest), &text)?;
        Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": text.len()}))
    }

    /// An image of this layout.
    ///
    /// # Errors
    /// When there is none of that tag.
    pub fn image(&self, tag: &str) -> Result<Image> {
        let entry = self.images.get(tag).with_context(|| format!("no image {tag}"))?;
        read_manifest(&self.folder, entry)
    }
}

/// The manifests that an index lists, by tag.
fn images_of(index: &[u8]) -> Result<BTreeMap<String, Value>> {
    let index: Value = serde_json::from_slice(index)?;
    let entries = index["manifests"].as_array().context("index.json lists no images")?;
    let tag = |entry: &Value| Some(entry["annotations"][TAG].as_str()?.to_owned());
    Ok(entries.iter().filter_map(|entry| Some((tag(entry)?, entry.clone()))).collect())
}

/// The only image of a layout that another program wrote.
///
/// # Errors
/// When it is no layout of one image.
pub fn only_image(folder: &Path) -> Result<Image> {
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json"))?)?;
    let entries = index["manifests"].as_array().context("index.json lists no images")?;
    ensure!(entries.len() == 1, "{} images in {}", entries.len(), folder.display());
    read_manifest(folder, &entries[0])
}

fn read_manifest(folder: &Path, entry: &Value) -> Result<Image> {
    let digest = |value: &Value| -> Result<String> {
        let digest = value["digest"].as_str().and_then(|text| text.strip_prefix("sha256:"));
        Ok(digest.context("a descriptor without a digest")?.to_owned())
    };
    let manifest: Value = serde_json::from_slice(&fs::read(blob(folder, &digest(entry)?))?)?;
    let layers = manifest["layers"].as_array().context("a manifest without layers")?;
    Ok(Image {
        config: digest(&manifest["config"])?,
        layers: layers.iter().map(digest).collect::<Result<_>>()?,
    })
}

/// Where a blob stands in a layout.
pub fn blob(folder: &Path, digest: &str) -> PathBuf {
    folder.join("blobs/sha256").join(digest)
}

/// The SHA-256 of a file, in hex, and its length.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(path: &Path) -> Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut file = fs::File::open(path).with_context(|| path.display().to_string())?;
    // In steps, so that this program stays small: see `measure`.
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            return Ok((hex(&hasher.finalize()), bytes));
        }
        hasher.update(&buffer[..len]);
        bytes += len as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    let part = part(path);
    fs::write(&part, text)?;
    fs::rename(&part, path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_back_as_it_was_put() {
        let folder = tempfile::tempdir().unwrap();
        let mut layout = Layout::open(folder.path()).unwrap();
        let tar = folder.path().join("tar");
        fs::write(&tar, "abc").unwrap();
        let (digest, bytes) = digest_of(&tar).unwrap();
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let layer = Layer { name: "one".to_owned(), digest: digest.clone(), bytes };
        layout.put("A-old", &["sh"], std::slice::from_ref(&layer)).unwrap();
        let image = layout.image("A-old").unwrap();
        assert_eq!(image.layers, [digest]);
        assert_eq!(only_image(folder.path()).unwrap(), image);
        assert_eq!(digest_of(&layout.blob(&image.config)).unwrap().0, image.config);
        layout.put("A-old", &["sh"], &[layer.clone(), layer]).unwrap();
        assert_eq!(only_image(folder.path()).unwrap().layers.len(), 2, "the same tag is replaced");
        let mut again = Layout::open(folder.path()).unwrap();
        again.put("B-old", &["sh"], &[]).unwrap();
        assert_eq!(again.image("A-old").unwrap().layers.len(), 2, "other images stay");
    }
}
