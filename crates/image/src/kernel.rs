//! Linux kernels that carry themselves compressed.
//!
//! Sources: the kernel's `Documentation/arch/x86/boot.rst` (setup header, `payload_offset` since
//! protocol 2.08) and `drivers/firmware/efi/libstub/zboot-header.S` (EFI zboot: arm64, riscv,
//! loongarch).

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Extent, Structure};

use crate::anatomist::Specimen;
use crate::catalogue::Catalogue;
use crate::field::{read_vec, u8_at, u16_at, u32_at};
use crate::magic::{MAGIC_BYTES, sniff_expected};

/// The path of the one part.
const PATH: &str = "<kernel>";
/// The boot protocol that brought the payload's offset and length.
const PROTOCOL_MIN: u16 = 0x0208;
/// Sectors of real-mode code where the header says 0.
const SETUP_SECTORS_DEFAULT: u8 = 4;
/// The kernel's build puts the unpacked length behind every payload but gzip's, which has its own.
const SIZE_BYTES: u64 = 4;

/// Finds the packed kernel in an x86 bzImage or an EFI zboot image.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    bz_image(specimen).or_else(|| zboot(specimen))
}

fn bz_image(specimen: Specimen<'_>) -> Option<Structure> {
    let head = specimen.head;
    let marked = u16_at(head, 0x1fe)? == 0xaa55 && head.get(0x202..0x206)? == b"HdrS";
    if !marked || u16_at(head, 0x206)? < PROTOCOL_MIN {
        return None;
    }
    let setup_sectors = match u8_at(head, 0x1f1)? {
        0 => SETUP_SECTORS_DEFAULT,
        sectors => sectors,
    };
    let offset = (u64::from(setup_sectors) + 1) * 512 + u64::from(u32_at(head, 0x248)?);
    let payload = Extent { offset, len: u64::from(u32_at(head, 0x24c)?) };
    kernel(specimen, "bzImage", payload, true)
}

fn zboot(specimen: Specimen<'_>) -> Option<Structure> {
    let head = specimen.head;
    if head.get(..2)? != b"MZ" || head.get(4..8)? != b"zimg" {
        return None;
    }
    // The stated length leaves the size behind it out.
    let payload = Extent { offset: u64::from(u32_at(head, 8)?), len: u64::from(u32_at(head, 12)?) };
    kernel(specimen, "zboot", payload, false)
}

/// The one part of the image, if the payload is packed in a way we know.
fn kernel(
    specimen: Specimen<'_>,
    kind: &'static str,
    payload: Extent,
    size_inside: bool,
) -> Option<Structure> {
    let stream = specimen.stream;
    if payload.len < MAGIC_BYTES as u64 {
        return None;
    }
    let format = sniff_expected(&read_vec(stream, payload.offset, MAGIC_BYTES as u64)?)?;
    let mut extent = payload;
    if format != Format::Gzip && size_inside {
        extent.len -= SIZE_BYTES;
    }
    // In both layouts, and in gzip's own trailer, the length stands in four bytes at the end.
    let size_offset = match (format, size_inside) {
        (Format::Gzip, _) | (_, true) => payload.end().checked_sub(SIZE_BYTES)?,
        _ => payload.end(),
    };
    let plain_len = read_vec(stream, size_offset, SIZE_BYTES).and_then(|size| u32_at(&size, 0));
    let mut catalogue = Catalogue::new(stream.len());
    let block = Block { extent, plain_len: plain_len.map(u64::from), format };
    catalogue.blocks(PATH.into(), [block]).ok()?;
    catalogue.finish(kind)
}
