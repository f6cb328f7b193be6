//! How is memory used again without being cleared, or taken from the system, each time?

/// Bytes of which the first [`Buffer::len`] count; the rest is room that was used before.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    used: usize,
}

impl Buffer {
    /// How many bytes count.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// The bytes that count.
    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Those from `start` on.
    pub(super) fn filled_from(&self, start: usize) -> &[u8] {
        self.filled().get(start..).unwrap_or_default()
    }

    /// Those from `start` on, to be changed.
    pub(super) fn filled_from_mut(&mut self, start: usize) -> &mut [u8] {
        self.bytes.get_mut(start..self.used).unwrap_or_default()
    }

    /// Forgets the bytes and keeps the room.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Appends some bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.used += bytes.len();
    }

    /// Room for `length` bytes behind those that count; what stands there is of no meaning.
    /// [`Buffer::grow`] makes them count.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        let end = self.used.saturating_add(length);
        if self.bytes.len() < end {
            // New room comes cleared from the system; to enlarge the old one is to clear it here.
            let mut larger = vec![0; end.max(2 * self.bytes.len())];
            if let Some(start) = larger.get_mut(..self.used) {
                start.copy_from_slice(self.filled());
            }
            self.bytes = larger;
        }
        self.bytes.get_mut(self.used..end).unwrap_or_default()
    }

    /// Lets so many more bytes count, as far as there is room.
    pub(super) fn grow(&mut self, count: usize) {
        self.used = self.used.saturating_add(count).min(self.bytes.len());
    }
}
