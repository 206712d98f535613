//! squashfs 4.0.
//!
//! Source: the Linux kernel's `Documentation/filesystems/squashfs.rst` and the structures of
//! `fs/squashfs/squashfs_fs.h`. The `backhand` crate reads the format too, but it does not say
//! where a metadata block lies, reads all tables before any limit can be applied, and brings its
//! own decoders; what is needed here is positions more than contents.

mod inode;
mod metadata;
mod superblock;

use std::collections::BTreeMap;

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Extent, Member, ReadAt, Structure};

use self::inode::{Folder, Inode, RegularFile};
use self::metadata::{Table, indexed_table, run};
use self::superblock::Superblock;
use crate::anatomist::Specimen;
use crate::catalogue::{Catalogue, Full};
use crate::field::{u32_at, u64_at};
use crate::tree::{Kind, Tree};

/// Bytes of the listings of all folders together at most. Two folders may claim the same listing.
const LISTINGS_BYTES_MAX: usize = 256 << 20;
/// Marks a block as stored in the lists of data blocks and of fragments.
const STORED_BIT: u32 = 1 << 24;
const INODE_TABLE: &str = "<inode table>";
const FRAGMENT_TABLE: &str = "<fragment table>";
/// Bytes of one entry of the fragment table.
const FRAGMENT_ENTRY_BYTES: usize = 16;

/// Takes a squashfs apart: a part per file with its whole blocks, a part per fragment block (the
/// tails of several files), and the metadata tables.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    let stream = specimen.stream;
    let superblock = Superblock::parse(specimen.head, stream.len())?;
    let tables = Tables::read(stream, &superblock)?;
    let mut catalogue = Catalogue::new(stream.len());
    let mut fragments = Fragments::new(&tables.fragments.plain);
    // A full catalogue or a damaged folder ends the walk; what was found stands.
    let _ = walk(&superblock, &tables, &mut catalogue, &mut fragments);
    let _ = fragments.list(&superblock, &mut catalogue);
    let _ = tables.list(&mut catalogue);
    catalogue.finish("squashfs")
}

/// The inode table, or the fragment table, of an image, unpacked: numbers in it that move with other files
/// are told by their differences. `name` is that of the part in [`dissect`]'s structure.
pub(crate) fn table(stream: &dyn ReadAt, name: &str) -> Option<Structure> {
    let format = match name {
        INODE_TABLE => Format::SquashfsInodes,
        FRAGMENT_TABLE => Format::SquashfsFragments,
        _ => return None,
    };
    let extent = Extent { offset: 0, len: stream.len() };
    let mut catalogue = Catalogue::new(stream.len());
    catalogue.blocks("<numbers>".into(), [Block { extent, plain_len: Some(extent.len), format }]).ok()?;
    catalogue.finish("squashfs table")
}

/// The metadata tables. Inodes, folders and fragments are unpacked, the others only located.
struct Tables {
    inodes: Table,
    folders: Table,
    fragments: Table,
    others: Vec<(&'static str, Vec<Block>)>,
}

impl Tables {
    fn read(stream: &dyn ReadAt, superblock: &Superblock) -> Option<Self> {
        let format = superblock.format;
        let fragments_len = superblock.fragments as usize * FRAGMENT_ENTRY_BYTES;
        let fragments = indexed_table(stream, superblock.fragment_table, fragments_len, format);
        let exports_len = superblock.inodes as usize * 8;
        let exports = indexed_table(stream, superblock.export_table, exports_len, format);
        let ids = indexed_table(stream, superblock.id_table, usize::from(superblock.ids) * 4, format);
        let xattrs = superblock.xattr_tables(stream);
        // The folders end where the first of the other tables starts.
        let starts = [&fragments, &exports, &ids].map(|table| Some(table.as_ref()?.first()?.extent.offset));
        let behind = starts.into_iter().flatten().chain(xattrs.as_ref().map(|xattrs| xattrs.pairs)).min();
        // A block's two bytes of header stand before it.
        let folders_end = behind.map_or(superblock.bytes_used, |offset| offset.saturating_sub(2));

        let mut others = Vec::new();
        others.extend(exports.map(|blocks| ("<export table>", blocks)));
        others.extend(ids.map(|blocks| ("<id table>", blocks)));
        if let Some(xattrs) = xattrs {
            let ids = indexed_table(stream, xattrs.index, xattrs.ids * 16, format);
            let pairs_end = ids.as_ref().and_then(|ids| Some(ids.first()?.extent.offset - 2));
            let pairs = run(stream, xattrs.pairs, pairs_end.unwrap_or(superblock.bytes_used), format);
            others.push(("<xattr table>", pairs));
            others.extend(ids.map(|blocks| ("<xattr id table>", blocks)));
        }
        let inodes = run(stream, superblock.inode_table, superblock.directory_table, format);
        let folders = run(stream, superblock.directory_table, folders_end, format);
        Some(Self {
            inodes: Table::unpack(stream, superblock.inode_table, inodes)?,
            folders: Table::unpack(stream, superblock.directory_table, folders)?,
            fragments: Table::unpack(stream, 0, fragments.unwrap_or_default())?,
            others,
        })
    }

