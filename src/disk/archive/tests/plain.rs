//! Plain archives: those of the older tool are read, everything that is not one of them is refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

#[test]
fn a_plain_archive_comes_back() {
    let mut items = small();
    items.push(("big".to_owned(), noise(2 * MIB + 3, 5)));
    let desk = Desk::with(&plain(&items));
    let archive = desk.open().unwrap();
    assert_eq!((archive.layout(), archive.toc_digest()), (Layout::Plain, None));
    assert_eq!(verify(&archive).unwrap(), []);
    assert_eq!(archive.read(&name("auth.json"), 99).unwrap().unwrap(), b"{\"made\":\"up\"}");
    assert_eq!(archive.read(&name("nothing"), 99).unwrap(), None);
    desk.unpack().unwrap();
    assert_eq!(on_disk(&desk.dir.path().join("into")), sorted(items));
}

#[test]
fn every_bit_flipped_in_a_plain_stream_is_refused_or_changes_nothing() {
    let bytes = plain(&tree(&[("auth.json", b"made up"), ("sessions/", b"")]));
    let desk = Desk::with(&bytes);
    desk.unpack().unwrap();
    let good = on_disk(&desk.dir.path().join("into"));
    let entries = desk.open().unwrap().entries().unwrap().to_vec();
    // Bits of the gzip header and the last ones of deflate have no effect and no checksum.
    let mut silent = 0;
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        fs::write(&desk.path, &bent).unwrap();
        if desk.faults().is_empty() {
            silent += 1;
            assert_eq!(desk.open().unwrap().entries().unwrap(), entries, "bit {bit}");
        } else {
            assert!(desk.unpack().is_err(), "bit {bit}");
        }
    }
    assert!(silent <= 10 * 8 + 7, "{silent}");
    fs::write(&desk.path, &bytes).unwrap();
    desk.unpack().unwrap();
    assert_eq!(on_disk(&desk.dir.path().join("into")), good);
    for length in 0..bytes.len() {
        fs::write(&desk.path, &bytes[..length]).unwrap();
        assert!(!desk.faults().is_empty() && desk.unpack().is_err(), "{length}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A plain archive of the tree as another writer makes it.
pub(super) fn plain(tree: &Tree) -> Vec<u8> {
    gzip(&foreign_tar(tree))
}

fn foreign_tar(tree: &Tree) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (text, content) in tree {
        let mut header = tar::Header::new_ustar();
        header.set_mtime(u64::try_from(TIME).unwrap());
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Regular);
        if text.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            builder.append_data(&mut header, text, &[][..]).unwrap();
        } else if let Some((link, target)) = text.split_once(" -> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            // Set as bytes: the builder rewrites nothing then.
            header.set_link_name_literal(target).unwrap();
            builder.append_data(&mut header, link, &[][..]).unwrap();
        } else {
            header.set_size(size(content));
            if let Some(file) = text.strip_suffix('*') {
                header.set_mode(0o755);
                builder.append_data(&mut header, file, &content[..]).unwrap();
            } else {
                builder.append_data(&mut header, text, &content[..]).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

/// One tar entry, block by block, for what no library writes.
struct Raw {
    name: &'static [u8],
    kind: u8,
    size: usize,
    link: &'static [u8],
    content: Vec<u8>,
}

impl Default for Raw {
    fn default() -> Self {
        Self { name: b"f", kind: b'0', size: 0, link: b"", content: Vec::new() }
    }
}

impl Raw {
    fn file(name: &'static [u8]) -> Self {
        Self { name, size: 2, content: b"hi".to_vec(), ..Self::default() }
    }

    fn kind(kind: u8) -> Self {
        Self { kind, ..Self::default() }
    }

    fn pax(records: &[u8]) -> Self {
        let (kind, size, content) = (b'x', records.len(), records.to_vec());
        Self { name: b"././@PaxHeader", kind, size, content, ..Self::default() }
    }

    fn link(target: &'static [u8]) -> Self {
        Self { kind: b'2', link: target, ..Self::default() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut block = vec![0; 512];
        block[..self.name.len()].copy_from_slice(self.name);
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0001750\0");
        block[116..124].copy_from_slice(b"0001750\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", self.size).as_bytes());
        block[136..148].copy_from_slice(format!("{TIME:011o}\0").as_bytes());
        block[156] = self.kind;
        block[157..157 + self.link.len()].copy_from_slice(self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        sum(&mut block);
        block.extend(&self.content);
        block.resize(block.len().next_multiple_of(512), 0);
        block
    }

    /// The entry with some bytes of its header replaced and the checksum made right again.
    fn with(&self, at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut all = self.bytes();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        sum(&mut all[..512]);
        all
    }
}

fn sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn records(pairs: &[(&str, &str)]) -> Vec<u8> {
    let one = |(key, value): &(&str, &str)| {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 1..).find(|n| n.to_string().len() + rest == *n).unwrap();
        format!("{length} {key}={value}\n")
    };
    pairs.iter().map(one).collect::<String>().into_bytes()
}

const END: [u8; 1024] = [0; 1024];

#[test]
#[rustfmt::skip]
fn a_plain_archive_is_accepted_in_one_dialect_only() {
    let file = || Raw::file(b"f").bytes();
    let pax = |pairs: &[(&str, &str)]| Raw::pax(&records(pairs)).bytes();
    let with = |pairs: &[(&str, &str)]| [pax(pairs), file()].concat();
    accepts(&file(),                                         &["f"]);
    accepts(&Raw { name: b"d/", ..Raw::kind(b'5') }.bytes(), &["d"]);
    accepts(&Raw { name: b"d", ..Raw::kind(b'5') }.bytes(),  &["d"]);
    accepts(&with(&[("mtime", "1795261117.1881747")]),       &["f"]);
    accepts(&with(&[("mtime", "-5.5")]),                     &["f"]);
    accepts(&with(&[("path", "é"), ("mtime", "1")]),         &["é"]);
    accepts(&with(&[("size", "2"), ("uid", "70000000"), ("gid", "1"), ("uname", "é"), ("gname", ""), ("atime", "1.5"), ("ctime", "2")]), &["f"]);
    accepts(&Raw::file(b"f").with(345, b"dir"),              &["dir/f"]);
    accepts(&[pax(&[("linkpath", "elsewhere")]), Raw::link(b"x").bytes()].concat(), &["f"]);

    refuses(&with(&[("size", "3")]),                         "disagree");
    refuses(&with(&[("size", "0")]),                         "disagree");
    refuses(&with(&[("size", "02")]),                        "not a number");
    refuses(&with(&[("mtime", "soon")]),                     "not a number");
    refuses(&with(&[("mtime", "1."),]),                      "not a number");
    refuses(&with(&[("mtime", "99999999999999999999")]),     "not a number");
    refuses(&with(&[("path", "a"), ("path", "b")]),          "twice");
    refuses(&with(&[("path", "../a")]),                      "`..`");
    refuses(&with(&[("GNU.sparse.major", "1")]),             "not accepted");
    refuses(&with(&[("SCHILY.xattr.user.x", "1")]),          "not accepted");
    refuses(&with(&[("hdrcharset", "BINARY")]),              "not accepted");
    refuses(&with(&[("path", "a\0b")]),                      "LENGTH KEY=VALUE");
    refuses(&[Raw::pax(b"").bytes(), file()].concat(),             "an empty PAX header");
    refuses(&[Raw::pax(b"11 path=a\n").bytes(), file()].concat(),  "LENGTH KEY=VALUE");
    refuses(&[Raw::pax(b"8 path=a\n").bytes(), file()].concat(),   "LENGTH KEY=VALUE");
    refuses(&[Raw::pax(b"08 path=\n").bytes(), file()].concat(),   "LENGTH KEY=VALUE");
    refuses(&[Raw::pax(b"10 path=\xff\n").bytes(), file()].concat(), "LENGTH KEY=VALUE");
    refuses(&[pax(&[("path", "a")]), pax(&[("path", "b")]), file()].concat(), "after a PAX header");
    refuses(&pax(&[("path", "a")]),                          "without an entry");

    refuses(&hard("g", "").bytes(),                          "is empty");
    refuses(&hard("g", "f").bytes(),                         "hard link to f, which is no file before it");
    refuses(&[file(), hard("f", "f").bytes()].concat(),      "same name");
    refuses(&[file(), hard("g", "/f").bytes()].concat(),     "absolute");
    refuses(&[file(), hard("g", "../f").bytes()].concat(),   "`..`");
    refuses(&[Raw::link(b"/etc/passwd").bytes(), hard("g", "f").bytes()].concat(), "no file before it");
    refuses(&[hard("g", "f").bytes(), file()].concat(),      "no file before it");
    refuses(&Raw { size: 2, content: b"hi".to_vec(), ..hard("g", "f") }.bytes(), "has a size");
    refuses(&Raw::kind(b'3').bytes(),                        "a device");
    refuses(&Raw::kind(b'4').bytes(),                        "a device");
    refuses(&Raw::kind(b'6').bytes(),                        "a named pipe");
    refuses(&Raw::kind(b'7').bytes(),                        "unknown type");
    refuses(&Raw::kind(0).bytes(),                           "unknown type");
    refuses(&Raw::kind(b'g').bytes(),                        "global PAX");
    refuses(&Raw::kind(b'L').bytes(),                        "GNU long name");
    refuses(&Raw::kind(b'K').bytes(),                        "GNU long name");
    refuses(&Raw::kind(b'S').bytes(),                        "sparse");
    refuses(&Raw { kind: b'5', ..Raw::file(b"d/") }.bytes(), "has a size");
    refuses(&Raw { kind: b'2', link: b"x", ..Raw::file(b"l") }.bytes(), "has a size");
    refuses(&Raw { link: b"x", ..Raw::file(b"f") }.bytes(),  "has a target");
    refuses(&Raw::link(b"").bytes(),                         "cannot be stored");
    refuses(&Raw::link(b"a\x1b[2J").bytes(),                 "cannot be stored");

    refuses(&Raw::file(b"f").with(257, b"ustar  \0"),        "another dialect");
    refuses(&Raw::file(b"f").with(257, b"\0\0\0\0\0\0\0\0"), "another dialect");
    refuses(&Raw::file(b"f").with(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x02"), "a size");
    refuses(&Raw::file(b"f").with(124, b"0000000000 8"),     "a size");
    refuses(&Raw::file(b"f").with(124, b"\0\0\0\0\0\0\0\0\0\0\0\0"), "a size");
    refuses(&Raw::file(b"f").with(100, b"-000644\0"),        "a mode");
    refuses(&Raw::file(b"f").with(108, b"\x80\0\0\0\0\0\0\x01"), "an owner");
    refuses(&Raw::file(b"f").with(329, b"x"),                "a device");
    refuses(&Raw::file(b"f").with(505, b"x"),                "bytes hide");
    refuses(&Raw::file(b"f\0g").bytes(),                     "bytes hide");
    refuses(&Raw::file(b"\xff").bytes(),                     "not UTF-8");
    refuses(&Raw::file(b"/etc/passwd").bytes(),              "absolute");
    refuses(&Raw::file(b"./f").bytes(),                      "`.`");
    refuses(&Raw::file(b"a\\b").bytes(),                     "backslash");
    refuses(&Raw::file(b"f/").bytes(),                       "empty component");
    refuses(&[file(), file()].concat(),                      "same name");
    refuses(&[file(), Raw::file(b"F").bytes()].concat(),     "same name");
    refuses(&[file(), Raw::file(b"f/g").bytes()].concat(),   "lies below");
    refuses(&[Raw::link(b"/tmp").bytes(), Raw::file(b"f/g").bytes()].concat(), "lies below");
}

/// A second name of a file.
fn hard(name: &'static str, of: &'static str) -> Raw {
    Raw { name: name.as_bytes(), link: of.as_bytes(), ..Raw::kind(b'1') }
}

#[test]
fn a_second_name_of_a_file_becomes_a_file_of_its_own() {
    let parts = [Raw::file(b"f"), hard("d/g", "f"), Raw::file(b"other"), hard("h", "d/g")];
    let tar: Vec<u8> = parts.iter().flat_map(Raw::bytes).chain(END).collect();
    let desk = Desk::with(&gzip(&tar));
    let archive = desk.open().unwrap();
    assert_eq!(archive.read(&name("h"), 99).unwrap().unwrap(), b"hi");
    assert_eq!(archive.entries().unwrap().iter().map(Entry::size).sum::<u64>(), 8);
    assert_eq!(verify(&archive).unwrap(), []);
    desk.unpack().unwrap();
    let into = desk.dir.path().join("into");
    let hi: &[u8] = b"hi";
    let expected = tree(&[("d/", b""), ("d/g", hi), ("f", hi), ("h", hi), ("other", hi)]);
    assert_eq!(on_disk(&into), expected);
    fs::write(into.join("f"), "changed").unwrap();
    assert_eq!(fs::read(into.join("h")).unwrap(), hi, "nothing is linked on the disk");
}

#[test]
fn a_second_name_is_unpacked_also_where_the_first_is_not_wanted() {
    let tar = [Raw::file(b"21apr_auth.json").bytes(), hard("auth.json", "21apr_auth.json").bytes()];
    let desk = Desk::with(&gzip(&[tar.concat(), END.to_vec()].concat()));
    let into = desk.dir.path().join("into");
    fs::create_dir_all(&into).unwrap();
    let archive = desk.open().unwrap();
    let mut how = Extraction {
        place: &mut |entry| (entry.name.as_str() == "auth.json").then(|| entry.name.clone()),
        like: None,
        keep_link: &mut |_, _| false,
        progress: &mut |_| {},
        stop: &AtomicBool::new(false),
    };
    archive.extract(&into, &mut how).unwrap();
    assert_eq!(on_disk(&into), tree(&[("auth.json", b"hi")]));
}

#[test]
fn second_names_of_a_big_file_count_as_what_they_unpack_to() {
    let content = noise(MIB, 7);
    let mut items = vec![("big".to_owned(), content)];
    items.push(("end".to_owned(), Vec::new()));
    let tar = foreign_tar(&items);
    let links: Vec<Vec<u8>> =
        ["a", "b", "c"].iter().map(|name| hard(name, "big").bytes()).collect();
    let body = tar.len() - 1024;
    let desk = Desk::with(&gzip(&[&tar[..body], &links.concat(), &END].concat()));
    let limits = Limits { ratio: 3, ratio_from: 1 << 20, ..Limits::default() };
    let error = Archive::open(&desk.path, &limits).unwrap().entries().unwrap_err();
    assert!(matches!(error, ArchiveError::TooMuch { .. }), "{error}");
    let limits = Limits { ratio: 5, ..limits };
    assert!(Archive::open(&desk.path, &limits).unwrap().entries().is_ok());
}

#[track_caller]
fn accepts(tar: &[u8], names: &[&str]) {
    let desk = Desk::with(&gzip(&[tar, &END].concat()));
    let archive = desk.open().unwrap();
    let found: Vec<_> = archive.entries().unwrap().iter().map(|e| e.name.as_str()).collect();
    assert_eq!(found, names);
}

#[track_caller]
fn refuses(tar: &[u8], expected: &str) {
    refuses_file(&gzip(&[tar, &END].concat()), expected);
}

/// An empty `expected` asks for any fault.
#[track_caller]
fn refuses_file(bytes: &[u8], expected: &str) {
    let desk = Desk::with(bytes);
    let error = desk.unpack().unwrap_err();
    assert!(error.is_hostile() || error.is_corrupt(), "{error:?}");
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(on_disk(&desk.dir.path().join("into")), Tree::new());
    assert_eq!(desk.faults().len(), 1);
}

#[test]
#[rustfmt::skip]
fn a_plain_archive_is_one_stream_with_one_tar_and_zeros() {
    let file = Raw::file(b"f").bytes();
    let whole = [&file[..], &END].concat();
    let cut = |tar: &[u8]| gzip(tar);
    accepts(&[&file[..], &[0; 10_240]].concat(), &["f"]);
    refuses_file(&cut(&file),                                     "end marker is missing");
    refuses_file(&cut(&[&file[..], &[0; 512]].concat()),          "half a tar end marker");
    refuses_file(&cut(&[&file[..], &[0; 512], &file].concat()),   "follows a zero block");
    refuses_file(&cut(&[&whole[..], &file].concat()),             "behind the end of the tar");
    refuses_file(&cut(&[&whole[..], &[0; 9], b"x"].concat()),     "behind the end of the tar");
    refuses_file(&cut(&file[..513]),                              "ends too early");
    refuses_file(&cut(&file[..100]),                              "ends too early");
    refuses_file(&cut(b""),                                       "end marker is missing");
    refuses_file(b"",                                             "ends too early");
    refuses_file(b"not gzip at all, but long enough for a header", "damaged");
    refuses_file(&[cut(&whole), cut(&whole)].concat(),            "behind the compressed stream");
    refuses_file(&[cut(&file), cut(&END)].concat(),               "end marker is missing");
    refuses_file(&[&cut(&whole)[..], b"\0"].concat(),             "behind the compressed stream");
    let mut padded = whole.clone();
    padded[600] = 1;
    refuses_file(&cut(&padded),                                   "hides behind f");
    let mut bent = whole;
    bent[0] = b'g';
    refuses_file(&cut(&bent),                                     "checksum");
}

#[test]
fn a_plain_archive_that_unpacks_to_very_much_is_refused_before_that() {
    let zeros = tree(&[("zeros", &vec![0; 3 * MIB])]);
    let desk = Desk::with(&plain(&zeros));
    let limits = Limits { ratio_from: 1 << 20, ..Limits::default() };
    let error = Archive::open(&desk.path, &limits).unwrap().entries().unwrap_err();
    assert!(matches!(error, ArchiveError::TooMuch { .. }), "{error}");
    assert!(desk.open().unwrap().entries().is_ok());
}

#[test]
fn a_pax_header_that_claims_to_be_huge_is_refused_unread() {
    let claim = Raw { kind: b'x', size: 64 * 1024 + 1, ..Raw::default() };
    refuses(&claim.bytes(), "PAX header: 65537");
}
