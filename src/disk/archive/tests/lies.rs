//! Tables of contents and footers that do not say what the archive holds.

use serde_json::{Value, json};

use super::*;

/// The archive with another table of contents.
fn with_toc(bytes: &[u8], change: &dyn Fn(&mut Value)) -> Vec<u8> {
    let (body, footer) = bytes.split_at(bytes.len() - 51);
    let toc_offset = gzip::read_footer(footer).unwrap();
    let (body, toc) = body.split_at(usize::try_from(toc_offset).unwrap());
    let mut inflater = gzip::Inflater::new();
    let tail = inflater.frame(toc, 1 << 24).unwrap();
    let end = tail.iter().rposition(|byte| *byte == b'}').unwrap() + 1;
    let mut document: Value = serde_json::from_slice(&tail[512..end]).unwrap();
    change(&mut document);
    with_json(body, &serde_json::to_vec(&document).unwrap())
}

fn with_json(body: &[u8], json: &[u8]) -> Vec<u8> {
    let node = Node::File { size: size(json) };
    let entry = Entry { name: name("stargz.index.json"), node, mode: 0o600, modified: 0 };
    let mut tail = tarball::header(&entry);
    tail.extend(json);
    tarball::pad(&mut tail);
    tail.resize(tail.len() + 1024, 0);
    let mut toc = buffer::Buffer::default();
    gzip::Deflater::new(6).frame(&tail, &mut toc).unwrap();
    [body, toc.filled(), &gzip::footer(size(body))].concat()
}

#[test]
#[rustfmt::skip]
fn a_table_of_contents_that_lies_is_found_out() {
    let entry = |n: usize, key: &'static str, value: Value| move |toc: &mut Value| {
        toc["entries"][n][key] = value.clone();
    };
    let digest = format!("sha256:{}", "0".repeat(64));
    lies(&|_| {},                                          "");
    lies(&|toc| toc["version"] = json!(2),                 "another version");
    lies(&|toc| toc["extra"] = json!(2),                   "breaks off");
    lies(&entry(0, "xattrs", json!({})),                   "breaks off");
    lies(&entry(0, "name", json!("../auth.json")),         "`..`");
    lies(&entry(0, "name", json!("/auth.json")),           "absolute");
    lies(&entry(0, "name", json!("config.toml")),          "same name");
    lies(&entry(0, "name", json!("stargz.index.json")),    "reserved");
    lies(&entry(0, "name", json!("other.json")),           "does not agree");
    lies(&entry(0, "mode", json!(0o700)),                  "does not agree");
    lies(&entry(0, "mode", json!(0o4755)),                 "beyond permissions");
    lies(&entry(0, "uid", json!(1)),                       "an owner");
    lies(&entry(0, "modtime", json!("2026-01-01T00:00:00Z")),  "does not agree");
    lies(&entry(0, "modtime", json!("2026-01-01T00:00:00+01:00")), "a time");
    lies(&entry(0, "size", json!(12)),                     "more bytes");
    lies(&entry(0, "size", json!(14)),                     "fewer bytes");
    lies(&entry(0, "size", json!(0)),                      "content of what has none");
    lies(&entry(0, "size", json!(2 * MIB)),                "another size than one MiB");
    lies(&entry(0, "size", json!(-1)),                     "breaks off");
    lies(&entry(0, "offset", json!(0)),                    "no room for a tar header");
    lies(&entry(0, "offset", json!(u64::MAX)),             "impossible place");
    lies(&entry(0, "offset", json!(1_u64 << 40)),              "");
    lies(&entry(3, "offset", json!(3)),                    "overlap");
    lies(&entry(0, "memberSize", json!(10)),               "not what was written");
    lies(&entry(0, "memberSize", json!(1_u64 << 30)),          "impossible size");
    lies(&entry(0, "memberSize", json!(0)),                "impossible size");
    lies(&entry(0, "memberDigest", json!(digest)),         "not what was written");
    lies(&entry(0, "chunkDigest", json!(digest)),          "is not its chunk's");
    lies(&entry(0, "chunkOffset", json!(1)),               "another size than one MiB");
    lies(&entry(0, "chunkSize", json!(5)),                 "another size than one MiB");
    lies(&entry(1, "type", json!("fifo")),                 "breaks off");
    lies(&entry(1, "type", json!("hardlink")),             "breaks off");
    lies(&entry(1, "type", json!("dir")),                  "without a slash");
    lies(&entry(2, "size", json!(5)),                      "content of what has none");
    lies(&entry(4, "linkName", json!("/etc")),             "does not agree");
    lies(&entry(4, "linkName", json!("")),                 "cannot be stored");
    lies(&entry(3, "linkName", json!("x")),                "target of what is no link");
    lies(&|toc| { toc["entries"].as_array_mut().unwrap().remove(1); }, "does not agree");
    lies(&|toc| { toc["entries"].as_array_mut().unwrap().remove(5); }, "");
    lies(&|toc| toc["entries"] = json!([]),                "does not agree");
    lies(&|toc| { let again = toc["entries"][0].clone(); toc["entries"].as_array_mut().unwrap().push(again); }, "same name");
    lies(&|toc| { let mut chunk = toc["entries"][0].clone(); chunk["type"] = json!("chunk"); toc["entries"].as_array_mut().unwrap().insert(1, chunk); }, "claims to be a file");
}

