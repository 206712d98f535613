//! EROFS, plain and compressed.
//!
//! Source: the Linux kernel's `Documentation/filesystems/erofs.rst`, its on-disk structures in
//! `fs/erofs/erofs_fs.h`, and the "EROFS ondisk format" pages of the project. The `erofs-rs` crate
//! reads files, but a diff wants to know which bytes of the image each of them was packed into.
//!
//! Left to the metadata: `MicroLZMA`, LZ4 from before zero padding (Linux 5.4), whose packed length
//! is stated nowhere, contents on other devices, and tails in the packed inode.

mod chunks;
mod clusters;
mod folder;
mod inode;
mod packing;
mod superblock;

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Extent, ReadAt, Structure};

use self::inode::{Inode, Layout};
use self::superblock::Superblock;
use crate::anatomist::Specimen;
use crate::catalogue::{Catalogue, Full};
use crate::pages::Pages;
use crate::tree::{Kind, Tree};

/// Bytes of all folders together at most.
const FOLDERS_BYTES_MAX: u64 = 1 << 30;
/// Bytes of one folder at most.
const FOLDER_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the indexes of compressed and chunked files together at most.
const INDEX_BYTES_MAX: u64 = 4 << 30;
/// The part that holds the tails of files, if the image has them packed together.
const PACKED_PATH: &str = "<packed inode>";

/// Takes an EROFS image apart: a part per file, compressed ones as the list of their physical
/// clusters, each without the padding before it.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    let superblock = Superblock::parse(specimen.head)?;
    let mut catalogue = Catalogue::new(specimen.stream.len());
    let mut image = Image {
        stream: specimen.stream,
        pages: Pages::new(specimen.stream),
        superblock: &superblock,
        folders_bytes_left: FOLDERS_BYTES_MAX,
        index_bytes_left: specimen.stream.len().min(INDEX_BYTES_MAX),
        padding_bytes_left: specimen.stream.len(),
    };
    // What was found before the catalogue was full, or a limit was reached, stands.
    if image.walk(&mut catalogue).is_ok()
        && let Some(inode) = superblock.packed_inode.and_then(|number| image.inode(number))
    {
        let _ = image.file(PACKED_PATH.into(), &inode, &mut catalogue);
    }
    catalogue.finish("erofs")
}

struct Image<'a> {
    stream: &'a dyn ReadAt,
    pages: Pages<'a>,
    superblock: &'a Superblock,
    folders_bytes_left: u64,
    /// In a sound image no index is read twice: all together are no longer than the image.
    index_bytes_left: u64,
    padding_bytes_left: u64,
}

impl Image<'_> {
    fn walk(&mut self, catalogue: &mut Catalogue) -> Result<(), Full> {
        let mut tree = Tree::new(self.superblock.root_inode);
        while let Some(number) = tree.next_folder() {
            let Some(inode) = self.inode(number).filter(|inode| inode.kind == Kind::Folder) else { continue };
            let Some(listing) = self.listing(&inode)? else { continue };
            for block in listing.chunks(self.superblock.block_bytes() as usize) {
                for entry in folder::entries(block) {
                    let Some(path) = tree.entry(entry.name, entry.inode, entry.kind)? else { continue };
                    let inode = self.inode(entry.inode).filter(|inode| inode.kind == Kind::File);
                    if let Some(inode) = inode {
                        self.file(path, &inode, catalogue)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn inode(&mut self, number: u64) -> Option<Inode> {
        Inode::read(&mut self.pages, self.superblock.inode_offset(number)?)
    }

    /// The content of a folder. Folders are never compressed.
    fn listing(&mut self, inode: &Inode) -> Result<Option<Vec<u8>>, Full> {
        if inode.len > FOLDER_BYTES_MAX {
            return Ok(None);
        }
        self.folders_bytes_left = self.folders_bytes_left.checked_sub(inode.len).ok_or(Full)?;
        let mut listing = Vec::new();
        for Extent { offset, len } in inode.flat_extents(self.superblock) {
            let Some(bytes) = self.pages.vec(offset, len) else { return Ok(None) };
            listing.extend_from_slice(&bytes);
        }
        Ok(Some(listing))
    }

    /// Lists a file, if it stands in the image in a way that is known.
    fn file(&mut self, path: String, inode: &Inode, catalogue: &mut Catalogue) -> Result<(), Full> {
        match inode.layout {
            Layout::Flat | Layout::Inline => catalogue.plain(path, inode.flat_extents(self.superblock)),
            Layout::Chunks => {
                let extents = chunks::extents(self, inode)?;
                catalogue.plain(path, extents.unwrap_or_default())
            }
            Layout::FullIndex | Layout::CompactIndex => {
                let blocks = packing::blocks(self, inode)?;
                catalogue.blocks(path, blocks.unwrap_or_default())
            }
            Layout::Unknown => Ok(()),
        }
    }

    /// Counts the index of a file against the limit.
    fn charge_index(&mut self, bytes: u64) -> Result<(), Full> {
        self.index_bytes_left = self.index_bytes_left.checked_sub(bytes).ok_or(Full)?;
        Ok(())
    }
}

/// Bytes that stand as they are, as a block.
fn stored(offset: u64, len: u64) -> Block {
    Block { extent: Extent { offset, len }, plain_len: Some(len), format: Format::Stored }
}
