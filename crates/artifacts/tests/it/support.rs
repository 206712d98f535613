//! A store for one test, and versions in it.

use std::fs;
use std::path::{Path, PathBuf};

use fluvial_artifacts::{
    AddError, BLOCK_LEN_BYTES_DEFAULT, BuildInfo, Entry, Filter, ImageId, Manifest, NewImage, NewVersion,
    Pair, PairOptions, Store, Stored, Version, VersionId,
};
use tempfile::TempDir;

/// A store in a folder of its own, and files to be added.
pub struct Depot {
    folder: TempDir,
    pub store: Store,
    pub of: ImageId,
}

impl Depot {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("artifacts"));
        let of = ImageId { machine: "qemux86-64".parse().unwrap(), image: "image-prod".parse().unwrap() };
        Self { folder, store, of }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn id(&self, text: &str) -> VersionId {
        self.of.version(&version(text))
    }

    /// A version with a rootfs and a boot partition whose content depends on its name.
    pub fn new_version(&self, text: &str) -> NewVersion {
        let image = |name: &str, blocks: usize| {
            let bytes = format!("{name} of {text} ").repeat(1000).into_bytes();
            let path = self.write(&format!("{name}-{text}.img"), &bytes[..512 * blocks]);
            new_image(name, &path)
        };
        NewVersion {
            id: self.id(text),
            distribution: Some("poky".parse().unwrap()),
            images: vec![image("rootfs", 16), image("boot", 3)],
            build_info: BuildInfo::from_lines(["INIT_MANAGER=systemd"]).unwrap(),
            build_notes: BuildInfo::from_lines([format!("COMMIT=of {text}").as_str()]).unwrap(),
            time_unix_s: None,
        }
    }

    pub fn add(&self, text: &str) -> Manifest {
        self.try_add(&self.new_version(text)).unwrap()
    }

    pub fn try_add(&self, new: &NewVersion) -> Result<Manifest, AddError> {
        self.store.add(new, &|_| true)
    }

    pub fn pair(&self, from: &str, to: &str) -> Pair {
        self.store.pair(&self.of, &version(from), &version(to), &PairOptions::default()).unwrap()
    }

    pub fn versions(&self) -> Vec<String> {
        self.store.versions(&self.of).unwrap().into_iter().map(|version| version.to_string()).collect()
    }

    /// The versions that the store lists.
    pub fn stored(&self) -> Vec<Stored> {
        let entries = self.store.list(&Filter::default()).unwrap();
        entries
            .into_iter()
            .filter_map(|entry| if let Entry::Version(stored) = entry { Some(*stored) } else { None })
            .collect()
    }

    /// Everything below the store, by path.
    pub fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        gather(self.store.root(), self.store.root(), &mut names);
        names.sort();
        names
    }
}

fn gather(root: &Path, folder: &Path, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        names.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        if entry.file_type().unwrap().is_dir() {
            gather(root, &entry.path(), names);
        }
    }
}

pub fn new_image(name: &str, path: &Path) -> NewImage {
    NewImage {
        name: name.parse().unwrap(),
        path: path.into(),
        partition_bytes: None,
        block_len_bytes: BLOCK_LEN_BYTES_DEFAULT,
    }
}

pub fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// Files in the store are not written by mistake; this is on purpose.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}
