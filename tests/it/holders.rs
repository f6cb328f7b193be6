//! Who uses the home: is everybody found, named with their remedy, waited for, and nobody ended?
//!
//! The processes here only look like Codex: a shell under its name that waits for a line. They end
//! when the test lets them, and the system's own list of processes is what is asked.

#![cfg(target_os = "linux")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::home::TestHome;

/// Ada and bob are stored, and bob is signed in.
fn two_accounts() -> TestHome {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1d").signed_in("bob@example.com");
    home.run("backup --auth-only");
    home.later("+1h")
}

/// Whose login is live.
fn live(home: &TestHome) -> &'static str {
    let auth = String::from_utf8(home.read(".codex/auth.json")).unwrap();
    if auth.contains("acct-ada-example-com") { "ada" } else { "bob" }
}

/// A process that ends when the test lets it, at the latest when the test is over.
struct Fake(Child);

impl Fake {
    /// A shell under the name `program`, which has done what `before` says and then waits for a
    /// line; the words in `line` stand behind what makes it wait.
    fn start(home: &TestHome, program: &str, line: &str, before: &str, codex_home: &Path) -> Self {
        let mut command = Command::new("/bin/sh");
        command.arg0(program).arg("-c").arg(format!("{before}\necho ready\nread line"));
        Self::waiting(command.args(line.split_whitespace()), home, codex_home)
    }

    /// One that names this very home in its environment.
    fn of(home: &TestHome, program: &str, line: &str) -> Self {
        Self::start(home, program, line, ":", &home.codex(""))
    }

    /// Starts what says `ready` and then waits.
    fn waiting(command: &mut Command, home: &TestHome, codex_home: &Path) -> Self {
        command.env_clear().env("CODEX_HOME", codex_home).env("PATH", "/usr/bin:/bin");
        command.current_dir(home.path("")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn quit(self) {}
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.0.stdin.take()); // It waits for a line that never comes.
        self.0.wait().unwrap();
    }
}

/// The holders that `doctor --json` lists.
fn listed(home: &TestHome) -> Vec<Value> {
    home.json("doctor")["data"]["holders"].as_array().unwrap().clone()
}

/// The one holder there is: its number, role and evidence.
#[track_caller]
fn only(home: &TestHome) -> (u32, String, Value) {
    let listed = listed(home);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let pid = u32::try_from(listed[0]["pid"].as_u64().unwrap()).unwrap();
    (pid, listed[0]["role"].as_str().unwrap().to_owned(), listed[0]["evidence"].clone())
}

#[test]
fn each_kind_of_codex_is_named_with_its_own_remedy_and_nothing_changes() {
    let home = two_accounts();
    let before = home.tree(".codex");
    let extension = "/x/.vscode/extensions/openai.chatgpt-26.1-linux-x64/bin/linux-x86_64/codex";
    let app = "/Applications/Codex.app/Contents/Resources/codex";
    for (program, line, role, said, remedy) in [
        ("codex", "", "tui", "codex", "quit it with /quit"),
        ("codex", "exec hi", "exec", "codex exec", "let it finish, or stop it with Ctrl-C"),
        ("codex", "app-server", "app-server", "codex app-server", "close "),
        (extension, "app-server", "editor", "codex of VS Code", "close the windows of VS Code"),
        (app, "app-server", "desktop-app", "codex of the desktop app", "quit the app"),
        (
            "codex",
            "app-server --listen unix:// --managed-daemon",
            "background-server",
            "the background server of codex",
            "end it with `codex app-server daemon stop`",
        ),
    ] {
        let fake = Fake::of(&home, program, line);
        assert_eq!(only(&home), (fake.pid(), role.to_owned(), json!(["environment"])), "{line}");
        for command in ["use ada", "restore --account ada --yes"] {
            let seen = home.play(command);
            assert_eq!(seen.exit, 3, "{}", seen.screen);
            let named = format!("error: {said}");
            let number = format!("(pid {}) is using ~/.codex\n", fake.pid());
            assert!(seen.screen.contains(&named), "{}", seen.screen);
            assert!(seen.screen.contains(&number), "{}", seen.screen);
            assert!(seen.screen.contains(&format!("hint: {remedy}")), "{}", seen.screen);
        }
        fake.quit();
    }
    home.assert_same(".codex", &before);
    assert_eq!(home.play("use ada").exit, 0);
}

