//! References in `AArch64` code.
//!
//! Source: Arm Architecture Reference Manual, C4.1 (encodings). Addresses come in pairs: `ADRP` gives
//! the page, an `ADD`, load or store through the same register the rest.

use super::field::{Field, Form};
use super::scan::Run;

/// Instructions behind an `ADRP` among which its partner is looked for.
const PARTNER_DISTANCE_MAX: usize = 16;

/// Appends the references in a run of code.
pub(super) fn code(run: &Run<'_>, fields: &mut Vec<Field>) {
    let Some(address) = run.image.layout.address(run.offset) else { return };
    let base = address.wrapping_sub(run.before as u64);
    let first = (base.wrapping_neg() & 3) as usize;
    let words: Vec<u32> = run.bytes[first.min(run.bytes.len())..]
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    // Old pages in registers.
    let mut pages = [None::<u64>; 32];
    for (index, &word) in words.iter().enumerate() {
        let at = first + index * 4;
        let here = base.wrapping_add(at as u64);
        let register = (word & 31) as u8;
        let source = usize::from((word >> 5 & 31) as u8);
        let found = if let Some(form) = branch(word) {
            let target = form.read(&word.to_le_bytes(), here, 0);
            if word >> 26 == 0b10_0101 {
                pages[..18].fill(None);
            }
            Some((form, target))
        } else if word & 0x9f00_0000 == 0x9000_0000 {
            let form = Form::Page(register);
            let page = form.read(&word.to_le_bytes(), here, 0);
            pages[usize::from(register)] = Some(page);
            let partner = words[index + 1..].iter().take(PARTNER_DISTANCE_MAX).find_map(|&word| {
                let (from, low) = low_part(word)?;
                (from == register).then(|| low.read(&word.to_le_bytes(), 0, page))
            });
            Some((form, partner.unwrap_or(page)))
        } else if let Some((_, form)) = low_part(word)
            && let Some(page) = pages[source]
        {
            if !is_store(word) {
                pages[usize::from(register)] = None;
            }
            Some((form, form.read(&word.to_le_bytes(), 0, page)))
        } else {
            if !is_store(word) {
                pages[usize::from(register)] = None;
            }
            None
        };
        if let Some((form, target)) = found
            && at >= run.before
            && run.image.layout.holds(target)
        {
            fields.push(Field { at: (at - run.before) as u32, form, target, base: 0, context: 0 });
        }
    }
}

/// Instructions that aim at something near, each on its own.
fn branch(word: u32) -> Option<Form> {
    if word & 0x7c00_0000 == 0x1400_0000 {
        return Some(Form::Branch26);
    }
    if word & 0xff00_0010 == 0x5400_0000
        || word & 0x7e00_0000 == 0x3400_0000
        || word & 0x3b00_0000 == 0x1800_0000
    {
        return Some(Form::Branch19);
    }
    if word & 0x7e00_0000 == 0x3600_0000 {
        return Some(Form::Branch14);
    }
    (word & 0x9f00_0000 == 0x1000_0000).then_some(Form::Byte21)
}

/// `ADD`, loads and stores with an unsigned offset of twelve bits: base register and form.
fn low_part(word: u32) -> Option<(u8, Form)> {
    let source = (word >> 5 & 31) as u8;
    if word & 0xffc0_0000 == 0x9100_0000 {
        return Some((source, Form::PageLow(source, 0)));
    }
    if word & 0x3b00_0000 != 0x3900_0000 {
        return None;
    }
    let vector = word & 0x0400_0000 != 0;
    let scale = if vector && word & 0x0080_0000 != 0 { 4 } else { (word >> 30) as u8 };
    Some((source, Form::PageLow(source, scale)))
}

/// Stores with an unsigned offset, stores of pairs: their low bits are no destination.
fn is_store(word: u32) -> bool {
    (word & 0x3b00_0000 == 0x3900_0000 && word & 0x00c0_0000 == 0) || word & 0x3a40_0000 == 0x2800_0000
}
