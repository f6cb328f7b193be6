//! How is one small file read out of an archive without its table of contents?
//!
//! Whoever knows from elsewhere where the file's only member lies, and the digest of its content,
//! needs nothing else of the archive, however large that is.

use std::path::Path;

use super::gzip::{Inflater, largest_member};
use super::open::{bytes_of, open_regular};
use super::toc::{CHUNK, digest_of};

/// The member that holds all content of one file, as somebody trustworthy describes it.
#[derive(Clone, Copy, Debug)]
pub struct Only<'a> {
    /// Bytes of the whole archive.
    pub archive: u64,
    /// Where the member starts.
    pub offset: u64,
    /// Bytes of the member.
    pub bytes: u64,
    /// `sha256:` and the hex digest of the content.
    pub digest: &'a str,
}

impl Only<'_> {
    /// The content, if the archive at `path` is a regular file of that length and has at that place
    /// a member with that content.
    ///
    /// `None` for anything else: [`Archive`](super::Archive) tells what is wrong, or finds the file
    /// where it really lies. Nothing but the member is read, and at most 1 MiB unpacked.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let end = self.offset.checked_add(self.bytes).filter(|end| *end <= self.archive)?;
        if self.bytes > largest_member(CHUNK) {
            return None;
        }
        let file = open_regular(path).ok()?;
        if file.metadata().ok()?.len() != self.archive {
            return None;
        }
        let member = bytes_of(&file, self.offset, end).ok()?;
        // What it says of its own length may be a lie; the digest decides.
        let size = u64::from(u32::from_le_bytes(*member.last_chunk()?));
        if CHUNK < size {
            return None;
        }
        let mut inflater = Inflater::new();
        let content = inflater.chunk(&member, size).ok()?;
        (digest_of(content) == self.digest).then(|| content.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::toc::as_u64;
    use super::super::{EntryName, Writer};
    use super::*;

    const LOGIN: &[u8] = b"a login of a few bytes, a login of a few bytes";

    /// An archive of two files, and where the first lies.
    fn archive(first: &[u8]) -> (Vec<u8>, Option<(u64, u64)>) {
        let mut writer = Writer::new(Vec::new(), 1, 1);
        for (name, mut content) in [("auth.json", first), ("b", b"another file".as_slice())] {
            let name: EntryName = name.parse().unwrap();
            writer.file(&name, 0o600, 0, as_u64(content.len()), &mut content).unwrap();
        }
        let (bytes, written) = writer.finish().unwrap();
        (bytes, written.first.map(|chunk| (chunk.offset, chunk.member_size)))
    }

    fn read(bytes: &[u8], change: impl Fn(Only<'static>) -> Only<'static>) -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar.gz");
        fs::write(&path, bytes).unwrap();
        let (archive, (offset, bytes)) = (as_u64(bytes.len()), archive(LOGIN).1.unwrap());
        let digest: &'static str = digest_of(LOGIN).leak();
        change(Only { archive, offset, bytes, digest }).read(&path)
    }

    #[test]
    fn a_member_is_read_if_it_is_the_one_that_was_described() {
        let (bytes, _) = archive(LOGIN);
        let only = |only| only;
        assert_eq!(read(&bytes, only).as_deref(), Some(LOGIN));
        assert_eq!(read(&bytes, |it| Only { archive: it.archive + 1, ..it }), None);
        assert_eq!(read(&bytes, |it| Only { offset: it.offset + 1, ..it }), None);
        assert_eq!(read(&bytes, |it| Only { offset: u64::MAX, ..it }), None);
        assert_eq!(read(&bytes, |it| Only { bytes: it.bytes - 1, ..it }), None);
        assert_eq!(read(&bytes, |it| Only { bytes: 0, ..it }), None);
        assert_eq!(read(&bytes, |it| Only { digest: "sha256:", ..it }), None);
        assert_eq!(read(&archive(b"another login").0, only), None);
        assert_eq!(read(b"", only), None);
    }

    #[test]
    fn every_flipped_bit_of_the_member_is_found_if_it_says_anything_and_no_other_matters() {
        let (bytes, place) = archive(LOGIN);
        let (start, length) = place.unwrap();
        let mut unnoticed = Vec::new();
        for bit in 0..8 * as_u64(bytes.len()) {
            let mut bent = bytes.clone();
            bent[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
            let is_inside = start <= bit / 8 && bit / 8 < start + length;
            match read(&bent, |only| only) {
                None => assert!(is_inside, "bit {bit}"),
                Some(login) => {
                    assert_eq!(login, LOGIN, "bit {bit}");
                    unnoticed.extend(is_inside.then_some(bit / 8));
                }
            }
        }
        // What fills up a byte of the compressed data says nothing.
        assert!(unnoticed.len() < 8, "{unnoticed:?}");
        assert!(unnoticed.windows(2).all(|bytes| bytes[0] == bytes[1]), "{unnoticed:?}");
    }

    #[test]
    fn the_first_file_has_an_only_member_unless_it_is_empty_or_of_several() {
        assert!(archive(b"").1.is_none());
        let chunk = usize::try_from(CHUNK).unwrap();
        assert!(archive(&vec![7; chunk]).1.is_some());
        assert!(archive(&vec![7; chunk + 1]).1.is_none());
    }
}
