//! `ready`, `recommend --strategy` and `cooldown --watch`: what scripts and people who wait get.

use insta::assert_snapshot;
use serde_json::json;

use crate::cooldown::three_accounts;
use crate::home::TestHome;

#[test]
fn a_script_learns_whether_anybody_may_work() {
    let home = three_accounts();
    assert_snapshot!(home.run("ready"), @"
    $ codex-manager ready
    carol@example.com is ready and was used least recently
    ");
    assert_snapshot!(home.run("ready ada"), @"
    $ codex-manager ready ada
    ada@example.com: week used up until 2026-11-24 10:02 (in 2d 20h)
    (exit 10)
    ");
    assert_snapshot!(home.run("ready carol"), @"
    $ codex-manager ready carol
    carol@example.com: nothing is known of its quota
    ");
    assert_snapshot!(home.run("ready dora"), @r#"
    $ codex-manager ready dora
    error: no account is called "dora"
    hint: `codex-manager accounts` lists them
    (exit 4)
    "#);
    let nobody = TestHome::at("2026-11-21T10:00:00Z");
    assert_snapshot!(nobody.run("ready"), @"
    $ codex-manager ready
    no account is known
    (exit 10)
    ");
    // Waiting for nobody would never end.
    assert_snapshot!(nobody.run("ready --wait"), @"
    $ codex-manager ready --wait
    no account is known
    (exit 10)
    ");
    let answer = home.json("ready ada");
    assert_eq!(answer["data"]["ready"], false);
    assert_eq!(answer["data"]["account"]["next_available_at"], "2026-11-24T10:02:00+01:00");
    assert_eq!(home.json("ready")["data"]["account"]["email"], "carol@example.com");
}

#[test]
fn who_waits_goes_on_at_the_very_reset_or_gives_up_when_told() {
    let home = three_accounts().now("2026-11-24T08:30:30Z");
    assert_snapshot!(home.run("ready ada --wait"), @"
    $ codex-manager ready ada --wait
    waiting: ada@example.com: week used up until 2026-11-24 10:02 (in 31m 30s)
    ada@example.com: full again since 2026-11-24 10:02 (predicted)
    ");
    let answer = home.json("ready ada --wait");
    assert_eq!(answer["data"]["now"], "2026-11-24T10:02:00+01:00");
    assert_eq!(answer["data"]["waited_seconds"], 1_890);
    assert_snapshot!(home.run("ready ada --wait --until +10m"), @"
    $ codex-manager ready ada --wait --until +10m
    waiting: ada@example.com: week used up until 2026-11-24 10:02 (in 31m 30s)
    ada@example.com: week used up until 2026-11-24 10:02 (in 21m 30s)
    (exit 10)
    ");
    assert_snapshot!(home.run("ready ada --until +10m"), @"
    $ codex-manager ready ada --until +10m
    error: the following required arguments were not provided:
      --wait

    Usage: codex-manager ready --wait --until <TIME> <ACCOUNT>

    For more information, try '--help'.
    (exit 4)
    ");
    home.run("cooldown set bob --until +5d");
    home.run("cooldown set carol --until +6d");
    assert_snapshot!(home.run("ready --wait --until '2026-11-24 10:01:59'"), @"
    $ codex-manager ready --wait --until '2026-11-24 10:01:59'
    waiting: no account is ready; ada@example.com is the first, from 2026-11-24 10:02 (in 31m 30s)
    no account is ready; ada@example.com is the first, from 2026-11-24 10:02 (in 1s)
    (exit 10)
    ");
    assert_snapshot!(home.run("ready --wait"), @"
    $ codex-manager ready --wait
    waiting: no account is ready; ada@example.com is the first, from 2026-11-24 10:02 (in 31m 30s)
    ada@example.com is the only one that is ready
    ");
    assert_eq!(home.json("ready --wait")["data"]["account"]["email"], "ada@example.com");
}

#[test]
fn a_person_can_prefer_another_order() {
    let home = three_accounts();
    let selected = |line: &str| home.json(line)["data"]["selected"]["email"].clone();
    assert_eq!(selected("recommend"), "carol@example.com");
    // Nothing is known of carol's quota.
    assert_eq!(selected("recommend --strategy most-left"), "bob@example.com");
    assert_eq!(selected("recommend --strategy soonest-reset"), "bob@example.com");
    home.run("config set strategy soonest-reset");
    assert_snapshot!(home.run("recommend --why"), @"
    $ codex-manager recommend --why
    bob@example.com
    bob@example.com is ready, and its week ends first, 2026-11-27 08:00

    the others:
      carol@example.com: nothing is known of its quota, last used 2h 21m ago
      ada@example.com: week used up until 2026-11-24 10:02 (in 2d 20h)

    what would change this:
      ada@example.com is ready from 2026-11-24 10:02
    ");
    assert_eq!(home.json("recommend")["data"]["strategy"], "soonest-reset");
    assert_eq!(home.json("ready")["data"]["account"]["email"], "bob@example.com");
    assert_eq!(selected("recommend --strategy lru"), "carol@example.com");
    assert_snapshot!(home.run("recommend --strategy fastest"), @r#"
    $ codex-manager recommend --strategy fastest
    error: "fastest": a strategy is lru, soonest-reset or most-left
    hint: `codex-manager config set strategy NAME` sets the one to use by default
    (exit 4)
    "#);
    assert_snapshot!(home.run("config set strategy fastest"), @"
    $ codex-manager config set strategy fastest
    error: the value given does not fit `strategy`: lru, soonest-reset or most-left is expected
    hint: `codex-manager config list` shows every setting and what it is for
    (exit 4)
    ");
    let home = home.variable("CODEX_MANAGER_STRATEGY", "lru");
    assert_eq!(home.json("recommend")["data"]["selected"]["email"], "carol@example.com");
}

#[test]
fn what_a_person_says_of_an_account_outweighs_the_order() {
    let home = three_accounts();
    let selected = || home.json("recommend")["data"]["selected"]["email"].clone();
    home.run("config set accounts.carol@example.com.priority -1");
    assert_eq!(selected(), "bob@example.com");
    home.run("config set accounts.bob@example.com.reserve 60");
    assert_eq!(selected(), "carol@example.com");
    home.run("accounts disable carol@example.com");
    assert_snapshot!(home.run("recommend --why"), @"
    $ codex-manager recommend --why
    bob@example.com
    bob@example.com is the only one that is ready, with no more than its reserve of 60% left

    the others:
      ada@example.com: week used up until 2026-11-24 10:02 (in 2d 20h)
      carol@example.com: nothing is known of its quota, disabled, priority -1, last used 2h 21m ago

    what would change this:
      ada@example.com is ready from 2026-11-24 10:02
      carol@example.com is disabled and can be enabled
    ");
    home.run("accounts disable bob");
    assert_snapshot!(home.run("ready"), @"
    $ codex-manager ready
    no account is ready; ada@example.com is the first, from 2026-11-24 10:02 (in 2d 20h)
    (exit 10)
    ");
    home.run("accounts disable ada");
    assert_snapshot!(home.run("ready --wait"), @"
    $ codex-manager ready --wait
    every account is disabled
    (exit 10)
    ");
    assert_snapshot!(home.run("use --next"), @"
    $ codex-manager use --next
    error: no account that is ready can be signed in (carol@example.com: disabled; bob@example.com: disabled)
    hint: `codex-manager recommend --why` tells about each account
    (exit 10)
    ");
}

#[test]
fn a_watched_table_is_no_document() {
    let home = three_accounts();
    assert_eq!(home.json("cooldown --watch")["error"]["code"], json!(4));
    assert_snapshot!(home.run("cooldown --watch --at +1d"), @"
    $ codex-manager cooldown --watch --at +1d
    error: the argument '--watch' cannot be used with '--at <TIME>'

    Usage: codex-manager cooldown --watch

    For more information, try '--help'.
    (exit 4)
    ");
}
