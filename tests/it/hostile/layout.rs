//! Bytes around the entries: tables of contents, footers and gzip members that lie, and what hides
//! between and behind them.

use serde_json::{Value, json};

use super::forge::{
    self, END, Forged, HONEST, Lies, Part, footer, frame, gzip, plain, sealed, tar,
};
use super::{Fate, base, base_and, older_sidecar, ours_with, play, sidecar_for, stage, theirs_of};
use Fate::{Accepted, Elsewhere, Refused};

/// Where the entry of this name is in the table.
fn entry<'a>(toc: &'a mut Value, name: &str) -> &'a mut Value {
    let entries = toc["entries"].as_array_mut().unwrap();
    entries.iter_mut().find(|entry| entry["name"] == name && entry["type"] != "chunk").unwrap()
}

/// Sets a field of the entry of that name.
fn set(name: &'static str, key: &'static str, value: Value) -> impl Fn(&mut Value) {
    move |toc| {
        assert_ne!(entry(toc, name)[key], value, "{name}: {key}");
        entry(toc, name)[key] = value.clone();
    }
}

/// Moves a number of the entry of that name.
fn moved(name: &'static str, key: &'static str, by: i64) -> impl Fn(&mut Value) {
    move |toc| {
        let number = &mut entry(toc, name)[key];
        *number = (number.as_i64().unwrap_or(0) + by).into();
    }
}

#[track_caller]
fn table(how: &str, lie: &dyn Fn(&mut Value), fate: Fate, says: &str) {
    // One of three chunks only where it matters: it takes a while.
    let big = if how.contains("chunk") { (2 << 20) + 5 } else { 5 };
    let parts = [Part::file("big", noise(big)), Part::link("l", "big"), Part::dir("d")];
    ours_with(how, &parts, &Lies { table: lie, ..HONEST }, fate, says);
}

