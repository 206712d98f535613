//! Packs pieces on several threads, within the memory that the map names.
//!
//! The placer collects the content of a piece, and offers what is large enough to the other threads. It
//! packs a piece itself when they have enough to do, and packs as content comes where there is no memory
//! to collect it: so what is in memory is bounded, and nobody waits for long.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fluvial_codec::{PackContext, Recipe};

use super::packing::{Packing, TargetSink};
use super::pipeline::{Progress, Ticket};
use super::{ApplyError, Sink};
use crate::frame::FrameMemory;
use crate::layout::Piece;
use crate::map::PatchMap;

/// Threads beside the placer, at most. More would wait for it.
const WORKERS_MAX: usize = 4;
/// Pieces that wait for each of them, at most.
const WAITING_MAX: usize = 2;
/// Shorter content is packed before another thread has heard of it, in bytes.
pub(super) const OFFERED_BYTES_MIN: u64 = 2 << 10;

/// What is packed at a time, and what waits for it.
pub(super) struct Crew<'a> {
    map: &'a PatchMap,
    progress: &'a Progress,
    /// What a frame and all pieces that are collected or packed may take together, in bytes.
    memory_bytes: u64,
    /// What the pieces may take that are open one in another, in bytes.
    packing_bytes: u64,
    workers: usize,
    is_alone: bool,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

#[derive(Default)]
struct State<'a> {
    waiting: VecDeque<(Ticket, Job<'a>)>,
    packing: usize,
    /// What the open frame takes, in bytes.
    frame_bytes: u64,
    /// What pieces take that are collected, waiting or packed, in bytes.
    held_bytes: u64,
    /// The part of it that engines will take for blocks which nobody packs yet, in bytes.
    awaited_bytes: u64,
    /// Engines' working memory that nobody uses, with its size in bytes.
    idle: Vec<(PackContext, u64)>,
    fault: Option<ApplyError>,
    closed: bool,
}

/// A piece whose content is complete.
pub(super) struct Job<'a> {
    pub(super) piece: Piece,
    pub(super) plain: Vec<u8>,
    pub(super) corrections: Vec<u8>,
    /// Where its packed bytes go.
    pub(super) sink: TargetSink<'a>,
}

impl<'a> Crew<'a> {
    /// No thread is started yet: each is to call [`Crew::work`].
    pub(super) fn new(map: &'a PatchMap, progress: &'a Progress) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let is_alone = processors == 1 || map.packings.is_empty();
        let workers = if is_alone { 0 } else { WORKERS_MAX.min(processors) };
        Self {
            map,
            progress,
            memory_bytes: map.working_memory_bytes,
            packing_bytes: map.packing_memory_bytes(),
            workers,
            is_alone: processors == 1,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// How many threads are of use.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// How a piece is packed.
    pub(super) fn recipe(&self, piece: &Piece) -> &'a Recipe {
        &self.map.packings[piece.recipe as usize].recipe
    }

    /// What packing a piece takes, in bytes.
    pub(super) fn piece_bytes(&self, piece: &Piece) -> u64 {
        self.map.piece_memory_bytes(piece)
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<'a>>) -> MutexGuard<'s, State<'a>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so many bytes of the memory for a piece, once they are free.
    pub(super) fn hold(&self, bytes: u64) {
        let mut state = self.make_room(bytes, self.lock());
        state.held_bytes = state.held_bytes.saturating_add(bytes);
    }

    /// Takes the memory for a block, once it is free.
    pub(super) fn hold_block(&self, piece: &Piece) {
        self.hold(self.piece_bytes(piece));
        self.lock().awaited_bytes += self.map.engine_memory_bytes(piece);
    }

    /// What collecting and packing a piece takes that could be packed as it comes, in bytes.
    pub(super) fn collected_bytes(&self, piece: &Piece) -> u64 {
        self.piece_bytes(piece).saturating_add(piece.plain_len)
    }

    /// Takes so many bytes of the memory for a piece if they are free now, and another thread is.
    pub(super) fn try_hold(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let can = state.waiting.len() < WAITING_MAX * self.workers && self.has_room(bytes, &state);
        if can {
            state.held_bytes += bytes;
        }
        can
    }

    /// Takes the memory for a frame, once it is free; the frame before has given its own back. Answers
    /// whether there is more, so that its streams may be unpacked ahead.
    pub(super) fn hold_frame(&self, memory: FrameMemory) -> bool {
        let mut state = self.lock();
        state.frame_bytes = 0;
        let mut state = self.make_room(memory.bytes, state);
        state.frame_bytes = memory.bytes;
        // The placer opens a piece without waiting for the frame's end.
        let to_come = self.packing_bytes.saturating_sub(state.held_bytes);
        let is_ahead = !self.is_alone && self.has_room(memory.ahead_bytes.saturating_add(to_come), &state);
        if is_ahead {
            state.frame_bytes += memory.ahead_bytes;
        }
        is_ahead
    }

    fn has_room(&self, bytes: u64, state: &State<'a>) -> bool {
        let idle = state.idle.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
        // Blocks to come take what is idle.
        let idle = idle.saturating_sub(state.awaited_bytes);
        [state.held_bytes, state.frame_bytes, bytes, idle].into_iter().fold(0, u64::saturating_add)
            <= self.memory_bytes
    }

    /// Waits for other threads to give memory back until there is room for so many bytes more.
    fn make_room<'s>(&self, bytes: u64, mut state: MutexGuard<'s, State<'a>>) -> MutexGuard<'s, State<'a>> {
        while !self.has_room(bytes, &state) {
            if state.idle.pop().is_some() {
                continue;
            }
            if state.waiting.is_empty() && state.packing == 0 {
                // What a frame and one content take was checked beforehand.
                break;
            }
            state = self.wait(state);
        }
        state
    }

