//! Old files as they stand in a tar.
//!
//! A layer is a tar: before each file stands a header with its name, mode, owner and time, which the old
//! image's file system knows too. So a source is not a file alone. It is a **group**: a few entries of the
//! old image's root file system in a row, files, folders and links, written as a tar would have them. A new
//! layer that has the same files in the same order is then one run of old bytes, and a patch names hundreds of
//! sources where there are thousands of files.
//!
//! Headers are written as the old image's layers have theirs (POSIX.1-2017 ustar, GNU tar manual "Basic Tar
//! Format"). How they do is told by a [`GroupRecipe`], which a patch carries.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use fluvial_delta::structure::{Extent, ReadAt};
use fluvial_delta::wire::{WireError, WireReader, WireWriter};

use super::{ImageError, LayerTar, Slice, TreeEntry, TreeKind};
use crate::catalogue::{PATH_BYTES_MAX, part_path};
use crate::tar::{Kind, Metadata, RECORD_BYTES, Walk};

/// The version of recipes that is written and read.
const RECIPE_VERSION: u64 = 1;
/// Layers of an image at most.
const LAYERS_MAX: usize = 1 << 10;
/// Ways of writing headers in one recipe at most.
const STYLES_MAX: usize = 1 << 6;
/// Entries of a group at most: where one of them differs, the others are suspects too.
const ENTRIES_MAX: usize = 16;
/// No entry is added to a group of so many bytes and more: a device reads all of a group that it needs.
const GROUP_BYTES: u64 = 256 << 10;
/// Files in pieces that one recipe names at most, and bytes of their names.
const SCATTERED_MAX: usize = 1 << 10;
const SCATTERED_BYTES_MAX: usize = 32 << 10;
/// Bytes of a header behind the fields that differ from file to file: magic, names of owners, devices.
const TAIL_BYTES: usize = 255;
const TAIL_OFFSET: usize = RECORD_BYTES as usize - TAIL_BYTES;
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;
/// Where the rest of a long name stands in a ustar header.
const PREFIX_OFFSET: usize = 345;
const USTAR_MAGIC: &[u8] = b"ustar\0";

/// How the headers of a layer are written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Style {
    /// Whether names begin with `./`.
    has_dot: bool,
    /// Bits of the mode above `0o7777`, of files and of folders.
    file_mode: u32,
    folder_mode: u32,
    /// The type of files: `0`, or nothing in old archives.
    file_type: u8,
    tail: [u8; TAIL_BYTES],
}

/// How groups are made of an image's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecipe {
    /// Whether folders have headers: a folder that a layer does not list is there all the same once it is
    /// unpacked, with a mode and time of its own.
    has_folders: bool,
    styles: Vec<Style>,
    /// For each layer, the lowest first, which of the styles it has.
    layers: Vec<usize>,
    /// Files that are left out: a layer has them in pieces, an engine has not.
    scattered: HashSet<String>,
}

impl GroupRecipe {
    /// How layers, the lowest first, write their headers; `tree` is what they come to. Memory: a few
    /// kilobytes for each layer, and the names of its folders.
    ///
    /// # Errors
    /// [`ImageError::Limit`] for more than `LAYERS_MAX` layers, `SCATTERED_MAX` sparse files, or
    /// `SCATTERED_BYTES_MAX` bytes of their names.
    pub fn of(layers: &[LayerTar], tree: &[TreeEntry<Slice>]) -> Result<Self, ImageError> {
        let scattered = tree.iter().filter(|entry| matches!(entry.kind, TreeKind::Scattered));
        let scattered: HashSet<String> = scattered.map(|entry| entry.path.clone()).collect();
        let names_bytes = scattered.iter().map(String::len).sum();
        for (what, have, limit) in [
            ("the image's list of layers", layers.len(), LAYERS_MAX),
            ("the image's list of sparse files", scattered.len(), SCATTERED_MAX),
            ("the names of the image's sparse files", names_bytes, SCATTERED_BYTES_MAX),
        ] {
            if have > limit {
                return Err(ImageError::Limit { what, have: have as u64, limit: limit as u64 });
            }
        }
        let mut recipe = Self { has_folders: true, styles: Vec::new(), layers: Vec::new(), scattered };
        for layer in layers {
            let (style, lists_folders) = style_of(layer);
            recipe.has_folders &= lists_folders;
            let known = recipe.styles.iter().position(|known| *known == style);
            // Where there are too many, a wrong one costs some bytes of each header, no more.
            let known = known.or_else(|| (recipe.styles.len() == STYLES_MAX).then_some(0));
            recipe.layers.push(known.unwrap_or(recipe.styles.len()));
            if known.is_none() {
                recipe.styles.push(style);
            }
        }
        Ok(recipe)
    }

