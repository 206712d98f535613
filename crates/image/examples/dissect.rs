//! Lists what is inside a file: `cargo run --release -p fluvial-image --example dissect -- FILE`.

use std::time::Instant;

use fluvial_delta::structure::{Content, Dissector as _};
use fluvial_image::{Anatomist, FileSource};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let source = FileSource::open(&path)?;
        let start = Instant::now();
        let Some(structure) = Anatomist.dissect(&source, &path) else {
            println!("{path}: nothing known");
            continue;
        };
        let elapsed_ms = start.elapsed().as_millis();
        let mut named_bytes = 0;
        for part in &structure.parts {
            let (pieces, bytes) = match &part.content {
                Content::Plain(extents) => (extents.len(), extents.iter().map(|extent| extent.len).sum()),
                Content::Blocks(blocks) => {
                    (blocks.len(), blocks.iter().map(|block| block.extent.len).sum::<u64>())
                }
            };
            named_bytes += bytes;
            println!("{bytes:>12} {pieces:>6}  {}", part.path);
        }
        println!(
            "{path}: {}, {} parts, {named_bytes} bytes, {elapsed_ms} ms",
            structure.kind,
            structure.parts.len()
        );
    }
    Ok(())
}
