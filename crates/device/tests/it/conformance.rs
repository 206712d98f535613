//! What every boot flow must do, whatever the boot loader.

use fluvial_device::boot::{BootError, BootState};
use fluvial_device::system::{Group, System};

use crate::device::{Device, Loader};

/// Checks a new device, whose default is `a`. The environment is damaged in the end.
pub fn check(device: &Device, loader: &dyn Loader) {
    let suite = Suite { device, loader };
    loader.start(device, None);
    suite.expect("a", "a", None);
    suite.tries_and_falls_back();
    suite.cancels();
    suite.tries_the_default();
    suite.loses_power();
    suite.commits();
    suite.tries_the_old_group();
    suite.rolls_back();
    suite.refuses_other_groups();
    suite.tells_of_damage();
}

struct Suite<'a> {
    device: &'a Device,
    loader: &'a dyn Loader,
}

impl Suite<'_> {
    fn group(&self, name: &str) -> Group {
        self.device.system.groups().find(name).unwrap().clone()
    }

    fn state(&self, active: &str, default: &str, pending: Option<&str>) -> BootState {
        let pending = pending.map(|name| self.group(name));
        BootState { active: self.group(active), default: self.group(default), pending }
    }

    /// The state, as a process of its own sees it: nothing is kept in the flow.
    #[track_caller]
    fn expect(&self, active: &str, default: &str, pending: Option<&str>) {
        let flow = self.device.flow();
        assert_eq!(flow.state().unwrap(), self.state(active, default, pending));
        assert_eq!(flow.default_group().unwrap(), self.group(default));
    }

    fn try_next(&self, name: &str) {
        self.device.flow().try_next(&self.group(name)).unwrap();
    }

    fn commit(&self, name: &str) {
        self.device.flow().commit(&self.group(name)).unwrap();
    }

    fn restart(&self) {
        self.device.restart(self.loader);
    }

    fn tries_and_falls_back(&self) {
        self.try_next("b");
        self.expect("a", "a", Some("b"));
        self.try_next("b");
        self.expect("a", "a", Some("b"));
        self.restart();
        self.expect("b", "a", None);
        self.restart();
        self.expect("a", "a", None);
        self.restart();
        self.expect("a", "a", None);
    }

    fn cancels(&self) {
        self.try_next("b");
        self.device.flow().cancel_try().unwrap();
        self.expect("a", "a", None);
        self.device.flow().cancel_try().unwrap();
        self.restart();
        self.expect("a", "a", None);
    }

    fn tries_the_default(&self) {
        self.try_next("b");
        self.try_next("a");
        self.expect("a", "a", None);
        self.restart();
        self.expect("a", "a", None);
    }

    fn loses_power(&self) {
        self.try_next("b");
        self.loader.start(self.device, None);
        let tried = if self.loader.keeps_try_without_power() { "b" } else { "a" };
        self.expect(tried, "a", None);
        self.loader.start(self.device, None);
        self.expect("a", "a", None);
    }

    fn commits(&self) {
        self.try_next("b");
        self.restart();
        self.commit("b");
        self.expect("b", "b", None);
        self.commit("b");
        self.expect("b", "b", None);
        self.restart();
        self.expect("b", "b", None);
        self.loader.start(self.device, None);
        self.expect("b", "b", None);
    }

    fn tries_the_old_group(&self) {
        self.try_next("a");
        self.expect("b", "b", Some("a"));
        self.restart();
        self.expect("a", "b", None);
        self.restart();
        self.expect("b", "b", None);
    }

    fn rolls_back(&self) {
        // A commit of the other group takes its try with it.
        self.try_next("a");
        self.commit("a");
        self.expect("b", "a", None);
        self.restart();
        self.expect("a", "a", None);
        // So does one of the group that runs.
        self.try_next("b");
        self.commit("a");
        self.expect("a", "a", None);
        self.restart();
        self.expect("a", "a", None);
    }

    fn refuses_other_groups(&self) {
        let text = "hardware = 'box'\n\
                    [[slot]]\nname = 'x'\nrole = 's'\ngroup = 'x'\nfile = '/x'\n\
                    [[slot]]\nname = 'y'\nrole = 's'\ngroup = 'y'\nfile = '/y'\n\
                    [boot]\nflow = 'grub'\n";
        let foreign = System::parse(text).unwrap().groups().first().clone();
        let flow = self.device.flow();
        for done in [flow.try_next(&foreign), flow.commit(&foreign)] {
            assert!(matches!(done, Err(BootError::UnknownGroup { .. })), "{done:?}");
        }
        self.expect("a", "a", None);
    }

    fn tells_of_damage(&self) {
        self.loader.damage(self.device);
        let flow = self.device.flow();
        let b = self.group("b");
        for done in [flow.state().map(drop), flow.try_next(&b), flow.commit(&b), flow.cancel_try()] {
            assert!(matches!(done, Err(BootError::Damaged { .. })), "{done:?}");
        }
    }
}
