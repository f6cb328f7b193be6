//! Where was this before? Answered by the best of three guesses.
//!
//! Two tables tell where the same eight bytes were last, and the same four; the third guess is the
//! distance that was right before. As long as nothing is found, that is all that is asked.

use super::code::get;
use super::page::Seen;
use super::steps::{
    BLOCK, LEAST, MOST, PATIENCE, Steps, back_to, hash_of_eight, hash_of_four, low16,
};

/// How large the tables are: their index has so many bits.
const FOUR_BITS: u32 = 13;
const EIGHT_BITS: u32 = 14;

/// The tables.
pub(super) struct Quick {
    fours: Box<[u16; 1 << FOUR_BITS]>,
    eights: Box<[u16; 1 << EIGHT_BITS]>,
}

impl Default for Quick {
    fn default() -> Self {
        Self { fours: Box::new([0; 1 << FOUR_BITS]), eights: Box::new([0; 1 << EIGHT_BITS]) }
    }
}

impl Quick {
    /// Begins with other content.
    pub(super) fn forget(&mut self) {
        self.fours.fill(0);
        self.eights.fill(0);
    }

    /// Finds the steps from `from` to the end of `seen`, or to where a block may end; answers the place.
    pub(super) fn steps(&mut self, seen: Seen<'_>, from: usize, steps: &mut Steps) -> usize {
        let (mut at, mut told) = (from, from);
        let mut again = 0;
        let words = seen.words();
        let stop = words.min(from + BLOCK);
        while at < stop {
            let here = seen.word(at);
            let (four, eight) = self.enter(at, here);
            let mut distance = again;
            let mut same = seen.alike(at, here, distance);
            for place in [four, eight] {
                let back = back_to(at, place);
                let alike = seen.alike(at, here, back);
                if same < alike {
                    (same, distance) = (alike, back);
                }
            }
            if same < LEAST {
                at += 1 + ((at - told) >> PATIENCE);
                continue;
            }
            // Perhaps the next byte begins something longer.
            if same < 8 && at + 1 < words {
                let next = seen.word(at + 1);
                let slot = self.eights.get_mut(hash_of_eight(next, EIGHT_BITS));
                let place = slot.map_or(0, |slot| std::mem::replace(slot, low16(at + 1)));
                let back = back_to(at + 1, place);
                if seen.alike(at + 1, next, back) == 8 {
                    at += 1;
                    (same, distance) = (8, back);
                }
            }
            if same == 8 {
                same = seen.length(at, distance);
            }
            // What was passed over may belong to it.
            if told < at
                && let Some(before) = (at - distance).checked_sub(8)
            {
                let differ = seen.word(at - 8) ^ seen.word(before);
                let back = usize::try_from(differ.leading_zeros() / 8).unwrap_or(0);
                let back = back.min(at - told).min(MOST - same);
                at -= back;
                same += back;
            }
            steps.repeat(seen, told, at, (same, distance));
            again = distance;
            told = at + same;
            // Some of the eight may lie behind the end. They are digits of the run that follows, or what
            // an earlier part left there; but then nothing is looked up before all is forgotten.
            for inside in [at + 2, told - 2] {
                self.enter(inside, seen.word(inside));
            }
            at = told;
        }
        let end = if at < from + BLOCK { seen.end } else { at.min(seen.end) };
        if told < end {
            steps.literals(seen.part(told, end));
        }
        end
    }

    /// How far before the eight bytes at a place were, if they are remembered.
    pub(super) fn before(&self, seen: Seen<'_>, at: usize) -> Option<usize> {
        let here = seen.word(at);
        let distance = back_to(at, get(&self.eights[..], hash_of_eight(here, EIGHT_BITS)));
        (seen.alike(at, here, distance) == 8).then_some(distance)
    }

    /// Enters a place into both tables; answers what stood there.
    #[inline(always)]
    pub(super) fn enter(&mut self, at: usize, here: u64) -> (u16, u16) {
        let four = self.fours.get_mut(hash_of_four(here, FOUR_BITS));
        let four = four.map_or(0, |slot| std::mem::replace(slot, low16(at)));
        let eight = self.eights.get_mut(hash_of_eight(here, EIGHT_BITS));
        let eight = eight.map_or(0, |slot| std::mem::replace(slot, low16(at)));
        (four, eight)
    }
}