    /// The recipe as a patch carries it: version, whether folders have headers, styles, each layer's style,
    /// and the files that are left out.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = WireWriter::default();
        out.number(RECIPE_VERSION);
        out.number(u64::from(self.has_folders));
        out.number(self.styles.len() as u64);
        for style in &self.styles {
            out.number(u64::from(style.has_dot));
            out.number(u64::from(style.file_mode));
            out.number(u64::from(style.folder_mode));
            out.number(u64::from(style.file_type));
            out.raw(&style.tail);
        }
        out.number(self.layers.len() as u64);
        for &layer in &self.layers {
            out.number(layer as u64);
        }
        let mut scattered: Vec<&String> = self.scattered.iter().collect();
        scattered.sort();
        out.number(scattered.len() as u64);
        for path in scattered {
            out.string(path.as_bytes());
        }
        out.bytes
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = WireReader::new(bytes);
        if reader.number()? != RECIPE_VERSION {
            return Err(WireError::Invalid("how sources are made is not known here"));
        }
        let has_folders = reader.limited("whether folders have headers", 1)? == 1;
        let count = reader.count("the number of styles", STYLES_MAX)?;
        let mut styles = Vec::with_capacity(count);
        for _ in 0..count {
            styles.push(Style {
                has_dot: reader.limited("whether names begin with a dot", 1)? == 1,
                file_mode: reader.limited("the mode of files", 0o7_777_777)? as u32,
                folder_mode: reader.limited("the mode of folders", 0o7_777_777)? as u32,
                file_type: reader.limited("the type of files", 255)? as u8,
                tail: reader.raw(TAIL_BYTES)?.try_into().map_err(|_| WireError::Truncated)?,
            });
        }
        let count = reader.count("the number of layers", LAYERS_MAX)?;
        let mut layers = Vec::with_capacity(count);
        for _ in 0..count {
            let last = (styles.len() as u64).checked_sub(1).ok_or(WireError::Invalid("there is no style"))?;
            layers.push(reader.limited("a layer's style", last)? as usize);
        }
        let count = reader.count("the number of sparse files", SCATTERED_MAX)?;
        let mut scattered = HashSet::with_capacity(count);
        for _ in 0..count {
            scattered.insert(reader.name(PATH_BYTES_MAX)?);
        }
        reader.finish()?;
        Ok(Self { has_folders, styles, layers, scattered })
    }

    /// How many layers the image has that it was made for.
    pub fn layers_count(&self) -> usize {
        self.layers.len()
    }
}

/// How most files of a layer have their headers, and whether it lists all folders in which it has something.
fn style_of(layer: &LayerTar) -> (Style, bool) {
    let mut files: BTreeMap<Style, usize> = BTreeMap::new();
    let mut folder_modes: BTreeMap<u32, usize> = BTreeMap::new();
    let mut listed = HashSet::new();
    let mut needed = HashSet::new();
    for entry in Walk::new(&layer.tar).filter(|entry| !entry.is_extension()) {
        let header = tar::Header::from_byte_slice(&entry.header);
        let high_mode = header.mode().unwrap_or(0) & !0o7777;
        let path = part_path(&entry.path);
        let path = path.trim_end_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/')
            && !needed.contains(folder)
        {
            needed.insert(folder.to_owned());
        }
        match entry.kind {
            Kind::File => {
                let tail = entry.header[TAIL_OFFSET..].try_into().unwrap_or([0; TAIL_BYTES]);
                let has_dot = entry.path.starts_with(b"./");
                let file_type = entry.header[156];
                let style = Style { has_dot, file_mode: high_mode, folder_mode: 0, file_type, tail };
                *files.entry(style).or_default() += 1;
            }
            Kind::Folder => {
                *folder_modes.entry(high_mode).or_default() += 1;
                listed.insert(path.to_owned());
            }
            _ => {}
        }
    }
    let default =
        Style { has_dot: false, file_mode: 0, folder_mode: 0, file_type: b'0', tail: [0; TAIL_BYTES] };
    let mut style = most_frequent(files).unwrap_or(default);
    style.folder_mode = most_frequent(folder_modes).unwrap_or(0);
    (style, needed.is_subset(&listed))
}

