//! How the flattened target becomes the targets.
//!
//! A diff works on flattened bytes: what is packed inside a target stands there unpacked, in an
//! order that lets later parts copy from earlier ones. The layout says where every flattened byte
//! goes: straight to a place in a target, or through one or more packers first.

use crate::limits::{
    BLOCK_PLAIN_BYTES_MAX, CORRECTIONS_BYTES_MAX, FLAT_BYTES_MAX, LAYOUT_NODES_MAX, NESTING_MAX,
    STREAM_SIZE_MAX,
};
use crate::structure::Extent;
use crate::wire::{WireError, WireReader, WireWriter};

/// A run of flattened bytes, and what is done with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// So many bytes stand in the parent as they are.
    Plain(u64),
    /// The children's bytes are packed, then stand in the parent.
    Packed(Packed),
}

/// A content that is cut into pieces, each packed on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The pieces, in order. What the children make behind the last one is not used: a stream whose end
    /// stands elsewhere has to be packed whole all the same.
    pub pieces: Vec<Piece>,
    /// What the content is made of.
    pub children: Vec<Node>,
}

/// One packed stream: a whole gzip file, or one block of a compressed file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index of the recipe in the map's list.
    pub recipe: u32,
    /// Length of the content in bytes; never zero.
    pub plain_len: u64,
    /// Length of what the recipe makes of it, in bytes.
    pub packed_len: u64,
    /// Length of its corrections in bytes.
    pub corrections_len: u32,
}

impl Piece {
    /// Whether it is collected and packed in one go, not as it comes.
    pub fn is_block(&self) -> bool {
        self.plain_len <= BLOCK_PLAIN_BYTES_MAX
    }
}

/// A node and its place in a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Index of the target.
    pub target: u32,
    /// Where the bytes go, in order. One extent, but for fragmented files. Zeros of a hole go nowhere;
    /// neither the first nor the last extent is one.
    pub extents: Vec<Extent>,
    /// Further places in the same target that hold the same bytes, each as long as the first.
    pub copies: Vec<Vec<Extent>>,
    /// What makes the bytes.
    pub node: Node,
}

impl Node {
    /// What is behind the node, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        /// What the allocator adds to two lists.
        const LISTS_BYTES: usize = 32;
        let Self::Packed(packed) = self else { return 0 };
        let children = packed.children.iter().map(|child| size_of::<Self>() + child.memory_bytes());
        LISTS_BYTES + size_of_val(&packed.pieces[..]) + children.sum::<usize>()
    }

    /// How many pieces the node itself has.
    pub(crate) fn pieces_len(&self) -> usize {
        if let Self::Packed(packed) = self { packed.pieces.len() } else { 0 }
    }

    /// How many flattened bytes the node takes.
    pub fn flat_len(&self) -> u64 {
        match self {
            Self::Plain(len) => *len,
            Self::Packed(packed) => packed.children.iter().map(Self::flat_len).sum(),
        }
    }

    /// How many bytes it makes for its parent.
    pub fn made_len(&self) -> u64 {
        match self {
            Self::Plain(len) => *len,
            Self::Packed(packed) => packed.pieces.iter().map(|piece| piece.packed_len).sum(),
        }
    }
}

impl Packed {
    /// Whether each piece can be unpacked again from the finished target in one go, so that later
    /// parts of the patch may copy from its content.
    pub fn is_readable(&self) -> bool {
        let pieces_len: u64 = self.pieces.iter().map(|piece| piece.plain_len).sum();
        let made_len: u64 = self.children.iter().map(Node::made_len).fold(0, u64::saturating_add);
        pieces_len == made_len
            && self.pieces.iter().all(Piece::is_block)
            && self.children.iter().all(|child| matches!(child, Node::Plain(_)))
    }

    /// How many bytes of corrections all pieces take together.
    pub fn corrections_len(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.corrections_len)).sum()
    }
}

/// Writes a layout.
pub fn write_layout(roots: &[Root], writer: &mut WireWriter) {
    writer.number(roots.len() as u64);
    let mut expected = (0, 0);
    for root in roots {
        writer.signed(i64::from(root.target) - expected.0);
        write_place(&root.extents, &mut expected.1, writer);
        expected.0 = i64::from(root.target);
        write_node(&root.node, writer);
        writer.number(root.copies.len() as u64);
        let mut expected = expected.1;
        root.copies.iter().for_each(|copy| write_place(copy, &mut expected, writer));
    }
}

