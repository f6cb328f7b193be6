//! How does the content of a member become a deflate stream (RFC 1951), small and soon?
//!
//! What Codex writes is text in which, every few kilobytes, something encrypted stands in base64. A
//! block of deflate has one prefix code for all that is in it, and neither kind goes well with the
//! other's: libraries, which look at how often bytes occur, put both into one block and spend seven
//! bits on a digit of six. So runs of base64 are found first and get blocks of their own, in which
//! nothing is searched; all other content is cut where they begin and end.
//!
//! [`quick`] and [`careful`] find what occurred before, in a [`page`] at a time; [`block`] writes it.
//! The stream is a function of content and level. Whether it unpacks to the content is for the caller
//! to see.

mod bits;
mod block;
mod careful;
mod code;
mod page;
mod quick;
mod runs;
mod steps;

use std::ops::RangeInclusive;

use bits::Bits;
use block::{Blocks, Follows};
use careful::{Careful, Entered};
use page::{PAGE, Page, Seen};
use quick::Quick;
use runs::{Run, runs};
use steps::{MOST, Steps};

/// The levels that are made here.
pub(super) const LEVELS: RangeInclusive<u32> = 1..=9;

/// How far into a run of base64 its digits tell it from others: what is encrypted begins alike.
const TELLING: usize = 48;

/// Makes deflate streams, one at a time; its memory is used again for each.
pub(super) struct Encoder {
    /// Runs of base64 of fewer digits are not worth a block.
    least_run: usize,
    page: Page,
    search: Search,
    steps: Steps,
    blocks: Blocks,
}

/// How repetitions are looked for.
enum Search {
    Quick(Quick),
    Careful(Careful),
}

impl Search {
    /// Begins with other content.
    fn forget(&mut self) {
        match self {
            Self::Quick(quick) => quick.forget(),
            Self::Careful(careful) => careful.forget(),
        }
    }

    /// How far before the eight bytes at a place were, if they are remembered.
    fn before(&self, seen: Seen<'_>, at: usize) -> Option<usize> {
        match self {
            Self::Quick(quick) => quick.before(seen, at),
            Self::Careful(careful) => careful.before(seen, at),
        }
    }

    /// Remembers a place.
    fn enter(&mut self, seen: Seen<'_>, at: usize) {
        match self {
            Self::Quick(quick) => {
                quick.enter(at, seen.word(at));
            }
            Self::Careful(careful) => careful.enter(at, seen.word(at)),
        }
    }

    /// Finds the steps of a block from `from` on; answers where it ends.
    fn steps(&mut self, seen: Seen<'_>, from: usize, steps: &mut Steps) -> usize {
        match self {
            Self::Quick(quick) => quick.steps(seen, from, steps),
            Self::Careful(careful) => careful.steps(seen, from, steps),
        }
    }
}

impl Encoder {
    /// One for a level of [`LEVELS`]; beyond that, the nearest.
    pub(super) fn new(level: u32) -> Self {
        // By measuring packing and unpacking of the home that `benches/` makes.
        let careful = |enough, entered| Search::Careful(Careful::new(enough, entered));
        let (least_run, search) = match level {
            0 | 1 => (896, Search::Quick(Quick::default())),
            2 => (512, Search::Quick(Quick::default())),
            3 => (448, careful(6, Entered::Half)),
            4 => (448, careful(8, Entered::Half)),
            5 => (448, careful(12, Entered::Half)),
            6 => (448, careful(16, Entered::Half)),
            7 | 8 => (384, careful(32, Entered::All)),
            _ => (384, careful(MOST, Entered::All)),
        };
        let (page, steps, blocks) = (Page::default(), Steps::default(), Blocks::default());
        Self { least_run, page, search, steps, blocks }
    }

    /// Most bytes that a stream of so much content has.
    pub(super) fn bound(content: usize) -> usize {
        // A block takes six bytes more than its content at most. It ends after 32 KiB, with a page, or at
        // a run of digits, whose own block is shorter than they are by more than that.
        content + content / 1024 + 64
    }

    /// Writes the stream of `content` to the start of `room`; answers its length. None if it does not
    /// fit, for which there has to be less room than [`Encoder::bound`].
    pub(super) fn deflate(&mut self, content: &[u8], room: &mut [u8]) -> Option<usize> {
        let mut bits = Bits::new(room);
        let mut rest = content;
        loop {
            let (part, more) = rest.split_at_checked(PAGE).unwrap_or((rest, &[]));
            rest = more;
            if rest.is_empty() {
                self.pack(part, Follows::Nothing, &mut bits)?;
                return bits.finish();
            }
            self.pack(part, Follows::More, &mut bits)?;
        }
    }

