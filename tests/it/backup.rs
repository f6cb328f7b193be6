//! `backup`: is everything stored, and is the home left as it was?

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use insta::assert_snapshot;

use crate::home::{Node, TestHome, ids, login};

#[test]
fn a_snapshot_is_an_archive_and_a_sidecar_named_after_the_week() {
    let home = TestHome::of_ada();
    assert_snapshot!(home.run("backup"), @"
    $ codex-manager backup
    stored   2026-11-19-100200-ada@example.com-codex
    content  7 files, 15 KiB packed into #.# KiB
    quota    60% left, week resets Thu 26 Nov 10:02 (rollout)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ");
    assert_snapshot!(home.files(), @"
    backups/2026-11-19-100200-ada@example.com-codex.metadata.json
    backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ledger.jsonl
    lock
    operations.jsonl
    tmp/
    trash/
    undo/
    ");
}

#[test]
fn the_source_home_is_left_as_it_was() {
    let home = TestHome::of_ada()
        .file(".codex/history.jsonl", "{\"text\":\"hello\"}\n")
        .file(".codex/tmp/arg0/scratch", "x");
    let before = home.tree(".codex");
    assert!(before.contains_key("state_5.sqlite-wal"));
    assert!(before.contains_key("state_5.sqlite-shm"));
    assert_eq!(home.play("backup").exit, 0);
    home.assert_same(".codex", &before); // names, modes, mtimes and bytes
}

#[test]
fn a_dry_run_says_what_would_be_stored_and_writes_nothing() {
    let home = TestHome::of_ada()
        .file(".codex/worktrees/ab12/repo/file", "work")
        .file(".codex/tmp/arg0/scratch", "x")
        .file(".codex/auth.lock", "");
    let before = home.tree("");
    assert_snapshot!(home.run("backup --dry-run"), @"
    $ codex-manager backup --dry-run
    would store 2026-11-19-100200-ada@example.com-codex

    CLASS      FILES  SIZE
    login      1      1.1 KiB
    config     3      147 B
    sessions   1      763 B
    databases  1      12 KiB

    left out:
      auth.lock  valid only here and now
      tmp/  valid only here and now
      worktrees/  tied to its place
    ");
    home.assert_same("", &before);
}

#[test]
fn each_kind_holds_its_part() {
    let home = TestHome::of_ada();
    let held = |words: &str| {
        let answer = home.json(words);
        let kind = answer["data"]["metadata"]["kind"].as_str().unwrap().to_owned();
        let files = members(&home, answer["data"]["snapshot"].as_str().unwrap());
        format!("{words}: {kind}\n{files}")
    };
    assert_snapshot!(held("backup"), @"
    backup: full
      auth.json
      .codex-manager/
      .codex-manager/metadata.json
      .credentials.json
      .env
      config.toml
      sessions/
      sessions/2026/
      sessions/2026/11/
      sessions/2026/11/21/
      sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl
      state_5.sqlite
      stargz.index.json
    ");
    assert_snapshot!(held("backup --auth-only"), @"
    backup --auth-only: auth
      auth.json
      .codex-manager/
      .codex-manager/metadata.json
      stargz.index.json
    ");
    assert_snapshot!(held("backup --no-login"), @"
    backup --no-login: state
      .codex-manager/
      .codex-manager/metadata.json
      .credentials.json
      .env
      config.toml
      sessions/
      sessions/2026/
      sessions/2026/11/
      sessions/2026/11/21/
      sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl
      state_5.sqlite
      stargz.index.json
    ");
}

/// A snapshot opens without us: the names in it, as the public `tar` crate reads them.
fn members(home: &TestHome, name: &str) -> String {
    let file = File::open(home.manager(&format!("backups/{name}.tar.gz"))).unwrap();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file));
    let names = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(u64::try_from(content.len()).unwrap(), entry.size(), "{path}");
        format!("  {path}\n")
    });
    names.collect()
}

#[test]
fn lean_and_exclude_leave_out_what_they_name_and_the_sidecar_says_so() {
    let home = TestHome::of_ada()
        .database("logs_2.sqlite")
        .file(".codex/models_cache.json", "{}")
        .file(".codex/skills/mine/SKILL.md", "words")
        .file(".codex/skills/big/blob", "0123456789");
    let all = home.json("backup");
    assert_eq!(all["data"]["metadata"]["excluded"], serde_json::json!([]));
    let lean = home.json("backup --lean");
    assert_snapshot!(lean["data"]["metadata"]["excluded"], @r#"
    ["logs_2.sqlite","models_cache.json"]
    "#);
    let exclude = home.json("backup --exclude skills/big --exclude '*.json'");
    assert_snapshot!(exclude["data"]["metadata"]["excluded"], @r#"
    [".credentials.json","models_cache.json","skills/big/"]
    "#);
    let name = exclude["data"]["snapshot"].as_str().unwrap();
    assert_snapshot!(members(&home, name), @"
    auth.json
    .codex-manager/
    .codex-manager/metadata.json
    .env
    config.toml
    logs_2.sqlite
    sessions/
    sessions/2026/
    sessions/2026/11/
    sessions/2026/11/21/
    sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl
    skills/
    skills/mine/
    skills/mine/SKILL.md
    state_5.sqlite
    stargz.index.json
    ");
}

#[test]
fn a_second_snapshot_of_the_same_week_gets_a_number() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1h");
    assert_snapshot!(home.run("backup --label 'before the update'"), @"
    $ codex-manager backup --label 'before the update'
    stored   2026-11-19-100200-ada@example.com~2-codex
    content  7 files, 15 KiB packed into #.# KiB
    quota    60% left, week resets Thu 26 Nov 10:02 (rollout)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com~2-codex.tar.gz
    ");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                       KIND  SIZE     CREATED           AVAILABLE         LABEL              PROVEN
    2026-11-19-100200-ada@example.com~2-codex  full  #.# KiB  2026-11-21 12:00  2026-11-26 10:02  before the update  –
    2026-11-19-100200-ada@example.com-codex    full  #.# KiB  2026-11-21 11:00  2026-11-26 10:02  –                  –
    ");
}

#[test]
fn force_replaces_the_snapshot_of_the_week_and_the_old_one_goes_to_the_trash() {
    let home = TestHome::of_ada();
    home.run("backup --label first");
    let old = home.read(".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz");
    let home = home.later("+1h").file(".codex/notes.md", "new");
    assert_snapshot!(home.run("backup --force"), @"
    $ codex-manager backup --force
    stored   2026-11-19-100200-ada@example.com-codex
    content  8 files, 15 KiB packed into #.# KiB
    quota    60% left, week resets Thu 26 Nov 10:02 (rollout)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ");
    assert_snapshot!(home.files(), @"
    backups/2026-11-19-100200-ada@example.com-codex.metadata.json
    backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ledger.jsonl
    lock
    operations.jsonl
    tmp/
    trash/2026-11-19-100200-ada@example.com-codex.metadata.json
    trash/2026-11-19-100200-ada@example.com-codex.tar.gz
    undo/
    ");
    let trash = home
        .files()
        .lines()
        .find(|name| name.starts_with("trash/") && name.ends_with(".tar.gz"))
        .map(str::to_owned);
    assert_eq!(home.read(&format!(".codex-manager/{}", trash.unwrap())), old);
}

#[test]
fn the_same_home_at_the_same_time_gives_the_same_bytes() {
    let home = TestHome::of_ada();
    let bytes = |name: &str| home.read(&format!(".codex-manager/backups/{name}.tar.gz"));
    home.run("backup");
    home.run("backup");
    let (one, two) = (
        bytes("2026-11-19-100200-ada@example.com-codex"),
        bytes("2026-11-19-100200-ada@example.com~2-codex"),
    );
    assert!(one == two, "the two archives differ");
}

#[test]
fn the_quota_may_come_from_a_text_or_be_left_unasked() {
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com");
    assert_snapshot!(home.run("backup"), @"
    $ codex-manager backup
    warning: no session tells the quota yet, so the snapshot is named after this moment; --status-file FILE reads what /status shows
    stored   2026-11-21-110000-ada@example.com-codex
    content  4 files, 2.3 KiB packed into #.# KiB
    quota    unknown
    archive  ~/.codex-manager/backups/2026-11-21-110000-ada@example.com-codex.tar.gz
    ");
    let home =
        home.typed("Account: ada@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n");
    assert_snapshot!(home.run("backup --status-file -"), @"
    $ codex-manager backup --status-file -
    stored   2026-11-19-100200-ada@example.com-codex
    content  4 files, 2.7 KiB packed into #.# KiB
    quota    61% left, week resets Thu 26 Nov 10:02 (status-text)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ");
    assert_snapshot!(home.run("backup --without-status-check"), @"
    $ codex-manager backup --without-status-check
    stored   2026-11-21-110000-ada@example.com~2-codex
    content  4 files, 2.7 KiB packed into #.# KiB
    quota    week resets Sat 28 Nov 11:00 (estimate)
    archive  ~/.codex-manager/backups/2026-11-21-110000-ada@example.com~2-codex.tar.gz
    ");
    let home =
        home.typed("Account: bob@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n");
    assert_snapshot!(home.run("backup --status-file -"), @"
    $ codex-manager backup --status-file -
    error: the status text is about bob@example.com, but ada@example.com is signed in
    hint: read the status of the account that is signed in
    (exit 4)
    ");
}

#[cfg(unix)]
#[test]
fn everything_stored_is_the_owners_alone() {
    let home = TestHome::of_ada();
    home.run("backup");
    for (path, node) in home.tree(".codex-manager") {
        let expected = if home.manager("").join(&path).is_dir() { 0o700 } else { 0o600 };
        assert_eq!(node.mode & 0o777, expected, "{path}");
    }
}

#[test]
fn the_sidecar_tells_all_that_is_known() {
    let home = TestHome::of_ada();
    let answer = home.json("backup --label weekly --note 'a remark'");
    let mut sidecar = answer["data"]["metadata"].clone();
    let text =
        home.read(".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.metadata.json");
    let written = crate::home::without_checksum(&text);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), sidecar);
    // These depend on this folder's random name, on the salt, or on the machine.
    for pointer in [
        "/archive/bytes",
        "/archive/content_bytes",
        "/archive/login/bytes",
        "/archive/login/digest",
        "/archive/login/offset",
        "/archive/toc_digest",
        "/login/fingerprint",
        "/manager_version",
    ] {
        if let Some(value) = sidecar.pointer_mut(pointer) {
            assert!(!value.is_null(), "{pointer}");
            *value = "…".into();
        }
    }
    assert_snapshot!(format!("{sidecar:#}"), @r#"
    {
      "schema": "codex-manager/snapshot",
      "schema_version": 1,
      "product": "codex",
      "email": "ada@example.com",
      "account": {
        "user_id": "user-ada-example-com",
        "account_id": "acct-ada-example-com",
        "plan": "plus",
        "auth_mode": "chatgpt"
      },
      "kind": "full",
      "session_start_at": "2026-11-19T10:02:00+01:00",
      "next_available_at": "2026-11-26T10:02:00+01:00",
      "reset_at": "2026-11-26T10:02:00+01:00",
      "quota_end_detected_at": null,
      "inferred_session_duration_seconds": null,
      "inference_basis": "weekly reset less seven days",
      "legacy_auth_filename": null,
      "legacy_quota_day_token": null,
      "validation_status": null,
      "quota": {
        "source": "rollout",
        "observed_at": "2026-11-21T11:00:00+01:00",
        "windows": [
          {
            "minutes": 300,
            "used_percent": 12.0,
            "resets_at": "2026-11-21T13:00:00+01:00"
          },
          {
            "minutes": 10080,
            "used_percent": 40.0,
            "resets_at": "2026-11-26T10:02:00+01:00"
          }
        ],
        "limit_reached": null,
        "text": null
      },
      "login": {
        "fingerprint": "…",
        "issued_at": "2026-11-21T10:00:00+00:00",
        "expires_at": "2026-12-01T10:00:00+00:00",
        "last_refresh": "2026-11-21T10:00:00Z"
      },
      "source_codex_home": "~/.codex",
      "codex_version": "0.169.0",
      "captured_files": [
        ".credentials.json",
        ".env",
        "auth.json",
        "config.toml",
        "sessions/",
        "state_5.sqlite"
      ],
      "excluded": [],
      "archive": {
        "name": "2026-11-19-100200-ada@example.com-codex.tar.gz",
        "bytes": "…",
        "toc_digest": "…",
        "files": 7,
        "content_bytes": "…",
        "compressor": "codex-manager-2/1",
        "login": {
          "offset": "…",
          "bytes": "…",
          "digest": "…"
        }
      },
      "label": "weekly",
      "note": "a remark",
      "tags": [],
      "pinned": false,
      "host": "desk",
      "created_at": "2026-11-21T11:00:00+01:00",
      "manager_version": "…"
    }
    "#);
}

const NAME: &str = "2026-11-19-100200-ada@example.com-codex";

/// What a snapshot's sidecar says.
fn sidecar(home: &TestHome, name: &str) -> serde_json::Value {
    let text = home.read(&format!(".codex-manager/backups/{name}.metadata.json"));
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn force_replaces_its_own_kind_alone() {
    let home = TestHome::of_ada();
    home.run("backup");
    let full = home.tree(".codex-manager/backups");
    for (line, number) in
        [("--auth-only", "~2"), ("--no-login", "~3"), ("--auth-only", "~2"), ("--no-login", "~3")]
    {
        let stored = home.json(&format!("backup --force {line}"));
        let name = stored["data"]["snapshot"].as_str().unwrap().to_owned();
        assert_eq!(name, NAME.replace("-codex", &format!("{number}-codex")), "{line}");
    }
    let now = home.tree(".codex-manager/backups");
    for (path, node) in full.iter().filter(|(path, _)| !path.is_empty()) {
        assert_eq!(now.get(path), Some(node), "{path}");
    }
    assert_eq!(home.files().matches("trash/").count(), 4, "{}", home.files());
    assert_eq!(home.play("verify --all").exit, 0);
}

#[test]
fn force_leaves_another_accounts_snapshot_of_that_name_alone() {
    let home = TestHome::of_ada();
    home.run("backup");
    let (user, workspace) = ("user-ada-example-com", "acct-of-the-team");
    let at = "2026-11-21T10:00:00Z";
    let home = home.signed_in_as("ada@example.com", user, workspace, "rt_team", at);
    let home =
        home.typed("Account: ada@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n");
    let stored = home.json("backup --force --status-file -");
    assert_eq!(stored["data"]["snapshot"], NAME.replace("-codex", "~2-codex"));
    assert!(!home.files().contains("trash/2026"), "{}", home.files());
}

#[test]
fn force_sends_no_login_to_the_trash_that_is_newer_and_nowhere_else() {
    let (user, workspace) = ids("ada@example.com");
    let signed_in = |home: TestHome, token: &str, at: &str| {
        home.signed_in_as("ada@example.com", &user, &workspace, token, at)
    };
    for kind in ["", " --auth-only"] {
        let home = signed_in(TestHome::of_ada(), "rt_2", "2026-11-21T09:30:00Z");
        assert_eq!(home.json(&format!("backup{kind}"))["data"]["snapshot"], NAME);
        // The machine was set back to an earlier state.
        let home = signed_in(home, "rt_1", "2026-11-21T09:00:00Z");
        let second = NAME.replace("-codex", "~2-codex");
        // Its own login is of the next number, and there it may be replaced.
        for _ in 0..2 {
            let stored = home.json(&format!("backup --force{kind}"));
            assert_eq!(stored["data"]["snapshot"], second.as_str(), "{kind}");
        }
        assert_eq!(sidecar(&home, NAME)["login"]["last_refresh"], "2026-11-21T09:30:00Z");
        assert_eq!(home.play("use ada").exit, 0);
        let auth = String::from_utf8(home.read(".codex/auth.json")).unwrap();
        assert!(auth.contains("2026-11-21T09:30:00"), "{kind}");
    }
}

#[test]
fn force_replaces_a_newer_login_that_another_snapshot_has_too() {
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-11-21T09:30:00Z";
    let home = TestHome::of_ada();
    let home = home.signed_in_as("ada@example.com", &user, &workspace, "rt_2", at);
    home.run("backup");
    home.run("backup --auth-only");
    let at = "2026-11-21T09:00:00Z";
    let home = home.signed_in_as("ada@example.com", &user, &workspace, "rt_1", at);
    assert_eq!(home.json("backup --force")["data"]["snapshot"], NAME);
    assert_eq!(sidecar(&home, NAME)["login"]["last_refresh"], at);
}

/// How many archives there are.
fn archives(home: &TestHome) -> usize {
    home.files().matches(".tar.gz").count()
}

#[test]
fn a_login_without_a_refresh_token_is_stored_once() {
    let home = TestHome::of_ada().signed_in("bob@example.com");
    home.run("backup --auth-only");
    let (user, workspace) = ids("ada@example.com");
    let text = login("ada@example.com", &user, &workspace, "rt_1", "2026-11-21T09:00:00Z");
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file["tokens"].as_object_mut().unwrap().remove("refresh_token").unwrap();
    let mut home = home;
    for _ in 0..3 {
        home = home.file(".codex/auth.json", file.to_string()).later("+1m");
        assert_eq!(home.play("use bob").exit, 0);
        assert_eq!(archives(&home), 2, "{}", home.files());
    }
    // Another one is another one.
    file["last_refresh"] = "2026-11-21T09:30:00Z".into();
    let home = home.file(".codex/auth.json", file.to_string());
    assert_eq!(home.play("use bob").exit, 0);
    assert_eq!(archives(&home), 3, "{}", home.files());
}

#[test]
fn what_is_said_of_an_orphan_names_no_path_of_this_machine() {
    for bytes in ["{\"tokens\": ", "{}"] {
        let home = TestHome::of_ada();
        home.run("backup --auth-only");
        let home = home.file(".codex/auth.json", bytes).later("+1m");
        assert_eq!(home.play("use ada").exit, 0);
        let store = home.files();
        let name = store.lines().find(|name| name.ends_with("orphan-codex.metadata.json")).unwrap();
        let text = home.read(&format!(".codex-manager/{name}"));
        let said: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let note = said["note"].as_str().unwrap();
        assert!(note.starts_with("an orphan, stored before it was replaced: it "), "{note}");
        assert!(!note.contains('/'), "{note}");
    }
}

#[test]
fn a_status_text_with_an_address_is_not_that_of_an_api_key() {
    let key = r#"{"auth_mode": "apikey", "OPENAI_API_KEY": "sk-made-up-secret"}"#;
    let panel = "Account: ada@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n";
    let home = TestHome::of_ada().file(".codex/auth.json", key).file("panel.txt", panel);
    let answer = home.json("backup --status-file panel.txt");
    assert_eq!(answer["error"]["code"], 4, "{answer}");
    let told = answer["error"]["message"].as_str().unwrap();
    assert!(told.starts_with("the status text is about ada@example.com, but apikey "), "{told}");
    assert!(!home.manager("backups").exists());
}

#[test]
fn what_cannot_be_read_of_the_login_is_no_obstacle_to_storing_the_rest() {
    let folder = |home: &TestHome| {
        fs::remove_file(home.codex("auth.json")).unwrap();
        fs::create_dir(home.codex("auth.json")).unwrap();
    };
    let huge = |home: &TestHome| {
        File::create(home.codex("auth.json")).unwrap().set_len(64 << 20).unwrap();
    };
    let spoiled: [&dyn Fn(&TestHome); 2] = [&folder, &huge];
    for spoil in spoiled {
        let home = TestHome::of_ada();
        spoil(&home);
        let answer = home.json("backup --no-login");
        assert_eq!(answer["data"]["metadata"]["kind"], "state", "{answer}");
        assert!(answer["warnings"].to_string().contains("auth.json"), "{answer}");
        assert_eq!(home.play("verify").exit, 0);
        assert_ne!(home.play("backup").exit, 0);
    }
}

#[test]
fn a_force_that_fails_leaves_the_old_snapshot_whole() {
    let home = TestHome::of_ada();
    home.run("backup");
    let before = home.tree(".codex-manager/backups");
    // Nothing can be kept where a file stands in the place of the folder.
    fs::remove_dir(home.manager("trash")).unwrap();
    fs::write(home.manager("trash"), "").unwrap();
    assert_eq!(home.play("backup --force").exit, 1);
    let after = home.tree(".codex-manager/backups");
    let names = |tree: &BTreeMap<String, Node>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    let same = |path: &str| after[path] == before[path];
    assert!(same(&format!("{NAME}.tar.gz")) && same(&format!("{NAME}.metadata.json")));
}

#[test]
#[cfg(unix)]
fn the_login_that_a_status_command_refreshed_is_the_one_that_is_stored() {
    let home = TestHome::of_ada();
    let (user, workspace) = ids("ada@example.com");
    let newer = login("ada@example.com", &user, &workspace, "rt_2", "2026-11-21T09:59:59Z");
    let panel = "Account: ada@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n";
    let home = home.file("newer.json", &newer).tokens_in("newer.json").file("panel.txt", panel);
    let path = |name: &str| home.path(name).display().to_string();
    let line = format!(
        "backup --status-command 'cp {} {}; cat {}'",
        path("newer.json"),
        path(".codex/auth.json"),
        path("panel.txt")
    );
    let stored = home.json(&line);
    assert_eq!(stored["data"]["metadata"]["login"]["last_refresh"], "2026-11-21T09:59:59Z");
    assert_eq!(home.play("restore --to copy").exit, 0);
    assert_eq!(home.read("copy/auth.json"), newer.as_bytes());
    assert_eq!(home.play("verify").exit, 0);
}

#[test]
fn only_what_belongs_to_a_database_is_left_to_its_copy() {
    let home = TestHome::of_ada()
        .database("notes")
        .database("empty.sqlite")
        .file(".codex/diary-wal", "my own words")
        .file(".codex/list.sqlite-wal", "of no database")
        .file(".codex/list.sqlite", "text");
    let stored = home.json("backup");
    let held = members(&home, stored["data"]["snapshot"].as_str().unwrap());
    let tops: Vec<&str> = held.lines().map(str::trim).filter(|name| !name.contains('/')).collect();
    assert_eq!(
        tops,
        [
            "auth.json",
            ".credentials.json",
            ".env",
            "config.toml",
            "diary-wal",
            "empty.sqlite",
            "list.sqlite",
            "list.sqlite-wal",
            "notes",
            "state_5.sqlite",
            "stargz.index.json"
        ]
    );
    assert_eq!(home.play("restore --to copy").exit, 0);
    // The row was in the log alone.
    assert_eq!(home.threads("copy/notes").lines().count(), 1);
}

#[test]
fn a_database_outside_is_excluded_like_one_inside() {
    let home = TestHome::of_ada().database("../db/state_5.sqlite").database("../db/logs_2.sqlite");
    let home = home.file(".codex/config.toml", "sqlite_home = \"../db\"\n");
    let stored = home.json("backup --exclude 'logs_*'");
    let data = &stored["data"];
    assert_eq!(
        data["metadata"]["excluded"],
        serde_json::json!([".codex-manager/sqlite_home/logs_2.sqlite"])
    );
    let held = members(&home, data["snapshot"].as_str().unwrap());
    assert!(held.contains("sqlite_home/state_5.sqlite\n") && !held.contains("logs_2"), "{held}");
    // One of that name lies in the home, too: both are kept, and Codex's one is told.
    assert!(stored["warnings"][0].as_str().unwrap().contains("Codex uses the latter"), "{stored}");
    let seen = home.play("restore --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    let seen = home.play("restore --to copy");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert_eq!(home.play("verify").exit, 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_login_alone_does_not_care_about_the_rest_of_the_home() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = TestHome::of_ada()
        .file(".codex/a\\b", "x")
        .file(".codex/end. ", "x")
        .file(".codex/account-sessions/one.json", "{}");
    fs::create_dir(home.codex("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"))).unwrap();
    let stored = home.json("backup --auth-only");
    assert_eq!(stored["error"], serde_json::Value::Null);
    assert_eq!(stored["data"]["metadata"]["excluded"], serde_json::json!([]));
    let captured = serde_json::json!(["account-sessions/", "auth.json"]);
    assert_eq!(stored["data"]["metadata"]["captured_files"], captured);
}

#[test]
#[cfg(target_os = "linux")]
fn skip_unreadable_gets_past_every_name_and_target_and_says_so() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = TestHome::of_ada()
        .file(".codex/Sessions/imposter", "x")
        .file(".codex/skills/a/SKILL.md", "x")
        .file(".codex/skills/A/SKILL.md", "x")
        .file(".codex/end. /inside", "x")
        .link(".codex/odd", "red\u{1b}[31m")
        .file(".codex/stargz.index.json", "{}");
    let folder = home.codex("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("inside"), "x").unwrap();
    let seen = home.play("backup");
    assert_eq!(seen.exit, 1, "{}", seen.screen);
    assert!(seen.screen.contains("6 files cannot be stored: "), "{}", seen.screen);
    assert!(!home.files().contains("tar.gz"), "{}", home.files());

    let stored = home.json("backup --skip-unreadable");
    assert_eq!(stored["error"], serde_json::Value::Null);
    assert_eq!(
        stored["data"]["metadata"]["excluded"],
        serde_json::json!([
            "Sessions/",
            "caf\u{fffd}/",
            "end. /",
            "odd",
            "skills/a/",
            "stargz.index.json"
        ])
    );
    assert_eq!(stored["data"]["missed"].as_array().unwrap().len(), 6, "{stored}");
    assert_eq!(stored["warnings"].as_array().unwrap().len(), 6, "{stored}");
    let held = members(&home, stored["data"]["snapshot"].as_str().unwrap());
    assert!(held.contains("sessions/2026") && held.contains("skills/A/SKILL.md"), "{held}");
    assert_eq!(home.play("backup --skip-unreadable").exit, 1);
    assert_eq!(home.play("verify --all").exit, 0);
    assert_eq!(home.play("restore --to copy").exit, 0);
}

#[test]
#[cfg(unix)]
fn a_folder_that_is_a_link_is_told() {
    let home = TestHome::of_ada().file("ses/2026/x.jsonl", "{}\n").link(".codex/prompts", "../ses");
    let stored = home.json("backup");
    let warning = stored["warnings"][0].as_str().unwrap();
    assert!(warning.contains("prompts is a link to ../ses"), "{warning}");
    assert_eq!(stored["data"]["metadata"]["excluded"], serde_json::json!(["prompts/"]));
    let preview = home.play("backup --dry-run").screen;
    assert!(preview.contains("prompts is a link to ../ses"), "{preview}");
}

#[test]
fn what_belongs_to_the_login_stays_when_the_rest_is_restored() {
    let home = TestHome::of_ada().file(".codex/account-sessions/one.json", "{}");
    let stored = home.json("backup --no-login");
    assert_eq!(stored["data"]["metadata"]["excluded"], serde_json::json!(["account-sessions/"]));
    let seen = home.play("restore --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert_eq!(home.read(".codex/account-sessions/one.json"), b"{}");
}

#[test]
fn an_api_key_has_no_week_to_estimate() {
    let key = "{\"auth_mode\":\"apikey\",\"OPENAI_API_KEY\":\"sk-made-up-secret\"}";
    let home = TestHome::at("2026-11-21T10:00:00Z").file(".codex/auth.json", key);
    let stored = home.json("backup --without-status-check");
    assert_eq!(stored["data"]["metadata"]["quota"], serde_json::Value::Null);
    assert_eq!(stored["data"]["metadata"]["account"]["auth_mode"], "apikey");
    assert!(stored["warnings"][0].as_str().unwrap().contains("no weekly quota"), "{stored}");
    assert!(home.run("cooldown").contains("ready"));
}

#[test]
#[cfg(unix)]
fn a_folder_that_is_somebody_elses_is_not_taken_for_a_manager_home() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = TestHome::of_ada()
        .file("Documents/letter.txt", "dear")
        .file("backups/holiday.tar.gz", "x")
        .file("tmp/x", "x");
    fs::set_permissions(home.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let before = home.tree("");
    for line in ["backup", "backup --dry-run", "cooldown set ada --until +1d"] {
        // The Codex home must not lie inside for the question to be about the folder alone.
        let seen = home.play(&format!("{line} --home ."));
        assert_eq!(seen.exit, 4, "{line}\n{}", seen.screen);
    }
    let seen = home.play("backup --home . --codex-home .codex");
    assert!(seen.screen.contains("~ is not empty and no manager home"), "{}", seen.screen);
    assert!(seen.screen.contains("hint: "), "{}", seen.screen);
    home.assert_same("", &before);
    // One that holds nothing but a configuration is one.
    let home = home.file("mine/config.toml", "lean = true\n");
    assert_eq!(home.play("backup --home mine").exit, 0);
    assert_eq!(home.play("backup --home mine").exit, 0);
}

#[test]
fn what_an_interrupted_backup_left_is_tidied_and_is_no_damage() {
    let home = TestHome::of_ada();
    home.run("backup");
    // Stopped before its last step, the archive still has the name it was written under.
    let archive = home.manager(&format!("backups/{NAME}.tar.gz"));
    let temporary = "backups/.codex-manager-0123456789abcdef.tmp";
    fs::rename(&archive, home.manager(temporary)).unwrap();
    let steps = serde_json::json!([
        {"step": "move", "from": "backups/.codex-manager-0123456789abcde0.tmp",
            "to": format!("backups/{NAME}.metadata.json")},
        {"step": "move", "from": temporary, "to": format!("backups/{NAME}.tar.gz")},
    ]);
    let journal = serde_json::json!({"schema_version": 1, "kind": "steps", "operation": null, "steps": steps});
    fs::write(home.manager("journal.json"), journal.to_string()).unwrap();
    assert_eq!(home.play("verify --all").exit, 0);
    let stored = home.json("backup --auth-only");
    assert_eq!(stored["data"]["snapshot"], "2026-11-19-100200-ada@example.com~2-codex");
    assert!(archive.exists() && !home.manager(temporary).exists());
    assert_eq!(home.play(&format!("verify {NAME}")).exit, 0);
    assert!(!home.manager("journal.json").exists());
}

#[test]
fn a_pair_that_was_renamed_together_is_still_one() {
    let home = TestHome::of_ada();
    home.run("backup");
    let other = "2026-11-19-100200-ada@example.com~7-codex";
    for end in ["tar.gz", "metadata.json"] {
        let at = |name: &str| home.manager(&format!("backups/{name}.{end}"));
        fs::rename(at(NAME), at(other)).unwrap();
    }
    assert_eq!(home.play("verify --all").exit, 0);
    assert_eq!(home.play(&format!("restore {other} --to copy")).exit, 0);
    assert_eq!(home.read("copy/auth.json"), home.read(".codex/auth.json"));
}

#[test]
fn a_folder_is_left_out_however_its_pattern_is_written() {
    let holds =
        |home: &TestHome| home.run("show --files").lines().any(|line| line.starts_with("big/f"));
    for pattern in ["big", "big/", "./big", "/big", "big/**"] {
        let home = TestHome::of_ada()
            .file(".codex/big/f", "x")
            .config("exclude", &format!("[\"{pattern}\"]"));
        home.run("backup");
        assert!(!holds(&home), "{pattern}");
    }
    let home = TestHome::of_ada().file(".codex/big/f", "x");
    let whole = home.codex("big").display().to_string();
    home.run(&format!("backup --exclude '{whole}'"));
    assert!(!holds(&home));
    let said = home.run("backup --force --exclude bog");
    assert!(holds(&home));
    assert!(said.contains("warning: --exclude bog leaves out nothing"), "{said}");
    let refused = home.play("backup --force --exclude auth.json");
    assert_eq!(refused.exit, 4, "{}", refused.screen);
    assert!(refused.screen.contains("--no-login"), "{}", refused.screen);
}

/// A home whose content is worth several threads: a log of some MiB, and many small files.
fn of_some_size() -> TestHome {
    let log: String = (0..60_000_u32)
        .map(|n| {
            format!(
                "{{\"session_id\":\"{:08x}\",\"text\":\"word {n}\"}}\n",
                n.wrapping_mul(0x9e37_79b9)
            )
        })
        .collect();
    let home = TestHome::of_ada().file(".codex/history.jsonl", log);
    (0..300).fold(home, |home, n| {
        home.file(&format!(".codex/prompts/{n}.md"), format!("Prompt number {n}.\n"))
    })
}

fn archive_of(home: &TestHome) -> Vec<u8> {
    home.read(".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz")
}

#[test]
fn the_archive_is_the_same_on_any_number_of_threads() {
    let home = of_some_size();
    let archive = |words: &str| {
        assert_eq!(home.play(words).exit, 0, "{words}");
        let archive = archive_of(&home);
        // Nothing is there to copy from when the next one is made.
        fs::remove_dir_all(home.path(".codex-manager")).unwrap();
        archive
    };
    let alone = archive("backup --jobs 1");
    for jobs in [2, 7] {
        assert!(archive(&format!("backup --jobs {jobs}")) == alone, "{jobs}");
    }
    assert_snapshot!(home.run("backup --jobs 1025"), @"
    $ codex-manager backup --jobs 1025
    error: the value given does not fit `jobs`: a whole number between 0 and 1024 is expected
    hint: `codex-manager config list` shows every setting and what it is for
    (exit 4)
    ");
}

#[test]
fn a_level_is_a_flag_or_a_setting_and_stands_in_the_sidecar() {
    let made = |home: &TestHome, words: &str| {
        let data = home.json(words)["data"].clone();
        let archive = &data["metadata"]["archive"];
        (archive["compressor"].as_str().unwrap().to_owned(), archive["bytes"].as_u64().unwrap())
    };
    let home = of_some_size().config("compression_level", "6");
    let (compressor, usual) = made(&home, "backup --level 1 --label usual");
    assert_eq!(compressor, "codex-manager-2/1");
    let (compressor, small) = made(&home, "backup");
    assert_eq!(compressor, "codex-manager-2/6");
    let (compressor, smallest) = made(&home, "backup --level 12");
    assert_eq!(compressor, "libdeflate-1.26/12");
    assert!(smallest < small && small < usual, "{smallest} {small} {usual}");
    assert_eq!(home.play("verify --all").exit, 0);
    assert_snapshot!(home.run("backup --level 13"), @"
    $ codex-manager backup --level 13
    error: invalid value '13' for '--level <N>': 13 is not in 1..=12

    For more information, try '--help'.
    (exit 4)
    ");
}
