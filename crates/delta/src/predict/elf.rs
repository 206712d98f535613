//! The little of ELF that prediction needs: where addresses lie in a file, and what stands where.
//!
//! Source: System V ABI (gABI 4.1 draft), chapters 4 and 5. 64-bit little-endian files only; what
//! cannot be read is left out, so a hostile file costs prediction and nothing else.

use crate::structure::{Extent, ReadAt};

use super::names::name_hash;

/// Bytes at the start of a file in which its headers must lie to be used.
pub(super) const HEADER_BYTES_MAX: usize = 4096;
/// Program headers of kind `PT_LOAD` that are kept.
const SEGMENTS_MAX: usize = 32;
/// Section headers that are read.
const SECTIONS_MAX: usize = 1024;
pub(super) const SECTION_HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
/// The names of sections that are read, in bytes: a kernel's take 2 KiB.
const NAMES_BYTES_MAX: u64 = 64 << 10;
/// Names are compared by their first bytes.
const NAME_BYTES: usize = 24;

/// Symbols among which those of sections are looked for.
const SECTION_SYMBOLS_MAX: usize = 256;
pub(super) const SYMBOL_BYTES: usize = 24;
/// Less behind the section headers is no table of relocations.
const APPENDIX_BYTES_MIN: u64 = 1 << 14;

/// The first bytes of an ELF file.
pub(super) const MAGIC: &[u8] = b"\x7fELF";

const STT_SECTION: u8 = 3;
const ET_REL: u16 = 1;
const ET_EXEC: u16 = 2;
const PT_LOAD: u32 = 1;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
pub(super) const SHT_NOBITS: u32 = 8;
const SHT_DYNSYM: u32 = 11;
const SHT_INIT_ARRAY: u32 = 14;
const SHT_PREINIT_ARRAY: u32 = 16;
const SHT_RELR: u32 = 19;
const SHT_X86_64_UNWIND: u32 = 0x7000_0001;
const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;

/// Instruction sets whose references are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
    Other,
}

/// A part of a file that is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub offset: u64,
    pub address: u64,
    pub file_len: u64,
    pub memory_len: u64,
    pub executable: bool,
}

/// How addresses and offsets in a file belong together.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub machine: Machine,
    /// An object before linking: addresses are offsets in the file.
    pub relocatable: bool,
    /// A program for one address, so that constants may be addresses.
    pub fixed: bool,
    /// Constants are addresses that count from here, those of [`Layout::segments`] from zero. `None` where both
    /// count from the same; zero where it is not known.
    pub loaded_at: Option<u64>,
    pub segments: Vec<Segment>,
    /// Address of `.eh_frame_hdr`.
    pub frame_index: Option<u64>,
}

impl Layout {
    /// Reads the headers at the start of a file. `None` where there are none that are understood.
    pub fn parse(head: &[u8], file_len: u64) -> Option<Self> {
        if head.get(..6)? != b"\x7fELF\x02\x01" {
            return super::boot_image::layout(head, file_len);
        }
        let machine = match u16_at(head, 18)? {
            62 => Machine::X86_64,
            183 => Machine::Aarch64,
            _ => Machine::Other,
        };
        let kind = u16_at(head, 16)?;
        let (relocatable, fixed) = (kind == ET_REL, kind == ET_EXEC);
        let mut layout =
            Self { machine, relocatable, fixed, loaded_at: None, segments: Vec::new(), frame_index: None };
        if relocatable {
            let whole = Segment { offset: 0, address: 0, file_len, memory_len: file_len, executable: true };
            layout.segments.push(whole);
            return Some(layout);
        }
        let (table, size, count) = (u64_at(head, 32)?, u16_at(head, 54)?, u16_at(head, 56)?);
        let table = usize::try_from(table).ok()?;
        if usize::from(size) != PROGRAM_HEADER_BYTES {
            return None;
        }
        for index in 0..usize::from(count) {
            let at = table.checked_add(index * PROGRAM_HEADER_BYTES)?;
            let header = head.get(at..at.checked_add(PROGRAM_HEADER_BYTES)?)?;
            let address = u64_at(header, 16)?;
            match u32_at(header, 0)? {
                PT_LOAD if layout.segments.len() < SEGMENTS_MAX => {
                    let segment = Segment {
                        offset: u64_at(header, 8)?,
                        address,
                        file_len: u64_at(header, 32)?,
                        memory_len: u64_at(header, 40)?,
                        executable: u32_at(header, 4)? & 1 != 0,
                    };
                    let ends = [
                        segment.offset.checked_add(segment.file_len),
                        address.checked_add(segment.memory_len),
                    ];
                    if ends.contains(&None) || segment.file_len > segment.memory_len {
                        return None;
                    }
                    layout.segments.push(segment);
                }
                PT_GNU_EH_FRAME => layout.frame_index = Some(address),
                _ => {}
            }
        }
        (!layout.segments.is_empty()).then_some(layout)
    }

