//! Signals: the first one asks to stop cleanly, the second one stops at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::fault::{Fault, Kind};

/// Whether somebody asked to stop.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C, for termination, and for a terminal that goes away.
    ///
    /// # Errors
    /// What the system reports.
    pub fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: at the first signal the flag is not set yet when it is looked at.
            let exit_code = i32::from(Kind::Cancelled.exit_code());
            flag::register_conditional_shutdown(signal, exit_code, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    /// Whether to stop.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs what listens to signals.
///
/// # Errors
/// Those of `run`, and [`Kind::Internal`] where there can be no listening.
pub fn with_signals(run: impl FnOnce(Interrupt) -> Result<(), Fault>) -> Result<(), Fault> {
    run(Interrupt::listen().map_err(|error| Fault::new(Kind::Internal, error))?)
}
