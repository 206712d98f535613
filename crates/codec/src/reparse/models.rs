//! The adaptive models of corrections, and how the parts of a block are coded by them.

use super::block::{LiteralsCoding, LiteralsHead, Sequence, SequencesHead, TableMode};
use super::coder::{Bit, Byte, Coder, Number};

/// The longest description of a tree or a table that is taken from corrections.
const DESCRIPTION_BYTES_MAX: u32 = 256;

/// All models.
#[derive(Debug, Default)]
pub struct Models {
    /// What follows: a frame, other bytes, the end.
    pub item: [Bit; 4],
    /// Whether a block is the frame's last.
    pub last: Bit,
    /// What kind of block it is, after the kind before.
    pub kind: [[Bit; 4]; 4],
    /// Whether the block has the usual size, and which if not.
    pub usual_size: Bit,
    /// The size of an unusual block.
    pub size: Number,
    /// Lengths of stretches of bytes.
    pub bytes_len: Number,
    /// Bytes without a prediction.
    pub bytes: Byte,
    sequence: SequenceModels,
    head: HeadModels,
}

#[derive(Debug, Default)]
struct SequenceModels {
    /// Whether a sequence is as predicted; by how it went before and by what is predicted.
    right: [[Bit; 3]; 8],
    end: [Bit; 3],
    literals_right: [Bit; 3],
    literals: Number,
    offset_right: [Bit; 3],
    repeat: [[Bit; 4]; 2],
    distance: Number,
    length_right: [Bit; 4],
    length: [Number; 2],
    /// The last three answers of `right`.
    past: usize,
}

#[derive(Debug, Default)]
struct HeadModels {
    literals_right: Bit,
    literals_kind: [Bit; 4],
    size_format: [Bit; 4],
    tree_right: Bit,
    modes_right: [Bit; 3],
    mode: [[Bit; 4]; 3],
    table_right: [Bit; 3],
    states_right: Bit,
}

impl Models {
    /// Codes a stretch of at most `max` bytes. `None` when it is longer.
    pub fn stretch<C: Coder>(&mut self, coder: &mut C, bytes: &[u8], max: u32) -> Option<Vec<u8>> {
        let len = coder.number(&mut self.bytes_len, bytes.len() as u32);
        if len > max {
            return None;
        }
        Some(
            (0..len as usize)
                .map(|i| coder.byte(&mut self.bytes, bytes.get(i).copied().unwrap_or(0)))
                .collect(),
        )
    }

    /// Codes the next sequence, or that there is none, against its prediction.
    pub fn sequence<C: Coder>(
        &mut self,
        coder: &mut C,
        predicted: Option<Sequence>,
        actual: Option<Sequence>,
    ) -> Option<Sequence> {
        let models = &mut self.sequence;
        let class = predicted.map_or(0, |sequence| 1 + usize::from(sequence.offset > 3));
        let right = coder.bit(&mut models.right[models.past][class], actual != predicted);
        models.past = (models.past * 2 + usize::from(right)) & 7;
        if !right {
            return predicted;
        }
        if predicted.is_some() && coder.bit(&mut models.end[class], actual.is_none()) {
            return None;
        }
        let actual = actual.unwrap_or(Sequence { literals: 0, length: 3, offset: 1 });
        let expected = predicted.unwrap_or(Sequence { literals: 0, length: 0, offset: 0 });
        let mut literals = expected.literals;
        if predicted.is_none() || coder.bit(&mut models.literals_right[class], actual.literals != literals) {
            literals = coder.number(&mut models.literals, actual.literals);
        }
        let mut offset = expected.offset;
        let offset_wrong =
            predicted.is_none() || coder.bit(&mut models.offset_right[class], actual.offset != offset);
        if offset_wrong {
            let repeat = if actual.offset > 3 { 0 } else { actual.offset };
            offset = coder.tree(&mut models.repeat[usize::from(literals == 0)], 2, repeat);
            if offset == 0 {
                let distance = coder.number(&mut models.distance, actual.offset.saturating_sub(3));
                offset = distance.saturating_add(3).max(4);
            }
        }
        let mut length = expected.length;
        let context = usize::from(offset_wrong) + 2 * usize::from(literals != expected.literals);
        if predicted.is_none() || coder.bit(&mut models.length_right[context], actual.length != length) {
            let model = &mut models.length[usize::from(offset > 3)];
            length = coder.number(model, actual.length.saturating_sub(3)).saturating_add(3);
        }
        Some(Sequence { literals, length, offset })
    }

