use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::codex::process::{Evidence, Holder, Role, Unseen};
use crate::snapshot::backup;
use crate::snapshot::logins::Live;

const LOGIN: &[u8] = include_bytes!("../../testdata/auth/chatgpt.json");

/// Both homes in a folder of the test's own, and what the checks are told besides.
struct Lab {
    folder: tempfile::TempDir,
    root: PathBuf,
    store: Store,
    home: CodexHome,
    faults: Vec<(String, Option<String>)>,
    program: Program,
    holders: Holders,
}

impl Lab {
    /// Both homes are there, as private as they should be, and somebody is signed in.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let lab = Self {
            store: Store::at(root.join("manager")),
            home: CodexHome::at(root.join("codex")),
            folder,
            root,
            faults: Vec::new(),
            program: Program::Says("codex-cli 0.169.0".to_owned()),
            holders: Holders::default(),
        };
        fs::create_dir(lab.home.root()).unwrap();
        fs::create_dir(lab.store.root()).unwrap();
        lab.mode("codex", 0o700);
        lab.mode("manager", 0o700);
        lab.file("codex/auth.json", LOGIN)
    }

    /// A file of the owner's alone, the folders it needs as well.
    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let file = self.root.join(path);
        let missing: Vec<_> = file.ancestors().skip(1).take_while(|dir| !dir.exists()).collect();
        for dir in missing.into_iter().rev() {
            fs::create_dir(dir).unwrap();
            self.mode(dir.strip_prefix(&self.root).unwrap().to_str().unwrap(), 0o700);
        }
        fs::write(&file, content).unwrap();
        self.mode(path, 0o600);
        self
    }

    fn without(self, path: &str) -> Self {
        let path = self.root.join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        self
    }

    fn mode(&self, path: &str, mode: u32) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(self.root.join(path), mode).unwrap();
    }

    /// Stores the live login, and answers the name of the snapshot.
    fn stored(&self) -> String {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let live = Live::read(&self.home).unwrap();
        let plan = live.to_bank(&[], &self.store, &Zone::UTC, now).unwrap();
        let opened = self.store.open(Duration::ZERO, "test").unwrap();
        let name = plan.name.to_string();
        let (said, stop) = ((None, Vec::new()), AtomicBool::new(false));
        backup::apply(plan, &self.store, &opened.lock, said, &mut |_| (), &stop).unwrap();
        drop(opened);
        name
    }

    fn examine(&self, config: &Config) -> Vec<Finding> {
        let root = self.folder.path().canonicalize().unwrap();
        examine(&Facts {
            store: &self.store,
            home: &self.home,
            surroundings: Surroundings::default(),
            config,
            faults: &self.faults,
            program: &self.program,
            holders: &self.holders,
            zone: &Zone::UTC,
            show: &|path| path.to_string_lossy().replace(root.to_str().unwrap(), "~"),
        })
    }

    /// All that is not as it should be: `LEVEL: WHAT [REMEDY]`. How much room the machine has is
    /// not the test's to say, nor which systems tell who is running.
    fn complaints(&self) -> Vec<String> {
        let root = self.root.to_str().unwrap();
        self.examine(&Config::default())
            .into_iter()
            .filter(|found| found.level != Level::Ok)
            .filter(|found| !matches!(found.check, Check::Room | Check::CodexRoom))
            .filter(|found| !(cfg!(not(target_os = "linux")) && found.check == Check::Running))
            .map(|found| {
                let level = format!("{:?}", found.level).to_lowercase();
                let remedy = found.remedy.map_or_else(String::new, |text| format!(" [{text}]"));
                format!("{level}: {}{remedy}", found.what).replace(root, "~")
            })
            .collect()
    }
}

/// What a home that was just made lacks.
const FRESH: [&str; 2] = [
    "note: there are no snapshots yet [codex-manager backup]",
    "note: the live login is not stored [codex-manager backup --auth-only]",
];

#[track_caller]
fn check(lab: &Lab, expected: &[&str]) {
    let mut found = lab.complaints();
    found.retain(|line| !FRESH.contains(&line.as_str()));
    assert_eq!(found, expected);
}

#[test]
fn two_homes_in_order_are_only_told_what_is_not_stored_yet() {
    let lab = Lab::new();
    assert_eq!(lab.complaints(), FRESH);
    lab.stored();
    assert_eq!(lab.complaints(), [""; 0]);
    let said: Vec<_> = lab.examine(&Config::default()).into_iter().map(|f| f.what).collect();
    for expected in [
        "codex-cli 0.169.0 is installed",
        "~/codex is there",
        "ada@example.com (plus) is signed in",
        "1 snapshot can be used",
        "the live login is stored",
    ] {
        assert!(said.iter().any(|what| what == expected), "{expected}: {said:?}");
    }
}

