//! Is every command line the old state or the new one, whenever the power goes?
//!
//! Each is traced once with all its bytes; then the disk is put together as it would be after a
//! power cut behind each of its calls, without what was not synced by then ([`Cut`]), and the
//! oracle judges it. After the last call the command has told of its success, so that only the
//! new state will do. Points that leave the same bytes are judged once.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use crate::commands::Case;
use crate::ground::Ground;
use crate::model::{Cut, Disk};
use crate::oracle::{End, Expected};
use crate::syscalls::{FOLLOWING, event};
use crate::trace::{self, CHANGING, Trace};
use crate::work::{Table, on_all_processors, one_of};

/// Of how many different disks one is judged, unless all are. The last ones always are.
const ONE_OF: usize = 6;

#[test]
fn after_a_power_cut_at_any_call_every_command_leaves_the_old_state_or_the_new() {
    trace::strace_is_there();
    let mut table =
        Table::new(&["calls", "nothing unsynced", "names only", "half the bytes", "survived"]);
    for (case, cuts) in on_all_processors(cuts) {
        let tried: usize = cuts.tried.values().sum();
        let cells = Cut::ALL.map(|cut| cuts.tried.get(&cut).copied().unwrap_or(0));
        let survived = tried - cuts.failures.len();
        table.row(case.name, &[&[cuts.calls], &cells[..]].concat(), survived, tried);
        table.failures.extend(cuts.failures);
    }
    table.finish();
}

struct Cuts {
    calls: usize,
    tried: BTreeMap<Cut, usize>,
    failures: Vec<String>,
}

fn cuts(ground: &Ground, number: usize, case: &Case) -> Cuts {
    let expected = Expected::learn(ground, case);
    let trace = traced(ground, case);
    ground.reset();
    let mut disk = Disk::of(&ground.place());
    let program = trace.changes(ground).first().map(|call| call.thread);
    let mut cuts = Cuts { calls: 0, tried: BTreeMap::new(), failures: Vec::new() };
    // What was judged already, and how.
    let mut judged: HashMap<(Cut, String), Result<(), String>> = HashMap::new();
    let mut different = number;
    let calls = trace.calls.iter().filter(|call| Some(call.thread) == program);
    let events: Vec<_> = calls.filter_map(|call| Some((call, event(call)?))).collect();
    let last = events.iter().rposition(|(call, _)| call.changes(&ground.place()));
    for (at, (call, event)) in events.iter().enumerate() {
        if !disk.apply(event) {
            continue;
        }
        cuts.calls += 1;
        let is_last = Some(at) == last;
        for cut in Cut::ALL {
            let key = (cut, disk.left(cut));
            let known = judged.get(&key).cloned();
            let result = match known {
                // An old state that was fine before is not when success was told.
                Some(result) if !is_last => result,
                _ => {
                    different += 1;
                    if !is_last && !different.is_multiple_of(one_of(ONE_OF)) {
                        continue;
                    }
                    disk.lay_out(cut);
                    let end = if is_last { End::Exit(0) } else { End::Killed };
                    expected.judge(ground, case, end, "")
                }
            };
            judged.insert(key, result.clone());
            *cuts.tried.entry(cut).or_default() += 1;
            if let Err(what) = result {
                cuts.failures.push(format!(
                    "{}: power cut ({cut:?}) after {}{}: {what}",
                    case.name,
                    call.for_people(),
                    if is_last { ", the last" } else { "" },
                ));
            }
        }
    }
    cuts
}

/// A run with every byte that was written.
fn traced(ground: &Ground, case: &Case) -> Trace {
    ground.reset();
    let log = ground.folder().join("trace");
    let options = [
        "--seccomp-bpf".to_owned(),
        "--follow-forks".to_owned(),
        "--quiet=attach,personality".to_owned(),
        "--decode-fds=path".to_owned(),
        "--no-abbrev".to_owned(),
        "--string-limit=16777216".to_owned(),
        "--signal=none".to_owned(),
        format!("--trace=?{},?{}", CHANGING.join(",?"), FOLLOWING.join(",?")),
    ];
    let output = trace::under_strace(ground, &options, &log, &case.words(ground));
    assert!(output.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
    Trace::parse(&fs::read_to_string(&log).expect("strace writes text"))
}