    /// The address of a byte of the file.
    pub fn address(&self, offset: u64) -> Option<u64> {
        self.segments
            .iter()
            .find(|segment| offset >= segment.offset && offset - segment.offset < segment.file_len)
            .map(|segment| segment.address + (offset - segment.offset))
    }

    /// The byte of the file behind an address. `None` where there is none, as in `.bss`.
    pub fn offset(&self, address: u64) -> Option<u64> {
        self.segments
            .iter()
            .find(|segment| address >= segment.address && address - segment.address < segment.file_len)
            .map(|segment| segment.offset + (address - segment.address))
    }

    /// Whether the program has memory at this address, or ends there.
    pub fn holds(&self, address: u64) -> bool {
        self.segments
            .iter()
            .any(|segment| address >= segment.address && address - segment.address <= segment.memory_len)
    }

    /// Whether code may stand at this address.
    pub fn executes(&self, address: u64) -> bool {
        self.segments.iter().any(|segment| {
            segment.executable && address >= segment.address && address - segment.address < segment.memory_len
        })
    }
}

/// What a run of bytes of a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Code,
    Rela,
    Relr,
    Symbols,
    FrameRecords,
    FrameIndex,
    /// Data that may hold addresses of eight bytes.
    Data,
    /// Constants, among them jump tables.
    Constants,
    /// Words of four bytes, each relative to its own address.
    SelfRelative,
    /// Words of four bytes, each the low half of an address.
    Addresses,
    /// Addresses of a kernel's symbols; see [`super::kallsyms`].
    SymbolOffsets,
    /// BTF: types of a kernel.
    Types,
    /// Of a kernel's module: the symbols that it imports, and a checksum of what each looks like.
    Versions,
    /// Headers of sections.
    SectionHeaders,
    /// The function tables of a Go program; see [`super::go`] for them and their parts.
    FunctionTables,
    FunctionUnits,
    FunctionIndex,
    FunctionRecords,
    FunctionData,
    Other,
}

/// A section that is worth a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Region {
    /// From the start of the file.
    pub offset: u64,
    pub len: u64,
    pub content: Content,
    /// Offset of the string table that a symbol table uses; of the section that relocations apply to.
    pub linked: u64,
}

/// An old file: layout and regions sorted by offset, without overlaps.
#[derive(Debug)]
pub(super) struct Image {
    pub layout: Layout,
    pub regions: Vec<Region>,
    /// Offsets at which jump tables may start, sorted; see [`super::tables`]. Looked for when first
    /// asked for: all of the code has to be read.
    tables: Option<Vec<u32>>,
    /// Offsets at which BTF types or Go's records of functions start, some of them, sorted; see
    /// [`super::types`] and [`super::go`].
    pub starts: Vec<u32>,
    /// Where the table of symbols starts that relocations name.
    pub symbols: Option<u64>,
    /// The function tables of a Go program.
    pub go: Option<super::go::Tables>,
    /// Offsets of sections by index, of an object before linking.
    pub bases: Vec<u64>,
    /// Of the first symbols of such an object: the section that the symbol stands for, or zero.
    pub section_symbols: Vec<u16>,
    /// Hashes of the names of sections by index, of such an object.
    pub section_names: Vec<u32>,
}

