//! Kernels of `AArch64` as boot loaders take them (`Image`): memory as it will be, without a word of what stands
//! where.
//!
//! Source: Linux, `Documentation/arch/arm64/booting.rst` (the header). All else is told by its looks: code by
//! its commonest instructions, tables by their regular records. A wrong guess costs prediction, nothing worse.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use crate::structure::{Extent, ReadAt};

use super::elf::{Content, Layout, Machine, Region, Segment, u64_at};
use super::field::Form;
use super::kallsyms::Rising;
use super::scan::RELA_BYTES;
use super::types;

const MAGIC: &[u8] = b"ARM\x64";
const MAGIC_AT: usize = 56;
/// Bytes at the start that tell whether a file may be such a kernel.
pub(super) const MAGIC_END: usize = MAGIC_AT + MAGIC.len();
/// Memory that the kernel takes, `.bss` included, in bytes.
const MEMORY_LEN_AT: usize = 16;
/// Larger files are no kernels.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// What looks the same is told page by page.
const PAGE_BYTES: usize = 4 << 10;
const WINDOW_BYTES: usize = 64 << 10;
const REGIONS_MAX: usize = 4096;

/// Of the words of a page of code, so many are of its commonest instructions.
const CODE_WORDS_MIN: usize = PAGE_BYTES / 4 / 40;
/// Pages between two of code, such as ciphers, that are code too.
const CODE_GAP_PAGES: usize = 16;
/// Words of a page of relative addresses that are not zero, at least.
const RELATIVE_WORDS_MIN: usize = 64;
/// Such words aim at least so far, in bytes: smaller numbers are more often numbers.
const RELATIVE_DISTANCE_MIN: u64 = 64 << 10;
const RELATIVE_GAP_PAGES: usize = 4;
/// Fewer relocations in a row are a coincidence.
const RELOCATIONS_MIN: u64 = 256;
const R_AARCH64_RELATIVE: u64 = 0x403;

/// Addresses of a kernel start with so many ones ...
const ADDRESS_PREFIX_BITS: u32 = 16;
/// ... and those of one kernel have in common what is above so many bits: it begins at a multiple of that.
const ADDRESS_SHIFT: u32 = 27;
/// Starts that are counted; and addresses that name the one that is taken.
const ADDRESS_STARTS_MAX: usize = 1024;
const ADDRESSES_MIN: u32 = 256;

/// Whether a file that starts with `head` may be such a kernel.
pub(super) fn is_magic(head: &[u8]) -> bool {
    head.get(MAGIC_AT..MAGIC_END) == Some(MAGIC)
}

/// Reads the header. `None` where there is none.
pub(super) fn layout(head: &[u8], file_len: u64) -> Option<Layout> {
    if !is_magic(head) || file_len > FILE_BYTES_MAX {
        return None;
    }
    let memory_len = u64_at(head, MEMORY_LEN_AT)?.clamp(file_len, FILE_BYTES_MAX);
    // Addresses count from the start: code is the same wherever it is loaded.
    let whole = Segment { offset: 0, address: 0, file_len, memory_len, executable: true };
    Some(Layout {
        machine: Machine::Aarch64,
        relocatable: false,
        fixed: true,
        loaded_at: Some(0),
        segments: vec![whole],
        frame_index: None,
    })
}

/// Tells what stands where in a kernel, and the address that its constants take its start to be at.
///
/// # Errors
/// Whatever the medium reports.
pub(super) fn regions(old: &dyn ReadAt, extent: Extent, layout: &mut Layout) -> io::Result<Vec<Region>> {
    let memory_len = layout.segments.first().map_or(0, |segment| segment.memory_len);
    let mut look = Look { memory_len, symbols: Rising::new(memory_len), ..Look::default() };
    let mut window = vec![0; WINDOW_BYTES];
    let mut at = 0;
    while at < extent.len {
        let len = (extent.len - at).min(WINDOW_BYTES as u64) as usize;
        old.read_at(extent.offset + at, &mut window[..len])?;
        look.at(at, &window[..len]);
        at += len as u64;
    }
    layout.loaded_at = Some(look.start_address());
    look.relocations.end();
    let region = |offset, len, content| Region { offset, len, content, linked: 0 };
    let mut tables = Vec::new();
    if let Some(types) = look.types.filter(|&(start, len)| extent.len.saturating_sub(start) >= len) {
        tables.push(region(types.0, types.1, Content::Types));
    }
    if let Some((start, end)) = look.symbols.end(extent.len) {
        tables.push(region(start, end - start, Content::SymbolOffsets));
    }
    if let Some((start, count)) = look.relocations.longest.filter(|&(_, count)| count >= RELOCATIONS_MIN) {
        tables.push(region(start, count * RELA_BYTES, Content::Rela));
    }
    tables.sort_by_key(|table| table.offset);
    let mut pages = look.pages;
    close_gaps(&mut pages, Page::Code, CODE_GAP_PAGES);
    close_gaps(&mut pages, Page::Relative, RELATIVE_GAP_PAGES);
    let mut regions: Vec<Region> = Vec::new();
    let mut at = 0;
    for table in tables {
        if table.offset >= at {
            fill(&mut regions, &pages, at, table.offset);
            at = table.offset + table.len;
            regions.push(table);
        }
    }
    fill(&mut regions, &pages, at, extent.len);
    regions.truncate(REGIONS_MAX);
    Ok(regions)
}

