//! Reading back what was written, and whether it finds what opening and verifying would.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::*;

/// What `read_back` has to find, told by the way that has the whole table in memory: all but what only
/// shows within a member.
fn by_heart(desk: &Desk) -> Result<ReadBack, String> {
    let archive = desk.open().map_err(|error| error.to_string())?;
    let toc_digest = archive.toc_digest().ok_or("it has no footer")?.to_owned();
    let mut problems = verify(&archive).map_err(|error| error.to_string())?;
    problems.retain(|it| it.chunk.is_none() || it.what == "not what was written");
    Ok(ReadBack { toc_digest, problems })
}

/// Fails unless reading back finds exactly that.
#[track_caller]
pub(super) fn agrees(desk: &Desk, jobs: usize) {
    let expected = by_heart(desk);
    let found = read_back(&desk.path, None, jobs, &AtomicBool::new(false));
    match (found.map_err(|error| error.to_string()), &expected) {
        (Err(found), Err(expected)) => assert!(found.contains(expected.as_str()), "{found}"),
        (found, expected) => assert_eq!(found.as_ref(), expected.as_ref()),
    }
    // Of the members of every other chunk it is said that they were read back.
    let chunks = desk.open().map_or_else(
        |_| Vec::new(),
        |archive| {
            let entries = 0..archive.entries().map_or(0, <[_]>::len);
            entries.flat_map(|entry| archive.chunks_at(entry).to_vec()).collect()
        },
    );
    let doubt: BTreeSet<u64> = chunks.iter().step_by(2).map(|chunk| chunk.offset).collect();
    let known = read_back(&desk.path, Some(&doubt), jobs, &AtomicBool::new(false));
    let expected = expected.map(|mut all| {
        all.problems.retain(|it| it.chunk.is_none() || doubt.contains(&it.offset));
        all
    });
    assert_eq!(known.ok(), expected.ok());
}

/// Enough for many stretches: small files, files without content among them, and large ones.
fn many() -> Tree {
    let mut tree: Tree = (0..450)
        .map(|n| match n % 9 {
            0 => (format!("d{n:03}/"), Vec::new()),
            1 => (format!("d{n:03}"), Vec::new()),
            2 => (format!("d{n:03} -> x"), Vec::new()),
            _ => (format!("d{n:03}"), noise(n, 7)),
        })
        .collect();
    tree.push(("e".to_owned(), noise(2 * MIB + 9, 1)));
    tree.extend((0..300).map(|n| (format!("g{n:03}"), vec![b'g'; n])));
    tree.extend((0..20).map(|n| (format!("i{n:02}/"), Vec::new())));
    tree
}

#[test]
fn a_sound_archive_reads_back_as_it_was_written() {
    for tree in [many(), small(), Tree::new(), many()[..300].to_vec(), tree(&[("a", b"1")])] {
        let (bytes, written) = write(&tree, 2);
        let desk = Desk::with(&bytes);
        let doubt = BTreeSet::new();
        for (jobs, doubt) in [(0, None), (2, None), (2, Some(&doubt))] {
            let found = read_back(&desk.path, doubt, jobs, &AtomicBool::new(false)).unwrap();
            let expected = ReadBack { toc_digest: written.toc_digest.clone(), problems: vec![] };
            assert_eq!(found, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_damaged_is_found_as_if_the_table_were_in_memory(
        places in prop::collection::vec((any::<prop::sample::Index>(), 1..=u8::MAX), 1..9),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        jobs in 1..4_usize,
    ) {
        static WRITTEN: LazyLock<(Vec<u8>, usize)> = LazyLock::new(|| {
            let bytes = write(&many(), 2).0;
            let toc = gzip::read_footer(&bytes[bytes.len() - 51..]).unwrap();
            (bytes, usize::try_from(toc).unwrap())
        });
        let (mut bytes, toc) = WRITTEN.clone();
        // Of a damaged table nothing else is told, so most damage is before it.
        for (number, (place, bits)) in places.iter().enumerate() {
            let end = if number == 8 { bytes.len() } else { toc };
            bytes[place.index(end)] ^= bits;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        agrees(&Desk::with(&bytes), jobs);
    }
}

#[test]
fn reading_back_can_be_stopped() {
    let desk = Desk::with(&write(&many(), 2).0);
    for jobs in [1, 3] {
        let found = read_back(&desk.path, None, jobs, &AtomicBool::new(true));
        assert!(matches!(found, Err(ArchiveError::Interrupted)));
    }
}