    /// Writes the blocks of a part of [`PAGE`] bytes at most, behind which `follows`.
    fn pack(&mut self, part: &[u8], follows: Follows, bits: &mut Bits<'_>) -> Option<()> {
        self.page.hold(part)?;
        self.search.forget();
        let all = part.len();
        let mut at = 0;
        for Run { from, to, digits } in runs(part, self.least_run) {
            let seen = self.page.until(all)?;
            // What was encrypted once may be told twice: then it is text like any other.
            if self.was_before(seen, from) {
                continue;
            }
            // A search that passes over each second place finds one of the two.
            self.search.enter(seen, from + TELLING);
            self.search.enter(seen, from + TELLING + 1);
            self.text(at, from, Follows::More, bits)?;
            self.blocks.digits(digits, part.get(from..to)?, bits);
            at = to;
        }
        if at < all {
            self.text(at, all, follows, bits)?;
        } else if follows == Follows::Nothing {
            self.blocks.end(bits);
        }
        Some(())
    }

    /// Whether the run that begins at `from` repeats one in the window, as far as it takes to be one.
    fn was_before(&self, seen: Seen<'_>, from: usize) -> bool {
        self.search.before(seen, from + TELLING).is_some_and(|distance| {
            let part = |from: usize| seen.part(from, from + self.least_run);
            from.checked_sub(distance).is_some_and(|before| part(before) == part(from))
        })
    }

    /// Writes blocks of what is from `from` to `end`; what is before may be referred to.
    fn text(
        &mut self,
        from: usize,
        end: usize,
        follows: Follows,
        bits: &mut Bits<'_>,
    ) -> Option<()> {
        let seen = self.page.until(end)?;
        let mut at = from;
        while at < end {
            let begun = at;
            at = self.search.steps(seen, at, &mut self.steps);
            let follows = if at < end { Follows::More } else { follows };
            self.blocks.put(&self.steps, seen.part(begun, at), follows, bits);
            self.steps.clear();
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;
    use std::io::Read;

    fn packed(level: u32, content: &[u8]) -> Vec<u8> {
        let mut room = vec![0; Encoder::bound(content.len())];
        let length = Encoder::new(level).deflate(content, &mut room).expect("room enough");
        room.truncate(length);
        room
    }

    /// What two readers that know nothing of each other make of a stream.
    #[track_caller]
    fn check(level: u32, content: &[u8]) -> usize {
        let stream = packed(level, content);
        let mut unpacked = vec![0; content.len()];
        let count = libdeflater::Decompressor::new().deflate_decompress(&stream, &mut unpacked);
        assert_eq!(count, Ok(content.len()), "level {level}");
        assert!(unpacked == content, "level {level}");
        let mut reader = flate2::bufread::DeflateDecoder::new(&stream[..]);
        unpacked.clear();
        reader.read_to_end(&mut unpacked).expect("a stream");
        assert!(unpacked == content, "level {level}");
        assert_eq!(reader.total_in(), u64::try_from(stream.len()).unwrap(), "nothing behind it");
        stream.len()
    }

    /// Bytes as if by chance.
    pub(super) fn random(seed: u32, count: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..count).map(|_| next()).collect()
    }

    /// The pieces that content is made of, and repetitions of what is before.
    fn piece() -> impl Strategy<Value = Piece> {
        prop_oneof![
            "[ -~]{0,40}".prop_map(|text| Piece::Bytes(text.into_bytes())),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Piece::Bytes),
            (any::<u8>(), 0..70_000_usize)
                .prop_map(|(byte, count)| Piece::Bytes(vec![byte; count])),
            (any::<u32>(), 0..90_000_usize)
                .prop_map(|(seed, count)| Piece::Bytes(random(seed, count))),
            (any::<u32>(), 200..1500_usize).prop_map(|(seed, count)| Piece::Bytes(
                STANDARD.encode(random(seed, count)).into()
            )),
            (any::<u32>(), 200..1500_usize).prop_map(|(seed, count)| Piece::Bytes(
                URL_SAFE.encode(random(seed, count)).into()
            )),
            (1..70_000_usize, 1..2000_usize).prop_map(|(back, count)| Piece::Again(back, count)),
        ]
    }

