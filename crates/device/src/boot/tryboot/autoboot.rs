//! `autoboot.txt` (Raspberry Pi documentation, "autoboot.txt"): lines `KEY=VALUE` under the filters `[all]`,
//! which is in force at the beginning, `[tryboot]` and `[none]`.

/// The longest `autoboot.txt` that the firmware reads, in bytes.
pub const AUTOBOOT_BYTES_MAX: usize = 512;

const PARTITION: &str = "boot_partition";
/// Without it a try is another `config.txt` of the same partition.
const SWITCH: &str = "tryboot_a_b";

/// An `autoboot.txt`: its lines, and where the partitions stand in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Autoboot {
    lines: Vec<String>,
    default: (usize, u32),
    /// None where nothing is tried so far.
    tried: Option<(usize, u32)>,
}

impl Autoboot {
    /// Reads the file. Answers in words what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let (mut default, mut tried, mut has_switch) = (None, None, false);
        let mut filter = "[all]";
        for (at, line) in lines.iter().enumerate() {
            let line = line.trim();
            if line.starts_with('[') {
                filter = line;
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            match (filter, key.trim()) {
                ("[all]", SWITCH) => has_switch = value.trim() == "1",
                (_, PARTITION) => {
                    let place = match filter {
                        "[all]" => &mut default,
                        "[tryboot]" => &mut tried,
                        _ => continue,
                    };
                    let number = value.trim().parse().map_err(|_| "a boot_partition of it is no number")?;
                    if place.replace((at, number)).is_some() {
                        return Err("it has a boot_partition twice");
                    }
                }
                _ => {}
            }
        }
        if !has_switch {
            return Err("it does not have tryboot_a_b=1 under [all]");
        }
        let default = default.ok_or("it has no boot_partition under [all]")?;
        Ok(Self { lines, default, tried })
    }

    /// The partition that boots when nothing is asked.
    pub(super) fn default_partition(&self) -> u32 {
        self.default.1
    }

    /// The same with other partitions.
    pub(super) fn with(&self, default: u32, tried: u32) -> Self {
        let mut new = self.clone();
        new.default.1 = default;
        new.lines[new.default.0] = format!("{PARTITION}={default}");
        let at = new.tried.map_or_else(
            || {
                new.lines.push("[tryboot]".into());
                new.lines.push(String::new());
                new.lines.len() - 1
            },
            |(at, _)| at,
        );
        new.tried = Some((at, tried));
        new.lines[at] = format!("{PARTITION}={tried}");
        new
    }

    /// Its bytes; none where they are too many.
    pub(super) fn render(&self) -> Option<Vec<u8>> {
        let text: String = self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        (text.len() <= AUTOBOOT_BYTES_MAX).then(|| text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: &str = "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n";

    #[test]
    fn partitions_are_swapped_and_the_rest_stays() {
        let text =
            "# ours\ntryboot_a_b=1\r\nboot_partition = 2\nother=7\n[none]\nboot_partition=9\n[tryboot]\n";
        let read = Autoboot::parse(text.as_bytes()).unwrap();
        assert_eq!((read.default_partition(), read.tried), (2, None));
        let new = String::from_utf8(read.with(3, 2).render().unwrap()).unwrap();
        let expected = "# ours\ntryboot_a_b=1\nboot_partition=3\nother=7\n[none]\nboot_partition=9\n[tryboot]\n\
                        [tryboot]\nboot_partition=2\n";
        assert_eq!(new, expected);
    }

    #[test]
    fn damaged_files_are_refused() {
        for text in [
            "",
            "[all]\nboot_partition=2\n",
            "[all]\ntryboot_a_b=0\nboot_partition=2\n",
            "[all]\ntryboot_a_b=1\n[tryboot]\nboot_partition=3\n",
            "tryboot_a_b=1\nboot_partition=two\n",
            "tryboot_a_b=1\nboot_partition=2\n[all]\nboot_partition=3\n",
        ] {
            assert!(Autoboot::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Autoboot::parse(&[0xff; 8]).is_err());
    }

    #[test]
    fn nothing_longer_than_the_firmware_reads_is_written() {
        let text = format!("{USUAL}#{}\n", "x".repeat(AUTOBOOT_BYTES_MAX - USUAL.len() - 2));
        let read = Autoboot::parse(text.as_bytes()).unwrap();
        assert_eq!(read.with(3, 2).render().unwrap().len(), AUTOBOOT_BYTES_MAX);
        assert_eq!(read.with(30, 2).render(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(default: u32, tried: u32, in_front in "(#[a-z ]{0,20}\n){0,3}") {
            let read = Autoboot::parse(format!("{in_front}{USUAL}").as_bytes()).unwrap();
            let new = read.with(default, tried);
            let again = Autoboot::parse(&new.render().unwrap()).unwrap();
            prop_assert_eq!(&again, &new);
            prop_assert_eq!(again.default_partition(), default);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Autoboot::parse(&bytes);
        }
    }
}
