//! Looks for single chunks that are wanted in what the device has.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_delta::apply::Target as _;
use fluvial_delta::structure::{Extent, ReadAt as _};

use super::find::told;
use super::{Assembly, Payload, Tally};
use crate::cut::{Chunk, cut, digests};
use crate::cutting::Cutting;
use crate::error::AssembleError;
use crate::hash::HashKind;
use crate::have::Have;
use crate::notes::{Noted, Notes};
use crate::pieces::{NOWHERE, OpenRun, Piece, State};

/// A key that more pieces have than this is frequent: zeros are.
const FREQUENT_PIECES: usize = 64;
/// So often all pieces of a frequent key are looked at: the time is bounded, whatever is published.
const FREQUENT_VISITS_MAX: u8 = 255;
/// Streams that have not changed are looked into for a file of which is known less than one part in so many, ...
const LOOK_SHARE: u64 = 2;
/// ... so many of them, ...
const LIKE_STREAMS: usize = 16;
/// ... if their lengths differ by no more than one part in so many.
const LIKE_SHARE: u64 = 8;
/// Threads that cut at most: each takes 2 MiB.
const THREADS_MAX: usize = 4;
/// Streams that are cut before what was found in the first of them is taken.
const STREAMS_AHEAD: usize = 4;
/// Bytes of chunks that are handed over at a time, at least, ...
const BATCH_BYTES: usize = 64 << 10;
/// ... or that were read.
const BATCH_READ_BYTES: usize = 1 << 20;

impl Assembly<'_> {
    /// Looks for single chunks in the old streams, as [`Assembly::find_runs`] for runs. A stream of which all
    /// runs were found is not looked into, because what is like it in the new payloads is there; but where files are
    /// left of which little is known then, those are that are about as long: a second kernel, beside the first.
    ///
    /// Streams are cut on several threads, and what is found in them is put in place in their order: so it is the
    /// same each time.
    ///
    /// # Errors
    /// As [`Assembly::find_runs`].
    pub fn find_chunks(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let is_changed = |stream: &usize| !self.unchanged_streams[*stream];
        let changed: Vec<usize> = (0..self.old.streams().len()).filter(is_changed).collect();
        self.find_chunks_of(&changed, self.wanted_chunks(&|_| true), progress)?;
        let strangers = self.strangers(LOOK_SHARE);
        let like = self.like(&strangers);
        if !like.is_empty() {
            // Others would only be taken for what they are not.
            let wanted = self.wanted_chunks(&|open| self.is_in(open, &strangers));
            self.find_chunks_of(&like, wanted, progress)?;
        }
        // Behind the last window nobody asks again.
        if self.next_page.0 == self.page_order.len() {
            self.notes = Notes::default();
        }
        Ok(())
    }

    /// Looks for these chunks in these old streams.
    fn find_chunks_of(
        &mut self,
        streams: &[usize],
        WantedChunks { list, mut visits }: WantedChunks,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<(), AssembleError> {
        if list.is_empty() {
            return Ok(());
        }
        let old = Arc::clone(&self.old);
        let (cutting, hash, notes) = (self.cutting, self.hash, &self.notes);
        let search = Search { old: &old, streams, cutting, hash, list: &list, notes };
        let next = Mutex::new(0);
        let threads = rayon::current_num_threads().clamp(1, THREADS_MAX);
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(STREAMS_AHEAD);
            for _ in 0..threads {
                let sender = sender.clone();
                let (search, next) = (&search, &next);
                scope.spawn(move || search.run(next, &sender));
            }
            drop(sender);
            // Whoever cuts stops when nobody takes what is found.
            for batch in receiver.into_iter().flatten() {
                let mut at = 0;
                for (chunk, place, is_program) in &batch.chunks {
                    let bytes = batch.bytes.get(at..at + chunk.len as usize);
                    at += chunk.len as usize;
                    let have = (&*old, self.hash);
                    let found = Found { chunk, bytes, have, place: *place, is_program: *is_program };
                    for index in look_up(&list, &mut visits, chunk.key) {
                        let (_, open, piece) = list[index];
                        let open = &self.open_runs[open as usize];
                        put_chunk(&self.payloads, open, &mut self.pieces, piece, &found, &mut self.tally)?;
                    }
                }
                told(progress, batch.read_bytes)?;
            }
            Ok(())
        })
    }

    /// Old streams that were not looked into, and are about as long as one of these files; in order.
    fn like(&self, files: &[(u32, Extent)]) -> Vec<usize> {
        if files.is_empty() {
            return Vec::new();
        }
        // What stands between files comes first.
        let streams = self.unchanged_streams.iter().zip(self.old.extents()).enumerate().skip(1);
        let mut by_len: Vec<(u64, usize)> = streams
            .filter_map(|(stream, (&is_unchanged, extent))| is_unchanged.then_some((extent.len, stream)))
            .collect();
        by_len.sort_unstable();
        let like = files.iter().flat_map(|(_, file)| nearest(&by_len, file.len));
        let like: BTreeSet<usize> = like.map(|(_, stream)| *stream).collect();
        like.into_iter().collect()
    }

    /// Whether a run stands in one of these files, which are sorted.
    fn is_in(&self, open: &OpenRun, files: &[(u32, Extent)]) -> bool {
        let place = self.payloads[open.payload as usize].index.runs[open.run as usize].offset;
        let behind =
            files.partition_point(|(payload, file)| (*payload, file.offset) <= (open.payload, place));
        let before = behind.checked_sub(1).map(|index| files[index]);
        before.is_some_and(|(payload, file)| payload == open.payload && place < file.end())
    }

    /// The missing chunks of the runs that are `meant`.
    fn wanted_chunks(&self, meant: &dyn Fn(&OpenRun) -> bool) -> WantedChunks {
        let mut list = Vec::new();
        let open_runs = self.open_runs.iter().enumerate();
        for (number, open) in open_runs.filter(|(_, open)| open.count > 1 && meant(open)) {
            list.extend(open.pieces().map(|piece| (self.pieces[piece].key, number as u32, piece as u32)));
        }
        list.sort_unstable();
        let visits = vec![0; list.len()];
        WantedChunks { list, visits }
    }
}

