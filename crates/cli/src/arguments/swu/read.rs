//! The commands that read packages.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fluvial_swu::sign::Purpose;

use super::make::VERSIONS_FILE;

/// `fluvial swu inspect`.
#[derive(Debug, Args)]
pub struct SwuInspectArguments {
    /// The package; `-` for the standard input.
    pub package: PathBuf,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Whose signature counts.
#[derive(Debug, Args)]
pub struct SwuTrustArguments {
    /// Certificates that are trusted, in PEM: the signer's, or that of who issued it. May be given again.
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    pub cert: Vec<PathBuf>,
    /// The signer's public key, in PEM, for signatures without CMS.
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// How the package is signed; `cms` if not given, `rsa` with a public key.
    #[arg(long, value_enum, value_name = "KIND")]
    pub signature: Option<SwuSignatureName>,
    /// What the signer's certificate must be for, if it is not for everything.
    #[arg(long, value_enum, value_name = "PURPOSE", default_value_t)]
    pub cert_purpose: SwuPurposeName,
}

/// A kind of signatures by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SwuSignatureName {
    /// CMS, with a certificate.
    Cms,
    /// RSA with PKCS#1 v1.5.
    Rsa,
    /// RSA with PSS.
    Pss,
}

/// A purpose of certificates, as `swupdate --cert-purpose` has it.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum SwuPurposeName {
    /// What SWUpdate wants if it is told nothing else.
    #[default]
    #[value(name = "emailProtection")]
    EmailProtection,
    /// For code.
    #[value(name = "codeSigning")]
    CodeSigning,
}

impl From<SwuPurposeName> for Purpose {
    fn from(name: SwuPurposeName) -> Self {
        match name {
            SwuPurposeName::EmailProtection => Self::EmailProtection,
            SwuPurposeName::CodeSigning => Self::CodeSigning,
        }
    }
}

/// `fluvial swu verify`.
#[derive(Debug, Args)]
pub struct SwuVerifyArguments {
    /// The package; `-` for the standard input.
    pub package: PathBuf,
    /// Whose signature counts.
    #[command(flatten)]
    pub trust: SwuTrustArguments,
    /// The moment at which certificates must be valid, as in 2026-03-01T12:00:00Z; now if not given.
    #[arg(long, value_name = "TIME")]
    pub at: Option<jiff::Timestamp>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial swu apply`.
#[derive(Debug, Args)]
pub struct SwuApplyArguments {
    /// The package; `-` for the standard input.
    pub package: PathBuf,
    /// Whose signature counts.
    #[command(flatten)]
    pub trust: SwuTrustArguments,
    /// Takes the package whoever made it: its signature is not looked at.
    #[arg(long, conflicts_with_all = ["cert", "public_key", "signature"])]
    pub allow_unsigned: bool,
    /// What this device is; what /etc/hwrevision says if not given.
    #[arg(long, value_name = "BOARD:REVISION", value_parser = parse_hardware, conflicts_with = "hardware_revision")]
    pub device_hardware: Option<(String, String)>,
    /// The revision alone, for packages that name no board.
    #[arg(long, value_name = "REVISION")]
    pub hardware_revision: Option<String>,
    /// The version that is installed: older packages are refused. What the versions file says if not given.
    #[arg(long, value_name = "VERSION")]
    pub installed_version: Option<String>,
    /// The file in which this device says which versions it has: a name and a version in each line. Without it nothing
    /// is refused.
    #[arg(long, value_name = "PATH", default_value = VERSIONS_FILE)]
    pub versions_file: PathBuf,
    /// The name that counts there; the package's if not given.
    #[arg(long, value_name = "NAME")]
    pub versions_name: Option<String>,
    /// Takes an older package too.
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Software set and mode, which choose the slots, where the package has several.
    #[arg(long, value_name = "SET,MODE", value_parser = parse_selection)]
    pub select: Option<(String, String)>,
    /// Where a partition's base is, if not where the package says. May be given again.
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_place)]
    pub base: Vec<(String, PathBuf)>,
    /// Where a partition goes, if not where the package says. May be given again.
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_place)]
    pub target: Vec<(String, PathBuf)>,
    /// Where is noted how far devices are written, for the next run to go on; the package's folder if not given,
    /// /var/tmp for the standard input. For files it is noted beside them.
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

fn halves(text: &str, between: char, form: &str) -> Result<(String, String), String> {
    match text.split_once(between) {
        Some((one, other)) if !one.is_empty() && !other.is_empty() => Ok((one.to_owned(), other.to_owned())),
        _ => Err(format!("it has the form {form}")),
    }
}

fn parse_hardware(text: &str) -> Result<(String, String), String> {
    halves(text, ':', "BOARD:REVISION")
}

fn parse_selection(text: &str) -> Result<(String, String), String> {
    halves(text, ',', "SET,MODE")
}

fn parse_place(text: &str) -> Result<(String, PathBuf), String> {
    halves(text, '=', "NAME=PATH").map(|(name, path)| (name, path.into()))
}
