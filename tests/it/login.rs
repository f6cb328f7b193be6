//! `login` and `adopt`: is a login kept, once, and does nobody lose one to it?
//!
//! What signs in here is a script that plays `codex login`: it says what it was given and writes the
//! `auth.json` of bob into its home.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::canaries::token_in;
use crate::home::{TestHome, ids, login};

/// Writes down what it finds around it, then the login.
const SIGNS_IN: &str = "cp \"$HOME/bob.json\" \"$CODEX_HOME/auth.json\"\n";

/// Ada is signed in; `codex` is a script that ends like this.
fn home_of(script: &str) -> TestHome {
    let (user, workspace) = ids("bob@example.com");
    let bob = login("bob@example.com", &user, &workspace, "rt_new", "2026-11-21T09:00:00Z");
    let script = format!(
        "#!/bin/sh\n\
         {{ echo \"$*\"; stat -c '%a %n' \"$CODEX_HOME\" \"$CODEX_HOME\"/.[a-z]* \"$CODEX_HOME\"/*; }} > \"$HOME/seen\" 2> /dev/null\n\
         env > \"$HOME/env\"\n\
         cat \"$CODEX_HOME\"/config.toml \"$CODEX_HOME\"/.env > \"$HOME/given\" 2> /dev/null\n\
         echo \"Open https://example.com/device and type ABCD\"\n\
         {script}"
    );
    let config = "model = \"gpt-5\"\nsqlite_home = \"/elsewhere\"\nlog_dir = \"/elsewhere\"\n\
                  chatgpt_base_url = \"https://chat.example.com\"\n";
    let home = TestHome::at("2026-11-21T10:00:00Z")
        .signed_in("ada@example.com")
        .file(".codex/config.toml", config)
        .file("bob.json", bob)
        .file("bin/codex", script)
        .tokens_in("bob.json");
    let path = home.path("bin/codex");
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    home
}

fn program(home: &TestHome, words: &[&str]) -> Command {
    let mut command = home.program(words);
    let path = format!("{}:/usr/bin:/bin", home.path("bin").display());
    command.env("PATH", path).stdin(Stdio::null());
    command
}

#[track_caller]
fn heard(home: &TestHome, words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program(home, words).output().unwrap();
    assert_eq!((token_in(&stdout), token_in(&stderr)), (None, None));
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace(home.path("").to_str().unwrap().trim_end_matches('/'), "~")
    };
    (status.code(), text(stdout), text(stderr))
}

/// The accounts with the number of their snapshots.
fn accounts(home: &TestHome) -> Vec<(String, u64)> {
    let told = home.json("accounts");
    let told = told["data"]["accounts"].as_array().unwrap().clone();
    let each = told.iter().map(|account| {
        let count = account["snapshots"]["count"].as_u64().unwrap();
        (account["email"].as_str().unwrap().to_owned(), count)
    });
    each.collect()
}

/// Nothing of a sign-in is left in the manager home.
#[track_caller]
fn is_clean(home: &TestHome) {
    assert!(home.files().lines().all(|name| !name.starts_with("tmp/.")), "{}", home.files());
}

fn both() -> Vec<(String, u64)> {
    vec![("ada@example.com".to_owned(), 0), ("bob@example.com".to_owned(), 1)]
}

