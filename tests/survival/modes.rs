//! Is everything the owner's alone from the moment it exists?
//!
//! What a file's mode is afterwards any test can see. Here every command runs under strace, which
//! writes down with which mode each file and each folder is created: temporary ones too, and those
//! that SQLite makes. What the umask would take away does not count.

use std::fs;
use std::path::PathBuf;

use crate::ground::{Ground, processors};
use crate::quiet::{self, LINES};
use crate::trace::{self, Call, Trace};

/// What creates something or gives it another mode.
const CALLS: &str = "--trace=?open,openat,?openat2,?creat,?mkdir,mkdirat,?mknod,mknodat,?chmod,fchmod,fchmodat,?fchmodat2,umask,execve";

#[test]
fn every_file_and_folder_is_private_from_the_moment_it_is_created() {
    trace::strace_is_there();
    let processor = *processors().first().expect("there is a processor");
    let ground = Ground::new(processor);
    quiet::furnish(&ground);
    let mut created = 0;
    // In the demo a Codex is played, whose databases have the modes it gives them.
    for line in LINES.iter().filter(|line| **line != "demo") {
        let log = ground.folder().join("trace");
        let place = ground.place().display().to_string();
        let word = |word: &str| word.replace('~', &place).replace('|', " ");
        let words: Vec<String> = line.split(' ').map(word).collect();
        let options = ["--follow-forks", "--quiet=attach,personality", "--signal=none", CALLS];
        let output = trace::under_strace(&ground, &options.map(str::to_owned), &log, &words);
        assert!(output.status.success(), "{line}: {output:?}");
        let trace = Trace::parse(&fs::read_to_string(&log).expect("strace writes text"));
        let ours: Vec<&Call> = trace.calls.iter().filter(|call| is_ours(call, &trace)).collect();
        let first = ours.iter().find(|call| call.name == "umask" || mode(call).is_some());
        let first = first.map(|call| (call.name.as_str(), call.arguments.as_str()));
        assert_eq!(first, Some(("umask", "077")), "{line}");
        for call in ours {
            let Some(mode) = mode(call) else { continue };
            // SQLite asks with the database's own mode for a log of Codex's that is there already;
            // that a backup creates none beside it is a test of its own.
            let paths = call.paths();
            let is_log = |path: &PathBuf| {
                path.starts_with(ground.codex()) && path.to_string_lossy().ends_with("-wal")
            };
            if !call.arguments.contains("O_EXCL") && paths.iter().any(is_log) {
                continue;
            }
            created += 1;
            assert_eq!(mode & 0o7077, 0, "{line}: {}({})", call.name, call.arguments);
        }
    }
    assert!(LINES.len() < created, "{created}");
}

/// Whether the program itself made a call, and not what it started.
fn is_ours(call: &Call, trace: &Trace) -> bool {
    let started = trace.calls.iter().filter(|other| other.thread == call.thread);
    let mut started = started.filter(|other| other.name == "execve");
    // What came to nothing started nothing: a name is looked for in every folder of PATH.
    !started.any(|other| {
        let program = other.arguments.split('"').nth(1).unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        other.answer == "0" && !["taskset", "codex-manager"].contains(&program)
    })
}

/// The mode that something is created with or gets; `None` of a call that does neither.
fn mode(call: &Call) -> Option<u32> {
    let opens = call.name.starts_with("open") && !call.arguments.contains("O_CREAT");
    if opens || call.name == "umask" || call.name == "execve" {
        return None;
    }
    // Some calls have flags behind it, but only a mode is a number that begins with a zero.
    let arguments = call.arguments.rsplit(", ");
    let digits = |text: &&str| text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    let text = arguments.map(|text| text.trim_end_matches('}')).find(digits);
    let text = text.unwrap_or_else(|| unreachable!("no mode in {}({})", call.name, call.arguments));
    u32::from_str_radix(text, 8).ok()
}
