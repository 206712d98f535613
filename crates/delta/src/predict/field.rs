//! A reference: where it stands, how it is written, what it aims at.

/// Numbers of BTF types. Modules continue the numbers of their kernel, so all files share them.
pub(super) const TYPE_IDS: u64 = 1 << 60;
/// Offsets of names of BTF types in modules, which continue those of their kernel.
pub(super) const TYPE_NAMES: u64 = 2 << 60;
/// Indices of the symbols of one file.
pub(super) const SYMBOL_INDICES: u64 = 3 << 60;

/// Indices into the compilation units of one Go program.
pub(super) const UNIT_INDICES: u64 = 4 << 60;
/// Offsets of data about the functions of one Go program.
pub(super) const FUNCTION_DATA: u64 = 5 << 60;
/// Lines at which functions of one Go program start, by name.
pub(super) const FUNCTION_LINES: u64 = 6 << 60;
/// Offsets of types and of their names in one Go program.
pub(super) const TYPE_OFFSETS: u64 = 7 << 60;

/// Checksums of what a kernel's symbols look like, which modules name. All files share them.
pub(super) const SYMBOL_VERSIONS: u64 = 1 << 59;

/// How a reference is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Four bytes: target minus the address `.0` bytes behind the field's start.
    Relative(u8),
    /// Four bytes: address of the field minus target, as `.eh_frame` points back to a CIE.
    Back,
    /// Eight bytes: the target.
    Absolute64,
    /// Eight bytes: the target and the field's base together. The base is an address that stays.
    Loaded64,
    /// Four bytes: the low half of the target.
    Absolute32,
    /// Four bytes: target minus the field's base.
    Based,
    /// Four bytes: the field's base minus target.
    Below,
    /// Four bytes: an offset in the file minus the base, also an offset in the file.
    InFile,
    /// The same in eight bytes.
    InFile64,
    /// Eight bytes: a length, from the base to the target, the last byte; both are offsets in the file.
    Length64,
    /// Four bytes: a number that stands for something, such as the index of a symbol.
    Number,
    /// `AArch64`: words to the target in the low 26 bits (`B`, `BL`).
    Branch26,
    /// `AArch64`: words to the target in bits 5 to 23 (`B.cond`, `CBZ`, literal `LDR`).
    Branch19,
    /// `AArch64`: words to the target in bits 5 to 18 (`TBZ`).
    Branch14,
    /// `AArch64`: bytes to the target in bits 5 to 23, the lowest two in bits 29 and 30 (`ADR`).
    Byte21,
    /// `AArch64`: pages to the target's page (`ADRP`) into register `.0`.
    Page(u8),
    /// `AArch64`: the low twelve bits in bits 10 to 21, scaled by a shift of `.1`, beside the page in
    /// register `.0`.
    PageLow(u8, u8),
}

/// A reference in an old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Its start, in bytes from the start of the step.
    pub at: u32,
    pub form: Form,
    /// What it aims at in the old file.
    pub target: u64,
    /// What the target counts from ([`Form::Based`], [`Form::Below`], [`Form::InFile`]); what is numbered
    /// ([`Form::Number`]).
    pub base: u64,
    /// References of one kind in one section, which the same source tends to predict best.
    pub context: u8,
}

impl Form {
    /// Bytes that the field takes.
    pub fn width(self) -> usize {
        if matches!(self, Self::Absolute64 | Self::Loaded64 | Self::InFile64 | Self::Length64) {
            8
        } else {
            4
        }
    }

    /// What eight bytes count from.
    fn base64(self, base: u64) -> u64 {
        match self {
            Self::InFile64 => base,
            Self::Loaded64 => base.wrapping_neg(),
            Self::Length64 => base.wrapping_sub(1),
            _ => 0,
        }
    }

