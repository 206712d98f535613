use std::collections::HashSet;

use proptest::prelude::*;

use super::super::tests::{Section, X86_64, content, every_section, program};
use super::*;

const OBJECT: u16 = 1;
const FIXED: u16 = 2;
const ANYWHERE: u16 = 3;

/// The masked form of a program.
fn masked(bytes: &[u8]) -> Vec<u8> {
    let file = bytes.to_vec();
    let mut masker = Masker::open(&file).expect("a program");
    let mut form = file.clone();
    for (index, step) in form.chunks_mut(MASK_STEP_BYTES).enumerate() {
        masker.mask((index * MASK_STEP_BYTES) as u64, step).expect("memory can be read");
    }
    form
}

/// Where section `index` stands, counted from 1.
fn section(file: &[u8], index: usize) -> (usize, usize) {
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let header = word(40) + 64 * index;
    (word(header + 24), word(header + 32))
}

/// Proves of section `index` that its masked form says something, and that both files have the same but
/// around one entry: `around` bytes may differ.
fn differs_around_an_entry(old: &[u8], new: &[u8], index: usize, entry: usize, around: usize) {
    let [old, new] = [old, new].map(|file| {
        let (offset, len) = section(file, index);
        masked(file)[offset..offset + len].to_vec()
    });
    let kinds = new.chunks(entry).collect::<HashSet<_>>().len();
    assert!(kinds > 4, "section {index}: {kinds} kinds of entries");
    let same = |one: &mut dyn Iterator<Item = (&u8, &u8)>| one.take_while(|(old, new)| old == new).count();
    let front = same(&mut old.iter().zip(&new));
    let back = same(&mut old.iter().rev().zip(new.iter().rev()));
    assert!(old.len() < new.len(), "section {index} has grown");
    assert!(
        front + back + around >= new.len(),
        "section {index}: {front} and {back} of {} are the same",
        new.len()
    );
}

const COUNT: usize = 400;

/// Where functions start, behind `base`; `extra` bytes of one more stand in the middle.
fn starts(base: usize, extra: usize) -> Vec<usize> {
    let mut at = base;
    let mut starts = Vec::new();
    for index in 0..COUNT {
        if index == COUNT / 2 && extra > 0 {
            starts.push(at);
            at += extra;
        }
        starts.push(at);
        at += 16 * (1 + index * index % 37);
    }
    starts
}