fn most_frequent<T>(counts: BTreeMap<T, usize>) -> Option<T> {
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(value, _)| value)
}

/// The header of an entry.
#[derive(Debug)]
struct Head {
    path: String,
    /// Which of the recipe's styles it has.
    style: usize,
    metadata: Metadata,
    kind: HeadKind,
}

#[derive(Debug)]
enum HeadKind {
    File(u64),
    Folder,
    Link(Vec<u8>),
}

/// An entry of a group.
#[derive(Debug)]
struct Entry<C> {
    head: Head,
    /// Where its header starts, and where its content does.
    offset: u64,
    content_offset: u64,
    content: Option<C>,
}

impl<C: ReadAt> Entry<C> {
    fn content_end(&self) -> u64 {
        self.content_offset + self.content.as_ref().map_or(0, ReadAt::len)
    }

    fn end(&self) -> u64 {
        self.content_end().next_multiple_of(RECORD_BYTES)
    }

    /// Fills `buf` with bytes from `at` on, up to the entry's end at most.
    fn read_at(&self, at: u64, buf: &mut [u8], recipe: &GroupRecipe) -> io::Result<()> {
        let (head_len, len) = (self.content_offset - self.offset, self.content_end() - self.offset);
        let upto = |end: u64| end.saturating_sub(at).min(buf.len() as u64) as usize;
        let (head_end, content_end) = (upto(head_len), upto(len));
        if head_end > 0 {
            buf[..head_end].copy_from_slice(&self.head.to_bytes(recipe)[at as usize..][..head_end]);
        }
        if let Some(content) = &self.content
            && head_end < content_end
        {
            content.read_at(at.saturating_sub(head_len), &mut buf[head_end..content_end])?;
        }
        buf[content_end..].fill(0);
        Ok(())
    }
}

/// Gathers the entries of a root file system, in their order, to groups.
#[derive(Debug)]
pub struct Grouper<C> {
    recipe: Arc<GroupRecipe>,
    pending: Vec<Entry<C>>,
}

impl<C: ReadAt> Grouper<C> {
    /// Begins with no entries.
    pub fn new(recipe: GroupRecipe) -> Self {
        Self { recipe: Arc::new(recipe), pending: Vec::new() }
    }

    /// Takes the next entry; answers a group that is complete with it.
    pub fn push(&mut self, entry: TreeEntry<C>) -> Option<Group<C>> {
        let TreeEntry { path, layer, metadata, kind } = entry;
        if self.recipe.scattered.contains(&path) {
            return None;
        }
        let (kind, content) = match kind {
            TreeKind::File(content) => (HeadKind::File(content.len()), Some(content)),
            TreeKind::Folder if self.recipe.has_folders => (HeadKind::Folder, None),
            TreeKind::Link(target) => (HeadKind::Link(target), None),
            TreeKind::Folder | TreeKind::Scattered => return None,
        };
        let &style = self.recipe.layers.get(layer)?;
        let head = Head { path, style, metadata, kind };
        let offset = self.pending.last().map_or(0, Entry::end);
        let content_offset = offset + head.to_bytes(&self.recipe).len() as u64;
        let entry = Entry { head, offset, content_offset, content };
        let is_full = self.pending.len() + 1 == ENTRIES_MAX || entry.end() >= GROUP_BYTES;
        self.pending.push(entry);
        if is_full { self.finish() } else { None }
    }

    /// The last group, if entries are left.
    pub fn finish(&mut self) -> Option<Group<C>> {
        let entries = std::mem::take(&mut self.pending);
        let recipe = Arc::clone(&self.recipe);
        (!entries.is_empty()).then_some(Group { recipe, entries })
    }
}

/// Entries of a root file system in a row, as a tar would have them.
#[derive(Debug)]
pub struct Group<C> {
    recipe: Arc<GroupRecipe>,
    /// One at least.
    entries: Vec<Entry<C>>,
}

impl<C: ReadAt> Group<C> {
    /// The paths of its first and its last entry.
    pub fn paths(&self) -> [&str; 2] {
        [self.entries.first(), self.entries.last()]
            .map(|entry| entry.map_or("", |entry| entry.head.path.as_str()))
    }

