//! What stands in a compressed block: literals, sequences, and how both are coded
//! (RFC 8878, section 3.1.1.3).

use super::fse::{Distribution, EncodeTable};
use super::huffman::Codes;

/// The most bytes that a block stands for (section 3.1.1.2.4).
pub const BLOCK_PLAIN_MAX: usize = 128 << 10;
/// The shortest match that the format can express.
pub const MATCH_MIN: u32 = 3;

/// One sequence: some literals, then a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// Bytes copied from the literals.
    pub literals: u32,
    /// Bytes copied from what was written before.
    pub length: u32,
    /// Offset value as the format has it: 1 to 3 repeat an earlier distance, else distance + 3.
    pub offset: u32,
}

impl Sequence {
    /// Which of the last distances is repeated: 0 to 2, or 3 for one less than the last.
    pub fn repeat(self) -> Option<u32> {
        (self.offset <= 3).then(|| self.offset.saturating_sub(1) + u32::from(self.literals == 0))
    }
}

/// The last three distances (section 3.1.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats(pub [u32; 3]);

impl Default for Repeats {
    fn default() -> Self {
        Self([1, 4, 8])
    }
}

impl Repeats {
    /// The distance that a sequence stands for; 0 if there is none.
    pub fn distance(&self, sequence: Sequence) -> u32 {
        match sequence.repeat() {
            None => sequence.offset - 3,
            Some(3) => self.0[0].saturating_sub(1),
            Some(index) => self.0[index as usize],
        }
    }

    /// Takes a sequence of a known distance into account.
    pub fn push(&mut self, sequence: Sequence, distance: u32) {
        match sequence.repeat() {
            Some(0) => {}
            Some(1) => self.0 = [distance, self.0[0], self.0[2]],
            _ => self.0 = [distance, self.0[0], self.0[1]],
        }
    }
}

/// How the literals of a block are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiteralsCoding {
    /// As they are.
    Raw,
    /// One byte, repeated.
    Rle,
    /// With a new Huffman tree, of this description.
    Tree(Vec<u8>),
    /// With the tree of an earlier block.
    Treeless,
}

/// The literals section, without the literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiteralsHead {
    /// How they are coded.
    pub coding: LiteralsCoding,
    /// The two bits that tell how large the sizes' fields are, and whether there are four streams.
    pub size_format: u8,
}

/// How the symbols of one alphabet are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableMode {
    /// By the format's own table.
    Predefined,
    /// All sequences have this code.
    Rle(u8),
    /// By a table of this description.
    Described(Vec<u8>),
    /// By the table of an earlier block.
    Repeat,
}

/// How the sequences of a block are coded: modes of literal lengths, offsets and match lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencesHead {
    /// One mode for each alphabet.
    pub modes: [TableMode; 3],
    /// The state of each table on the last sequence, which the encoder is free to choose.
    pub last_states: [u32; 3],
}

/// A compressed block taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    /// How literals are coded.
    pub literals_head: LiteralsHead,
    /// All literals, those after the last sequence included.
    pub literals: Vec<u8>,
    /// How sequences are coded; `None` when there are none.
    pub sequences_head: Option<SequencesHead>,
    /// The sequences.
    pub sequences: Vec<Sequence>,
}

impl Compressed {
    /// Bytes that the block stands for.
    pub fn plain_len(&self) -> usize {
        self.literals.len() + self.sequences.iter().map(|sequence| sequence.length as usize).sum::<usize>()
    }
}

/// A table that sequences may be coded by: its distribution and what encodes by it.
#[derive(Debug, Clone)]
pub struct Table {
    /// The distribution.
    pub distribution: Distribution,
    /// From symbols to bits.
    pub encoder: EncodeTable,
}

impl Table {
    /// Makes the table of a distribution.
    pub fn new(distribution: Distribution) -> Self {
        let encoder = EncodeTable::new(&distribution);
        Self { distribution, encoder }
    }
}

/// What a block may refer to in the blocks before it.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// The last Huffman code.
    pub codes: Option<Codes>,
    /// The last table of each alphabet.
    pub sequences: [Option<Table>; 3],
}
