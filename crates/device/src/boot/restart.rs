//! Restarting the device.

use std::path::Path;
use std::time::Duration;

use super::BootError;
use super::program::Program;

/// How long the system may take to begin with it.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// It is there where systemd runs (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";

/// How the device is restarted.
#[derive(Debug)]
pub(super) struct Restart {
    command: Option<Vec<String>>,
}

impl Restart {
    pub(super) fn new(command: Option<Vec<String>>) -> Self {
        Self { command }
    }

    /// Asks for it; `argument` goes to the firmware through the kernel (`reboot(2)`,
    /// `LINUX_REBOOT_CMD_RESTART2`).
    ///
    /// # Errors
    /// As [`Program::run`].
    pub(super) fn run(&self, argument: Option<&str>) -> Result<(), BootError> {
        let words = self.words(argument, Path::new(SYSTEMD).exists());
        let mut words = words.iter().map(String::as_str);
        let program = words.next().unwrap_or("reboot");
        let arguments: Vec<_> = words.collect();
        Program::new(program.into(), TIME_LIMIT).run(&arguments).map(drop)
    }

    fn words(&self, argument: Option<&str>, with_systemd: bool) -> Vec<String> {
        let usual =
            || if with_systemd { vec!["systemctl".into(), "reboot".into()] } else { vec!["reboot".into()] };
        let mut words = self.command.clone().unwrap_or_else(usual);
        if let Some(argument) = argument {
            let is_systemctl = self.command.is_none() && with_systemd;
            let option = if is_systemctl { "--reboot-argument=" } else { "" };
            words.push(format!("{option}{argument}"));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_is_passed_as_each_program_wants_it() {
        let usual = Restart::new(None);
        assert_eq!(usual.words(None, true), ["systemctl", "reboot"]);
        assert_eq!(
            usual.words(Some("0 tryboot"), true),
            ["systemctl", "reboot", "--reboot-argument=0 tryboot"]
        );
        assert_eq!(usual.words(Some("0 tryboot"), false), ["reboot", "0 tryboot"]);
        let own = Restart::new(Some(vec!["/sbin/restart".into(), "-f".into()]));
        assert_eq!(own.words(Some("0 tryboot"), true), ["/sbin/restart", "-f", "0 tryboot"]);
    }
}