/// What no compressor makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
#[rustfmt::skip]
fn a_table_of_contents_that_does_not_tell_the_truth_is_refused() {
    let zeros = format!("sha256:{}", "0".repeat(64));
    let entries = |change: fn(&mut Vec<Value>)| move |toc: &mut Value| change(toc["entries"].as_array_mut().unwrap());
    table("honest",           &|_| {},                                       Accepted,  "");
    table("version",          &|toc| toc["version"] = json!(2),              Refused,   "another version");
    table("unknown key",      &|toc| toc["more"] = json!(1),                 Refused,   "breaks off");
    table("unknown field",    &set("history.jsonl", "xattrs", json!({})),    Refused,   "breaks off");
    table("name",             &set("history.jsonl", "name", json!("history.json")), Elsewhere, "does not agree");
    table("name leads up",    &set("history.jsonl", "name", json!("../history.json")), Refused, "`..`");
    table("type",             &set("l", "type", json!("reg")),               Refused,   "a target of what is no link");
    table("type unknown",     &set("l", "type", json!("char")),              Refused,   "breaks off");
    table("target",           &set("l", "linkName", json!("../outside")),    Elsewhere, "does not agree");
    table("mode",             &set("history.jsonl", "mode", json!(0o700)),   Elsewhere, "does not agree");
    table("mode setuid",      &set("history.jsonl", "mode", json!(0o4700)),  Refused,   "a mode beyond permissions");
    table("owner",            &set("history.jsonl", "uid", json!(7)),        Refused,   "an owner");
    table("group",            &set("history.jsonl", "gid", json!(7)),        Refused,   "an owner");
    table("time",             &set("history.jsonl", "modtime", json!("2026-03-31T23:33:21Z")), Elsewhere, "does not agree");
    table("time odd",         &set("history.jsonl", "modtime", json!("2026-03-31 23:33:20")), Refused, "a time that cannot be");
    table("size smaller",     &moved("history.jsonl", "size", -1),           Elsewhere, "");
    table("size larger",      &moved("history.jsonl", "size", 1),            Elsewhere, "");
    table("size negative",    &set("history.jsonl", "size", json!(-1)),      Refused,   "breaks off");
    table("size a fraction",  &set("history.jsonl", "size", json!(1.5)),     Refused,   "breaks off");
    table("size a text",      &set("history.jsonl", "size", json!("17")),    Refused,   "breaks off");
    table("size beyond all",  &set("history.jsonl", "size", json!(u64::MAX)), Refused,  "");
    table("size of a folder", &set("d/", "size", json!(1)),                  Refused,   "content of what has none");
    table("one byte later",   &moved("history.jsonl", "offset", 1),          Elsewhere, "");
    table("one byte before",  &moved("history.jsonl", "offset", -1),         Elsewhere, "");
    table("overlapping",      &set("history.jsonl", "offset", json!(30)),    Refused,   "two chunks overlap");
    table("at the start",     &set("auth.json", "offset", json!(0)),         Refused,   "no room for a tar header");
    table("offset beyond",    &set("history.jsonl", "offset", json!(1_u64 << 50)), Refused, "");
    table("offset overflows", &set("history.jsonl", "offset", json!(u64::MAX)), Refused, "");
    table("member smaller",   &moved("history.jsonl", "memberSize", -1),     Elsewhere, "");
    table("member larger",    &moved("history.jsonl", "memberSize", 1),      Elsewhere, "");
    table("member of nothing", &set("history.jsonl", "memberSize", json!(0)), Refused,  "impossible size");
    table("member too large", &set("history.jsonl", "memberSize", json!(1 << 30)), Refused, "impossible size");
    table("member digest",    &set("history.jsonl", "memberDigest", json!(zeros)), Elsewhere, "history.jsonl, chunk 1 of 1 ");
    table("content digest",   &|toc| { let other = format!("sha256:{}", "0".repeat(64)); let it = entry(toc, "history.jsonl"); it["digest"] = json!(other); it["chunkDigest"] = json!(other); }, Elsewhere, "its content does not match its digest");
    table("two digests",      &set("history.jsonl", "digest", json!(zeros)), Refused,   "is not its chunk's");
    table("digest no hex",    &set("history.jsonl", "chunkDigest", json!("sha256:zz")), Refused, "without place or digest");
    table("no digest",        &|toc| { entry(toc, "history.jsonl").as_object_mut().unwrap().shift_remove("memberDigest"); }, Refused, "without place or digest");
    table("chunk size",       &set("big", "chunkSize", json!(1 << 19)),      Refused,   "another size than one MiB");
    table("chunk offset",     &set("big", "chunkOffset", json!(7)),          Refused,   "another size than one MiB");
    table("out of order",     &entries(|all| all.swap(3, 4)),                Refused,   "two chunks overlap");
    table("chunks swapped",   &entries(|all| { let at = all.iter().position(|e| e["type"] == "chunk").unwrap(); all.swap(at, at + 1); }), Refused, "another size than one MiB");
    table("chunk missing",    &entries(|all| { let at = all.iter().position(|e| e["type"] == "chunk").unwrap(); all.remove(at + 1); }), Refused, "lacks a chunk");
    table("chunk alone",      &entries(|all| { let at = all.iter().position(|e| e["type"] == "chunk").unwrap(); let one = all[at].clone(); all.insert(0, one); }), Refused, "a chunk before its file");
    table("entry missing",    &entries(|all| { all.pop(); }),                Elsewhere, "does not agree");
    table("file missing",     &entries(|all| all.retain(|e| e["name"] != "history.jsonl")), Elsewhere, "");
    table("entry too many",   &entries(|all| all.push(json!({"name": "x", "type": "reg", "modtime": "2026-03-31T23:33:20Z", "mode": 384, "uid": 0, "gid": 0}))), Elsewhere, "a tar header between files is missing");
    table("entry twice",      &entries(|all| { let again = all.last().unwrap().clone(); all.push(again); }), Refused, "are the same name");
}

#[track_caller]
fn text(how: &str, lie: &dyn Fn(Vec<u8>) -> Vec<u8>, says: &str) {
    ours_with(how, &[], &Lies { json: lie, ..HONEST }, Refused, says);
}

