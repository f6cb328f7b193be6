//! Which number comes next, the same on every machine?

/// A seeded sequence (splitmix64): good enough to choose words and sizes, and fast.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for one of many things, whatever the order they are made in.
    pub(crate) fn of(seed: u64, index: u64) -> Self {
        let mut first = Self(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self(first.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    /// One of some things, the first ones much oftener than the last, as words are used.
    pub(crate) fn skewed<'a>(&mut self, things: &[&'a str]) -> &'a str {
        let end = self.below(things.len()) + 1;
        things.get(self.below(end)).copied().unwrap_or_default()
    }

    /// One of some things.
    pub(crate) fn one<'a>(&mut self, things: &[&'a str]) -> &'a str {
        things.get(self.below(things.len())).copied().unwrap_or_default()
    }

    /// Fills a buffer with what no compressor makes smaller.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            for (byte, new) in part.iter_mut().zip(number) {
                *byte = new;
            }
        }
    }
}
