//! Where does all that thousands of sidecars said lie until somebody asks for it?
//!
//! Packed, as one piece of a file that was read: a look at thousands needs a few words of each, and
//! to read and digest the rest would be most of what it costs. All of it is unpacked when the first
//! is asked for.

use std::sync::{Arc, OnceLock};

use libdeflater::{CompressionLvl, Compressor, Decompressor};

/// All of it.
#[derive(Default)]
pub(super) struct Bulk {
    /// The file, and where in it the packed bytes begin; they end with it.
    file: Arc<Vec<u8>>,
    from: usize,
    /// How many bytes are unpacked from it.
    length: usize,
    unpacked: OnceLock<Vec<u8>>,
}

/// What one sidecar said.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) bulk: Arc<Bulk>,
    /// From which to which byte of the bulk.
    pub(super) span: (u32, u32),
}

impl Bulk {
    /// That of a file, from a byte of it on; the bytes are believed to be what [`pack`] made of so
    /// many.
    pub(super) fn of(file: Arc<Vec<u8>>, from: usize, length: usize) -> Self {
        Self { file, from, length, unpacked: OnceLock::new() }
    }

    fn bytes(&self) -> &[u8] {
        self.unpacked.get_or_init(|| {
            let packed = self.file.get(self.from..).unwrap_or_default();
            let mut bytes = vec![0; self.length];
            let unpacked = Decompressor::new().deflate_decompress(packed, &mut bytes);
            // Bytes of another length are not those that were packed.
            let is_whole = unpacked.is_ok_and(|length| length == self.length);
            if is_whole { bytes } else { Vec::new() }
        })
    }
}

impl Piece {
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        let (from, to) = (usize::try_from(self.span.0).ok()?, usize::try_from(self.span.1).ok()?);
        self.bulk.bytes().get(from..to)
    }
}

/// Packs a bulk: at the level that takes least time, for sidecars are much alike.
pub(super) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut compressor = Compressor::new(CompressionLvl::new(1).ok()?);
    let mut packed = vec![0; compressor.deflate_compress_bound(bytes.len())];
    let length = compressor.deflate_compress(bytes, &mut packed).ok()?;
    packed.truncate(length);
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(file: Vec<u8>, length: usize, span: (u32, u32)) -> Piece {
        Piece { bulk: Arc::new(Bulk::of(Arc::new(file), 5, length)), span }
    }

    #[test]
    fn a_piece_is_what_was_packed_and_nothing_if_it_is_not_there() {
        let text = "ada, bob, cyd; ".repeat(100);
        let packed = pack(text.as_bytes()).unwrap();
        assert!(packed.len() < text.len() / 10);
        let file = [b"other", packed.as_slice()].concat();
        let told = |file: &[u8], length, span| {
            piece(file.to_vec(), length, span)
                .bytes()
                .map(|it| String::from_utf8_lossy(it).into_owned())
        };
        assert_eq!(told(&file, text.len(), (5, 8)).as_deref(), Some("bob"));
        assert_eq!(told(&file, text.len(), (1500, 1500)).as_deref(), Some(""));
        assert_eq!(told(&file, text.len(), (1500, 1501)), None);
        assert_eq!(told(&file, text.len(), (8, 5)), None);
        for length in [text.len() - 1, text.len() + 1] {
            assert_eq!(told(&file, length, (5, 8)), None);
        }
        assert_eq!(told(&file[..20], text.len(), (5, 8)), None);
        assert_eq!(told(b"", text.len(), (5, 8)), None);
    }
}