#[test]
#[rustfmt::skip]
fn a_home_without_a_usable_login_is_told_why() {
    let lab = |content: &[u8]| Lab::new().file("codex/auth.json", content);
    check(&Lab::new().without("codex/auth.json"),
        &["warning: nobody is signed in: there is no ~/codex/auth.json [codex login]"]);
    check(&lab(include_bytes!("../../testdata/auth/logged-out.json")),
        &["warning: nobody is signed in: auth.json is there, but it holds no tokens [codex login]"]);
    check(&lab(include_bytes!("../../testdata/auth/id-token-is-no-jwt.json")),
        &["error: auth.json names no account: its id token cannot be decoded [codex login]"]);
    check(&lab(b"{\"tokens\": sk-secret"),
        &["error: ~/codex/auth.json is not JSON (line 1, column 12) [sign in again with `codex login`]"]);
    let mixed = lab(include_bytes!("../../testdata/auth/mixed.json")).complaints();
    assert!(mixed[0].starts_with("error: auth.json mixes two accounts: its workspace is "), "{mixed:?}");
}

#[test]
#[rustfmt::skip]
fn a_login_outside_the_file_is_named_and_its_absence_is_no_fault() {
    let lab = |config: &str| Lab::new().without("codex/auth.json").file("codex/config.toml", config);
    let advice = "[set cli_auth_credentials_store = \"file\" in ~/codex/config.toml and sign in again]";
    for store in ["keyring", "auto"] {
        check(&lab(&format!("cli_auth_credentials_store = \"{store}\"")),
            &[&format!("warning: Codex keeps its login in the keyring ({store}); `use` cannot swap it {advice}")]);
    }
    check(&lab("cli_auth_credentials_store = \"ephemeral\""),
        &[&format!("warning: Codex forgets its login when it ends (ephemeral) {advice}")]);
    // What is left over in the file is nobody's who is signed in.
    let left = Lab::new().file("codex/config.toml", "cli_auth_credentials_store = \"keyring\"");
    let said: Vec<_> = left.examine(&Config::default()).into_iter().map(|f| f.what).collect();
    let expected = "who is signed in is not known: Codex does not use the login of ada@example.com in ~/codex/auth.json";
    assert!(said.iter().any(|what| what == expected), "{said:?}");
    assert!(said.iter().all(|what| !what.contains("is signed in") || what == expected), "{said:?}");
    check(&Lab::new().file("codex/config.toml", "a = 1\nkey = sk-secret"),
        &["error: ~/codex/config.toml: config.toml of Codex is not TOML (line 2) [correct it with an editor]"]);
}

#[test]
#[rustfmt::skip]
fn a_home_that_is_not_there_is_an_error_and_a_manager_home_is_not() {
    check(&Lab::new().without("codex"),
        &["error: there is no Codex home at ~/codex [run `codex` once, or name the folder with --codex-home DIR]"]);
    check(&Lab::new().without("codex").file("codex", ""), &["error: ~/codex is not a folder"]);
    check(&Lab::new().without("manager"),
        &["note: there is no ~/manager yet; the first backup makes it"]);
    check(&Lab::new().without("manager").file("manager", ""),
        &["error: ~/manager is not a folder", "error: cannot list ~/manager/backups: Not a directory"]);
}

#[test]
#[rustfmt::skip]
fn a_manager_home_inside_the_codex_home_is_an_error() {
    let lab = Lab::new();
    let lab = Lab { store: Store::at(lab.home.root().join("manager")), ..lab };
    check(&lab, &[
        "error: ~/codex/manager lies inside the Codex home [name another folder with --home DIR or CODEX_MANAGER_HOME]",
        "note: there is no ~/codex/manager yet; the first backup makes it",
    ]);
}

