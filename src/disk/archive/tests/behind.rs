//! What does not read back as it was made is known before the archive is complete.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use super::*;

/// A file that the disk keeps with one byte changed.
struct Bent {
    file: File,
    written: u64,
    at: Option<u64>,
}

impl Write for Bent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut bytes = bytes.to_vec();
        let place = self.at.and_then(|at| usize::try_from(at.checked_sub(self.written)?).ok());
        if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
            *byte ^= 1;
        }
        self.file.write_all(&bytes)?;
        self.written += size(&bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes an archive that is kept with the byte at this place changed; some of it waits in between.
fn written(tree: &Tree, workers: usize, at: Option<u64>) -> (Desk, Written) {
    let desk = Desk::with(b"");
    let (file, behind) = (File::create(&desk.path).unwrap(), File::open(&desk.path).unwrap());
    let out = io::BufWriter::with_capacity(64 << 10, Bent { file, written: 0, at });
    let mut writer = Writer::new(out, 1, workers).with_read_back(behind);
    for (text, content) in tree {
        let mut bytes = content.as_slice();
        writer.file(&name(text), 0o600, TIME, size(content), &mut bytes).unwrap();
    }
    let written = writer.finish().unwrap().1;
    (desk, written)
}

/// What is read back in one go ends once with a member that still waits to be written: the last but one
/// is nearly as much as is worth it, and the last shrinks to next to nothing.
fn several() -> Tree {
    let (large, small, near) = (noise(3 * MIB + 5, 4), noise(700, 5), noise(523_500, 6));
    tree(&[
        ("a/large", &large),
        ("b", &small),
        ("c", b"c"),
        ("d/none", b""),
        ("e", &large),
        ("near", &near),
        ("tiny", &[7; MIB]),
    ])
}

/// What is found when only these members are read again.
fn found(desk: &Desk, doubtful: &BTreeSet<u64>) -> Vec<String> {
    let found = read_back(&desk.path, Some(doubtful), 2, &AtomicBool::new(false)).unwrap();
    found.problems.iter().map(|problem| problem.name.as_ref().unwrap().to_string()).collect()
}

#[test]
fn a_member_that_is_not_what_was_made_is_in_doubt_and_no_other() {
    let tree = several();
    let (sound, _) = written(&tree, 1, None);
    let archive = sound.open().unwrap();
    let none = BTreeSet::new();
    for workers in [1, 2, 5] {
        assert_eq!(written(&tree, workers, None).1.doubtful, Some(none.clone()));
        for (text, _) in &tree {
            for chunk in archive.chunks(&name(text)).unwrap() {
                let (desk, written) = written(&tree, workers, Some(chunk.offset + 5));
                let doubtful = written.doubtful.unwrap();
                assert_eq!(doubtful, BTreeSet::from([chunk.offset]), "{text}");
                assert_eq!(found(&desk, &doubtful), [text.as_str()]);
                assert!(found(&desk, &none).is_empty(), "a member was read twice");
            }
        }
    }
}

#[test]
fn what_lies_between_members_is_always_looked_at() {
    let tree = several();
    // The first bytes of an archive are a tar header.
    let (desk, written) = written(&tree, 2, Some(30));
    assert_eq!(written.doubtful, Some(BTreeSet::new()));
    assert_eq!(found(&desk, &BTreeSet::new()), ["a/large"]);
}

#[test]
fn what_cannot_be_read_back_is_in_doubt() {
    let tree = several();
    for workers in [1, 3] {
        let desk = Desk::with(b"");
        let elsewhere = File::open(&desk.path).unwrap();
        let mut writer = Writer::new(Vec::new(), 1, workers).with_read_back(elsewhere);
        for (text, content) in &tree {
            let mut bytes = content.as_slice();
            writer.file(&name(text), 0o600, TIME, size(content), &mut bytes).unwrap();
        }
        assert_eq!(writer.finish().unwrap().1.doubtful.unwrap().len(), 12);
    }
    assert_eq!(write(&tree, 2).1.doubtful, None);
}
