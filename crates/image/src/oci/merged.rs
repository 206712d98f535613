//! The root file system that a container sees: layers on top of one another.
//!
//! Rules: OCI Image Layer Filesystem Changeset (image-spec, layer.md). A file named `.wh.NAME` takes NAME
//! out of the layers below, `.wh..wh..opq` all of a folder.

use std::collections::{BTreeMap, HashMap};

use fluvial_delta::structure::Extent;

use super::{ImageError, LayerTar, Slice};
use crate::catalogue::{PATHS_BYTES_MAX, part_path};
use crate::tar::{Kind, Metadata, Walk};

/// Entries of all layers together at most.
const ENTRIES_MAX: usize = 1 << 22;
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..opq";

/// A regular file of the merged file system.
#[derive(Debug, Clone)]
pub struct MergedFile {
    /// Path without a leading slash.
    pub path: String,
    /// Which layer it stands in, from the lowest.
    pub layer: usize,
    /// Where its bytes start in that layer's tar.
    pub offset: u64,
    /// Its bytes.
    pub content: Slice,
}

/// What stands at a path of a root file system, wherever that is kept.
#[derive(Debug, Clone)]
pub struct TreeEntry<C> {
    /// Path without a leading slash, and without one at its end.
    pub path: String,
    /// Which layer it stands in, from the lowest.
    pub layer: usize,
    /// What the file system says of it.
    pub metadata: Metadata,
    /// What it is.
    pub kind: TreeKind<C>,
}

/// What an entry of a root file system is.
#[derive(Debug, Clone)]
pub enum TreeKind<C> {
    /// A regular file, and its content.
    File(C),
    /// A folder.
    Folder,
    /// A symbolic link to this path.
    Link(Vec<u8>),
    /// A regular file whose content cannot be read here: a layer has it in pieces.
    Scattered,
}

/// What stands at a path.
#[derive(Debug, Clone)]
struct Found {
    /// The layer that has put it there.
    layer: usize,
    /// Where it stands in that layer's tar.
    offset: u64,
    metadata: Metadata,
    kind: FoundKind,
}

#[derive(Debug, Clone)]
enum FoundKind {
    /// Where its content stands: layer and extent; `None` where it stands in pieces.
    File(Option<(usize, Extent)>),
    Folder,
    Link(Vec<u8>),
    Other,
}

impl Found {
    fn is_folder(&self) -> bool {
        matches!(self.kind, FoundKind::Folder)
    }
}

/// Merges layers, the lowest first; answers the regular files that have bytes, by path. Files whose name is
/// not UTF-8 are left out: a patch cannot name them. Memory: about 300 bytes for each entry.
///
/// # Errors
/// [`ImageError::Limit`]; [`ImageError::Content`] for a layer that is no tar.
pub fn merge(layers: &[LayerTar]) -> Result<Vec<MergedFile>, ImageError> {
    let file = |(path, found): (String, Found)| {
        let FoundKind::File(Some((layer, extent))) = found.kind else { return None };
        if extent.len == 0 || is_unspeakable(&path) {
            return None;
        }
        Some(MergedFile { path, layer, offset: extent.offset, content: layers[layer].tar.part(extent) })
    };
    Ok(found_in(layers)?.into_iter().filter_map(file).collect())
}

/// Merges layers, the lowest first; answers folders, files and links, each folder before what is in it, and
/// names in a folder in the order of their bytes, as whoever walks through a file system. What is not UTF-8,
/// devices and pipes are left out. Memory: about 300 bytes for each entry.
///
/// # Errors
/// As [`merge`].
pub fn tree(layers: &[LayerTar]) -> Result<Vec<TreeEntry<Slice>>, ImageError> {
    let entry = |(path, found): (String, Found)| {
        let kind = match found.kind {
            _ if is_unspeakable(&path) => return None,
            FoundKind::File(Some((layer, extent))) => TreeKind::File(layers[layer].tar.part(extent)),
            FoundKind::File(None) => TreeKind::Scattered,
            FoundKind::Folder => TreeKind::Folder,
            FoundKind::Link(target) => TreeKind::Link(target),
            FoundKind::Other => return None,
        };
        Some(TreeEntry { path, layer: found.layer, metadata: found.metadata, kind })
    };
    let mut entries: Vec<_> = found_in(layers)?.into_iter().filter_map(entry).collect();
    entries.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    Ok(entries)
}

/// Where each path stands: its layer, and its offset in that layer's tar.
///
/// # Errors
/// As [`merge`].
pub fn places(layers: &[LayerTar]) -> Result<HashMap<String, (usize, u64)>, ImageError> {
    let place = |(path, found): (String, Found)| (path, (found.layer, found.offset));
    Ok(found_in(layers)?.into_iter().map(place).collect())
}

/// Whether a path cannot be named: it is not UTF-8.
pub fn is_unspeakable(path: &str) -> bool {
    path.contains(char::REPLACEMENT_CHARACTER)
}

