//! The running group, where the configuration says how it is found.

use super::write::read;
use super::{BootError, known};
use crate::system::{ActiveSource, Group, Groups};

/// The longest command line of the kernel, or file with a group's name, that is read, in bytes.
pub const COMMAND_LINE_BYTES_MAX: u64 = 64 << 10;

/// Finds the running group.
///
/// # Errors
/// [`BootError::Read`], [`BootError::NoActive`], [`BootError::UnknownGroup`].
pub(super) fn find(source: &ActiveSource, groups: &Groups) -> Result<Group, BootError> {
    let (path, text) = match source {
        ActiveSource::Parameter { command_line: path, .. } | ActiveSource::File(path) => {
            (path, read(path, COMMAND_LINE_BYTES_MAX)?)
        }
    };
    let text = String::from_utf8_lossy(&text);
    let (place, name) = match source {
        ActiveSource::Parameter { name, .. } => {
            (format!("{name}= in {}", path.display()), parameter(&text, name))
        }
        ActiveSource::File(path) => (path.display().to_string(), Some(text.trim())),
    };
    match name {
        Some(name) if !name.is_empty() => known(groups, &place, name),
        _ => Err(BootError::NoActive { place }),
    }
}

/// The value of a parameter of the kernel; the last one counts, as it does there.
fn parameter<'a>(command_line: &'a str, name: &str) -> Option<&'a str> {
    let value = |word: &'a str| word.strip_prefix(name)?.strip_prefix('=');
    command_line.split_whitespace().filter_map(value).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_parameter_of_the_name_counts() {
        let line = "quiet fluvial.group=a root=/dev/sda2 xfluvial.group=c fluvial.group=b\n";
        assert_eq!(parameter(line, "fluvial.group"), Some("b"));
        assert_eq!(parameter("fluvial.groups=a fluvial.group", "fluvial.group"), None);
        assert_eq!(parameter("fluvial.group=", "fluvial.group"), Some(""));
    }
}
