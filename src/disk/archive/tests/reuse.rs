//! What is copied from an earlier archive is what would have been written without it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// An archive to copy from, and the content its files had.
struct Earlier {
    tree: Tree,
    bytes: Vec<u8>,
    desk: Desk,
}

/// How often a file had to be opened again.
type Opened = Arc<AtomicUsize>;

impl Earlier {
    fn of(tree: Tree) -> Self {
        let (bytes, _) = write(&tree, 2);
        let desk = Desk::with(&bytes);
        for (text, content) in &tree {
            let path = desk.dir.path().join(text);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Self { tree, bytes, desk }
    }

    /// A large file, a small one, an empty one.
    fn usual() -> Self {
        Self::of(tree(&[("old", &noise(2 * MIB + 5, 8)), ("sub/x", b"a"), ("none", b"")]))
    }

    /// Where the chunks of a file lie.
    fn known(&self, text: &str) -> Vec<Known> {
        let archive = Arc::new(File::open(&self.desk.path).unwrap());
        let opened = Desk::with(&self.bytes).open().unwrap();
        let of_chunk = |chunk: &Chunk| Known {
            archive: Arc::clone(&archive),
            offset: chunk.offset,
            member_size: chunk.member_size,
            member_digest: chunk.member_digest,
            size: chunk.size,
            digest: chunk.digest,
        };
        opened.chunks(&name(text)).unwrap().iter().map(of_chunk).collect()
    }

    /// Opens the content of a file, and counts that.
    fn again(&self, text: &str, count: &Opened) -> Again {
        let (path, count) = (self.desk.dir.path().join(text), Arc::clone(count));
        Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                other => other.map(Some),
            }
        })
    }

    /// The same files once more, all of them said to be unchanged.
    fn written_again(&self, workers: usize) -> (Result<(Vec<u8>, Written), ArchiveError>, usize) {
        let count = Opened::default();
        let mut writer = Writer::new(Vec::new(), 6, workers);
        let mut result = Ok(());
        for (text, _) in &self.tree {
            let (known, again) = (self.known(text), self.again(text, &count));
            let size = known.iter().map(|chunk| chunk.size).sum();
            result = writer.unchanged(&name(text), 0o600, TIME, size, known, &again).map(|_| ());
            if result.is_err() {
                break;
            }
        }
        let written = writer.finish();
        (result.and(written), count.load(Ordering::Relaxed))
    }

    /// The same, where nothing may go wrong: how often files were opened again.
    #[track_caller]
    fn comes_out_the_same(&self, workers: usize) -> usize {
        let (result, opened) = self.written_again(workers);
        let (bytes, written) = result.unwrap();
        assert!(bytes == self.bytes);
        assert_eq!(written.content_bytes, self.tree.iter().map(|(_, it)| size(it)).sum::<u64>());
        opened
    }

    fn damage(&self, text: &str, chunk: usize) {
        let mut bytes = self.bytes.clone();
        let at = usize::try_from(self.known(text)[chunk].offset).unwrap();
        bytes[at + 11] ^= 1;
        fs::write(&self.desk.path, bytes).unwrap();
    }
}

#[test]
fn unchanged_files_are_copied_without_opening_them() {
    let earlier = Earlier::usual();
    for workers in [1, 2, 7] {
        assert_eq!(earlier.comes_out_the_same(workers), 0);
    }
    let (result, _) = earlier.written_again(2);
    let (_, written) = result.unwrap();
    let members = ["old", "sub/x"].iter().flat_map(|text| earlier.known(text));
    let all = members.map(|known| known.member_size).sum::<u64>();
    assert_eq!((written.reused_bytes, written.compressed_bytes), (all, 0));
}

#[test]
fn a_member_that_has_rotted_is_found_where_it_came_to_lie() {
    let earlier = Earlier::usual();
    earlier.damage("old", 1);
    let (result, opened) = earlier.written_again(2);
    assert_eq!(opened, 0);
    let (bytes, _) = result.unwrap();
    let desk = Desk::with(&bytes);
    walk::agrees(&desk, 2);
    let found = read_back(&desk.path, None, 2, &AtomicBool::new(false));
    let problems = found.unwrap().problems;
    let told: Vec<_> = problems.iter().map(|it| (it.name.clone().unwrap(), it.chunk)).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0.as_str(), told[0].1.unwrap().number), ("old", 2));
}

