//! How is content looked at in a million places without asking at each whether there is one?
//!
//! It is copied to where there are always as many bytes, a power of two and eight more, and a place
//! beyond them comes out as one within. So a caller that looks before the beginning, or behind the end
//! of what is seen, must see to it that this decides nothing: what stands there is of other content.

use super::steps::{MOST, WINDOW};

/// Content is packed in parts of so many bytes; nothing in one refers to another.
pub(super) const PAGE: usize = 1 << 20;
/// Bytes that are looked at at once.
const WORD: usize = 8;

/// Holds a part of content. Behind it stands what earlier content left there.
pub(super) struct Page {
    /// `PAGE + WORD` of them.
    bytes: Vec<u8>,
}

/// A part of content up to some place.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    bytes: &'a [u8; PAGE + WORD],
    /// Where it ends.
    pub(super) end: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { bytes: vec![0; PAGE + WORD] }
    }
}

impl Page {
    /// Holds this part, of [`PAGE`] bytes at most.
    pub(super) fn hold(&mut self, part: &[u8]) -> Option<()> {
        self.bytes.get_mut(..PAGE)?.get_mut(..part.len())?.copy_from_slice(part);
        Some(())
    }

    /// What it holds, up to `end`.
    pub(super) fn until(&self, end: usize) -> Option<Seen<'_>> {
        Some(Seen { bytes: self.bytes.first_chunk()?, end })
    }
}

impl<'a> Seen<'a> {
    /// The bytes from one place to another, also behind the end; none if they are in the wrong order.
    #[inline(always)]
    pub(super) fn part(self, from: usize, to: usize) -> &'a [u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// In how many places eight bytes begin that are seen.
    #[inline(always)]
    pub(super) fn words(self) -> usize {
        (self.end + 1).saturating_sub(WORD)
    }

    /// The eight bytes at a place, also behind the end.
    #[inline(always)]
    pub(super) fn word(self, at: usize) -> u64 {
        let at = at % PAGE;
        let bytes = self.bytes.get(at..at + WORD).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The eight bytes at a place, if they are seen.
    #[inline(always)]
    pub(super) fn seen_word(self, at: usize) -> Option<u64> {
        let bytes = self.part(0, self.end).get(at..at.wrapping_add(WORD))?;
        bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// How many of the eight bytes `here` at `at` are the same `distance` before; none if that is too
    /// far.
    #[inline(always)]
    pub(super) fn alike(self, at: usize, here: u64, distance: usize) -> usize {
        let same = same(here, self.word(at.wrapping_sub(distance)));
        if distance.wrapping_sub(1) < at.min(WINDOW) { same } else { 0 }
    }

    /// How many bytes from `at` on are the same `distance` before, of which eight are known to be;
    /// [`MOST`] at most, and none behind the end.
    #[inline(always)]
    pub(super) fn length(self, at: usize, distance: usize) -> usize {
        let most = MOST.min(self.end - at);
        let same = |ahead| same(self.word(at + ahead), self.word(at + ahead - distance));
        // Most are over soon, and to look twice at once costs less than to guess where.
        let (second, third) = (same(WORD), same(2 * WORD));
        let mut length = WORD + second + if second == WORD { third } else { 0 };
        if length < 3 * WORD {
            return length.min(most);
        }
        while length < most {
            let more = same(length);
            if more < WORD {
                return most.min(length + more);
            }
            length += WORD;
        }
        most
    }
}

/// How many bytes at the start of two words are the same.
#[inline(always)]
fn same(one: u64, other: u64) -> usize {
    usize::try_from((one ^ other).trailing_zeros() / 8).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::random;
    use super::*;

    /// Whether each place of a range tells how long the repetition 16 bytes before is.
    #[track_caller]
    fn check(content: &[u8], end: usize, places: std::ops::Range<usize>) {
        let mut page = Page::default();
        page.bytes.fill(b'f');
        page.hold(content).unwrap();
        let seen = page.until(end).unwrap();
        for at in places.start..places.end.min(seen.words()) {
            let same = (at..end).take_while(|place| content[*place] == content[place - 16]);
            let same = same.count().min(MOST);
            assert_eq!(seen.alike(at, seen.word(at), 16), same.min(8), "{at} of {end}");
            if same >= 8 {
                assert_eq!(seen.length(at, 16), same, "{at} of {end}");
            }
        }
    }

    #[test]
    fn a_repetition_ends_with_what_is_seen_or_where_bytes_differ() {
        let mut content = b"0123456789abcdef".repeat(40);
        content[500] = b'x';
        for end in [40, 41, 47, 48, 300, 499, 501, 640] {
            check(&content, end, 16..end);
        }
        let mut content = b"0123456789abcdef".repeat(PAGE / 16);
        for end in [PAGE, PAGE - 1, PAGE - 7] {
            check(&content, end, PAGE - 300..PAGE);
        }
        content[PAGE - 2] = b'x';
        check(&content, PAGE, PAGE - 300..PAGE);
    }

    #[test]
    fn nothing_is_alike_where_nothing_is() {
        let mut page = Page::default();
        page.hold(&vec![b'a'; PAGE]).unwrap();
        let seen = page.until(PAGE).unwrap();
        let alike = |at, distance| seen.alike(at, seen.word(at), distance);
        assert_eq!([alike(9, 1), alike(9, 9), alike(50_000, WINDOW)], [8; 3]);
        assert_eq!([alike(9, 0), alike(9, 17), alike(50_000, WINDOW + 1)], [0; 3]);
    }

    #[test]
    fn a_full_page_is_seen_to_its_last_byte() {
        let content = random(1, PAGE);
        let mut page = Page::default();
        page.hold(&content).unwrap();
        let seen = page.until(PAGE).unwrap();
        let last = seen.words() - 1;
        assert_eq!(&seen.word(last).to_le_bytes()[..], &content[PAGE - 8..]);
        assert_eq!((seen.seen_word(last), seen.seen_word(last + 1)), (Some(seen.word(last)), None));
    }
}
