//! A stream that is one compressed stream and nothing else.

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Extent, Structure};

use crate::anatomist::Specimen;
use crate::catalogue::Catalogue;
use crate::magic::sniff;

/// The path of the one part: what the stream unpacks to.
const PATH: &str = "<content>";

/// gzip, zstd, xz and LZ4 files. Whether the stream really ends where the file ends is for the
/// unpacker to find out.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    let format = sniff(specimen.head)?;
    let kind = match format {
        Format::Gzip => "gzip",
        Format::Zstd => "zstd",
        Format::Xz => "xz",
        _ => "lz4",
    };
    let mut catalogue = Catalogue::new(specimen.stream.len());
    let extent = Extent { offset: 0, len: specimen.stream.len() };
    catalogue.blocks(PATH.into(), [Block { extent, plain_len: None, format }]).ok()?;
    catalogue.finish(kind)
}