#[test]
fn an_archive_that_is_cut_off_or_empty_by_now_is_done_without() {
    let earlier = Earlier::usual();
    let second = usize::try_from(earlier.known("old")[1].offset).unwrap();
    fs::write(&earlier.desk.path, &earlier.bytes[..second + 100]).unwrap();
    assert_eq!(earlier.comes_out_the_same(2), 3);
    fs::write(&earlier.desk.path, b"").unwrap();
    assert_eq!(earlier.comes_out_the_same(2), 4);
}

#[test]
fn a_file_is_never_half_of_each_if_it_changed_after_all() {
    let earlier = Earlier::usual();
    let path = earlier.desk.dir.path().join("old");
    let last = usize::try_from(earlier.known("old")[2].offset).unwrap();
    fs::write(&earlier.desk.path, &earlier.bytes[..last]).unwrap();
    for content in [noise(2 * MIB + 5, 10), noise(MIB, 8), Vec::new()] {
        fs::write(&path, content).unwrap();
        let (result, opened) = earlier.written_again(2);
        let error = result.map(|_| ()).unwrap_err();
        let named = |it: &EntryName| it.as_str() == "old";
        assert!(matches!(&error, ArchiveError::ContentChanged { name, .. } if named(name)));
        assert_eq!(opened, 1);
    }
    fs::remove_file(&path).unwrap();
    let (result, _) = earlier.written_again(2);
    assert!(matches!(result, Err(ArchiveError::Source { .. })));
}

#[test]
fn chunks_that_tile_no_file_are_refused() {
    let earlier = Earlier::usual();
    let again = earlier.again("old", &Opened::default());
    let chunks = earlier.known("old");
    let twice = vec![chunks[2].clone(), chunks[2].clone()];
    let empty = vec![Known { size: 0, ..chunks[2].clone() }];
    for known in [twice, empty, chunks[..2].to_vec()] {
        let size = chunks.iter().map(|chunk| chunk.size).sum();
        let mut writer = Writer::new(Vec::new(), 6, 1);
        let error = writer.unchanged(&name("a"), 0o600, TIME, size, known, &again).unwrap_err();
        assert!(matches!(error, ArchiveError::ContentChanged { .. }));
        assert!(writer.finish().is_err());
    }
}

/// Everything an archive has, by content; and how often that was asked for.
struct Shelf(Vec<Known>, AtomicUsize);

impl Library for Shelf {
    fn find(&self, digest: &[u8; 32], size: u64) -> Option<Known> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.iter().find(|known| known.digest == *digest && known.size == size).cloned()
    }
}

#[test]
fn content_that_a_library_has_is_copied_wherever_it_is_now() {
    let earlier = Earlier::usual();
    let members = ["old", "sub/x"].iter().flat_map(|text| earlier.known(text));
    let moved = tree(&[("a", b"a"), ("b", b"b"), ("c", &earlier.tree[0].1)]);
    let (expected, _) = write(&moved, 1);
    for (spoil, reused) in [(false, 4), (true, 3)] {
        if spoil {
            earlier.damage("old", 0);
        }
        let shelf = Arc::new(Shelf(members.clone().collect(), AtomicUsize::new(0)));
        let mut writer = Writer::new(Vec::new(), 6, 2).with_library(Arc::<Shelf>::clone(&shelf));
        for (text, content) in &moved {
            let mut content = content.as_slice();
            writer.file(&name(text), 0o600, TIME, size(content), &mut content).unwrap();
        }
        let (bytes, written) = writer.finish().unwrap();
        assert!(bytes == expected);
        assert_eq!(shelf.1.load(Ordering::Relaxed), 5);
        let sizes = || members.clone().map(|known| known.member_size);
        let all = sizes().sum::<u64>() - if reused == 3 { sizes().next().unwrap() } else { 0 };
        assert_eq!(written.reused_bytes, all);
    }
}

#[test]
fn a_library_that_mixes_up_its_members_does_no_harm() {
    let earlier = Earlier::of(tree(&[("a", b"a"), ("b", b"b")]));
    let (a, b) = (earlier.known("a").remove(0), earlier.known("b").remove(0));
    // It says where b lies when it is asked for a.
    let wrong = Known { digest: a.digest, ..b };
    let shelf = Arc::new(Shelf(vec![wrong], AtomicUsize::new(0)));
    let mut writer = Writer::new(Vec::new(), 6, 1).with_library(shelf);
    writer.file(&name("a"), 0o600, TIME, 1, &mut &b"a"[..]).unwrap();
    let (bytes, written) = writer.finish().unwrap();
    assert_eq!(written.reused_bytes, 0);
    assert_eq!(Desk::with(&bytes).faults(), Vec::<String>::new());
}
