//! How do codes of a few bits become bytes?

/// Bits on their way into `room`, lowest first.
pub(super) struct Bits<'a> {
    room: &'a mut [u8],
    /// Whole bytes that were written, or would have been.
    written: usize,
    /// Bits that wait for their byte, and how many.
    waiting: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(room: &'a mut [u8]) -> Self {
        Self { room, written: 0, waiting: 0, count: 0 }
    }

    /// Adds the lowest `count` bits, of which no higher one may be set. Between two calls of
    /// [`Bits::flush`] there may be 56 in all.
    #[inline(always)]
    pub(super) fn add(&mut self, bits: u32, count: u32) {
        self.waiting |= u64::from(bits) << (self.count & 63);
        self.count += count;
    }

    /// Hands over what waits, but for less than a byte.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        // Eight bytes at once, of which the next call writes some again, cost less than to count.
        let room = self.room.get_mut(self.written..).unwrap_or_default();
        if let Some(room) = room.first_chunk_mut() {
            *room = self.waiting.to_le_bytes();
        } else {
            for (room, byte) in room.iter_mut().zip(self.waiting.to_le_bytes()) {
                *room = byte;
            }
        }
        let whole = self.count / 8;
        self.written += usize::try_from(whole).unwrap_or(usize::MAX);
        self.waiting >>= (8 * whole) & 63;
        self.count %= 8;
    }

    /// Fills up the byte.
    pub(super) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Adds bytes as they are, at the start of a byte.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.written.saturating_add(bytes.len());
        if let Some(room) = self.room.get_mut(self.written..end) {
            room.copy_from_slice(bytes);
        }
        self.written = end;
    }

    /// How many bytes it became; none if there was no room for all of them.
    pub(super) fn finish(mut self) -> Option<usize> {
        self.align();
        (self.written <= self.room.len()).then_some(self.written)
    }
}
