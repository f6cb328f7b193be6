//! Entries that no honest writer stores: their names, kinds, headers and extensions.

use super::forge::{Part, record};
use super::{Fate, both, ours, theirs};
use Fate::{Accepted, Elsewhere, Refused};

#[test]
fn what_is_honest_is_accepted_in_either_layout() {
    let parts = [
        Part::dir("sessions"),
        Part::file("sessions/a.jsonl", "{}\n"),
        Part::link("sessions/latest", "a.jsonl"),
        Part::file("skills/run.sh", "#!/bin/sh\n").mode(0o755),
        Part::file("empty", ""),
        Part::file("big", vec![7; (2 << 20) + 5]),
        Part::file("n".repeat(100), "")
            .pax(&[("path", &"long/".repeat(60)), ("mtime", "1775000000")])
            .called(&"long/".repeat(60)),
    ];
    ours("honest", &parts[..6], Accepted, "");
    theirs("honest", &parts[..6], Accepted, "");
}

fn file(name: &str) -> [Part; 1] {
    [Part::file(name, "hostile")]
}

/// A name that no header field holds.
fn long(name: &str) -> [Part; 1] {
    [Part::file("short", "hostile").pax(&[("path", name)]).called(name)]
}

#[test]
#[rustfmt::skip]
fn names_that_leave_deceive_or_do_not_fit_are_refused() {
    both("absolute",              &file("/etc/cron.d/job"),              "it is absolute");
    both("up",                    &file("../outside/kept.txt"),          "`..` component");
    both("up from below",         &file("a/../../outside/kept.txt"),     "`..` component");
    both("here",                  &file("./x"),                          "`..` component");
    both("nothing between",       &file("a//b"),                         "empty component");
    both("drive",                 &file("C:/Windows/x"),                 "drive letter");
    both("drive without slash",   &file("C:x"),                          "drive letter");
    both("backslash",             &file("a\\..\\..\\x"),                 "backslash");
    both("share",                 &file("\\\\host\\share"),              "backslash");
    both("escape",                &file("a\u{1b}[2Jb"),                  "control or text-direction");
    both("newline",               &file("a\nerror: b"),                  "control or text-direction");
    both("C1",                    &long("a\u{9b}2Jb"),                   "control or text-direction");
    both("bidi",                  &long("a\u{202e}gpj.exe"),             "control or text-direction");
    both("isolate",               &long("a\u{2066}b"),                   "control or text-direction");
    both("dot at the end",        &file("auth.json."),                   "ends in a dot or a space");
    both("space at the end",      &file("auth.json "),                   "ends in a dot or a space");
    both("part of 256",           &long(&"x".repeat(256)),               "longer than 255 bytes");
    both("1,025 bytes",           &long(&["x".repeat(204).as_str(); 6].join("/")), "longer than 1,024 bytes");
    both("65 levels",             &long(&["x"; 65].join("/")),           "deeper than 64 levels");
    ours("reserved",              &file("Stargz.Index.json"),            Refused, "is reserved");
    theirs("reserved only in ours", &file("Stargz.Index.json"),          Accepted, "");
    both("a slash behind a file", &file("a/"),                           "empty component");
}

#[test]
#[rustfmt::skip]
fn names_that_meet_are_refused() {
    let two = |a: &str, b: &str| [Part::file(a, "one"), Part::file(b, "two")];
    both("twice",                 &two("a", "a"),                        "are the same name");
    both("login twice",           &file("auth.json"),                    "are the same name");
    both("case",                  &file("AUTH.json"),                    "are the same name");
    both("case of a folder",      &two("d/a", "D/b"),                    "are the same name");
    both("normalization",         &[long("\u{e9}"), long("e\u{301}")].concat(), "are the same name");
    both("compatibility",         &[long("\u{fb01}le"), long("file")].concat(), "are the same name");
    both("ignorable",             &long("auth\u{200c}.json"),            "are the same name");
    both("folded",                &[long("stra\u{df}e"), long("STRASSE")].concat(), "are the same name");
    both("folder twice",          &[Part::dir("d"), Part::dir("d")],     "are the same name");
    both("file and folder",       &[Part::file("d", "x"), Part::dir("d")], "are the same name");
    both("below a file",          &file("config.toml/x"),                "lies below config.toml");
    both("through a link",        &[Part::link("l", "../outside"), Part::file("l/kept.txt", "x")], "lies below l");
    both("through a link inside", &[Part::link("l", "sessions"), Part::file("l/x", "x")], "lies below l");
    both("over a link",           &[Part::link("l", "../outside/kept.txt"), Part::file("l", "x")], "are the same name");
    both("link over our folder",  &[Part::link(".codex-manager", "../outside")], "are the same name");
}