/// Those that are nearest to `len`, of streams by their lengths; none that is much shorter or longer.
fn nearest(by_len: &[(u64, usize)], len: u64) -> &[(u64, usize)] {
    let at = by_len.partition_point(|one| one.0 < len);
    let is_like = |one: &&(u64, usize)| one.0.abs_diff(len) <= len / LIKE_SHARE;
    let (mut from, mut end) = (at, at);
    while end - from < LIKE_STREAMS {
        let shorter = from.checked_sub(1).and_then(|index| by_len.get(index)).filter(is_like);
        let longer = by_len.get(end).filter(is_like);
        match (shorter, longer) {
            (Some(shorter), Some(longer)) if len - shorter.0 <= longer.0 - len => from -= 1,
            (_, Some(_)) => end += 1,
            (Some(_), None) => from -= 1,
            (None, None) => break,
        }
    }
    &by_len[from..end]
}

/// The chunks that are looked for.
struct WantedChunks {
    /// Key, run and piece: which piece of which run, where each stands.
    list: Vec<(u32, u32, u32)>,
    /// How often each key was met, where it stands first.
    visits: Vec<u8>,
}

/// Where the pieces of a key stand in the list; none where there are many that were met often.
fn look_up(list: &[(u32, u32, u32)], visits: &mut [u8], key: u32) -> Range<usize> {
    let from = list.partition_point(|one| one.0 < key);
    let is_of_key = |index: usize| list.get(index).is_some_and(|one| one.0 == key);
    if !is_of_key(from + FREQUENT_PIECES) {
        let len = list[from..].iter().take_while(|one| one.0 == key).count();
        return from..from + len;
    }
    if visits[from] == FREQUENT_VISITS_MAX {
        return from..from;
    }
    visits[from] += 1;
    from..list.partition_point(|one| one.0 <= key)
}

/// Old chunks that have the key of a wanted one.
#[derive(Default)]
struct Batch {
    /// Each, where the old space holds it, and whether it is part of a program.
    chunks: Vec<(Chunk, u64, bool)>,
    /// Their bytes; none of chunks that were noted.
    bytes: Vec<u8>,
    /// How much was read for it.
    read_bytes: usize,
}

/// Cuts old streams.
struct Search<'a> {
    old: &'a Have<'a>,
    /// Which ones.
    streams: &'a [usize],
    cutting: Cutting,
    hash: HashKind,
    /// What is wanted, as [`WantedChunks`] has it.
    list: &'a [(u32, u32, u32)],
    notes: &'a Notes,
}

