//! `fluvial simulate`.

use std::path::Path;
use std::time::Instant;

use clap::ValueEnum as _;
use fluvial_bundle::Chunker;
use fluvial_delta::structure::ReadAt as _;
use fluvial_image::Anatomist;
use fluvial_simulate::{Cost, Pair, SimulateError, by_files, by_groups, by_ranges, whole_xz, whole_zstd};

use super::diff::{check_patch_path, use_threads};
use crate::arguments::{Method, SimulateArguments};
use fluvial_console::Interrupt;
use fluvial_console::Progress;
use fluvial_console::open;
use fluvial_console::{Fault, Kind};
use fluvial_device::disk::Medium;

mod ours;
mod peer;
mod program;
mod report;

pub use report::Simulation;
use report::{LeftOut, Measured};

/// What is packed together in groups, in bytes: by RAUC, and by the Deltar of Rugix's benchmark.
const GROUP_BYTES: u64 = 32 << 10;

/// Measures every way, one after another.
///
/// # Errors
/// Every way that it fails. A way that cannot be gone on this machine, or with these images, is no error.
pub fn run(arguments: &SimulateArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let progress = Progress::new(interrupt, arguments.json);
    let result = simulate(arguments, &progress);
    progress.finish();
    let simulation = result?;
    if let Some(plot) = &arguments.plot {
        simulation.plot(plot)?;
    }
    simulation.show(arguments.json)
}

/// Where ways are measured.
struct Bench<'a> {
    arguments: &'a SimulateArguments,
    old: &'a Medium,
    new: &'a Medium,
    /// For temporary files; it is removed at the end.
    folder: &'a Path,
    progress: &'a Progress,
}

/// What comes of measuring a way.
enum Outcome {
    Measured(Measured),
    /// It cannot be gone here; the reason.
    LeftOut(String),
}

fn simulate(arguments: &SimulateArguments, progress: &Progress) -> Result<Simulation, Fault> {
    let started = Instant::now();
    use_threads(arguments.effort.jobs)?;
    let (old, new) = (open(&arguments.old)?, open(&arguments.new)?);
    if let Some(plot) = &arguments.plot {
        for (input, what) in [(old.identity().ok(), "OLD"), (new.identity().ok(), "NEW")] {
            check_patch_path(plot, input, what)?;
        }
    }
    let folder = tempfile::tempdir_in(&arguments.work_folder)
        .map_err(|error| Fault::writing(&arguments.work_folder, error))?;
    let bench = Bench { arguments, old: &old, new: &new, folder: folder.path(), progress };
    let mut outcomes = Vec::new();
    for method in in_order_of_work(&arguments.methods) {
        outcomes.push((method, bench.measure(method)?));
    }
    outcomes.sort_by_key(|&(method, _)| method as usize);
    let mut simulation = Simulation::new(arguments, old.len(), new.len());
    for (method, outcome) in outcomes {
        match outcome {
            Outcome::Measured(measured) => simulation.methods.push(measured),
            Outcome::LeftOut(reason) => {
                simulation.left_out.push(LeftOut { method: method.name().into(), reason });
            }
        }
    }
    simulation.finish(started.elapsed().as_secs_f64());
    Ok(simulation)
}

/// The ways that were asked for, or all. Other programs come first: the largest resident set of a process
/// begins with that of the one that has started it, and ours grows with the work.
fn in_order_of_work(wanted: &[Method]) -> Vec<Method> {
    let is_wanted = |method: &&Method| wanted.is_empty() || wanted.contains(method);
    let mut methods: Vec<Method> = Method::value_variants().iter().filter(is_wanted).copied().collect();
    methods.sort_by_key(|method| !method.is_program());
    methods
}

impl Bench<'_> {
    /// Goes one way. A further one has a variant of [`Method`], and a line here.
    fn measure(&self, method: Method) -> Result<Outcome, Fault> {
        let threads = rayon::current_num_threads() as u32;
        let casync = |kib| Chunker::casync(kib).map_err(|error| Fault::new(Kind::Internal, error));
        let fixed = |kib| Chunker::fixed(kib).map_err(|error| Fault::new(Kind::Internal, error));
        match method {
            Method::FullXz => self.packed(method, |pair| whole_xz(pair, threads)),
            Method::FullZstd => self.packed(method, |pair| whole_zstd(pair, threads)),
            Method::Fixed => {
                let chunker = fixed(4)?;
                self.counted(method, |pair| by_groups(pair, chunker, GROUP_BYTES))
            }
            Method::Casync16 => {
                let chunker = casync(16)?;
                self.counted(method, |pair| by_ranges(pair, chunker))
            }
            Method::Casync64 => {
                let chunker = casync(64)?;
                self.counted(method, |pair| by_ranges(pair, chunker))
            }
            Method::Deltar => {
                let chunker = casync(16)?;
                self.counted(method, |pair| by_files(pair, &Anatomist, chunker, GROUP_BYTES))
            }
            Method::Xdelta3
            | Method::Xdelta3Max
            | Method::Rdiff
            | Method::RdiffGzip
            | Method::ZstdPatchFrom => self.by_peer(method),
            Method::FluvialStatic => self.by_patch(method),
            Method::FluvialDynamic => self.by_chunks(method),
        }
    }

    /// NEW packed; how long that takes is told.
    fn packed(
        &self,
        method: Method,
        count: impl FnOnce(Pair<'_>) -> Result<Cost, SimulateError>,
    ) -> Result<Outcome, Fault> {
        let started = Instant::now();
        self.progress.phase(method.name(), self.new.len());
        let cost = count(self.pair(&|bytes| self.progress.advance(bytes)))?;
        let make_s = Some(started.elapsed().as_secs_f64());
        Ok(Outcome::Measured(Measured { make_s, ..Measured::new(method, cost) }))
    }

    /// What a device would fetch, counted.
    fn counted(
        &self,
        method: Method,
        count: impl FnOnce(Pair<'_>) -> Result<Cost, SimulateError>,
    ) -> Result<Outcome, Fault> {
        self.progress.phase(method.name(), self.old.len() + self.new.len());
        match count(self.pair(&|bytes| self.progress.advance(bytes))) {
            Ok(cost) => Ok(Outcome::Measured(Measured::new(method, cost))),
            Err(error @ SimulateError::NoFiles(_)) => Ok(Outcome::LeftOut(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    fn pair<'b>(&'b self, watch: fluvial_simulate::Watch<'b>) -> Pair<'b> {
        Pair { old: self.old, new: self.new, watch }
    }
}
