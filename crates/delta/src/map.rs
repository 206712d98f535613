//! The map section of a patch: which packed streams of the sources are read unpacked, how targets
//! are laid out, and which files cost the most.

use fluvial_codec::{Format, Recipe, RecipeError};
use thiserror::Error;

use crate::layout::{Node, Piece, Root, read_layout, write_layout};
use crate::limits::{
    BLOCK_PACKED_BYTES_MAX, BLOCK_PLAIN_BYTES_MAX, DERIVED_BLOCKS_MAX, NAME_BYTES_MAX, RECIPE_BYTES_MAX,
    RECIPES_MAX, STREAM_SIZE_MAX,
};
use crate::structure::Extent;
use crate::wire::{WireError, WireReader, WireWriter};

/// Most files that the cost table names.
pub const COSTS_MAX: usize = 256;

/// A packed run of old bytes, appended to the old address space as what it unpacks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceBlock {
    /// Where the packed bytes stand: in a source, or in what earlier blocks unpack to.
    pub packed: Extent,
    /// The content's length in bytes.
    pub plain_len: u64,
    /// How it is packed. [`Format::Stored`] makes the block an alias: scattered extents of a file
    /// become one contiguous run of addresses. With no packed bytes it is as many zeros.
    pub format: Format,
    /// It is read so often that it is kept in temporary storage, however short it is.
    pub often: bool,
}

impl SourceBlock {
    /// Zeros that stand nowhere in the sources: the hole of a file.
    pub fn hole(len: u64) -> Self {
        Self { packed: Extent { offset: 0, len: 0 }, plain_len: len, format: Format::Stored, often: false }
    }

    /// Whether it is an alias of nothing, which reads as zeros.
    pub fn is_zeros(&self) -> bool {
        self.format == Format::Stored && self.packed.len == 0
    }

    /// Whether it is unpacked to temporary storage once, before the first frame, instead of whenever it
    /// is read: what is too long to be held in memory, or read often.
    pub fn is_spooled(&self) -> bool {
        self.format != Format::Stored && (self.often || !self.fits_in_memory())
    }

    /// Whether it is unpacked in memory, in one go.
    pub fn fits_in_memory(&self) -> bool {
        self.plain_len <= BLOCK_PLAIN_BYTES_MAX && self.packed.len <= BLOCK_PACKED_BYTES_MAX
    }

    /// Whether unpacking it takes little memory beside its bytes.
    pub fn is_deflate(&self) -> bool {
        matches!(self.format, Format::Gzip | Format::Zlib | Format::Deflate)
    }
}

/// How a piece of a target is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// The format of the packed bytes: how they are read again.
    pub format: Format,
    /// How they are made.
    pub recipe: Recipe,
}

/// What one file of the targets takes in the patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCost {
    /// Path of the file; nested containers are joined by `//`.
    pub path: String,
    /// Its length in flattened bytes.
    pub flat_len: u64,
    /// How many bytes of the patch it takes, as far as streams shared by many can be split.
    pub patch_bytes: u64,
}

/// The map section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchMap {
    /// Blocks appended to the old address space, in this order, behind the sources.
    pub blocks: Vec<SourceBlock>,
    /// Packings that the layout's pieces name by index.
    pub packings: Vec<Packing>,
    /// The memory that a frame and the pieces that are packed at the same time may take together, in
    /// bytes.
    pub working_memory_bytes: u64,
    /// Where flattened bytes go, in flattened order.
    pub roots: Vec<Root>,
    /// The files that cost the most, dearest first. For people; nothing depends on it.
    pub costs: Vec<FileCost>,
}