#[test]
#[rustfmt::skip]
fn a_table_of_contents_that_is_not_strictly_json_is_refused() {
    let replaced = |from: &'static str, to: &'static str| move |json: Vec<u8>| {
        let text = String::from_utf8(json).unwrap();
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    text("key twice",         &replaced("\"size\":", "\"size\":0,\"size\":"), "breaks off");
    text("name twice",        &replaced("{\"name\":\"config.toml\",", "{\"name\":\"../x\",\"name\":\"config.toml\","), "breaks off");
    text("cut",               &|json| json[..json.len() / 2].to_vec(),       "breaks off");
    text("empty",             &|_| Vec::new(),                               "");
    text("nothing but blanks", &|_| vec![b' '; 4096],                        "breaks off");
    text("something behind",  &|json| [&json[..], b"{}"].concat(),           "breaks off");
    text("blanks behind",     &|json| [&json[..], b"  "].concat(),           "breaks off");
    text("blanks in front",   &|json| [b"  ", &json[..]].concat(),           "breaks off");
    text("mark in front",     &|json| [b"\xef\xbb\xbf", &json[..]].concat(), "breaks off");
    text("not UTF-8",         &replaced_bytes(b"config.toml", b"config.t\xffml"), "breaks off");
    text("half a surrogate",  &replaced("config.toml", "config\\ud800toml"), "breaks off");
    text("deep",              &|_| [vec![b'['; 1 << 20], vec![b']'; 1 << 20]].concat(), "breaks off");
    text("deep in a field",   &replaced("{\"version\":1,", "{\"version\":1,\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["), "breaks off");
    text("number too large",  &replaced("\"mode\":384", "\"mode\":38400000000000000000000"), "breaks off");
    text("number as text",    &replaced("\"mode\":384", "\"mode\":\"384\""), "breaks off");
    text("a list",            &|_| b"[]".to_vec(),                           "breaks off");
    text("entries no list",   &|_| b"{\"version\":1,\"entries\":{}}".to_vec(), "breaks off");
}

fn replaced_bytes(from: &'static [u8], to: &'static [u8]) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |json| {
        let at = json.windows(from.len()).position(|window| window == from).unwrap();
        [&json[..at], to, &json[at + from.len()..]].concat()
    }
}

/// An archive of ours changed after it was sealed, under a sidecar that knows its length.
#[track_caller]
fn bytes(how: &str, change: &dyn Fn(Vec<u8>, usize) -> Vec<u8>, fate: Fate, says: &str) {
    let forged = forge::seekable(&base(), &HONEST);
    let digits = &forged.bytes[forged.bytes.len() - 51 + 16..][..16];
    let table = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    let forged = Forged { bytes: change(forged.bytes, table), ..forged };
    let sidecar = sealed(&sidecar_for(&forged));
    play(&format!("ours, {how}"), &stage(&forged.bytes, &sidecar), fate, says);
}

