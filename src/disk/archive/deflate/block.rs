//! How is a block written, in the shortest of its forms (RFC 1951, 3.2.3 to 3.2.7)?

use super::bits::Bits;
use super::code::{Code, bump, get};
use super::runs::Alphabet;
use super::steps::{self, Steps, low16};

/// Bytes, the end of the block, and lengths of repetitions; and two that do not occur.
const LITERALS: usize = 288;
/// The symbol that ends a block.
const END: usize = 256;
/// Distances of repetitions, and two that do not occur.
const DISTANCES: usize = 32;
/// Lengths of codes, with three ways to repeat one.
const LENGTHS: usize = 19;
/// Bytes that are written between two flushes.
const FEW: usize = 4;
/// Longest code of bytes and lengths, so that there is room for so many.
const LONGEST: usize = 56 / FEW;
const _: () = assert!(LONGEST <= 15, "the longest that there may be");
/// Most parts of a header: three numbers, the code of lengths, all lengths.
const MOST_PARTS: usize = 3 + LENGTHS + LITERALS + DISTANCES;
/// Most bytes in a stored block.
const MOST_STORED: usize = 0xffff;
/// In which order the code's lengths of the code of lengths are told.
const ORDER: [usize; LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Whether a block is the last one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Follows {
    /// There is one behind it.
    More,
    /// It is.
    Nothing,
}

/// Writes blocks; has the codes that are always the same.
pub(super) struct Blocks {
    /// What a block begins with that has digits of base64 only, and their code, for both alphabets.
    standard: Digits,
    url: Digits,
    /// The codes that need not be told.
    fixed: Codes,
}

/// The code of one alphabet of base64, and the bits that tell it.
struct Digits {
    code: Code<LITERALS>,
    header: Header,
}

/// How often each symbol occurs in a block.
struct Counts {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
}

/// The codes of a block.
struct Codes {
    literals: Code<LITERALS>,
    distances: Code<DISTANCES>,
}

/// What tells the codes of a block: bits, and how many, in their order.
struct Header {
    parts: Vec<(u16, u8)>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { standard: Digits::of(*b"+/"), url: Digits::of(*b"-_"), fixed: Codes::fixed() }
    }
}

impl Blocks {
    /// Writes a block; `input` is what it unpacks to.
    pub(super) fn put(&self, steps: &Steps, input: &[u8], follows: Follows, bits: &mut Bits<'_>) {
        let counts = Self::count(steps);
        let codes = Codes {
            literals: Code::fit(&counts.literals, LONGEST),
            distances: Code::fit(&counts.distances, 15),
        };
        let header = Header::of(&codes);
        let own = header.bits() + codes.cost(&counts);
        let given = self.fixed.cost(&counts);
        // A stored block takes three bits, the rest of the byte, and its length twice.
        let stored = 8 * input.len() + 42 * input.len().div_ceil(MOST_STORED).max(1);
        let more = counts.more_bits();
        if stored <= own.min(given) + more {
            store(input, follows, bits);
            return;
        }
        bits.add(follows.bit(), 1);
        if given <= own {
            bits.add(1, 2);
            Self::write(steps, &self.fixed, bits);
        } else {
            bits.add(2, 2);
            header.write(bits);
            Self::write(steps, &codes, bits);
        }
    }

    /// Writes a block of digits of base64, which is not the last.
    pub(super) fn digits(&self, alphabet: Alphabet, digits: &[u8], bits: &mut Bits<'_>) {
        let Digits { code, header } = match alphabet {
            Alphabet::Standard => &self.standard,
            Alphabet::Url => &self.url,
        };
        bits.add(0b100, 3);
        header.write(bits);
        let mut eights = digits.chunks_exact(8);
        for eight in &mut eights {
            for digit in eight {
                add(bits, code.of_symbol(usize::from(*digit)));
            }
            bits.flush();
        }
        for digit in eights.remainder() {
            add(bits, code.of_symbol(usize::from(*digit)));
        }
        bits.flush();
        add(bits, code.of_symbol(END));
        bits.flush();
    }

    /// Writes a last block that is empty.
    pub(super) fn end(&self, bits: &mut Bits<'_>) {
        bits.add(0b011, 3);
        add(bits, self.fixed.literals.of_symbol(END));
        bits.flush();
    }