/// Adds what pages between two tables hold.
fn fill(regions: &mut Vec<Region>, pages: &[Page], start: u64, end: u64) {
    let first = regions.len();
    // Words count from the start of their region.
    let mut at = start.next_multiple_of(4);
    while at < end {
        let page = (at / PAGE_BYTES as u64) as usize;
        let content = pages.get(page).map_or(Content::Constants, |page| page.content());
        let page_end = ((page + 1) * PAGE_BYTES) as u64;
        let len = page_end.min(end) - at;
        match regions[first..].last_mut() {
            Some(last) if last.content == content => last.len += len,
            _ => regions.push(Region { offset: at, len, content, linked: 0 }),
        }
        at += len;
    }
}

/// What a page looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Code,
    Relative,
    Other,
}

impl Page {
    fn content(self) -> Content {
        match self {
            Self::Code => Content::Code,
            Self::Relative => Content::SelfRelative,
            Self::Other => Content::Constants,
        }
    }
}

/// Takes a few other pages between two of a kind for the same: borders that move with every build would part
/// what is alike.
fn close_gaps(pages: &mut [Page], kind: Page, gap_max: usize) {
    let mut last = None;
    for index in 0..pages.len() {
        if pages[index] != kind {
            continue;
        }
        if let Some(last) = last
            && index - last <= gap_max + 1
        {
            pages[last..index].fill(kind);
        }
        last = Some(index);
    }
}

/// What one pass over a kernel tells.
#[derive(Default)]
struct Look {
    memory_len: u64,
    pages: Vec<Page>,
    relocations: Relocations,
    symbols: Rising,
    /// Where the types start, and their bytes.
    types: Option<(u64, u64)>,
    /// How often addresses begin in each way.
    starts: BTreeMap<u64, u32>,
}

impl Look {
    /// Looks at a window, which starts at a multiple of its length.
    fn at(&mut self, offset: u64, window: &[u8]) {
        for (index, page) in window.chunks(PAGE_BYTES).enumerate() {
            let kind = self.page(offset + (index * PAGE_BYTES) as u64, page);
            self.pages.push(kind);
        }
        for (index, word) in window.as_chunks().0.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            if word == R_AARCH64_RELATIVE {
                self.relocations.note(offset + 8 * index as u64);
            }
            let start = word >> ADDRESS_SHIFT;
            if word.leading_ones() >= ADDRESS_PREFIX_BITS
                && (self.starts.len() < ADDRESS_STARTS_MAX || self.starts.contains_key(&start))
            {
                *self.starts.entry(start).or_default() += 1;
            }
        }
        for (index, word) in window.as_chunks().0.iter().enumerate() {
            self.symbols.note(offset + 4 * index as u64, u32::from_le_bytes(*word));
        }
        if self.types.is_none() {
            let mut words = (0..window.len()).step_by(4);
            self.types = words.find_map(|at| Some((offset + at as u64, types::len(&window[at..])?)));
        }
    }

    fn page(&self, offset: u64, page: &[u8]) -> Page {
        let words = || page.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
        let places = || (offset..).step_by(4).zip(words());
        let is_code = |&(at, word): &(u64, u32)| is_common(word, at, self.memory_len);
        if places().filter(is_code).count() >= CODE_WORDS_MIN {
            return Page::Code;
        }
        let is_relative = |&(at, word): &(u64, u32)| {
            let distance = i64::from(word as i32);
            distance.unsigned_abs() >= RELATIVE_DISTANCE_MIN
                && at.wrapping_add(distance as u64) < self.memory_len
        };
        let relative = places().filter(is_relative).count();
        let used = words().filter(|&word| word != 0).count();
        if used >= RELATIVE_WORDS_MIN && 2 * relative > used { Page::Relative } else { Page::Other }
    }

    /// What most addresses have in common; zero where there are few.
    fn start_address(&self) -> u64 {
        let most = self.starts.iter().max_by_key(|(_, count)| **count);
        most.filter(|(_, count)| **count >= ADDRESSES_MIN).map_or(0, |(start, _)| start << ADDRESS_SHIFT)
    }
}

/// A return, the registers of a caller going to the stack, or a call or an address inside memory: a tenth of all
/// compiled code (Arm Architecture Reference Manual, C6.2).
fn is_common(word: u32, address: u64, memory_len: u64) -> bool {
    let form = match word {
        0xd65f_03c0 => return true,
        _ if word & 0xffc0_7fff == 0xa980_7bfd => return true,
        _ if word >> 26 == 0b10_0101 => Form::Branch26,
        _ if word & 0x9f00_0000 == 0x9000_0000 => Form::Page(0),
        _ => return false,
    };
    form.read(&word.to_le_bytes(), address, 0) < memory_len
}

/// The longest row of relocations.
#[derive(Default)]
struct Relocations {
    /// Where the row begins that is looked at, and how many it has.
    row: Option<(u64, u64)>,
    longest: Option<(u64, u64)>,
}

impl Relocations {
    /// Hears of a relocation whose kind stands at `at`, behind its place.
    fn note(&mut self, at: u64) {
        let Some(start) = at.checked_sub(8) else { return };
        match &mut self.row {
            Some((first, count)) if *first + *count * RELA_BYTES == start => *count += 1,
            _ => {
                self.end();
                self.row = Some((start, 1));
            }
        }
    }

    fn end(&mut self) {
        if let Some(row) = self.row.take()
            && self.longest.is_none_or(|longest| longest.1 < row.1)
        {
            self.longest = Some(row);
        }
    }
}