fn found_in(layers: &[LayerTar]) -> Result<BTreeMap<String, Found>, ImageError> {
    let mut tree: BTreeMap<String, Found> = BTreeMap::new();
    let (mut entries, mut path_bytes) = (0, 0);
    for (index, layer) in layers.iter().enumerate() {
        let mut walk = Walk::new(&layer.tar);
        for entry in walk.by_ref().filter(|entry| !entry.is_extension()) {
            let path = part_path(&entry.path);
            let path = path.trim_end_matches('/');
            entries += 1;
            path_bytes += path.len();
            let limit = |what, have: usize, limit: usize| {
                let (have, limit) = (have as u64, limit as u64);
                if have <= limit { Ok(()) } else { Err(ImageError::Limit { what, have, limit }) }
            };
            limit("the image's list of files", entries, ENTRIES_MAX)?;
            limit("the image's file names", path_bytes, PATHS_BYTES_MAX)?;
            let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
            if name.is_empty() || path.split('/').any(|step| step == "..") {
                continue;
            }
            if let Some(hidden) = name.strip_prefix(WHITEOUT) {
                if hidden == OPAQUE {
                    remove_below(&mut tree, folder, index);
                } else if !hidden.is_empty() && !hidden.starts_with(WHITEOUT) {
                    let hidden = if folder.is_empty() { hidden.into() } else { format!("{folder}/{hidden}") };
                    remove(&mut tree, &hidden, index);
                }
                continue;
            }
            let offset = entry.offset;
            let mut metadata = entry.metadata;
            let kind = match entry.kind {
                Kind::File => {
                    FoundKind::File((!entry.is_sparse).then_some((index, Extent { offset, len: entry.len })))
                }
                Kind::Folder => FoundKind::Folder,
                Kind::SymbolicLink(target) => FoundKind::Link(target),
                // The same file by another name.
                Kind::HardLink(target) => match tree.get(part_path(&target).as_str()) {
                    Some(found) => {
                        metadata = found.metadata;
                        found.kind.clone()
                    }
                    None => FoundKind::Other,
                },
                Kind::Other => FoundKind::Other,
            };
            let found = Found { layer: index, offset, metadata, kind };
            let before = tree.get(path);
            if !found.is_folder() && before.is_some_and(Found::is_folder) {
                remove_below(&mut tree, path, index + 1);
            }
            tree.insert(path.to_owned(), found);
        }
        if !walk.is_at_end() {
            let digest = super::layer::digest_text(&layer.diff_id);
            let problem = "is no tar that can be read to its end".into();
            return Err(ImageError::Content { what: "the layer", digest, problem });
        }
    }
    Ok(tree)
}

/// Takes a path out of the layers below `layer`, with everything in it.
fn remove(tree: &mut BTreeMap<String, Found>, path: &str, layer: usize) {
    if tree.get(path).is_some_and(|found| found.layer < layer) {
        tree.remove(path);
    }
    remove_below(tree, path, layer);
}

/// Takes what stands in a folder out of the layers below `layer`.
fn remove_below(tree: &mut BTreeMap<String, Found>, folder: &str, layer: usize) {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let hidden: Vec<String> = tree
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .filter(|(_, found)| found.layer < layer)
        .map(|(path, _)| path.clone())
        .collect();
    for path in hidden {
        tree.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;

    use super::*;

    /// A layer: names with contents; a name with a slash at its end is a folder, a content `-> TARGET` a
    /// hard link.
    fn layer(entries: &[(&str, &str)]) -> LayerTar {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            if let Some(target) = content.strip_prefix("-> ") {
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                builder.append_link(&mut header, path, target).unwrap();
            } else if path.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                builder.append_data(&mut header, path, &[][..]).unwrap();
            } else {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
        }
        let bytes = builder.into_inner().unwrap();
        LayerTar { diff_id: [0; 32], tar: Slice::whole(Arc::new(bytes)) }
    }

    fn merged(layers: &[LayerTar]) -> Vec<(String, String)> {
        let text = |file: &MergedFile| {
            let mut text = String::new();
            file.content.reader().read_to_string(&mut text).unwrap();
            (file.path.clone(), text)
        };
        merge(layers).unwrap().iter().map(text).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn later_layers_replace_and_remove() {
        let base = layer(&[
            ("etc/", ""),
            ("etc/a", "1"),
            ("etc/b", "2"),
            ("usr/x/one", "3"),
            ("usr/x/two", "4"),
            ("var/log", "5"),
            ("empty", ""),
        ]);
        let next = layer(&[
            ("etc/.wh.a", ""),
            ("etc/b", "new"),
            // What the layer itself puts there stays, wherever the whiteout stands.
            ("usr/x/three", "6"),
            ("usr/x/.wh..wh..opq", ""),
            ("usr/x/two", "7"),
        ]);
        assert_eq!(
            merged(&[base, next]),
            pairs(&[("etc/b", "new"), ("usr/x/three", "6"), ("usr/x/two", "7"), ("var/log", "5")])
        );
    }

    #[test]
    fn a_folder_that_becomes_a_file_loses_its_files() {
        let base = layer(&[("lib/", ""), ("lib/a", "1"), ("lib-b", "2")]);
        let next = layer(&[("lib", "file")]);
        assert_eq!(merged(&[base.clone(), next]), pairs(&[("lib", "file"), ("lib-b", "2")]));
        let gone = layer(&[(".wh.lib", "")]);
        assert_eq!(merged(&[base, gone]), pairs(&[("lib-b", "2")]));
    }

    #[test]
    fn links_are_what_they_lead_to() {
        let base = layer(&[("a", "content"), ("b", "-> a")]);
        let next = layer(&[("a", "changed")]);
        assert_eq!(merged(&[base, next]), pairs(&[("a", "changed"), ("b", "content")]));
    }

    #[test]
    fn a_layer_that_is_cut_is_refused() {
        let whole = layer(&[("a", &"x".repeat(5000)), ("b", "y")]);
        let cut = LayerTar { tar: whole.tar.part(Extent { offset: 0, len: 3000 }), ..whole };
        assert!(matches!(merge(&[cut]), Err(ImageError::Content { .. })));
        let noise = LayerTar { diff_id: [0; 32], tar: Slice::whole(Arc::new(vec![7_u8; 4096])) };
        assert!(matches!(merge(&[noise]), Err(ImageError::Content { .. })));
    }
}
