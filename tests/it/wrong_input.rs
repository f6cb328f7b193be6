//! What happens when what it is given is wrong?
//!
//! Always the same three things: an error that says what and what to do next, the documented exit
//! code, and not a byte changed. [`refused`] asks for all three, of the words for a person and of
//! `--json`. What needs a process of its own (pipes that would block, signals, a full disk) is in
//! [`crate::process`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::home::{Node, TestHome, ids, login, without_checksum};

const NOW: &str = "2026-11-21T10:00:00Z";
const ADA: &str = "2026-11-21-110000-ada@example.com-codex";
const BOB: &str = "2026-11-21-120000-bob@example.com-codex";

/// Ada is signed in and has written a little.
fn ada() -> TestHome {
    TestHome::at(NOW)
        .signed_in("ada@example.com")
        .file(".codex/config.toml", "model = \"gpt-5\"\n")
        .file(".codex/history.jsonl", "{\"text\":\"hello\"}\n")
}

/// A snapshot of Ada at [`NOW`] and one of Bob an hour later, who stays signed in.
fn both() -> TestHome {
    let home = stored(ada(), "--label first");
    stored(home.later("+1h").signed_in("bob@example.com"), "--label second")
}

#[track_caller]
fn stored(home: TestHome, flags: &str) -> TestHome {
    let seen = home.play(&format!("backup {flags}"));
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    home
}

/// Plays a line that must be refused with this code and these words, a hint, and no change.
#[track_caller]
fn refused(home: &TestHome, line: &str, exit: u8, says: &str) {
    let before = everything(home);
    let seen = home.play(line);
    assert_eq!(seen.exit, exit, "{line}\n{}", seen.screen);
    let error = seen.screen.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(seen.screen.contains(says), "{line}: {says:?} is not in\n{}", seen.screen);
    assert!(!error.is_empty() && !error.contains("os error"), "{line}\n{}", seen.screen);
    // The parser's own errors show the usage instead.
    let helps = ["hint: ", "Usage: ", "For more information"];
    assert!(helps.iter().any(|help| seen.screen.contains(help)), "{line}\n{}", seen.screen);
    assert_eq!(seen.out, "", "{line}: a refusal is no result");
    let error = &home.json(line)["error"];
    assert_eq!(error["code"], exit, "{line}: {error}");
    assert!(error["hint"].is_string(), "{line}: {error}");
    assert_eq!(everything(home), before, "{line} changed something");
}

/// All of the user's folder, but for the lock and the empty folders of the manager home.
fn everything(home: &TestHome) -> (BTreeMap<String, Node>, BTreeMap<String, Vec<u8>>) {
    let mut outside = home.tree("");
    outside.retain(|path, _| !Path::new(path).starts_with(".codex-manager") && !path.is_empty());
    let files = home.files();
    let kept = files.lines().map(str::to_owned).filter(|name| {
        name != "lock" && home.manager(name).symlink_metadata().is_ok_and(|facts| facts.is_file())
    });
    let kept = kept.map(|name| {
        let bytes = home.read(&format!(".codex-manager/{name}"));
        (name, bytes)
    });
    (outside, kept.collect())
}

/// Rewrites a file.
#[track_caller]
fn change(path: &Path, how: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    fs::write(path, how(fs::read(path).unwrap())).unwrap();
}

fn swapped(from: &'static str, to: &str) -> impl Fn(Vec<u8>) -> Vec<u8> {
    let to = to.to_owned();
    move |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text.replacen(from, &to, 1).into_bytes()
    }
}

fn sidecar(home: &TestHome, name: &str) -> PathBuf {
    home.manager(&format!("backups/{name}.metadata.json"))
}

fn archive(home: &TestHome, name: &str) -> PathBuf {
    home.manager(&format!("backups/{name}.tar.gz"))
}

// The Codex home.

#[test]
#[rustfmt::skip]
fn without_a_codex_home_there_is_nothing_to_store_or_to_switch() {
    let home = TestHome::at(NOW);
    refused(&home, "backup",             4, "there is no Codex home at ~/.codex");
    refused(&home, "backup --auth-only", 4, "there is no Codex home");
    refused(&home, "backup --no-login",  4, "there is no Codex home");
    refused(&home, "use ada",            4, "no account is called \"ada\"");
    refused(&home, "restore",            4, "no snapshot is stored yet");
    refused(&home, "show",               4, "no snapshot is stored yet");
    assert!(home.tree(".codex").is_empty(), "no home was made up");
}

