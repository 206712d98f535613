//! `fluvial savings`.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use fluvial_simulate::{Cadence, Fleet, PUBLISHED};
use indicatif::HumanBytes;
use serde::Serialize;

use super::simulate::Simulation;
use crate::arguments::SavingsArguments;
use crate::chart::{self, Bar};
use fluvial_console::say;
use fluvial_console::{Fault, Kind};

/// A simulation at most, in bytes: a real one has about 3000.
const SIMULATION_BYTES_MAX: u64 = 1 << 20;
/// What the figures are from that stand in this program.
const PUBLISHED_SOURCE: &str = "published";

/// Tells what updates cost.
///
/// # Errors
/// Where a simulation cannot be read, or the chart not written.
pub fn run(arguments: &SavingsArguments) -> Result<(), Fault> {
    let savings = Savings::new(arguments)?;
    if let Some(plot) = &arguments.plot {
        savings.plot(plot)?;
    }
    if arguments.json { say(serde_json::json!(savings)) } else { say(savings.to_string().trim_end()) }
}

/// All that is shown.
#[derive(Debug, Serialize)]
struct Savings {
    devices: u64,
    updates_per_year: f64,
    cadence: &'static str,
    image_bytes: u64,
    price_per_gib: f64,
    methods: Vec<Row>,
}

/// What a year costs by one way.
#[derive(Debug, Serialize)]
struct Row {
    /// [`PUBLISHED_SOURCE`], or the simulation's file.
    source: String,
    method: String,
    tools: &'static str,
    /// What an update transfers, as a fraction of the unpacked image.
    image_fraction: f64,
    cost_per_year: f64,
    /// Against sending everything, packed with xz, where that is known.
    savings_per_year: Option<f64>,
    #[serde(skip)]
    is_ours: bool,
}

impl Savings {
    fn new(arguments: &SavingsArguments) -> Result<Self, Fault> {
        let fleet = Fleet {
            devices: arguments.devices,
            updates_per_year: arguments.updates_per_year,
            image_bytes: arguments.image_size,
            price_per_gib: arguments.price_per_gib,
        };
        let cadence = Cadence::of(fleet.updates_per_year);
        let mut methods = published(&fleet, cadence);
        for path in &arguments.from_simulation {
            methods.extend(measured(&fleet, path, &read(path)?));
        }
        Ok(Self {
            devices: fleet.devices,
            updates_per_year: fleet.updates_per_year,
            cadence: cadence.name(),
            image_bytes: fleet.image_bytes,
            price_per_gib: fleet.price_per_gib,
            methods,
        })
    }

    fn title(&self) -> String {
        format!(
            "{} devices, {} updates a year, images of {}, {} for a GiB",
            self.devices,
            self.updates_per_year,
            HumanBytes(self.image_bytes),
            self.price_per_gib
        )
    }

    fn plot(&self, path: &Path) -> Result<(), Fault> {
        let bar = |row: &Row| Bar {
            label: match row.source.as_str() {
                PUBLISHED_SOURCE => row.method.clone(),
                _ => format!("{}, measured", row.method),
            },
            value: row.cost_per_year,
            text: format!("{:.0} a year", row.cost_per_year),
            is_ours: row.is_ours,
        };
        let bars: Vec<Bar> = self.methods.iter().map(bar).collect();
        chart::write(path, "What a fleet's updates cost", &self.title(), &bars)
    }
}

impl fmt::Display for Savings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title())?;
        let mut source = "";
        for row in &self.methods {
            if source != row.source {
                source = &row.source;
                let heading = match source {
                    PUBLISHED_SOURCE => format!("Rugix's published benchmark, {} updates", self.cadence),
                    file => format!("measured: {file}"),
                };
                writeln!(f, "\n{heading:<52} {:>12} {:>12}", "cost a year", "saved")?;
            }
            let tools = if row.tools.is_empty() { String::new() } else { format!(" ({})", row.tools) };
            let method = row.method.clone() + &tools;
            let saved = row.savings_per_year.map_or(String::new(), |saved| format!("{saved:.0}"));
            let line = format!("  {method:<50} {:>12.0} {saved:>12}", row.cost_per_year);
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn published(fleet: &Fleet, cadence: Cadence) -> Vec<Row> {
    let full_cost = fleet.cost_per_year(PUBLISHED[0].of_raw(cadence));
    let row = |way: &fluvial_simulate::Published| {
        let image_fraction = way.of_raw(cadence);
        let cost_per_year = fleet.cost_per_year(image_fraction);
        Row {
            source: PUBLISHED_SOURCE.into(),
            method: way.name.into(),
            tools: way.tools,
            image_fraction,
            cost_per_year,
            savings_per_year: Some(full_cost - cost_per_year),
            is_ours: false,
        }
    };
    PUBLISHED.iter().map(row).collect()
}

fn measured(fleet: &Fleet, path: &Path, simulation: &Simulation) -> Vec<Row> {
    let fraction = |bytes: u64| bytes as f64 / simulation.new_bytes.max(1) as f64;
    let full_cost = simulation.full_bytes().map(|bytes| fleet.cost_per_year(fraction(bytes)));
    let rows = simulation.methods.iter().map(|measured| {
        let image_fraction = fraction(measured.bytes);
        let cost_per_year = fleet.cost_per_year(image_fraction);
        Row {
            source: path.display().to_string(),
            method: measured.method.clone(),
            tools: "",
            image_fraction,
            cost_per_year,
            savings_per_year: full_cost.map(|full| full - cost_per_year),
            is_ours: measured.is_ours(),
        }
    });
    rows.collect()
}

/// Reads what `fluvial simulate --json` has printed.
fn read(path: &Path) -> Result<Simulation, Fault> {
    let failed = |error| Fault::reading(path, error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(SIMULATION_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let refuse = |reason: String| {
        let message = format!("{} is not what `fluvial simulate --json` prints: {reason}", path.display());
        Fault::new(Kind::Usage, message)
    };
    if bytes.len() as u64 > SIMULATION_BYTES_MAX {
        return Err(refuse(format!("it has more than {SIMULATION_BYTES_MAX} bytes")));
    }
    serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))
}
