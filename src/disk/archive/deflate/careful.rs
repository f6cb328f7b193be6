//! Where was this before? Answered by the best of some guesses, and only if the next byte has none
//! that is better.
//!
//! Two tables tell where the same eight bytes were the last two times, and the same four the last three.

use super::code::get;
use super::page::Seen;
use super::steps::{
    BLOCK, LEAST, PATIENCE, Steps, WINDOW, back_to, hash_of_eight, hash_of_four, low16,
};

/// How large the tables are: their index has so many bits.
const FOUR_BITS: u32 = 13;
const EIGHT_BITS: u32 = 14;
/// What a byte that need not be written is worth, in bits.
const BYTE: i32 = 4;
/// What it is worth that the distance was used before.
const AGAIN: i32 = 5;
/// What must be gained by the byte that is written while something better is waited for.
const BETTER: i32 = 3;

/// The tables.
pub(super) struct Careful {
    fours: Box<[u64; 1 << FOUR_BITS]>,
    eights: Box<[u32; 1 << EIGHT_BITS]>,
    /// What has so many bytes is good enough.
    enough: usize,
    entered: Entered,
}

/// Which places within a repetition are entered into the tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entered {
    /// Each second one, into the one table or the other.
    Half,
    /// All, into both.
    All,
}

/// Bytes that were before.
#[derive(Clone, Copy, Default)]
struct Match {
    length: usize,
    distance: usize,
    /// Bits that it spares, roughly.
    gain: i32,
}

impl Match {
    /// Itself, or what is the same at `at` and `distance` before, if that gains more; `bonus` bits are
    /// spared by the distance itself.
    #[inline(always)]
    fn or(self, seen: Seen<'_>, at: usize, here: u64, (distance, bonus): (usize, i32)) -> Self {
        let mut same = alike(seen, at, here, distance);
        if same < LEAST {
            return self;
        }
        if same == 8 {
            same = seen.length(at, distance);
        }
        let bits = i32::try_from(usize::BITS - distance.leading_zeros()).unwrap_or(0);
        let gain = BYTE * i32::try_from(same).unwrap_or(0) + bonus - bits;
        if self.gain < gain { Self { length: same, distance, gain } } else { self }
    }
}

impl Careful {
    pub(super) fn new(enough: usize, entered: Entered) -> Self {
        Self {
            fours: Box::new([0; 1 << FOUR_BITS]),
            eights: Box::new([0; 1 << EIGHT_BITS]),
            enough,
            entered,
        }
    }

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
            let mut best = self.find(seen, at, here, again);
            if best.gain <= 0 {
                at += 1 + ((at - told) >> PATIENCE);
                continue;
            }
            while best.length < self.enough && at + 1 < words {
                let next = seen.word(at + 1);
                let other = self.find(seen, at + 1, next, again);
                if other.gain < best.gain + BETTER {
                    break;
                }
                best = other;
                at += 1;
            }
            steps.repeat(seen, told, at, (best.length, best.distance));
            again = best.distance;
            told = at + best.length;
            self.enter_all(seen, at + 2, told);
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
        let [a, b, c, d] = get(&self.eights[..], hash_of_eight(here, EIGHT_BITS)).to_le_bytes();
        let mut both =
            [[a, b], [c, d]].map(|place| back_to(at, u16::from_le_bytes(place))).into_iter();
        both.find(|distance| seen.alike(at, here, *distance) == 8)
    }

    /// Enters a place into both tables.
    pub(super) fn enter(&mut self, at: usize, here: u64) {
        self.enter_four(at, here);
        self.enter_eight(at, here);
    }

    /// The best match of what is at a place, which is entered into the tables.
    #[inline(always)]
    fn find(&mut self, seen: Seen<'_>, at: usize, here: u64, again: usize) -> Match {
        let fours = self.enter_four(at, here);
        let eights = self.enter_eight(at, here);
        let mut best = Match::default().or(seen, at, here, (again, AGAIN));
        let [a, b, c, d] = eights.to_le_bytes();
        for place in [[a, b], [c, d]] {
            best = best.or(seen, at, here, (back_to(at, u16::from_le_bytes(place)), 0));
        }
        let [a, b, c, d, e, f, ..] = fours.to_le_bytes();
        for place in [[a, b], [c, d], [e, f]] {
            best = best.or(seen, at, here, (back_to(at, u16::from_le_bytes(place)), 0));
        }
        best
    }

    /// Enters the places within a repetition. As in [`super::quick`], some bytes may lie behind the end.
    fn enter_all(&mut self, seen: Seen<'_>, from: usize, to: usize) {
        let mut at = from;
        while at < to {
            let (here, next) = (seen.word(at), seen.word(at + 1));
            self.enter_four(at, here);
            self.enter_eight(at + 1, next);
            if self.entered == Entered::All {
                self.enter_eight(at, here);
                self.enter_four(at + 1, next);
            }
            at += 2;
        }
    }

    /// Enters a place; answers those that stood there, the last one lowest.
    #[inline(always)]
    fn enter_four(&mut self, at: usize, here: u64) -> u64 {
        let slot = self.fours.get_mut(hash_of_four(here, FOUR_BITS));
        slot.map_or(0, |slot| std::mem::replace(slot, *slot << 16 | u64::from(low16(at))))
    }

    #[inline(always)]
    fn enter_eight(&mut self, at: usize, here: u64) -> u32 {
        let slot = self.eights.get_mut(hash_of_eight(here, EIGHT_BITS));
        slot.map_or(0, |slot| std::mem::replace(slot, *slot << 16 | u32::from(low16(at))))
    }
}

/// The same answer as that of [`Seen::alike`]; asked like this, packing takes 7% less time.
#[inline(always)]
fn alike(seen: Seen<'_>, at: usize, here: u64, distance: usize) -> usize {
    let is_near = distance.wrapping_sub(1) < at.min(WINDOW);
    let differ = match seen.seen_word(at.wrapping_sub(distance)) {
        Some(before) if is_near => before ^ here,
        _ => 1,
    };
    usize::try_from(differ.trailing_zeros() / 8).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::page::{PAGE, Page};
    use super::super::tests::random;
    use super::*;

    #[test]
    fn it_is_asked_in_another_way_and_the_answer_is_the_same() {
        let content: Vec<u8> = random(3, PAGE).iter().map(|byte| byte / 90).collect();
        let mut page = Page::default();
        page.hold(&content).unwrap();
        let seen = page.until(PAGE).unwrap();
        let mut found = [0; 9];
        for at in (0..100).chain(WINDOW - 9..WINDOW + 9).chain(seen.words() - 9..seen.words()) {
            let here = seen.word(at);
            for distance in (0..3000).chain([at, at + 1, at + 8, WINDOW, WINDOW + 1, 65_535]) {
                let same = alike(seen, at, here, distance);
                assert_eq!(same, seen.alike(at, here, distance), "{at} {distance}");
                found[same] += 1;
            }
        }
        assert!(found.iter().all(|count| *count > 0), "{found:?}");
    }
}
