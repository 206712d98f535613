use super::super::elf::{HEADER_BYTES_MAX, Image};
use super::super::mask::{MASK_STEP_BYTES, Masker};
use super::super::tests::{AARCH64, functions, round_trip, whole};
use super::super::{Cover, is_program};
use super::*;

/// A kernel's first address, as its constants have it.
const START: u64 = 0xffff_8000_0800_0000;
const FUNCTIONS: usize = 4000;
/// Entries of the table of exceptions, of symbols, of relocations.
const FIXUPS: usize = 4000;
const SYMBOLS: usize = 5000;
const RELOCATIONS: usize = 1000;
/// What stands between code and tables, so that words between them are no small numbers.
const DATA_BYTES: usize = 256 << 10;

/// Where each part starts.
struct Places {
    fixups: usize,
    symbols: usize,
    relocations: usize,
    types: usize,
    end: usize,
}

/// A kernel: a header, code, data that is all alike, and tables that refer to the code. `extra` functions stand in
/// the middle of one build that the other has not.
fn kernel(extra: usize, start: u64) -> Kernel {
    let mut file = vec![0; HEADER_BYTES_MAX];
    file[MAGIC_AT..MAGIC_END].copy_from_slice(MAGIC);
    file.extend(functions(AARCH64, FUNCTIONS, extra));
    file.resize(file.len() + DATA_BYTES, 0x11);
    // Each entry has its own function.
    let place = |entry: usize| {
        let number = entry * FUNCTIONS / SYMBOLS;
        HEADER_BYTES_MAX + 32 * (number + if number >= FUNCTIONS / 2 { extra } else { 0 })
    };
    let fixups = file.len();
    for entry in 0..FIXUPS {
        let distance = place(entry) as i64 - file.len() as i64;
        file.extend((distance as i32).to_le_bytes());
    }
    let symbols = file.len();
    for entry in 0..SYMBOLS {
        file.extend((place(entry) as u32 + (entry % 5) as u32).to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(8) + 8, 0);
    let relocations = file.len();
    for entry in 0..RELOCATIONS {
        let words = [symbols + 8 * entry, R_AARCH64_RELATIVE as usize, place(entry * 4)];
        let [at, kind, aim] = words.map(|word| word as u64);
        for word in [start + at, kind, start + aim] {
            file.extend(word.to_le_bytes());
        }
    }
    let types = file.len();
    // A header, one type, and a name.
    file.extend([0x9f, 0xeb, 1, 0]);
    for word in [24_u32, 0, 12, 12, 5, 1, 7 << 24, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(*b"\0abc\0");
    let end = file.len();
    // Code of a start that is thrown away.
    file.resize(end.next_multiple_of(4096), 0);
    file.extend(functions(AARCH64, 256, 0));
    let memory_len = file.len() as u64 + 4096;
    file[MEMORY_LEN_AT..MEMORY_LEN_AT + 8].copy_from_slice(&memory_len.to_le_bytes());
    (file, Places { fixups, symbols, relocations, types, end })
}

type Kernel = (Vec<u8>, Places);

/// Two builds, and what they have in common.
fn builds() -> (Kernel, Kernel, [Cover; 2]) {
    const EXTRA: usize = 150;
    let (old, new) = (kernel(0, START), kernel(EXTRA, START));
    let half = (HEADER_BYTES_MAX + FUNCTIONS / 2 * 32) as u64;
    let covers = [
        Cover { old: 0, new: 0, len: half },
        Cover { old: half, new: half + EXTRA as u64 * 32, len: old.1.end as u64 - half },
    ];
    (old, new, covers)
}

#[test]
fn what_stands_where_is_told_by_its_looks() {
    let (file, places) = kernel(0, START);
    assert!(is_program(&file));
    let image = Image::read(&file, whole(&file)[0]).expect("a kernel");
    assert_eq!(image.layout.loaded_at, Some(START));
    let at = |offset: usize| image.region(offset as u64, file.len() as u64);
    assert_eq!(at(0).content, Content::Constants);
    for offset in [HEADER_BYTES_MAX, HEADER_BYTES_MAX + 32 * FUNCTIONS - 4096] {
        assert_eq!(at(offset).content, Content::Code);
    }
    assert_eq!(at(places.fixups - 4096).content, Content::Constants);
    assert_eq!(at(places.fixups + 4096).content, Content::SelfRelative);
    let exact = |offset: usize, end: usize, content| {
        let region = at(offset);
        assert_eq!((region.offset, region.len), (offset as u64, (end - offset) as u64), "{content:?}");
        assert_eq!(region.content, content);
    };
    exact(places.symbols, places.symbols + 4 * SYMBOLS, Content::SymbolOffsets);
    exact(places.relocations, places.types, Content::Rela);
    exact(places.types, places.end, Content::Types);
    assert_eq!(at(places.types).linked, places.types as u64 + 36);
    assert_eq!(at(file.len() - 4096).content, Content::Code);
    // Types end anywhere; what stands behind them begins with a word, and nothing is lost.
    let ends = image.regions.iter().map(|region| region.offset + region.len);
    for (end, next) in ends.zip(&image.regions[1..]) {
        assert!((end..end + 4).contains(&next.offset), "{next:?} behind {end}");
    }
}

#[test]
fn tables_of_a_kernel_whose_code_moved_leave_next_to_nothing() {
    let ((old, _), (new, places), covers) = builds();
    let unequal = |files: [&[Extent]; 2], from: usize, to: usize| {
        let differences = round_trip(&covers, &old, &new, files[0], files[1]);
        differences[from..to].iter().filter(|&&byte| byte != 0).count()
    };
    let (old_files, new_files) = (whole(&old), whole(&new));
    let parts = [
        (HEADER_BYTES_MAX, HEADER_BYTES_MAX + FUNCTIONS / 2 * 32),
        (places.fixups, places.symbols),
        (places.symbols, places.relocations),
        (places.relocations, places.types),
    ];
    for (from, to) in parts {
        let plain = unequal([&[], &[]], from, to);
        let predicted = unequal([&old_files, &new_files], from, to);
        assert!(plain > 400, "without prediction {plain} bytes at {from} differ");
        // Tables begin and end inside a page, which looks like something else.
        assert!(predicted <= plain / 5, "{predicted} of {plain} bytes at {from} differ");
    }
}

#[test]
fn a_kernel_whose_code_moved_looks_the_same_masked() {
    let ((old, before), (new, after), covers) = builds();
    let masked = |file: &Vec<u8>| {
        let mut masker = Masker::open(file).expect("a kernel");
        let mut form = file.clone();
        for (index, step) in form.chunks_mut(MASK_STEP_BYTES).enumerate() {
            masker.mask((index * MASK_STEP_BYTES) as u64, step).expect("memory can be read");
        }
        form
    };
    let (old_form, new_form) = (masked(&old), masked(&new));
    let code = HEADER_BYTES_MAX..covers[0].len as usize;
    assert_ne!(old[code.clone()], new[code.clone()]);
    assert_eq!(old_form[code.clone()], new_form[code]);
    let relocations = |form: &[u8], places: &Places| form[places.relocations..places.types].to_vec();
    let unequal = |old: Vec<u8>, new: Vec<u8>| old.iter().zip(&new).filter(|(old, new)| old != new).count();
    assert!(unequal(relocations(&old, &before), relocations(&new, &after)) > 1000);
    // One where it grew, and eight where a step ends inside an address.
    let unlike = unequal(relocations(&old_form, &before), relocations(&new_form, &after));
    assert!(unlike <= 9, "{unlike} bytes");
}

/// One that is loaded elsewhere is predicted worse, and comes back.
#[test]
fn kernels_of_all_kinds_come_back() {
    let ((old, _), ..) = builds();
    let cut = old[..old.len() / 2].to_vec();
    let mut noise = vec![0xff; old.len()];
    noise[MAGIC_AT..MAGIC_END].copy_from_slice(MAGIC);
    for new in [kernel(0, START + (1 << 30)).0, kernel(0, 0).0, cut, noise] {
        let covers = [Cover { old: 0, new: 0, len: old.len().min(new.len()) as u64 }];
        round_trip(&covers, &old, &new, &whole(&old), &whole(&new));
        round_trip(&covers, &new, &old, &whole(&new), &whole(&old));
    }
}