#[test]
#[rustfmt::skip]
fn what_others_may_read_is_counted_and_the_first_are_named() {
    let lab = Lab::new()
        .file("manager/config.toml", "").file("manager/ledger.jsonl", "")
        .file("manager/backups/a", "").file("manager/tmp/b", "")
        .file("manager/undo/1/codex/notes", "") // as Codex made it
        .file("manager/tmp/.codex-manager-0123456789abcdef.staging/home/id", "");
    // Of what was left only the whole is told.
    lab.mode("manager/tmp/.codex-manager-0123456789abcdef.staging/home/id", 0o644);
    for (path, mode) in [("codex", 0o755), ("codex/auth.json", 0o644), ("manager", 0o750)] {
        lab.mode(path, mode);
    }
    for path in ["backups/a", "config.toml", "ledger.jsonl", "tmp/b", "undo/1/codex/notes"] {
        lab.mode(&format!("manager/{path}"), 0o640);
    }
    check(&lab, &[
        "note: ~/codex is open to others (mode 0755) [chmod 700 ~/codex]",
        "warning: ~/codex/auth.json is open to others (mode 0644) [codex-manager doctor --fix]",
        "warning: ~/manager is open to others (mode 0750) [codex-manager doctor --fix]",
        "warning: open to others: backups/a (0640), config.toml (0640), ledger.jsonl (0640) and 1 more [codex-manager doctor --fix]",
        "note: left by an interrupted run, or in use: tmp/.codex-manager-0123456789abcdef.staging [the next command that changes something tidies up, or: codex-manager doctor --fix]",
    ]);
}

#[test]
#[rustfmt::skip]
fn archives_and_sidecars_that_do_not_belong_together_are_named() {
    let lab = Lab::new();
    let name = lab.stored();
    let archive = format!("manager/backups/{name}.tar.gz");
    let sidecar = format!("manager/backups/{name}.metadata.json");
    let content = fs::read(lab.root.join(&archive)).unwrap();
    let told = fs::read(lab.root.join(&sidecar)).unwrap();

    let lab = lab.without(&sidecar);
    check(&lab, &[&format!("warning: ~/{archive}: has no sidecar; the copy inside it is used [nothing is lost: the archive alone can be restored; to write it again: codex-manager doctor --fix]")]);

    let lab = lab.file(&sidecar, &told[..20]);
    let found = lab.complaints();
    assert!(found[0].starts_with(&format!("warning: ~/{sidecar}: is not JSON at line ")), "{found:?}");
    assert!(found[0].ends_with("[nothing is lost: what the archive says of itself is used]"), "{found:?}");

    let lab = lab.file(&sidecar, &told).file(&archive, &content[..9]);
    check(&lab, &[&format!("error: ~/{archive}: has 9 bytes, its sidecar says {} [do not count on it; take another: codex-manager backup]", content.len())]);

    let lab = lab.without(&archive);
    check(&lab, &[&format!("warning: ~/{sidecar}: its archive is gone [bring its archive back, or: rm ~/{sidecar}]")]);
}

#[test]
#[rustfmt::skip]
fn records_that_cannot_be_read_are_told_by_their_place() {
    let lab = Lab::new()
        .file("manager/ledger.jsonl", "x\n[]\n{\"schema_version\":9,\"event\":\"later\"}\n{\"to")
        .file("manager/inventory.json", "{\"records\": [{\"email\": 7}, 3]}");
    check(&lab, &[
        "warning: ~/manager/ledger.jsonl: line 1: not JSON at column 1, line 2: not an object [every other line counts; delete such a line with an editor]",
        "note: ~/manager/ledger.jsonl ends in half a line [the next command that changes something moves it aside, or: codex-manager doctor --fix]",
        "note: ~/manager/ledger.jsonl has 1 line of a newer codex-manager [update codex-manager]",
        "warning: ~/manager/inventory.json: record 1 cannot be read: `email` has a value that does not fit, record 2 cannot be read: it is not an object [every other record counts; `codex-manager normalize DIR` reads the files again]",
    ]);
    let found = Lab::new().file("manager/inventory.json", "{").complaints();
    assert!(found[0].starts_with("error: ~/manager/inventory.json is not JSON"), "{found:?}");
}

#[test]
#[rustfmt::skip]
fn what_is_odd_in_the_configuration_is_told() {
    let mut lab = Lab::new().file("manager/config.toml", "tmezone = \"UTC\"");
    let config = Config::parse("timezon = \"UTC\"").unwrap();
    let found = lab.examine(&config);
    let found: Vec<_> = found.into_iter().filter(|f| f.check == Check::Configuration).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].level, found[0].what.as_str()), (Level::Warning, "config.toml: there is no setting \"timezon\""));
    assert_eq!(found[0].remedy.as_deref(), Some("did you mean `timezone`?"));
    lab.faults.push(("it is broken".to_owned(), Some("mend it".to_owned())));
    check(&lab, &["error: it is broken [mend it]"]);
}