    /// Codes how literals are coded. `tree` makes the expected tree description.
    pub fn literals_head<C: Coder>(
        &mut self,
        coder: &mut C,
        expected: LiteralsHead,
        actual: Option<&LiteralsHead>,
        tree: impl Fn() -> Option<Vec<u8>>,
    ) -> Option<LiteralsHead> {
        let actual = actual.unwrap_or(&expected);
        if !coder.bit(&mut self.head.literals_right, *actual != expected) {
            return Some(expected);
        }
        let kind = match actual.coding {
            LiteralsCoding::Raw => 0,
            LiteralsCoding::Rle => 1,
            LiteralsCoding::Tree(_) => 2,
            LiteralsCoding::Treeless => 3,
        };
        let kind = coder.tree(&mut self.head.literals_kind, 2, kind);
        let size_format = coder.tree(&mut self.head.size_format, 2, u32::from(actual.size_format)) as u8;
        let coding = match kind {
            0 => LiteralsCoding::Raw,
            1 => LiteralsCoding::Rle,
            2 => {
                let known =
                    if let LiteralsCoding::Tree(tree) = &actual.coding { tree.as_slice() } else { &[] };
                let expected = tree();
                let wrong = expected.as_deref() != Some(known);
                if coder.bit(&mut self.head.tree_right, wrong) {
                    LiteralsCoding::Tree(self.stretch(coder, known, DESCRIPTION_BYTES_MAX)?)
                } else {
                    LiteralsCoding::Tree(expected?)
                }
            }
            _ => LiteralsCoding::Treeless,
        };
        Some(LiteralsHead { coding, size_format })
    }

    /// Codes how one alphabet is coded. `table` makes the expected description.
    pub fn mode<C: Coder>(
        &mut self,
        coder: &mut C,
        index: usize,
        expected: TableMode,
        actual: Option<&TableMode>,
        table: impl Fn() -> Option<Vec<u8>>,
    ) -> Option<TableMode> {
        let actual = actual.unwrap_or(&expected);
        if !coder.bit(&mut self.head.modes_right[index], *actual != expected) {
            return Some(expected);
        }
        let kind = match actual {
            TableMode::Predefined => 0,
            TableMode::Rle(_) => 1,
            TableMode::Described(_) => 2,
            TableMode::Repeat => 3,
        };
        Some(match coder.tree(&mut self.head.mode[index], 2, kind) {
            0 => TableMode::Predefined,
            1 => {
                let symbol = if let TableMode::Rle(symbol) = actual { *symbol } else { 0 };
                TableMode::Rle(coder.byte(&mut self.bytes, symbol))
            }
            2 => {
                let known = if let TableMode::Described(bytes) = actual { bytes.as_slice() } else { &[] };
                let expected = table();
                let wrong = expected.as_deref() != Some(known);
                if coder.bit(&mut self.head.table_right[index], wrong) {
                    TableMode::Described(self.stretch(coder, known, DESCRIPTION_BYTES_MAX)?)
                } else {
                    TableMode::Described(expected?)
                }
            }
            _ => TableMode::Repeat,
        })
    }

    /// Codes the states on the last sequence; `logs` are the sizes of the tables.
    pub fn last_states<C: Coder>(
        &mut self,
        coder: &mut C,
        expected: [u32; 3],
        actual: Option<&SequencesHead>,
        logs: [u32; 3],
    ) -> [u32; 3] {
        let actual = actual.map_or(expected, |head| head.last_states);
        if !coder.bit(&mut self.head.states_right, actual != expected) {
            return expected;
        }
        std::array::from_fn(|i| coder.direct(actual[i], logs[i]))
    }
}