    fn list(self, catalogue: &mut Catalogue) -> Result<(), Full> {
        catalogue.blocks(INODE_TABLE.into(), self.inodes.blocks)?;
        catalogue.blocks("<directory table>".into(), self.folders.blocks)?;
        catalogue.blocks(FRAGMENT_TABLE.into(), self.fragments.blocks)?;
        for (name, blocks) in self.others {
            catalogue.blocks(name.into(), blocks)?;
        }
        Ok(())
    }
}

/// Goes through all folders and lists the files.
fn walk(
    superblock: &Superblock,
    tables: &Tables,
    catalogue: &mut Catalogue,
    fragments: &mut Fragments,
) -> Result<(), Full> {
    let mut tree = Tree::new(superblock.root);
    let mut listings_bytes = 0;
    // In a sound image, every file has a list of blocks of its own in the inode table.
    let mut sizes_bytes_left = tables.inodes.plain.len();
    while let Some(reference) = tree.next_folder() {
        let Some(Inode::Folder(folder)) = Inode::read(&tables.inodes, reference, superblock.block_bytes)
        else {
            continue;
        };
        let Some(listing) = listing(&tables.folders, &folder) else { continue };
        listings_bytes += listing.len();
        if listings_bytes > LISTINGS_BYTES_MAX {
            return Err(Full);
        }
        for entry in inode::entries(listing) {
            let Some(path) = tree.entry(entry.name, entry.reference, entry.kind)? else { continue };
            let inode = Inode::read(&tables.inodes, entry.reference, superblock.block_bytes);
            if let (Kind::File, Some(Inode::File(file))) = (entry.kind, inode) {
                sizes_bytes_left = sizes_bytes_left.checked_sub(file.sizes.len()).ok_or(Full)?;
                let tail = fragments.note(&file, &path, superblock);
                catalogue.blocks(path, file_blocks(&file, superblock).chain(tail))?;
            }
        }
    }
    Ok(())
}

/// A folder's entries as they stand in the folder table.
fn listing<'a>(table: &'a Table, folder: &Folder) -> Option<&'a [u8]> {
    table.at(folder.block, folder.offset)?.get(..folder.len)
}

/// The blocks of a file that are its own. Blocks of zeros have no bytes in the image.
fn file_blocks(file: &RegularFile<'_>, superblock: &Superblock) -> impl Iterator<Item = Block> {
    let block_bytes = u64::from(superblock.block_bytes);
    let mut offset = file.start;
    let mut plain_left = file.len;
    let words = file.sizes.chunks_exact(4).filter_map(|size| u32_at(size, 0));
    words.filter_map(move |word| {
        let plain_len = plain_left.min(block_bytes);
        plain_left -= plain_len;
        let extent = Extent { offset, len: u64::from(word & (STORED_BIT - 1)) };
        // A start close to 2^64 is outside of any stream, and so is what follows.
        offset = offset.saturating_add(extent.len);
        let format = if word & STORED_BIT == 0 { superblock.format } else { Format::Stored };
        (extent.len > 0).then_some(Block { extent, plain_len: Some(plain_len), format })
    })
}

/// Which tails each fragment block holds.
struct Fragments<'a> {
    /// Start and size word of each, as the table has them.
    table: &'a [u8],
    tails: BTreeMap<u32, Vec<Member>>,
}

impl<'a> Fragments<'a> {
    fn new(table: &'a [u8]) -> Self {
        Self { table, tails: BTreeMap::new() }
    }

    /// A fragment block: where it is, and how it is packed.
    fn block(&self, fragment: u32, superblock: &Superblock) -> Option<(Extent, Format)> {
        let at = fragment as usize * FRAGMENT_ENTRY_BYTES;
        let (offset, word) = (u64_at(self.table, at)?, u32_at(self.table, at + 8)?);
        let format = if word & STORED_BIT == 0 { superblock.format } else { Format::Stored };
        Some((Extent { offset, len: u64::from(word & (STORED_BIT - 1)) }, format))
    }

    /// Notes where the tail of a file is. One in a fragment that is stored stands in the stream as it
    /// is: it is answered, as the last block of its file.
    fn note(&mut self, file: &RegularFile<'_>, path: &str, superblock: &Superblock) -> Option<Block> {
        let tail = file.tail.as_ref()?;
        let (offset, len) = (u64::from(tail.offset), u64::from(tail.len));
        let (block, format) = self.block(tail.fragment, superblock)?;
        if format == Format::Stored {
            let extent = Extent { offset: block.offset.saturating_add(offset), len };
            return (offset + len <= block.len).then_some(Block { extent, plain_len: Some(len), format });
        }
        let member = Member { path: path.to_owned(), extent: Extent { offset, len } };
        self.tails.entry(tail.fragment).or_default().push(member);
        None
    }

    /// Lists the fragment blocks that are packed. One is named after its first file, not by its number:
    /// a new file shifts the numbers of all fragments behind it, while the packing falls into step
    /// again soon.
    fn list(mut self, superblock: &Superblock, catalogue: &mut Catalogue) -> Result<(), Full> {
        let block_bytes = u64::from(superblock.block_bytes);
        for (fragment, tails) in std::mem::take(&mut self.tails) {
            let Some((extent, format)) = self.block(fragment, superblock) else { continue };
            let end = tails.iter().map(|tail| tail.extent.end()).max().unwrap_or(0);
            let Some(first) = tails.iter().min_by_key(|tail| tail.extent.offset) else { continue };
            if end > block_bytes {
                continue;
            }
            let name = format!("<fragment {}>", first.path);
            catalogue.shared_block(name, Block { extent, plain_len: Some(end), format }, tails)?;
        }
        Ok(())
    }
}
