//! The TOML file as it is written, and how it becomes a [`System`].
//!
//! `[boot]` has other keys for each flow. It is read twice, first for the flow alone: so every key is read by
//! the table that knows it, and a wrong one is told with its line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, de::IgnoredAny};

use super::check::{check_command, check_groups, check_path, check_slots, check_word};
use super::{ActiveSource, BootConfig, ConfigError, FlowConfig, Groups, System};

/// The parameter of the kernel's command line that names the running group.
const PARAMETER: &str = "fluvial.group";
/// How long a device's own program may take, in seconds, and how long it may be given.
const TIME_LIMIT_S: u32 = 30;
const TIME_LIMIT_S_MAX: u32 = 3600;
/// The largest number of a partition: a GPT has 128 entries usually.
pub(super) const PARTITION_MAX: u32 = 128;

/// What is looked at first.
#[derive(Deserialize)]
struct Head {
    boot: BootHead,
}

#[derive(Deserialize)]
struct BootHead {
    flow: FlowKind,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FlowKind {
    Grub,
    UBoot,
    SystemdBoot,
    Tryboot,
    Custom,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemTable<B> {
    hardware: String,
    #[serde(rename = "slot")]
    slots: Vec<SlotTable>,
    boot: B,
}

/// A `[[slot]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlotTable {
    pub name: String,
    pub role: String,
    pub group: Option<String>,
    pub device: Option<PathBuf>,
    pub file: Option<PathBuf>,
    pub partition: Option<PartitionTable>,
    #[serde(default = "yes")]
    pub immutable: bool,
}

fn yes() -> bool {
    true
}

/// The `partition` of a slot.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartitionTable {
    pub disk: Option<PathBuf>,
    pub number: Option<u32>,
    pub uuid: Option<String>,
    pub label: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ActiveTable {
    parameter: Option<String>,
    command_line: Option<PathBuf>,
    file: Option<PathBuf>,
}

/// The `[boot]` of one flow.
trait BootTable: DeserializeOwned {
    fn config(self, groups: &Groups) -> Result<BootConfig, ConfigError>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GrubTable {
    #[serde(rename = "flow")]
    _flow: IgnoredAny,
    active: Option<ActiveTable>,
    reboot: Option<Vec<String>>,
    environment: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct UBootTable {
    #[serde(rename = "flow")]
    _flow: IgnoredAny,
    active: Option<ActiveTable>,
    reboot: Option<Vec<String>>,
    config: Option<PathBuf>,
    printenv: Option<PathBuf>,
    setenv: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SystemdBootTable {
    #[serde(rename = "flow")]
    _flow: IgnoredAny,
    active: Option<ActiveTable>,
    reboot: Option<Vec<String>>,
    variables: Option<PathBuf>,
    loader: Option<PathBuf>,
    entries: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TrybootTable {
    #[serde(rename = "flow")]
    _flow: IgnoredAny,
    active: Option<ActiveTable>,
    reboot: Option<Vec<String>>,
    autoboot: Option<PathBuf>,
    partitions: BTreeMap<String, u32>,
    booted: Option<PathBuf>,
    marker: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CustomTable {
    #[serde(rename = "flow")]
    _flow: IgnoredAny,
    active: Option<ActiveTable>,
    reboot: Option<Vec<String>>,
    program: PathBuf,
    time_limit_s: Option<u32>,
}

impl BootTable for GrubTable {
    fn config(self, _: &Groups) -> Result<BootConfig, ConfigError> {
        let environment = path_or("environment", self.environment, "/boot/grub/grubenv")?;
        common(self.active, self.reboot, FlowConfig::Grub { environment })
    }
}

impl BootTable for UBootTable {
    fn config(self, _: &Groups) -> Result<BootConfig, ConfigError> {
        let config = path_or("config", self.config, "/etc/fw_env.config")?;
        // A name without a folder is searched for as a shell does.
        let printenv = self.printenv.unwrap_or_else(|| "fw_printenv".into());
        let setenv = self.setenv.unwrap_or_else(|| "fw_setenv".into());
        common(self.active, self.reboot, FlowConfig::UBoot { config, printenv, setenv })
    }
}

impl BootTable for SystemdBootTable {
    fn config(self, groups: &Groups) -> Result<BootConfig, ConfigError> {
        for entry in self.entries.values() {
            check_word("the entry", entry)?;
        }
        let flow = FlowConfig::SystemdBoot {
            variables: path_or("variables", self.variables, "/sys/firmware/efi/efivars")?,
            loader: path_or("loader", self.loader, "/efi/loader/loader.conf")?,
            entries: per_group("entries", self.entries, groups)?,
        };
        common(self.active, self.reboot, flow)
    }
}

impl BootTable for TrybootTable {
    fn config(self, groups: &Groups) -> Result<BootConfig, ConfigError> {
        if !self.partitions.values().all(|number| (1..=PARTITION_MAX).contains(number)) {
            return Err(ConfigError::Range { key: "partitions", max: PARTITION_MAX });
        }
        let booted = "/proc/device-tree/chosen/bootloader/partition";
        let flow = FlowConfig::Tryboot {
            autoboot: path_or("autoboot", self.autoboot, "/boot/firmware/autoboot.txt")?,
            partitions: per_group("partitions", self.partitions, groups)?,
            booted: path_or("booted", self.booted, booted)?,
            marker: path_or("marker", self.marker, "/run/fluvial/tryboot")?,
        };
        common(self.active, self.reboot, flow)
    }
}

impl BootTable for CustomTable {
    fn config(self, _: &Groups) -> Result<BootConfig, ConfigError> {
        let time_limit_s = self.time_limit_s.unwrap_or(TIME_LIMIT_S);
        if !(1..=TIME_LIMIT_S_MAX).contains(&time_limit_s) {
            return Err(ConfigError::Range { key: "time-limit-s", max: TIME_LIMIT_S_MAX });
        }
        check_path("program", &self.program)?;
        common(self.active, self.reboot, FlowConfig::Custom { program: self.program, time_limit_s })
    }
}

/// Reads and checks a configuration.
pub(super) fn read(text: &str) -> Result<System, ConfigError> {
    let head: Head = parse(text)?;
    match head.boot.flow {
        FlowKind::Grub => read_as::<GrubTable>(text),
        FlowKind::UBoot => read_as::<UBootTable>(text),
        FlowKind::SystemdBoot => read_as::<SystemdBootTable>(text),
        FlowKind::Tryboot => read_as::<TrybootTable>(text),
        FlowKind::Custom => read_as::<CustomTable>(text),
    }
}

fn read_as<B: BootTable>(text: &str) -> Result<System, ConfigError> {
    let table: SystemTable<B> = parse(text)?;
    check_word("the hardware", &table.hardware)?;
    let slots = check_slots(table.slots)?;
    let groups = check_groups(&slots)?;
    let boot = table.boot.config(&groups)?;
    Ok(System { hardware: table.hardware, slots, groups, boot })
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
        ConfigError::Syntax { line, reason: error.message().into() }
    })
}

/// Puts together what every flow has.
fn common(
    active: Option<ActiveTable>,
    reboot: Option<Vec<String>>,
    flow: FlowConfig,
) -> Result<BootConfig, ConfigError> {
    if let Some(command) = &reboot {
        check_command("reboot", command)?;
    }
    let active = match (active, &flow) {
        (Some(active), _) => Some(active_source(active)?),
        // Their boot scripts tell the kernel; the others know by themselves.
        (None, FlowConfig::Grub { .. } | FlowConfig::UBoot { .. }) => {
            Some(ActiveSource::Parameter { name: PARAMETER.into(), command_line: "/proc/cmdline".into() })
        }
        (None, _) => None,
    };
    Ok(BootConfig { active, reboot, flow })
}

fn active_source(table: ActiveTable) -> Result<ActiveSource, ConfigError> {
    match (table.parameter, table.command_line, table.file) {
        (Some(name), command_line, None) => {
            check_word("the parameter", &name)?;
            let command_line = path_or("command-line", command_line, "/proc/cmdline")?;
            Ok(ActiveSource::Parameter { name, command_line })
        }
        (None, None, Some(file)) => {
            check_path("file", &file)?;
            Ok(ActiveSource::File(file))
        }
        _ => Err(ConfigError::Active),
    }
}

fn path_or(what: &'static str, path: Option<PathBuf>, usual: &str) -> Result<PathBuf, ConfigError> {
    let path = path.unwrap_or_else(|| usual.into());
    check_path(what, &path)?;
    Ok(path)
}

/// The values of a table with one key for each group, in the order of the groups.
fn per_group<T: PartialEq>(
    table: &'static str,
    mut values: BTreeMap<String, T>,
    groups: &Groups,
) -> Result<[T; 2], ConfigError> {
    let [first, second] = groups.0.each_ref().map(|group| values.remove(group.as_str()));
    match (first, second) {
        (Some(first), Some(second)) if values.is_empty() && first != second => Ok([first, second]),
        _ => Err(ConfigError::PerGroup { table }),
    }
}
