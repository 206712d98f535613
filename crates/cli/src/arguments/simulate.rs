//! The command line of `fluvial simulate` and `fluvial savings`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::image::WORK_FOLDER;
use super::{EffortArguments, parse_size};

/// `fluvial simulate`.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// What devices have: a file or a block device.
    pub old: PathBuf,
    /// What they shall have: a file or a block device.
    pub new: PathBuf,
    /// A way to measure; may be given more than once. All if not given.
    #[arg(long = "method", value_enum, value_name = "NAME")]
    pub methods: Vec<Method>,
    /// Where temporary files go: about as much as NEW takes, twice.
    #[arg(long, value_name = "FOLDER", default_value = WORK_FOLDER)]
    pub work_folder: PathBuf,
    /// Draws a chart of what is transferred.
    #[arg(long, value_name = "SVG")]
    pub plot: Option<PathBuf>,
    /// How much work goes into our patch.
    #[command(flatten)]
    pub effort: EffortArguments,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// A way to update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// All of NEW, as `xz -6 -T0` packs it: what the others are compared with.
    FullXz,
    /// All of NEW, as `zstd -19 --long=27` packs it.
    FullZstd,
    /// Blocks of 4 KiB in packed groups of 32 KiB, as RAUC fetches them.
    #[value(name = "fixed-4-32")]
    Fixed,
    /// casync's chunks of 16 KiB by HTTP range, as Rugix fetches them.
    #[value(name = "casync-16")]
    Casync16,
    /// casync's chunks of 64 KiB by HTTP range, as Rugix fetches them.
    #[value(name = "casync-64")]
    Casync64,
    /// Files in chunks of 16 KiB, in packed groups of 32 KiB.
    #[value(name = "deltar-16")]
    Deltar,
    /// A patch of xdelta3 with default options, as Rugix makes it.
    #[value(name = "xdelta3")]
    Xdelta3,
    /// A patch of xdelta3 -9.
    #[value(name = "xdelta3-9")]
    Xdelta3Max,
    /// A delta of rdiff with default options.
    Rdiff,
    /// The same, packed with gzip -9.
    RdiffGzip,
    /// A patch of zstd -19 --long=31 --patch-from.
    ZstdPatchFrom,
    /// The chunks that a device lacks, as `fluvial-agent install` fetches them.
    FluvialDynamic,
    /// A patch of `fluvial bundle delta`.
    FluvialStatic,
}

impl Method {
    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullXz => "full-xz",
            Self::FullZstd => "full-zstd",
            Self::Fixed => "fixed-4-32",
            Self::Casync16 => "casync-16",
            Self::Casync64 => "casync-64",
            Self::Deltar => "deltar-16",
            Self::Xdelta3 => "xdelta3",
            Self::Xdelta3Max => "xdelta3-9",
            Self::Rdiff => "rdiff",
            Self::RdiffGzip => "rdiff-gzip",
            Self::ZstdPatchFrom => "zstd-patch-from",
            Self::FluvialDynamic => "fluvial-dynamic",
            Self::FluvialStatic => "fluvial-static",
        }
    }

    /// Whether it is gone by another maker's program.
    pub fn is_program(self) -> bool {
        matches!(self, Self::Xdelta3 | Self::Xdelta3Max | Self::Rdiff | Self::RdiffGzip | Self::ZstdPatchFrom)
    }
}

/// `fluvial savings`.
#[derive(Debug, Args)]
pub struct SavingsArguments {
    /// Devices in the fleet.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub devices: u64,
    /// How often each of them is updated in a year.
    #[arg(long, value_name = "N", default_value_t = 12.0, value_parser = parse_amount)]
    pub updates_per_year: f64,
    /// How long an image is, unpacked.
    #[arg(long, value_name = "SIZE", default_value = "1536MiB", value_parser = parse_size)]
    pub image_size: u64,
    /// What one GiB costs that is transferred, in any currency.
    #[arg(long, value_name = "PRICE", default_value_t = 0.09, value_parser = parse_amount)]
    pub price_per_gib: f64,
    /// What `fluvial simulate --json` has printed: adds what was measured; may be given more than once.
    #[arg(long, value_name = "FILE")]
    pub from_simulation: Vec<PathBuf>,
    /// Draws a chart of the costs.
    #[arg(long, value_name = "SVG")]
    pub plot: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// A number that makes sense to multiply with: neither negative nor without end.
fn parse_amount(text: &str) -> Result<f64, String> {
    let amount: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if amount.is_finite() && amount >= 0.0 { Ok(amount) } else { Err("not zero or more".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for method in Method::value_variants() {
            let value = method.to_possible_value().unwrap();
            assert_eq!(value.get_name(), method.name());
        }
    }

    #[test]
    fn amounts_are_finite_and_not_negative() {
        assert_eq!(parse_amount("0.09"), Ok(0.09));
        assert_eq!(parse_amount("0"), Ok(0.0));
        for text in ["-1", "inf", "NaN", "many", ""] {
            assert!(parse_amount(text).is_err(), "{text}");
        }
    }
}
