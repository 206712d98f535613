//! What an installation came to.

use fluvial_console::{Fault, say};
use fluvial_device::system::Group;
use fluvial_fetch::Counters;
use indicatif::HumanBytes;

use crate::state::ReleaseName;

/// How an image came, or would come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// It was there.
    None,
    /// By a patch.
    Static,
    /// By the chunks that were missing.
    Dynamic,
    /// As a whole.
    Full,
}

impl Route {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::Full => "full",
        }
    }
}

/// A slot that was made, or would be.
#[derive(Debug)]
pub struct Made {
    pub role: String,
    pub slot: String,
    pub route: Route,
    /// Why not another route.
    pub reasons: Vec<String>,
    /// The bundle that it came from.
    pub from: String,
    /// What was fetched of it, or would be at most.
    pub fetched_bytes: u64,
    pub size_bytes: u64,
    /// What stood in the slot already.
    pub in_place_bytes: u64,
    /// The memory that it takes, where that is declared.
    pub memory_bytes: Option<u64>,
}

impl Made {
    /// Adds why other routes were not taken.
    pub fn because(mut self, reasons: Vec<String>) -> Self {
        self.reasons.splice(0..0, reasons);
        self
    }
}

/// What an installation came to.
#[derive(Debug)]
pub struct Outcome {
    pub release: ReleaseName,
    pub group: String,
    pub slots: Vec<Made>,
    pub fetched_bytes: u64,
    pub requests: u64,
    pub retries: u64,
    pub is_dry_run: bool,
    /// Whether the device is restarted.
    pub restarts: bool,
}

impl Outcome {
    pub fn new(
        release: ReleaseName,
        group: &Group,
        slots: Vec<Made>,
        counters: Counters,
        restarts: bool,
    ) -> Self {
        Self {
            release,
            group: group.to_string(),
            slots,
            fetched_bytes: counters.bytes,
            requests: counters.requests,
            retries: counters.retries,
            is_dry_run: false,
            restarts,
        }
    }

    /// Prints it.
    pub fn show(&self, json: bool, duration_s: f64) -> Result<(), Fault> {
        if json {
            return say(self.json(duration_s));
        }
        let ReleaseName { name, version, .. } = &self.release;
        for slot in &self.slots {
            for reason in &slot.reasons {
                eprintln!("note: {}: {reason}", slot.slot);
            }
            let (fetched, size) = (HumanBytes(slot.fetched_bytes), HumanBytes(slot.size_bytes));
            let (what, route) = (&slot.slot, slot.route.name());
            if self.is_dry_run {
                say(format_args!("{what}: route {route}, at most {fetched} of {size} from {}", slot.from))?;
            } else {
                say(format_args!("{what}: route {route}, {fetched} fetched for {size}"))?;
            }
        }
        let fetched = HumanBytes(self.fetched_bytes);
        let done = if self.is_dry_run { "would be installed into" } else { "is installed into" };
        say(format_args!(
            "{name} {version} {done} group {}, {fetched} fetched in {} requests, in {duration_s:.1} s",
            self.group, self.requests
        ))
    }

    fn json(&self, duration_s: f64) -> serde_json::Value {
        let slot = |slot: &Made| {
            serde_json::json!({
                "role": slot.role,
                "slot": slot.slot,
                "route": slot.route.name(),
                "reasons": slot.reasons,
                "from": slot.from,
                "fetched_bytes": slot.fetched_bytes,
                "size_bytes": slot.size_bytes,
                "in_place_bytes": slot.in_place_bytes,
                "memory_bytes": slot.memory_bytes,
            })
        };
        serde_json::json!({
            "name": self.release.name,
            "version": self.release.version,
            "sequence": self.release.sequence,
            "group": self.group,
            "dry_run": self.is_dry_run,
            "slots": self.slots.iter().map(slot).collect::<Vec<_>>(),
            "fetched_bytes": self.fetched_bytes,
            "requests": self.requests,
            "retries": self.retries,
            "duration_s": duration_s,
        })
    }
}
