//! GRUB's environment block (GRUB, `include/grub/lib/envblk.h`): a first line, lines `NAME=VALUE`, lines of
//! comment that begin with `#`, and `#` up to the end. In values `\` and the end of a line stand behind a `\`.

use crate::system::GROUP_BYTES_MAX;

/// The length of a block, in bytes.
pub const GRUB_ENVIRONMENT_BYTES: usize = 1024;

const SIGNATURE: &[u8] = b"# GRUB Environment Block";
const DEFAULT: &str = "fluvial_default";
const TRY: &str = "fluvial_try";
/// How a line of comment begins that fills up what our variables leave of their room.
const FILLER: &[u8] = b"#.";
/// The room of our two variables and the filler, in bytes: always the same, so that no other variable moves
/// when they change, and what changes lies in the first sector.
const ROOM_BYTES: usize =
    (DEFAULT.len() + 2 + GROUP_BYTES_MAX) + (TRY.len() + 2 + GROUP_BYTES_MAX) + (FILLER.len() + 1);

/// A block: its lines without their ends, as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    lines: Vec<Vec<u8>>,
}

impl Block {
    /// Reads a block. Answers in words what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() != GRUB_ENVIRONMENT_BYTES {
            return Err("it has not 1,024 bytes");
        }
        let Some([b'\n', text @ ..]) = bytes.strip_prefix(SIGNATURE) else {
            return Err("it does not begin as an environment block of GRUB");
        };
        // GRUB looks for the end in the same way.
        let padding = text.iter().rev().take_while(|&&byte| byte == b'#').count();
        let text = &text[..text.len() - padding];
        let mut lines = Vec::new();
        let mut line = Vec::new();
        let mut is_escaped = false;
        for &byte in text {
            if byte == b'\n' && !is_escaped {
                lines.push(std::mem::take(&mut line));
                continue;
            }
            is_escaped = byte == b'\\' && !is_escaped;
            line.push(byte);
        }
        if !line.is_empty() {
            return Err("its last line does not end");
        }
        let is_known = |line: &Vec<u8>| line.first() == Some(&b'#') || line.contains(&b'=');
        if lines.iter().all(is_known) { Ok(Self { lines }) } else { Err("a line of it is no variable") }
    }

    /// Its bytes; none where it is full.
    pub(super) fn render(&self) -> Option<Vec<u8>> {
        let mut bytes = [SIGNATURE, b"\n"].concat();
        for line in &self.lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        (bytes.len() <= GRUB_ENVIRONMENT_BYTES).then(|| {
            bytes.resize(GRUB_ENVIRONMENT_BYTES, b'#');
            bytes
        })
    }

    /// The group that boots when nothing is asked.
    pub(super) fn default_group(&self) -> Option<String> {
        self.get(DEFAULT)
    }

    /// The group that is tried; empty if none is.
    pub(super) fn try_group(&self) -> Option<String> {
        self.get(TRY)
    }

    /// Keeps both, in front of all other variables. They need no `\`: groups have no such names.
    pub(super) fn set(&mut self, default: &str, pending: &str) {
        self.lines.retain(|line| {
            !line.starts_with(FILLER) && value_of(line, DEFAULT).is_none() && value_of(line, TRY).is_none()
        });
        let variables = [format!("{DEFAULT}={default}"), format!("{TRY}={pending}")];
        let taken: usize = variables.iter().map(|line| line.len() + 1).sum();
        let mut filler = FILLER.to_vec();
        filler.resize(ROOM_BYTES.saturating_sub(taken + 1).max(FILLER.len()), b'.');
        let ours = variables.map(String::into_bytes).into_iter().chain([filler]);
        // Behind the comment with which GRUB's own tool begins.
        let front = self.lines.iter().take_while(|line| line.starts_with(b"#")).count();
        self.lines.splice(front..front, ours);
    }

    /// The value of a variable. The last one counts, as it does for GRUB.
    fn get(&self, name: &str) -> Option<String> {
        let value = self.lines.iter().rev().find_map(|line| value_of(line, name))?;
        let mut plain = Vec::new();
        let mut is_escaped = false;
        for &byte in value {
            is_escaped = byte == b'\\' && !is_escaped;
            if !is_escaped {
                plain.push(byte);
            }
        }
        Some(String::from_utf8_lossy(&plain).into_owned())
    }
}

fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The length of a sector, in bytes.
    const SECTOR_BYTES: usize = 512;

    fn block(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(GRUB_ENVIRONMENT_BYTES, b'#');
        bytes
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let good = block("# GRUB Environment Block\na=1\n");
        Block::parse(&good).unwrap();
        let none: &[u8] = &[];
        for bytes in [none, &good[1..], &[0; GRUB_ENVIRONMENT_BYTES], &block("# GRUB Environment Block\na=1")]
        {
            assert!(Block::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        for text in
            ["# GRUB Environment Block\nwords\n", "# GRUB Environment Block\n\n", "# GRUB Environment"]
        {
            assert!(Block::parse(&block(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_of_two_variables_counts_and_both_are_replaced() {
        let text = "# GRUB Environment Block\nfluvial_default=a\nsaved_entry=0\nfluvial_default=b\n";
        let mut read = Block::parse(&block(text)).unwrap();
        assert_eq!(read.default_group().as_deref(), Some("b"));
        read.set("a", "b");
        let text = String::from_utf8(read.render().unwrap()).unwrap();
        assert_eq!(text.matches("fluvial_default=").count(), 1);
        assert_eq!(text.matches("fluvial_try=b\n").count(), 1);
        assert!(text.contains("\nsaved_entry=0\n"));
    }

    #[test]
    fn a_full_block_takes_nothing_more() {
        let text = format!("# GRUB Environment Block\nlong={}\n", "x".repeat(990));
        let mut full = Block::parse(&block(&text)).unwrap();
        full.set("a", "b");
        assert_eq!(full.render(), None);
    }

    proptest! {
        #[test]
        fn a_block_is_read_as_it_was_written(
            others in proptest::collection::vec("[a-z]{1,8}=([a-z ]|\\\\\\\\|\\\\\n){0,20}", 0..20),
            default in "[a-zA-Z0-9_-]{1,16}",
            pending in "[a-zA-Z0-9_-]{0,16}",
        ) {
            let lines = others.iter().map(|line| line.clone().into_bytes()).collect();
            let mut written = Block { lines };
            written.set(&default, &pending);
            if let Some(bytes) = written.render() {
                let read = Block::parse(&bytes).unwrap();
                prop_assert_eq!(&read, &written);
                prop_assert_eq!(read.default_group(), Some(default));
                prop_assert_eq!(read.try_group(), Some(pending));
            }
        }

        #[test]
        fn a_change_lies_in_the_first_sector(
            others in proptest::collection::vec("[a-z]{1,8}=[a-z]{0,40}", 0..20),
            first in ("[a-z]{1,16}", "[a-z]{0,16}"),
            second in ("[a-z]{1,16}", "[a-z]{0,16}"),
        ) {
            let mut before = Block { lines: others.iter().map(|line| line.clone().into_bytes()).collect() };
            before.set(&first.0, &first.1);
            let mut after = before.clone();
            after.set(&second.0, &second.1);
            if let (Some(before), Some(after)) = (before.render(), after.render()) {
                prop_assert_eq!(&before[SECTOR_BYTES..], &after[SECTOR_BYTES..]);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..1100)) {
            let _ = Block::parse(&bytes);
            bytes.resize(GRUB_ENVIRONMENT_BYTES, b'#');
            let mut signed = b"# GRUB Environment Block\n".to_vec();
            signed.extend_from_slice(&bytes);
            signed.truncate(GRUB_ENVIRONMENT_BYTES);
            if let Ok(block) = Block::parse(&signed) {
                prop_assert_eq!(block.render(), Some(signed));
            }
        }
    }
}
