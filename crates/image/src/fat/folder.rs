//! Folder entries, with long names.

use crate::field::{u8_at, u16_at, u32_at};

/// Bytes of an entry.
const ENTRY_BYTES: usize = 32;
/// UTF-16 units in one piece of a long name, and where they stand.
const UNITS_AT: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Pieces of a long name at most: 255 units.
const PIECES_MAX: u8 = 20;
/// Attributes of a piece of a long name, of a label, of a folder.
const LONG_NAME: u8 = 0x0f;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
/// Windows' flags for short names in lower case: before, and behind the dot.
const LOWER: [u8; 2] = [0x08, 0x10];

/// An entry that has a name.
pub(super) struct Entry {
    pub name: String,
    pub is_folder: bool,
    /// The first cluster; 0 for none.
    pub cluster: u32,
    pub len: u32,
}

/// The entries of a folder. Deleted entries and labels are passed over.
pub(super) fn entries(listing: &[u8]) -> impl Iterator<Item = Entry> {
    let mut long = LongName::default();
    listing.chunks_exact(ENTRY_BYTES).take_while(|entry| entry[0] != 0).filter_map(move |entry| {
        let attributes = u8_at(entry, 11)?;
        if entry[0] == 0xe5 {
            long = LongName::default();
            return None;
        }
        if attributes & 0x3f == LONG_NAME {
            long.piece(entry);
            return None;
        }
        let name = std::mem::take(&mut long).name(entry).unwrap_or_else(|| short_name(entry));
        if attributes & LABEL != 0 {
            return None;
        }
        Some(Entry {
            name,
            is_folder: attributes & FOLDER != 0,
            cluster: u32::from(u16_at(entry, 20)?) << 16 | u32::from(u16_at(entry, 26)?),
            len: u32_at(entry, 28)?,
        })
    })
}

/// Eleven bytes: eight, a dot that is not written, and three.
fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8], lower: u8| {
        let text = String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
        if entry[12] & lower == 0 { text } else { text.to_lowercase() }
    };
    let (base, extension) = (part(&entry[..8], LOWER[0]), part(&entry[8..11], LOWER[1]));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// A long name: its pieces stand before the entry, the last one first.
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    /// Number of the piece that must come next.
    awaited: u8,
    checksum: u8,
}

impl LongName {
    fn piece(&mut self, entry: &[u8]) {
        let number = entry[0] & 0x3f;
        if entry[0] & 0x40 != 0 && (1..=PIECES_MAX).contains(&number) {
            *self = Self { units: Vec::new(), awaited: number, checksum: entry[13] };
        }
        if self.awaited == 0 || number != self.awaited || entry[13] != self.checksum {
            *self = Self::default();
            return;
        }
        self.awaited -= 1;
        let units = UNITS_AT.iter().filter_map(|at| u16_at(entry, *at));
        let piece: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        self.units.splice(0..0, piece);
    }

    /// The name, if its pieces are complete and belong to the entry.
    fn name(self, entry: &[u8]) -> Option<String> {
        let sum = entry[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let complete = self.awaited == 0 && !self.units.is_empty() && sum == self.checksum;
        complete.then(|| String::from_utf16_lossy(&self.units))
    }
}