impl Image {
    /// Reads the headers of the file at `extent`. `None` where it is no such file.
    pub fn read(old: &dyn ReadAt, extent: Extent) -> Option<Self> {
        let mut head = vec![0; HEADER_BYTES_MAX.min(usize::try_from(extent.len).ok()?)];
        old.read_at(extent.offset, &mut head).ok()?;
        let mut layout = Layout::parse(&head, extent.len)?;
        let sections = if layout.loaded_at.is_some() {
            let regions = super::boot_image::regions(old, extent, &mut layout).ok()?;
            Sections { regions, ..Sections::default() }
        } else {
            sections(old, extent, &head, &layout).unwrap_or_default()
        };
        let Sections { mut regions, bases, names: section_names } = sections;
        if regions.is_empty() {
            regions = layout.segments.iter().filter(|segment| segment.executable).map(code).collect();
        }
        regions.retain(|region| region.len > 0 && region.offset.saturating_add(region.len) <= extent.len);
        regions.sort_by_key(|region| region.offset);
        let mut end = 0;
        regions.retain(|region| {
            let fits = region.offset >= end;
            if fits {
                end = region.offset + region.len;
            }
            fits
        });
        if layout.loaded_at.is_none() {
            super::kallsyms::split(old, extent, &layout, &mut regions);
        }
        let section_symbols = section_symbols(old, extent, &layout, &regions);
        // Of a program that is linked those for the loader, which stand first.
        let symbols = regions.iter().find(|region| region.content == Content::Symbols);
        let symbols = symbols.map(|region| region.offset);
        let (go, starts) = match super::go::split(old, extent, &layout, &mut regions) {
            Some((go, starts)) => (Some(go), starts),
            None => (None, super::types::starts(old, extent, &mut regions)),
        };
        regions.shrink_to_fit();
        Some(Self {
            layout,
            regions,
            tables: None,
            starts,
            symbols,
            go,
            bases,
            section_symbols,
            section_names,
        })
    }

    /// Sees to it that [`Image::tables`] are known where a region may hold some.
    pub fn find_tables(&mut self, old: &dyn ReadAt, extent: Extent, region: &Region) {
        if region.content == Content::Constants && !self.layout.fixed && self.tables.is_none() {
            self.tables = Some(super::tables::starts(old, extent, &self.layout, &self.regions));
        }
    }

    /// Offsets at which jump tables may start, as far as they were looked for.
    pub fn tables(&self) -> &[u32] {
        self.tables.as_deref().unwrap_or_default()
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.regions.capacity() * size_of::<Region>()
            + self.layout.segments.capacity() * size_of::<Segment>()
            + self.bases.capacity() * size_of::<u64>()
            + self.section_symbols.capacity() * size_of::<u16>()
            + self.section_names.capacity() * size_of::<u32>()
            + self.go.as_ref().map_or(0, super::go::Tables::memory_bytes)
            + (self.starts.capacity() + self.tables.as_ref().map_or(0, Vec::capacity)) * size_of::<u32>()
    }

    /// The region that holds `offset`, or the space up to the next one.
    pub fn region(&self, offset: u64, file_len: u64) -> Region {
        let behind = self.regions.partition_point(|region| region.offset <= offset);
        if let Some(region) = behind.checked_sub(1).map(|index| self.regions[index])
            && offset - region.offset < region.len
        {
            return region;
        }
        let end = self.regions.get(behind).map_or(file_len, |region| region.offset);
        Region { offset, len: end.saturating_sub(offset), content: Content::Other, linked: 0 }
    }
}

fn code(segment: &Segment) -> Region {
    Region { offset: segment.offset, len: segment.file_len, content: Content::Code, linked: 0 }
}

/// What section headers tell.
#[derive(Default)]
struct Sections {
    regions: Vec<Region>,
    bases: Vec<u64>,
    names: Vec<u32>,
}

fn sections(old: &dyn ReadAt, extent: Extent, head: &[u8], layout: &Layout) -> Option<Sections> {
    let table = u64_at(head, 40)?;
    let (size, count, names) = (u16_at(head, 58)?, u16_at(head, 60)?, u16_at(head, 62)?);
    let count = usize::from(count);
    if usize::from(size) != SECTION_HEADER_BYTES || count > SECTIONS_MAX {
        return None;
    }
    let mut headers = vec![0; count * SECTION_HEADER_BYTES];
    if table.checked_add(headers.len() as u64)? > extent.len {
        return None;
    }
    old.read_at(extent.offset + table, &mut headers).ok()?;
    let header = |index: usize| headers.get(index * SECTION_HEADER_BYTES..(index + 1) * SECTION_HEADER_BYTES);
    let names = header(usize::from(names))?;
    let (names_offset, names_len) = (u64_at(names, 24)?, u64_at(names, 32)?);
    let names_len = names_len.min(extent.len.checked_sub(names_offset)?).min(NAMES_BYTES_MAX);
    let mut names = vec![0; names_len as usize];
    old.read_at(extent.offset + names_offset, &mut names).ok()?;
    let mut regions = Vec::new();
    for index in 1..count {
        let section = header(index)?;
        let kind = u32_at(section, 4)?;
        if kind == SHT_NOBITS {
            continue;
        }
        let name = names.get(u32_at(section, 0)? as usize..).unwrap_or_default();
        let linked = u32_at(section, if layout.relocatable && kind == SHT_RELA { 44 } else { 40 })?;
        regions.push(Region {
            offset: u64_at(section, 24)?,
            len: u64_at(section, 32)?,
            content: content(kind, u64_at(section, 8)?, name, layout),
            linked: header(linked as usize).and_then(|linked| u64_at(linked, 24)).unwrap_or(0),
        });
    }
    // A kernel that can be moved has the addresses to change appended to it. The headers of a Go program
    // stand before all sections.
    let ends = regions.iter().filter_map(|region| region.offset.checked_add(region.len));
    let end = ends.fold(table + headers.len() as u64, u64::max);
    if layout.fixed && extent.len.saturating_sub(end) >= APPENDIX_BYTES_MIN {
        regions.push(Region { offset: end, len: extent.len - end, content: Content::Addresses, linked: 0 });
    }
    let (offset, len, content) = (table, headers.len() as u64, Content::SectionHeaders);
    regions.push(Region { offset, len, content, linked: 0 });
    if !layout.relocatable {
        return Some(Sections { regions, ..Sections::default() });
    }
    let offset = |index: usize| header(index).and_then(|section| u64_at(section, 24)).unwrap_or(0);
    let name = |index: usize| {
        let name = header(index).and_then(|section| u32_at(section, 0));
        name_hash(name.and_then(|name| names.get(name as usize..)).unwrap_or_default())
    };
    let (bases, names) = ((0..count).map(offset).collect(), (0..count).map(name).collect());
    Some(Sections { regions, bases, names })
}

