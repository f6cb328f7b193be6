//! Which prefix code suits symbols that occur so often (RFC 1951, 3.2.2)?

use super::steps::low16;

/// Most symbols of an alphabet.
const MOST_SYMBOLS: usize = 288;
/// Longest code of any alphabet, in bits.
const LONGEST: usize = 15;

/// A prefix code for the first `N` numbers.
pub(super) struct Code<const N: usize> {
    /// Bits of each symbol's code; 0 if it has none.
    pub(super) lengths: [u8; N],
    /// The code, its first bit lowest, and how many bits it has from bit 24 on.
    codes: [u32; N],
}

impl<const N: usize> Code<N> {
    /// The shortest code, as far as none may have more than `limit` bits. If no symbol occurs or one,
    /// two have a code nevertheless: there are readers that want a code to be complete.
    pub(super) fn fit(counts: &[u32; N], limit: usize) -> Self {
        // By how often first; there are far fewer of anything than 2^23. What does not occur is written
        // over, since a processor cannot guess whether a byte occurs.
        let mut order = [0; MOST_SYMBOLS];
        let mut used = 0;
        for (symbol, count) in (0..).zip(counts) {
            set(&mut order, used, count << 9 | symbol);
            used += usize::from(*count > 0);
        }
        let mut lengths = [0; N];
        if used < 2 {
            let only = order.first().map_or(0, |it| symbol_of(*it)) * used;
            set(&mut lengths, only, 1);
            set(&mut lengths, usize::from(only == 0), 1);
        } else {
            let order = order.get_mut(..used).unwrap_or_default();
            order.sort_unstable();
            let shares = how_many(order, limit);
            let mut rest = order.iter().rev();
            for (length, share) in (1_u8..).zip(shares) {
                for it in rest.by_ref().take(usize::from(share)) {
                    set(&mut lengths, symbol_of(*it), length);
                }
            }
            return Self::number(lengths, &shares);
        }
        Self::of(lengths)
    }

    /// The code whose lengths these are.
    pub(super) fn of(lengths: [u8; N]) -> Self {
        let mut shares = [0; LONGEST];
        for length in lengths.iter().filter(|length| **length > 0) {
            if let Some(share) = shares.get_mut(usize::from(*length) - 1) {
                *share += 1;
            }
        }
        Self::number(lengths, &shares)
    }

    /// Numbers the codes of each length by their symbols, of which so many have 1, 2, 3 and more bits.
    fn number(lengths: [u8; N], shares: &[u16; LONGEST]) -> Self {
        let mut next = [0_u32; 16];
        let mut first = 0;
        for (next, share) in next.iter_mut().skip(2).zip(shares) {
            first = (first + u32::from(*share)) << 1;
            *next = first;
        }
        let mut codes = [0; N];
        for (code, length) in codes.iter_mut().zip(lengths) {
            if let Some(next) = next.get_mut(usize::from(length & 15)) {
                let bits = u32::from(length);
                // Of no bits for what has no code.
                let reversed = u64::from(next.reverse_bits()) >> (32 - bits);
                *code = u32::try_from(reversed).unwrap_or(0) | bits << 24;
                *next += 1;
            }
        }
        Self { lengths, codes }
    }

    /// The bits of a symbol's code, and how many.
    #[inline(always)]
    pub(super) fn of_symbol(&self, symbol: usize) -> (u32, u32) {
        let code = get(&self.codes, symbol);
        (code & 0xff_ffff, code >> 24)
    }

    /// Bits of all symbols, if they occur so often.
    pub(super) fn cost(&self, counts: &[u32; N]) -> usize {
        let bits = counts.iter().zip(self.lengths).map(|(count, length)| count * u32::from(length));
        usize::try_from(bits.sum::<u32>()).unwrap_or(usize::MAX)
    }
}

