//! Is every command line the old state or the new one, wherever it is killed or fails?
//!
//! Each is traced once. Then it runs again for each call that changes something, from the same
//! beginning, with a SIGKILL, ENOSPC, EIO or EMFILE exactly there. By default every so-many-th of
//! these points is tried, others for each command; `SURVIVAL=full` tries them all.

use std::collections::BTreeMap;

use crate::commands::Case;
use crate::ground::Ground;
use crate::oracle::{End, Expected};
use crate::trace::{self, Blow, Point, Trace};
use crate::work::{Table, on_all_processors, one_of};

/// Of how many points one is tried, unless all are.
const ONE_OF: usize = 25;

/// How often a call is aimed at. `openat` is also what looks through `/proc` are made of, so its
/// count depends on how many processes there are; a run that was hit elsewhere tells by how much.
const ATTEMPTS: usize = 100;

/// What came of one command line.
struct Outcome {
    calls: usize,
    tried: BTreeMap<Blow, usize>,
    failures: Vec<String>,
}

#[test]
fn killed_or_failing_at_any_call_every_command_leaves_the_old_state_or_the_new() {
    trace::strace_is_there();
    let mut table = Table::new(&["calls", "SIGKILL", "ENOSPC", "EIO", "EMFILE", "survived"]);
    for (case, outcome) in on_all_processors(sweep) {
        let tried: usize = outcome.tried.values().sum();
        let cells = Blow::ALL.map(|blow| outcome.tried.get(&blow).copied().unwrap_or(0));
        let survived = tried - outcome.failures.len();
        table.row(case.name, &[&[outcome.calls], &cells[..]].concat(), survived, tried);
        table.failures.extend(outcome.failures);
    }
    table.finish();
}

fn sweep(ground: &Ground, number: usize, case: &Case) -> Outcome {
    let expected = Expected::learn(ground, case);
    let words = case.words(ground);
    let traced = trace::run(ground, &words, None);
    assert_eq!(traced.exit, Some(0), "{}:\n{}", case.name, traced.said);
    let points = traced.trace.points(ground);
    for call in traced.trace.changes(ground) {
        assert!(call.makes_private(), "{} lets others in: {call:?}", case.name);
    }
    // An odd one, so that each kind of blow gets its turn.
    let step = one_of(ONE_OF) | 1;
    let all =
        points.iter().enumerate().flat_map(|(at, point)| Blow::ALL.map(|blow| (at, point, blow)));
    let mut outcome = Outcome { calls: points.len(), tried: BTreeMap::new(), failures: Vec::new() };
    for (_, (at, point, blow)) in all.enumerate().filter(|(n, _)| n % step == number % step) {
        let result = strike(ground, case, &expected, &traced.trace, at, point, blow);
        *outcome.tried.entry(blow).or_default() += 1;
        if let Err(what) = result {
            let place = format!("{} at call {at}, {}", blow.name(), point.what);
            outcome.failures.push(format!("{}: {place}: {what}", case.name));
        }
    }
    outcome
}

/// Plays the case with one blow, and judges.
fn strike(
    ground: &Ground,
    case: &Case,
    expected: &Expected,
    pilot: &Trace,
    at: usize,
    point: &Point,
    blow: Blow,
) -> Result<(), String> {
    let words = case.words(ground);
    let mut nth = point.nth;
    for _ in 0..ATTEMPTS {
        ground.reset();
        let run = trace::run(ground, &words, Some((blow, &point.name, nth)));
        match run.trace.hit(ground, blow) {
            // A kill between two changes is a kill at the second one.
            Some((before, exactly)) if before == at && (exactly || blow == Blow::Kill) => {
                let end = run.exit.map_or(End::Killed, End::Exit);
                if (end == End::Killed) != (blow == Blow::Kill) {
                    return Err(format!("it ended with {end:?}:\n{}", run.said));
                }
                return expected.judge(ground, case, end, &run.said);
            }
            // Missed: by how much was the count ahead or behind when it was last comparable?
            hit => {
                let last = hit.map_or(at, |(before, _)| before.min(at));
                let made = |trace: &Trace| trace.made(ground, &point.name, last);
                nth = (point.nth + made(&run.trace)).saturating_sub(made(pilot)).max(1);
            }
        }
    }
    Err(format!("not hit in {ATTEMPTS} attempts"))
}
