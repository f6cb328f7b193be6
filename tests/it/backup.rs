//! `backup`: is everything stored, and is the home left as it was?

use std::fs::File;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use insta::assert_snapshot;

use crate::home::TestHome;

#[test]
fn a_snapshot_is_an_archive_and_a_sidecar_named_after_the_week() {
    let home = TestHome::of_ada();
    assert_snapshot!(home.run("backup"), @"
    $ codex-manager backup
    stored   2026-11-19-100200-ada@example.com-codex
    content  5 files, 15 KiB packed into #.# KiB
    quota    60% left, week resets Thu 26 Nov 10:02 (rollout)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ");
    assert_snapshot!(home.files(), @"
    backups/2026-11-19-100200-ada@example.com-codex.metadata.json
    backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ledger.jsonl
    lock
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
    login      1      1.0 KiB
    config     1      16 B
    sessions   1      763 B
    databases  1      12 KiB

    left out:
      auth.lock  valid only here and now
      state_5.sqlite-shm  part of its database
      state_5.sqlite-wal  part of its database
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
    ["models_cache.json","skills/big/"]
    "#);
    let name = exclude["data"]["snapshot"].as_str().unwrap();
    assert_snapshot!(members(&home, name), @"
    auth.json
    .codex-manager/
    .codex-manager/metadata.json
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
    content  5 files, 15 KiB packed into #.# KiB
    quota    60% left, week resets Thu 26 Nov 10:02 (rollout)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com~2-codex.tar.gz
    ");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                       KIND  SIZE     CREATED           AVAILABLE         LABEL
    2026-11-19-100200-ada@example.com~2-codex  full  #.# KiB  2026-11-21 12:00  2026-11-26 10:02  before the update
    2026-11-19-100200-ada@example.com-codex    full  #.# KiB  2026-11-21 11:00  2026-11-26 10:02  –
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
    content  6 files, 15 KiB packed into #.# KiB
    quota    60% left, week resets Thu 26 Nov 10:02 (rollout)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ");
    assert_snapshot!(home.files(), @"
    backups/2026-11-19-100200-ada@example.com-codex.metadata.json
    backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ledger.jsonl
    lock
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
    content  2 files, 2.1 KiB packed into #.# KiB
    quota    unknown
    archive  ~/.codex-manager/backups/2026-11-21-110000-ada@example.com-codex.tar.gz
    ");
    let home =
        home.typed("Account: ada@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n");
    assert_snapshot!(home.run("backup --status-file -"), @"
    $ codex-manager backup --status-file -
    stored   2026-11-19-100200-ada@example.com-codex
    content  2 files, 2.5 KiB packed into #.# KiB
    quota    61% left, week resets Thu 26 Nov 10:02 (status-text)
    archive  ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ");
    assert_snapshot!(home.run("backup --without-status-check"), @"
    $ codex-manager backup --without-status-check
    stored   2026-11-21-110000-ada@example.com~2-codex
    content  2 files, 2.4 KiB packed into #.# KiB
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
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), sidecar);
    // These depend on this folder's random name, on the salt, or on the machine.
    for pointer in
        ["/archive/bytes", "/archive/toc_digest", "/login/fingerprint", "/manager_version"]
    {
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
        "files": 5,
        "content_bytes": 15774
      },
      "label": "weekly",
      "note": "a remark",
      "tags": [],
      "pinned": false,
      "host": null,
      "created_at": "2026-11-21T11:00:00+01:00",
      "manager_version": "…"
    }
    "#);
}