    /// The frame gives bytes of its memory back.
    pub(super) fn release_frame(&self, bytes: u64) {
        let mut state = self.lock();
        state.frame_bytes = state.frame_bytes.saturating_sub(bytes);
        self.changed.notify_all();
    }

    /// A piece gives bytes of the memory back.
    pub(super) fn release(&self, bytes: u64) {
        let mut state = self.lock();
        state.held_bytes = state.held_bytes.saturating_sub(bytes);
    }

    /// Whether another thread takes a piece now. Only one thread asks and hands on, so that stays true
    /// until it does.
    ///
    /// # Errors
    /// Why an earlier piece could not be packed.
    pub(super) fn is_free(&self) -> Result<bool, ApplyError> {
        let mut state = self.lock();
        state.fault.take().map_or(Ok(()), Err)?;
        Ok(state.waiting.len() < WAITING_MAX * self.workers)
    }

    /// Hands a piece on to another thread, with the memory that is held for it.
    pub(super) fn hand_on(&self, job: Job<'a>) {
        let ticket = self.progress.begin();
        self.lock().waiting.push_back((ticket, job));
        self.changed.notify_all();
    }

    /// Waits until everything that was handed on is written.
    ///
    /// # Errors
    /// Why a piece could not be packed.
    pub(super) fn finish(&self) -> Result<(), ApplyError> {
        let mut state = self.lock();
        while !state.closed && (!state.waiting.is_empty() || state.packing > 0) {
            state = self.wait(state);
        }
        state.fault.take().map_or(Ok(()), Err)
    }

    /// Nothing more will come; what waits is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        self.changed.notify_all();
    }

    /// Packs what is handed on, until the crew is closed.
    pub(super) fn work(&self) {
        let _leaving = Leaving(self);
        let mut state = self.lock();
        while !state.closed {
            let Some((ticket, job)) = state.waiting.pop_front() else {
                state = self.wait(state);
                continue;
            };
            state.packing += 1;
            drop(state);
            let result = self.pack(job);
            state = self.lock();
            state.packing -= 1;
            match result {
                Ok(()) => self.progress.finish(ticket),
                Err(error) => {
                    state.fault.get_or_insert(error);
                    // Whoever waits for these bytes waits in vain.
                    self.progress.end();
                }
            }
            self.changed.notify_all();
        }
    }

    /// Packs a piece, writes it, and gives its memory back.
    fn pack(&self, job: Job<'a>) -> Result<(), ApplyError> {
        let Job { piece, plain, corrections, mut sink } = job;
        if piece.is_block() {
            return self.pack_block(&piece, plain, &corrections, &mut sink);
        }
        let mut packing = Packing::begin(self, &piece, &corrections)?;
        packing.write(&plain, &mut sink)?;
        packing.finish(&mut sink)?;
        self.release(self.collected_bytes(&piece));
        Ok(())
    }

    /// Packs a piece in one go, writes it, and gives its memory back; what the engine works in is kept for
    /// the next one.
    pub(super) fn pack_block(
        &self,
        piece: &Piece,
        plain: Vec<u8>,
        corrections: &[u8],
        sink: &mut dyn Sink<'a>,
    ) -> Result<(), ApplyError> {
        let engine = self.map.engine_memory_bytes(piece);
        let mut state = self.lock();
        state.awaited_bytes = state.awaited_bytes.saturating_sub(engine);
        let (mut context, mut context_bytes) = state.idle.pop().unwrap_or_default();
        // One that took more before does so still.
        if !self.has_room(context_bytes.saturating_sub(engine), &state) {
            (context, context_bytes) = Default::default();
        }
        let context_bytes = context_bytes.max(engine);
        state.held_bytes += context_bytes - engine;
        drop(state);
        let mut packed = Vec::new();
        self.recipe(piece).pack_block(&plain, corrections, &mut context, &mut packed)?;
        drop(plain);
        let made = packed.len() as u64;
        if made != piece.packed_len {
            return Err(ApplyError::PackedLen { made, expected: piece.packed_len });
        }
        sink.write(&packed)?;
        drop(packed);
        let mut state = self.lock();
        let held = self.piece_bytes(piece) + (context_bytes - engine);
        state.held_bytes = state.held_bytes.saturating_sub(held);
        state.idle.push((context, context_bytes));
        self.changed.notify_all();
        Ok(())
    }
}

/// Lets nobody wait for a thread that panics.
struct Leaving<'c, 'a>(&'c Crew<'a>);

impl Drop for Leaving<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.progress.end();
            self.0.close();
        }
    }
}