/// A map could not be read.
#[derive(Debug, Error)]
pub enum MapError {
    /// A field has no meaning.
    #[error("a field of the map")]
    Field(#[from] WireError),
    /// Its bytes cannot be unpacked.
    #[error("the map cannot be unpacked")]
    Stream(#[source] std::io::Error),
    /// A recipe cannot be followed here.
    #[error("a recipe of the map")]
    Recipe(#[from] RecipeError),
}

impl PatchMap {
    /// The most memory that any packer takes, in bytes, with those it is nested in.
    pub fn packing_memory_bytes(&self) -> u64 {
        self.roots.iter().map(|root| self.node_memory_bytes(&root.node)).max().unwrap_or(0)
    }

    /// The most memory that any piece takes which is packed in one go, in bytes.
    pub fn block_memory_bytes_max(&self) -> u64 {
        let packed = self.roots.iter().filter_map(|root| match &root.node {
            Node::Packed(packed) => Some(packed),
            Node::Plain(_) => None,
        });
        let blocks = packed.flat_map(|packed| &packed.pieces).filter(|piece| piece.is_block());
        blocks.map(|piece| self.piece_memory_bytes(piece)).max().unwrap_or(0)
    }

    /// What the engine takes that packs a piece, in bytes.
    pub fn engine_memory_bytes(&self, piece: &Piece) -> u64 {
        // Only packers that take content as it comes are told the length.
        let packed_len_max = if piece.is_block() { u64::MAX } else { piece.packed_len };
        self.packings[piece.recipe as usize].recipe.pack_memory_bytes(piece.plain_len, packed_len_max)
    }

    /// What packing a piece takes, in bytes: the engine, its corrections, and a block's bytes on both
    /// sides of it.
    pub fn piece_memory_bytes(&self, piece: &Piece) -> u64 {
        let engine = self.engine_memory_bytes(piece);
        let whole = if piece.is_block() { piece.plain_len + piece.packed_len } else { 0 };
        engine.saturating_add(whole).saturating_add(u64::from(piece.corrections_len))
    }

    fn node_memory_bytes(&self, node: &Node) -> u64 {
        let Node::Packed(packed) = node else { return 0 };
        let own = packed.pieces.iter().map(|piece| self.piece_memory_bytes(piece));
        let inner = packed.children.iter().map(|child| self.node_memory_bytes(child)).max();
        own.max().unwrap_or(0).saturating_add(inner.unwrap_or(0)).saturating_add(packed.corrections_len())
    }

    /// How many bytes of the sources' content stand in temporary storage while the patch is applied.
    pub fn scratch_bytes(&self) -> u64 {
        let spooled = self.blocks.iter().filter(|block| block.is_spooled());
        spooled.map(|block| block.plain_len).fold(0, u64::saturating_add)
    }

    /// The map as it stands in a patch, before it is packed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = WireWriter::default();
        writer.number(self.blocks.len() as u64);
        // Column by column: equal neighbours pack better.
        let kind = |block: &SourceBlock| 2 * u64::from(block.format.code()) + u64::from(block.often);
        self.blocks.iter().for_each(|block| writer.number(kind(block)));
        self.blocks.iter().for_each(|block| writer.number(block.plain_len));
        self.blocks.iter().for_each(|block| writer.number(block.packed.len));
        let mut expected = 0;
        for block in self.blocks.iter().filter(|block| !block.is_zeros()) {
            writer.signed(block.packed.offset.wrapping_sub(expected) as i64);
            expected = block.packed.end();
        }
        writer.number(self.packings.len() as u64);
        for packing in &self.packings {
            writer.number(u64::from(packing.format.code()));
            writer.string(&packing.recipe.to_bytes());
        }
        writer.number(self.working_memory_bytes);
        write_layout(&self.roots, &mut writer);
        writer.number(self.costs.len() as u64);
        for cost in &self.costs {
            writer.string(cost.path.as_bytes());
            writer.number(cost.flat_len);
            writer.number(cost.patch_bytes);
        }
        writer.bytes
    }

    /// What the map takes in memory, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        /// What the allocator adds to each list.
        const LIST_BYTES: usize = 16;
        let blocks = size_of_val(&self.blocks[..]);
        let packings = self.packings.len() * (size_of::<Packing>() + LIST_BYTES);
        let costs: usize =
            self.costs.iter().map(|cost| size_of::<FileCost>() + cost.path.len() + LIST_BYTES).sum();
        let layout: usize = self
            .roots
            .iter()
            .map(|root| {
                let copies = root
                    .copies
                    .iter()
                    .map(|copy| size_of::<Vec<Extent>>() + LIST_BYTES + size_of_val(&copy[..]));
                size_of::<Root>()
                    + LIST_BYTES
                    + size_of_val(&root.extents[..])
                    + copies.sum::<usize>()
                    + root.node.memory_bytes()
            })
            .sum();
        (blocks + packings + costs + layout) as u64
    }

    /// Reads a map for sources of `source_len` bytes together and targets of the given sizes.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn from_bytes(bytes: &[u8], source_len: u64, target_sizes: &[u64]) -> Result<Self, MapError> {
        let mut reader = WireReader::new(bytes);
        let blocks = read_blocks(&mut reader, source_len)?;
        let count = reader.count("the number of recipes", RECIPES_MAX)?;
        let mut packings = Vec::new();
        for _ in 0..count {
            let format = read_format(&mut reader)?;
            let recipe = Recipe::from_bytes(reader.string("a recipe's length", RECIPE_BYTES_MAX)?)?;
            packings.push(Packing { format, recipe });
        }
        let working_memory_bytes = reader.number()?;
        let roots = read_layout(&mut reader, target_sizes, packings.len())?;
        let count = reader.count("the number of file costs", COSTS_MAX)?;
        let mut costs = Vec::new();
        for _ in 0..count {
            costs.push(FileCost {
                path: reader.name(NAME_BYTES_MAX)?,
                flat_len: reader.number()?,
                patch_bytes: reader.number()?,
            });
        }
        reader.finish()?;
        Ok(Self { blocks, packings, working_memory_bytes, roots, costs })
    }
}