/// An empty `expected` asks for any fault, but for the change that changes nothing.
#[track_caller]
fn lies(change: &dyn Fn(&mut Value), expected: &str) {
    let (honest, _) = write(&small(), 1);
    let bytes = with_toc(&honest, change);
    let desk = Desk::with(&bytes);
    let faults = desk.faults();
    let changed = bytes != honest;
    assert_eq!(!faults.is_empty(), changed, "{faults:?}");
    assert!(faults.is_empty() || faults.iter().any(|fault| fault.contains(expected)), "{faults:?}");
    assert_eq!(desk.unpack().is_err(), changed);
}

#[test]
fn a_chunk_that_is_missing_doubled_or_out_of_place_is_found_out() {
    let (bytes, _) = write(&tree(&[("big", &noise(3 * MIB + 5, 1))]), 2);
    let change = |change: &dyn Fn(&mut Vec<Value>)| {
        let change = |toc: &mut Value| change(toc["entries"].as_array_mut().unwrap());
        Desk::with(&with_toc(&bytes, &change)).faults().join("; ")
    };
    assert_eq!(change(&|_| {}), "");
    assert!(change(&|lines| drop(lines.remove(3))).contains("lacks a chunk"));
    assert!(change(&|lines| drop(lines.remove(1))).contains("another size than one MiB"));
    assert!(change(&|lines| drop(lines.remove(0))).contains("before its file"));
    assert!(change(&|lines| lines.push(lines[3].clone())).contains("a chunk too many"));
    assert!(change(&|lines| lines[2]["name"] = json!("other")).contains("of another file"));
    let later = |lines: &mut Vec<Value>| {
        lines[1]["offset"] = json!(lines[1]["offset"].as_u64().unwrap() + 1);
    };
    assert!(change(&later).contains("between two chunks"));
}

#[test]
fn a_footer_that_lies_is_found_out() {
    let (bytes, _) = write(&small(), 1);
    let body = &bytes[..bytes.len() - 51];
    let toc = gzip::read_footer(&bytes[body.len()..]).unwrap();
    for offset in [0, 1, toc - 1, toc + 1, size(body), size(&bytes), 1 << 50, u64::MAX] {
        let desk = Desk::with(&[body, &gzip::footer(offset)].concat());
        assert!(desk.open().unwrap_err().is_corrupt(), "{offset}");
    }
}

#[test]
fn a_table_of_contents_that_unpacks_to_very_much_is_refused() {
    let json = [b"{\"version\":1,\"entries\":[".as_slice(), &[b' '; 24 * MIB], b"]}"].concat();
    let desk = Desk::with(&with_json(&[], &json));
    assert!(desk.open().unwrap_err().to_string().contains("more bytes than expected"));
}
