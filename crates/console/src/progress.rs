//! What people see while they wait. On a terminal only, and never with `--json`.

use std::io::{IsTerminal as _, stderr};
use std::sync::{Mutex, PoisonError};

use fluvial_delta::diff::{DiffObserver, Phase};
use fluvial_device::disk::{MakeObserver, MakePhase};
use fluvial_fetch::{FetchObserver, FetchPhase};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::interrupt::Interrupt;

/// One bar for each phase of the work, one after another.
pub struct Progress {
    interrupt: Interrupt,
    visible: bool,
    bar: Mutex<ProgressBar>,
}

impl Progress {
    /// Shows bars unless the output is for machines.
    pub fn new(interrupt: Interrupt, json: bool) -> Self {
        Self { interrupt, visible: !json && stderr().is_terminal(), bar: Mutex::new(ProgressBar::hidden()) }
    }

    /// A phase begins that handles about so many bytes.
    pub fn phase(&self, name: &'static str, bytes: u64) {
        if !self.visible {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:10} [{bar:32}] {percent:>3} %  {binary_bytes:>10}  {binary_bytes_per_sec:>12}  {eta} left",
        ) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(name);
        let mut current = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        current.finish_and_clear();
        *current = bar;
    }

    /// So many more bytes of the phase are done; answers whether to go on.
    pub fn advance(&self, bytes: u64) -> bool {
        if self.visible {
            self.bar.lock().unwrap_or_else(PoisonError::into_inner).inc(bytes);
        }
        !self.interrupt.is_asked()
    }

    /// The work is done, or has failed: the bar goes.
    pub fn finish(&self) {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).finish_and_clear();
    }
}

impl DiffObserver for Progress {
    fn begin(&self, phase: Phase, bytes: u64) {
        let name = match phase {
            Phase::Hash => "hashing",
            Phase::Open => "opening",
            Phase::Match => "matching",
            Phase::Search => "searching",
            Phase::Encode => "encoding",
            Phase::Verify => "verifying",
        };
        self.phase(name, bytes);
    }

    fn advance(&self, bytes: u64) -> bool {
        Progress::advance(self, bytes)
    }
}

impl MakeObserver for Progress {
    fn begin(&self, phase: MakePhase, bytes: u64) {
        let name = match phase {
            MakePhase::Apply => "applying",
            MakePhase::Verify => "verifying",
        };
        self.phase(name, bytes);
    }

    fn advance(&self, bytes: u64) -> bool {
        Progress::advance(self, bytes)
    }
}

impl FetchObserver for Progress {
    fn begin(&self, phase: FetchPhase, bytes: u64) {
        let name = match phase {
            FetchPhase::Look => "looking",
            FetchPhase::Fetch => "fetching",
        };
        self.phase(name, bytes);
    }

    fn advance(&self, bytes: u64) -> bool {
        Progress::advance(self, bytes)
    }
}