#[test]
#[rustfmt::skip]
fn a_footer_that_points_elsewhere_is_refused() {
    let pointing = |offset: fn(usize, usize) -> usize| move |bytes: Vec<u8>, table: usize| {
        let body = &bytes[..bytes.len() - 51];
        [body, &footer(u64::try_from(offset(table, bytes.len())).unwrap())].concat()
    };
    let patched = |at: usize, with: &'static [u8]| move |mut bytes: Vec<u8>, _: usize| {
        let start = bytes.len() - 51 + at;
        bytes[start..start + with.len()].copy_from_slice(with);
        bytes
    };
    bytes("honest footer",      &|bytes, _| bytes,                           Accepted, "");
    bytes("to the start",       &pointing(|_, _| 0),                         Refused,  "");
    bytes("one before",         &pointing(|table, _| table - 1),             Refused,  "");
    bytes("one behind",         &pointing(|table, _| table + 1),             Refused,  "");
    bytes("to a chunk",         &pointing(|_, _| 200),                       Refused,  "");
    bytes("to itself",          &pointing(|_, length| length - 51),          Refused,  "the footer points behind itself");
    bytes("to the end",         &pointing(|_, length| length),               Refused,  "the footer points behind itself");
    bytes("beyond the end",     &pointing(|_, length| length + 1000),        Refused,  "the footer points behind itself");
    bytes("to nowhere",         &pointing(|_, _| usize::MAX),                Refused,  "the footer points behind itself");
    bytes("upper case digits",  &patched(16, b"00000000000FFFFF"),           Refused,  "");
    bytes("a signed number",    &patched(16, b"+0000000000000ff"),           Refused,  "");
    bytes("no number",          &patched(16, b"zzzzzzzzzzzzzzzz"),           Refused,  "");
    bytes("other magic",        &patched(32, b"STARGX"),                     Refused,  "the footer is damaged or cut off");
    bytes("other length",       &patched(14, b"\x17"),                       Refused,  "the footer is damaged or cut off");
    bytes("no footer",          &|bytes, _| bytes[..bytes.len() - 51].to_vec(), Refused, "the footer is damaged or cut off");
    bytes("half a footer",      &|bytes, _| bytes[..bytes.len() - 20].to_vec(), Refused, "the footer is damaged or cut off");
    bytes("two footers",        &|bytes, _| [&bytes[..], &bytes[bytes.len() - 51..]].concat(), Refused, "");
    bytes("footer alone",       &|bytes, _| bytes[bytes.len() - 51..].to_vec(), Refused, "");
    bytes("footer to zero alone", &|_, _| footer(0),                         Refused,  "");
    bytes("byte behind",        &|bytes, _| [&bytes[..], b"\0"].concat(),    Refused,  "the footer is damaged or cut off");
    bytes("block behind",       &|bytes, _| [&bytes[..], &[0; 512]].concat(), Refused, "the footer is damaged or cut off");
    bytes("member behind",      &|bytes, _| [&bytes[..], &gzip(b"x")].concat(), Refused, "the footer is damaged or cut off");
    bytes("itself behind",      &|bytes, _| [&bytes[..], &bytes[..]].concat(), Refused, "");
    bytes("byte in front",      &|bytes, _| [b"\0", &bytes[..]].concat(),    Refused,  "");
    bytes("nothing",            &|_, _| Vec::new(),                          Refused,  "");
    bytes("cut in the table",   &|bytes, table| [&bytes[..table + 9], &bytes[bytes.len() - 51..]].concat(), Refused, "");
    bytes("cut in a chunk",     &|bytes, _| bytes[..300].to_vec(),           Refused,  "the footer is damaged or cut off");
    // Those of a table that ends otherwise.
    let behind = |how: &str, behind: &[u8], says: &str| ours_with(how, &[], &Lies { behind, ..HONEST }, Refused, says);
    behind("no end marker",     &[],                                         "it is cut off");
    behind("half an end",       &[0; 512],                                   "it is cut off");
    behind("three blocks",      &[0; 1536],                                  "something hides behind it");
    behind("an entry behind",   &[&Part::file("../x", "y").blocks()[..], &END].concat(), "something hides behind it");
}

#[test]
#[rustfmt::skip]
fn what_lies_between_members_is_found() {
    let between = |how: &str, number: usize, garbage: &[u8], says: &str| {
        ours_with(how, &[], &Lies { between: Some((number, garbage)), ..HONEST }, Elsewhere, says);
    };
    for number in [0, 1, 2, 5] {
        between("a byte",           number, b"\0",                  "");
        between("text",             number, b"hostile",             "");
        between("an empty member",  number, &frame(b""),            "an empty gzip member");
        between("a member of zeros", number, &frame(&END),          "");
        between("an entry",         number, &frame(&Part::file("x", "").blocks()), "a tar header between files: ");
        between("a foreign member", number, &gzip(b"a member of another writer"), "");
        between("a large member",   number, &frame(&vec![0; 3 << 20]), "");
    }
}

/// A gzip file of these flags and optional fields.
fn member(flags: u8, fields: &[u8], content: &[u8]) -> Vec<u8> {
    let whole = gzip(content);
    let mut bytes = whole[..10].to_vec();
    bytes[3] = flags;
    [&bytes[..], fields, &whole[10..]].concat()
}

