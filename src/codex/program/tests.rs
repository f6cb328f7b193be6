use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const BRIEF: Duration = Duration::from_millis(300);

fn shell(line: &str) -> Task {
    Task::new(Path::new("/bin/sh"), &BTreeMap::new())
        .with("PATH", "/usr/bin:/bin")
        .words(["-c", line])
}

fn limits(stop: &AtomicBool) -> Limits<'_> {
    Limits { bytes: 64, patience: BRIEF, stop }
}

#[test]
#[rustfmt::skip]
fn a_program_says_something_or_why_not() {
    check("echo hello",                  "hello\n");
    check("exit 3",                      "failed (exit status: 3)");
    check("kill -9 $$",                  "failed (signal: 9");
    check("yes",                         "prints more than 64 bytes");
    check("sleep 60",                    "took longer than 0 s");
    check("sleep 60 | cat; echo late",   "took longer than 0 s");
    check("sleep 4 & echo early",        "keeps its output open");
    check("echo said; echo more >&2",    "said\n");
    check("test -z \"$HOME$USER\" && pwd", "/"); // nothing of our environment
}

#[track_caller]
fn check(line: &str, expected: &str) {
    let began = Instant::now();
    let stop = AtomicBool::new(false);
    let task = shell(line).at(Path::new("/"));
    let said = match task.output(limits(&stop)).and_then(Output::of_success) {
        Ok(said) => String::from_utf8(said).unwrap(),
        Err(error) => error.to_string(),
    };
    assert!(said.contains(expected), "{line}: {said}");
    assert!(began.elapsed() < Duration::from_secs(20), "{line}: {:?}", began.elapsed());
}

#[test]
fn what_is_said_on_standard_error_is_kept_where_it_is_wanted() {
    let stop = AtomicBool::new(false);
    let line = "echo why >&2; yes no 2>/dev/null | head -c 99999 >&2; exit 1";
    let ended = shell(line).complaints(Complaints::Kept).output(limits(&stop)).unwrap();
    assert!(ended.complained.starts_with(b"why\nno\n"));
    assert_eq!(u64::try_from(ended.complained.len()).unwrap(), COMPLAINT_CAP);
    assert_eq!(ended.status.code(), Some(1), "it was not ended by a pipe that nobody read");
    assert!(shell(line).output(limits(&stop)).unwrap().complained.is_empty());
}

#[test]
fn when_its_time_is_up_all_that_it_started_ends() {
    let folder = tempfile::tempdir().unwrap();
    let number = folder.path().join("pid");
    let line = format!("sleep 60 & echo $! > {}; wait", number.display());
    let stop = AtomicBool::new(false);
    assert!(matches!(shell(&line).output(limits(&stop)), Err(RunError::Slow(_))));
    assert_ends(&number);

    let mut talk = shell(&line).converse().unwrap();
    let heard = talk.hear(Instant::now() + BRIEF, BRIEF, &stop);
    assert!(matches!(heard, Err(RunError::Slow(_))), "{heard:?}");
    drop(talk);
    assert_ends(&number);
}

#[track_caller]
fn assert_ends(number: &Path) {
    let text = fs::read_to_string(number).unwrap();
    let pid = rustix::process::Pid::from_raw(text.trim().parse().unwrap()).unwrap();
    let began = Instant::now();
    // Whoever inherits the orphan waits for it a moment later; until then it is a zombie.
    let has_ended = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", text.trim()));
        rustix::process::test_kill_process(pid).is_err()
            || stat.is_ok_and(|stat| stat.contains(") Z "))
    };
    while !has_ended() {
        assert!(began.elapsed() < Duration::from_secs(10), "{pid:?} is still there");
        std::thread::sleep(GLANCE);
    }
    fs::remove_file(number).unwrap();
}

#[test]
fn who_stops_us_stops_the_program() {
    let stop = AtomicBool::new(true);
    let long = Limits { patience: Duration::from_secs(60), ..limits(&stop) };
    assert!(matches!(shell("sleep 60").output(long), Err(RunError::Stopped)));
    let attended = shell("sleep 60").attended(Stdio::null(), &stop);
    assert!(matches!(attended, Err(RunError::Stopped)), "{attended:?}");
    let mut talk = shell("sleep 60").converse().unwrap();
    let heard = talk.hear(Instant::now() + long.patience, long.patience, &stop);
    assert!(matches!(heard, Err(RunError::Stopped)), "{heard:?}");
}

#[test]
fn somebody_who_sits_at_a_program_learns_how_it_ended() {
    let stop = AtomicBool::new(false);
    let ended = shell("exit 7").attended(Stdio::null(), &stop).unwrap();
    assert_eq!(ended.code(), Some(7));
}

#[test]
fn a_conversation_is_lines_in_turn_and_ends_with_its_input() {
    let stop = AtomicBool::new(false);
    let line = "while read -r word; do echo \"heard $word\"; done; echo bye";
    let mut talk = shell(line).converse().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let heard = |talk: &mut Conversation| talk.hear(until, BRIEF, &stop).unwrap();
    talk.say("one");
    assert_eq!(heard(&mut talk), Heard::Line(b"heard one".to_vec()));
    talk.say("two");
    assert_eq!(heard(&mut talk), Heard::Line(b"heard two".to_vec()));
    let began = Instant::now();
    talk.finish(until);
    assert!(began.elapsed() < Duration::from_secs(30), "it was asked to end, and not waited for");

    let mut silent = shell("exit 0").converse().unwrap();
    assert_eq!(heard(&mut silent), Heard::End);
    silent.say("is anybody there?");
    assert_eq!(heard(&mut silent), Heard::End);
}

#[test]
fn codex_is_what_was_set_or_what_a_shell_would_start() {
    let folder = tempfile::tempdir().unwrap();
    let place = |below: &str| folder.path().join(below);
    for (below, mode) in
        [("a/codex", 0o644), ("b/codex", 0o755), ("c/codex", 0o755), ("c/beta", 0o755)]
    {
        fs::create_dir_all(place(below).parent().unwrap()).unwrap();
        fs::write(place(below), "#!/bin/sh\n").unwrap();
        fs::set_permissions(place(below), fs::Permissions::from_mode(mode)).unwrap();
    }
    let path =
        std::env::join_paths([Path::new("d"), &place("a"), &place("b"), &place("c")]).unwrap();
    let found = |named: Option<&Path>| find(named, Some(&path));
    assert_eq!(found(None), Ok(place("b/codex")));
    assert_eq!(found(Some(Path::new("beta"))), Ok(place("c/beta")));
    assert_eq!(found(Some(&place("c/codex"))), Ok(place("c/codex")));
    assert_eq!(
        found(Some(&place("a/codex"))),
        Err(ProgramError::NoProgram { path: place("a/codex") })
    );
    let absent = |name: &str| Err(ProgramError::NotOnPath { name: name.to_owned() });
    assert_eq!(found(Some(Path::new("gamma"))), absent("gamma"));
    assert_eq!(find(None, Some(place("a").as_os_str())), absent("codex"));
    assert_eq!(find(None, None), absent("codex"));
}