#[test]
fn a_further_account_signs_in_beside_the_one_that_is_live() {
    let home = home_of(SIGNS_IN);
    let live = home.tree(".codex");
    let (exit, out, err) = heard(&home, &["login", "--alias", "work"]);
    assert_eq!(exit, Some(0), "{err}");
    let name = home.json("list")["data"]["snapshots"][0]["name"].as_str().unwrap().to_owned();
    assert_snapshot!(out.replace(&name, "NAME"), @"
    signed bob@example.com in, and stored the login as NAME
    ada@example.com is still signed in: `codex-manager use work` switches to it
    ");
    assert_snapshot!(err, @"
    Codex signs a further account in; who is signed in stays so. Where it says `codex login`, type `codex-manager login`.
    Open https://example.com/device and type ABCD
    ");
    home.assert_same(".codex", &live);
    is_clean(&home);
    assert_eq!(accounts(&home), both());
    assert_eq!(home.play("use work").exit, 0);
    assert_eq!(home.read(".codex/auth.json"), home.read("bob.json"), "byte for byte");
}

#[test]
fn codex_finds_a_private_home_with_little_in_it_and_no_token() {
    let variables = "TRACKER_TOKEN=x\nHTTPS_PROXY=http://proxy.example.com:3128\n";
    let home = home_of(SIGNS_IN).file(".codex/.env", variables);
    let mut command = program(&home, &["login", "--device-auth"]);
    command.env("CODEX_API_KEY", "sk-x").env("CODEX_ACCESS_TOKEN", "x");
    command.env("OPENAI_API_KEY", "sk-x").env("CODEX_SQLITE_HOME", "/elsewhere");
    command.env("CODEX_CA_CERTIFICATE", "/ca.pem");
    assert!(command.output().unwrap().status.success());
    let text = |name: &str| String::from_utf8(home.read(name)).unwrap();
    let seen = text("seen");
    let place = seen.lines().nth(1).and_then(|line| line.split_once(' ')).unwrap().1.to_owned();
    assert!(place.starts_with(home.manager("tmp").to_str().unwrap()), "{place}");
    assert_snapshot!(seen.replace(&place, "CODEX_HOME"), @r#"
    -c cli_auth_credentials_store="file" login --device-auth
    700 CODEX_HOME
    600 CODEX_HOME/.env
    600 CODEX_HOME/config.toml
    "#);
    assert_snapshot!(text("given"), @r#"
    chatgpt_base_url = "https://chat.example.com"
    HTTPS_PROXY=http://proxy.example.com:3128
    "#);
    let env = text("env");
    for name in ["CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "OPENAI_API_KEY", "CODEX_SQLITE_HOME"] {
        assert!(!env.contains(name), "{env}");
    }
    assert!(env.contains("CODEX_CA_CERTIFICATE=/ca.pem"), "{env}");
    assert_eq!(token_in(env.as_bytes()), None);
    assert!(!std::path::Path::new(&place).exists());
}

#[test]
fn a_key_comes_through_standard_input() {
    let home = home_of(
        "read -r key; printf '{\"auth_mode\":\"apikey\",\"OPENAI_API_KEY\":\"%s\"}' \"$key\" \
         > \"$CODEX_HOME/auth.json\"\n",
    );
    let key = home.path("key");
    fs::write(&key, "sk-typed\n").unwrap();
    let typed = || fs::File::open(&key).unwrap();
    let mut command = program(&home, &["login", "--with-api-key", "--json"]);
    let told = command.stdin(typed()).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(told["data"]["account"].as_str().unwrap().starts_with("apikey:"), "{told}");
    assert_eq!(told["data"]["stored"], true);
    let mut command = program(&home, &["login", "--with-api-key", "--json"]);
    let again = command.stdin(typed()).output().unwrap();
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["data"]["stored"], false, "it is the same login");
    assert_eq!(again["data"]["snapshot"], told["data"]["snapshot"]);
    assert!(home.run("list").contains("apikey"));
    is_clean(&home);
}

#[test]
fn a_sign_in_that_comes_to_nothing_leaves_nothing() {
    let home = home_of("exit 3\n");
    let (exit, out, err) = heard(&home, &["login"]);
    assert_eq!((exit, out.as_str()), (Some(1), ""));
    assert_snapshot!(err, @"
    Codex signs a further account in; who is signed in stays so. Where it says `codex login`, type `codex-manager login`.
    Open https://example.com/device and type ABCD
    error: `codex login` failed (exit status: 3)
    hint: nothing was stored, and who is signed in stays so; without a terminal, --device-auth and --with-api-key work
    ");
    let (_, _, err) = heard(&home, &["login", "--device-auth"]);
    assert!(err.ends_with("hint: nothing was stored, and who is signed in stays so\n"), "{err}");
    is_clean(&home);
    for (script, said) in [
        ("exit 0\n", "`codex login` left no login of an account"),
        (
            "echo '{}' > \"$CODEX_HOME/auth.json\"\n",
            "left no login of an account: it holds no tokens",
        ),
        ("echo '{' > \"$CODEX_HOME/auth.json\"\n", "left no login of an account"),
    ] {
        let home = home_of(script);
        let (exit, _, err) = heard(&home, &["login"]);
        assert_eq!(exit, Some(1), "{err}");
        assert!(err.contains(said), "{err}");
        is_clean(&home);
        assert_eq!(accounts(&home), both()[..1]);
    }
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com");
    assert_snapshot!(home.run("login"), @"
    $ codex-manager login
    error: there is no program `codex` on PATH
    hint: say where Codex is: `codex-manager config set codex_program PATH`
    (exit 1)
    ");
    assert_snapshot!(home.run("login --alias 'a b'"), @r#"
    $ codex-manager login --alias 'a b'
    error: "a b" cannot be a name for an account
    hint: a name has letters, digits, `-` and `_`, 64 at most, and begins with no `-`
    (exit 4)
    "#);
}

#[test]
fn a_name_that_is_taken_does_not_cost_the_login() {
    let home = home_of(SIGNS_IN);
    home.run("accounts alias ada work");
    let (exit, _, err) = heard(&home, &["login", "--alias", "Work"]);
    assert_eq!(exit, Some(2));
    assert!(err.contains("but Work already means ada@example.com"), "{err}");
    assert_eq!(accounts(&home), both());
    is_clean(&home);
}

#[test]
fn a_login_of_an_account_that_is_known_is_its_freshest() {
    let home = home_of(SIGNS_IN);
    assert_eq!(heard(&home, &["login", "--alias", "work"]).0, Some(0));
    let (user, workspace) = ids("bob@example.com");
    let newer = login("bob@example.com", &user, &workspace, "rt_newer", "2026-11-21T09:30:00Z");
    let home = home.file("bob.json", newer);
    assert_eq!(heard(&home, &["login"]).0, Some(0));
    assert_eq!(accounts(&home)[1].1, 2);
    assert_eq!(home.play("use work").exit, 0);
    assert_eq!(home.read(".codex/auth.json"), home.read("bob.json"));
    // And the next one is told that an older login of the same account is live.
    let newest = login("bob@example.com", &user, &workspace, "rt_newest", "2026-11-21T09:40:00Z");
    let home = home.file("bob.json", newest);
    let (_, out, _) = heard(&home, &["login", "--alias", "office"]);
    assert!(
        out.contains("an older login of the same account is live: `codex-manager use office`"),
        "{out}"
    );
    assert!(!home.run("config list").contains("aliases.work"), "one account, one name");
}

#[test]
fn killed_after_codex_wrote_its_login_the_next_command_stores_it() {
    let home = home_of(&format!("{SIGNS_IN}kill -9 $PPID\n"));
    let (exit, ..) = heard(&home, &["login", "--alias", "work"]);
    assert_eq!(exit, None, "it was killed");
    // A look changes nothing; the next command that takes the lock does.
    let before = home.files();
    assert!(before.contains("codex-home/auth.json"), "{before}");
    assert_eq!(accounts(&home), both()[..1]);
    let (exit, _, err) = heard(&home, &["config", "set", "lean", "true"]);
    assert_eq!(exit, Some(0));
    let name = home.json("list")["data"]["snapshots"][0]["name"].as_str().unwrap().to_owned();
    assert_snapshot!(err.replace(&name, "NAME"), @"warning: an interrupted `login` was finished: signed bob@example.com in for later use, stored as NAME");
    assert_eq!(accounts(&home), both());
    is_clean(&home);
    assert_eq!(home.play("use bob").exit, 0);
    assert_eq!(home.read(".codex/auth.json"), home.read("bob.json"));
    assert!(home.run("log").contains("-login "), "it is an operation as any other");
    assert_eq!(home.play("doctor").exit, 0);
}

#[test]
fn killed_before_codex_wrote_anything_nothing_is_left() {
    for script in ["kill -9 $PPID\n", "echo '{\"tok' > \"$CODEX_HOME/auth.json\"; kill -9 $PPID\n"]
    {
        let home = home_of(script);
        assert_eq!(heard(&home, &["login"]).0, None);
        let (exit, _, err) = heard(&home, &["config", "set", "lean", "true"]);
        assert_eq!((exit, err.as_str()), (Some(0), ""));
        is_clean(&home);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_codex_that_outlives_us_is_waited_for() {
    // It has its log open until it has written the login.
    let home = home_of(&format!(
        "exec 3> \"$CODEX_HOME/login.log\"\nkill -9 $PPID\n\
         until [ -e \"$HOME/go\" ]; do sleep 0.01; done\n{SIGNS_IN}touch \"$HOME/gone\"\n"
    ));
    let status = program(&home, &["login"]).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), None);
    assert_eq!(home.play("config set lean true").exit, 0);
    assert!(home.files().contains("codex-home/login.log"), "{}", home.files());
    fs::write(home.path("go"), "").unwrap();
    wait_until(|| home.path("gone").exists());
    // Its end takes a moment more; until then it is waited for.
    wait_until(|| {
        assert_eq!(home.play("adopt").exit, 0);
        accounts(&home)[1..] == both()[1..]
    });
    is_clean(&home);
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_script_started_may_outlive_both_and_its_login_is_kept() {
    // As the script of npm, if whoever ends us does not reach what it started.
    let home = home_of(&format!(
        "(trap '' TERM; exec 3> \"$CODEX_HOME/login.log\"; touch \"$HOME/waits\"\n\
         until [ -e \"$HOME/go\" ]; do sleep 0.01; done\n{SIGNS_IN}touch \"$HOME/gone\") > /dev/null 2>&1 &\nwait\n"
    ));
    let child =
        program(&home, &["login"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(|| home.path("waits").exists());
    let manager = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(manager, rustix::process::Signal::TERM).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("still at work there"), "{said}");
    fs::write(home.path("go"), "").unwrap();
    wait_until(|| home.path("gone").exists());
    wait_until(|| {
        assert_eq!(home.play("adopt").exit, 0);
        accounts(&home)[1..] == both()[1..]
    });
    is_clean(&home);
}

#[test]
fn a_login_that_names_no_account_is_kept_byte_for_byte() {
    let unknown = r#"{"auth_mode":"of-tomorrow","tomorrow":{"secret":"made-up"}}"#;
    let writes = "cp \"$HOME/tomorrow.json\" \"$CODEX_HOME/auth.json\"\n";
    for script in [writes.to_owned(), format!("{writes}kill -9 $PPID\n")] {
        let home = home_of(&script).file("tomorrow.json", unknown);
        let (exit, _, err) = heard(&home, &["login"]);
        if exit == Some(1) {
            assert!(err.contains("left no login of an account"), "{err}");
            assert!(err.contains("is kept byte for byte, as "), "{err}");
        } else {
            let (_, _, err) = heard(&home, &["config", "set", "lean", "true"]);
            assert!(err.contains("kept a login that names no account"), "{err}");
        }
        is_clean(&home);
        let stored = home.json("list")["data"]["snapshots"][0].clone();
        let note = "an orphan, signed in with `codex-manager login`: it holds no tokens";
        assert_eq!(stored["note"], note);
        let name = stored["name"].as_str().unwrap();
        assert_eq!(home.play(&format!("restore {name} --to ~/out")).exit, 0);
        assert_eq!(home.read("out/auth.json"), unknown.as_bytes());
    }
}

#[test]
fn ctrl_c_ends_both_and_leaves_nothing() {
    let home = home_of("touch \"$HOME/waits\"\nsleep 60\n");
    let child = program(&home, &["login"])
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| home.path("waits").exists());
    let group = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped; nobody was signed in"), "{said}");
    is_clean(&home);
}

#[test]
fn others_work_while_somebody_signs_in() {
    let home = home_of(&format!(
        "touch \"$HOME/waits\"\nuntil [ -e \"$HOME/go\" ]; do sleep 0.01; done\n{SIGNS_IN}"
    ));
    let mut child =
        program(&home, &["login"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(|| home.path("waits").exists());
    assert_eq!(home.play("adopt").exit, 0, "no lock is held");
    let mended = home.run("doctor --fix");
    assert!(mended.contains(".staging is in use"), "nobody takes its home away: {mended}");
    fs::write(home.path("go"), "").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(accounts(&home).len(), 2);
    is_clean(&home);
}

#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "it did not come to that");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_live_login_is_stored_once() {
    let home = TestHome::of_ada();
    let live = home.tree(".codex");
    assert_snapshot!(home.run("adopt --dry-run"), @"
    $ codex-manager adopt --dry-run
    would store the login of ada@example.com as 2026-11-21-110000-ada@example.com-codex
    ");
    assert_eq!(home.files(), "");
    assert_snapshot!(home.run("adopt"), @"
    $ codex-manager adopt
    stored the login of ada@example.com as 2026-11-21-110000-ada@example.com-codex
    ");
    let home = home.later("+1d");
    assert_snapshot!(home.run("adopt"), @"
    $ codex-manager adopt
    the login of ada@example.com is already stored as 2026-11-21-110000-ada@example.com-codex
    ");
    assert_snapshot!(home.run("adopt --dry-run"), @"
    $ codex-manager adopt --dry-run
    the login of ada@example.com is already stored as 2026-11-21-110000-ada@example.com-codex
    ");
    home.assert_same(".codex", &live);
    assert_eq!(home.json("list")["data"]["snapshots"].as_array().unwrap().len(), 1);
    let ledger = String::from_utf8(home.read(".codex-manager/ledger.jsonl")).unwrap();
    assert_eq!(ledger.matches("\"activation\"").count(), 1, "{ledger}");
    // What a full backup holds is stored, too; a refreshed login is another one.
    let (user, workspace) = ids("ada@example.com");
    let home =
        home.signed_in_as("ada@example.com", &user, &workspace, "rt_2", "2026-11-22T09:00:00Z");
    assert_eq!(home.play("backup").exit, 0);
    assert_eq!(home.json("adopt")["data"]["stored"], false);
    let home =
        home.signed_in_as("ada@example.com", &user, &workspace, "rt_3", "2026-11-22T09:30:00Z");
    assert_eq!(home.json("adopt")["data"]["stored"], true);
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    taken back     2026-11-22-110000-adopt: stored the login of ada@example.com as 2026-11-22-110000-ada@example.com-codex
    the other way  codex-manager undo 2026-11-22-110000-undo
    ");
}

#[test]
fn a_login_that_cannot_be_stored_is_explained() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    assert_snapshot!(home.run("adopt"), @"
    $ codex-manager adopt
    error: there is no Codex home at ~/.codex
    hint: start `codex` once, or name the home with --codex-home DIR
    (exit 4)
    ");
    let home = home.file(".codex/config.toml", "model = \"gpt-5\"\n");
    assert_snapshot!(home.run("adopt"), @"
    $ codex-manager adopt
    error: ~/.codex/auth.json does not exist: nobody is signed in
    hint: sign in with `codex login`
    (exit 4)
    ");
    let home = home.file(".codex/config.toml", "cli_auth_credentials_store = \"keyring\"\n");
    assert_snapshot!(home.run("adopt"), @r#"
    $ codex-manager adopt
    error: Codex keeps this login in the keyring, not in auth.json
    hint: set cli_auth_credentials_store = "file" in Codex's config.toml and sign in again
    (exit 4)
    "#);
    let home = home.file(".codex/config.toml", "cli_auth_credentials_store = \"ephemeral\"\n");
    assert_snapshot!(home.run("adopt"), @r#"
    $ codex-manager adopt
    error: Codex keeps this login in memory, not in auth.json
    hint: set cli_auth_credentials_store = "file" in Codex's config.toml and sign in again
    (exit 4)
    "#);
    let home = home.file(".codex/config.toml", "").file(".codex/auth.json", "{\"tokens\": 7}");
    assert_snapshot!(home.run("adopt"), @"
    $ codex-manager adopt
    error: auth.json names no account: it holds no tokens
    hint: sign in with `codex login`
    (exit 4)
    ");
    let (user, _) = ids("ada@example.com");
    let mixed = login("ada@example.com", &user, "acct-ada", "rt", "2026-11-21T09:00:00Z").replacen(
        "\"account_id\": \"acct-ada\"",
        "\"account_id\": \"acct-bob\"",
        1,
    );
    let home = home.file(".codex/auth.json", mixed);
    assert_snapshot!(home.run("adopt"), @"
    $ codex-manager adopt
    error: auth.json mixes two accounts: its workspace is acct-bob, its tokens belong to acct-ada
    hint: sign in with `codex login`
    (exit 5)
    ");
    assert_eq!(home.files(), "", "nothing was made");
}
