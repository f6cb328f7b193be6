//! How is a long file read from its end?

use std::io::{self, Read, Seek, SeekFrom};

use super::{BLOCK, MAX_LINE};

/// How much is read first, from the end of a file.
const FIRST: u64 = 4 << 10;

/// The lines of a file, last first, in bounded memory.
pub(super) struct Backwards<F> {
    file: F,
    /// Everything before this is still unread.
    unread: u64,
    /// Nothing before this is read.
    floor: u64,
    /// How much is read at a time: the newest event is mostly near the end.
    step: u64,
    /// How many bytes may still be read.
    budget: u64,
    /// What was read and not yet handed out.
    block: Vec<u8>,
    /// The rest of the line that `block` ends in the middle of, last piece first.
    pieces: Vec<Vec<u8>>,
    pieces_len: usize,
    /// The line is longer than is looked at: its pieces were dropped.
    is_too_long: bool,
    is_done: bool,
}

impl<F: Read + Seek> Backwards<F> {
    /// From the end of the file down to `floor`, where a line begins; no more than `budget` bytes
    /// are read, and the line in the middle of which that ends is no line.
    pub(super) fn new(mut file: F, floor: u64, budget: u64) -> io::Result<Self> {
        // What is appended from now on is not looked at.
        let unread = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            unread,
            floor,
            step: FIRST,
            budget,
            block: Vec::new(),
            pieces: Vec::new(),
            pieces_len: 0,
            is_too_long: false,
            is_done: false,
        })
    }

    /// The next line towards the start of the file, without its end; one that is too long
    /// comes as an empty one.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.block.iter().rposition(|byte| *byte == b'\n') {
                let piece = self.block.split_off(end + 1);
                self.block.truncate(end);
                self.keep(piece);
                return Ok(Some(self.line()));
            }
            let piece = std::mem::take(&mut self.block);
            self.keep(piece);
            if self.is_cut() {
                return Ok(None);
            }
            if self.unread <= self.floor {
                let was_done = std::mem::replace(&mut self.is_done, true);
                return Ok((!was_done).then(|| self.line()));
            }
            self.read_block()?;
        }
    }

    /// How many bytes may still be read.
    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    /// Whether there is more of the file than may be read.
    pub(super) fn is_cut(&self) -> bool {
        self.budget == 0 && self.floor < self.unread
    }

    fn read_block(&mut self) -> io::Result<()> {
        let length = self.unread.saturating_sub(self.floor).min(self.step).min(self.budget);
        self.step = self.step.saturating_mul(4).min(BLOCK);
        self.unread -= length;
        self.budget -= length;
        self.file.seek(SeekFrom::Start(self.unread))?;
        self.file.by_ref().take(length).read_to_end(&mut self.block)?;
        Ok(())
    }

    fn keep(&mut self, piece: Vec<u8>) {
        self.pieces_len = self.pieces_len.saturating_add(piece.len());
        if MAX_LINE < self.pieces_len {
            self.is_too_long = true;
            self.pieces.clear();
        } else if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        for piece in self.pieces.drain(..).rev() {
            line.extend(piece);
        }
        self.pieces_len = 0;
        if std::mem::take(&mut self.is_too_long) {
            line.clear();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_beyond_the_limit_is_passed_over_and_its_neighbours_are_not() {
        let mut bytes = b"first\n".to_vec();
        bytes.resize(bytes.len() + MAX_LINE + 1, b'x');
        bytes.extend(b"\nlast");
        assert_eq!(backwards(bytes), [b"last".to_vec(), vec![], b"first".to_vec()]);
    }

    fn backwards(bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut lines = Backwards::new(io::Cursor::new(bytes), 0, u64::MAX).unwrap();
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn lines_read_backwards_are_the_lines(
            lines in proptest::collection::vec((any::<u8>(), 0_usize..90_000), 0..6),
        ) {
            let mut bytes = Vec::new();
            for (byte, count) in lines {
                bytes.resize(bytes.len() + count, byte);
                bytes.push(b'\n');
            }
            let mut expected: Vec<Vec<u8>> =
                bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            expected.reverse();
            prop_assert_eq!(backwards(bytes), expected);
        }
    }
}
