//! Whether a release may be installed at all. Everything here is decided before a byte reaches a slot.

use fluvial_bundle::Manifest;
use fluvial_console::{Fault, Kind};

use crate::state::State;

/// What a device is, and what its operator allows.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    pub hardware: &'a str,
    pub allow_downgrade: bool,
}

/// Refuses a release that does not fit this device.
pub fn admit(manifest: &Manifest, state: &State, terms: Terms<'_>) -> Result<(), Fault> {
    let refused = |message: String, hint: &str| Err(Fault::new(Kind::Refused, message).hint(hint));
    let fits = |hardware: &String| hardware == terms.hardware;
    if !manifest.hardware.is_empty() && !manifest.hardware.iter().any(fits) {
        let message = format!(
            "{} {} fits {}, this device is {}",
            manifest.name,
            manifest.version,
            manifest.hardware.join(", "),
            terms.hardware
        );
        return refused(message, "install the release that is made for this hardware");
    }
    let confirmed = state.confirmed_sequence;
    if manifest.sequence < confirmed && !terms.allow_downgrade {
        let message = format!(
            "{} {} has the sequence {}, {confirmed} was confirmed on this device",
            manifest.name, manifest.version, manifest.sequence
        );
        return refused(message, "--allow-downgrade takes it, with the faults that were mended since");
    }
    // A device that was never updated by Fluvial knows nothing of sequences.
    if confirmed > 0 && confirmed < manifest.floor {
        let message = format!(
            "{} {} is for devices from sequence {} on, this one has {confirmed}",
            manifest.name, manifest.version, manifest.floor
        );
        return refused(message, "install a release in between first");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(sequence: u64) -> State {
        let mut state = State::default();
        state.confirmed_sequence = sequence;
        state
    }

    fn refused(change: &dyn Fn(&mut Manifest), confirmed_sequence: u64) -> Option<String> {
        let mut manifest = Manifest::new("demo".into(), "2".into(), 5);
        change(&mut manifest);
        let state = confirmed(confirmed_sequence);
        let terms = Terms { hardware: "rpi4", allow_downgrade: false };
        admit(&manifest, &state, terms).err().map(|fault| fault.text())
    }

    #[test]
    fn only_what_fits_is_admitted() {
        assert_eq!(refused(&|_| {}, 0), None);
        assert_eq!(refused(&|_| {}, 5), None, "the same again");
        assert_eq!(refused(&|manifest| manifest.hardware = vec!["x".into(), "rpi4".into()], 0), None);
        let other = refused(&|manifest| manifest.hardware = vec!["rpi5".into()], 0).unwrap();
        assert!(other.contains("fits rpi5, this device is rpi4"), "{other}");
        let older = refused(&|_| {}, 6).unwrap();
        assert!(older.contains("6 was confirmed"), "{older}");
        let floor = refused(&|manifest| manifest.floor = 4, 3).unwrap();
        assert!(floor.contains("from sequence 4 on"), "{floor}");
        assert_eq!(refused(&|manifest| manifest.floor = 4, 4), None);
    }

    #[test]
    fn a_downgrade_is_taken_where_it_is_allowed() {
        let manifest = Manifest::new("demo".into(), "1".into(), 1);
        let state = confirmed(3);
        assert!(admit(&manifest, &state, Terms { hardware: "x", allow_downgrade: true }).is_ok());
    }
}