    /// The files with content that it has: paths, and where their content stands.
    pub fn files(&self) -> impl Iterator<Item = (&str, Extent)> {
        self.entries.iter().filter_map(|entry| {
            let len = entry.content.as_ref()?.len();
            let extent = Extent { offset: entry.content_offset, len };
            (len > 0).then_some((entry.head.path.as_str(), extent))
        })
    }
}

impl<C: ReadAt> ReadAt for Group<C> {
    fn len(&self) -> u64 {
        self.entries.last().map_or(0, Entry::end)
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = self.entries.partition_point(|entry| entry.end() <= offset);
        for entry in &self.entries[first..] {
            if buf.is_empty() {
                break;
            }
            let here = (entry.end() - offset).min(buf.len() as u64) as usize;
            let (now, later) = buf.split_at_mut(here);
            entry.read_at(offset - entry.offset, now, &self.recipe)?;
            offset += here as u64;
            buf = later;
        }
        Ok(())
    }
}

impl Head {
    /// Its header, with extensions for long names before it.
    fn to_bytes(&self, recipe: &GroupRecipe) -> Vec<u8> {
        let style = &recipe.styles[self.style];
        let mut name = if style.has_dot { b"./".to_vec() } else { Vec::new() };
        name.extend_from_slice(self.path.as_bytes());
        let (file_type, len, high_mode, link): (u8, u64, u32, &[u8]) = match &self.kind {
            HeadKind::File(len) => (style.file_type, *len, style.file_mode, &[]),
            HeadKind::Folder => {
                name.push(b'/');
                (b'5', 0, style.folder_mode, &[])
            }
            HeadKind::Link(target) => (b'2', 0, style.file_mode, target),
        };
        let mut out = Vec::with_capacity(RECORD_BYTES as usize);
        let mut tail = style.tail;
        let mut short: &[u8] = &name;
        if name.len() > NAME_BYTES {
            match split(&name).filter(|_| tail.starts_with(USTAR_MAGIC)) {
                Some((prefix, rest)) => {
                    let at = PREFIX_OFFSET - TAIL_OFFSET;
                    tail[at..at + PREFIX_BYTES].fill(0);
                    tail[at..at + prefix.len()].copy_from_slice(prefix);
                    short = rest;
                }
                None => out.extend(long_name(b'L', &name, &tail)),
            }
        }
        if link.len() > NAME_BYTES {
            out.extend(long_name(b'K', link, &tail));
        }
        let Metadata { mode, uid, gid, modified_s } = self.metadata;
        let fields = Fields { mode: mode | high_mode, uid, gid, len, modified_s, file_type };
        out.extend(fields.header(short, link, &tail));
        out
    }
}

/// A name in two parts at a slash, the first one as long as can be.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = (PREFIX_BYTES + 1).min(name.len() - 1);
    let at = name[..end].iter().rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = (&name[..at], &name[at + 1..]);
    (!prefix.is_empty() && rest.len() <= NAME_BYTES).then_some((prefix, rest))
}

/// GNU's extension for a long name.
fn long_name(file_type: u8, name: &[u8], tail: &[u8; TAIL_BYTES]) -> Vec<u8> {
    let len = name.len() as u64 + 1;
    let fields = Fields { mode: 0o644, uid: 0, gid: 0, len, modified_s: 0, file_type };
    let mut out = fields.header(b"././@LongLink", &[], tail);
    out.extend_from_slice(name);
    out.resize(RECORD_BYTES as usize + len.next_multiple_of(RECORD_BYTES) as usize, 0);
    out
}

/// The fields of a header that differ from file to file, but for names.
struct Fields {
    mode: u32,
    uid: u64,
    gid: u64,
    len: u64,
    modified_s: u64,
    file_type: u8,
}

impl Fields {
    fn header(&self, name: &[u8], link: &[u8], tail: &[u8; TAIL_BYTES]) -> Vec<u8> {
        let mut out = vec![0; RECORD_BYTES as usize];
        let mut put = |at: usize, bytes: &[u8], len: usize| {
            let len = len.min(bytes.len());
            out[at..at + len].copy_from_slice(&bytes[..len]);
        };
        put(0, name, NAME_BYTES);
        put(100, octal::<7>(u64::from(self.mode)).as_bytes(), 7);
        put(108, octal::<7>(self.uid).as_bytes(), 7);
        put(116, octal::<7>(self.gid).as_bytes(), 7);
        put(124, octal::<11>(self.len).as_bytes(), 11);
        put(136, octal::<11>(self.modified_s).as_bytes(), 11);
        put(148, &[b' '; 8], 8);
        put(156, &[self.file_type], 1);
        put(157, link, NAME_BYTES);
        put(TAIL_OFFSET, tail, TAIL_BYTES);
        let sum: u64 = out.iter().map(|&byte| u64::from(byte)).sum();
        out[148..154].copy_from_slice(octal::<6>(sum).as_bytes());
        out[154] = 0;
        out
    }
}

