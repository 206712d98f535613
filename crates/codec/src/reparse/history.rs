//! The content that matches may refer to, and the block that is being coded.

use std::collections::TryReserveError;

use crate::prefetch::prefetch;

/// A sliding stretch of the content. Positions count from the start of the frame.
#[derive(Debug, Default)]
pub struct History {
    bytes: Vec<u8>,
    /// Position of the first byte of `bytes`.
    base: u32,
    /// Bytes before the current block that must stay.
    window: usize,
}

/// What of the content can be looked at: bytes by position.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    bytes: &'a [u8],
    base: u32,
}

impl History {
    /// Bytes that are kept beyond the window so that not every block moves all of it.
    pub const fn slack(window: usize) -> usize {
        let quarter = window / 4;
        if quarter < 256 << 10 { 256 << 10 } else { quarter }
    }

    /// Begins anew with what is here from `from` on, and keeps `window` bytes from now on.
    pub fn restart(&mut self, from: u32, window: usize) {
        let gone = (from.saturating_sub(self.base) as usize).min(self.bytes.len());
        self.bytes.drain(..gone);
        self.base = 0;
        self.window = window;
    }

    /// Appends content. Bytes before `keep_from - window` may go.
    pub fn push(&mut self, plain: &[u8], keep_from: u32) -> Result<(), TryReserveError> {
        let needed = self.bytes.len() + plain.len();
        if needed > self.bytes.capacity() {
            let kept = (keep_from - self.base) as usize;
            let gone = kept.saturating_sub(self.window);
            if gone >= Self::slack(self.window) / 2 || needed - gone <= self.bytes.capacity() {
                self.bytes.drain(..gone);
                self.base += gone as u32;
            }
            let needed = self.bytes.len() + plain.len();
            if needed > self.bytes.capacity() {
                // Doubling a small buffer, but never beyond what the window asks for.
                let full = self.window + Self::slack(self.window);
                let target = (self.bytes.capacity() * 2).min(full).max(needed);
                self.bytes.try_reserve_exact(target - self.bytes.len())?;
            }
        }
        self.bytes.extend_from_slice(plain);
        Ok(())
    }

    /// Position behind the last byte.
    pub fn end(&self) -> u32 {
        self.base + self.bytes.len() as u32
    }

    /// The content as far as it is here.
    pub fn view(&self) -> View<'_> {
        View { bytes: &self.bytes, base: self.base }
    }
}

impl<'a> View<'a> {
    /// The first position that can be looked at.
    pub fn start(self) -> u32 {
        self.base
    }

    /// Position behind the last byte.
    pub fn end(self) -> u32 {
        self.base + self.bytes.len() as u32
    }

    /// Asks for the bytes at `at` before they are needed.
    pub fn prefetch(self, at: u32) {
        prefetch(self.bytes, at.wrapping_sub(self.base) as usize);
    }

    /// The bytes from `from` to `to`, both of which are here.
    pub fn range(self, from: u32, to: u32) -> &'a [u8] {
        &self.bytes[(from - self.base) as usize..(to - self.base) as usize]
    }

    /// One byte.
    pub fn byte(self, at: u32) -> u8 {
        self.bytes[(at - self.base) as usize]
    }

    /// Four bytes from `at` on.
    pub fn u32(self, at: u32) -> u32 {
        let at = (at - self.base) as usize;
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap_or_default())
    }

    /// Eight bytes from `at` on.
    pub fn u64(self, at: u32) -> u64 {
        let at = (at - self.base) as usize;
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap_or_default())
    }

    /// How many bytes from `at` (up to `end`) are the same as those from `earlier` on.
    pub fn common(self, earlier: u32, at: u32, end: u32) -> u32 {
        let ahead = self.range(at, end);
        let from = (earlier - self.base) as usize;
        let behind = &self.bytes[from..from + ahead.len()];
        let mut len = 0;
        for (a, b) in ahead.chunks_exact(8).zip(behind.chunks_exact(8)) {
            let differs = u64::from_le_bytes(a.try_into().unwrap_or_default())
                ^ u64::from_le_bytes(b.try_into().unwrap_or_default());
            if differs != 0 {
                return len + (differs.trailing_zeros() >> 3);
            }
            len += 8;
        }
        let tail =
            ahead[len as usize..].iter().zip(&behind[len as usize..]).take_while(|(a, b)| a == b).count();
        len + tail as u32
    }
}

#[cfg(test)]
mod tests {
    use super::History;

    #[test]
    fn the_window_stays_and_memory_is_bounded() {
        let mut history = History::default();
        history.restart(0, 1000);
        for round in 0..5000u32 {
            let chunk: Vec<u8> = (0..700u32).map(|i| (round * 700 + i) as u8).collect();
            history.push(&chunk, round * 700).unwrap();
            let (end, view) = (history.end(), history.view());
            assert_eq!(end, (round + 1) * 700);
            assert!(view.start() <= (round * 700).saturating_sub(1000));
            assert_eq!(view.byte(end - 1), (end - 1) as u8);
            assert_eq!(view.byte(view.start()), view.start() as u8);
        }
        assert!(history.bytes.capacity() <= 1000 + History::slack(1000));
    }
}
