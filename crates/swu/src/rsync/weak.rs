//! Weak sums: of a window, and of the next one from that.

/// The weak sum of a window that moves over bytes.
pub(super) trait Weak: Copy + Send + Sync {
    /// Sums a window.
    fn of(window: &[u8]) -> Self;

    /// Moves the window by a byte: `out` leaves it in front, `put` comes behind.
    fn roll(&mut self, out: u8, put: u8);

    /// Takes the first byte out of the window.
    fn shorten(&mut self, out: u8);

    /// The sum as it stands in a signature.
    fn value(&self) -> u32;
}

/// rsync's sum, after Adler-32: the older one, weak where bytes are alike.
#[derive(Clone, Copy)]
pub(super) struct Rollsum {
    len: u32,
    /// Sum of the bytes. Only its low half counts.
    plain: u32,
    /// Sum of the sums. Only its low half counts.
    weighted: u32,
}

impl Rollsum {
    /// Added to each byte, so that zeros count.
    const OFFSET: u32 = 31;
    const STEP: usize = 16;
}

impl Weak for Rollsum {
    fn of(window: &[u8]) -> Self {
        let (mut plain, mut weighted) = (0u32, 0u32);
        let (steps, rest) = window.as_chunks::<{ Self::STEP }>();
        for step in steps {
            // All bytes of a step at once, each with the number of sums in which it is.
            let (mut sum, mut by_place) = (0, 0);
            for (place, &byte) in step.iter().enumerate() {
                sum += u32::from(byte);
                by_place += (Self::STEP - place) as u32 * u32::from(byte);
            }
            let offsets = (Self::STEP * (Self::STEP + 1) / 2) as u32 * Self::OFFSET;
            weighted =
                weighted.wrapping_add(plain.wrapping_mul(Self::STEP as u32)).wrapping_add(by_place + offsets);
            plain = plain.wrapping_add(sum + Self::STEP as u32 * Self::OFFSET);
        }
        for &byte in rest {
            plain = plain.wrapping_add(u32::from(byte) + Self::OFFSET);
            weighted = weighted.wrapping_add(plain);
        }
        Self { len: window.len() as u32, plain, weighted }
    }

    #[inline]
    fn roll(&mut self, out: u8, put: u8) {
        self.plain = self.plain.wrapping_add(u32::from(put)).wrapping_sub(u32::from(out));
        let left = self.len.wrapping_mul(u32::from(out) + Self::OFFSET);
        self.weighted = self.weighted.wrapping_add(self.plain).wrapping_sub(left);
    }

    fn shorten(&mut self, out: u8) {
        let value = u32::from(out) + Self::OFFSET;
        self.plain = self.plain.wrapping_sub(value);
        self.weighted = self.weighted.wrapping_sub(self.len.wrapping_mul(value));
        self.len = self.len.wrapping_sub(1);
    }

    #[inline]
    fn value(&self) -> u32 {
        self.weighted << 16 | self.plain & 0xffff
    }
}

/// A polynomial in [`RabinKarp::FACTOR`] modulo 2^32.
#[derive(Clone, Copy)]
pub(super) struct RabinKarp {
    sum: u32,
    /// The factor to the power of the window's length.
    power: u32,
}

impl RabinKarp {
    /// What an empty window sums to: so the length of zeros counts.
    const SEED: u32 = 1;
    const FACTOR: u32 = 0x0810_4225;
    /// What [`Self::FACTOR`] is to be multiplied with to give 1.
    const INVERSE: u32 = 0x98f0_09ad;
    /// What the seed adds when a byte leaves.
    const SEED_STEP: u32 = (Self::FACTOR - 1) * Self::SEED;
    /// Bytes that are summed side by side: multiplications do not wait for one another.
    const LANES: usize = 16;
}

impl Weak for RabinKarp {
    fn of(window: &[u8]) -> Self {
        let lane_factor = Self::FACTOR.wrapping_pow(Self::LANES as u32);
        let mut lanes = [0u32; Self::LANES];
        let (steps, rest) = window.as_chunks::<{ Self::LANES }>();
        for step in steps {
            for (lane, &byte) in lanes.iter_mut().zip(step) {
                *lane = lane.wrapping_mul(lane_factor).wrapping_add(u32::from(byte));
            }
        }
        let seed = Self::SEED.wrapping_mul(Self::FACTOR.wrapping_pow((window.len() - rest.len()) as u32));
        let add = |sum: u32, value: u32| sum.wrapping_mul(Self::FACTOR).wrapping_add(value);
        let sum = lanes.into_iter().fold(0, add).wrapping_add(seed);
        let sum = rest.iter().map(|&byte| u32::from(byte)).fold(sum, add);
        Self { sum, power: Self::FACTOR.wrapping_pow(window.len() as u32) }
    }

    #[inline]
    fn roll(&mut self, out: u8, put: u8) {
        let left = self.power.wrapping_mul(u32::from(out) + Self::SEED_STEP);
        self.sum = self.sum.wrapping_mul(Self::FACTOR).wrapping_add(u32::from(put)).wrapping_sub(left);
    }

    fn shorten(&mut self, out: u8) {
        self.power = self.power.wrapping_mul(Self::INVERSE);
        self.sum = self.sum.wrapping_sub(self.power.wrapping_mul(u32::from(out) + Self::SEED_STEP));
    }

    #[inline]
    fn value(&self) -> u32 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As rollsum.h defines it.
    fn rollsum(window: &[u8]) -> u32 {
        let (mut plain, mut weighted) = (0u32, 0u32);
        for &byte in window {
            plain = plain.wrapping_add(u32::from(byte) + 31);
            weighted = weighted.wrapping_add(plain);
        }
        weighted << 16 | plain & 0xffff
    }

    /// As rabinkarp.h defines it.
    fn rabin_karp(window: &[u8]) -> u32 {
        window.iter().fold(1, |sum: u32, &byte| sum.wrapping_mul(0x0810_4225).wrapping_add(byte.into()))
    }

    fn check<W: Weak>(bytes: &[u8], len: usize, expected: fn(&[u8]) -> u32) {
        let mut weak = W::of(&bytes[..len]);
        for at in 0..bytes.len() {
            let end = bytes.len().min(at + len);
            assert_eq!(weak.value(), expected(&bytes[at..end]), "window {at}..{end}");
            match bytes.get(end) {
                Some(&put) => weak.roll(bytes[at], put),
                None => weak.shorten(bytes[at]),
            }
        }
        assert_eq!(weak.value(), expected(&[]));
    }

    proptest! {
        #[test]
        fn sums_of_all_windows_are_those_of_their_definition(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            len in 1usize..100,
        ) {
            let len = len.min(bytes.len());
            check::<Rollsum>(&bytes, len, rollsum);
            check::<RabinKarp>(&bytes, len, rabin_karp);
        }
    }

    #[test]
    fn long_windows_do_not_overflow() {
        let bytes = vec![0xff; 3 << 20];
        assert_eq!(Rollsum::of(&bytes).value(), rollsum(&bytes));
        assert_eq!(RabinKarp::of(&bytes).value(), rabin_karp(&bytes));
    }
}
