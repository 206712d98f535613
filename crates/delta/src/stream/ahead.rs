//! Unpacks a stream on a thread of its own, ahead of who reads it: LZMA takes a third of the time that
//! decoding a frame takes, and a second processor has nothing better to do.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

/// Bytes that are handed over at a time.
const PART_BYTES: usize = 64 << 10;
/// Parts that are filled, wait, or are being read.
const PARTS: usize = 3;
/// Decoders have what they need on the heap.
const STACK_BYTES: usize = 128 << 10;

/// What one stream takes more when it is unpacked ahead, in bytes.
pub(crate) const AHEAD_MEMORY_BYTES: u64 = (PARTS * PART_BYTES + STACK_BYTES) as u64;
/// Shorter streams are not worth a thread, in bytes.
pub(crate) const AHEAD_FROM_BYTES: u64 = 256 << 10;

/// The reading end. When it is dropped, the thread ends.
pub(super) struct Ahead {
    full: Receiver<io::Result<Vec<u8>>>,
    free: SyncSender<Vec<u8>>,
    part: Vec<u8>,
    taken: usize,
}

impl Ahead {
    /// Starts to read `stream`.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(mut stream: Box<dyn Read + Send>) -> io::Result<Self> {
        let (full_sender, full) = sync_channel(PARTS);
        let (free, free_receiver) = sync_channel::<Vec<u8>>(PARTS);
        for _ in 1..PARTS {
            // There is room for all of them.
            let _ = free.try_send(Vec::with_capacity(PART_BYTES));
        }
        let work = move || {
            while let Ok(mut part) = free_receiver.recv() {
                part.clear();
                let part = match stream.by_ref().take(PART_BYTES as u64).read_to_end(&mut part) {
                    Ok(0) => return,
                    read => read.map(|_| part),
                };
                let failed = part.is_err();
                if full_sender.send(part).is_err() || failed {
                    return;
                }
            }
        };
        Builder::new().name("unpacker".into()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { full, free, part: Vec::with_capacity(PART_BYTES), taken: 0 })
    }
}

impl Read for Ahead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.part.len() {
            // Once the thread has ended, nobody takes it.
            let _ = self.free.send(std::mem::take(&mut self.part));
            self.taken = 0;
            // The thread ends with the stream.
            let Ok(part) = self.full.recv() else { return Ok(0) };
            self.part = part?;
        }
        let left = &self.part[self.taken..];
        let len = left.len().min(buf.len());
        buf[..len].copy_from_slice(&left[..len]);
        self.taken += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes in odd portions, then an error if there is one.
    struct Source(usize, Option<io::ErrorKind>);

    impl Read for Source {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return self.1.map_or(Ok(0), |kind| Err(kind.into()));
            }
            let len = buf.len().min(self.0).min(1 + self.0 % 5000);
            for byte in &mut buf[..len] {
                *byte = (self.0 % 253) as u8;
                self.0 -= 1;
            }
            Ok(len)
        }
    }

    #[test]
    fn everything_comes_in_order() {
        for len in [0, 1, PART_BYTES, PART_BYTES + 1, 10 * PART_BYTES + 77] {
            let (mut plain, mut expected) = (Vec::new(), Vec::new());
            Ahead::start(Box::new(Source(len, None))).unwrap().read_to_end(&mut plain).unwrap();
            Source(len, None).read_to_end(&mut expected).unwrap();
            assert!(plain == expected, "{len} bytes");
        }
    }

    #[test]
    fn an_error_comes_through() {
        let source = Source(3 * PART_BYTES, Some(io::ErrorKind::InvalidData));
        let error = Ahead::start(Box::new(source)).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn who_stops_reading_stops_the_thread() {
        let mut ahead = Ahead::start(Box::new(Source(100 * PART_BYTES, None))).unwrap();
        ahead.read_exact(&mut [0; 10]).unwrap();
        drop(ahead);
    }
}