/// How many codes there are of 1, 2, 3 and more bits, for symbols ordered by how often they occur:
/// Huffman's, shortened to `limit` bits.
fn how_many(order: &[u32], limit: usize) -> [u16; LONGEST] {
    // Leaves and nodes in the order of their weights: two queues, since nodes are made by rising weight.
    let leaves = order.len();
    let mut weights = [0_u32; MOST_SYMBOLS];
    let mut parents = [0_u16; 2 * MOST_SYMBOLS];
    let (mut leaf, mut node) = (0, 0);
    for (made, parent) in (0..leaves.saturating_sub(1)).zip(low16(leaves)..) {
        let mut weight = 0;
        for _ in 0..2 {
            let light = order.get(leaf).map(|it| it >> 9);
            let child = match light {
                Some(light) if node >= made || light <= get(&weights, node) => {
                    weight += light;
                    leaf += 1;
                    leaf - 1
                }
                _ => {
                    weight += get(&weights, node);
                    node += 1;
                    leaves + node - 1
                }
            };
            set(&mut parents, child, parent);
        }
        set(&mut weights, made, weight);
    }
    let mut depths = [0_u8; 2 * MOST_SYMBOLS];
    let mut counts = [0_u16; LONGEST];
    let root = 2 * leaves - 2;
    for it in (0..root).rev() {
        let depth = get(&depths, usize::from(get(&parents, it))) + 1;
        set(&mut depths, it, depth);
        if it < leaves
            && let Some(count) = counts.get_mut(usize::from(depth).min(limit) - 1)
        {
            *count += 1;
        }
    }
    // What was cut off takes more than there is: each step makes one code longer and gets one unit back.
    let taken = |length| usize::from(get(&counts, length - 1)) << (limit - length);
    let taken = (1..=limit).map(taken).sum();
    for _ in 1 << limit..taken {
        let spare = (0..limit - 1).rev().find(|at| get(&counts, *at) > 0).unwrap_or(0);
        for (at, count) in counts.iter_mut().enumerate() {
            if at == limit - 1 || at == spare {
                *count -= 1;
            }
            if at == spare + 1 {
                *count += 2;
            }
        }
    }
    counts
}

fn symbol_of(it: u32) -> usize {
    usize::try_from(it & 511).unwrap_or(0)
}

#[inline(always)]
pub(super) fn get<T: Copy + Default>(list: &[T], at: usize) -> T {
    list.get(at).copied().unwrap_or_default()
}

#[inline(always)]
pub(super) fn set<T>(list: &mut [T], at: usize, value: T) {
    if let Some(slot) = list.get_mut(at) {
        *slot = value;
    }
}

#[inline(always)]
pub(super) fn bump(counts: &mut [u32], at: usize) {
    if let Some(count) = counts.get_mut(at) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_code_is_complete_and_no_longer_than_it_may_be(
            counts in prop::collection::vec(prop_oneof![Just(0_u32), 0..4_u32, 0..100_000_u32], 30),
            limit in 5..=15_usize,
        ) {
            let counts: [u32; 30] = counts.try_into().unwrap();
            let code = Code::fit(&counts, limit);
            let lengths = code.lengths.iter().map(|length| usize::from(*length));
            let taken: usize = lengths.clone().filter(|it| *it > 0).map(|it| 1 << (limit - it)).sum();
            prop_assert_eq!(taken, 1 << limit);
            prop_assert!(lengths.clone().all(|length| length <= limit));
            for (count, length) in counts.iter().zip(lengths.clone()) {
                prop_assert!(*count == 0 || length > 0);
                for (other, longer) in counts.iter().zip(lengths.clone()) {
                    prop_assert!(count <= other || *other == 0 || length <= longer);
                }
            }
        }
    }

    #[test]
    fn frequent_symbols_have_short_codes() {
        let counts = [8, 1, 0, 2, 4];
        let code = Code::fit(&counts, 15);
        assert_eq!(code.lengths, [1, 3, 0, 3, 2]);
        assert_eq!(code.cost(&counts), 8 + 3 + 6 + 8);
        // 0, 110, 111, 10, read from the other end
        let bits: Vec<_> = [0, 1, 3, 4].iter().map(|symbol| code.of_symbol(*symbol)).collect();
        assert_eq!(bits, [(0, 1), (0b011, 3), (0b111, 3), (0b01, 2)]);
    }

    #[test]
    fn fibonacci_numbers_would_make_longer_codes_than_there_may_be() {
        let mut counts = [0; 32];
        let (mut a, mut b) = (1, 1);
        for count in counts.iter_mut().take(24) {
            *count = a;
            (a, b) = (b, a + b);
        }
        assert_eq!(Code::fit(&counts, 15).lengths.iter().max(), Some(&15));
        assert_eq!(Code::fit(&counts, 7).lengths.iter().max(), Some(&7));
    }
}