fn relocation(offset: usize, kind: u32, symbol: usize, addend: u64) -> Vec<u8> {
    let words = [offset as u64, (symbol as u64) << 32 | u64::from(kind), addend];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A module: names, symbols, relocations of code and of a table of functions.
fn object(extra: usize) -> Vec<u8> {
    let starts = starts(0, extra);
    let (mut names, mut symbols) = (vec![0], vec![0; 48]);
    // The second symbol is the one of section 5.
    (symbols[28], symbols[30]) = (3, 5);
    let (mut code, mut table) = (Vec::new(), Vec::new());
    for (index, &start) in starts.iter().enumerate() {
        let number = if extra == 0 || index < COUNT / 2 { index } else { index - 1 };
        let is_extra = extra > 0 && index == COUNT / 2;
        let letter = |shift: usize| char::from(b'a' + (number >> shift & 15) as u8);
        let name = if is_extra { "one_more".to_owned() } else { [8, 4, 0].map(letter).iter().collect() };
        let mut symbol = [0; 24];
        symbol[..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
        (symbol[4], symbol[6]) = (0x12, 5);
        symbol[8..16].copy_from_slice(&(start as u64).to_le_bytes());
        symbols.extend_from_slice(&symbol);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        code.extend(relocation(start + 5, 4, 2 + index, 4_u64.wrapping_neg()));
        table.extend(relocation(4 * index, 2, 1, start as u64));
    }
    let sections: [Section; 5] = [
        (".strtab", 3, 0, names),
        (".symtab", 2, 0, symbols),
        (".rela.text", 4, 0, code),
        (".rela.orc_unwind_ip", 4, 0, table),
        (".text", 1, 6, vec![0x90; 64]),
    ];
    program(X86_64, OBJECT, &sections)
}

#[test]
fn symbols_and_relocations_of_objects_change_only_around_an_entry_more() {
    let (old, new) = (object(0), object(0x1230));
    for index in 2..=4 {
        differs_around_an_entry(&old, &new, index, 24, 3 * 24);
    }
}

/// A program whose tables are filled by `tables`, which is told where code and the tables start.
fn linked(
    kind: u16,
    extra: usize,
    tables: impl Fn(&[usize], &dyn Fn(usize) -> usize) -> Vec<Section>,
) -> Vec<u8> {
    let code = || (".text", 1, 6, vec![0x90; 0x3_0000 + extra]);
    let build = |file: &[u8]| {
        let place = |index: usize| if file.is_empty() { 0 } else { section(file, index).0 };
        let count = tables(&starts(0, extra), &|_| 0).len();
        let mut sections = tables(&starts(place(count + 1), extra), &place);
        sections.push(code());
        program(X86_64, kind, &sections)
    };
    build(&build(&[]))
}

fn words(words: impl Iterator<Item = usize>) -> Vec<u8> {
    words.flat_map(|word| (word as u32).to_le_bytes()).collect()
}

#[test]
fn sorted_tables_of_addresses_change_only_around_an_entry_more() {
    let tables = |starts: &[usize], place: &dyn Fn(usize) -> usize| -> Vec<Section> {
        let (unwind, index) = (place(1), place(2));
        let relative =
            starts.iter().enumerate().map(|(number, start)| start.wrapping_sub(unwind + 4 * number));
        let pairs = starts.iter().enumerate();
        let pairs =
            pairs.flat_map(|(number, start)| [*start, index + 32 * number].map(|at| at.wrapping_sub(index)));
        let relocations = starts
            .iter()
            .enumerate()
            .flat_map(|(number, start)| relocation(place(3) + 8 * number, 8, 0, *start as u64));
        vec![
            (".orc_unwind_ip", 1, 2, words(relative)),
            (".eh_frame_hdr", 1, 2, [vec![0; 12], words(pairs)].concat()),
            (".rela.dyn", 4, 2, relocations.collect()),
        ]
    };
    let [old, new] = [0, 0x1230].map(|extra| linked(ANYWHERE, extra, tables));
    differs_around_an_entry(&old, &new, 1, 4, 2 * 4);
    // Its third word, the count, is left as it is here.
    differs_around_an_entry(&old, &new, 2, 8, 3 * 8);
    differs_around_an_entry(&old, &new, 3, 24, 2 * 24);
}

#[test]
fn symbols_of_a_kernel_change_only_around_an_entry_more() {
    let tables = |starts: &[usize], _: &dyn Fn(usize) -> usize| -> Vec<Section> {
        // Enough to be taken for the table.
        let addresses = starts.iter().flat_map(|start| (0..12).map(move |part| start + part));
        vec![(".rodata", 1, 2, words(addresses.map(|at| !at)))]
    };
    let [old, new] = [0, 0x1230].map(|extra| linked(FIXED, extra, tables));
    differs_around_an_entry(&old, &new, 1, 4, 14 * 4);
}

proptest! {
    #[test]
    fn any_program_is_masked(content in content(), kind in 1_u16..4, junk in any::<[u8; 64]>(), at in any::<u16>()) {
        let mut file = program(X86_64, kind, &every_section(&content));
        masked(&file);
        // Headers that tell anything.
        let table = u64::from_le_bytes(file[40..48].try_into().unwrap()) as usize;
        let at = table + usize::from(at) % (file.len() - table - junk.len());
        file[at..at + junk.len()].copy_from_slice(&junk);
        masked(&file);
    }
}
