use proptest::prelude::*;

use super::atlas::{Atlas, Place};
use super::elf::{Content, HEADER_BYTES_MAX, Image};
use super::field::Form;
use super::{Cover, PredictError, Predictor, Shared, labels, x86};
use crate::structure::{Extent, ReadAt};

/// Encodes and decodes `new`, proves that it comes back, and returns the differences.
pub(super) fn round_trip(
    covers: &[Cover],
    old: &[u8],
    new: &[u8],
    old_files: &[Extent],
    new_files: &[Extent],
) -> Vec<u8> {
    let run = |bytes: &mut [u8], encode: bool| {
        let mut predictor = Predictor::new(covers, &old, old_files, new_files).expect("covers are valid");
        predictor.recode(bytes, encode).expect("old bytes can be read");
    };
    let mut differences = new.to_vec();
    run(&mut differences, true);
    let mut again = differences.clone();
    run(&mut again, false);
    assert!(again == new, "the decoder gives back what was encoded");
    differences
}

pub(super) fn whole(bytes: &[u8]) -> Vec<Extent> {
    vec![Extent { offset: 0, len: bytes.len() as u64 }]
}

pub(super) const X86_64: u16 = 62;
pub(super) const AARCH64: u16 = 183;

/// Name, type, flags, content.
pub(super) type Section = (&'static str, u32, u64, Vec<u8>);

/// A program of one segment that is loaded at its own offsets.
pub(super) fn program(machine: u16, kind: u16, sections: &[Section]) -> Vec<u8> {
    let mut file = vec![0; HEADER_BYTES_MAX];
    let mut headers = vec![0; 64];
    let mut names = vec![0];
    for (name, kind, flags, content) in sections.iter().chain(&[(".names", 3, 0, Vec::new())]) {
        let name_offset = names.len() as u32;
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        let content = if *name == ".names" { &names } else { content };
        file.resize(file.len().next_multiple_of(8), 0);
        let offset = file.len() as u64;
        headers.extend_from_slice(&name_offset.to_le_bytes());
        headers.extend_from_slice(&kind.to_le_bytes());
        for word in [*flags, offset, offset, content.len() as u64] {
            headers.extend_from_slice(&word.to_le_bytes());
        }
        headers.extend_from_slice(&1_u32.to_le_bytes());
        headers.extend_from_slice(&1_u32.to_le_bytes());
        headers.extend_from_slice(&[0; 16]);
        file.extend_from_slice(content);
    }
    let len = file.len() as u64;
    file.extend_from_slice(&headers);
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[16..18].copy_from_slice(&kind.to_le_bytes());
    file[18..20].copy_from_slice(&machine.to_le_bytes());
    file[32..40].copy_from_slice(&64_u64.to_le_bytes());
    file[40..48].copy_from_slice(&len.to_le_bytes());
    for (at, value) in
        [(54, 56), (56, 1), (58, 64), (60, sections.len() as u16 + 2), (62, sections.len() as u16 + 1)]
    {
        file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    file[64..68].copy_from_slice(&1_u32.to_le_bytes());
    file[68..72].copy_from_slice(&5_u32.to_le_bytes());
    for at in [96, 104] {
        file[at..at + 8].copy_from_slice(&len.to_le_bytes());
    }
    file
}

/// Functions of 32 bytes, `count` of them; each calls another and takes the address of a third.
/// `extra` functions that refer to nothing stand in front of number `count / 2`.
pub(super) fn functions(machine: u16, count: usize, extra: usize) -> Vec<u8> {
    const LEN: usize = 32;
    let place = |index: usize| (index + if index >= count / 2 { extra } else { 0 }) * LEN;
    let mut code = vec![0; (count + extra) * LEN];
    let nop = if machine == AARCH64 { 0xd503_201f_u32 } else { 0x9090_9090 };
    for filler in code.chunks_exact_mut(4) {
        filler.copy_from_slice(&nop.to_le_bytes());
    }
    for index in 0..count {
        let at = place(index);
        let (called, taken) = (place(index * 7 % count), place((index * 5 + 3) % count));
        let mut put =
            |offset: usize, bytes: &[u8]| code[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        if machine == X86_64 {
            let distance = |from: usize, to: usize| (to as i64 - from as i64) as i32;
            put(0, &[0xe8]);
            put(1, &distance(at + 5, called).to_le_bytes());
            put(5, &[0x48, 0x8d, 0x05]);
            put(8, &distance(at + 12, taken).to_le_bytes());
        } else {
            let address = |offset: usize| (HEADER_BYTES_MAX + offset) as u64;
            for (offset, word, form, target) in [
                (0, 0x9400_0000_u32, Form::Branch26, called),
                (8, 0x9000_0000, Form::Page(0), taken),
                (12, 0x9100_0000, Form::PageLow(0, 0), taken),
            ] {
                let mut bytes = word.to_le_bytes();
                form.write(&mut bytes, address(at + offset), 0, address(target));
                put(offset, &bytes);
            }
        }
    }
    code
}

/// Code that moved is predicted to the last bit, whatever it refers to.
fn moved_code_leaves_nothing(machine: u16) {
    // More than a page of code moves, so that pages change, too.
    let (count, extra) = (600, 150);
    let text = |extra| vec![(".text", 1, 6, functions(machine, count, extra))];
    let (old, new) = (program(machine, 3, &text(0)), program(machine, 3, &text(extra)));
    let (head, half, gap) = (HEADER_BYTES_MAX as u64, count as u64 / 2 * 32, extra as u64 * 32);
    let covers = [
        Cover { old: 0, new: 0, len: head + half },
        Cover { old: head + half, new: head + half + gap, len: half },
    ];
    let plain = round_trip(&covers, &old, &new, &[], &[]);
    let predicted = round_trip(&covers, &old, &new, &whole(&old), &whole(&new));
    let unequal = |differences: &[u8]| {
        let (first, second) = (covers[0], covers[1]);
        let code = |cover: &Cover, from: u64| {
            let range = (cover.new + from) as usize..(cover.new + cover.len) as usize;
            differences[range].iter().filter(|&&byte| byte != 0).count()
        };
        code(&first, head) + code(&second, 0)
    };
    assert!(unequal(&plain) > 500, "without prediction {} bytes differ", unequal(&plain));
    assert_eq!(unequal(&predicted), 0);
}

#[test]
fn moved_x86_64_code_leaves_no_differences() {
    moved_code_leaves_nothing(X86_64);
}

#[test]
fn moved_aarch64_code_leaves_no_differences() {
    moved_code_leaves_nothing(AARCH64);
}

/// Tables of `count` functions: each has its code, its name, two tables of numbers and a tree with one
/// inlined call of its own.
/// What belongs to functions from the middle on stands `moved` bytes further behind.
fn function_tables(count: u32, moved: u32) -> Vec<u8> {
    const RECORD_BYTES: u32 = 64;
    const NONE: u32 = u32::MAX;
    let shift = |index: u32| if index >= count / 2 { moved } else { 0 };
    let (names, numbers) = (72, 72 + count * 8 + moved);
    let index = numbers + count * 8 + moved;
    let records = count * 8 + 4;
    let mut bytes = vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    for word in [count, 0, 0, names, numbers, numbers, numbers, index] {
        bytes.extend_from_slice(&u64::from(word).to_le_bytes());
    }
    // Names and numbers: no two of them are alike.
    for part in [0x1000_0000_u32, 0x2000_0000] {
        for number in 0..count {
            if number == count / 2 {
                bytes.resize(bytes.len() + moved as usize, 0);
            }
            bytes.extend_from_slice(&number.wrapping_mul(2_654_435_761).to_le_bytes());
            bytes.extend_from_slice(&(part + number).to_le_bytes());
        }
    }
    for number in 0..count {
        for word in [number * 32 + shift(number), records + number * RECORD_BYTES] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&(count * 32 + moved).to_le_bytes());
    for number in 0..count {
        let own = number * 8 + shift(number);
        let head = [number * 32 + shift(number), own, 0, 0, own, own + 4, 0, 1, number, number, 4 << 24];
        for word in head.into_iter().chain([own + 2, NONE, NONE, NONE, number * 16]) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    // What the trees stand in is aligned.
    bytes.extend_from_slice(&[0; 4]);
    for number in 0..count {
        for word in [0, number * 8 + shift(number), number, number] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn tables_of_go_functions_that_moved_leave_next_to_nothing() {
    let (count, moved) = (400, 64);
    let file = |moved: u32| {
        let code = functions(X86_64, count as usize, moved as usize / 32);
        program(X86_64, 3, &[(".text", 1, 6, code), (".gopclntab", 1, 2, function_tables(count, moved))])
    };
    let (old, new) = (file(0), file(moved));
    // Half the code, half the names, half the numbers, and all the rest.
    let (half, moved) = (u64::from(count) / 2, u64::from(moved));
    let code = HEADER_BYTES_MAX as u64 + half * 32;
    let names = HEADER_BYTES_MAX as u64 + half * 64 + 72 + half * 8;
    let numbers = names + half * 16;
    let covers = [
        Cover { old: 0, new: 0, len: code },
        Cover { old: code, new: code + moved, len: names - code },
        Cover { old: names, new: names + 2 * moved, len: numbers - names },
        Cover { old: numbers, new: numbers + 3 * moved, len: old.len() as u64 - numbers },
    ];
    let tables = (numbers + 3 * moved + half * 8) as usize;
    let end = tables + count as usize * 88 + 8;
    let unequal = |files: [&[Extent]; 2]| {
        let differences = round_trip(&covers, &old, &new, files[0], files[1]);
        differences[tables..end].iter().filter(|&&byte| byte != 0).count()
    };
    let plain = unequal([&[], &[]]);
    let predicted = unequal([&whole(&old), &whole(&new)]);
    assert!(plain > 800, "without prediction {plain} bytes differ");
    assert!(predicted <= plain / 40, "{predicted} of {plain} bytes differ");
}

#[test]
fn offsets_of_go_types_and_functions_that_moved_leave_next_to_nothing() {
    const COUNT: u32 = 1000;
    let file = |moved: u32| {
        let shift = |number: u32| if number >= COUNT / 2 { moved } else { 0 };
        let mut types = Vec::new();
        for number in 0..COUNT {
            // Functions whose offsets are larger than those of types.
            let function = COUNT / 4 + number * 3 / 4;
            for offset in [1024 + number * 4 + shift(number), function * 32 + shift(function)] {
                types.extend_from_slice(&offset.to_le_bytes());
            }
        }
        let code = functions(X86_64, COUNT as usize, moved as usize / 32);
        let sections =
            [(".text", 1, 6, code), (".gopclntab", 1, 2, function_tables(100, 0)), (".rodata", 1, 2, types)];
        program(X86_64, 2, &sections)
    };
    let (old, new) = (file(0), file(64));
    let half = HEADER_BYTES_MAX as u64 + u64::from(COUNT) * 16;
    let covers = [
        Cover { old: 0, new: 0, len: half },
        Cover { old: half, new: half + 64, len: old.len() as u64 - half },
    ];
    let unequal = |files: [&[Extent]; 2]| {
        let differences = round_trip(&covers, &old, &new, files[0], files[1]);
        differences.iter().filter(|&&byte| byte != 0).count()
    };
    let plain = unequal([&[], &[]]);
    let predicted = unequal([&whole(&old), &whole(&new)]);
    assert!(plain >= 1000, "without prediction {plain} bytes differ");
    assert!(predicted <= plain / 25, "{predicted} of {plain} bytes differ");
}

/// Linkers put the headers of sections behind these, that of Go before them.
#[test]
fn sections_are_known_wherever_their_headers_stand() {
    const HEADERS: usize = 1024;
    let code = functions(X86_64, 1000, 0);
    let mut bytes = program(X86_64, 2, &[(".text", 1, 6, code)]);
    let read = |bytes: &[u8]| {
        let image = Image::read(&bytes, whole(bytes)[0]).expect("a program");
        let regions = image.regions.iter().filter(|region| region.content != Content::SectionHeaders);
        regions.map(|region| (region.offset, region.len, region.content)).collect::<Vec<_>>()
    };
    let behind = read(&bytes);
    assert_eq!(behind[0].2, Content::Code);
    let table = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    let headers = bytes.split_off(table);
    bytes[HEADERS..HEADERS + headers.len()].copy_from_slice(&headers);
    bytes[40..48].copy_from_slice(&(HEADERS as u64).to_le_bytes());
    assert_eq!(read(&bytes), behind);
}

#[test]
fn headers_of_sections_that_grew_and_moved_leave_nothing() {
    let file = |extra: usize| {
        let sections = ["a", "b", "c", "d", "e"].map(|name| (name, 1, 0, vec![name.as_bytes()[0]; 500]));
        let mut sections = sections.to_vec();
        sections[1].3.splice(250..250, vec![0; extra]);
        program(X86_64, 1, &sections)
    };
    let (old, new) = (file(0), file(64));
    let half = (HEADER_BYTES_MAX + 504 + 250) as u64;
    let covers = [
        Cover { old: 0, new: 0, len: half },
        Cover { old: half, new: half + 64, len: old.len() as u64 - half },
    ];
    let behind = half as usize + 64;
    let unequal = |files: [&[Extent]; 2]| {
        let differences = round_trip(&covers, &old, &new, files[0], files[1]);
        differences[behind..].iter().filter(|&&byte| byte != 0).count()
    };
    assert!(unequal([&[], &[]]) >= 9, "addresses, offsets and a length differ");
    assert_eq!(unequal([&whole(&old), &whole(&new)]), 0);
}

/// What a module's table of imported symbols looks like, with checksums that hang on the symbol and the build.
fn module(symbols: &[u32], build: u32) -> Vec<u8> {
    let mut versions = Vec::new();
    for &symbol in symbols {
        let checksum = (symbol + build).wrapping_mul(0x9e37_79b9);
        versions.extend_from_slice(&u64::from(checksum).to_le_bytes());
        versions.extend_from_slice(format!("{symbol:056}").as_bytes());
    }
    program(X86_64, 1, &[("__versions", 1, 2, versions)])
}

/// Tells the second of two builds of a module from the first; answers how many bytes were told wrong.
fn told_wrong(symbols: &[u32], shared: &Shared) -> usize {
    let (old, new) = (module(symbols, 0), module(symbols, 1));
    let table = HEADER_BYTES_MAX..HEADER_BYTES_MAX + symbols.len() * 64;
    let covers = [Cover { old: 0, new: 0, len: new.len() as u64 }];
    let (old_files, new_files) = (whole(&old), whole(&new));
    let predictor = Predictor::new(&covers, &old, &old_files, &new_files).expect("covers are valid");
    let mut predictor = predictor.sharing(shared);
    predictor.literal(0, &new[..HEADER_BYTES_MAX]);
    let len = predictor.step_len(0, table.start as u64) as usize;
    let mut told = vec![0; len];
    predictor.tell(0, table.start as u64, &mut told, &vec![false; len]).expect("old bytes can be read");
    told[..table.len()].iter().zip(&new[table]).filter(|(told, new)| told != new).count()
}

#[test]
fn what_one_module_has_taught_tells_another() {
    let (old, new) = (module(&[1, 2, 3, 5, 8], 0), module(&[1, 2, 3, 5, 8], 1));
    let covers = [Cover { old: 0, new: 0, len: new.len() as u64 }];
    let (old_files, new_files) = (whole(&old), whole(&new));
    let mut shared = Shared::default();
    let before = told_wrong(&[2, 8], &shared);
    assert!((4..=8).contains(&before), "{before}");
    let predictor = Predictor::new(&covers, &old, &old_files, &new_files).expect("covers are valid");
    let mut predictor = predictor.sharing(&shared);
    predictor.recode(&mut new.clone(), true).expect("old bytes can be read");
    let lesson = predictor.into_lore().1;
    shared.learn(&lesson);
    assert_eq!(told_wrong(&[2, 8], &shared), 0);
    assert!(told_wrong(&[2, 4], &shared) > 0, "nobody has taught the other one");
}

#[test]
fn labels_of_moved_code_are_alike() {
    let text = |extra| vec![(".text", 1, 6, functions(X86_64, 600, extra))];
    let (old, new) = (program(X86_64, 3, &text(0)), program(X86_64, 3, &text(150)));
    let half = HEADER_BYTES_MAX + 300 * 32;
    let covers = [
        Cover { old: 0, new: 0, len: half as u64 },
        Cover { old: half as u64, new: (half + 150 * 32) as u64, len: 300 * 32 },
    ];
    let (old_files, new_files) = (whole(&old), whole(&new));
    let mut predictor = Predictor::new(&covers, &old, &old_files, &new_files).expect("covers are valid");
    let mut first = new[..HEADER_BYTES_MAX].to_vec();
    predictor.encode(0, 0, &mut first).expect("old bytes can be read");
    let (old_labels, new_labels) = (predictor.labels(0, 0).expect("old bytes can be read"), labels(&new));
    let code = HEADER_BYTES_MAX..half;
    assert!(old[code.clone()] != new[code.clone()]);
    assert!(old_labels[code.clone()] == new_labels[code]);
    assert!(old_labels[half..half + 300 * 32] == new_labels[half + 150 * 32..half + 450 * 32]);
}

#[test]
fn this_very_program_comes_back_from_scattered_covers() {
    let old = std::fs::read(std::env::current_exe().expect("a path")).expect("the test program");
    let old = old[..].to_vec();
    // Blocks change places two by two, and a literal stands in between now and then.
    let (mut new, mut covers) = (Vec::new(), Vec::new());
    let mut at = 0;
    let mut len = 5000;
    while at + 2 * len <= old.len() {
        for from in if at == 0 { [0, len] } else { [at + len, at] } {
            covers.push(Cover { old: from as u64, new: new.len() as u64, len: len as u64 });
            new.extend_from_slice(&old[from..from + len]);
        }
        at += 2 * len;
        len = 3000 + (len * 31 + 17) % 70_000;
        new.extend_from_slice(&old[..len % 40]);
    }
    for index in (0..new.len()).step_by(997) {
        new[index] ^= 0x55;
    }
    round_trip(&covers, &old, &new, &whole(&old), &whole(&new));
}

#[test]
fn lengths_of_instructions_agree_with_a_full_decoder() {
    let bytes = std::fs::read(std::env::current_exe().expect("a path")).expect("the test program");
    let image = Image::read(&bytes, Extent { offset: 0, len: bytes.len() as u64 }).expect("an ELF file");
    if image.layout.machine != super::elf::Machine::X86_64 {
        return;
    }
    let text =
        image.regions.iter().filter(|region| region.content == Content::Code).max_by_key(|region| region.len);
    let text = text.expect("a program has code");
    let code = &bytes[text.offset as usize..][..text.len as usize];
    let mut decoder = iced_x86::Decoder::new(64, code, iced_x86::DecoderOptions::NONE);
    let mut seen = 0;
    while decoder.can_decode() && seen < 500_000 {
        let at = decoder.position();
        let full = decoder.decode();
        if full.is_invalid() {
            continue;
        }
        let offsets = decoder.get_constant_offsets(&full);
        let ours = x86::decode(&code[at..code.len().min(at + x86::INSTRUCTION_BYTES_MAX)]);
        let ours = ours.unwrap_or_else(|| panic!("{:x?} is {full:?}", &code[at..at + full.len()]));
        assert_eq!(usize::from(ours.len), full.len(), "{:x?}", &code[at..at + full.len()]);
        if full.is_ip_rel_memory_operand() {
            assert!(ours.relative && usize::from(ours.disp) == offsets.displacement_offset(), "{full:?}");
        }
        seen += 1;
    }
    assert!(seen > 100_000, "only {seen} instructions");
}

/// Every kind of section that is known, with the same bytes in each.
pub(super) fn every_section(bytes: &[u8]) -> Vec<Section> {
    let mut types = bytes.to_vec();
    if types.len() > 24 {
        types[..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
        types[8..24].fill(0);
        types[13] = 4;
    }
    let mut functions = bytes.to_vec();
    if functions.len() > 200 {
        functions[..8].copy_from_slice(&[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]);
        for (at, value) in [(8, 3_u64), (32, 72), (40, 76), (48, 84), (56, 92), (64, 100)] {
            functions[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        functions[104] = 60;
    }
    vec![
        (".gopclntab", 1, 2, functions),
        (".text", 1, 6, bytes.to_vec()),
        (".rela.dyn", 4, 2, bytes.to_vec()),
        (".symtab", 2, 0, bytes.to_vec()),
        (".eh_frame", 1, 2, bytes.to_vec()),
        (".eh_frame_hdr", 1, 2, bytes.to_vec()),
        (".data", 1, 3, bytes.to_vec()),
        (".rodata", 1, 2, bytes.to_vec()),
        (".orc_unwind_ip", 1, 2, bytes.to_vec()),
        (".BTF", 1, 2, types),
    ]
}

/// Bytes with many small numbers, so that references aim at something.
pub(super) fn content() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        3 => (0_u32..0x4000).prop_map(|word| word.to_le_bytes().to_vec()),
        1 => any::<u32>().prop_map(|word| word.to_le_bytes().to_vec()),
        1 => Just(vec![0; 8]),
        1 => Just(vec![0xe8, 0x10, 0, 0, 0]),
        1 => Just(vec![0x48, 0x8d, 0x05, 0x20, 0, 0, 0]),
        1 => Just(vec![0, 0, 0, 0x94, 0, 0, 0, 0x90, 0, 0, 0, 0x91]),
    ];
    prop::collection::vec(word, 0..300).prop_map(|words| words.concat())
}

fn covers(old_len: usize, new_len: usize) -> impl Strategy<Value = Vec<Cover>> {
    prop::collection::vec((0_usize..300, any::<prop::sample::Index>(), 1_usize..6000), 0..40).prop_map(
        move |parts| {
            let (mut covers, mut at) = (Vec::new(), 0);
            for (gap, old, len) in parts {
                let old = if gap % 3 == 0 { at.min(old_len - 1) } else { old.index(old_len) };
                let new = at + gap / 2;
                let len = len.min(old_len - old).min(new_len.saturating_sub(new));
                if len > 0 {
                    covers.push(Cover { old: old as u64, new: new as u64, len: len as u64 });
                    at = new + len;
                }
            }
            covers
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_program_comes_back_from_any_covers(
        (old, new, covers, split) in (content(), content(), any::<u16>(), 1_u16..4, any::<bool>())
            .prop_flat_map(|(old, new, flip, kind, arm)| {
                let machine = if arm { AARCH64 } else { X86_64 };
                let mut old = program(machine, kind, &every_section(&old));
                let mut new = program(machine, kind, &every_section(&new));
                // One byte of the headers is hostile.
                let at = usize::from(flip) % 128;
                old[at] ^= (flip >> 8) as u8 & 0x3f;
                new[at / 2] ^= (flip >> 10) as u8;
                let covers = covers(old.len(), new.len());
                let len = new.len();
                (Just(old), Just(new), covers, 0..len)
            })
    ) {
        round_trip(&covers, &old, &new, &whole(&old), &whole(&new));
        // Files may begin and end anywhere.
        let halves = [Extent { offset: 0, len: split as u64 }, Extent { offset: split as u64, len: (new.len() - split) as u64 }];
        round_trip(&covers, &old, &new, &whole(&old), &halves);
    }

    #[test]
    fn forms_read_what_they_write(target in 0_u64..1 << 24, page in 0_u64..1 << 10, word in any::<[u8; 4]>()) {
        let address = page << 12 | 0x40;
        let mut bytes = word;
        for form in [Form::Relative(4), Form::Back, Form::Absolute32, Form::Number, Form::Byte21] {
            let target = if form == Form::Byte21 { address + (target & 0xf_ffff) } else { target };
            form.write(&mut bytes, address, 0, target);
            prop_assert_eq!(form.read(&bytes, address, 0), target);
        }
        let target = target & !3;
        for (form, span) in [(Form::Branch26, 1_u64 << 27), (Form::Branch19, 1 << 20), (Form::Branch14, 1 << 15)] {
            let target = address.wrapping_add(target % span).wrapping_sub(span / 2) & !3;
            form.write(&mut bytes, address, 0, target);
            prop_assert_eq!(form.read(&bytes, address, 0), target);
        }
        Form::Page(0).write(&mut bytes, address, 0, target);
        prop_assert_eq!(Form::Page(0).read(&bytes, address, 0), target & !0xfff);
        Form::PageLow(0, 2).write(&mut bytes, address, 0, target);
        prop_assert_eq!(Form::PageLow(0, 2).read(&bytes, address, target & !0xfff), target);
        let mut wide = [0; 8];
        Form::InFile64.write(&mut wide, 0, 77, target);
        prop_assert_eq!(Form::InFile64.read(&wide, 0, 77), target);
        Form::Length64.write(&mut wide, 0, 77, 77 + target);
        prop_assert_eq!(u64::from_le_bytes(wide), target + 1);
        prop_assert_eq!(Form::Length64.read(&wide, 0, 77), 77 + target);
    }

    #[test]
    fn the_atlas_knows_every_covered_byte_and_prefers_long_covers(
        parts in prop::collection::vec((0_u64..400, 1_u64..90), 1..40),
        probe in 0_u64..600,
    ) {
        let mut at = 1000;
        let covers: Vec<Cover> = parts.iter().map(|&(old, len)| {
            at += len + 5;
            Cover { old, new: at - len, len }
        }).collect();
        let holding = covers.iter().filter(|cover| probe >= cover.old && probe < cover.old + cover.len);
        // The longest one, the first of equals.
        let expected = holding.rev().max_by_key(|cover| cover.len).map(|cover| cover.new + probe - cover.old);
        match Atlas::new(&covers).place(probe) {
            Some(Place::Covered(new)) => prop_assert_eq!(Some(new), expected),
            place => prop_assert!(expected.is_none() && place.is_some(), "{place:?} for {expected:?}"),
        }
    }
}

#[test]
fn covers_out_of_range_or_order_are_refused() {
    let old = vec![0; 100];
    for covers in [
        vec![Cover { old: 50, new: 0, len: 51 }],
        vec![Cover { old: u64::MAX, new: 0, len: 2 }],
        vec![Cover { old: 0, new: u64::MAX, len: 2 }],
        vec![Cover { old: 0, new: 0, len: 0 }],
        vec![Cover { old: 0, new: 10, len: 10 }, Cover { old: 0, new: 19, len: 10 }],
    ] {
        let result = Predictor::new(&covers, &old, &[], &[]);
        assert!(matches!(result.err(), Some(PredictError::OutOfOrder { what: "cover", .. })), "{covers:?}");
    }
    let files = [Extent { offset: 0, len: 60 }, Extent { offset: 50, len: 10 }];
    let result = Predictor::new(&[], &old, &files, &[]);
    assert!(matches!(result.err(), Some(PredictError::OutOfOrder { what: "old file", index: 1 })));
    let covers = [Cover { old: 0, new: 0, len: 100 }];
    let mut predictor = Predictor::new(&covers, &old, &[], &[]).expect("covers are valid");
    assert!(matches!(predictor.encode(0, 0, &mut [0; 7]), Err(PredictError::Step { len: 7, .. })));
    assert!(matches!(predictor.decode(3, 0, &mut [0; 7]), Err(PredictError::Step { cover: 3, .. })));
    assert_eq!(ReadAt::len(&old), 100);
}