#[test]
#[rustfmt::skip]
fn without_a_login_there_is_no_account_to_store() {
    let home = TestHome::at(NOW).file(".codex/config.toml", "");
    refused(&home, "backup",             4, "nobody is signed in");
    refused(&home, "backup --auth-only", 4, "nobody is signed in");
    assert_eq!(stored(home, "--no-login").play("verify --all").exit, 0);
}

#[test]
fn a_login_that_is_torn_json_is_refused_and_never_quoted() {
    let home = ada().file(".codex/auth.json", "{\"tokens\": {\"refresh_token\": \"made-up-secret");
    refused(&home, "backup", 4, "auth.json is not JSON (line 1, column 44)");
}

#[test]
fn a_login_that_is_empty_is_refused() {
    refused(&ada().file(".codex/auth.json", ""), "backup", 4, "is not JSON (line 1, column 0)");
}

#[test]
fn a_login_that_cannot_be_read_does_not_stop_the_rest_from_being_stored() {
    let home = stored(ada().file(".codex/auth.json", "[]"), "--no-login");
    let seen = home.play("show --files");
    assert!(!seen.screen.contains("auth.json  "), "{}", seen.screen);
    assert!(seen.screen.contains("history.jsonl  17 B"), "{}", seen.screen);
}

#[test]
#[rustfmt::skip]
fn a_token_that_is_none_names_nobody() {
    check("",                          "");
    check("made-up-secret",            "its id token cannot be decoded");
    check("made-up.secret",            "its id token cannot be decoded");
    check("made-up.secret.really",     "its id token cannot be decoded");
    check("e30.bm90IGpzb24.made-up",   "its id token cannot be decoded");  // "not json"
    check("e30.e30.made-up",           "");                                // no claims at all

    #[track_caller]
    fn check(token: &str, says: &str) {
        let (user, workspace) = ids("ada@example.com");
        let text = login("ada@example.com", &user, &workspace, "rt", NOW);
        let mut file: Value = serde_json::from_str(&text).unwrap();
        file["tokens"]["id_token"] = token.into();
        file["tokens"]["access_token"] = token.into();
        let home = ada().file(".codex/auth.json", file.to_string());
        refused(&home, "backup", 4, &format!("auth.json names no account: {says}"));
    }
}

#[test]
fn a_login_that_mixes_two_accounts_is_stored_as_neither() {
    let (user, workspace) = ids("ada@example.com");
    let text = login("ada@example.com", &user, &workspace, "rt", NOW);
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file["tokens"]["account_id"] = "acct-bob".into();
    let home = ada().file(".codex/auth.json", file.to_string());
    let says = "its workspace is acct-bob, its tokens belong to acct-ada-example-com";
    refused(&home, "backup", 5, says);
    refused(&home, "backup --auth-only", 5, says);
    let home = stored(home, "--no-login");
    assert!(!home.play("show --files").screen.contains("auth.json  "));
}

#[test]
#[cfg(target_os = "linux")] // Elsewhere the file system refuses most of these names itself.
fn names_that_no_archive_can_hold_are_all_named_before_anything_is_stored() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let names: [&[u8]; 5] = [b"caf\xe9", b"red\x1b[31m", b"history.JSONL", b"end. ", b"a\\b"];
    let home = ada();
    for name in names {
        fs::write(home.codex("").join(OsStr::from_bytes(name)), "x").unwrap();
    }
    refused(&home, "backup", 1, "5 files cannot be stored: ");
    let told = home.play("backup").screen;
    for says in [
        "its name is not UTF-8",
        "red\\u{1b}[31m (its name has a control",
        "(another name differs from it only in case",
        "end.  (a component ends in a dot or a space)",
        "a\\b (",
    ] {
        assert!(told.contains(says), "{says:?} is not in {told}");
    }
    let seen = home.play("backup --skip-unreadable");
    assert_eq!(seen.exit, 1, "a snapshot with gaps is done in part");
    assert_eq!(seen.screen.matches(" is not in the snapshot: ").count(), 5, "{}", seen.screen);
    assert_eq!(home.play("verify --all").exit, 0, "what it holds is sound");
    assert_eq!(home.play("restore --to copy").exit, 0);
    assert_eq!(home.read("copy/auth.json"), home.read(".codex/auth.json"));
}