#[test]
#[rustfmt::skip]
fn what_is_no_file_folder_or_link_is_refused() {
    let there = |kind: u8, says: &str| theirs(&format!("kind {}", kind.escape_ascii()), &one(kind), Refused, says);
    there(b'3', "is a device");
    there(b'4', "is a device");
    there(b'6', "is a named pipe");
    there(b'7', "of an unknown type");
    there(0,    "of an unknown type");
    there(b'g', "a global PAX header");
    there(b'x', "PAX header");
    there(b'L', "a GNU long name");
    there(b'K', "a GNU long name");
    there(b'S', "a GNU sparse file");
    there(b'D', "of an unknown type");
    there(b'M', "of an unknown type");
    there(b'V', "of an unknown type");
    there(b'X', "of an unknown type");
    there(b'A', "of an unknown type");
    // Our table calls it a file: the header below gives it away.
    for bad in [b'1', b'3', b'4', b'6', b'7', 0, b'g', b'x', b'L', b'K', b'S', b'X'] {
        let lied = |toc: &mut serde_json::Value| {
            let entries = toc["entries"].as_array_mut().unwrap();
            entries.last_mut().unwrap()["type"] = "reg".into();
        };
        let lies = super::forge::Lies { table: &lied, ..super::forge::HONEST };
        super::ours_with(&format!("kind {}", bad.escape_ascii()), &one(bad), &lies, Elsewhere, "a tar header");
    }
    ours("hard link",             &[Part::of_kind(b'1', "x").to("auth.json")], Refused, "table of contents");
    theirs("hard link",           &[Part::of_kind(b'1', "x").to("auth.json")], Accepted, "");
    theirs("hard link to later",  &[Part::of_kind(b'1', "x").to("y"), Part::file("y", "y")], Refused, "no file before it");
    theirs("hard link to itself", &[Part::of_kind(b'1', "x").to("x")], Refused, "no file before it");
    theirs("hard link outside",   &[Part::of_kind(b'1', "x").to("../outside/kept.txt")], Refused, "`..` component");
    theirs("hard link to a link", &[Part::link("l", "auth.json"), Part::of_kind(b'1', "x").to("l")], Refused, "no file before it");
    theirs("hard link to a folder", &[Part::dir("d"), Part::of_kind(b'1', "x").to("d")], Refused, "no file before it");
    theirs("hard link with content", &[Part::of_kind(b'1', "x").to("auth.json").holding("y")], Refused, "has a size but is no file");
}

fn one(kind: u8) -> [Part; 1] {
    [Part::of_kind(kind, "x")]
}

#[test]
#[rustfmt::skip]
fn special_bits_and_odd_links_are_refused() {
    for mode in [0o4755, 0o2755, 0o1644, 0o6777] {
        theirs(&format!("{mode:o}"), &[Part::file("x", "x").mode(mode)], Refused, "mode");
        ours(&format!("{mode:o}"),   &[Part::file("x", "x").mode(mode)], Elsewhere, "mode");
    }
    theirs("type in the mode", &[Part::file("x", "x").mode(0o100_644)], Refused, "mode");
    // What a folder inherits is taken off, as everything but the owner's execute bit is.
    theirs("folder of a group", &[Part::dir("d").mode(0o2755)], Accepted, "");
    ours("folder of a group", &[Part::dir("d").mode(0o2755)], Elsewhere, "table of contents");
    both("link to nothing",      &[Part::link("l", "")],              "cannot be stored");
    both("link with an escape",  &[Part::link("l", "a\x1b[2J")],      "cannot be stored");
    theirs("link of 5,000 bytes", &[Part::link("l", "x").pax(&[("linkpath", &"x".repeat(5000))])], Refused, "cannot be stored");
    // Left out and named, or made as they are.
    for target in ["/etc/passwd", "../outside/kept.txt", "a/../../outside", "../../../../etc/passwd"] {
        ours(target,   &[Part::link("sessions/l", target)], Accepted, "");
        theirs(target, &[Part::link("sessions/l", target)], Accepted, "");
    }
}

