//! The names behind indices of symbols, as hashes.

use std::io;

use crate::structure::ReadAt;

use super::elf::{Content, Image, Region, SYMBOL_BYTES, u32_at};

/// Symbols of a table whose names are told; four bytes each.
const SYMBOLS_MAX: u64 = 1 << 17;
/// Bytes of a table of names that are read.
const STRINGS_BYTES_MAX: u64 = 2 << 20;
/// Bytes of a name that are told from others.
const NAME_BYTES_MAX: usize = 64;
/// Tables that are read for one file. Programs have two; none may make its reader read without end.
const TABLES_MAX: usize = 8;
/// Bytes of a table that are read at a time: whole symbols.
const WINDOW_BYTES: u64 = SYMBOL_BYTES as u64 * 2048;

/// What the indices of one table of symbols stand for. Memory: 512 KiB, and 2 MiB while a table is read.
#[derive(Default)]
pub(super) struct Names {
    /// Where the table starts in the file.
    table: Option<u64>,
    tables_read: usize,
    /// By index.
    hashes: Vec<u32>,
}

impl Names {
    /// Sees to it that the names of the symbols in `region`, or of those that it refers to, are known.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn find(&mut self, file: &dyn ReadAt, image: &Image, region: &Region) -> io::Result<()> {
        let is_table = |region: &Region| region.content == Content::Symbols;
        let table = match region.content {
            Content::Symbols => Some(*region),
            Content::Rela if image.layout.relocatable => image.regions.iter().copied().find(is_table),
            Content::Rela => Some(image.region(region.linked, file.len())).filter(is_table),
            _ => None,
        };
        let Some(table) = table.filter(|table| self.table != Some(table.offset)) else { return Ok(()) };
        self.table = Some(table.offset);
        self.hashes.clear();
        if self.tables_read == TABLES_MAX {
            return Ok(());
        }
        self.tables_read += 1;
        let strings = image.region(table.linked, file.len());
        if strings.offset != table.linked {
            return Ok(());
        }
        let mut names = vec![0; strings.len.min(STRINGS_BYTES_MAX) as usize];
        if !names.is_empty() {
            file.read_at(strings.offset, &mut names)?;
        }
        self.read(file, image, &table, &names)
    }

    fn read(&mut self, file: &dyn ReadAt, image: &Image, table: &Region, names: &[u8]) -> io::Result<()> {
        let end = table.offset + table.len.min(SYMBOLS_MAX * SYMBOL_BYTES as u64);
        let mut symbols = Vec::new();
        let mut at = table.offset;
        while at < end {
            symbols.resize((end - at).min(WINDOW_BYTES) as usize, 0);
            file.read_at(at, &mut symbols)?;
            for symbol in symbols.chunks_exact(SYMBOL_BYTES) {
                // The symbol of a section has the section's name.
                let section = image.section_symbols.get(self.hashes.len()).filter(|&&section| section != 0);
                let section = section.and_then(|&section| image.section_names.get(usize::from(section)));
                let name = u32_at(symbol, 0).and_then(|name| names.get(name as usize..));
                self.hashes.push(section.copied().unwrap_or_else(|| name_hash(name.unwrap_or_default())));
            }
            at += symbols.len() as u64;
        }
        Ok(())
    }

    /// A hash of the name of a symbol; 0 where it is not known.
    pub fn symbol(&self, index: u64) -> u64 {
        let hash = usize::try_from(index).ok().and_then(|index| self.hashes.get(index));
        hash.copied().map_or(0, u64::from)
    }
}

/// A hash of the name at the start of `bytes`, up to a zero (FNV-1a). Digits do not count: compilers number
/// what would have the same name.
pub(super) fn name_hash(bytes: &[u8]) -> u32 {
    let name = bytes.iter().take(NAME_BYTES_MAX).take_while(|&&byte| byte != 0);
    let name = name.filter(|byte| !byte.is_ascii_digit());
    name.fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
