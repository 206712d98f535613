use super::*;

fn system() -> System {
    System::parse(
        "hardware = 'box'\n\
         [[slot]]\nname = 'system-a'\nrole = 'system'\ngroup = 'a'\ndevice = '/dev/a'\n\
         [[slot]]\nname = 'system-b'\nrole = 'system'\ngroup = 'b'\ndevice = '/dev/b'\n\
         [boot]\nflow = 'grub'\n",
    )
    .unwrap()
}

#[test]
fn to_try_the_default_is_to_try_nothing() {
    let system = system();
    let [a, b] = ["a", "b"].map(|name| system.groups().find(name).unwrap().clone());
    let pending = Choice::new(a.clone(), Some(b.clone()));
    assert_eq!(pending.pending, Some(b.clone()));
    assert_eq!(pending.after(&Change::Try(a.clone())), Choice::new(a.clone(), None));
    assert_eq!(pending.after(&Change::Cancel), Choice::new(a.clone(), None));
    assert_eq!(pending.after(&Change::Commit(b.clone())), Choice::new(b.clone(), None));
    assert_eq!(pending.after(&Change::Commit(a.clone())), Choice::new(a.clone(), None));
    assert_eq!(Choice::new(b.clone(), None).after(&Change::Try(a.clone())).to_string(), "b, then once a");
}

#[test]
fn variables_that_are_not_there_mean_the_first_group_and_no_try() {
    let system = system();
    let choice = |default, pending| choice_of(system.groups(), "here", default, pending);
    assert_eq!(choice(None, None).unwrap().to_string(), "a");
    assert_eq!(choice(Some(""), Some("")).unwrap().to_string(), "a");
    assert_eq!(choice(Some("b"), Some("a")).unwrap().to_string(), "b, then once a");
    assert_eq!(choice(Some("b"), Some("b")).unwrap().to_string(), "b");
    for (default, pending) in [(Some("c"), None), (None, Some("c")), (Some("a "), None)] {
        let error = choice(default, pending).unwrap_err();
        assert!(matches!(error, BootError::UnknownGroup { .. }), "{error}");
    }
}

/// A flow whose boot loader keeps nothing.
#[derive(Debug)]
struct Forgetful {
    groups: Groups,
}

impl BootFlow for Forgetful {
    fn groups(&self) -> &Groups {
        &self.groups
    }

    fn active(&self) -> Result<Group, BootError> {
        Ok(self.groups.first().clone())
    }

    fn choice(&self) -> Result<Choice, BootError> {
        Ok(Choice::new(self.groups.first().clone(), None))
    }

    fn make(&self, _: &Change, _: &Choice) -> Result<(), BootError> {
        Ok(())
    }

    fn reboot(&self) -> Result<(), BootError> {
        Ok(())
    }
}

#[test]
fn a_change_that_was_not_kept_is_told() {
    let groups = system().groups().clone();
    let flow = Forgetful { groups: groups.clone() };
    let other = groups.other(groups.first());
    flow.commit(groups.first()).unwrap();
    for done in [flow.try_next(other), flow.commit(other)] {
        assert!(matches!(done, Err(BootError::NotKept { .. })), "{done:?}");
    }
}