#[test]
#[cfg(unix)]
fn pipes_sockets_and_loops_are_neither_waited_for_nor_followed() {
    let home = ada()
        .file(".codex/deep/file", "x")
        .link(".codex/loop", "loop")
        .link(".codex/deep/up", "..")
        .link(".codex/nowhere", "missing")
        .link(".codex/deep/away", "/etc/hosts");
    fifo(&home.codex("pipe"));
    fifo(&home.codex("deep/pipe"));
    let socket = std::os::unix::net::UnixListener::bind(home.codex("socket")).unwrap();
    let before = home.tree(".codex");
    let report = home.json("backup");
    drop(socket);
    assert_eq!(home.tree(".codex"), before);
    let left_out: Vec<&str> = report["data"]["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["path"].as_str())
        .collect();
    assert_eq!(left_out, ["deep/pipe", "pipe", "socket"]);
    let restored = home.play("restore --to copy");
    assert!(restored.screen.contains("deep/away was left out"), "{}", restored.screen);
    let links = ["loop", "deep/up", "nowhere"].map(|name| home.path("copy").join(name));
    let targets = links.map(|link| fs::read_link(link).unwrap());
    assert_eq!(targets, ["loop", "..", "missing"].map(PathBuf::from));
}

/// A named pipe.
#[cfg(unix)]
pub(crate) fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}

#[test]
#[rustfmt::skip]
fn a_manager_home_inside_the_codex_home_is_refused_however_it_is_named() {
    let home = ada();
    for line in ["backup", "list", "restore", "recommend", "config set lean true"] {
        let says = "the manager home ~/.codex/mine lies inside the Codex home ~/.codex";
        refused(&home, &format!("{line} --home .codex/mine"),              4, says);
        refused(&home, &format!("{line} --home missing/../.codex/mine"),   4, says);
        refused(&home, &format!("{line} --home .codex/x/../mine"),         4, says);
    }
    refused(&home, "backup --home .codex",                4, "lies inside the Codex home ~/.codex");
    refused(&home, "backup --codex-home .",               4, "lies inside the Codex home ~");
    refused(&home, "backup --codex-home .codex-manager",  4, "lies inside the Codex home");
    refused(&home, "config set codex_home .",             4, "lies inside the Codex home ~");
}

#[test]
#[cfg(unix)]
fn a_link_does_not_hide_where_the_manager_home_is() {
    let home = ada().link("short", ".codex");
    refused(&home, "backup --home short/mine", 4, "the manager home ~/.codex/mine lies inside");
    refused(&home, "restore --to short/copy", 4, "~/.codex/copy lies inside the Codex home");
}

// The status text.

#[test]
#[rustfmt::skip]
fn a_status_text_that_says_nothing_is_no_status() {
    check("empty",          b"",                                       "the status text is empty");
    check("blank",          b" \n\t\r\n",                              "");
    check("binary",         b"\x00\x01\xfe\xff\x00Account: x@y.z",     "the status text is binary data");
    check("no panel",       b"Good morning!\n",                        "the text shows no status panel");
    check("odd account",    b"Account: ../../x@x.com\nWeekly limit: 1% left (resets 10:02 on 26 Nov)\n",
          "the status text shows an account whose address is none");
    check("other account",  b"Account: bob@example.com\nWeekly limit: 12% left (resets 10:02 on 26 Nov)\n",
          "the status text is about bob@example.com, but ada@example.com is signed in");

    #[track_caller]
    fn check(name: &str, text: &[u8], says: &str) {
        let home = ada().file("status.txt", text).variable("NAME", name);
        refused(&home, "backup --status-file status.txt", 4, says);
        if name != "other account" {
            refused(&home, "status --status-file status.txt", 4, says);
        }
        let home = home.typed(text);
        assert_eq!(home.play("backup --status-file -").exit, 4, "{name}");
    }
}

#[test]
#[rustfmt::skip]
fn a_status_source_that_cannot_be_read_is_an_error() {
    let home = ada().file("big.txt", vec![b'a'; 5 << 20]);
    refused(&home, "backup --status-file missing.txt",      4, "cannot read ~/missing.txt");
    refused(&home, "backup --status-file .codex",           4, "it is a folder");
    refused(&home, "backup --status-file big.txt",          4, "larger than");
    refused(&home, "backup --status-command 'exit 3'",      4, "the status command failed");
    refused(&home, "backup --status-command 'no-such-cmd'", 4, "the status command failed");
}

