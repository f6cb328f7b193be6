//! `use`: is the right login put in place, and is the other one safe?

use std::time::Duration;

use codex_manager::account::AccountKey;
use codex_manager::codex::home::CodexHome;
use codex_manager::codex::process::{Holder, Role};
use codex_manager::snapshot::logins::{Live, Shelf, Stale};
use codex_manager::snapshot::operations::Record;
use codex_manager::snapshot::store::Store;
use codex_manager::snapshot::switch::{self, SwitchError};
use codex_manager::time::Zone;
use insta::assert_snapshot;

use crate::home::{TestHome, ids, login, rotten_member, without_checksum};

/// Ada and bob are stored, and bob is signed in.
fn two_accounts() -> TestHome {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1d").signed_in("bob@example.com");
    home.run("backup --auth-only");
    home.later("+1h")
}

#[test]
fn the_login_changes_and_nothing_else() {
    let home = two_accounts();
    let mut before = home.tree(".codex");
    assert_snapshot!(home.run("use ada"), @"
    $ codex-manager use ada
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    let mut after = home.tree(".codex");
    for tree in [&mut before, &mut after] {
        tree.remove("auth.json");
        tree.remove("auth.lock");
        tree.remove(""); // the folder's own mtime
    }
    assert_eq!(after, before);
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT          STATE  LEFT  AVAILABLE  IN  SOURCE   AGE
    *  ada@example.com  ready  60%   now        –   rollout  1d 1h
       bob@example.com  ready  –     now        –   –        –
    ");
}

#[test]
fn a_dry_run_changes_nothing() {
    let home = two_accounts();
    let before = home.tree("");
    assert_snapshot!(home.run("use ada --dry-run"), @"
    $ codex-manager use ada --dry-run
    would sign in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    home.assert_same("", &before);
}

#[test]
fn a_login_that_is_not_stored_is_banked_and_comes_back_byte_for_byte() {
    let (user, workspace) = ids("bob@example.com");
    let home = two_accounts().signed_in_as(
        "bob@example.com",
        &user,
        &workspace,
        "rt_refreshed",
        "2026-11-22T10:30:00Z",
    );
    let refreshed = home.read(".codex/auth.json");
    assert_snapshot!(home.run("use ada"), @"
    $ codex-manager use ada
    stored the login that was live as 2026-11-22-120000-bob@example.com-codex
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    assert_ne!(home.read(".codex/auth.json"), refreshed);
    assert_snapshot!(home.run("use bob"), @"
    $ codex-manager use bob
    signed in bob@example.com, with the login from 2026-11-22-120000-bob@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    assert_eq!(home.read(".codex/auth.json"), refreshed, "not the older copy of the first backup");
}

#[test]
fn who_is_signed_in_with_the_newest_login_stays() {
    let (user, workspace) = ids("bob@example.com");
    let home = two_accounts().signed_in_as(
        "bob@example.com",
        &user,
        &workspace,
        "rt_refreshed",
        "2026-11-22T10:30:00Z",
    );
    let before = home.tree(".codex");
    assert_snapshot!(home.run("use bob"), @"
    $ codex-manager use bob
    bob@example.com is signed in already, with its newest login
    ");
    home.assert_same(".codex", &before); // an older login never replaces a newer one
}

#[test]
fn a_live_login_older_than_the_stored_one_is_replaced() {
    let (user, workspace) = ids("bob@example.com");
    let stored = two_accounts();
    let newest = stored.read(".codex/auth.json");
    let home =
        stored.signed_in_as("bob@example.com", &user, &workspace, "rt_old", "2026-11-01T10:30:00Z");
    assert_eq!(home.play("use bob").exit, 0);
    assert_eq!(home.read(".codex/auth.json"), newest);
}

#[test]
fn a_login_that_nobody_understands_is_kept_all_the_same() {
    let home = two_accounts().file(".codex/auth.json", "{\"tokens\": 7}");
    assert_snapshot!(home.run("use ada"), @"
    $ codex-manager use ada
    warning: auth.json names no account: it holds no tokens
    stored the login that was live as 2026-11-22-120000-orphan-codex
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    let files = home.files();
    assert!(files.contains("orphan"), "{files}");
}

#[test]
fn an_orphan_is_kept_once_and_is_nobodys_newest_snapshot() {
    let orphan = |home: TestHome| home.later("+1h").file(".codex/auth.json", "{\"tokens\": 7}");
    let mut home = two_accounts();
    for _ in 0..3 {
        home = orphan(home);
        let seen = home.play("use ada");
        assert_eq!((seen.exit, seen.screen.matches("warning:").count()), (0, 1), "{}", seen.screen);
        let seen = home.play("use bob");
        assert_eq!((seen.exit, seen.screen.matches("warning:").count()), (0, 0), "{}", seen.screen);
    }
    assert_eq!(home.files().matches("orphan-codex.tar.gz").count(), 1, "{}", home.files());
    for line in ["show", "verify"] {
        let seen = home.play(line);
        assert!(seen.exit == 0 && !seen.screen.contains("orphan"), "{}", seen.screen);
        assert_eq!(home.play(&format!("{line} orphan")).exit, 0, "who names it gets it");
    }
    let seen = home.play("doctor");
    assert!(seen.screen.contains("1 stored login names no account"), "{}", seen.screen);
    // Another one is kept beside it.
    let home = home.later("+1h").file(".codex/auth.json", "{\"tokens\": 8}");
    assert_eq!(home.play("use ada").exit, 0);
    assert_eq!(home.files().matches("orphan-codex.tar.gz").count(), 2, "{}", home.files());
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_its_target_is_replaced() {
    let home = two_accounts();
    std::fs::rename(home.codex("auth.json"), home.path("elsewhere.json")).unwrap();
    let home = home.tokens_in("elsewhere.json").link(".codex/auth.json", "../elsewhere.json");
    assert_eq!(home.play("use ada").exit, 0);
    assert!(home.codex("auth.json").is_symlink());
    let text = String::from_utf8(home.read("elsewhere.json")).unwrap();
    assert!(text.contains("acct-ada-example-com"));
}

/// Ada came from here into another home, where Codex refreshed her login since.
fn ada_moved_on(from_here: &str) -> TestHome {
    let home = two_accounts().tokens_in("two/auth.json");
    std::fs::create_dir(home.path("two")).unwrap();
    for words in ["backup --offline", "use ada", "backup --offline", from_here] {
        assert_eq!(home.play(words).exit, 0, "{words}");
    }
    assert_eq!(home.play("use ada --codex-home ~/two").exit, 0);
    let home = home.later("+1h");
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-11-21T15:00:00Z";
    std::fs::write(
        home.path("two/auth.json"),
        login("ada@example.com", &user, &workspace, "rt_ada_refreshed", at),
    )
    .unwrap();
    home
}

#[test]
fn no_way_back_brings_a_login_that_is_used_up_in_another_home() {
    let home = ada_moved_on("use bob");
    let operations = home.json("log")["data"]["operations"].as_array().unwrap().clone();
    let switch = operations.iter().find(|it| it["what"] == "signed in bob@example.com").unwrap();
    let undo = format!("undo {}", switch["id"].as_str().unwrap());
    let before = home.tree(".codex");
    for (words, exit) in [
        (undo.as_str(), 5),
        ("restore --account ada --yes", 5),
        ("restore --account ada --login snapshot --yes", 5),
        ("restore --account ada --to ~/three", 0), // replaces nothing
        ("restore --account ada --login keep --dry-run", 0),
        ("restore --account ada --login snapshot --accept-stale-login --dry-run", 0),
    ] {
        let seen = home.play(words);
        assert_eq!(seen.exit, exit, "{}", seen.screen);
        let concerns = !words.contains("keep") && !words.contains("--to");
        assert_eq!(seen.screen.contains("is live in ~/two"), concerns, "{}", seen.screen);
        home.assert_same(".codex", &before);
    }
    assert_eq!(home.play("backup --auth-only --offline --codex-home ~/two").exit, 0);
    assert_eq!(home.play(&undo).exit, 0, "the one that works came along");
    assert_eq!(home.read(".codex/auth.json"), home.read("two/auth.json"));
}

#[test]
fn a_home_that_was_replaced_does_not_bring_a_login_back_that_is_used_up_elsewhere() {
    let home = ada_moved_on("restore --account bob --yes");
    let before = home.tree(".codex");
    let operations = home.json("log")["data"]["operations"].as_array().unwrap().clone();
    let restore = operations.iter().find(|it| it["command"] == "restore").unwrap();
    let seen = home.play(&format!("undo {} --yes", restore["id"].as_str().unwrap()));
    assert_eq!(seen.exit, 5, "{}", seen.screen);
    home.assert_same(".codex", &before);
}

#[test]
fn of_two_accounts_whose_keys_begin_alike_the_right_one_is_named() {
    let at = "2026-11-21T10:00:00Z";
    let home = TestHome::at(at).signed_in_as("ada@example.com", "user-ada", "acct-1", "rt_1", at);
    let ada = home.read(".codex/auth.json");
    let home = home.tokens_in("two").file("two/auth.json", ada);
    assert_eq!(home.play("adopt --codex-home ~/two").exit, 0);
    let home = home.signed_in_as("bob@example.com", "user-ada", "acct-12", "rt_12", at);
    let seen = home.play("use -");
    assert!(seen.screen.contains("before bob@example.com\n"), "{}", seen.screen);
}

#[cfg(unix)]
#[test]
fn a_hard_linked_login_gets_a_file_of_its_own() {
    let home = two_accounts().tokens_in("other-home-auth.json");
    std::fs::hard_link(home.codex("auth.json"), home.path("other-home-auth.json")).unwrap();
    let bob = home.read("other-home-auth.json");
    assert_eq!(home.play("use ada").exit, 0);
    assert_eq!(home.read("other-home-auth.json"), bob, "the other name keeps its login");
    assert_ne!(home.read(".codex/auth.json"), bob);
}

#[test]
fn where_codex_keeps_logins_in_the_keyring_swapping_the_file_is_refused() {
    let home =
        two_accounts().file(".codex/config.toml", "cli_auth_credentials_store = \"keyring\"\n");
    let before = home.tree(".codex");
    assert_snapshot!(home.run("use ada"), @r#"
    $ codex-manager use ada
    warning: who is signed in is not known: Codex keeps its login in the keyring and does not use the one of bob@example.com in auth.json
    error: Codex keeps its logins in the keyring: exchanging auth.json would do nothing
    hint: set cli_auth_credentials_store = "file" in Codex's config.toml and sign in again
    (exit 5)
    "#);
    home.assert_same(".codex", &before);
}

#[test]
fn an_account_that_nobody_knows_or_two_share_is_refused() {
    let home = two_accounts();
    let before = home.tree(".codex");
    assert_snapshot!(home.run("use carol"), @r#"
    $ codex-manager use carol
    error: no account is called "carol"
    hint: `codex-manager accounts` lists them
    (exit 4)
    "#);
    assert_snapshot!(home.run("use example"), @r#"
    $ codex-manager use example
    error: "example" fits 2 accounts: ada@example.com, bob@example.com
    hint: name one of them in full
    (exit 2)
    "#);
    assert_snapshot!(home.run("use"), @"
    $ codex-manager use
    error: no account is named
    hint: `use ACCOUNT` signs that one in, `use -` the one before, `use --next` the one that `recommend` names
    (exit 4)
    ");
    home.run("cooldown set carol@example.com --until +1d");
    assert_snapshot!(home.run("use carol"), @"
    $ codex-manager use carol
    error: no login of carol@example.com is stored
    hint: `codex-manager login` signs in and stores the login
    (exit 4)
    ");
    home.assert_same(".codex", &before);
}

#[test]
fn an_alias_names_an_account() {
    let home = two_accounts().config("aliases.work", "ada@example.com");
    assert_snapshot!(home.run("use work"), @"
    $ codex-manager use work
    signed in work, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
}

#[cfg(target_os = "linux")]
#[test]
fn under_a_running_codex_the_login_stays() {
    let home = two_accounts();
    let codex = home.running_codex();
    let before = home.tree(".codex");
    let id = codex.id().to_string();
    assert_snapshot!(home.run("use ada").replace(&id, "PID"), @"
    $ codex-manager use ada
    error: codex (pid PID) is using ~/.codex
    hint: quit it with /quit, and try again; --wait waits for that, --force goes on regardless
    (exit 3)
    ");
    home.assert_same(".codex", &before);
    codex.quit();
    assert_eq!(home.play("use ada").exit, 0);
}

#[test]
fn a_dash_is_the_account_before_and_twice_brings_back() {
    let home = two_accounts();
    // Bob signed in with Codex itself; that ada was here before him only her snapshot tells.
    assert_snapshot!(home.run("use -"), @"
    $ codex-manager use -
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    assert_snapshot!(home.run("use - --dry-run"), @"
    $ codex-manager use - --dry-run
    would sign in bob@example.com, with the login from 2026-11-22-110000-bob@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    assert_eq!(home.play("use -").exit, 0);
    let live = || String::from_utf8(home.read(".codex/auth.json")).unwrap();
    assert!(live().contains("acct-bob-example-com"));
    // Taking a switch back is one.
    assert_eq!(home.play("undo").exit, 0);
    assert!(live().contains("acct-ada-example-com"));
    assert_eq!(home.play("use -").exit, 0);
    assert!(live().contains("acct-bob-example-com"));
    assert_eq!(
        home.json("use -")["data"]["account"],
        "chatgpt:user-ada-example-com/acct-ada-example-com"
    );
    // So is a restore that changed the account; an account that signs in elsewhere is nothing here.
    let home = home.later("+1h").signed_in("carol@example.com");
    home.run("restore --account ada --yes");
    assert_snapshot!(home.run("use - --codex-home ~/other"), @"
    $ codex-manager use - --codex-home ~/other
    error: there is no previous one: nothing tells of an account in ~/other
    hint: `codex-manager accounts` lists them
    (exit 4)
    ");
    assert_snapshot!(home.run("use -"), @"
    $ codex-manager use -
    signed in carol@example.com, with the login from 2026-11-22-130000-carol@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
}

#[test]
fn the_last_word_of_a_session_counts_before_a_switch_however_many_are_newer() {
    let id = "01965100-0000-7abc-9def-0123456789ab";
    let prompt = format!("{{\"session_id\":\"{id}\",\"ts\":1795345140,\"text\":\"go on\"}}\n");
    let said = concat!(
        r#"{"timestamp":"2026-11-22T10:59:00Z","type":"event_msg","payload":{"type":"token_count","#,
        r#""rate_limits":{"secondary":{"used_percent":77.5,"window_minutes":10080}}}}"#,
        "\n",
    );
    let full = |note: &str| {
        let old = format!(".codex/sessions/2025/04/20/rollout-2025-04-20T02-21-16-{id}.jsonl");
        let home = two_accounts().file(&old, said).file(".codex/history.jsonl", note);
        (0..500).fold(home, |home, number| {
            let name = format!("rollout-2026-11-22T10-00-00-{number:03}.jsonl");
            home.file(&format!(".codex/sessions/2026/11/22/{name}"), "")
        })
    };
    // Who names the account does not ask about each session: without a note this is not heard.
    for (note, line, is_heard) in
        [(prompt.as_str(), "use ada", true), ("", "use -", false), ("", "use --next", true)]
    {
        let home = full(note);
        home.run(line);
        let ledger = String::from_utf8(home.read(".codex-manager/ledger.jsonl")).unwrap();
        assert_eq!(ledger.contains("77.5"), is_heard, "{line}: {ledger}");
        assert!(!ledger.contains("go on"));
    }
}

#[test]
fn where_nobody_was_before_a_dash_names_nobody() {
    let home = TestHome::of_ada();
    assert_snapshot!(home.run("use -"), @"
    $ codex-manager use -
    error: there is no previous one: nothing tells of an account in ~/.codex before ada@example.com
    hint: `codex-manager accounts` lists them
    (exit 4)
    ");
    home.run("backup");
    let error = home.json("use -");
    assert_eq!(error["error"]["code"], 4, "{error}");
    std::fs::remove_file(home.codex("auth.json")).unwrap();
    assert_snapshot!(home.run("use -"), @"
    $ codex-manager use -
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
}

#[test]
fn a_login_that_is_live_in_another_home_is_told_and_a_newer_one_there_is_not_outdone() {
    let home = two_accounts();
    assert_eq!(home.play("use ada").exit, 0);
    let other = home.file("other/config.toml", "");
    assert_snapshot!(other.run("use ada --codex-home ~/other"), @"
    $ codex-manager use ada --codex-home ~/other
    warning: ada@example.com is signed in to ~/.codex too: of the two the first to refresh its login signs the other out
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    // Codex refreshes there: what is here, and stored, is used up.
    let (user, workspace) = ids("ada@example.com");
    let newer = login("ada@example.com", &user, &workspace, "rt_newer", "2026-11-22T11:30:00Z");
    let home = other.later("+1h").file("other/auth.json", newer);
    assert_eq!(home.play("use bob").exit, 0);
    let before = home.tree(".codex");
    assert_snapshot!(home.run("use ada"), @"
    $ codex-manager use ada
    error: the newest login of ada@example.com (refreshed 2026-11-22T11:30:00Z) is live in ~/other; the one here is older (refreshed 2026-11-21T10:00:00Z)
    hint: `codex-manager backup --auth-only --codex-home ~/other` stores that one, to be used here from then on; --accept-stale-login takes the older one
    (exit 5)
    ");
    home.assert_same(".codex", &before);
    assert_eq!(home.play("use ada --dry-run --accept-stale-login").exit, 0);
    home.run("backup --auth-only --codex-home ~/other");
    assert_eq!(home.play("use ada").exit, 0);
    assert_eq!(home.read(".codex/auth.json"), home.read("other/auth.json"));
}

#[test]
fn next_is_who_is_recommended_and_can_be_signed_in() {
    let home = two_accounts();
    home.run("cooldown set carol@example.com --until 2026-11-22T11:30:00Z");
    let home = home.later("+1h");
    assert_snapshot!(home.run("use --next --dry-run"), @"
    $ codex-manager use --next --dry-run
    passed over carol@example.com: no login of it is stored
    next is ada@example.com: 60% left, last used 1d 2h ago
    would sign in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    assert_snapshot!(home.run("use --next"), @"
    $ codex-manager use --next
    passed over carol@example.com: no login of it is stored
    next is ada@example.com: 60% left, last used 1d 2h ago
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    let data = home.json("use --next --dry-run")["data"].clone();
    assert_eq!(data["passed_over"][0]["email"], "carol@example.com", "{data}");
    assert!(data["reason"].as_str().unwrap().contains("last used"), "{data}");
    assert_snapshot!(home.run("use --next ada"), @"
    $ codex-manager use --next ada
    error: the argument '--next' cannot be used with '[ACCOUNT]'

    Usage: codex-manager use --next [ACCOUNT]

    For more information, try '--help'.
    (exit 4)
    ");
}

#[test]
fn where_nobody_is_ready_next_changes_nothing() {
    let home = two_accounts();
    let before = home.tree(".codex");
    home.run("cooldown set ada --until +2d");
    home.run("cooldown set bob --until +1d");
    assert_snapshot!(home.run("use --next"), @"
    $ codex-manager use --next
    error: no account is ready; bob@example.com is the first, from 2026-11-23 12:00 (in 1d)
    hint: `codex-manager recommend --why` tells about each account
    (exit 10)
    ");
    // Nor where the only one who is ready has no login here.
    home.run("cooldown set carol@example.com --until +1h");
    let home = home.later("+2h");
    assert_snapshot!(home.run("use --next"), @"
    $ codex-manager use --next
    error: no account that is ready can be signed in (carol@example.com: no login of it is stored)
    hint: `codex-manager recommend --why` tells about each account
    (exit 10)
    ");
    assert_eq!(home.json("use --next")["error"]["code"], 10);
    home.assert_same(".codex", &before);
}

/// Where bob's first snapshot lies.
const BOB: &str = ".codex-manager/backups/2026-11-22-110000-bob@example.com-codex";

/// Bob refreshed his login since it was stored, and stored it once more; then ada signed in.
fn bob_stored_twice() -> TestHome {
    let (user, workspace) = ids("bob@example.com");
    let at = "2026-11-22T10:30:00Z";
    let home =
        two_accounts().signed_in_as("bob@example.com", &user, &workspace, "rt_refreshed", at);
    home.run("backup --auth-only");
    assert_eq!(home.play("use ada").exit, 0);
    home.later("+1h")
}

/// Where his second snapshot lies.
const NEWER: &str = ".codex-manager/backups/2026-11-22-120000-bob@example.com-codex";

#[test]
fn a_login_that_cannot_be_read_back_does_not_count_as_stored() {
    let home = two_accounts();
    let bob = home.read(".codex/auth.json");
    let archive = format!("{BOB}.tar.gz");
    let rotten = rotten_member(&home.read(&archive), "auth.json");
    let home = home.file(&archive, rotten);
    assert_snapshot!(home.run("use ada"), @"
    $ codex-manager use ada
    stored the login that was live as 2026-11-22-120000-bob@example.com-codex
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    home.run("use bob");
    assert_eq!(home.read(".codex/auth.json"), bob);
}

#[test]
fn the_same_login_is_found_in_another_snapshot_if_the_freshest_is_rotten() {
    let home = bob_stored_twice();
    assert_eq!(home.play("use bob").exit, 0);
    let refreshed = home.read(".codex/auth.json");
    home.run("backup --auth-only");
    assert_eq!(home.play("use ada").exit, 0);
    let again = ".codex-manager/backups/2026-11-22-130000-bob@example.com-codex.tar.gz";
    let rotten = rotten_member(&home.read(again), "auth.json");
    let home = home.file(again, rotten);
    assert_snapshot!(home.run("use bob"), @"
    $ codex-manager use bob
    signed in bob@example.com, with the login from 2026-11-22-120000-bob@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    assert_eq!(home.read(".codex/auth.json"), refreshed);
}

#[test]
fn an_older_login_does_not_stand_in_for_a_damaged_newer_one() {
    let home = bob_stored_twice();
    let archive = format!("{NEWER}.tar.gz");
    let sound = home.read(&archive);
    let before = home.read(".codex/auth.json");
    let gone = |home: TestHome| {
        std::fs::remove_file(home.path(&archive)).unwrap();
        home
    };
    let home = home.file(&archive, &sound[..sound.len() - 1]);
    let seen = home.play("use bob");
    assert_eq!(seen.exit, 5, "{}", seen.screen);
    assert!(seen.screen.contains("which cannot be used: has"), "{}", seen.screen);
    let home = home.file(&archive, rotten_member(&sound, "auth.json"));
    assert_snapshot!(home.run("use bob"), @"
    $ codex-manager use bob
    error: the newest login known (refreshed 2026-11-22T10:30:00Z) is in 2026-11-22-120000-bob@example.com-codex, which cannot be used: auth.json, chunk 1 of 1 (bytes 0-1117): not what was written, at byte # of the archive; the one in 2026-11-22-110000-bob@example.com-codex is older (refreshed 2026-11-22T10:00:00Z)
    hint: bring that archive back from a copy, or sign in with `codex login`; --accept-stale-login takes the older one
    (exit 5)
    ");
    let home = gone(home);
    assert_snapshot!(home.run("use bob"), @"
    $ codex-manager use bob
    warning: ~/.codex-manager/backups/2026-11-22-120000-bob@example.com-codex.metadata.json: its archive is gone
    error: the newest login known (refreshed 2026-11-22T10:30:00Z) is in 2026-11-22-120000-bob@example.com-codex, which cannot be used: its archive is gone; the one in 2026-11-22-110000-bob@example.com-codex is older (refreshed 2026-11-22T10:00:00Z)
    hint: bring that archive back from a copy, or sign in with `codex login`; --accept-stale-login takes the older one
    (exit 5)
    ");
    assert_eq!(home.read(".codex/auth.json"), before);
    assert_snapshot!(home.run("use bob --accept-stale-login"), @"
    $ codex-manager use bob --accept-stale-login
    warning: ~/.codex-manager/backups/2026-11-22-120000-bob@example.com-codex.metadata.json: its archive is gone
    warning: the newest login known (refreshed 2026-11-22T10:30:00Z) is in 2026-11-22-120000-bob@example.com-codex, which cannot be used: its archive is gone; the one in 2026-11-22-110000-bob@example.com-codex is older (refreshed 2026-11-22T10:00:00Z)
    signed in bob@example.com, with the login from 2026-11-22-110000-bob@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    let text = String::from_utf8(home.read(".codex/auth.json")).unwrap();
    assert!(text.contains("acct-bob-example-com") && !text.contains("rt_refreshed"));
}

#[test]
fn a_login_that_is_proven_whole_can_be_used_whatever_else_is_damaged() {
    let home = two_accounts();
    let stored = |ending: &str| {
        format!(".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.{ending}")
    };
    let (archive, sidecar) = (home.read(&stored("tar.gz")), home.read(&stored("metadata.json")));
    let mut damaged = archive.clone();
    let in_the_table = archive.len() - 200;
    damaged[in_the_table] ^= 0x10;
    let home = home.file(&stored("tar.gz"), &damaged);
    assert_eq!(home.play("verify ada").exit, 5);
    assert_ne!(home.play("show --files --account ada").exit, 0);
    assert_eq!(home.play("use ada").exit, 0, "the sidecar tells where it lies, and its digest");
    let wanted = std::fs::read(home.codex("auth.json")).unwrap();
    assert_eq!(home.play("use bob").exit, 0);

    // Who does not say it, or says it wrong, has to be right in all.
    let told = without_checksum(&sidecar);
    let member = told.split_once("\"login\": {\n      \"offset\": ").unwrap().1;
    let (offset, rest) = member.split_once(',').unwrap();
    let wrong =
        told.replace(&format!("\"offset\": {offset},{rest}"), &format!("\"offset\": 1,{rest}"));
    assert_ne!(told, wrong);
    let home = home.file(&stored("metadata.json"), &wrong);
    let before = home.tree(".codex");
    let seen = home.play("use ada");
    assert_eq!(seen.exit, 5, "{}", seen.screen);
    home.assert_same(".codex", &before);
    // In a sound archive it is found where it is; that the sidecar lies is told.
    let home = home.file(&stored("tar.gz"), &archive);
    assert_eq!(home.play("use ada").exit, 0);
    assert_eq!(std::fs::read(home.codex("auth.json")).unwrap(), wanted);
    let seen = home.play("verify ada");
    assert!(seen.screen.contains("the login lies elsewhere"), "{}", seen.screen);
}

#[test]
fn a_sidecar_that_describes_another_login_is_not_believed() {
    let home = two_accounts();
    assert_eq!(home.play("use ada").exit, 0);
    let before = home.tree(".codex");
    let sidecar = format!("{BOB}.metadata.json");
    let told = without_checksum(&home.read(&sidecar));
    let later = told.replace(
        "\"last_refresh\": \"2026-11-22T10:00:00Z\"",
        "\"last_refresh\": \"2026-11-30T10:00:00Z\"",
    );
    let other = told
        .replace("user-bob-example-com", "user-ada-example-com")
        .replace("acct-bob-example-com", "acct-ada-example-com");
    assert!(later != told && other != told);
    let home = home.file(&sidecar, later);
    assert_snapshot!(home.run("use bob@example.com"), @"
    $ codex-manager use bob@example.com
    error: the auth.json in 2026-11-22-110000-bob@example.com-codex is another login than its sidecar describes
    hint: `codex-manager verify --all` tells which snapshots are sound
    (exit 5)
    ");
    home.assert_same(".codex", &before);
    // Ada's login is an older one than this claims to be.
    let home = home.file(&sidecar, other).signed_in("carol@example.com");
    let before = home.tree(".codex");
    assert_snapshot!(home.run("use ada@example.com"), @"
    $ codex-manager use ada@example.com
    error: the newest login known (refreshed 2026-11-22T10:00:00Z) is in 2026-11-22-110000-bob@example.com-codex, which cannot be used: the auth.json in 2026-11-22-110000-bob@example.com-codex belongs to chatgpt:user-bob-example-com/acct-bob-example-com, not to chatgpt:user-ada-example-com/acct-ada-example-com; the one in 2026-11-19-100200-ada@example.com-codex is older (refreshed 2026-11-21T10:00:00Z)
    hint: bring that archive back from a copy, or sign in with `codex login`; --accept-stale-login takes the older one
    (exit 5)
    ");
    home.assert_same(".codex", &before);
}

#[test]
fn a_login_that_codex_refreshes_meanwhile_is_never_overwritten() {
    let home = two_accounts();
    let store = Store::at(home.path(".codex-manager"));
    let codex = CodexHome::at(home.codex("").canonicalize().unwrap());
    let scan = store.scan(&Zone::UTC).unwrap();
    let shelf = Shelf::new(&scan.snapshots, &scan.problems);
    let (user_id, account_id) = ids("ada@example.com");
    let ada = AccountKey::ChatGpt { user_id, account_id };
    let live = Live::read(&codex).unwrap();
    let plan = switch::plan(&ada, &codex, &live, &shelf, Stale::Refuse).unwrap();
    let (user, workspace) = ids("bob@example.com");
    let at = "2026-11-22T11:30:00Z";
    let home = home.signed_in_as("bob@example.com", &user, &workspace, "rt_refreshed", at);
    let refreshed = home.read(".codex/auth.json");
    let apply = |plan: &switch::Plan, holders: &dyn Fn() -> Vec<Holder>| {
        let lock = store.open(Duration::ZERO, "test").unwrap().lock;
        let at = Zone::UTC.stamp("2026-11-21T10:00:00Z".parse().unwrap());
        let record = Record::new("test".to_owned(), at, "use", "signed in ada".to_owned());
        switch::apply(plan, &store, &switch::Run { record, ledger: &[], lock: &lock, holders })
    };
    let error = apply(&plan, &Vec::new).unwrap_err();
    assert!(matches!(error, SwitchError::Changed), "{error}");
    assert_eq!(home.read(".codex/auth.json"), refreshed);

    // Nor under a Codex that was started since.
    let live = Live::read(&codex).unwrap();
    let plan = switch::plan(&ada, &codex, &live, &shelf, Stale::Refuse).unwrap();
    let started = || vec![Holder::new(4242, Role::Tui)];
    let error = apply(&plan, &started).unwrap_err();
    assert_snapshot!(error, @"codex (pid 4242) came to use the home meanwhile");
    assert_eq!(home.read(".codex/auth.json"), refreshed);
    let files = home.codex_files() + &home.files();
    assert!(!files.contains(".tmp") && !files.contains("journal.json"), "{files}");
    assert_eq!(apply(&plan, &Vec::new).unwrap(), Vec::<String>::new());
    assert_ne!(home.read(".codex/auth.json"), refreshed);
}

#[test]
fn what_a_killed_switch_left_of_a_login_goes_with_the_next_command() {
    let left = ".codex-manager-0123456789abcdef.tmp";
    let other = ".codex-manager-0123456789abcde0.tmp";
    let home = two_accounts()
        .file(&format!(".codex/{left}"), "a login")
        .file(&format!(".codex/{other}"), "somebody else's");
    let journal = serde_json::json!({"schema_version": 1, "kind": "login",
        "temporary": home.codex(left), "target": home.codex("auth.json"), "identity": null});
    let home = home.file(".codex-manager/journal.json", journal.to_string());
    assert_snapshot!(home.run("cooldown set ada --until +1d"), @"
    $ codex-manager cooldown set ada --until +1d
    warning: an interrupted `use` was taken back: the login is as it was
    ada@example.com rests until Mon 23 Nov 2026 12:00
    ");
    assert!(!home.codex(left).exists() && home.codex(other).exists());
    assert!(!home.manager("journal.json").exists());
}
