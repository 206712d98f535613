//! Checks of a configuration: names, counts, and that the two boot groups are each other's counterparts.

use std::path::{Path, PathBuf};

use super::places::numbered_path;
use super::tables::{PARTITION_MAX, PartitionTable, SlotTable};
use super::{ConfigError, Group, Groups, Place, Slot};

/// Slots at most.
pub const SLOTS_MAX: usize = 32;
/// The longest name of a slot, a role, a hardware, an entry or a label, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest name of a boot group, in bytes: GRUB's environment has 1,024 in all.
pub const GROUP_BYTES_MAX: usize = 16;
/// The longest path, in bytes, as Linux has it.
pub const PATH_BYTES_MAX: usize = 4096;
/// Words of a command at most.
pub const WORDS_MAX: usize = 32;

/// Names become names of files, arguments and values of variables.
pub(super) fn check_word(what: &'static str, name: &str) -> Result<(), ConfigError> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let begins_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if name.len() > NAME_BYTES_MAX {
        return Err(ConfigError::Limit { what: "bytes in a name", max: NAME_BYTES_MAX as u64 });
    }
    if begins_well && name.bytes().all(is_good) {
        return Ok(());
    }
    Err(ConfigError::Name { what, name: name.into() })
}

pub(super) fn check_path(what: &'static str, path: &Path) -> Result<(), ConfigError> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(ConfigError::Limit { what: "bytes in a path", max: PATH_BYTES_MAX as u64 });
    }
    // A zero byte would end it for the system.
    if path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0) {
        return Ok(());
    }
    Err(ConfigError::Path { what, path: path.into() })
}

pub(super) fn check_command(key: &'static str, command: &[String]) -> Result<(), ConfigError> {
    if command.len() > WORDS_MAX {
        return Err(ConfigError::Limit { what: "words in a command", max: WORDS_MAX as u64 });
    }
    if command.first().is_none_or(String::is_empty) {
        return Err(ConfigError::Command { key });
    }
    Ok(())
}

/// Checks each slot for itself, and that no two are the same.
pub(super) fn check_slots(tables: Vec<SlotTable>) -> Result<Vec<Slot>, ConfigError> {
    if tables.len() > SLOTS_MAX {
        return Err(ConfigError::Limit { what: "slots", max: SLOTS_MAX as u64 });
    }
    let mut slots: Vec<Slot> = Vec::new();
    for table in tables {
        let slot = check_slot(table)?;
        for other in &slots {
            check_pair(other, &slot)?;
        }
        slots.push(slot);
    }
    Ok(slots)
}

fn check_slot(table: SlotTable) -> Result<Slot, ConfigError> {
    check_word("the slot", &table.name)?;
    check_word("the role", &table.role)?;
    if let Some(group) = &table.group {
        check_word("the group", group)?;
        // A point is no part of a variable's name in every boot loader.
        if group.len() > GROUP_BYTES_MAX || group.contains('.') {
            return Err(ConfigError::Name { what: "the group", name: group.clone() });
        }
    }
    let place = match (table.device, table.file, table.partition) {
        (Some(path), None, None) => Place::Device(checked("device", path)?),
        (None, Some(path), None) => Place::File(checked("file", path)?),
        (None, None, Some(partition)) => check_partition(&table.name, partition)?,
        _ => return Err(ConfigError::Place { slot: table.name }),
    };
    let group = table.group.map(Group);
    Ok(Slot { name: table.name, role: table.role, group, place, is_immutable: table.immutable })
}

fn checked(what: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    check_path(what, &path)?;
    Ok(path)
}

fn check_partition(slot: &str, table: PartitionTable) -> Result<Place, ConfigError> {
    match (table.disk, table.number, table.uuid, table.label) {
        (Some(disk), Some(number), None, None) => {
            if !(1..=PARTITION_MAX).contains(&number) {
                return Err(ConfigError::Range { key: "number", max: PARTITION_MAX });
            }
            Ok(Place::Numbered { disk: checked("disk", disk)?, number })
        }
        (None, None, Some(uuid), None) => {
            check_word("the UUID", &uuid)?;
            Ok(Place::Uuid(uuid.to_ascii_lowercase()))
        }
        (None, None, None, Some(label)) => {
            // A GPT has 36 characters for it; any may stand there.
            if label.is_empty() || label.len() > NAME_BYTES_MAX || label.contains(char::is_control) {
                return Err(ConfigError::Name { what: "the label", name: label });
            }
            Ok(Place::Label(label))
        }
        _ => Err(ConfigError::Partition { slot: slot.into() }),
    }
}

fn check_pair(first: &Slot, second: &Slot) -> Result<(), ConfigError> {
    if first.name == second.name {
        return Err(ConfigError::SameName { name: first.name.clone() });
    }
    let names = (first.name.clone(), second.name.clone());
    // A shared slot plays its role in both groups.
    let is_together = first.group.is_none() || second.group.is_none() || first.group == second.group;
    if first.role == second.role && is_together {
        return Err(ConfigError::SameRole { first: names.0, second: names.1, role: first.role.clone() });
    }
    if is_same_place(&first.place, &second.place) {
        return Err(ConfigError::SamePlace { first: names.0, second: names.1 });
    }
    Ok(())
}

/// Whether two places are the same as far as the words tell; [`super::System::paths`] looks at the disks.
fn is_same_place(first: &Place, second: &Place) -> bool {
    let named = |place: &Place| match place {
        Place::Device(path) | Place::File(path) => Some(path.components().collect::<PathBuf>()),
        Place::Numbered { disk, number } => Some(numbered_path(disk, *number)),
        Place::Uuid(_) | Place::Label(_) => None,
    };
    match (named(first), named(second)) {
        (Some(first), Some(second)) => first == second,
        _ => first == second,
    }
}

/// Finds the two groups, and that each slot of one has a counterpart in the other.
pub(super) fn check_groups(slots: &[Slot]) -> Result<Groups, ConfigError> {
    let mut found: Vec<&Group> = Vec::new();
    for group in slots.iter().filter_map(|slot| slot.group.as_ref()) {
        if !found.contains(&group) {
            found.push(group);
        }
    }
    let [first, second] = found[..] else { return Err(ConfigError::Groups { found: found.len() }) };
    let groups = Groups([first.clone(), second.clone()]);
    for slot in slots {
        let Some(group) = &slot.group else { continue };
        let other = groups.other(group);
        let is_counterpart = |it: &Slot| it.role == slot.role && it.group.as_ref() == Some(other);
        if !slots.iter().any(is_counterpart) {
            let (slot, role) = (slot.name.clone(), slot.role.clone());
            return Err(ConfigError::NoCounterpart { slot, group: other.as_str().into(), role });
        }
    }
    Ok(groups)
}