#[test]
#[rustfmt::skip]
fn a_plain_archive_is_one_gzip_stream_of_one_tar() {
    let sound = tar(&base());
    let entries = &sound[..sound.len() - END.len()];
    let hidden = Part::file("../x", "y").blocks();
    let cut = |bytes: Vec<u8>, by: usize| bytes[..bytes.len() - by].to_vec();
    let patched = |at: usize, with: &[u8]| {
        let mut bytes = gzip(&sound);
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let end = gzip(&sound).len();
    let rows: Vec<(&str, Vec<u8>, Fate, &str)> = vec![
        ("honest",                  plain(&base()),                                   Accepted, ""),
        ("file name in gzip",       member(8, b"../../name\0", &sound),               Accepted, ""),
        ("comment in gzip",         member(16, b"\x1b[2J\0", &sound),                 Accepted, ""),
        ("extra field in gzip",     member(4, b"\x04\0XX\0\0", &sound),               Accepted, ""),
        ("extra field too long",    member(4, b"\xff\xff", &sound),                   Refused,  ""),
        ("reserved flags",          patched(3, &[0xe0]),                              Refused,  ""),
        ("time in gzip",            patched(4, &[1, 2, 3, 4]),                        Accepted, ""),
        ("another method",          patched(2, &[7]),                                 Refused,  ""),
        ("CRC",                     patched(end - 8, &[1, 2, 3, 4]),                  Refused,  ""),
        ("length",                  patched(end - 4, &[1, 2, 3, 4]),                  Refused,  ""),
        ("trailer cut",             cut(gzip(&sound), 1),                             Refused,  ""),
        ("half of it",              cut(gzip(&sound), 700),                           Refused,  ""),
        ("byte behind",             [gzip(&sound), b"\0".to_vec()].concat(),          Refused,  "something hides behind the compressed stream"),
        ("second member",           [gzip(&sound), gzip(&hidden)].concat(),           Refused,  "something hides behind the compressed stream"),
        ("empty second member",     [gzip(&sound), gzip(b"")].concat(),               Refused,  "something hides behind the compressed stream"),
        ("tar in two members",      [gzip(entries), gzip(&END)].concat(),             Refused,  "the tar end marker is missing"),
        ("no end marker",           gzip(entries),                                    Refused,  "the tar end marker is missing"),
        ("half an end marker",      gzip(&[entries, &END[..512]].concat()),           Refused,  "half a tar end marker"),
        ("entry behind a zero block", gzip(&[entries, &END[..512], &hidden, &END].concat()), Refused, "follows a zero block"),
        ("entry behind the end",    gzip(&[&sound[..], &hidden, &END].concat()),      Refused,  "something hides behind the end of the tar"),
        ("zeros behind the end",    gzip(&[&sound[..], &[0; 9000]].concat()),         Accepted, ""),
        ("zeros and a byte",        gzip(&[&sound[..], &[0; 9000], b"x"].concat()),   Refused,  "something hides behind the end of the tar"),
        ("two tars",                gzip(&[&sound[..], &sound].concat()),             Refused,  "something hides behind the end of the tar"),
        ("not gzip",                sound.clone(),                                    Refused,  ""),
        ("a database",              [&b"SQLite format 3\0"[..], &[0; 4096]].concat(), Refused,  ""),
        ("our footer at its end",   [gzip(&sound), footer(0)].concat(),               Refused,  ""),
        ("nothing at all",          gzip(&END),                                       Refused,  ""),
    ];
    for (how, archive, fate, says) in rows {
        // Without a login and without files there is nothing wrong with the archive itself.
        if how == "nothing at all" {
            let home = stage(&archive, &older_sidecar());
            assert_eq!(super::run(&home, "use ada@example.com").0, 4, "there is no login in it");
            continue;
        }
        theirs_of(how, &archive, fate, says);
    }
    // The first of our bytes make it ours, and then it has to be so to the end.
    let mixed = [frame(entries), gzip(&END)].concat();
    play("half ours", &stage(&mixed, &older_sidecar()), Refused, "the footer is damaged or cut off");
    let parts = base_and(&[Part::file("x", "y")]);
    let forged = forge::seekable(&parts, &HONEST);
    let home = stage(&forged.bytes, &older_sidecar());
    for line in ["verify NAME", "restore NAME --to copy", "restore NAME --yes", "use ada"] {
        assert_eq!(super::run(&home, &line.replace("NAME", super::NAME)).0, 5, "ours as theirs: {line}");
    }
}
