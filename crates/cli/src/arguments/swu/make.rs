//! What packages are made of.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use fluvial_artifacts::{ImageId, Key, Name, Patterns, Version};
use fluvial_swu::rsync::{BLOCK_LEN_DEFAULT, BLOCK_LEN_MAX};

use super::read::{SwuPurposeName, SwuSignatureName};
use crate::arguments::StoreArguments;

/// The file in which devices say which versions they have, as `SWUpdate` reads it too.
pub(super) const VERSIONS_FILE: &str = "/etc/sw-versions";

/// `fluvial swu delta`.
#[derive(Debug, Args)]
pub struct SwuDeltaArguments {
    /// What every package has.
    #[command(flatten)]
    pub package: PackageArguments,
    /// The version that devices have.
    #[arg(long, value_name = "V", env = "VERSION_FROM", hide_env_values = true)]
    pub from: Version,
    /// The version that they get; `BUILD_VERSION` in the environment serves too.
    #[arg(long, value_name = "V", env = "VERSION_TO", hide_env_values = true)]
    pub to: Option<Version>,
    /// The length of the blocks that the base is cut to, in bytes.
    #[arg(long, value_name = "N", default_value_t = BLOCK_LEN_DEFAULT, value_parser = block_len)]
    pub block_len: usize,
    /// A key of build-info that may differ between the versions. May be given several times.
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub ignore: Vec<Key>,
    /// What is kept beside delta-info.json, as patterns of file names.
    #[arg(long, value_name = "PATTERNS", env = "ARTIFACTS_PATTERNS", hide_env_values = true,
        default_value = Patterns::DEFAULT)]
    pub collect: Patterns,
    /// Makes it anew where it is there already.
    #[arg(long)]
    pub replace: bool,
}

/// `fluvial swu full`.
#[derive(Debug, Args)]
pub struct SwuFullArguments {
    /// What every package has.
    #[command(flatten)]
    pub package: PackageArguments,
    /// The version that devices get.
    #[arg(long, value_name = "V", env = "BUILD_VERSION", hide_env_values = true)]
    pub version: Version,
    /// The package; `full-update-V.swu` if not given.
    #[arg(short, long, value_name = "SWU")]
    pub output: Option<PathBuf>,
}

/// What every package has.
#[derive(Debug, Args)]
pub struct PackageArguments {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,
    /// The machine.
    #[arg(long, value_name = "M")]
    pub machine: Name,
    /// The image.
    #[arg(long, value_name = "I")]
    pub image: Name,
    /// The private key, in PEM.
    #[arg(long, value_name = "FILE", required_unless_present = "allow_unsigned")]
    pub sign_key: Option<PathBuf>,
    /// Its certificate in PEM, for CMS; certificates that lead to one that devices trust may follow in the file.
    #[arg(long, value_name = "FILE")]
    pub sign_cert: Option<PathBuf>,
    /// How it is signed: as the devices' `SWUpdate` was built to verify.
    #[arg(long, value_name = "KIND", default_value = "cms")]
    pub signature: SwuSignatureName,
    /// What the certificate is for: as the devices' `SWUpdate` is told by its own option of this name.
    #[arg(long, value_enum, value_name = "PURPOSE", default_value_t)]
    pub cert_purpose: SwuPurposeName,
    /// Does not sign: whoever can bring a file to a device can then install anything.
    #[arg(long, conflicts_with = "sign_key")]
    pub allow_unsigned: bool,
    /// Where a partition is written to, and where devices have its base: NAME=DEVICE[,base=DEVICE], for devices with
    /// a choice of slots SET,MODE:NAME=... for each. May be given several times. If not given: the partitions
    /// `NAME_a` and `NAME_b` by label, for SET,MODE of stable,copy1 (to a) and stable,copy2 (to b).
    #[arg(long, value_name = "SLOT", verbatim_doc_comment)]
    pub slot: Vec<SlotPlace>,
    /// What the boot loader is told in the end: NAME=VALUE, or SET,MODE:NAME=VALUE. May be given several times.
    #[arg(long, value_name = "VARIABLE")]
    pub bootenv: Vec<BootVariable>,
    /// The hardware that it fits: BOARD:REVISION, or REVISION alone. May be given several times; MACHINE:1.0 if not
    /// given.
    #[arg(long, value_name = "HARDWARE")]
    pub hardware: Vec<String>,
    /// How what is packed is compressed.
    #[arg(long, value_name = "KIND", default_value = "zlib")]
    pub compression: SwuCompression,
    /// Makes a package for devices that have a newer version.
    #[arg(long)]
    pub allow_downgrade: bool,
    /// The file in which devices say which versions they have; devices without it take any.
    #[arg(long, value_name = "PATH", default_value = VERSIONS_FILE)]
    pub versions_file: String,
    /// The name that counts there; the image's if not given.
    #[arg(long, value_name = "NAME")]
    pub versions_name: Option<String>,
    /// When it was signed, in seconds since 1970; now if not given.
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", hide_env_values = true)]
    pub source_date_epoch: Option<u64>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

impl PackageArguments {
    /// The image.
    pub fn image_id(&self) -> ImageId {
        ImageId { machine: self.machine.clone(), image: self.image.clone() }
    }
}

/// A way of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SwuCompression {
    /// As gzip does, which every `SWUpdate` unpacks.
    Zlib,
    /// As Zstandard does: smaller, for an `SWUpdate` that is built with it.
    Zstd,
    /// Not at all.
    None,
}

