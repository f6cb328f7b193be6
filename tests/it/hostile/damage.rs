//! Is a bit that flipped, or a byte that is gone, found, named and refused?
//!
//! Every bit of a small archive and of a sidecar is tried where they are read (`disk::archive`,
//! `snapshot::metadata`); here the whole program sees a sample.

use super::{NAME, assert_same, everything};
use crate::home::{TestHome, table_of_contents};

/// Ada's home with one snapshot: of small files, and of one in three chunks.
fn stored() -> TestHome {
    let noise: Vec<u8> =
        (0..(2 << 20) + 77_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let home = TestHome::of_ada().file(".codex/notes.bin", noise).file(".codex/empty", "");
    assert_eq!(home.play("backup").exit, 0);
    home
}

/// `verify` says so with these words, and no restore begins.
#[track_caller]
fn found(home: &TestHome, how: &str, words: &[String]) {
    let seen = home.play(&format!("verify {NAME}"));
    assert_eq!(seen.exit, 5, "{how}\n{}", seen.screen);
    for word in words {
        assert!(seen.screen.contains(word), "{how}: {word:?} is not in\n{}", seen.screen);
    }
    let mut before = everything(home);
    let seen = home.play(&format!("restore {NAME} --yes"));
    assert_eq!(seen.exit, 5, "{how}\n{}", seen.screen);
    let mut after = everything(home);
    for tree in [&mut before, &mut after] {
        tree.retain(|path, _| !path.starts_with(".codex-manager"));
    }
    assert_same(how, &before, &after);
}

#[test]
fn a_flipped_bit_or_a_cut_in_a_sidecar_is_found_wherever_it_is() {
    let mut home = stored();
    let path = format!(".codex-manager/backups/{NAME}.metadata.json");
    let sound = home.read(&path);
    for bit in (0..sound.len() * 8).step_by(523) {
        let mut bent = sound.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        home = home.file(&path, &bent);
        found(&home, &format!("bit {bit}"), &[NAME.to_owned(), "its sidecar ".to_owned()]);
    }
    for length in (0..sound.len()).step_by(211).chain([sound.len() - 1]) {
        home = home.file(&path, &sound[..length]);
        found(&home, &format!("cut at {length}"), &["its sidecar ".to_owned()]);
    }
    let home = home.file(&path, &sound);
    assert_eq!(home.play(&format!("verify {NAME}")).exit, 0);
    assert_eq!(home.play(&format!("restore {NAME} --yes")).exit, 0);
}

#[test]
fn a_flipped_bit_in_an_archive_is_named_by_file_and_chunk() {
    let mut home = stored();
    let path = format!(".codex-manager/backups/{NAME}.tar.gz");
    let sound = home.read(&path);
    // What the live home still has would be taken from there.
    home = home.file(".codex/notes.bin", "written since");
    let table = table_of_contents(&sound);
    let (mut chunk, mut most, mut end) = (0, 0, 0);
    for line in table["entries"].as_array().unwrap() {
        let Some(offset) = line["offset"].as_u64() else { continue };
        let name = line["name"].as_str().unwrap().to_owned();
        chunk = if line["type"] == "chunk" { chunk + 1 } else { 0 };
        most = most.max(chunk);
        let size = line["memberSize"].as_u64().unwrap();
        for (place, says) in [
            (offset + size / 2, format!("chunk {} of ", chunk + 1)),
            (offset, format!("chunk {} of ", chunk + 1)),
            // What lies before the first chunk of a file are the headers, also of what is empty.
            (offset - 1, "a tar header".to_owned()),
        ] {
            if place < end {
                continue; // The byte before is the chunk's before.
            }
            let at = usize::try_from(place).unwrap();
            let mut bent = sound.clone();
            bent[at] ^= 0x20;
            home = home.file(&path, &bent);
            let words =
                if says.starts_with("chunk") { vec![name.clone(), says] } else { vec![says] };
            found(&home, &format!("{name}, byte {at}"), &words);
        }
        end = offset + size;
    }
    assert_eq!(most, 2, "there was a file of three chunks");
}