/// Reads which sections the first symbols stand for. Compilers put such symbols first.
fn section_symbols(old: &dyn ReadAt, extent: Extent, layout: &Layout, regions: &[Region]) -> Vec<u16> {
    let table = regions.iter().find(|region| region.content == Content::Symbols && layout.relocatable);
    let Some(table) = table else { return Vec::new() };
    let count = (table.len / SYMBOL_BYTES as u64).min(SECTION_SYMBOLS_MAX as u64) as usize;
    let mut symbols = vec![0; count * SYMBOL_BYTES];
    if old.read_at(extent.offset + table.offset, &mut symbols).is_err() {
        return Vec::new();
    }
    let section = |symbol: &[u8]| if symbol[4] & 15 == STT_SECTION { u16_at(symbol, 6) } else { None };
    symbols.chunks_exact(SYMBOL_BYTES).map(|symbol| section(symbol).unwrap_or(0)).collect()
}

/// What a section holds whose name stands at the start of `name`.
fn content(kind: u32, flags: u64, name: &[u8], layout: &Layout) -> Content {
    let name = &name[..name.len().min(NAME_BYTES)];
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    match kind {
        SHT_RELA => return Content::Rela,
        SHT_RELR => return Content::Relr,
        SHT_SYMTAB | SHT_DYNSYM => return Content::Symbols,
        SHT_INIT_ARRAY..=SHT_PREINIT_ARRAY => return Content::Data,
        SHT_PROGBITS | SHT_X86_64_UNWIND => {}
        _ => return Content::Other,
    }
    if name == b".BTF" {
        return Content::Types;
    }
    if layout.relocatable {
        // References stand in relocations; the bytes themselves are zero.
        return if name == b"__versions" { Content::Versions } else { Content::Other };
    }
    match name {
        b".gopclntab" | b".data.rel.ro.gopclntab" => Content::FunctionTables,
        b".eh_frame" => Content::FrameRecords,
        b".eh_frame_hdr" => Content::FrameIndex,
        _ if flags & SHF_EXECINSTR != 0 => Content::Code,
        b".rodata" | b".go.type" | b".go.func" | b".itablink" | b".typelink" => Content::Constants,
        b"__ex_table"
        | b".altinstructions"
        | b".orc_unwind_ip"
        | b"__jump_table"
        | b"__bug_table"
        | b".smp_locks"
        | b".static_call_sites"
        | b".retpoline_sites"
        | b".return_sites"
        | b".call_sites"
        | b".ibt_endbr_seal"
        | b".pci_fixup"
        | b"__tracepoints_ptrs" => Content::SelfRelative,
        _ if name.starts_with(b"__ksymtab") && !name.ends_with(b"strings") => Content::SelfRelative,
        b".parainstructions" | b"__param" | b"__modver" => Content::Data,
        _ if flags & (SHF_WRITE | SHF_ALLOC) == SHF_WRITE | SHF_ALLOC => Content::Data,
        _ => Content::Other,
    }
}

/// Two bytes at `at`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Four bytes at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Eight bytes at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