#[test]
fn several_are_named_each_with_its_remedy_also_for_a_script() {
    let home = two_accounts();
    let codex = Fake::of(&home, "codex", "");
    let server = Fake::of(&home, "codex", "app-server --managed-daemon");
    let updater = Fake::of(&home, "codex", "app-server daemon pid-update-loop");
    let hide = |text: String| {
        let text = text.replace(&codex.pid().to_string(), "FIRST");
        text.replace(&server.pid().to_string(), "SECOND")
    };
    assert_snapshot!(hide(home.run("use ada")), @"
    $ codex-manager use ada
    error: codex (pid FIRST), the background server of codex (pid SECOND) are using ~/.codex
    hint: pid FIRST: quit it with /quit; pid SECOND: end it with `codex app-server daemon stop`, and try again, or pass --restart-server to let Codex start its server anew; --wait waits for that, --force goes on regardless
    (exit 3)
    ");
    let error = home.json("use ada")["error"].clone();
    let told: Vec<&Value> = error["holders"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 2, "{error}");
    assert_eq!(told[0]["remedy"], "quit it with /quit");
    assert!(told.iter().all(|holder| holder["since"].is_string()), "{error}");
    let doctor = home.json("doctor")["data"].clone();
    assert_eq!(doctor["bystanders"][0]["pid"], updater.pid(), "{doctor}");
    // All of it is worth knowing, and none of it is wrong.
    let running = doctor["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "running");
    assert!(running.clone().count() == 3 && running.clone().all(|f| f["level"] == "note"));
}

#[test]
fn a_codex_of_another_home_is_nobody() {
    let home = two_accounts().file("elsewhere/config.toml", "");
    let other = home.path("elsewhere");
    let _by_name = Fake::start(&home, "codex", "", ":", &other);
    let _by_file = Fake::start(&home, "codex", "exec", "exec 3>>$CODEX_HOME/held", &other);
    // A name alone is nothing, nor is whoever reads.
    let _reader = Fake::start(&home, "tail", "", "exec 3<.codex/config.toml", &home.codex(""));
    let _other_name = Fake::of(&home, "codex-manager", "list");
    assert_eq!(listed(&home), Vec::<Value>::new());
    assert_eq!(home.play("use ada").exit, 0);
}

#[test]
fn open_files_tell_where_the_environment_does_not() {
    let home = two_accounts().file("db/state_5.sqlite", "");
    let nowhere = home.path("nowhere");
    let start = |program: &str, before: &str| Fake::start(&home, program, "", before, &nowhere);

    let by_file = start("codex", "exec 3<.codex/config.toml");
    assert_eq!(only(&home), (by_file.pid(), "tui".to_owned(), json!(["open-file"])));
    by_file.quit();

    let writer = start("/usr/bin/sqlite3", "exec 3>>.codex/notes");
    assert_eq!(only(&home), (writer.pid(), "other".to_owned(), json!(["open-file"])));
    let seen = home.play("use ada").screen;
    assert!(seen.contains(&format!("error: sqlite3 (pid {})", writer.pid())), "{seen}");
    writer.quit();

    // The databases may lie elsewhere, where the configuration says.
    let home = home.file(".codex/config.toml", "sqlite_home = \"../db\"\n");
    let reader = Fake::start(&home, "codex", "", "exec 3<db/state_5.sqlite", &nowhere);
    assert_eq!(only(&home), (reader.pid(), "tui".to_owned(), json!(["open-file"])));
    reader.quit();
    assert_eq!(listed(&home), Vec::<Value>::new());
}

#[test]
fn a_program_is_known_by_its_file_also_when_that_was_deleted() {
    let home = two_accounts();
    let file = home.path("codex");
    std::fs::copy("/bin/sh", &file).unwrap();
    let mut command = Command::new(&file);
    command.arg0("cx").args(["-c", "echo ready\nread line", "exec", "hi"]);
    let fake = Fake::waiting(&mut command, &home, &home.codex(""));
    assert_eq!(only(&home).1, "exec");
    std::fs::remove_file(&file).unwrap(); // As an update does.
    assert_eq!(only(&home), (fake.pid(), "exec".to_owned(), json!(["environment"])));
}

#[test]
fn the_script_of_npm_and_the_program_it_starts_are_one() {
    let home = two_accounts();
    let program = home.path("codex");
    std::fs::copy("/bin/sh", &program).unwrap();
    let start = "/../codex -c 'echo ready; read line' exec hi";
    let home = home.file("bin/codex", format!("\"${{0%/*}}\"{start}\n"));
    let mut command = Command::new("/bin/sh");
    command.arg0("node").arg(home.path("bin/codex"));
    let wrapper = Fake::waiting(&mut command, &home, &home.codex(""));
    let (pid, role, _) = only(&home);
    assert!(pid != wrapper.pid() && role == "exec", "{pid} {role}");
    drop(wrapper);
    // Alone it counts: it is about to start the program.
    let home = home.file("bin/codex", "echo ready\nread line\n");
    let mut command = Command::new("/bin/sh");
    command.arg0("node").arg(home.path("bin/codex")).arg("exec");
    let wrapper = Fake::waiting(&mut command, &home, &home.codex(""));
    assert_eq!(only(&home), (wrapper.pid(), "exec".to_owned(), json!(["environment"])));
}

#[test]
fn who_insists_goes_on_and_is_warned() {
    let home = two_accounts();
    let codex = Fake::of(&home, "codex", "");
    let hide = |text: String| text.replace(&codex.pid().to_string(), "PID");
    assert_snapshot!(hide(home.run("use ada --force")), @"
    $ codex-manager use ada --force
    warning: codex (pid PID) is using ~/.codex and may overwrite what was put in place
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    ");
    assert_eq!(live(&home), "ada");
    assert_eq!(home.play("use bob --force --wait").exit, 4, "one or the other");
    assert_eq!(home.play("use bob --dry-run --wait").exit, 4);
    let seen = home.play("use bob --wait 3");
    assert!(seen.exit == 4 && seen.screen.contains("'--wait=3'"), "{}", seen.screen);
    let hint = &home.json("use bob --wait 3")["error"]["hint"];
    assert!(hint.as_str().unwrap().starts_with("to wait no longer"), "{hint}");
    assert!(!home.run("use bob carol").contains("--wait="), "that is no number of seconds");
}

/// The program itself, which waits; the first line that it said.
fn waiting(home: &TestHome, words: &[&str]) -> (Child, BufReader<impl std::io::Read>, String) {
    let mut child =
        home.program(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    (child, said, line)
}

#[test]
fn waiting_ends_when_the_last_one_does_and_others_work_meanwhile() {
    let home = two_accounts();
    let codex = Fake::of(&home, "codex", "");
    let exec = Fake::of(&home, "codex", "exec hi");
    let (mut child, mut said, line) = waiting(&home, &["use", "ada", "--wait"]);
    let (first, second) = (codex.pid(), exec.pid());
    assert!(line.starts_with("waiting for codex"), "{line}");
    assert!(line.contains(&format!("codex (pid {first})")), "{line}");
    assert!(line.contains(&format!("codex exec (pid {second})")), "{line}");
    // No lock is held.
    assert_eq!(home.play("backup --auth-only --force").exit, 0);
    codex.quit();
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let what =
        format!("waiting for codex exec (pid {second}): let it finish, or stop it with Ctrl-C\n");
    assert_eq!(line, what);
    assert_eq!(live(&home), "bob");
    exec.quit();
    assert!(child.wait().unwrap().success());
    assert_eq!(live(&home), "ada");
}

#[test]
fn ctrl_c_ends_the_waiting_with_nothing_changed() {
    let home = two_accounts();
    let codex = Fake::of(&home, "codex", "");
    let before = home.tree(".codex");
    for words in
        [&["use", "ada", "--wait"][..], &["restore", "--account", "ada", "--yes", "--wait=3600"]]
    {
        let (mut child, mut said, line) = waiting(&home, words);
        assert!(line.starts_with("waiting for codex (pid "), "{line}");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(
            rest,
            format!(
                "error: nothing was changed: stopped while codex (pid {}) was at work\n",
                codex.pid()
            )
        );
    }
    home.assert_same(".codex", &before);
}

#[test]
fn waiting_has_a_limit_if_one_is_given_and_a_script_gets_one_document() {
    let home = two_accounts();
    let codex = Fake::of(&home, "codex", "");
    let before = home.tree(".codex");
    let seen = home.play("use ada --wait=0");
    assert_eq!(seen.exit, 3, "{}", seen.screen);
    let document = home.json("use ada --wait=0");
    assert_eq!(document["error"]["holders"][0]["pid"], codex.pid());
    assert_eq!(home.play("use ada --wait=soon").exit, 4);
    home.assert_same(".codex", &before);
    codex.quit();
    assert_eq!(home.json("use ada --wait=0")["ok"], true, "nobody to wait for");
}

/// A `codex` on PATH that writes down what it was asked, and answers as `version` and `restart`
/// say.
fn with_codex(home: TestHome, version: &str, restart: &str) -> TestHome {
    let script = format!(
        "#!/bin/sh\necho \"$CODEX_HOME $*\" >> {}\ncase \"$*\" in\n\
         'app-server daemon version') {version};;\n\
         'app-server daemon restart') {restart};;\n\
         *) exit 2;;\nesac\n",
        home.path("asked").display()
    );
    let path = format!("{}:/usr/bin:/bin", home.path("bin").display());
    let home = home.file("bin/codex", script).variable("PATH", &path);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(home.path("bin/codex"), mode).unwrap();
    home
}

const RUNS: &str = r#"echo '{"status":"running"}'"#;
const RESTARTED: &str = r#"echo '{"status":"restarted","pid":1}'"#;

/// What the `codex` on PATH was asked.
fn asked(home: &TestHome) -> String {
    let asked = std::fs::read_to_string(home.path("asked")).unwrap_or_default();
    asked.replace(home.path("").to_str().unwrap().trim_end_matches('/'), "~")
}

#[test]
fn the_background_server_is_started_anew_by_codex_after_the_login_is_exchanged() {
    let home = with_codex(two_accounts(), RUNS, RESTARTED);
    let server = Fake::of(&home, "codex", "app-server --managed-daemon");
    let hide = |text: String| text.replace(&format!("pid {}", server.pid()), "pid OLD");
    assert_snapshot!(hide(home.run("use ada")), @"
    $ codex-manager use ada
    error: the background server of codex (pid OLD) is using ~/.codex
    hint: end it with `codex app-server daemon stop`, and try again, or pass --restart-server to let Codex start its server anew; --wait waits for that, --force goes on regardless
    (exit 3)
    ");
    assert_snapshot!(hide(home.run("use ada --restart-server --dry-run")), @"
    $ codex-manager use ada --restart-server --dry-run
    would sign in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    would start the background server (pid OLD) anew
    ");
    assert_eq!((live(&home), asked(&home)), ("bob", String::new()), "a dry run starts nothing");
    assert_snapshot!(hide(home.run("use ada --restart-server")), @"
    $ codex-manager use ada --restart-server
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    the background server (pid 1) works as ada@example.com now
    ");
    assert_eq!(live(&home), "ada");
    assert_snapshot!(asked(&home), @"
    ~/.codex app-server daemon version
    ~/.codex app-server daemon restart
    ~/.codex app-server daemon version
    ");
    // On the way back too, and also where nobody is to be signed in any more.
    let document = home.json("undo --restart-server");
    let told = json!({ "before": server.pid(), "after": 1, "restarted": true });
    assert_eq!((live(&home), &document["data"]["server"]), ("bob", &told));
    assert_eq!(home.json("use bob --restart-server")["data"]["server"], told);
}

#[test]
fn without_a_server_there_is_nothing_to_start_anew() {
    let home = with_codex(two_accounts(), RUNS, RESTARTED);
    let document = home.json("use ada --restart-server");
    assert_eq!((document["ok"].clone(), &document["data"]["server"]), (json!(true), &Value::Null));
    assert_eq!((live(&home), asked(&home)), ("ada", String::new()));
    // Whoever else is there stays in the way.
    let _server = Fake::of(&home, "codex", "app-server --managed-daemon");
    let _codex = Fake::of(&home, "codex", "");
    assert_eq!(home.play("use bob --restart-server").exit, 3);
    assert_eq!((live(&home), asked(&home).contains("restart")), ("ada", false));
    // A home is not exchanged under a server.
    let home = two_accounts();
    assert_eq!(home.play("restore --account ada --yes").exit, 0);
    let seen = home.play("undo --yes --restart-server");
    assert_eq!(seen.exit, 4, "{}", seen.screen);
}

#[test]
fn a_codex_that_cannot_start_it_anew_is_found_out_before_anything_changes() {
    let unknown = "echo 'error: unrecognized subcommand' >&2; exit 2";
    let home = with_codex(two_accounts(), unknown, RESTARTED);
    let _server = Fake::of(&home, "codex", "app-server --managed-daemon");
    let before = home.tree(".codex");
    assert_snapshot!(home.run("use ada --restart-server"), @"
    $ codex-manager use ada --restart-server
    error: nothing was changed: ~/bin/codex does not know the command `app-server daemon`
    hint: update Codex, or end the server with `codex app-server daemon stop` and try again without --restart-server
    (exit 1)
    ");
    let home = home.variable("PATH", "/nowhere");
    assert_snapshot!(home.run("use ada --restart-server"), @"
    $ codex-manager use ada --restart-server
    error: nothing was changed: there is no program `codex` on PATH
    hint: say where Codex is: `codex-manager config set codex_program PATH`
    (exit 1)
    ");
    home.assert_same(".codex", &before);
}

#[test]
fn where_it_is_not_started_anew_the_login_stays_exchanged_and_that_is_said() {
    let failing = "echo one >&2; echo 'Error: it hangs' >&2; exit 1";
    let home = with_codex(two_accounts(), RUNS, failing);
    let server = Fake::of(&home, "codex", "app-server --managed-daemon");
    let hide = |text: String| text.replace(&server.pid().to_string(), "PID");
    assert_snapshot!(hide(home.run("use ada --restart-server")), @"
    $ codex-manager use ada --restart-server
    warning: the login is in its place, but the background server (pid PID) was not started anew and may go on as the account before: Codex failed (exit status: 1): Error: it hangs
    signed in ada@example.com, with the login from 2026-11-19-100200-ada@example.com-codex
    sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account
    run `codex app-server daemon restart`, which may say more, or `… stop`
    (exit 1)
    ");
    assert_eq!(live(&home), "ada");
    let same = "read pid < $CODEX_HOME/../pid; echo \"{\\\"status\\\":\\\"restarted\\\",\\\"pid\\\":$pid}\"";
    for (version, restart, why) in [
        (RUNS, "echo done", "Codex does not say that it did"),
        (RUNS, same, "it is the same process as before"),
        ("echo gone; exit 1", RESTARTED, "the new one (pid 1) does not answer"),
    ] {
        let home = with_codex(two_accounts(), version, restart);
        let server = Fake::of(&home, "codex", "app-server --managed-daemon");
        let home = home.file("pid", format!("{}\n", server.pid()));
        let seen = home.play("use ada --restart-server");
        assert_eq!((seen.exit, live(&home)), (1, "ada"), "{}", seen.screen);
        assert!(seen.screen.contains(why), "{why}: {}", seen.screen);
    }
}