/// So many octal digits; the lowest ones of a number that has more.
fn octal<const DIGITS: usize>(number: u64) -> String {
    format!("{:0DIGITS$o}", number & ((1 << (3 * DIGITS)) - 1))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::oci::tree;

    const LONG: &str = "a-folder-with-a-rather-long-name/another-folder-with-a-long-name/and-then-a-third-one/a-file-in-it.txt";

    /// A folder packed by the real `tar`.
    fn layer(format: &str, start: &str) -> LayerTar {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().join("root");
        let file = |path: &str, content: &[u8]| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), content).unwrap();
        };
        file("bin/b", b"content of b");
        file("bin/empty", b"");
        file("bin/z", &[7; 1024]);
        file(LONG, b"long");
        std::os::unix::fs::symlink("../usr/bin/a", root.join("bin/a")).unwrap();
        std::os::unix::fs::symlink("bin/z", root.join("zz")).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--owner=1000", "--group=7", "--mtime=@1700000000"]);
        tar.arg(format!("--format={format}")).arg("-C").arg(&root).args(["-cf", "-"]);
        let packed = if start == "." {
            tar.arg(".")
        } else {
            tar.args(["bin", LONG.split('/').next().unwrap(), "zz"])
        };
        let bytes = packed.output().unwrap().stdout;
        LayerTar { diff_id: [0; 32], tar: Slice::whole(Arc::new(bytes)) }
    }

    fn groups(layer: &LayerTar) -> (GroupRecipe, Vec<Group<Slice>>) {
        let entries = tree(std::slice::from_ref(layer)).unwrap();
        let recipe = GroupRecipe::of(std::slice::from_ref(layer), &entries).unwrap();
        let mut grouper = Grouper::new(recipe.clone());
        let mut groups: Vec<_> = entries.into_iter().filter_map(|entry| grouper.push(entry)).collect();
        groups.extend(grouper.finish());
        (recipe, groups)
    }

    fn bytes(stream: &dyn ReadAt) -> Vec<u8> {
        let mut bytes = vec![0; stream.len() as usize];
        stream.read_at(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_group_is_what_tar_makes() {
        for (format, start) in [("gnu", "."), ("gnu", "bin"), ("ustar", "."), ("ustar", "bin")] {
            let layer = layer(format, start);
            let (recipe, groups) = groups(&layer);
            assert_eq!(GroupRecipe::parse(&recipe.to_bytes()).unwrap(), recipe);
            let [group] = &groups[..] else { panic!("{}", groups.len()) };
            let (mut made, whole) = (bytes(group), bytes(&layer.tar));
            // The root itself has no name; `bin` comes first where nobody sorts.
            let root = if start == "." { 512 } else { 0 };
            let mut expected = whole[root..].to_vec();
            if start != "." {
                // As it was listed on the command line, which is in another order.
                let at = |bytes: &[u8], name: &[u8]| {
                    bytes.windows(name.len()).position(|part| part == name).unwrap()
                };
                let (bin, long, last) = (0, at(&expected, b"a-folder"), at(&expected, b"zz\0"));
                expected = [&expected[long..last], &expected[bin..long], &expected[last..]].concat();
            }
            // GNU tar writes names of owners, and `root` for the header of a long name.
            for bytes in [&mut made, &mut expected] {
                for header in bytes.chunks_mut(512).filter(|header| header.starts_with(b"././@LongLink")) {
                    header[148..156].fill(0);
                    header[257..].fill(0);
                }
            }
            let len = made.len();
            let first = made.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(first, None, "{format} {start} of {len}");
            assert!(expected[len..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_group_is_read_in_pieces() {
        let (_, groups) = groups(&layer("gnu", "."));
        let whole = bytes(&groups[0]);
        assert_eq!(whole.len() % 512, 0);
        for offset in (0..whole.len()).step_by(37) {
            for len in [0, 1, 100, 700, 3000] {
                let len = len.min(whole.len() - offset);
                let mut part = vec![1; len];
                groups[0].read_at(offset as u64, &mut part).unwrap();
                assert!(part == whole[offset..offset + len], "{offset} {len}");
            }
        }
        assert!(groups[0].read_at(whole.len() as u64 - 1, &mut [0; 2]).is_err());
        let files: Vec<_> = groups[0].files().collect();
        assert_eq!(files.iter().map(|(path, _)| *path).collect::<Vec<_>>(), [LONG, "bin/b", "bin/z"]);
        let (_, extent) = files[1];
        assert_eq!(&whole[extent.offset as usize..extent.end() as usize], b"content of b");
    }

    #[test]
    fn groups_end_by_number_and_by_size() {
        let (recipe, _) = groups(&layer("gnu", "."));
        let mut grouper = Grouper::new(recipe);
        let mut entry = |index: usize, len: usize| {
            let content = Slice::whole(Arc::new(vec![1_u8; len]));
            let (path, metadata) = (format!("{index:04}"), Metadata::default());
            grouper.push(TreeEntry { path, layer: 0, metadata, kind: TreeKind::File(content) })
        };
        let mut ends = Vec::new();
        for index in 0..40 {
            let len = if index == 20 { 300_000 } else { 10 };
            ends.extend(entry(index, len).map(|group| group.paths().map(str::to_owned)));
        }
        let ends: Vec<_> = ends.iter().map(|[first, last]| (first.as_str(), last.as_str())).collect();
        assert_eq!(ends, [("0000", "0015"), ("0016", "0020"), ("0021", "0036")]);
        assert_eq!(grouper.finish().unwrap().paths(), ["0037", "0039"]);
        assert!(grouper.finish().is_none());
    }

    #[test]
    fn what_is_written_is_never_too_long_to_be_read() {
        // Each layer writes its headers in a way of its own.
        let layer = |index: u8| {
            let mut header = tar::Header::new_gnu();
            header.set_path("file").unwrap();
            header.set_size(0);
            header.set_mode(0o644);
            header.set_username(&format!("user{index}")).unwrap();
            header.set_cksum();
            let bytes = [&header.as_bytes()[..], &[0; 1024]].concat();
            LayerTar { diff_id: [0; 32], tar: Slice::whole(Arc::new(bytes)) }
        };
        let layers: Vec<_> = (0..127).map(layer).collect();
        let recipe = GroupRecipe::of(&layers, &[]).unwrap();
        assert_eq!((recipe.layers_count(), recipe.styles.len()), (127, STYLES_MAX));
        assert_eq!(GroupRecipe::parse(&recipe.to_bytes()).unwrap(), recipe);
        let entry = |index: usize| TreeEntry {
            path: format!("{index:0300}"),
            layer: 0,
            metadata: Metadata::default(),
            kind: TreeKind::Scattered,
        };
        let scattered: Vec<_> = (0..109).map(entry).collect();
        let recipe = GroupRecipe::of(&layers, &scattered).unwrap();
        assert!(recipe.to_bytes().len() <= fluvial_delta::limits::CONTEXT_BYTES_MAX);
        assert_eq!(GroupRecipe::parse(&recipe.to_bytes()).unwrap(), recipe);
        let more: Vec<_> = (0..110).map(entry).collect();
        assert!(matches!(GroupRecipe::of(&layers, &more), Err(ImageError::Limit { .. })));
        let many = vec![layers[0].clone(); LAYERS_MAX + 1];
        assert!(matches!(GroupRecipe::of(&many, &[]), Err(ImageError::Limit { .. })));
    }

    #[test]
    fn recipes_are_read_with_care() {
        let (mut recipe, _) = groups(&layer("gnu", "."));
        recipe.scattered.insert("x".into());
        let bytes = recipe.to_bytes();
        assert_eq!(GroupRecipe::parse(&bytes).unwrap(), recipe);
        for len in 0..bytes.len() {
            GroupRecipe::parse(&bytes[..len]).unwrap_err();
        }
        let mut other = bytes.clone();
        let style = other.len() - 4;
        other[style] = 9;
        assert!(matches!(GroupRecipe::parse(&other), Err(WireError::Limit { .. })), "there is one style");
        other[0] = 2;
        assert!(matches!(GroupRecipe::parse(&other), Err(WireError::Invalid(_))));
        assert!(GroupRecipe::parse(&[&bytes[..], &[0]].concat()).is_err());
    }
}
