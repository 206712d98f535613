//! ext2, ext3 and ext4.
//!
//! Source: the Linux kernel's `Documentation/filesystems/ext4` ("Data Structures and Algorithms").
//! The `ext4-view` crate reads files, but it does not tell in which blocks a file stands, and the
//! positions are all that is wanted here: contents are never read.

mod folder;
mod inode;
mod leftovers;
mod map;
mod superblock;

pub use self::leftovers::leftover_bytes;

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Extent, Structure};

use self::inode::{Inode, Inodes};
use self::map::Mapper;
use self::superblock::Superblock;
use crate::anatomist::Specimen;
use crate::catalogue::{Catalogue, Full};
use crate::pages::Pages;
use crate::tree::{Kind, Tree};

/// The inode of the root folder.
const ROOT: u64 = 2;
/// Bytes of all folders together at most.
const FOLDERS_BYTES_MAX: u64 = 1 << 30;
/// Bytes of one folder at most.
const FOLDER_BYTES_MAX: u64 = 256 << 20;

/// Takes an image apart: a part per file, holes and never-written blocks left out, and one for the inode
/// tables where they have checksums. Folders and symbolic links stay with the metadata.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    let superblock = Superblock::parse(specimen.head)?;
    let mut catalogue = Catalogue::new(specimen.stream.len());
    let mut image = Image {
        pages: Pages::new(specimen.stream),
        inodes: Inodes::new(&superblock),
        mapper: Mapper::new(superblock.block_bytes, specimen.stream.len()),
        superblock: &superblock,
        folders_bytes: 0,
    };
    // What was found before the catalogue was full, or a limit was reached, stands.
    let _ = image.tables(&mut catalogue);
    let _ = image.walk(&mut catalogue);
    catalogue.finish(superblock.kind)
}

struct Image<'a> {
    pages: Pages<'a>,
    inodes: Inodes,
    mapper: Mapper,
    superblock: &'a Superblock,
    folders_bytes: u64,
}

impl Image<'_> {
    /// Adds the inode tables, whose checksums are told by the rest.
    fn tables(&mut self, catalogue: &mut Catalogue) -> Result<(), Full> {
        let Some(extent) = self.inodes.first_tables(&mut self.pages, self.superblock) else { return Ok(()) };
        let block = Block { extent, plain_len: Some(extent.len), format: Format::Ext4Inodes };
        catalogue.blocks("<inode tables>".into(), [block])
    }

    fn walk(&mut self, catalogue: &mut Catalogue) -> Result<(), Full> {
        let mut tree = Tree::new(ROOT);
        while let Some(number) = tree.next_folder() {
            let Some(inode) = self.inode(number).filter(|inode| inode.kind() == Kind::Folder) else {
                continue;
            };
            for listing in self.listings(&inode)? {
                for entry in folder::entries(&listing, self.superblock.typed_entries) {
                    let Some(inode) = self.inode(entry.inode) else { continue };
                    let Some(path) = tree.entry(entry.name, entry.inode, inode.kind())? else { continue };
                    if inode.kind() == Kind::Folder {
                        self.prefetch(&inode)?;
                    }
                    if !inode.is_inline() {
                        let (extents, holes) = self.mapper.extents(&mut self.pages, &inode)?;
                        catalogue.sparse(path, extents, holes)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn inode(&mut self, number: u64) -> Option<Inode> {
        self.inodes.read(&mut self.pages, self.superblock, number)
    }

    /// Has the blocks of a folder fetched, which is read later; where the inode tells them, as it does for all but
    /// long ones.
    fn prefetch(&mut self, folder: &Inode) -> Result<(), Full> {
        if !folder.is_inline() && folder.has_map_at_hand() {
            let (extents, _) = self.mapper.extents(&mut self.pages, folder)?;
            for extent in extents {
                self.pages.prefetch(extent);
            }
        }
        Ok(())
    }

    /// The blocks of a folder, each of which lists entries on its own.
    fn listings(&mut self, inode: &Inode) -> Result<Vec<Vec<u8>>, Full> {
        if inode.is_inline() {
            return Ok(inode.inline_listings());
        }
        if inode.len > FOLDER_BYTES_MAX {
            return Ok(Vec::new());
        }
        let (extents, _) = self.mapper.extents(&mut self.pages, inode)?;
        let mut listings = Vec::new();
        for Extent { offset, len } in extents {
            self.folders_bytes += len;
            if self.folders_bytes > FOLDERS_BYTES_MAX {
                return Err(Full);
            }
            let Some(bytes) = self.pages.vec(offset, len) else { continue };
            listings.extend(bytes.chunks(self.superblock.block_bytes as usize).map(<[u8]>::to_vec));
        }
        Ok(listings)
    }
}