#[test]
#[cfg(unix)]
fn a_status_command_that_leaves_its_output_open_is_not_waited_for() {
    let began = std::time::Instant::now();
    let home = ada();
    let seen = home.play("backup --status-command 'sleep 30 & echo Account:'");
    assert_eq!(seen.exit, 4, "{}", seen.screen);
    assert!(seen.screen.contains("keeps its output open"), "{}", seen.screen);
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

// The store.

/// One way to spoil Ada's snapshot, and what comes of it.
struct Spoiled {
    how: &'static str,
    /// What `verify --all` says, where it finds anything.
    verify: Option<&'static str>,
    /// How a restore of it ends.
    restore: u8,
}

/// Whatever is wrong with one snapshot, the other one is listed, restored and signed in.
#[track_caller]
fn check_spoiled(home: &TestHome, spoiled: &Spoiled) {
    let Spoiled { how, verify, restore } = spoiled;
    for line in ["list", "cooldown", "recommend --why", "show second", "verify second"] {
        let seen = home.play(line);
        assert_eq!(seen.exit, 0, "{how}: {line}\n{}", seen.screen);
        assert!(seen.out.contains("bob@example.com"), "{how}: {line}\n{}", seen.screen);
    }
    let seen = home.play("verify --all");
    let is_sound = |line: &str| line.starts_with("ok ") && line.ends_with(BOB);
    assert!(seen.out.lines().any(is_sound), "{how}\n{}", seen.screen);
    match verify {
        Some(says) => {
            assert_eq!(seen.exit, 5, "{how}\n{}", seen.screen);
            assert!(seen.out.contains(says), "{how}: {says:?} is not in\n{}", seen.screen);
        }
        None => assert_eq!(seen.exit, 0, "{how}\n{}", seen.screen),
    }
    let before = everything(home);
    let seen = home.play(&format!("restore {ADA} --to copy --login snapshot"));
    assert_eq!(seen.exit, *restore, "{how}\n{}", seen.screen);
    if *restore == 0 {
        let text = String::from_utf8(home.read("copy/auth.json")).unwrap();
        assert!(text.contains("rt_ada-example-com"), "{how}: not Ada's login");
    } else {
        assert!(seen.screen.contains("hint: "), "{how}\n{}", seen.screen);
        assert_eq!(everything(home), before, "{how}");
    }
    let seen = home.play("restore second --to other");
    assert_eq!(seen.exit, 0, "{how}\n{}", seen.screen);
    fs::remove_file(home.codex("auth.json")).unwrap();
    let seen = home.play("use bob");
    assert_eq!(seen.exit, 0, "{how}\n{}", seen.screen);
}

/// What spoils a file.
type Spoil<'a> = &'a dyn Fn(Vec<u8>) -> Vec<u8>;

#[test]
#[rustfmt::skip]
fn a_spoiled_sidecar_hides_nothing_and_is_never_believed() {
    let big = |bytes: Vec<u8>| {
        let text = without_checksum(&bytes);
        let text = text.trim_end().strip_suffix('}').unwrap();
        format!("{text},\"note2\":\"{}\"}}", "a".repeat(2 << 20)).into_bytes()
    };
    let line = |text: &'static str, new: &'static str| {
        move |bytes: Vec<u8>| swapped(text, new)(without_checksum(&bytes).into())
    };
    let contradicts = Some("its sidecar contradicts the copy inside the archive: ");
    // What the archive itself says is shown where the sidecar cannot be read.
    check("truncated",      &|mut b| { b.truncate(300); b },                    Some("is not JSON"), 5);
    check("empty",          &|_| Vec::new(),                                    Some("is not JSON"), 5);
    check("binary",         &|_| vec![0xff, 0, 0xfe],                           Some("is not JSON"), 5);
    check("no object",      &|_| b"[1]".to_vec(),                               Some("is not the sidecar"), 5);
    check("2 MiB",          &big,                                               Some("larger than 1048576 bytes"), 5);
    check("key twice",      &line("\"kind\":", "\"kind\": \"auth\", \"kind\":"), Some("a key stands twice"), 5);
    check("wrong type",     &line("\"email\": \"ada@example.com\"", "\"email\": 7"), Some("does not fit"), 5);
    check("odd e-mail",     &line("\"ada@example.com\"", "\"../../x@example.com\""), Some("does not fit"), 5);
    check("other schema",   &line("codex-manager/snapshot", "somebody/else"),   Some("is not the sidecar"), 5);
    check("other digest",   &line("\"toc_digest\": \"sha256:", "\"toc_digest\": \"sha256:00"), Some("does not fit"), 5);
    check("edited",         &swapped("\"first\"", "\"last\""),                  Some("its sidecar does not match its checksum"), 5);
    // A newer version is read as far as it is understood.
    check("newer",          &line("\"schema_version\": 1", "\"schema_version\": 2"), None,   0);
    // A label may change.
    check("other e-mail",   &line("ada@example.com", "eve@example.com"),        None,        0);
    // Lies.
    check("other login",    &line("\"last_refresh\": \"2026", "\"last_refresh\": \"2025"), contradicts, 5);
    check("other account",  &line("user-ada-example-com", "user-eve"),          contradicts, 5);
    check("other kind",     &line("\"full\"", "\"state\""),                     contradicts, 5);
    check("other host",     &line("\"desk\"", "\"lap\""),                       Some("archive: host"), 5);
    check("other files",    &line("\"config.toml\"", "\"conf.toml\""),          Some("archive: captured_files"), 5);
    check("other count",    &line("\"files\": 6", "\"files\": 7"),              Some("its sidecar says # files of 2477 bytes, it holds 6"), 5);
    // The name of the archive is what it was called then; nobody goes where it points.
    check("other archive",  &line("\"name\": \"2026", "\"name\": \"2025"),    None,        0);
    check("path",           &line("\"name\": \"2026", "\"name\": \"../../2026"), None,     0);
    check("other size",     &line("\"bytes\": ", "\"bytes\": 9"), Some("its sidecar says #"), 5);

    #[track_caller]
    fn check(how: &'static str, spoil: Spoil<'_>, verify: Option<&'static str>, restore: u8) {
        let home = both();
        change(&sidecar(&home, ADA), spoil);
        check_spoiled(&home, &Spoiled { how, verify, restore });
    }
}

#[test]
#[rustfmt::skip]
fn a_spoiled_archive_hides_nothing_and_is_never_restored() {
    check("truncated",        &|_, mut bytes| { bytes.truncate(bytes.len() - 7); bytes },   "its sidecar says");
    check("longer",           &|_, mut bytes| { bytes.push(0); bytes },                     "its sidecar says");
    check("empty",            &|_, _| Vec::new(),                                           "has 0 bytes");
    check("flipped at 100",   &|_, mut bytes| { bytes[100] ^= 4; bytes },                   "auth.json");
    check("flipped at 1",     &|_, mut bytes| { bytes[1] ^= 1; bytes },                     "");
    check("flipped last",     &|_, mut bytes| { *bytes.last_mut().unwrap() ^= 1; bytes },   "");
    check("zeroes",           &|_, bytes| vec![0; bytes.len()],                             "");

    #[track_caller]
    fn check(how: &'static str, spoil: &dyn Fn(&TestHome, Vec<u8>) -> Vec<u8>, verify: &'static str) {
        let home = both();
        change(&archive(&home, ADA), |bytes| spoil(&home, bytes));
        check_spoiled(&home, &Spoiled { how, verify: Some(verify), restore: 5 });
    }
}

#[test]
fn another_accounts_archive_under_a_kept_sidecar_is_never_restored() {
    let home = both();
    fs::copy(archive(&home, BOB), archive(&home, ADA)).unwrap();
    // A liar who thinks of the size, too.
    let size = |name| fs::metadata(archive(&home, name)).unwrap().len();
    let bytes = format!("\"bytes\": {}", size(BOB));
    let text = without_checksum(&fs::read(sidecar(&home, ADA)).unwrap());
    let (before, rest) = text.split_once("\"bytes\": ").unwrap();
    let (_, after) = rest.split_once(',').unwrap();
    fs::write(sidecar(&home, ADA), [before, &bytes, ",", after].concat()).unwrap();
    let spoiled =
        Spoiled { how: "replaced", verify: Some("its table of contents is not"), restore: 5 };
    check_spoiled(&home, &spoiled);
}

#[test]
fn the_newest_login_being_damaged_is_told_and_no_older_one_takes_its_place() {
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-11-21T12:00:00Z";
    let again =
        both().later("+1h").signed_in_as("ada@example.com", &user, &workspace, "rt_again", at);
    let home = stored(again, "--label third").later("+1h").signed_in("bob@example.com");
    let third = "2026-11-21-130000-ada@example.com-codex";
    let told: Value = serde_json::from_slice(&fs::read(sidecar(&home, third)).unwrap()).unwrap();
    let offset = told["archive"]["login"]["offset"].as_u64().unwrap();
    change(&archive(&home, third), |mut bytes| {
        bytes[usize::try_from(offset).unwrap() + 100] ^= 4;
        bytes
    });
    refused(&home, "use ada", 5, third);
}

#[test]
fn a_ledger_with_garbage_in_it_is_read_around_and_kept() {
    let home = both();
    let garbage = b"garbage\n{\"schema_version\":1}\n\xff\xfe\n{\"torn".as_slice();
    let ledger = home.manager("ledger.jsonl");
    let good = fs::read(&ledger).unwrap();
    change(&ledger, |bytes| [&bytes, garbage].concat());
    let seen = home.play("cooldown");
    assert_eq!(seen.exit, 0);
    assert_eq!(seen.screen.matches("ledger.jsonl, line ").count(), 4, "{}", seen.screen);
    assert!(seen.out.contains("ada@example.com") && seen.out.contains("bob@example.com"));
    let seen = home.play("cooldown set ada --until +3d");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert!(
        seen.screen.contains(
            "ended in half a line, which was moved to ~/.codex-manager/ledger.jsonl.torn"
        ),
        "{}",
        seen.screen
    );
    let after = fs::read(&ledger).unwrap();
    let whole = &garbage[..garbage.len() - b"{\"torn".len()];
    assert!(after.starts_with(&[&good, whole].concat()), "whole lines stay, odd ones too");
    assert!(home.play("cooldown").out.contains("Tue 24 Nov"), "the new line counts");
    assert_eq!(home.read(".codex-manager/ledger.jsonl.torn"), b"{\"torn", "nothing is thrown away");
    change(&ledger, |bytes| [&bytes, b"{\"again".as_slice()].concat());
    assert!(home.play("cooldown clear ada").screen.contains("ledger.jsonl.torn-2\n"));
    assert_eq!(home.read(".codex-manager/ledger.jsonl.torn-2"), b"{\"again");
    // A whole entry that only lacks its newline is none of that.
    change(&ledger, |bytes| bytes.trim_ascii_end().to_vec());
    let seen = home.play("cooldown set ada --until +2d");
    assert!(!seen.screen.contains("half a line"), "{}", seen.screen);
    assert_eq!(fs::read(&ledger).unwrap().iter().filter(|byte| **byte == b'\n').count(), {
        let lines = after.iter().filter(|byte| **byte == b'\n').count();
        lines + 2
    });
}

#[test]
fn a_broken_inventory_is_told_kept_and_made_anew() {
    let home = both()
        .file(".codex-manager/inventory.json", "{\"records\": [")
        .legacy_auth("21apr_zoe@example.com_auth.json", "2026-04-14T17:55:00Z");
    for line in ["list", "cooldown", "recommend"] {
        let seen = home.play(line);
        assert_eq!(seen.exit, 0, "{}", seen.screen);
        assert!(seen.screen.contains("inventory.json is not JSON at line 1"), "{}", seen.screen);
    }
    let seen = home.play("normalize legacy --dry-run");
    assert!(seen.screen.contains("it would be moved aside"), "{}", seen.screen);
    assert_eq!(home.read(".codex-manager/inventory.json"), b"{\"records\": [");
    let seen = home.play("normalize legacy");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert!(
        seen.screen.contains("it is now ~/.codex-manager/inventory.json.broken"),
        "{}",
        seen.screen
    );
    assert_eq!(home.read(".codex-manager/inventory.json.broken"), b"{\"records\": [");
    let records = home.json("normalize legacy")["data"]["records"].clone();
    assert_eq!(records[0]["email"], "zoe@example.com");
}

// The command line.

#[test]
#[rustfmt::skip]
fn nonsense_on_the_command_line_is_refused() {
    let home = both().file("empty-file", "");
    let rows = [
        ("bogus",                                                "unrecognized subcommand 'bogus'"),
        ("list --bogus",                                         "unexpected argument '--bogus'"),
        ("list surplus",                                         "unexpected argument 'surplus'"),
        ("backup --auth-only --no-login",                        "cannot be used with"),
        ("backup --auth-only --lean",                            "cannot be used with"),
        ("backup --status-file a --without-status-check",        "cannot be used with"),
        ("backup --status-file a --status-command b",            "cannot be used with"),
        ("backup --reference-year 2026",                         "--status-file"),
        ("backup --status-file a --reference-year 26",           "1970..=9999"),
        ("backup --label ''",                                    "--label needs one line of text"),
        ("backup --label 'a\u{7}b'",                             "--label needs one line of text"),
        ("backup --note ' '",                                    "--note needs one line of text"),
        ("backup --exclude '[a'",                                "is no pattern"),
        ("restore --login nope",                                 "freshest, keep, snapshot"),
        ("restore --accept-stale-login",                         "means nothing without --login snapshot"),
        ("restore first --account ada",                          "cannot be used with"),
        ("restore first",                                        "pass --yes"),
        ("restore nothing",                                      "no snapshot is called \"nothing\""),
        ("show ''",                                              "no snapshot is called \"\""),
        ("show ../../etc/no-such-file",                                "no snapshot is called"),
        ("show .codex/auth.json",                                "and that file is no archive"),
        ("restore .codex/auth.json --to copy",                   "and that file is no archive"),
        ("verify ./empty-file",                                  "and that file is no archive"),
        ("show first --account ada",                             "cannot be used with"),
        ("verify first --all",                                   "cannot be used with"),
        ("use",                                                  "ACCOUNT"),
        ("use ''",                                               "no account is called \"\""),
        ("use 'a\u{1b}[31mb'",                                   "no account is called"),
        ("cooldown set ada",                                     "--until"),
        ("cooldown set ada --until soon",                        "`soon` is not a time"),
        ("cooldown set ada --until 2026-01-01",                  "has passed already"),
        ("cooldown --at +1h set ada --until +1d",                "cannot be used with"),
        ("cooldown --at 31feb",                                  "`31feb` is not a time"),
        ("cooldown --at ''",                                     "is not a time"),
        ("recommend --at 25:61",                                 "`25:61` is not a time"),
        ("recommend --at 2026-02-29",                            "is not a time"),
        ("recommend --at +99999999999999999999d",                "is not a time"),
        ("list --tz Mars/Base",                                  "IANA time zone"),
        ("list --tz ''",                                         "IANA time zone"),
        ("list --color sometimes",                               "auto, always, never"),
        ("list --lock-timeout soon",                             "--lock-timeout"),
        ("backup --lock-timeout 18446744073709551615",           "between 0 and 86400"),
        ("normalize missing",                                    "missing is no folder"),
        ("normalize --session-duration-hours NaN",               "number of hours"),
        ("normalize --session-duration-hours 0",                 "number of hours"),
        ("completions klingon",                                  "bash"),
        ("config get nonsense",                                  "there is no setting \"nonsense\""),
        ("config unset nonsense",                                "there is no setting \"nonsense\""),
        ("config set timezone Mars",                             "IANA time zone"),
        ("config set exclude '[['",                              "glob patterns"),
        ("config set undo.keep_days -5",                         "between 0 and 36500"),
        ("config set lock_timeout lots",                         "between 0 and 86400"),
        ("config set codex_home ''",                             "a path is expected"),
    ];
    for (line, says) in rows {
        refused(&home, line, 4, says);
    }
}

#[test]
#[rustfmt::skip]
fn a_refused_command_line_is_one_document_with_the_command_the_whole_message_and_a_hint() {
    check("backup --bogus",             "codex-manager.backup/1", "unexpected argument '--bogus' found",
          "see `codex-manager backup --help`");
    check("ls --account",               "codex-manager.list/1",   "a value is required for '--account <ACCOUNT>' but none was supplied",
          "see `codex-manager list --help`");
    check("--tz UTC restore --login no", "codex-manager.restore/1", "invalid value 'no' for '--login <WHICH>' [possible values: freshest, keep, snapshot]",
          "see `codex-manager restore --help`");
    check("cooldown set 'a\n\nb'",      "codex-manager.cooldown/1", "the following required arguments were not provided: --until <TIME>",
          "see `codex-manager cooldown --help`");
    check("list 'a\n\nb'",              "codex-manager.list/1",   "unexpected argument 'a b' found",
          "see `codex-manager list --help`");
    check("restor",                     "codex-manager/1",        "unrecognized subcommand 'restor'",
          "some similar subcommands exist: 'history', 'restore'; see `codex-manager --help`");
    check("config",                     "codex-manager.config/1", "'codex-manager config' requires a subcommand but one was not provided [subcommands: get, set, unset, list, path]",
          "see `codex-manager config --help`");

    #[track_caller]
    fn check(line: &str, schema: &str, message: &str, hint: &str) {
        let home = TestHome::at(NOW);
        let seen = home.json(line);
        assert_eq!(seen["schema"], schema, "{line}");
        assert_eq!(seen["error"]["message"], message, "{line}");
        assert_eq!(seen["error"]["hint"], hint, "{line}");
        assert_eq!((&seen["error"]["code"], &seen["error"]["kind"]), (&4.into(), &"bad-input".into()));
        assert!(!home.manager("").exists());
    }
}

#[test]
#[rustfmt::skip]
fn a_word_that_fits_two_is_answered_with_both() {
    let home = stored(both().later("+1h").signed_in("ada@example.org"), "");
    let accounts = "ada@example.com, ada@example.org";
    refused(&home, "use ada",                       2, accounts);
    refused(&home, "list --account ada",            2, accounts);
    refused(&home, "restore --account ADA@",        2, accounts);
    refused(&home, "cooldown set ada --until +1d",  2, accounts);
    refused(&home, "show ada",                      2, "fits 2 snapshots: ");
    refused(&home, "restore ada --to copy",         2, "2026-11-21-110000-ada@example.com-codex");
    refused(&home, "verify example",                2, "fits 3 snapshots: ");
}

#[test]
#[rustfmt::skip]
fn a_restore_only_goes_where_nothing_is() {
    let home = both().file("full/file", "mine").file("file", "mine");
    refused(&home, "restore first --to full",                      4, "~/full is there already");
    refused(&home, "restore first --to file",                      4, "~/file is there already");
    refused(&home, "restore first --to .",                         4, "~ is there already");
    refused(&home, "restore first --to full/..",                   4, "~ is there already");
    refused(&home, "restore first --to .codex",                    4, "lies inside the Codex home");
    refused(&home, "restore first --to .codex/new",                4, "lies inside the Codex home");
    refused(&home, "restore first --to missing/../.codex/new",     4, "lies inside the Codex home");
    refused(&home, "restore first --to .codex-manager",            4, "lies inside the manager home");
    refused(&home, "restore first --to .codex-manager/backups/x",  4, "lies inside the manager home");
    assert_eq!(home.play("restore first --to new/deep").exit, 0);
}

#[test]
#[cfg(unix)]
fn a_restore_does_not_go_through_a_link() {
    let home = both().file("empty/x", "").link("dangling", "missing").link("link", "empty");
    fs::remove_file(home.path("empty/x")).unwrap();
    refused(&home, "restore first --to dangling", 4, "~/dangling is there already");
    refused(&home, "restore first --to link", 4, "~/link is there already");
}

#[test]
#[rustfmt::skip]
fn a_broken_configuration_is_named_by_its_line_and_stops_everything_but_its_repair() {
    check("timezone = [made-up-secret",           "line 1, column 27");
    check("timezone = [made-up-secret\n\n",       "line 1, column 27");
    check("lean = true\nlean = false\n",          "line 2, column 1");
    check("lean = true\n\ntimezone = 5\n",        "line 3, column 12");
    check("[aliases]\nw = 3\n",                   "line 2, column 5");
    check("undo = 1\n",                           "`undo` in config.toml is not a table");
    check("\u{feff}\u{0}",                        "line 1");

    #[track_caller]
    fn check(text: &str, says: &str) {
        let config = ".codex-manager/config.toml";
        let home = both().file(config, text).tokens_in(config);
        for line in ["list", "backup", "use ada", "cooldown", "config list", "config get lean"] {
            refused(&home, line, 4, says);
        }
        let seen = home.play("config path");
        assert_eq!((seen.exit, seen.out.trim_end()), (0, "~/.codex-manager/config.toml"));
    }
}

#[test]
fn a_value_that_does_not_fit_is_mended_by_setting_it() {
    let home = both().file(".codex-manager/config.toml", "# mine\ntimezone = 5\n");
    assert_eq!(home.play("config set timezone UTC").exit, 0);
    assert_eq!(home.read(".codex-manager/config.toml"), b"# mine\ntimezone = \"UTC\"\n");
    assert_eq!(home.play("list").exit, 0);
    let home = home.file(".codex-manager/config.toml", b"lean = \xff");
    refused(&home, "list", 4, "config.toml is not UTF-8");
    refused(&home, "config set lean true", 4, "config.toml is not UTF-8");
}

#[test]
fn a_file_that_is_no_archive_is_no_snapshot() {
    let home = both().file("letter.txt", "dear").file("letter.tar.gz", "dear");
    refused(&home, "show ./letter.txt", 4, "and that file is no archive");
    refused(&home, "show letter.tar.gz", 4, "and that file is no archive");
    refused(&home, "restore letter.tar.gz --to copy", 4, "and that file is no archive");
}