/// Writes the extents of a place; `expected` is where the one before ended.
fn write_place(extents: &[Extent], expected: &mut u64, writer: &mut WireWriter) {
    writer.number(extents.len() as u64);
    for (index, extent) in extents.iter().enumerate() {
        // The last extent takes what is left.
        if index + 1 < extents.len() {
            writer.number(extent.len << 1 | u64::from(extent.is_hole()));
        }
        if !extent.is_hole() {
            writer.signed(extent.offset.wrapping_sub(*expected) as i64);
            *expected = extent.end();
        }
    }
}

fn write_node(node: &Node, writer: &mut WireWriter) {
    match node {
        Node::Plain(len) => {
            writer.number(0);
            writer.number(*len);
        }
        Node::Packed(packed) => {
            writer.number(packed.pieces.len() as u64);
            for piece in &packed.pieces {
                writer.number(u64::from(piece.recipe));
                writer.number(piece.plain_len);
                writer.number(piece.packed_len);
                writer.number(u64::from(piece.corrections_len));
            }
            writer.number(packed.children.len() as u64);
            packed.children.iter().for_each(|child| write_node(child, writer));
        }
    }
}

/// Reads a layout and checks that it fits targets of the given sizes: every extent stands inside its
/// target, pieces and children agree, and no recipe is named that is not there.
///
/// # Errors
/// [`WireError`].
pub fn read_layout(
    reader: &mut WireReader<'_>,
    target_sizes: &[u64],
    recipes: usize,
) -> Result<Vec<Root>, WireError> {
    let count = reader.count("the number of layout roots", LAYOUT_NODES_MAX)?;
    let mut room = Room { nodes: LAYOUT_NODES_MAX - count, flat: FLAT_BYTES_MAX };
    let mut roots = Vec::new();
    let mut expected = (0_i64, 0_u64);
    for _ in 0..count {
        let target = expected.0.wrapping_add(reader.signed()?);
        let target = u32::try_from(target).map_err(|_| WireError::Invalid("a root names no target"))?;
        let size = *target_sizes.get(target as usize).ok_or(WireError::Invalid("a root names no target"))?;
        expected.0 = i64::from(target);
        let mut extents = read_place(reader, &mut expected.1)?;
        let node = read_node(reader, recipes, NESTING_MAX, &mut room)?;
        let made = made_len_checked(&node)?;
        end_place(&mut extents, made, size, &mut expected.1)?;
        let count = reader.count("the number of copies", LAYOUT_NODES_MAX)?;
        room.take_nodes(count)?;
        let mut copies = Vec::new();
        let mut expected = expected.1;
        for _ in 0..count {
            // Writing them takes time as making them does.
            room.take_flat(made)?;
            let mut copy = read_place(reader, &mut expected)?;
            end_place(&mut copy, made, size, &mut expected)?;
            copies.push(copy);
        }
        roots.push(Root { target, extents, copies, node });
    }
    Ok(roots)
}

/// Reads the extents of a place; `expected` is where the one before ended. The last extent has no length
/// yet.
fn read_place(reader: &mut WireReader<'_>, expected: &mut u64) -> Result<Vec<Extent>, WireError> {
    let count = reader.count("the number of extents", LAYOUT_NODES_MAX)?;
    let mut extents = Vec::new();
    for index in 0..count {
        let last = index + 1 == count;
        let code = if last { 0 } else { reader.limited("an extent", 2 * STREAM_SIZE_MAX + 1)? };
        let len = code >> 1;
        if code & 1 == 1 {
            if index == 0 {
                return Err(WireError::Invalid("a root begins with a hole"));
            }
            extents.push(Extent::hole(len));
            continue;
        }
        let offset = expected.wrapping_add(reader.signed()? as u64);
        *expected = offset.wrapping_add(len);
        extents.push(Extent { offset, len });
    }
    Ok(extents)
}