    fn count(steps: &Steps) -> Counts {
        // Two tables, so that a byte twice in a row need not wait for itself.
        let (mut one, mut other) = ([0_u32; LITERALS], [0_u32; 256]);
        let mut pairs = steps.literals.chunks_exact(2);
        for pair in &mut pairs {
            if let [first, second] = *pair {
                bump(&mut one, usize::from(first));
                bump(&mut other, usize::from(second));
            }
        }
        for byte in pairs.remainder() {
            bump(&mut one, usize::from(*byte));
        }
        for (count, more) in one.iter_mut().zip(other) {
            *count += more;
        }
        bump(&mut one, END);
        for (count, more) in one.iter_mut().skip(END + 1).zip(steps.lengths) {
            *count = more;
        }
        Counts { literals: one, distances: steps.distances }
    }

    fn write(steps: &Steps, codes: &Codes, bits: &mut Bits<'_>) {
        let Codes { literals: code, distances } = codes;
        let mut rest = &steps.literals[..];
        for step in &steps.list {
            let count = usize::try_from(step.literals).unwrap_or(0);
            let first = rest.first_chunk::<FEW>();
            let (some, more) = rest.split_at_checked(count).unwrap_or_default();
            rest = more;
            match first {
                // To write nothing for some costs less than to guess how many there are.
                Some(first) if count <= FEW => {
                    let mut left = count;
                    for byte in first {
                        let (code, length) = code.of_symbol(usize::from(*byte));
                        let (code, length) = if left > 0 { (code, length) } else { (0, 0) };
                        bits.add(code, length);
                        left = left.saturating_sub(1);
                    }
                    bits.flush();
                }
                _ => {
                    for some in some.chunks(FEW) {
                        for byte in some {
                            add(bits, code.of_symbol(usize::from(*byte)));
                        }
                        bits.flush();
                    }
                }
            }
            if step.length > 0 {
                let symbol = usize::from(step.length_symbol);
                let (least, more) = get(&steps::LENGTH_SYMBOLS, symbol);
                add(bits, code.of_symbol(END + 1 + symbol));
                bits.add(u32::from(step.length.wrapping_sub(least)), u32::from(more));
                let symbol = usize::from(step.distance_symbol);
                let (least, more) = get(&steps::DISTANCE_SYMBOLS, symbol);
                add(bits, distances.of_symbol(symbol));
                bits.add(u32::from(step.distance.wrapping_sub(least)), u32::from(more));
                bits.flush();
            }
        }
        add(bits, code.of_symbol(END));
        bits.flush();
    }
}

impl Follows {
    /// The bit that a block begins with.
    fn bit(self) -> u32 {
        u32::from(self == Self::Nothing)
    }
}

impl Digits {
    /// For letters, numbers and the two digits that differ. 64 digits and the end of the block do not
    /// quite fit into six bits: the end and the last digit have seven.
    fn of([one, other]: [u8; 2]) -> Self {
        let lengths = std::array::from_fn(|symbol| match u8::try_from(symbol) {
            Ok(digit) if digit == other => 7,
            Ok(digit) if digit == one || digit.is_ascii_alphanumeric() => 6,
            _ => u8::from(symbol == END) * 7,
        });
        let codes =
            Codes { literals: Code::of(lengths), distances: Code::fit(&[0; DISTANCES], LONGEST) };
        Self { header: Header::of(&codes), code: codes.literals }
    }
}

impl Counts {
    /// Bits that say which length and which distance it is, of those that share a symbol.
    fn more_bits(&self) -> usize {
        let lengths = self.literals.iter().skip(END + 1).zip(steps::LENGTH_SYMBOLS);
        let distances = self.distances.iter().zip(steps::DISTANCE_SYMBOLS);
        let bits = lengths.chain(distances).map(|(count, (_, more))| count * u32::from(more));
        usize::try_from(bits.sum::<u32>()).unwrap_or(usize::MAX)
    }
}

impl Codes {
    /// The codes of 3.2.6.
    fn fixed() -> Self {
        let literals = std::array::from_fn(|symbol| match symbol {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        });
        Self { literals: Code::of(literals), distances: Code::of([5; DISTANCES]) }
    }

