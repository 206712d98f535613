//! `fluvial key`: the keys that releases are signed with.

use std::fmt;
use std::path::{Path, PathBuf};

use fluvial_trust::{KeyFolder, Lifetimes, Overview, RoleInfo, Timestamp};
use serde_json::{Value, json};

use crate::arguments::{KeyArguments, KeyCommand, KeyInitArguments, KeyRotateArguments, KeyShowArguments};
use fluvial_console::{Fault, say};

/// So much of a key's id is shown to people.
const ID_DIGITS: usize = 16;

/// Carries out a command for keys.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &KeyArguments) -> Result<(), Fault> {
    match &arguments.command {
        KeyCommand::Init(init) => make(init),
        KeyCommand::Rotate(rotate) => replace(rotate),
        KeyCommand::Show(show) => tell(show),
    }
}

fn make(arguments: &KeyInitArguments) -> Result<(), Fault> {
    let folder = KeyFolder::init(&arguments.folder, &arguments.options(Timestamp::now()))?;
    let overview = Shown { folder: &arguments.folder, overview: folder.show()? };
    if arguments.json {
        return say(overview.json());
    }
    let path = folder.path();
    say(format_args!(
        "{overview}\nGive devices {}. Keep {} and {} where nobody else comes to them.",
        path.join("root.json").display(),
        path.join("root").display(),
        path.join("targets").display(),
    ))
}

fn replace(arguments: &KeyRotateArguments) -> Result<(), Fault> {
    let mut folder = KeyFolder::open(&arguments.folder)?;
    let rotation = folder.rotate(arguments.role.into(), &arguments.options(Timestamp::now()))?;
    let overview = Shown { folder: &arguments.folder, overview: folder.show()? };
    if !arguments.json {
        return say(overview);
    }
    let mut object = overview.json();
    object["new_keys"] = json!(within(&arguments.folder, &rotation.new_keys));
    say(object)
}

fn tell(arguments: &KeyShowArguments) -> Result<(), Fault> {
    let overview = Shown { folder: &arguments.folder, overview: KeyFolder::open(&arguments.folder)?.show()? };
    if arguments.json { say(overview.json()) } else { say(overview) }
}

/// What is in a folder, to be shown. Files are named as seen from there.
struct Shown<'a> {
    folder: &'a Path,
    overview: Overview,
}

impl Shown<'_> {
    fn json(&self) -> Value {
        let Overview { root_version, root_expires, lifetimes, roles } = &self.overview;
        let Lifetimes { root_days, targets_days, snapshot_days, timestamp_days } = lifetimes;
        json!({
            "root_version": root_version,
            "root_expires": root_expires.to_string(),
            "root_days": root_days,
            "targets_days": targets_days,
            "snapshot_days": snapshot_days,
            "timestamp_days": timestamp_days,
            "roles": roles.iter().map(|role| self.role_json(role)).collect::<Vec<_>>(),
        })
    }

    fn role_json(&self, role: &RoleInfo) -> Value {
        let keys: Vec<_> = role
            .keys
            .iter()
            .map(|key| json!({ "id": key.id, "path": key.path.as_deref().map(|path| self.name_of(path)) }))
            .collect();
        json!({
            "role": role.role.name(),
            "threshold": role.threshold,
            "keys": keys,
            "unused_keys": within(self.folder, &role.unused_keys),
        })
    }

    fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(self.folder).unwrap_or(path).display().to_string()
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overview { root_version, root_expires, lifetimes, roles } = &self.overview;
        writeln!(f, "root version {root_version}, expires {root_expires}")?;
        let Lifetimes { root_days, targets_days, snapshot_days, timestamp_days } = lifetimes;
        write!(
            f,
            "days to live: root {root_days}, targets {targets_days}, snapshot {snapshot_days}, \
             timestamp {timestamp_days}"
        )?;
        for role in roles {
            write!(f, "\n{}: {} of {} keys sign", role.role, role.threshold, role.keys.len())?;
            for key in &role.keys {
                let place = key.path.as_deref().map_or("not here".to_owned(), |path| self.name_of(path));
                write!(f, "\n  {}  {place}", &key.id[..ID_DIGITS.min(key.id.len())])?;
            }
            for path in &role.unused_keys {
                write!(f, "\n  unused: {}", self.name_of(path))?;
            }
        }
        Ok(())
    }
}

/// Paths as seen from a folder.
fn within(folder: &Path, paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.strip_prefix(folder).unwrap_or(path).display().to_string()).collect()
}
