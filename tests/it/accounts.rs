//! `accounts`: are all of them told, and does what a person says of one hold?

use std::collections::BTreeMap;

use insta::assert_snapshot;

use crate::home::{Node, TestHome, ids};

/// Ada is stored, bob is signed in and stored, a record of the older tool tells of cleo.
fn three_accounts() -> TestHome {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1d").signed_in("bob@example.com");
    home.run("backup --auth-only");
    let home = home.legacy_auth("27nov_cleo@example.com_auth.json", "2026-11-20T12:00:00+01:00");
    home.run("normalize ~/legacy");
    home.later("+1h")
}

/// What lies in `backups/`, but for the folders.
fn snapshots(home: &TestHome) -> BTreeMap<String, Node> {
    let mut tree = home.tree(".codex-manager/backups");
    tree.retain(|name, _| home.manager("backups").join(name).is_file());
    tree
}

fn config(home: &TestHome) -> String {
    String::from_utf8(home.read(".codex-manager/config.toml")).unwrap()
}

#[test]
fn every_account_is_told_with_its_freshest_login() {
    let home = three_accounts();
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT           PLAN  ID        STATE                   LOGIN              SNAPSHOTS  NEWEST
       ada@example.com   plus  c05f64f3  ready                   stored, 1d 1h old  1          1d 1h
    *  bob@example.com   plus  216f6212  ready                   live, 1h old       1          1h
       cleo@example.com  –     0b0d8548  until Fri 27 Nov 10:00  none               0          –
    ");
    let told = home.json("accounts");
    let ada = &told["data"]["accounts"][0];
    assert_eq!(ada["login"]["snapshot"], "2026-11-19-100200-ada@example.com-codex");
    assert_eq!(ada["login"]["expired"], false);
    assert_eq!(ada["snapshots"]["count"], 1);
    let bob = &told["data"]["accounts"][1];
    assert_eq!((&bob["active"], &bob["login"]["snapshot"]), (&true.into(), &().into()));
    assert_eq!(told["data"]["accounts"][2]["login"], serde_json::Value::Null);

    let home = home.later("+20d");
    assert_eq!(home.json("accounts")["data"]["accounts"][0]["login"]["expired"], true);
    // The access token has ended, as it does every few days: Codex renews it.
    assert!(home.run("accounts").contains("stored, 21d 1h old  1"));

    // A copy that is newer than the live one is the freshest wherever it is.
    let (user, workspace) = ids("bob@example.com");
    let time = "2026-11-01T10:30:00Z";
    let home = home.signed_in_as("bob@example.com", &user, &workspace, "rt_old", time);
    let told = home.json("accounts");
    assert_eq!(
        told["data"]["accounts"][1]["login"]["snapshot"],
        "2026-11-22-110000-bob@example.com-codex"
    );
}

#[test]
fn a_narrow_terminal_drops_what_matters_less() {
    let home = three_accounts().columns(80);
    home.run("accounts note bob 'of the team'");
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT           STATE                   LOGIN              NOTE
       ada@example.com   ready                   stored, 1d 1h old
    *  bob@example.com   ready                   live, 1h old       of the team
       cleo@example.com  until Fri 27 Nov 10:00  none
    ");
    let home = home.columns(30);
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT   STATE
       ada@exa…  ready
    *  bob@exa…  ready
       cleo@ex…  until Fri 27 Nov 10:00
    ");
}

