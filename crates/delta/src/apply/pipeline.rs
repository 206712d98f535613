//! What passes between the thread that decodes frames and the one that packs and writes.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{ApplyError, Checkpoint};

/// Flattened bytes of a batch.
pub(super) const BATCH_BYTES: usize = 256 << 10;
/// Batches that are filled, on their way or being used.
pub(super) const BATCHES: usize = 4;

/// Flattened bytes, and what belongs between them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// How many of the bytes count.
    pub(super) len: usize,
    /// Corrections of the packed contents that start in these bytes or right behind them.
    pub(super) corrections: Vec<Vec<u8>>,
    /// Checkpoints, each with the flattened byte before which everything has to be written.
    pub(super) checkpoints: Vec<(u64, Checkpoint)>,
}

impl Batch {
    fn new() -> Self {
        Self { bytes: vec![0; BATCH_BYTES], ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && self.corrections.is_empty() && self.checkpoints.is_empty()
    }
}

/// The end that fills batches.
pub(super) struct Filling {
    full: SyncSender<Batch>,
    free: Receiver<Batch>,
}

/// The end that uses them.
pub(super) struct Using {
    full: Receiver<Batch>,
    free: SyncSender<Batch>,
}

/// Both ends of a ring of batches, and the first one to fill.
pub(super) fn ring() -> (Filling, Using, Batch) {
    let (full_sender, full) = sync_channel(BATCHES);
    let (free_sender, free) = sync_channel(BATCHES);
    for _ in 1..BATCHES {
        // There is room for all of them.
        let _ = free_sender.try_send(Batch::new());
    }
    (Filling { full: full_sender, free }, Using { full, free: free_sender }, Batch::new())
}

impl Filling {
    /// Hands a batch on, and takes an empty one.
    pub(super) fn exchange(&self, batch: Batch) -> Result<Batch, Stop> {
        self.full.send(batch).map_err(|_| Stop::OtherEnd)?;
        self.free.recv().map_err(|_| Stop::OtherEnd)
    }
}

impl Using {
    /// Gives a batch back, and takes the next one.
    pub(super) fn exchange(&self, mut used: Batch) -> Result<Batch, Stop> {
        used.len = 0;
        used.corrections.clear();
        used.checkpoints.clear();
        if !used.bytes.is_empty() {
            // Where nobody fills any more, what was filled is still to be used.
            let _ = self.free.send(used);
        }
        self.full.recv().map_err(|_| Stop::OtherEnd)
    }
}

/// Why one of the two ends early.
pub(super) enum Stop {
    /// Of itself.
    Fault(ApplyError),
    /// The other one has ended: it knows why.
    OtherEnd,
}

impl From<ApplyError> for Stop {
    fn from(error: ApplyError) -> Self {
        Self::Fault(error)
    }
}

/// How far the flattened bytes have come to their places.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The first flattened byte that no packer and no target has taken yet.
    taken: u64,
    /// What was handed on to be packed and is not written yet: by ticket, a flattened byte at or before
    /// its first one.
    on_their_way: BTreeMap<u64, u64>,
    next_ticket: u64,
    awaited: bool,
    ended: bool,
}

impl State {
    /// All bytes before this one are at their places, or with a packer that waits for more.
    fn placed(&self) -> u64 {
        // Tickets are given in the order of bytes.
        self.on_their_way.first_key_value().map_or(self.taken, |(_, &flat)| flat)
    }
}

/// Stands for bytes that are on their way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All bytes before `taken` are at their places or on their way. Answers which are at their places.
    pub(super) fn reach(&self, taken: u64) -> u64 {
        let mut state = self.lock();
        state.taken = taken;
        if state.awaited {
            self.changed.notify_all();
        }
        state.placed()
    }

    /// The next bytes are handed on to be packed.
    pub(super) fn begin(&self) -> Ticket {
        let mut state = self.lock();
        let (ticket, flat) = (state.next_ticket, state.taken);
        state.next_ticket += 1;
        state.on_their_way.insert(ticket, flat);
        Ticket(ticket)
    }

    /// What the ticket stands for is written.
    pub(super) fn finish(&self, ticket: Ticket) {
        let mut state = self.lock();
        state.on_their_way.remove(&ticket.0);
        if state.awaited {
            self.changed.notify_all();
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits until all bytes before `flat`, which have been handed on, are at their places.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when they never will be.
    pub(super) fn wait_for(&self, flat: u64) -> io::Result<()> {
        let mut state = self.lock();
        while state.placed() < flat {
            if state.ended {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            state.awaited = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.awaited = false;
        Ok(())
    }
}