    #[derive(Clone, Debug)]
    enum Piece {
        Bytes(Vec<u8>),
        Again(usize, usize),
    }

    fn joined(pieces: Vec<Piece>) -> Vec<u8> {
        let mut content = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => content.extend(bytes),
                Piece::Again(back, count) => {
                    let from = content.len().saturating_sub(back);
                    let again = content[from..].iter().copied().take(count).collect::<Vec<_>>();
                    content.extend(again);
                }
            }
        }
        content
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn whatever_is_packed_unpacks_to_what_it_was(
            pieces in prop::collection::vec(piece(), 0..12),
        ) {
            let content = joined(pieces);
            for level in [1, 2, 3, 4, 6, 9] {
                check(level, &content);
            }
        }

        #[test]
        fn an_encoder_that_was_used_before_makes_the_same_stream(
            before in prop::collection::vec(piece(), 0..6),
            pieces in prop::collection::vec(piece(), 0..6),
        ) {
            let (before, content) = (joined(before), joined(pieces));
            for level in [1, 6] {
                let mut encoder = Encoder::new(level);
                let mut room = vec![0; Encoder::bound(before.len().max(content.len()))];
                encoder.deflate(&before, &mut room).unwrap();
                let length = encoder.deflate(&content, &mut room).unwrap();
                prop_assert!(room[..length] == packed(level, &content));
            }
        }
    }

    #[test]
    fn content_of_any_length_is_packed() {
        let text = b"{\"type\":\"message\",\"role\":\"user\"}\n".repeat(2000);
        for level in LEVELS {
            for length in (0..300).chain(32_700..32_800).chain([65_535, 65_536, 66_000]) {
                check(level, &text[..length]);
            }
        }
    }

    #[test]
    fn what_was_packed_before_shows_in_nothing() {
        let text = (words(7, 40_000) + &line(1)).repeat(3).into_bytes();
        assert!(text.len() > PAGE, "{}", text.len());
        for level in [1, 6, 9] {
            for before in [&text[..], &[0xff; PAGE]] {
                let mut encoder = Encoder::new(level);
                let mut room = vec![0; Encoder::bound(text.len())];
                encoder.deflate(before, &mut room).unwrap();
                // Behind each of them stands what would go on there.
                for length in [PAGE + 40, PAGE - 3, 70_001, 9000, 317, 40, 13, 12, 11, 9, 8] {
                    let made = encoder.deflate(&text[..length], &mut room).unwrap();
                    assert!(room[..made] == packed(level, &text[..length]), "{level} {length}");
                }
            }
        }
        // In noise most places are passed over, and so not remembered, unless from before. What is the
        // same for long ends that.
        let same = [b'a'; 2000];
        let noise = random(5, 20_000);
        for (level, from) in [(1, 12_000), (1, 13_000), (6, 12_000), (6, 13_000)] {
            let some = &noise[from..from + 40];
            let passed_over = [&noise, &same[..], some, &text[..300]].concat();
            let mut encoder = Encoder::new(level);
            let mut room = vec![0; Encoder::bound(passed_over.len())];
            encoder.deflate(&[&text[..from], some, &text[..300]].concat(), &mut room).unwrap();
            let made = encoder.deflate(&passed_over, &mut room).unwrap();
            assert!(room[..made] == packed(level, &passed_over), "{level} {from}");
        }
    }

    #[test]
    fn content_of_several_pages_is_packed() {
        let lines: String = (0..1200).map(line).collect();
        for length in [PAGE - 1, PAGE, PAGE + 1, PAGE + 9, 2 * PAGE - 1, 2 * PAGE, 2 * PAGE + 1] {
            for level in [1, 6] {
                check(level, &lines.as_bytes()[..length]);
                check(level, &lines.as_bytes()[1000..1000 + length]);
            }
        }
        // What a page ends with may have been before, and the next one goes on like it.
        for level in [1, 6, 9] {
            check(level, &vec![b'a'; PAGE + 70_000]);
            for count in [8, 9, 15, 16, 17, 31] {
                let (before, _) = lines.as_bytes().split_at(PAGE - count - 1);
                let again = &before[PAGE - 5000..PAGE - 4930 + count];
                check(level, &[before, b"\xff", again].concat());
            }
        }
    }

    #[test]
    fn what_does_not_become_shorter_stays_within_the_bound() {
        for length in
            [1, 2, 3, 7, 8, 9, 100, 32_768, 65_536, 200_000, PAGE, PAGE + 1, PAGE + 7, 2 * PAGE + 1]
        {
            for level in [1, 6, 9] {
                assert!(check(level, &random(5, length)) <= length + 5 * (length / 32_768 + 2));
            }
        }
        let mut small = vec![0; 1000];
        assert_eq!(Encoder::new(2).deflate(&random(5, 5000), &mut small), None);
    }

    #[test]
    fn digits_of_base64_take_six_bits_and_what_is_around_them_is_not_spoilt() {
        let content: String = (0..100).map(line).collect();
        for level in LEVELS {
            let length = check(level, content.as_bytes());
            // 150,000 bytes that cannot become less, and 100 lines
            assert!((150_000..157_000).contains(&length), "level {level}: {length}");
        }
    }

    /// A line with a secret, of those that begin alike.
    fn line(seed: u32) -> String {
        let secret = STANDARD.encode(random(seed, 1500));
        format!("{{\"type\":\"reasoning\",\"encrypted_content\":\"gAAAAABo{secret}\",\"n\":1}}\n")
    }

    #[test]
    fn secrets_that_are_told_again_cost_little() {
        let once: String =
            ["start of the session\n".to_owned(), line(1), line(2), line(3)].concat();
        let again = format!("{once}{}{}{}", line(1), line(2), line(3));
        let twice = format!("{again}{}{}{}", line(1), line(2), line(3));
        for level in LEVELS {
            let once = check(level, once.as_bytes());
            let (again, twice) = (check(level, again.as_bytes()), check(level, twice.as_bytes()));
            assert!(
                again < once + 400 && twice < again + 400,
                "level {level}: {once} {again} {twice}"
            );
        }
    }

    /// So many words, with what belongs to them.
    fn words(seed: u32, count: usize) -> String {
        let words = random(seed, count).into_iter();
        words.map(|word| format!("\"word{}\":{},", word % 90, word / 7)).collect()
    }

    #[test]
    fn secrets_that_only_begin_alike_have_blocks_of_their_own() {
        let page = |header: u32, seed: u32| {
            let digits = [random(header, 120), random(seed, 1500)].map(|it| STANDARD.encode(it));
            format!("{}\"{}\"\n", words(seed, 600), digits.concat())
        };
        for level in LEVELS {
            let alike = check(level, [page(4, 1), page(4, 2)].concat().as_bytes());
            let unlike = check(level, [page(4, 1), page(5, 2)].concat().as_bytes());
            assert!(alike <= unlike + 10, "level {level}: {alike} {unlike}");
        }
    }

    #[test]
    fn a_stream_takes_exactly_the_room_it_needs() {
        let mixed =
            [line(1).as_bytes(), &random(2, 40_000), b"text, text, text", line(3).as_bytes()]
                .concat();
        for content in [&b""[..], b"a", b"some text, some text", &mixed] {
            for level in [2, 6] {
                let stream = packed(level, content);
                let mut encoder = Encoder::new(level);
                for short in 1..=stream.len().min(9) {
                    let mut room = vec![0; stream.len() - short];
                    assert_eq!(encoder.deflate(content, &mut room), None);
                }
                let mut room = vec![0; stream.len()];
                assert_eq!(encoder.deflate(content, &mut room), Some(stream.len()));
                assert!(room == stream);
            }
        }
    }

    #[test]
    fn noise_between_the_shortest_runs_stays_within_the_bound() {
        // Three bytes are four digits.
        for (level, bytes) in [(1, 672), (2, 384), (6, 336), (7, 288), (9, 288)] {
            for between in 1..9 {
                let mut content = Vec::new();
                for seed in 0..200 {
                    content.extend(STANDARD.encode(random(seed, bytes)).into_bytes());
                    content.extend(random(seed, between).iter().map(|byte| byte | 0x80));
                }
                assert!(check(level, &content) < content.len());
            }
        }
    }

    #[test]
    fn a_higher_level_makes_less_of_text() {
        let text = words(3, 60_000);
        let of = |level| check(level, text.as_bytes());
        assert!(of(9) < of(6) && of(6) < of(2), "{} {} {}", of(9), of(6), of(2));
    }
}