#[test]
fn a_long_note_takes_no_other_column_away() {
    let home = three_accounts().columns(110);
    home.run("accounts note ada 'a remark that goes on and on and says very little until it ends at last'");
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT           PLAN  ID        STATE                   LOGIN              SNAPSHOTS  NOTE
       ada@example.com   plus  c05f64f3  ready                   stored, 1d 1h old  1          a remark that goes…
    *  bob@example.com   plus  216f6212  ready                   live, 1h old       1
       cleo@example.com  –     0b0d8548  until Fri 27 Nov 10:00  none               0
    ");
    assert_snapshot!(home.run("log -n 1"), @"
    $ codex-manager log -n 1
    OPERATION                        WHAT                                                                     UNDO
    2026-11-22-120000-accounts-note  noted of ada@example.com: a remark that goes on and on and says very l…  yes
    ");
    let home = home.columns(60);
    assert_snapshot!(home.run("log -n 1"), @"
    $ codex-manager log -n 1
    OPERATION                        WHAT                   UNDO
    2026-11-22-120000-accounts-note  noted of ada@example…  yes
    ");
    // Nothing wraps where a name can be cut.
    let home = home.columns(40);
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT        STATE
       ada@example.…  ready
    *  bob@example.…  ready
       cleo@example…  until Fri 27 Nov 10:00
    ");
    home.run("accounts disable ada");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT   STATE            AVAILABLE
       ada@exa…  ready, disabled  now
    *  bob@exa…  ready            now
       cleo@ex…  cooldown         Fri 27 Nov 10:00
    ");
    assert_eq!(home.json("cooldown")["data"]["accounts"][0]["state"], "ready");
}

#[test]
fn a_login_that_codex_does_not_use_signs_nobody_in() {
    let home =
        three_accounts().file(".codex/config.toml", "cli_auth_credentials_store = \"keyring\"\n");
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
    warning: who is signed in is not known: Codex keeps its login in the keyring and does not use the one of bob@example.com in auth.json
       ACCOUNT           PLAN  ID        STATE                   LOGIN              SNAPSHOTS  NEWEST
       ada@example.com   plus  c05f64f3  ready                   stored, 1d 1h old  1          1d 1h
       bob@example.com   plus  216f6212  ready                   stored, 1h old     1          1h
       cleo@example.com  –     0b0d8548  until Fri 27 Nov 10:00  none               0          –
    ");
    assert_snapshot!(home.run("status --offline"), @"
    $ codex-manager status --offline
    warning: who is signed in is not known: Codex keeps its login in the keyring and does not use the one of bob@example.com in auth.json
    account  ada@example.com
    5 h      88% left, reset Sat 21 Nov 13:00
    week     60% left, resets Thu 26 Nov 10:02 (in 3d 22h)
    plan     plus
    source   rollout, 1d 1h old
    ");
    assert!(!home.run("recommend --why").contains("active now"));
    assert_snapshot!(home.run("adopt"), @r#"
    $ codex-manager adopt
    error: Codex keeps this login in the keyring, not in auth.json
    hint: set cli_auth_credentials_store = "file" in Codex's config.toml and sign in again
    (exit 4)
    "#);
    let active = |home: &TestHome| {
        let told = home.json("accounts");
        let rows = told["data"]["accounts"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["active"] == true).count()
    };
    assert_eq!(active(&home), 0);
    let home = home.file(".codex/config.toml", "cli_auth_credentials_store = \"ephemeral\"\n");
    assert_eq!(active(&home), 0);
    // The file is where it looks when the keyring has none.
    let home = home.file(".codex/config.toml", "cli_auth_credentials_store = \"auto\"\n");
    assert_eq!(active(&home), 1);
}

#[test]
fn an_api_key_is_called_one() {
    let home = three_accounts()
        .file(".codex/auth.json", "{\"auth_mode\":\"apikey\",\"OPENAI_API_KEY\":\"sk-made-up\"}");
    home.run("adopt");
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT           PLAN  ID        STATE                   LOGIN              SNAPSHOTS  NEWEST
       ada@example.com   plus  c05f64f3  ready                   stored, 1d 1h old  1          1d 1h
       bob@example.com   plus  216f6212  ready                   stored, 1h old     1          1h
       cleo@example.com  –     0b0d8548  until Fri 27 Nov 10:00  none               0          –
    *  API key ef726ad4  –     ef726ad4  ready                   live               1          0s
    ");
    assert!(home.tree(".codex-manager/backups").keys().any(|name| name.contains("apikey")));
    let home = TestHome::at("2026-11-21T10:00:00Z")
        .file(".codex/auth.json", "{\"auth_mode\":\"apikey\",\"OPENAI_API_KEY\":\"sk-made-up\"}");
    assert!(home.run("status --offline").contains("account  API key ef726ad4"));
    // So is nobody, where Codex keeps the login elsewhere.
    let home = home.file(".codex/config.toml", "cli_auth_credentials_store = \"keyring\"\n");
    let told = home.run("status --offline");
    assert!(told.contains("account  not known: Codex keeps its login in the keyring"), "{told}");
}

#[test]
fn who_knows_nobody_learns_how_to_begin() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
    no account is known yet: `codex-manager adopt` stores the login that is live, `codex-manager login` signs one in
    ");
    assert_eq!(home.files(), "");
}

#[test]
fn an_account_gets_a_name_in_one_command_and_is_used_by_it() {
    let home = three_accounts();
    assert_snapshot!(home.run("accounts alias ada@example.com work --dry-run"), @"
    $ codex-manager accounts alias ada@example.com work --dry-run
    would: ada@example.com is called work now
    ");
    assert_snapshot!(home.run("accounts alias ada@example.com work"), @"
    $ codex-manager accounts alias ada@example.com work
    ada@example.com is called work now
    ");
    assert_snapshot!(home.run("accounts alias work work"), @"
    $ codex-manager accounts alias work work
    ada@example.com is called work already
    ");
    assert_eq!(home.play("use work --dry-run").exit, 0);
    assert_snapshot!(config(&home), @r#"
    [aliases]
    work = "ada@example.com"
    "#);
    // One account, one name.
    assert_snapshot!(home.run("accounts alias work office"), @"
    $ codex-manager accounts alias work office
    ada@example.com is called office now
    ");
    assert_snapshot!(config(&home), @r#"
    [aliases]
    office = "ada@example.com"
    "#);
    assert_snapshot!(home.run("accounts alias office --remove"), @"
    $ codex-manager accounts alias office --remove
    ada@example.com is called office no more
    ");
    assert_snapshot!(home.run("accounts alias ada --remove"), @"
    $ codex-manager accounts alias ada --remove
    ada@example.com has no other name
    ");
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    taken back     2026-11-22-120000-accounts-alias-3: ada@example.com is called office no more
    the other way  codex-manager undo 2026-11-22-120000-undo
    ");
    assert_eq!(home.play("use office --dry-run").exit, 0);
}

#[test]
fn a_name_of_somebody_unknown_is_nobodys_part() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.signed_in("bob@example.com");
    home.run("backup --auth-only");
    home.run("config set aliases.x dora@example.com");
    let before = home.tree(".codex");
    assert_snapshot!(home.run("use x"), @r#"
    $ codex-manager use x
    error: x is set to "dora@example.com", and no account that is known is that one
    hint: `codex-manager accounts alias ACCOUNT x` gives that name to one that is known, `codex-manager config unset aliases.x` takes it away
    (exit 4)
    "#);
    assert_eq!(home.json("use X")["error"]["code"], 4);
    for line in [
        "accounts disable x",
        "accounts forget x --yes",
        "cooldown set x --until +1d",
        "drill --account x",
        "history x",
        "list --account x",
        "prune --account x",
        "ready x",
        "restore --account x --yes",
        "show --account x",
        "status --offline x",
        "use x --full --yes",
        "verify --account x",
    ] {
        let told = home.run(line);
        assert!(told.contains("error: x is set to \"dora@example.com\""), "{told}");
        assert!(told.contains("(exit 4)"), "{told}");
    }
    home.assert_same(".codex", &before);
    // The second of two names is one too, whatever it is a part of.
    home.run("config set aliases.bob ada@example.com");
    home.run("config set aliases.zed ada@example.com");
    assert!(home.run("use bob --dry-run").contains("would sign in zed"));
    assert_snapshot!(home.run("accounts alias bob@example.com Bob"), @"
    $ codex-manager accounts alias bob@example.com Bob
    error: Bob already means ada@example.com
    hint: take another name, or give that account another one first
    (exit 2)
    ");
    assert_snapshot!(home.run("accounts alias ada@example.com x"), @"
    $ codex-manager accounts alias ada@example.com x
    ada@example.com is called x now
    ");
    assert!(home.run("use x --dry-run").contains("would sign in x"));
}

#[test]
fn the_account_before_that_was_forgotten_is_named_as_people_do() {
    let home = three_accounts();
    assert_eq!(home.play("use ada").exit, 0);
    assert_eq!(home.play("accounts forget bob --yes").exit, 0);
    assert_snapshot!(home.run("use -"), @"
    $ codex-manager use -
    error: no login of bob@example.com is stored
    hint: `codex-manager login` signs in and stores the login
    (exit 4)
    ");
}

#[test]
fn a_name_that_meant_somebody_else_is_told() {
    let home = three_accounts();
    assert_snapshot!(home.run("accounts alias ada@example.com bob"), @"
    $ codex-manager accounts alias ada@example.com bob
    warning: bob meant bob@example.com until now
    ada@example.com is called bob now
    ");
    assert!(home.run("use bob --dry-run").contains("would sign in bob, with"));
    assert_snapshot!(home.run("config set accounts.bob.priority 1"), @r#"
    $ codex-manager config set accounts.bob.priority 1
    error: there is no setting "accounts.bob.priority"
    hint: `accounts.NAME.FIELD` has an e-mail, a key or a short id as its NAME; `codex-manager accounts` shows them
    (exit 4)
    "#);
}

#[test]
fn a_name_never_means_two_accounts() {
    let home = three_accounts();
    home.run("accounts alias ada work");
    let ada = home.json("accounts")["data"]["accounts"][0]["short_id"].as_str().unwrap().to_owned();
    let before = config(&home);
    assert_snapshot!(home.run("accounts alias bob Work"), @"
    $ codex-manager accounts alias bob Work
    error: Work already means ada@example.com
    hint: take another name, or give that account another one first
    (exit 2)
    ");
    assert_eq!(home.play(&format!("accounts alias bob {ada}")).exit, 2);
    for odd in ["a@b", "''", "'a b'", "-- -", "next/1", "ünder"] {
        assert_eq!(home.play(&format!("accounts alias bob {odd}")).exit, 4, "{odd}");
    }
    assert_snapshot!(home.run("accounts alias bob 'a b'"), @r#"
    $ codex-manager accounts alias bob 'a b'
    error: "a b" cannot be a name for an account
    hint: a name has letters, digits, `-` and `_`, 64 at most, and begins with no `-`
    (exit 4)
    "#);
    assert_snapshot!(home.run("accounts alias nobody there"), @r#"
    $ codex-manager accounts alias nobody there
    error: no account is called "nobody"
    hint: `codex-manager accounts` lists them
    (exit 4)
    "#);
    assert_snapshot!(home.run("accounts alias example.com there"), @r#"
    $ codex-manager accounts alias example.com there
    error: "example.com" fits 3 accounts: work, bob@example.com, cleo@example.com
    hint: name one of them in full
    (exit 2)
    "#);
    assert_eq!(home.play("accounts alias bob").exit, 4);
    assert_eq!(home.play("accounts alias bob there --remove").exit, 4);
    assert_eq!(config(&home), before);
    // Of two accounts with one address the key is written down.
    let home =
        home.signed_in_as("bob@example.com", "user-x", "acct-x", "rt_x", "2026-11-22T11:00:00Z");
    assert_eq!(home.play("accounts alias 'chatgpt:user-x/acct-x' seat").exit, 0);
    assert!(config(&home).contains("seat = \"chatgpt:user-x/acct-x\""), "{}", config(&home));
    assert_eq!(home.play("accounts note seat 'my own'").exit, 0);
    assert_snapshot!(config(&home), @r#"
    [aliases]
    work = "ada@example.com"
    seat = "chatgpt:user-x/acct-x"

    [accounts."chatgpt:user-x/acct-x"]
    note = "my own"
    "#);
}

#[test]
fn what_holds_for_an_address_that_two_share_holds_for_neither_and_is_told() {
    let home = three_accounts();
    home.run("accounts disable bob");
    home.run("accounts alias bob mine");
    let home =
        home.signed_in_as("bob@example.com", "user-x", "acct-x", "rt_x", "2026-11-22T11:00:00Z");
    assert_snapshot!(home.run("accounts"), @r#"
    $ codex-manager accounts
    warning: what config.toml says of accounts.bob@example.com holds for none of them: "bob@example.com" fits 2 accounts: 216f6212 (bob@example.com), 6df5c8f7 (bob@example.com)
    warning: aliases.mine in config.toml names nobody: "bob@example.com" fits 2 accounts: 216f6212 (bob@example.com), 6df5c8f7 (bob@example.com)
       ACCOUNT                     PLAN  ID        STATE                   LOGIN              SNAPSHOTS  NEWEST
       ada@example.com             plus  c05f64f3  ready                   stored, 1d 1h old  1          1d 1h
       bob@example.com (216f6212)  plus  216f6212  ready                   stored, 1h old     1          1h
    *  bob@example.com (6df5c8f7)  plus  6df5c8f7  ready                   live, 0s old       0          –
       cleo@example.com            –     0b0d8548  until Fri 27 Nov 10:00  none               0          –
    "#);
}

#[test]
fn a_note_and_a_switch_stand_beside_what_a_person_wrote() {
    let home = three_accounts().file(
        ".codex-manager/config.toml",
        "# mine\n[accounts.\"Bob@Example.com\"] # b\nreserve = 10 # keep\n",
    );
    assert_snapshot!(home.run("accounts note bob 'of the team'"), @"
    $ codex-manager accounts note bob 'of the team'
    noted of bob@example.com: of the team
    ");
    assert_snapshot!(home.run("accounts note bob 'of the team'"), @"
    $ codex-manager accounts note bob 'of the team'
    that is noted of bob@example.com already
    ");
    assert_snapshot!(home.run("accounts disable bob"), @"
    $ codex-manager accounts disable bob
    bob@example.com is disabled: `recommend` passes it over
    ");
    assert_snapshot!(home.run("accounts disable bob"), @"
    $ codex-manager accounts disable bob
    bob@example.com is disabled already
    ");
    assert_snapshot!(config(&home), @r#"
    # mine
    [accounts."Bob@Example.com"] # b
    reserve = 10 # keep
    note = "of the team"
    disabled = true
    "#);
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT           PLAN  ID        STATE                   LOGIN              SNAPSHOTS  NEWEST  NOTE
       ada@example.com   plus  c05f64f3  ready                   stored, 1d 1h old  1          1d 1h
    *  bob@example.com   plus  216f6212  disabled                live, 1h old       1          1h      of the team
       cleo@example.com  –     0b0d8548  until Fri 27 Nov 10:00  none               0          –
    ");
    let told = home.json("accounts");
    let bob = &told["data"]["accounts"][1];
    assert_eq!(
        (&bob["disabled"], &bob["reserve"], &bob["note"]),
        (&true.into(), &10.into(), &"of the team".into())
    );
    assert_snapshot!(home.run("use bob"), @"
    $ codex-manager use bob
    warning: bob@example.com is disabled: `recommend` passes it over; `codex-manager accounts enable` ends that
    bob@example.com is signed in already, with its newest login
    ");
    assert_snapshot!(home.run("accounts enable bob"), @"
    $ codex-manager accounts enable bob
    bob@example.com is enabled: `recommend` counts it again
    ");
    assert_snapshot!(home.run("accounts enable bob"), @"
    $ codex-manager accounts enable bob
    bob@example.com is enabled already
    ");
    assert_snapshot!(home.run("accounts note bob --remove"), @"
    $ codex-manager accounts note bob --remove
    bob@example.com has no note any more
    ");
    assert_snapshot!(home.run("accounts note bob --remove"), @"
    $ codex-manager accounts note bob --remove
    bob@example.com has no note
    ");
    assert_snapshot!(config(&home), @r#"
    # mine
    [accounts."Bob@Example.com"] # b
    reserve = 10 # keep
    "#);
    assert_snapshot!(home.run("accounts note bob \"two\nlines\""), @r#"
    $ codex-manager accounts note bob "two
    lines"
    error: a note is one line of 1 to 500 bytes
    hint: `codex-manager accounts note ACCOUNT --remove` takes the note away
    (exit 4)
    "#);
    assert_eq!(home.play("accounts note bob ''").exit, 4);
    assert_eq!(home.play(&format!("accounts note bob {}", "n".repeat(501))).exit, 4);
    assert_eq!(home.play(&format!("accounts note bob {} --dry-run", "n".repeat(500))).exit, 0);
    assert_snapshot!(home.run("log"), @"
    $ codex-manager log
    OPERATION                           WHAT                                                     UNDO
    2026-11-22-120000-accounts-note-2   bob@example.com has no note any more                     yes
    2026-11-22-120000-accounts-enable   bob@example.com is enabled: `recommend` counts it again  yes
    2026-11-22-120000-accounts-disable  bob@example.com is disabled: `recommend` passes it over  yes
    2026-11-22-120000-accounts-note     noted of bob@example.com: of the team                    yes
    2026-11-22-110000-normalize         took over records from ~/legacy                          yes
    2026-11-22-110000-backup            stored 2026-11-22-110000-bob@example.com-codex           yes
    2026-11-21-110000-backup            stored 2026-11-19-100200-ada@example.com-codex           yes
    ");
}

#[test]
fn an_account_is_forgotten_with_all_that_is_kept_of_it_and_comes_back() {
    let home = three_accounts();
    home.run("accounts alias ada work");
    home.run("accounts note ada 'of the team'");
    home.run("cooldown set ada --until +2d");
    let before = snapshots(&home);
    let shown = home.run("accounts");
    let untouched = home.tree("");
    assert_snapshot!(home.run("accounts forget ada"), @"
    $ codex-manager accounts forget ada
    error: Forget work: 1 snapshot, 2 settings and what was read of its quota? The snapshots, with the login in them, stay in the trash for 30 days; `codex-manager undo` brings all of it back. Nobody is there to answer.
    hint: pass --yes to do it without asking, or --dry-run to see what would happen
    (exit 4)
    ");
    assert_snapshot!(home.run("accounts forget ada --dry-run"), @"
    $ codex-manager accounts forget ada --dry-run
    would forget work: 1 snapshot, 2 settings and what was read of its quota
    the snapshots, with the login in them, stay in the trash for 30 days; `codex-manager undo` brings all of it back
    ");
    home.assert_same("", &untouched);
    assert_snapshot!(home.run("accounts forget ada --yes"), @"
    $ codex-manager accounts forget ada --yes
    forgot work: 1 snapshot, 2 settings and what was read of its quota
    the snapshots, with the login in them, stay in the trash for 30 days; `codex-manager undo` brings all of it back
    ");
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT           PLAN  ID        STATE                   LOGIN         SNAPSHOTS  NEWEST
    *  bob@example.com   plus  216f6212  ready                   live, 1h old  1          1h
       cleo@example.com  –     0b0d8548  until Fri 27 Nov 10:00  none          0          –
    ");
    assert!(!config(&home).contains("ada"), "{}", config(&home));
    assert_snapshot!(home.run("use ada"), @r#"
    $ codex-manager use ada
    error: no account is called "ada"
    hint: `codex-manager accounts` lists them
    (exit 4)
    "#);
    assert!(!home.run("list").contains("ada"));
    assert!(!home.run("cooldown").contains("ada"));
    assert_snapshot!(home.files(), @"
    backups/2026-11-22-110000-bob@example.com-codex.metadata.json
    backups/2026-11-22-110000-bob@example.com-codex.tar.gz
    config.toml
    inventory.json
    ledger.jsonl
    lock
    operations.jsonl
    tmp/
    trash/2026-11-19-100200-ada@example.com-codex.metadata.json
    trash/2026-11-19-100200-ada@example.com-codex.tar.gz
    undo/2026-11-22-120000-accounts-forget/config.toml
    undo/2026-11-22-120000-accounts-note/config.toml
    ");
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    taken back     2026-11-22-120000-accounts-forget: forgot work: 1 snapshot, 2 settings and what was read of its quota
    the other way  codex-manager undo 2026-11-22-120000-undo
    ");
    assert_eq!(home.run("accounts"), shown);
    assert_eq!(snapshots(&home), before);
    // And away again, although it is the only copy of that login.
    assert_eq!(home.play("undo").exit, 0);
    assert!(!home.run("accounts").contains("ada"));
    assert_eq!(home.play("undo").exit, 0);
    assert_eq!(home.run("accounts"), shown);
}

#[test]
fn who_is_forgotten_and_signs_in_again_begins_anew() {
    let home = three_accounts();
    home.run("cooldown set ada --until +2d");
    assert_eq!(home.play("accounts forget ada --yes").exit, 0);
    let home = home.later("+1h").signed_in("ada@example.com");
    assert_snapshot!(home.run("accounts"), @"
    $ codex-manager accounts
       ACCOUNT           PLAN  ID        STATE                   LOGIN           SNAPSHOTS  NEWEST
    *  ada@example.com   plus  c05f64f3  ready                   live, 0s old    0          –
       bob@example.com   plus  216f6212  ready                   stored, 2h old  1          2h
       cleo@example.com  –     0b0d8548  until Fri 27 Nov 10:00  none            0          –
    ");
    assert_snapshot!(home.run("accounts forget ada --yes"), @"
    $ codex-manager accounts forget ada --yes
    error: ada@example.com is signed in
    hint: sign another account in with `codex-manager use ACCOUNT`, or sign out with `codex logout`, and try again
    (exit 2)
    ");
    // What was put away does not come back while she is signed in, but nothing else keeps it.
    assert_eq!(home.play("undo").exit, 0);
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    error: 2026-11-22-130000-undo cannot be taken back: ada@example.com is signed in now
    hint: `codex-manager log` shows what was done since; take that back first
    (exit 2)
    ");
}

#[test]
fn a_record_of_the_older_tool_is_forgotten_too() {
    let home = three_accounts();
    assert_snapshot!(home.run("accounts forget cleo --yes"), @"
    $ codex-manager accounts forget cleo --yes
    forgot cleo@example.com: 1 record of the older tool and what was read of its quota
    ");
    assert!(!home.run("accounts").contains("cleo"));
    assert_eq!(home.play("normalize ~/legacy").exit, 0);
    assert!(home.run("accounts").contains("cleo"), "the file is there, and was asked for anew");
    home.run("undo");
    assert!(!home.run("accounts").contains("cleo"));
    home.run("undo 'accounts-forget'");
    assert!(home.run("accounts").contains("cleo"));
}

#[test]
fn what_the_older_tool_stored_goes_to_the_trash_and_back() {
    let home = TestHome::at("2026-11-21T20:00:00Z").legacy_store("23.0.0");
    let shown = home.run("accounts --quiet");
    let before = snapshots(&home);
    let accounts = home.json("accounts")["data"]["accounts"].clone();
    for account in accounts.as_array().unwrap() {
        let key = account["account"].as_str().unwrap();
        assert_eq!(home.play(&format!("accounts forget '{key}' --yes")).exit, 0, "{key}");
        assert!(!home.json("accounts").to_string().contains(key), "{key}");
        home.run("undo --quiet");
        assert_eq!(home.run("accounts --quiet"), shown, "{key}");
    }
    assert_eq!(snapshots(&home), before);
}

#[test]
fn the_trash_lets_go_of_a_login_that_nobody_wants() {
    let home = three_accounts();
    assert_eq!(home.play("accounts forget ada --yes").exit, 0);
    let home = home.later("+40d");
    assert_snapshot!(home.run("prune --yes"), @"
    $ codex-manager prune --yes
    expired: ~/.codex-manager/trash/2026-11-19-100200-ada@example.com-codex.tar.gz (#.# KiB)
    deleted 1 expired item for good (6.4 KiB)
    ");
    assert!(!home.files().contains("trash/2026"), "{}", home.files());
    assert_snapshot!(home.run("undo accounts-forget"), @"
    $ codex-manager undo accounts-forget
    error: 2026-11-22-120000-accounts-forget cannot be taken back: ~/.codex-manager/trash/2026-11-19-100200-ada@example.com-codex.tar.gz is not there any more
    hint: what is kept goes when `codex-manager prune` finds it older than undo.keep_days and trash.keep_days say
    (exit 1)
    ");
}