    /// Bits of all symbols of a block.
    fn cost(&self, counts: &Counts) -> usize {
        self.literals.cost(&counts.literals) + self.distances.cost(&counts.distances)
    }
}

impl Header {
    fn of(codes: &Codes) -> Self {
        let literals = trimmed(&codes.literals.lengths, END + 1);
        let distances = trimmed(&codes.distances.lengths, 1);
        let mut lengths = Vec::with_capacity(LITERALS + DISTANCES);
        lengths.extend_from_slice(literals);
        lengths.extend_from_slice(distances);
        let (mut told, mut counts) = (Vec::with_capacity(lengths.len()), [0; LENGTHS]);
        for run in lengths.chunk_by(|one, other| one == other) {
            repeated(get(run, 0), run.len(), |symbol, more| {
                told.push((symbol, more));
                bump(&mut counts, usize::from(symbol));
            });
        }
        let code = Code::fit(&counts, 7);
        let used = ORDER.iter().rposition(|symbol| get(&code.lengths, *symbol) > 0).unwrap_or(0);
        let used = (used + 1).max(4);
        let mut header = Self { parts: Vec::with_capacity(MOST_PARTS) };
        header.push(literals.len() - END - 1, 5);
        header.push(distances.len() - 1, 5);
        header.push(used - 4, 4);
        for symbol in ORDER.iter().take(used) {
            header.push(usize::from(get(&code.lengths, *symbol)), 3);
        }
        for (symbol, more) in told {
            let (bits, count) = code.of_symbol(usize::from(symbol));
            let bits = bits | u32::from(more) << count;
            let more = match symbol {
                16 => 2,
                17 => 3,
                18 => 7,
                _ => 0,
            };
            header
                .push(usize::try_from(bits).unwrap_or(0), u8::try_from(count).unwrap_or(0) + more);
        }
        header
    }

    fn push(&mut self, bits: usize, count: u8) {
        self.parts.push((low16(bits), count));
    }

    fn bits(&self) -> usize {
        self.parts.iter().map(|(_, count)| usize::from(*count)).sum()
    }

    fn write(&self, bits: &mut Bits<'_>) {
        for (part, count) in &self.parts {
            bits.add(u32::from(*part), u32::from(*count));
            bits.flush();
        }
    }
}

/// The lengths up to the last that is not 0, but so many at least.
fn trimmed(lengths: &[u8], least: usize) -> &[u8] {
    let used = lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
    lengths.get(..used.max(least)).unwrap_or_default()
}

/// Tells a code's length so many times, as symbols of the code of lengths and the number that follows
/// some (3.2.7).
fn repeated(length: u8, times: usize, mut tell: impl FnMut(u8, u8)) {
    let mut rest = times;
    let mut tell_some = |symbol, least: usize, most: usize, rest: &mut usize| {
        while least <= *rest {
            let some = most.min(*rest);
            tell(symbol, u8::try_from(some - least).unwrap_or(0));
            *rest -= some;
        }
    };
    if length == 0 {
        tell_some(18, 11, 138, &mut rest);
        tell_some(17, 3, 10, &mut rest);
    } else if rest > 3 {
        tell_some(length, 1, 1, &mut 1);
        rest -= 1;
        tell_some(16, 3, 6, &mut rest);
    }
    tell_some(length, 1, 1, &mut rest);
}

/// Writes what is unpacked as it is.
fn store(input: &[u8], follows: Follows, bits: &mut Bits<'_>) {
    let mut rest = input;
    loop {
        let (part, more) = rest.split_at_checked(MOST_STORED).unwrap_or((rest, &[]));
        rest = more;
        let follows = if rest.is_empty() { follows } else { Follows::More };
        bits.add(follows.bit(), 3);
        bits.align();
        let [a, b, ..] = part.len().to_le_bytes();
        bits.bytes(&[a, b, !a, !b]);
        bits.bytes(part);
        if rest.is_empty() {
            return;
        }
    }
}

#[inline(always)]
fn add(bits: &mut Bits<'_>, (code, count): (u32, u32)) {
    bits.add(code, count);
}