    /// Writes the reference to `target` over the old one in `bytes`, which are [`Form::width`] long
    /// and stand at `address`.
    pub fn write(self, bytes: &mut [u8], address: u64, base: u64, target: u64) {
        if let Ok(bytes) = <&mut [u8; 8]>::try_from(&mut *bytes) {
            let base = self.base64(base);
            *bytes = target.wrapping_sub(base).to_le_bytes();
            return;
        }
        let Ok(bytes) = <&mut [u8; 4]>::try_from(bytes) else { return };
        let old = u32::from_le_bytes(*bytes);
        let bits = |value: u64, count: u32, shift: u32| {
            let mask = ((1_u32 << count) - 1) << shift;
            (old & !mask) | (((value as u32) << shift) & mask)
        };
        let distance = target.wrapping_sub(address);
        let word = match self {
            Self::Relative(span) => distance.wrapping_sub(u64::from(span)) as u32,
            Self::Back => distance.wrapping_neg() as u32,
            Self::Absolute32 | Self::Absolute64 | Self::Loaded64 | Self::Number => target as u32,
            Self::Below => base.wrapping_sub(target) as u32,
            Self::Based | Self::InFile | Self::InFile64 | Self::Length64 => target.wrapping_sub(base) as u32,
            Self::Branch26 => bits(distance >> 2, 26, 0),
            Self::Branch19 => bits(distance >> 2, 19, 5),
            Self::Branch14 => bits(distance >> 2, 14, 5),
            Self::Byte21 => split21(old, distance as u32),
            Self::Page(_) => split21(old, (target >> 12).wrapping_sub(address >> 12) as u32),
            Self::PageLow(_, scale) => bits((target & 0xfff) >> scale, 12, 10),
        };
        *bytes = word.to_le_bytes();
    }

    /// What the reference in `bytes` aims at; for [`Form::PageLow`] `base` is the page.
    pub fn read(self, bytes: &[u8], address: u64, base: u64) -> u64 {
        if let Ok(bytes) = <[u8; 8]>::try_from(bytes) {
            let base = self.base64(base);
            return u64::from_le_bytes(bytes).wrapping_add(base);
        }
        let Ok(bytes) = <[u8; 4]>::try_from(bytes) else { return 0 };
        let word = u32::from_le_bytes(bytes);
        let signed = i64::from(word as i32) as u64;
        let words = |count: u32, shift: u32| {
            let field = word << (32 - count - shift);
            (i64::from(field as i32) >> (32 - count) << 2) as u64
        };
        match self {
            Self::Relative(span) => address.wrapping_add(u64::from(span)).wrapping_add(signed),
            Self::Back => address.wrapping_sub(signed),
            Self::Absolute32 | Self::Absolute64 | Self::Loaded64 => signed,
            Self::Number => u64::from(word),
            Self::Below => base.wrapping_sub(signed),
            Self::Based => base.wrapping_add(signed),
            Self::InFile | Self::InFile64 | Self::Length64 => base.wrapping_add(u64::from(word)),
            Self::Branch26 => address.wrapping_add(words(26, 0)),
            Self::Branch19 => address.wrapping_add(words(19, 5)),
            Self::Branch14 => address.wrapping_add(words(14, 5)),
            Self::Byte21 => address.wrapping_add(joined21(word)),
            Self::Page(_) => (address >> 12).wrapping_add(joined21(word)) << 12,
            Self::PageLow(_, scale) => base.wrapping_add(u64::from((word >> 10) & 0xfff) << scale),
        }
    }
}

/// Puts 21 bits where `ADR` and `ADRP` keep them (Arm ARM, C6.2).
fn split21(word: u32, value: u32) -> u32 {
    (word & 0x9f00_001f) | ((value & 3) << 29) | (((value >> 2) & 0x7_ffff) << 5)
}

/// Takes them out again, with their sign.
fn joined21(word: u32) -> u64 {
    let value = ((word >> 29) & 3) | ((word >> 3) & 0x1f_fffc);
    i64::from((value << 11) as i32 >> 11) as u64
}
