//! What does a search find: bytes as they are, and repetitions of bytes before?

use super::code::{bump, get};
use super::page::Seen;

/// Fewest bytes that are worth a repetition.
pub(super) const LEAST: usize = 4;
/// Most bytes that one repetition has.
pub(super) const MOST: usize = 258;
/// Input bytes after which a block ends.
pub(super) const BLOCK: usize = 32 << 10;
/// After so many bytes in which nothing was found, as a power of two, each second one is passed over,
/// after twice as many two of three, and so on.
pub(super) const PATIENCE: u32 = 6;
/// How far back a repetition reaches.
pub(super) const WINDOW: usize = 32 << 10;

/// The smallest length of each symbol, and how many bits more say which it is (RFC 1951, 3.2.5).
#[rustfmt::skip]
pub(super) const LENGTH_SYMBOLS: [(u16, u8); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1),
    (15, 1), (17, 1), (19, 2), (23, 2), (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3),
    (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5), (195, 5), (227, 5), (258, 0),
];

/// The smallest distance of each symbol, and how many bits more say which it is.
#[rustfmt::skip]
pub(super) const DISTANCE_SYMBOLS: [(u16, u8); 30] = [
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3),
    (33, 4), (49, 4), (65, 5), (97, 5), (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8),
    (1025, 9), (1537, 9), (2049, 10), (3073, 10), (4097, 11), (6145, 11), (8193, 12), (12289, 12), (16385, 13), (24577, 13),
];

/// Some bytes as they are, then a repetition of bytes before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Bytes as they are.
    pub(super) literals: u32,
    /// Bytes that are repeated; 0 if there are none.
    pub(super) length: u16,
    /// How far before they are.
    pub(super) distance: u16,
    /// Where they stand in [`LENGTH_SYMBOLS`] and [`DISTANCE_SYMBOLS`].
    pub(super) length_symbol: u8,
    pub(super) distance_symbol: u8,
}

/// What a block is made of.
pub(super) struct Steps {
    pub(super) list: Vec<Step>,
    /// The bytes as they are of all steps.
    pub(super) literals: Vec<u8>,
    /// How often each symbol of a length and of a distance occurs.
    pub(super) lengths: [u32; 32],
    pub(super) distances: [u32; 32],
    /// Which symbol a length has.
    length_symbols: [u8; MOST + 1],
    /// Which symbol a distance has: those up to 256, then each 128th.
    distance_symbols: [u8; 512],
}

impl Default for Steps {
    fn default() -> Self {
        let symbol = |table: &[(u16, u8)], number: usize| {
            let reached =
                (0..).zip(table).take_while(|(_, (least, _))| usize::from(*least) <= number);
            reached.last().map_or(0, |(symbol, _)| symbol)
        };
        let far = |place: usize| if place < 256 { place + 1 } else { (place - 256) * 128 + 1 };
        Self {
            list: Vec::new(),
            literals: Vec::new(),
            lengths: [0; 32],
            distances: [0; 32],
            length_symbols: std::array::from_fn(|length| symbol(&LENGTH_SYMBOLS, length)),
            distance_symbols: std::array::from_fn(|place| symbol(&DISTANCE_SYMBOLS, far(place))),
        }
    }
}

impl Steps {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.literals.clear();
        self.lengths = [0; 32];
        self.distances = [0; 32];
    }

    /// Adds bytes as they are.
    pub(super) fn literals(&mut self, literals: &[u8]) {
        self.literals.extend_from_slice(literals);
        let literals = u32::try_from(literals.len()).unwrap_or(0);
        let none = Step { literals, length: 0, distance: 0, length_symbol: 0, distance_symbol: 0 };
        self.list.push(none);
    }

    /// Adds the bytes from `from` to `at` as they are, and `length` bytes that are `distance` before.
    #[inline(always)]
    pub(super) fn repeat(
        &mut self,
        seen: Seen<'_>,
        from: usize,
        at: usize,
        (length, distance): (usize, usize),
    ) {
        let count = at.saturating_sub(from);
        let some = seen.part(from, from + 16).first_chunk::<16>();
        match some {
            // To copy always as many costs less than to call somebody who counts.
            Some(some) if count <= some.len() => {
                let end = self.literals.len() + count;
                self.literals.extend_from_slice(some);
                self.literals.truncate(end);
            }
            _ => self.literals.extend_from_slice(seen.part(from, at)),
        }
        let place = distance.wrapping_sub(1);
        let place = if place < 256 { place } else { 256 + place / 128 };
        let length_symbol = get(&self.length_symbols, length);
        let distance_symbol = get(&self.distance_symbols, place % 512);
        bump(&mut self.lengths, usize::from(length_symbol % 32));
        bump(&mut self.distances, usize::from(distance_symbol % 32));
        self.list.push(Step {
            literals: u32::try_from(count).unwrap_or(0),
            length: low16(length),
            distance: low16(distance),
            length_symbol,
            distance_symbol,
        });
    }
}

/// The lowest 16 bits, which are what tables remember of a place: within the window they tell it.
#[inline(always)]
pub(super) fn low16(place: usize) -> u16 {
    let [a, b, ..] = place.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// How far before `at` the place with these lowest bits is, if it is in the window at all.
#[inline(always)]
pub(super) fn back_to(at: usize, place: u16) -> usize {
    usize::from(low16(at).wrapping_sub(place))
}

/// A number below `1 << bits` for four bytes, much the same for the same and seldom for others.
#[inline(always)]
pub(super) fn hash_of_four(word: u64, bits: u32) -> usize {
    let [a, b, c, d, ..] = word.to_le_bytes();
    let hash = u32::from_le_bytes([a, b, c, d]).wrapping_mul(0x9e37_79b1) >> (32 - bits);
    usize::try_from(hash).unwrap_or(0)
}

/// The same for eight bytes.
#[inline(always)]
pub(super) fn hash_of_eight(word: u64, bits: u32) -> usize {
    let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits);
    usize::try_from(hash).unwrap_or(0)
}