#[test]
#[rustfmt::skip]
fn headers_that_are_not_as_they_should_be_are_refused() {
    let f = || Part::file("x", "hostile");
    let rows: Vec<(&str, Part, &str)> = vec![
        ("checksum",                f().spoiled(0, b"y"),                          "checksum"),
        ("checksum no number",      f().spoiled(148, b"abcdef"),                   "checksum"),
        ("checksum of signed bytes", f().with(265, b"\xff\xff\xff").spoiled(148, b"000000"), "checksum"),
        ("mode no number",          f().with(100, b"rw-r--r-"),                    "a mode is not an octal"),
        ("mode negative",           f().with(100, b"-000644\0"),                   "a mode is not an octal"),
        ("size no number",          f().sized("0000000008\0"),                     "a size is not an octal"),
        ("size empty",              f().sized("\0\0\0\0\0\0\0\0\0\0\0\0"),         "a size is not an octal"),
        ("size negative",           f().sized("-0000000007\0"),                    "a size is not an octal"),
        ("size with a blank",       f().sized("0000000 007\0"),                    "a size is not an octal"),
        ("time base-256",           f().with(136, b"\x80\0\0\0\0\0\0\0\0\0\0\x07"), "a time is not an octal"),
        ("size base-256",           f().with(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x07"), "a size is not an octal"),
        ("size base-256 negative",  f().with(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf9"), "a size is not an octal"),
        ("owner base-256",          f().with(108, b"\x80\0\0\0\0\0\0\x01"),        "an owner is not an octal"),
        ("device no number",        f().with(329, b"x"),                           "a device is not an octal"),
        ("GNU dialect",             f().with(257, b"ustar  \0"),                   "another dialect"),
        ("no dialect",              f().with(257, b"\0\0\0\0\0\0\0\0"),            "another dialect"),
        ("other version",           f().with(263, b"01"),                          "another dialect"),
        ("bytes behind the header", f().with(505, b"hidden"),                      "bytes hide behind a tar header"),
        ("bytes behind the name",   f().with(0, b"x\0hidden"),                     "bytes hide behind a name"),
        ("bytes behind the owner",  f().with(265, b"a\0b"),                        "bytes hide behind a name"),
        ("not UTF-8",               Part::file(b"x\xff", "hostile").called("x"),   "not UTF-8"),
        ("prefix leads up",         f().with(345, b".."),                          "`..` component"),
        ("prefix is absolute",      f().with(345, b"/etc"),                        "absolute"),
        ("file with a target",      f().to("auth.json"),                           "has a target but is no link"),
        ("folder with a size",      Part::dir("d").sized("00000000001\0"),         ""),
    ];
    for (how, part, says) in rows {
        theirs(how, std::slice::from_ref(&part), Refused, says);
        ours_below(how, part, says);
    }
    // Content that the header does not tell of, and the other way round.
    theirs("size beyond the end",   &[f().sized("00000100000\0")],             Refused, "ends too early");
    theirs("size of 64 GiB",        &[f().sized("777777777777")],              Refused, "");
    theirs("size too small",        &[Part::file("x", [b'y'; 1024]).sized("00000000400\0")], Refused, "something hides behind x");
    theirs("padding that speaks",   &[f().holding([&b"hostile"[..], &[0; 9], b"hidden"].concat()).sized("00000000007\0")], Refused, "something hides behind x");
    ours("size too small",          &[Part::file("x", [b'y'; 1024]).sized("00000000400\0")], Elsewhere, "does not agree");
    ours("size too large",          &[f().sized("00000100000\0")],             Elsewhere, "does not agree");
}

/// In our layout a table of contents that says nothing of it stands above the header.
#[track_caller]
fn ours_below(how: &str, part: Part, says: &str) {
    let entry = |toc: &mut serde_json::Value| {
        toc["entries"]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap()
            .as_object_mut()
            .unwrap()
            .shift_remove("linkName");
    };
    let lies = super::forge::Lies { table: &entry, ..super::forge::HONEST };
    super::ours_with(how, &[part], &lies, Elsewhere, says);
}

#[test]
#[rustfmt::skip]
fn extensions_that_contradict_hang_or_hide_are_refused() {
    let f = || Part::file("x", "hostile");
    let pax = |key: &str, value: &str| f().pax(&[(key, value)]);
    let raw = |text: &str| f().raw_pax(text.as_bytes());
    // A tar within a file: whoever believes the smaller of two sizes takes its content for entries.
    let inner = super::forge::tar(&[Part::file("../outside/kept.txt", "taken")]);
    let smuggled = Part::file("x", &inner).sized("00000000000\0").pax(&[("size", &inner.len().to_string())]);
    let rows: Vec<(&str, Part, &str)> = vec![
        ("PAX size, none in the header", smuggled,                               "size"),
        ("PAX size too small",      pax("size", "0"),                            "a PAX size and a tar header disagree"),
        ("PAX size too large",      pax("size", "99"),                           "a PAX size and a tar header disagree"),
        ("PAX size negative",       pax("size", "-7"),                           "size is not a number"),
        ("PAX size with zeros",     pax("size", "007"),                          "size is not a number"),
        ("PAX size overflows",      pax("size", "99999999999999999999999"),      "size is not a number"),
        ("PAX record twice",        f().pax(&[("path", "x"), ("path", "y")]),    "is there twice"),
        ("PAX size twice",          f().pax(&[("size", "7"), ("size", "7")]),    "is there twice"),
        ("PAX attribute",           pax("SCHILY.xattr.user.x", "y"),             "of a kind that is not accepted"),
        ("PAX ACL",                 pax("SCHILY.acl.access", "user::rwx"),       "of a kind that is not accepted"),
        ("PAX sparse",              pax("GNU.sparse.major", "1"),                "of a kind that is not accepted"),
        ("PAX comment",             pax("comment", "y"),                         "of a kind that is not accepted"),
        ("PAX character set",       pax("hdrcharset", "BINARY"),                 "of a kind that is not accepted"),
        ("PAX time no number",      pax("mtime", "now"),                         "mtime is not a number"),
        ("PAX owner no number",     pax("uid", "root"),                          "uid is not a number"),
        ("PAX empty",               raw(""),                                     "an empty PAX header"),
        ("PAX without newline",     raw("9 path=xy"),                            "LENGTH KEY=VALUE"),
        ("PAX length too small",    raw("5 path=x\n"),                           "LENGTH KEY=VALUE"),
        ("PAX length too large",    raw("99 path=x\n"),                          "LENGTH KEY=VALUE"),
        ("PAX length zero",         raw("0 path=x\n"),                           "LENGTH KEY=VALUE"),
        ("PAX length signed",       raw("+10 path=x\n"),                         "LENGTH KEY=VALUE"),
        ("PAX without key",         raw("8 abcd\n"),                             "LENGTH KEY=VALUE"),
        ("PAX with NUL",            raw(&record("path", "x\0/../../y")),         "LENGTH KEY=VALUE"),
        ("PAX not UTF-8",           f().raw_pax(b"11 path=\xff\xfe\n"),          "LENGTH KEY=VALUE"),
        ("PAX hides",               f().after(&Part::of_kind(b'x', "p").holding("10 path=x\n\0hidden").sized("00000000012\0").blocks()), "something hides behind a PAX header"),
        ("PAX leads up",            pax("path", "../outside/kept.txt"),          "`..` component"),
        ("PAX twice in a row",      pax("mtime", "1").pax(&[("mtime", "1")]),    "a PAX header after a PAX header"),
        ("PAX before GNU",          f().pax(&[("path", "x")]).after(&Part::of_kind(b'L', "././@LongLink").holding("y\0").blocks()), "a GNU long name"),
        ("GNU before PAX",          f().after(&Part::of_kind(b'L', "././@LongLink").holding("y\0").blocks()).pax(&[("path", "x")]), "a GNU long name"),
        ("global before it",        f().after(&Part::of_kind(b'g', "pax_global").holding("10 path=y\n").blocks()), "a global PAX header"),
        ("GNU long name",           f().after(&Part::of_kind(b'L', "././@LongLink").holding("../outside/kept.txt\0").blocks()), "a GNU long name"),
        ("64 KiB of PAX and one",   raw(&record("uname", &"y".repeat(65_536))),  "bytes of a PAX header"),
        ("PAX larger than all",     f().after(&Part::of_kind(b'x', "p").sized("77777777777\0").blocks()), "bytes of a PAX header"),
    ];
    for (how, part, says) in rows {
        theirs(how, std::slice::from_ref(&part), Refused, says);
        ours_below(how, part, says);
    }
    theirs("PAX at the end",        &[Part::of_kind(b'x', "p").holding("10 path=x\n")], Refused, "a PAX header without an entry");
    // What Python's tarfile writes.
    let named = [("atime", "1775000000.5"), ("ctime", "1775000000"), ("mtime", "1775000000.25"), ("gname", "x"), ("uname", "y"), ("uid", "1000"), ("gid", "1000"), ("size", "7")];
    theirs("all that is accepted",  &[f().pax(&named)], Accepted, "");
}
