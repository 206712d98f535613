//! `fluvial apply`.

use std::fs::OpenOptions;
use std::time::Instant;

use fluvial_delta::apply::{Checkpoint, Patch, check_source, check_target};
use fluvial_delta::diff::Unobserved;

use super::{folder_of, open};
use crate::arguments::ApplyArguments;
use crate::fault::{Fault, Kind};
use crate::medium::Medium;
use crate::scratch::DiskScratch;

pub fn run(arguments: &ApplyArguments) -> Result<(), Fault> {
    let started = Instant::now();
    let bytes = open(&arguments.patch)?;
    let patch = Patch::open(&bytes)?;
    let ([source_info], [target_info]) = (patch.header.sources.as_slice(), patch.header.targets.as_slice())
    else {
        return Err(Fault::new(Kind::WrongSource, "the patch is not from one file to one file"));
    };
    let source = open(&arguments.old)?;
    check_source(&source, source_info, &mut |_| true)?;
    let mut part = arguments.new.clone().into_os_string();
    part.push(".part");
    let failed = |source| Fault::path("write", arguments.new.as_path(), source);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part)
        .map_err(failed)?;
    file.set_len(target_info.size).map_err(failed)?;
    let target = Medium::new(file).map_err(failed)?;
    let scratch = DiskScratch::new(folder_of(&arguments.new));
    patch.apply(&[&source], &[&target], &scratch, Checkpoint::default(), &mut Unobserved)?;
    check_target(&target, target_info, &mut |_| true)?;
    std::fs::rename(&part, &arguments.new).map_err(failed)?;
    let seconds = started.elapsed().as_secs_f64();
    if arguments.json {
        println!("{}", serde_json::json!({ "new_bytes": target_info.size, "duration_s": seconds }));
    } else {
        println!("{}: {} bytes in {seconds:.1} s", arguments.new.display(), target_info.size);
    }
    Ok(())
}