/// Software set and mode.
type SetAndMode = Option<(String, String)>;

/// Where a partition goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPlace {
    /// For which choice of slots.
    pub set_and_mode: SetAndMode,
    /// The partition.
    pub name: String,
    /// The device or file that is written to.
    pub target: String,
    /// The device or file that a delta is applied to.
    pub base: Option<String>,
}

impl FromStr for SlotPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (set_and_mode, rest) = split_choice(text);
        let (name, places) = rest.split_once('=').ok_or("it is not NAME=DEVICE[,base=DEVICE]")?;
        let (target, base) = match places.split_once(",base=") {
            Some((target, base)) => (target, Some(base.to_owned())),
            None => (places, None),
        };
        Ok(Self { set_and_mode, name: name.into(), target: target.into(), base })
    }
}

/// What the boot loader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootVariable {
    /// For which choice of slots; for all of them if not told.
    pub set_and_mode: SetAndMode,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for BootVariable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (set_and_mode, rest) = split_choice(text);
        let (name, value) = rest.split_once('=').ok_or("it is not NAME=VALUE")?;
        Ok(Self { set_and_mode, name: name.into(), value: value.into() })
    }
}

/// Takes `SET,MODE:` from the start, if it is there: names have neither commas nor colons before `=`.
fn split_choice(text: &str) -> (SetAndMode, &str) {
    let head = text.split_once('=').map_or(text, |(head, _)| head);
    let choice = head.split_once(':').and_then(|(choice, _)| choice.split_once(','));
    match choice {
        Some((set, mode)) => (Some((set.into(), mode.into())), &text[set.len() + mode.len() + 2..]),
        None => (None, text),
    }
}

fn block_len(text: &str) -> Result<usize, String> {
    let len = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if (1..=BLOCK_LEN_MAX).contains(&len) {
        return Ok(len);
    }
    Err(format!("1 to {BLOCK_LEN_MAX} are allowed"))
}

fn key(text: &str) -> Result<Key, String> {
    text.parse().map_err(|error: fluvial_artifacts::BuildInfoError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_with_and_without_a_choice() {
        let place = |set_and_mode: Option<(&str, &str)>, base: Option<&str>| SlotPlace {
            set_and_mode: set_and_mode.map(|(set, mode)| (set.into(), mode.into())),
            name: "rootfs".into(),
            target: "/dev/b".into(),
            base: base.map(Into::into),
        };
        assert_eq!("rootfs=/dev/b".parse(), Ok(place(None, None)));
        assert_eq!("rootfs=/dev/b,base=/dev/a".parse(), Ok(place(None, Some("/dev/a"))));
        let both = place(Some(("stable", "copy2")), Some("/dev/a"));
        assert_eq!("stable,copy2:rootfs=/dev/b,base=/dev/a".parse(), Ok(both));
        assert!("rootfs".parse::<SlotPlace>().is_err());
    }

    #[test]
    fn variables_are_read_with_and_without_a_choice() {
        let read = |text: &str| text.parse::<BootVariable>().unwrap();
        assert_eq!((read("a=b:c,d").set_and_mode, read("a=b:c,d").value), (None, "b:c,d".into()));
        let chosen = read("stable,copy1:slot=a=1");
        assert_eq!(chosen.set_and_mode, Some(("stable".into(), "copy1".into())));
        assert_eq!((chosen.name.as_str(), chosen.value.as_str()), ("slot", "a=1"));
    }
}