/// Gives the last extent of a place what is left of its `made` bytes, and checks that the place stands in a
/// target of `size` bytes.
fn end_place(extents: &mut [Extent], made: u64, size: u64, expected: &mut u64) -> Result<(), WireError> {
    let earlier: u64 = extents.iter().map(|extent| extent.len).fold(0, u64::saturating_add);
    let last = extents.last_mut().ok_or(WireError::Invalid("a root has no place"))?;
    last.len =
        made.checked_sub(earlier).ok_or(WireError::Invalid("a root's extents are longer than it is"))?;
    *expected = last.offset.wrapping_add(last.len);
    let mut stored = extents.iter().filter(|extent| !extent.is_hole());
    if stored.any(|extent| extent.offset.checked_add(extent.len).is_none_or(|end| end > size)) {
        return Err(WireError::Invalid("a root passes the end of its target"));
    }
    Ok(())
}

fn made_len_checked(node: &Node) -> Result<u64, WireError> {
    let too_long = WireError::Invalid("a layout is longer than any target");
    let made = match node {
        Node::Plain(len) => *len,
        Node::Packed(packed) => packed
            .pieces
            .iter()
            .try_fold(0_u64, |sum, piece| sum.checked_add(piece.packed_len))
            .ok_or(too_long)?,
    };
    if made > STREAM_SIZE_MAX { Err(too_long) } else { Ok(made) }
}

fn read_node(
    reader: &mut WireReader<'_>,
    recipes: usize,
    depth: usize,
    room: &mut Room,
) -> Result<Node, WireError> {
    let pieces_len = reader.count("the number of pieces", LAYOUT_NODES_MAX)?;
    if pieces_len == 0 {
        let len = reader.limited("a plain node", STREAM_SIZE_MAX)?;
        room.take_flat(len)?;
        return Ok(Node::Plain(len));
    }
    let depth = depth.checked_sub(1).ok_or(WireError::Invalid("packed streams are nested too deeply"))?;
    room.take_nodes(pieces_len)?;
    let mut pieces = Vec::new();
    let mut plain_len = 0_u64;
    let mut corrections_len = 0_u64;
    for _ in 0..pieces_len {
        let piece = Piece {
            recipe: reader.limited("a recipe's index", u64::from(u32::MAX))? as u32,
            plain_len: reader.limited("a piece", STREAM_SIZE_MAX)?,
            packed_len: reader.limited("a packed piece", STREAM_SIZE_MAX)?,
            corrections_len: reader.limited("corrections", CORRECTIONS_BYTES_MAX as u64)? as u32,
        };
        if piece.recipe as usize >= recipes {
            return Err(WireError::Invalid("a piece names no recipe"));
        }
        if piece.plain_len == 0 {
            return Err(WireError::Invalid("a piece is empty"));
        }
        plain_len = plain_len.saturating_add(piece.plain_len);
        corrections_len += u64::from(piece.corrections_len);
        pieces.push(piece);
    }
    if corrections_len > CORRECTIONS_BYTES_MAX as u64 {
        return Err(WireError::Invalid("the corrections of one content are above the limit"));
    }
    let children_len = reader.count("the number of children", LAYOUT_NODES_MAX)?;
    room.take_nodes(children_len)?;
    let mut children = Vec::new();
    let mut made = 0_u64;
    for _ in 0..children_len {
        let child = read_node(reader, recipes, depth, room)?;
        made = made.saturating_add(made_len_checked(&child)?);
        children.push(child);
    }
    if made < plain_len {
        return Err(WireError::Invalid("the pieces of a content are longer than what its children make"));
    }
    Ok(Node::Packed(Packed { pieces, children }))
}

/// What a layout may still take of its limits.
struct Room {
    nodes: usize,
    flat: u64,
}

impl Room {
    fn take_nodes(&mut self, count: usize) -> Result<(), WireError> {
        self.nodes =
            self.nodes.checked_sub(count).ok_or(WireError::Invalid("the layout has too many nodes"))?;
        Ok(())
    }

    fn take_flat(&mut self, len: u64) -> Result<(), WireError> {
        self.flat =
            self.flat.checked_sub(len).ok_or(WireError::Invalid("a layout is longer than any target"))?;
        Ok(())
    }
}