impl Search<'_> {
    /// Takes one stream after another until none is left, or nobody wants to hear of them. Receivers come in the
    /// order of the streams.
    fn run(&self, next: &Mutex<usize>, sender: &SyncSender<Receiver<Batch>>) {
        loop {
            let (batches, receiver) = sync_channel(1);
            let stream = {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(&stream) = self.streams.get(*next) else { return };
                *next += 1;
                if sender.send(receiver).is_err() {
                    return;
                }
                stream
            };
            let mut batch = Batch::default();
            if let Some(noted) = self.notes.of(stream) {
                let _ = self.recall(stream, noted, &mut batch, &batches);
            } else {
                // What cannot be read is not there: it is fetched instead.
                let _ = self.cut(stream, &mut batch, &batches);
            }
            let _ = batches.send(batch);
        }
    }

    /// Takes the chunks of a stream that were noted; what is heard on the other side ends it early.
    fn recall(
        &self,
        stream: usize,
        noted: &Noted,
        batch: &mut Batch,
        batches: &SyncSender<Batch>,
    ) -> Result<(), SendError<Batch>> {
        let start = self.old.extents()[stream].offset;
        for (at, chunk) in noted.chunks() {
            if self.is_wanted(chunk) {
                batch.chunks.push((*chunk, start + at, noted.is_program));
            }
            batch.read_bytes += chunk.len as usize;
            if batch.read_bytes >= BATCH_READ_BYTES {
                batches.send(std::mem::take(batch))?;
            }
        }
        Ok(())
    }

    fn is_wanted(&self, chunk: &Chunk) -> bool {
        self.list.binary_search_by_key(&chunk.key, |one| one.0).is_ok()
    }

    fn cut(&self, stream: usize, batch: &mut Batch, batches: &SyncSender<Batch>) -> io::Result<()> {
        let start = self.old.extents()[stream].offset;
        let bytes = self.old.streams()[stream];
        cut(bytes, self.cutting, self.hash, true, |error| error, &mut |run, bytes| {
            let mut at = 0;
            for chunk in &run.chunks {
                let here = &bytes[at..at + chunk.len as usize];
                if self.is_wanted(chunk) {
                    batch.chunks.push((*chunk, start + run.offset + at as u64, run.is_program));
                    batch.bytes.extend_from_slice(here);
                }
                at += here.len();
            }
            batch.read_bytes += bytes.len();
            if batch.bytes.len() < BATCH_BYTES && batch.read_bytes < BATCH_READ_BYTES {
                return Ok(());
            }
            batches.send(std::mem::take(batch)).map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    }
}

/// An old chunk.
struct Found<'a> {
    chunk: &'a Chunk,
    /// Its bytes; `None` where it was noted before.
    bytes: Option<&'a [u8]>,
    have: (&'a Have<'a>, HashKind),
    /// Where it stands in the old space.
    place: u64,
    is_program: bool,
}

impl Found<'_> {
    /// Its bytes; `None` where they are not what was noted any more.
    fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        if let Some(bytes) = self.bytes {
            return Some(Cow::Borrowed(bytes));
        }
        let (old, hash) = self.have;
        let mut bytes = vec![0; self.chunk.len as usize];
        old.read_at(self.place, &mut bytes).ok()?;
        (digests(hash, &bytes).1 == self.chunk.check).then_some(Cow::Owned(bytes))
    }
}

/// Puts an old chunk in the place of a piece with its key, if it is the same, and notes where the like of it
/// stands.
fn put_chunk(
    payloads: &[Payload<'_>],
    open: &OpenRun,
    pieces: &mut [Piece],
    index: u32,
    found: &Found<'_>,
    tally: &mut Tally,
) -> Result<(), AssembleError> {
    let before = (index > open.first).then(|| pieces[index as usize - 1]);
    let piece = &mut pieces[index as usize];
    if piece.len != found.chunk.len {
        return Ok(());
    }
    let continues = before.is_some_and(|one| one.place.checked_add(u64::from(one.len)) == Some(found.place));
    if open.is_program && found.is_program && (piece.place == NOWHERE || continues) {
        piece.place = found.place;
    }
    if piece.check != found.chunk.check || piece.state == State::Done {
        return Ok(());
    }
    let Some(bytes) = found.bytes() else { return Ok(()) };
    piece.state = State::Done;
    tally.found_bytes += bytes.len() as u64;
    let payload = &payloads[open.payload as usize];
    let before = &pieces[open.first as usize..index as usize];
    let inside: u64 = before.iter().map(|one| u64::from(one.len)).sum();
    let at = payload.index.runs[open.run as usize].offset + inside;
    payload.order.write_at(at, &bytes).map_err(AssembleError::Write)
}
