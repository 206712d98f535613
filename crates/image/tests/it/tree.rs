//! A folder with every kind of file that a reader can stumble over.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;

/// A folder and what is in it.
pub struct Tree {
    /// Deleted with the tree.
    pub scratch: TempDir,
    /// Regular files that are not empty: lossy path to content.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Paths of one file, by path. Formats with links name only one of them.
    pub twins: BTreeMap<String, Vec<String>>,
}

impl Tree {
    /// Builds it. The same bytes every time.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        fs::create_dir_all(root.join("usr/share/deep/er")).unwrap();
        fs::create_dir_all(root.join("many")).unwrap();
        let write = |path: &str, bytes: &[u8]| fs::write(root.join(path), bytes).unwrap();
        write("empty", b"");
        write("one", b"1");
        write("text", text(3_000).as_bytes());
        write("usr/share/prose", text(700_000).as_bytes());
        write("usr/share/block", text(1 << 17).as_bytes());
        write("usr/share/noise", &noise(7, 500_000));
        write("usr/share/mixed", &mixed());
        write("usr/share/page", &noise(8, 4096));
        write("usr/share/zeros", &vec![0; 300_000]);
        for number in 0..400 {
            write(&format!("many/file-{number:03}"), seeded_text(number as u32, number * 37).as_bytes());
        }
        let long = format!("usr/share/deep/er/{}", "long-name-".repeat(20));
        write(&long, b"a name that needs an extension header");
        fs::write(root.join(OsStr::from_bytes(b"not-utf8-\xff\xfe")), b"bytes are names too").unwrap();
        let mut sparse = File::create(root.join("sparse")).unwrap();
        sparse.write_all(&noise(9, 10_000)).unwrap();
        sparse.seek(SeekFrom::Start(1 << 20)).unwrap();
        sparse.write_all(text(50_000).as_bytes()).unwrap();
        sparse.set_len(3 << 20).unwrap();
        fs::hard_link(root.join("text"), root.join("usr/text-again")).unwrap();
        symlink("text", root.join("link")).unwrap();
        symlink("/etc/passwd", root.join("usr/outside")).unwrap();
        let mut tree = Self { scratch, files: BTreeMap::new(), twins: BTreeMap::new() };
        tree.note(&root, "");
        tree
    }

    /// The folder's path.
    pub fn root(&self) -> std::path::PathBuf {
        self.scratch.path().join("root")
    }

    fn note(&mut self, folder: &Path, prefix: &str) {
        let mut inodes: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        self.note_folder(folder, prefix, &mut inodes);
        for paths in inodes.into_values() {
            for path in &paths {
                self.twins.insert(path.clone(), paths.clone());
            }
        }
    }

    fn note_folder(&mut self, folder: &Path, prefix: &str, inodes: &mut BTreeMap<u64, Vec<String>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let metadata = entry.path().symlink_metadata().unwrap();
            if metadata.is_dir() {
                self.note_folder(&entry.path(), &format!("{path}/"), inodes);
            } else if metadata.is_file() && metadata.len() > 0 {
                inodes.entry(metadata.ino()).or_default().push(path.clone());
                self.files.insert(path, fs::read(entry.path()).unwrap());
            }
        }
    }
}

/// Text of `len` bytes that compresses well but not absurdly so.
pub fn text(len: usize) -> String {
    seeded_text(1, len)
}

fn seeded_text(seed: u32, len: usize) -> String {
    let words = ["delta", "fleet", "slot", "release", "patch", "block", "the", "of", "inode", "extent"];
    let mut text = String::with_capacity(len + 16);
    let mut state = seed.wrapping_mul(0x9e37_79b9);
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(words[(state >> 16) as usize % words.len()]);
        text.push(if state & 0x0700_0000 == 0 { '\n' } else { ' ' });
    }
    text.truncate(len);
    text
}

/// Bytes that do not compress.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Stretches of both kinds, of odd lengths: packed and stored blocks in one file.
fn mixed() -> Vec<u8> {
    let mut bytes = Vec::new();
    for stretch in 0..12 {
        bytes.extend_from_slice(text(20_011 * (stretch % 3 + 1)).as_bytes());
        bytes.extend_from_slice(&noise(stretch as u64, 9_973 * (stretch % 4 + 1)));
    }
    bytes
}