fn read_format(reader: &mut WireReader<'_>) -> Result<Format, WireError> {
    format_of(reader.limited("a format's code", 255)?)
}

fn format_of(code: u64) -> Result<Format, WireError> {
    Format::from_code(code as u8).ok_or(WireError::Invalid("an unknown compression format"))
}

fn read_blocks(reader: &mut WireReader<'_>, source_len: u64) -> Result<Vec<SourceBlock>, WireError> {
    let count = reader.count("the number of source blocks", DERIVED_BLOCKS_MAX)?;
    let mut kinds = Vec::new();
    for _ in 0..count {
        let kind = reader.limited("a source block's kind", 511)?;
        kinds.push((format_of(kind >> 1)?, kind & 1 == 1));
    }
    let mut lengths = Vec::new();
    for _ in 0..2 * count {
        lengths.push(reader.limited("a source block", STREAM_SIZE_MAX)?);
    }
    let (plain, packed) = lengths.split_at(count);
    let mut blocks = Vec::new();
    let (mut expected, mut space_len) = (0_u64, source_len);
    for ((&(format, often), &plain_len), &packed_len) in kinds.iter().zip(plain).zip(packed) {
        let is_zeros = format == Format::Stored && packed_len == 0;
        let offset = if is_zeros { 0 } else { expected.wrapping_add(reader.signed()? as u64) };
        let end = offset.checked_add(packed_len).filter(|&end| end <= space_len);
        let end = end.ok_or(WireError::Invalid("a source block stands outside of the sources"))?;
        if !is_zeros {
            expected = end;
        }
        if format == Format::Stored && plain_len != packed_len && !is_zeros {
            return Err(WireError::Invalid("a stored block changes its length"));
        }
        space_len = space_len
            .checked_add(plain_len)
            .filter(|&len| len <= 4 * STREAM_SIZE_MAX)
            .ok_or(WireError::Invalid("the sources unpack to more than any device holds"))?;
        blocks.push(SourceBlock { packed: Extent { offset, len: packed_len }, plain_len, format, often });
    }
    blocks.shrink_to_fit();
    Ok(blocks)
}
