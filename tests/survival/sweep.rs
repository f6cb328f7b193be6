//! Is every command line the old state or the new one, wherever it is killed or fails?
//!
//! Each is traced once. Then it runs again for each call that changes something, from the same
//! beginning, with a SIGKILL, ENOSPC, EIO or EMFILE exactly there. By default every so-many-th of
//! these points is tried, others for each command; `SURVIVAL=full` tries them all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use crate::commands::{CASES, Case};
use crate::ground::{Ground, processors};
use crate::oracle::{End, Expected};
use crate::trace::{self, Blow, Point};

/// Of how many points one is tried, unless all are.
const ONE_OF: usize = 25;

/// How often a call is aimed at. `openat` is also what looks through `/proc` are made of, so its
/// count depends on how many processes there are; a run that was hit elsewhere tells by how much.
const ATTEMPTS: usize = 60;

/// What came of one command line.
#[derive(Default)]
struct Outcome {
    calls: usize,
    tried: BTreeMap<Blow, usize>,
    survived: BTreeMap<Blow, usize>,
    failures: Vec<String>,
}

#[test]
fn killed_or_failing_at_any_call_every_command_leaves_the_old_state_or_the_new() {
    trace::strace_is_there();
    let outcomes = on_all_processors(|ground, number, case| sweep(ground, number, case));
    let (text, failures) = table(&outcomes);
    println!("{text}");
    assert!(
        failures.is_empty(),
        "{} points did not survive:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Has every case done by a worker that has a processor and a ground of its own.
fn on_all_processors<T: Send>(
    work: impl Fn(&mut Ground, usize, &'static Case) -> T + Sync,
) -> Vec<(&'static Case, T)> {
    let waiting = Mutex::new(CASES.iter().enumerate().filter(|(_, case)| is_asked_for(case)));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for processor in processors() {
            let (waiting, done, work) = (&waiting, &done, &work);
            scope.spawn(move || {
                let mut ground = Ground::new(processor);
                loop {
                    let next = waiting.lock().expect("nobody died").next();
                    let Some((number, case)) = next else { break };
                    ground.prepare(case.prepare);
                    let result = work(&mut ground, number, case);
                    done.lock().expect("nobody died").push((number, case, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody died");
    done.sort_by_key(|(number, ..)| *number);
    done.into_iter().map(|(_, case, result)| (case, result)).collect()
}

/// `SURVIVAL_ONLY=restore` plays the command lines whose name holds that.
fn is_asked_for(case: &Case) -> bool {
    std::env::var("SURVIVAL_ONLY").map_or(true, |word| case.name.contains(&word))
}

fn sweep(ground: &Ground, number: usize, case: &Case) -> Outcome {
    let expected = Expected::learn(ground, case);
    let words = case.words(ground);
    let traced = trace::run(ground, &words, None);
    assert_eq!(traced.exit, Some(0), "{}:\n{}", case.name, traced.said);
    let points = traced.trace.points(ground);
    let step =
        if std::env::var("SURVIVAL").is_ok_and(|value| value == "full") { 1 } else { ONE_OF };
    let all =
        points.iter().enumerate().flat_map(|(at, point)| Blow::ALL.map(|blow| (at, point, blow)));
    let mut outcome = Outcome { calls: points.len(), ..Outcome::default() };
    for (_, (at, point, blow)) in all.enumerate().filter(|(n, _)| n % step == number % step) {
        let result = strike(ground, case, &expected, &words, at, point, blow);
        *outcome.tried.entry(blow).or_default() += 1;
        match result {
            Ok(()) => *outcome.survived.entry(blow).or_default() += 1,
            Err(what) => outcome.failures.push(format!(
                "{}: {} at call {at}, {}: {what}",
                case.name,
                blow.name(),
                point.what
            )),
        }
    }
    outcome
}

/// Plays the case with one blow, and judges.
fn strike(
    ground: &Ground,
    case: &Case,
    expected: &Expected,
    words: &[String],
    at: usize,
    point: &Point,
    blow: Blow,
) -> Result<(), String> {
    let mut nth = point.nth;
    for _ in 0..ATTEMPTS {
        ground.reset();
        let run = trace::run(ground, words, Some((blow, &point.name, nth)));
        let changes = run.trace.changes(ground);
        match run.trace.hit(ground, blow) {
            // A kill between two changes is a kill at the second one.
            Some((before, exactly)) if before == at && (exactly || blow == Blow::Kill) => {
                let end = run.exit.map_or(End::Killed, End::Exit);
                if (end == End::Killed) != (blow == Blow::Kill) {
                    return Err(format!("it ended with {end:?}:\n{}", run.said));
                }
                return expected.judge(ground, case, end, &run.said, false);
            }
            // Missed: where would it have been this time?
            _ => match changes.get(at) {
                Some(call) if call.name == point.name => nth = call.nth,
                _ => nth = if nth > point.nth { point.nth } else { nth + 1 },
            },
        }
    }
    Err(format!("not hit in {ATTEMPTS} attempts"))
}

/// The table that README shows, and all failures.
fn table(outcomes: &[(&'static Case, Outcome)]) -> (String, Vec<String>) {
    let mut text = String::from(
        "| command | calls | SIGKILL | ENOSPC | EIO | EMFILE | survived |\n|---|---|---|---|---|---|---|\n",
    );
    let mut sum = Outcome::default();
    let mut row = |name: &str, outcome: &Outcome| {
        let tried: usize = outcome.tried.values().sum();
        let survived: usize = outcome.survived.values().sum();
        let cells =
            Blow::ALL.map(|blow| outcome.tried.get(&blow).copied().unwrap_or(0).to_string());
        let line = format!(
            "| `{name}` | {} | {} | {survived} of {tried} |",
            outcome.calls,
            cells.join(" | ")
        );
        writeln!(text, "{line}").expect("text grows");
    };
    for (case, outcome) in outcomes {
        row(case.name, outcome);
        sum.calls += outcome.calls;
        for blow in Blow::ALL {
            *sum.tried.entry(blow).or_default() += outcome.tried.get(&blow).unwrap_or(&0);
            *sum.survived.entry(blow).or_default() += outcome.survived.get(&blow).unwrap_or(&0);
        }
        sum.failures.extend(outcome.failures.iter().cloned());
    }
    row("all", &sum);
    (text, sum.failures)
}
