//! `normalize`: what do the older tool's login files say?

use insta::assert_snapshot;

use crate::home::{TestHome, ids, login};

fn legacy() -> TestHome {
    TestHome::at("2026-04-20T10:00:00Z")
        .legacy_auth("21apr_drdpsbose023@example.com_auth.json", "2026-04-14T17:55:00+02:00")
        .legacy_auth("9APR_Third_Person@mail.example.com_auth.json", "2026-04-15T09:00:00+02:00")
        .file("legacy/notes_auth.json", "{}")
        .file("legacy/readme.txt", "not looked at")
}

#[test]
fn the_example_of_the_specification_holds() {
    let home = legacy();
    let answer = home.json("normalize legacy");
    assert_snapshot!(format!("{:#}", answer["data"]["records"][0]), @r#"
    {
      "email": "drdpsbose023@example.com",
      "legacy_auth_filename": "21apr_drdpsbose023@example.com_auth.json",
      "legacy_quota_day_token": "21apr",
      "quota_end_detected_at": "2026-04-14T17:55:00+02:00",
      "session_start_at": "2026-04-14T15:55:00+02:00",
      "next_available_at": "2026-04-21T15:55:00+02:00",
      "inferred_session_duration_seconds": 7200,
      "proposed_archive_name": "2026-04-14-155500-drdpsbose023@example.com-codex.tar.gz",
      "validation_status": "ok",
      "validation_details": "`21apr` is the day of next_available_at, 2026-04-21",
      "source_path": "~/legacy/21apr_drdpsbose023@example.com_auth.json"
    }
    "#);
}

#[test]
fn the_records_and_what_was_skipped_are_told() {
    let home = legacy();
    let before = home.tree("legacy");
    assert_snapshot!(home.run("normalize legacy"), @"
    $ codex-manager normalize legacy
    FILE                                          ACCOUNT                        BEGAN                AVAILABLE            CHECK
    21apr_drdpsbose023@example.com_auth.json      drdpsbose023@example.com       2026-04-14 15:55:00  2026-04-21 15:55:00  ok
    9APR_Third_Person@mail.example.com_auth.json  third_person@mail.example.com  2026-04-15 07:00:00  2026-04-22 07:00:00  mismatch
    9APR_Third_Person@mail.example.com_auth.json: `09apr` means 2026-04-09, but next_available_at is on 2026-04-22
    skipped notes_auth.json: the name does not begin with a day such as `21apr_`
    written to ~/.codex-manager/inventory.json
    ");
    home.assert_same("legacy", &before); // the files are never touched
    assert_snapshot!(home.files(), @"
    backups/
    inventory.json
    lock
    operations.jsonl
    tmp/
    trash/
    undo/
    ");
}

#[test]
fn a_second_run_changes_nothing() {
    let home = legacy();
    home.run("normalize legacy --adopt");
    let before = home.tree(".codex-manager/backups");
    let inventory = home.read(".codex-manager/inventory.json");
    let home = home.later("+1h");
    assert_snapshot!(home.run("normalize legacy --adopt"), @"
    $ codex-manager normalize legacy --adopt
    FILE                                          ACCOUNT                        BEGAN                AVAILABLE            CHECK
    21apr_drdpsbose023@example.com_auth.json      drdpsbose023@example.com       2026-04-14 15:55:00  2026-04-21 15:55:00  ok
    9APR_Third_Person@mail.example.com_auth.json  third_person@mail.example.com  2026-04-15 07:00:00  2026-04-22 07:00:00  mismatch
    9APR_Third_Person@mail.example.com_auth.json: `09apr` means 2026-04-09, but next_available_at is on 2026-04-22
    skipped notes_auth.json: the name does not begin with a day such as `21apr_`
    stored already: 21apr_drdpsbose023@example.com_auth.json as 2026-04-14-155500-drdpsbose023@example.com-codex
    stored already: 9APR_Third_Person@mail.example.com_auth.json as 2026-04-15-070000-third_person@mail.example.com-codex
    nothing new for ~/.codex-manager/inventory.json
    ");
    home.assert_same(".codex-manager/backups", &before);
    assert_eq!(home.read(".codex-manager/inventory.json"), inventory);
}

#[test]
fn a_dry_run_writes_nothing() {
    let home = legacy();
    let before = home.tree("");
    assert_snapshot!(home.run("normalize legacy --adopt --dry-run"), @"
    $ codex-manager normalize legacy --adopt --dry-run
    FILE                                          ACCOUNT                        BEGAN                AVAILABLE            CHECK
    21apr_drdpsbose023@example.com_auth.json      drdpsbose023@example.com       2026-04-14 15:55:00  2026-04-21 15:55:00  ok
    9APR_Third_Person@mail.example.com_auth.json  third_person@mail.example.com  2026-04-15 07:00:00  2026-04-22 07:00:00  mismatch
    9APR_Third_Person@mail.example.com_auth.json: `09apr` means 2026-04-09, but next_available_at is on 2026-04-22
    skipped notes_auth.json: the name does not begin with a day such as `21apr_`
    would adopt 21apr_drdpsbose023@example.com_auth.json as 2026-04-14-155500-drdpsbose023@example.com-codex
    would adopt 9APR_Third_Person@mail.example.com_auth.json as 2026-04-15-070000-third_person@mail.example.com-codex
    would write ~/.codex-manager/inventory.json
    ");
    home.assert_same("", &before);
}

#[test]
fn an_adopted_login_can_be_used() {
    let home = legacy().signed_in("ada@example.com");
    assert_snapshot!(home.run("normalize legacy --adopt"), @"
    $ codex-manager normalize legacy --adopt
    FILE                                          ACCOUNT                        BEGAN                AVAILABLE            CHECK
    21apr_drdpsbose023@example.com_auth.json      drdpsbose023@example.com       2026-04-14 15:55:00  2026-04-21 15:55:00  ok
    9APR_Third_Person@mail.example.com_auth.json  third_person@mail.example.com  2026-04-15 07:00:00  2026-04-22 07:00:00  mismatch
    9APR_Third_Person@mail.example.com_auth.json: `09apr` means 2026-04-09, but next_available_at is on 2026-04-22
    skipped notes_auth.json: the name does not begin with a day such as `21apr_`
    adopted 21apr_drdpsbose023@example.com_auth.json as 2026-04-14-155500-drdpsbose023@example.com-codex
    adopted 9APR_Third_Person@mail.example.com_auth.json as 2026-04-15-070000-third_person@mail.example.com-codex
    written to ~/.codex-manager/inventory.json
    ");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                                   KIND  SIZE     CREATED           AVAILABLE         LABEL  PROVEN
    2026-04-15-070000-third_person@mail.example.com-codex  auth  #.# KiB  2026-04-20 12:00  2026-04-22 07:00  –      –
    2026-04-14-155500-drdpsbose023@example.com-codex       auth  #.# KiB  2026-04-20 12:00  2026-04-21 15:55  –      –
    ");
    assert_snapshot!(home.run("use third_person"), @"
    $ codex-manager use third_person
    stored the login that was live as 2026-04-20-120000-ada@example.com-codex
    signed in third_person@mail.example.com, with the login from 2026-04-15-070000-third_person@mail.example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    assert_eq!(
        home.read(".codex/auth.json"),
        home.read("legacy/9APR_Third_Person@mail.example.com_auth.json")
    );
}

#[test]
fn the_duration_moves_the_start_and_the_year_can_be_told() {
    let home = legacy();
    let starts = |words: &str| {
        let answer = home.json(&format!("normalize legacy --dry-run {words}"));
        let record = &answer["data"]["records"][0];
        format!("{} {}", record["session_start_at"], record["validation_status"])
    };
    assert_snapshot!(starts(""), @r#"
    "2026-04-14T15:55:00+02:00" "ok"
    "#);
    assert_snapshot!(starts("--session-duration-hours 0.5"), @r#"
    "2026-04-14T17:25:00+02:00" "ok"
    "#);
    assert_snapshot!(starts("--reference-year 2025"), @r#"
    "2026-04-14T15:55:00+02:00" "mismatch"
    "#);
    assert_snapshot!(home.run("normalize legacy --session-duration-hours -1"), @"
    $ codex-manager normalize legacy --session-duration-hours -1
    error: unexpected argument '-1' found

      tip: to pass '-1' as a value, use '-- -1'

    Usage: codex-manager normalize [OPTIONS] [FOLDER]

    For more information, try '--help'.
    (exit 4)
    ");
}

#[test]
fn records_that_are_known_are_kept() {
    let home = legacy();
    home.run("normalize legacy");
    let home = home.legacy_auth("28apr_new@example.com_auth.json", "2026-04-21T18:30:00+02:00");
    std::fs::remove_file(home.path("legacy/21apr_drdpsbose023@example.com_auth.json")).unwrap();
    home.run("normalize legacy");
    let inventory: serde_json::Value =
        serde_json::from_slice(&home.read(".codex-manager/inventory.json")).unwrap();
    let emails: Vec<&str> = inventory["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["email"].as_str().unwrap())
        .collect();
    assert_eq!(emails.len(), 3, "{emails:?}");
}

#[test]
fn files_of_one_address_and_second_get_a_name_each_as_the_dry_run_announced() {
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-04-14T17:55:00+02:00";
    let home = TestHome::at("2026-04-20T10:00:00Z")
        .legacy_auth("21apr_ada@example.com_auth.json", at)
        .now(at)
        .file(
            "legacy/22apr_ada@example.com_auth.json",
            login("ada@example.com", &user, &workspace, "rt_another", at),
        )
        .tokens_in("legacy")
        .now("2026-04-20T10:00:00Z");
    let announced = home.json("normalize legacy --adopt --dry-run");
    let name = |number: &str| format!("2026-04-14-155500-ada@example.com{number}-codex");
    for (index, number) in ["", "~2"].into_iter().enumerate() {
        let data = &announced["data"];
        assert_eq!(data["adopted"][index]["snapshot"], name(number));
        let archive = name(number) + ".tar.gz";
        assert_eq!(data["records"][index]["proposed_archive_name"], archive);
    }
    let adopted = home.json("normalize legacy --adopt");
    assert_eq!(adopted["data"]["adopted"], announced["data"]["adopted"]);
    let again = home.json("normalize legacy --adopt");
    for (index, number) in ["", "~2"].into_iter().enumerate() {
        let told = &again["data"]["adopted"][index];
        assert_eq!((&told["snapshot"], &told["new"]), (&name(number).into(), &false.into()));
    }
    assert_eq!(home.json("list")["data"]["snapshots"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_inventory_of_a_newer_version_is_refused_and_stays() {
    let newer = |records: &str| {
        format!("{{\"schema\":\"codex-manager/inventory\",\"schema_version\":2{records}}}")
    };
    for records in ["", ",\"records\":[]"] {
        let home = TestHome::at("2026-11-21T10:00:00Z")
            .legacy_auth("21apr_ada@example.com_auth.json", "2026-04-14T15:55:00Z")
            .file(".codex-manager/inventory.json", newer(records));
        let answer = home.json("normalize legacy");
        assert_eq!(answer["error"]["code"], 5, "{answer}");
        let hint = answer["error"]["hint"].as_str().unwrap();
        assert!(hint.starts_with("update codex-manager"), "{hint}");
        assert_eq!(home.read(".codex-manager/inventory.json"), newer(records).as_bytes());
    }
}

#[test]
fn the_very_same_login_is_adopted_once_whatever_its_session_lasted_and_its_file_is_called() {
    let (april, may) = ("21apr_ada@example.com_auth.json", "01may_ada@example.com_auth.json");
    let home = TestHome::at("2026-11-21T10:00:00Z").legacy_auth(april, "2026-04-14T15:55:00Z");
    let adopted = |home: &TestHome, more: &str| {
        let answer = home.json(&format!("normalize legacy --adopt {more}"));
        let adopted = answer["data"]["adopted"].as_array().unwrap().clone();
        let names: Vec<String> =
            adopted.iter().map(|it| it["snapshot"].as_str().unwrap().to_owned()).collect();
        names
    };
    let first = adopted(&home, "--dry-run");
    assert_eq!(adopted(&home, ""), first);
    assert_eq!(adopted(&home, "--session-duration-hours 3"), first);
    assert_eq!(home.files().matches(".tar.gz").count(), 1, "{}", home.files());
    // The same bytes under another name, in an earlier run and in one.
    let bytes = home.read(&format!("legacy/{april}"));
    let home = home.file(&format!("legacy/{may}"), &bytes).tokens_in("legacy");
    assert_eq!(adopted(&home, ""), [first[0].clone(), first[0].clone()]);
    let new = TestHome::at("2026-11-21T10:00:00Z")
        .tokens_in("legacy")
        .file(&format!("legacy/{april}"), &bytes)
        .file(&format!("legacy/{may}"), &bytes);
    let names = adopted(&new, "");
    assert_eq!(names[0], names[1]);
    assert_eq!(new.files().matches(".tar.gz").count(), 1, "{}", new.files());
}
