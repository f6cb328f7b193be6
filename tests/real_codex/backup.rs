//! Is a snapshot whole while Codex works, and does the home not notice?

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{Home, Lab, turn_of};
use crate::mock::account::ADA;
use crate::mock::reply;
use crate::restore::assert_rows_lead_into;
use crate::tree::{Tree, differences, tree};

#[test]
fn a_home_that_an_app_server_holds_open_is_backed_up_whole() {
    let lab = Lab::new();
    let (first, second) = lived_in(&lab.home());
    let mut server = lab.home().app_server();
    let third = server.turn(&lab.project(), "said to the server");
    settle(lab.home().path());
    let expected = (lab.home().threads(), lab.home().rollouts());
    assert_ne!(lab.home().threads_without_wal(), expected.0, "the row is in the -wal only");
    let snapshot = lab.backup();
    drop(server);
    lab.verify_all();

    let copy = restored_elsewhere(&lab, &snapshot, "copy");
    assert_whole(&copy);
    assert_eq!(copy.rollouts(), expected.1);
    assert_eq!(keys(&copy.threads()), BTreeSet::from([first, second, third]));
    assert_eq!(without_paths(copy.threads()), without_paths(expected.0));
}

#[test]
fn a_backup_during_a_turn_is_whole_and_the_turn_ends_well() {
    let lab = Lab::new();
    let home = lab.home();
    lived_in(&home);
    let turns = lab.mock.seen().iter().filter(|seen| seen.is_turn()).count();

    let held = lab.mock.hold_turns();
    let running = home.start_exec(&["said in the middle"]);
    lab.mock.wait_for_turns(turns + 1);
    let indexed = keys(&home.threads());
    let snapshot = lab.backup();
    drop(held);
    let turn = turn_of(&running.wait());
    assert_eq!(turn.answer, reply(&ADA, "said in the middle"));
    lab.verify_all();

    let copy = restored_elsewhere(&lab, &snapshot, "copy");
    assert_whole(&copy);
    assert!(indexed.contains(&turn.session), "{indexed:?}");
    assert_eq!(keys(&copy.threads()), indexed);
    // A session file only grows, so that every archived one is the beginning of today's, and
    // ends with a whole line.
    let live = home.rollouts();
    let archived = copy.rollouts();
    assert_eq!(archived.len(), 3);
    for (path, bytes) in &archived {
        assert!(live[path].starts_with(bytes), "{}", path.display());
        assert!(bytes.ends_with(b"\n"), "{}", path.display());
    }
    // The question was on disk, so it is remembered; the answer never came here.
    copy.resume(&turn.session, "what did I say?");
    let texts = lab.mock.last_turn().texts;
    assert!(texts.contains(&"said in the middle".to_owned()));
    assert!(!texts.contains(&turn.answer));
}

#[test]
fn every_backup_of_a_busy_home_is_whole() {
    let lab = Lab::new();
    let home = lab.home();
    home.exec("before the rush");
    let mut server = home.app_server();
    let enough = AtomicBool::new(false);
    let (snapshots, sessions) = thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut sessions = Vec::new();
            while !enough.load(Ordering::Relaxed) {
                sessions.push(server.turn(&lab.project(), "in a hurry"));
            }
            sessions
        });
        let snapshots = catch_unwind(AssertUnwindSafe(|| [(); 4].map(|()| lab.backup())));
        // Also after a failure, for the scope waits for the other thread.
        enough.store(true, Ordering::Relaxed);
        (snapshots.unwrap_or_else(|panic| resume_unwind(panic)), busy.join().unwrap())
    });
    lab.verify_all();

    let mut seen = 0;
    for (i, snapshot) in snapshots.iter().enumerate() {
        let copy = restored_elsewhere(&lab, snapshot, &format!("copy-{i}"));
        assert_whole(&copy);
        // The index was taken before the files, so that no row lacks its file.
        assert_rows_lead_into(&copy);
        let found = copy.threads().len();
        assert!(found >= seen, "{found} sessions after {seen}");
        seen = found;
    }
    assert!(seen > 1 && sessions.len() > 1, "{seen} of {} sessions", sessions.len());
}

#[test]
fn a_backup_leaves_no_trace_in_a_home_nobody_has_open() {
    let lab = Lab::new();
    lived_in(&lab.home());
    let before = tree(lab.home().path());
    lab.backup();
    assert_eq!(differences(&before, &tree(lab.home().path())), BTreeSet::new());
}

#[test]
fn a_backup_leaves_no_trace_in_a_home_that_codex_has_open() {
    let lab = Lab::new();
    lived_in(&lab.home());
    let server = lab.home().app_server();
    let path = lab.home().path().to_owned();

    // Codex is idle and yet may touch files of its own. What it touches in the same time without
    // us, just before and just after, is not our doing; whatever else changes is.
    let settled = settle(&path);
    thread::sleep(Duration::from_secs(4));
    let before = tree(&path);
    let mut codexs_own = differences(&settled, &before);
    let began = Instant::now();
    lab.backup();
    let took = began.elapsed();
    let after = tree(&path);
    thread::sleep(took.max(Duration::from_secs(4)));
    codexs_own.extend(differences(&after, &tree(&path)));
    drop(server);

    let ours: BTreeSet<_> = differences(&before, &after).difference(&codexs_own).cloned().collect();
    assert_eq!(ours, BTreeSet::new());
    // The control must not excuse everything: work, login and its index stood still by themselves.
    let work = |path: &&String| path.starts_with("sessions/") || path.starts_with("state_5.sqlite");
    assert!(!codexs_own.iter().any(|path| work(&path) || path == "auth.json"), "{codexs_own:?}");
}

/// Two sessions, and more words in the first; returns their ids.
#[track_caller]
pub(crate) fn lived_in(home: &Home<'_>) -> (String, String) {
    let first = home.exec("the colour is teal").session;
    let second = home.exec("the number is seven").session;
    assert_eq!(home.resume(&first, "and the animal is a heron").session, first);
    (first, second)
}

/// A snapshot restored into a folder that was not there.
#[track_caller]
pub(crate) fn restored_elsewhere<'lab>(lab: &'lab Lab, snapshot: &str, name: &str) -> Home<'lab> {
    let copy = lab.home_at(name);
    let destination = copy.path().to_str().unwrap().to_owned();
    lab.ask(&["restore", snapshot, "--to", &destination, "--yes"]);
    copy
}

/// Every database passes SQLite's own check.
#[track_caller]
pub(crate) fn assert_whole(home: &Home<'_>) {
    let databases = home.databases();
    assert!(databases.contains(&"state_5.sqlite".to_owned()), "{databases:?}");
    for database in databases {
        assert_eq!(home.integrity(&database), "ok", "{database}");
    }
}

fn keys<V>(map: &BTreeMap<String, V>) -> BTreeSet<String> {
    map.keys().cloned().collect()
}

/// Rows without the one column that is bound to the place of the home.
fn without_paths<V>(rows: BTreeMap<String, Vec<(String, V)>>) -> Vec<Vec<(String, V)>> {
    let rows = rows.into_values();
    let bound = |(column, _): &(String, V)| column == "rollout_path";
    rows.map(|row| row.into_iter().filter(|cell| !bound(cell)).collect()).collect()
}

/// Waits until Codex has written nothing for two seconds, and returns what is there then.
#[track_caller]
fn settle(path: &Path) -> Tree {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut last = tree(path);
    while Instant::now() < deadline {
        thread::sleep(Duration::from_secs(2));
        let now = tree(path);
        if now == last {
            return now;
        }
        last = now;
    }
    panic!("Codex did not come to rest");
}