#[test]
#[rustfmt::skip]
fn leftovers_are_named_and_a_waiting_home_is_an_error() {
    let lab = Lab::new();
    let staging = crate::disk::tree::staging_dir(lab.home.root()).unwrap();
    let staging = staging.file_name().unwrap().to_str().unwrap().to_owned();
    let aside = crate::disk::swap::aside(lab.home.root()).unwrap();
    let aside = aside.file_name().unwrap().to_str().unwrap().to_owned();
    let temp = crate::disk::tree::staging_dir(&lab.store.config()).unwrap();
    let temp = temp.file_name().unwrap().to_str().unwrap().to_owned();
    fs::create_dir(lab.root.join(&aside)).unwrap();
    check(&lab, &[
        &format!("error: ~/{aside} waits since an exchange was interrupted; it may be your Codex home [compare it with ~/codex before you delete either]"),
        &format!("warning: ~/{staging} was left by an interrupted run [if no codex-manager is running: rm -r ~/{staging}]"),
        &format!("note: left by an interrupted run, or in use: {temp} [the next command that changes something tidies up, or: codex-manager doctor --fix]"),
    ]);
    let lab = lab.file(&format!("{staging}/auth.json"), "{}");
    assert!(lab.complaints().contains(&format!("error: ~/{staging} was left by an interrupted restore; it may be your Codex home as it was before [compare it with ~/codex before you delete it]")));
    let lab = lab.without("codex");
    assert!(lab.complaints().contains(&format!("error: ~/{aside} waits since an exchange was interrupted; it may be your Codex home [mv ~/{aside} ~/codex]")));
}

#[test]
#[rustfmt::skip]
fn a_database_that_is_none_is_named_wherever_it_is_kept() {
    let config = "sqlite_home = \"../db\"";
    let lab = Lab::new()
        .file("codex/config.toml", config)
        .file("codex/state_5.sqlite", b"SQLite format 3\0\x10\0\x01\x01")
        .file("codex/empty_1.sqlite", "").file("codex/notes.txt", "x").file("db/logs_2.sqlite", "x");
    check(&lab, &["warning: ~/db/logs_2.sqlite is no SQLite database [quit Codex, move it aside, and start Codex again]"]);
}

#[test]
fn who_uses_the_home_is_told_as_a_note_with_its_evidence_and_remedy() {
    let mut lab = Lab::new();
    let told = |lab: &Lab| -> Vec<(Level, String)> {
        let all = lab.examine(&Config::default()).into_iter();
        let found = all.filter(|found| found.check == Check::Running);
        found.map(|found| (found.level, found.what)).collect()
    };
    let line = |level, what: &str| (level, what.to_owned());
    assert_eq!(told(&lab), [line(Level::Ok, "no Codex is running on this home")]);

    let since = Some("2026-11-21T09:00:00Z".parse().unwrap());
    let evidence = vec![Evidence::OpenFile, Evidence::Environment];
    lab.holders.found = vec![Holder { since, evidence, ..Holder::new(7, Role::Exec) }];
    lab.holders.bystanders = vec![Holder::new(8, Role::Updater)];
    lab.holders.unseen = vec![Unseen::OtherUser { pid: 9, user: 0 }];
    assert_eq!(
        told(&lab),
        [
            line(
                Level::Note,
                "codex exec (pid 7) is using this home since 2026-11-21 09:00:00: has files of it open, names it in its environment"
            ),
            line(
                Level::Note,
                "the updater of codex's background server (pid 8) is running; it stands in nobody's way"
            ),
            line(
                Level::Note,
                "a codex of root (pid 9) may use this home; what it has open cannot be seen"
            ),
        ]
    );
    let findings = lab.examine(&Config::default());
    let remedy = findings
        .iter()
        .find_map(|found| found.remedy.as_deref().filter(|_| found.check == Check::Running));
    assert_eq!(remedy, Some("before `use` or `restore`: let it finish, or stop it with Ctrl-C"));

    // What cannot be seen is not nothing.
    lab.holders.found.clear();
    lab.holders.bystanders.clear();
    assert_eq!(told(&lab).len(), 1);
    assert_eq!(told(&lab)[0].0, Level::Note);
    lab.holders = Holders { is_unknown: true, ..Holders::default() };
    assert_eq!(told(&lab), [line(Level::Note, "whether Codex is running cannot be told here")]);
}

#[test]
fn a_path_in_a_command_is_one_word_to_the_shell() {
    let lab = Lab::new().without("codex");
    let lab = Lab { home: CodexHome::at(lab.root.join("it's mine")), ..lab };
    fs::create_dir(lab.home.root()).unwrap();
    lab.mode("it's mine", 0o755);
    let found = lab.complaints();
    let expected = "[chmod 700 '~/it'\\''s mine']"; // the test's own folder reads ~
    assert!(found[0].ends_with(expected), "{found:?}");
}
