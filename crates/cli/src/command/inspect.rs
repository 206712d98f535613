//! `fluvial inspect`.

use fluvial_delta::apply::Patch;
use fluvial_delta::structure::ReadAt as _;

use super::open;
use crate::arguments::InspectArguments;
use crate::fault::Fault;

pub fn run(arguments: &InspectArguments) -> Result<(), Fault> {
    let bytes = open(&arguments.patch)?;
    let patch = Patch::open(&bytes)?;
    let (header, map) = (&patch.header, &patch.map);
    println!("patch      {} bytes", bytes.len());
    for (title, streams) in [("source", &header.sources), ("target", &header.targets)] {
        for stream in streams {
            println!("{title:10} {} bytes  {}", stream.size, stream.name);
        }
    }
    println!("memory     {} bytes", header.apply_memory_bytes);
    println!("scratch    {} bytes", header.scratch_bytes);
    println!("map        {} bytes, {} unpacked", header.map_packed_len, header.map_len);
    println!("frames     {}", header.frames.len());
    println!("blocks     {}", map.blocks.len());
    println!("roots      {}", map.roots.len());
    for packing in &map.packings {
        println!("packing    {}", packing.recipe);
    }
    for cost in map.costs.iter().take(arguments.top) {
        println!("{:>10}  {:>12}  {}", cost.patch_bytes, cost.flat_len, cost.path);
    }
    Ok(())
}
