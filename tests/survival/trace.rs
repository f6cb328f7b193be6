//! Which system calls does one command line make, and what if one of them goes wrong?
//!
//! The program runs under `strace` on one processor, so that one thread does all the work and
//! every run makes the same calls. strace counts calls by name and thread; [`Trace::points`]
//! therefore names a call as "the third `rename` of the program", and [`run`] puts a signal or an
//! error exactly there.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::ground::{Ground, program};

/// Everything that changes what is on a disk. What reads is in none of our counts, but for an
/// `open` that may be either: its flags tell.
pub(crate) const CHANGING: &[&str] = &[
    "chmod",
    "chown",
    "copy_file_range",
    "creat",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsync",
    "ftruncate",
    "futimesat",
    "lchown",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "msync",
    "open",
    "openat",
    "openat2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "symlink",
    "symlinkat",
    "sync_file_range",
    "syncfs",
    "truncate",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "write",
    "writev",
];

/// Names of [`CHANGING`] that open: they change something only with the flags that say so.
const OPENING: &[&str] = &["open", "openat", "openat2"];

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Blow {
    /// The process is gone before the call does anything.
    Kill,
    /// The disk is full.
    Enospc,
    /// The disk is broken.
    Eio,
    /// There are no descriptors left.
    Emfile,
}

impl Blow {
    pub(crate) const ALL: [Self; 4] = [Self::Kill, Self::Enospc, Self::Eio, Self::Emfile];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Enospc => "ENOSPC",
            Self::Eio => "EIO",
            Self::Emfile => "EMFILE",
        }
    }

    fn injection(self, call: &str, nth: usize) -> String {
        let what = match self {
            Self::Kill => "signal=SIGKILL".to_owned(),
            other => format!("error={}", other.name()),
        };
        format!("inject={call}:{what}:when={nth}")
    }
}

/// One system call as strace saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Which thread made it.
    pub(crate) thread: u32,
    /// What it is called.
    pub(crate) name: String,
    /// Its arguments, descriptors with the paths they stand for.
    pub(crate) arguments: String,
    /// What it answered; empty if it never came back.
    pub(crate) answer: String,
    /// How often this thread had made this call, this time included.
    pub(crate) nth: usize,
    /// Whether strace made it fail.
    pub(crate) injected: bool,
}

/// A call that changes something below the ground, counted from 0.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) nth: usize,
    /// For people.
    pub(crate) what: String,
}

/// What strace wrote down of one run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; `None` if it was killed.
    pub(crate) exit: Option<i32>,
    /// Both streams.
    pub(crate) said: String,
    pub(crate) trace: Trace,
}

/// Runs a command line with all its changing calls written down, and `blow` at the call `at`.
pub(crate) fn run(ground: &Ground, words: &[String], at: Option<(Blow, &str, usize)>) -> Run {
    let log = ground.folder().join("trace");
    let mut options = vec![
        "--follow-forks".to_owned(),
        "--quiet=attach,personality".to_owned(),
        "--decode-fds=path".to_owned(),
        "--string-limit=0".to_owned(),
        "--signal=none".to_owned(),
        // Names of other machines' kernels are asked for, not insisted upon.
        format!("--trace=?{}", CHANGING.join(",?")),
    ];
    // Other calls then pass at full speed; but strace puts no signals where it uses this.
    if at.is_none_or(|(blow, ..)| blow != Blow::Kill) {
        options.push("--seccomp-bpf".to_owned());
    }
    options.extend(at.map(|(blow, call, nth)| format!("-e{}", blow.injection(call, nth))));
    let output = under_strace(ground, &options, &log, words);
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    let text = fs::read_to_string(&log).expect("strace writes its log");
    Run { exit: output.status.code(), said: said.concat(), trace: Trace::parse(&text) }
}

/// Runs a command line of the program under strace with these options.
pub(crate) fn under_strace(
    ground: &Ground,
    options: &[String],
    log: &Path,
    words: &[String],
) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "120", "strace"]).args(options).arg("-o").arg(log);
    command.args(["taskset", "-c", &ground.processor().to_string()]);
    command.arg(program()).args(words);
    ground.clean(&mut command).stdin(Stdio::null());
    let mut output = command.output().expect("timeout (of coreutils) can be started");
    assert!(
        log.is_file(),
        "strace and taskset are needed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // `timeout` tells a kill as a number.
    if output.status.code() == Some(137) {
        output.status = ExitStatusExt::from_raw(9);
    }
    output
}

/// Whether strace is here; it says so if not.
pub(crate) fn strace_is_there() {
    let version = Command::new("strace").arg("--version").output();
    let told = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(
        told.as_ref().is_ok_and(|told| told.starts_with("strace")),
        "this suite needs strace 5.3 or newer: apt-get install strace ({told:?})"
    );
}

impl Trace {
    /// Reads what `strace --follow-forks -o` writes: a call a line, or two where another thread
    /// came between.
    pub(crate) fn parse(text: &str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        for line in text.lines() {
            let (thread, rest) = line.split_once(' ').expect("every line begins with a thread");
            let thread: u32 = thread.parse().expect("a thread is a number");
            let rest = rest.trim_start();
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if let Some(rest) = rest.strip_prefix("<... ") {
                let (_, end) = rest.split_once(" resumed>").expect("a call goes on");
                let call = calls.iter_mut().rev().find(|call| call.thread == thread);
                call.expect("a call began").end(end);
                continue;
            }
            let (name, rest) = rest.split_once('(').expect("a call has arguments");
            let of_name = |call: &&Call| call.thread == thread && call.name == name;
            let mut call = Call {
                thread,
                name: name.to_owned(),
                arguments: String::new(),
                answer: String::new(),
                nth: calls.iter().filter(of_name).count() + 1,
                injected: false,
            };
            match rest.strip_suffix(" <unfinished ...>") {
                Some(begin) => call.arguments = begin.to_owned(),
                None => call.end(rest),
            }
            calls.push(call);
        }
        Self { calls }
    }

    /// The calls that change something below `ground`, in order.
    pub(crate) fn changes(&self, ground: &Ground) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.changes(&ground.place())).collect()
    }

    /// Where something can go wrong. All of it has to happen on one thread, or strace's count
    /// would name different calls in different runs.
    pub(crate) fn points(&self, ground: &Ground) -> Vec<Point> {
        let changes = self.changes(ground);
        let first = changes.first().map(|call| call.thread);
        changes
            .iter()
            .map(|call| {
                assert_eq!(Some(call.thread), first, "another thread changes something: {call:?}");
                Point { name: call.name.clone(), nth: call.nth, what: call.for_people() }
            })
            .collect()
    }

    /// How often a call was made before the change of this number, counted from 0.
    pub(crate) fn made(&self, ground: &Ground, name: &str, change: usize) -> usize {
        let place = &ground.place();
        let positions = self.calls.iter().enumerate().filter(|(_, call)| call.changes(place));
        let end = positions.map(|(position, _)| position).nth(change);
        let calls = self.calls.iter().take(end.unwrap_or(self.calls.len()));
        calls.filter(|call| call.name == name).count()
    }

    /// Which point was hit: how many changing calls came before the one that went wrong, and
    /// whether that one is itself such a call.
    pub(crate) fn hit(&self, ground: &Ground, blow: Blow) -> Option<(usize, bool)> {
        let struck = match blow {
            // The last call of whoever was killed has no answer.
            Blow::Kill => self
                .calls
                .iter()
                .position(|call| call.answer.starts_with('?') || call.answer.is_empty()),
            _ => self.calls.iter().position(|call| call.injected),
        }?;
        let place = &ground.place();
        let before = self.calls[..struck].iter().filter(|call| call.changes(place)).count();
        Some((before, self.calls[struck].changes(place)))
    }
}

impl Call {
    /// Reads the rest of a call, whose answer strace aligns with blanks.
    fn end(&mut self, rest: &str) {
        let (arguments, answer) = rest.rsplit_once(" = ").unwrap_or((rest, ""));
        let arguments = arguments.trim_end();
        self.arguments.push_str(arguments.strip_suffix(')').unwrap_or(arguments));
        self.answer = answer.to_owned();
        self.injected = answer.ends_with("(INJECTED)");
    }

    /// Whether it may change something below `place`.
    pub(crate) fn changes(&self, place: &Path) -> bool {
        if !CHANGING.contains(&self.name.as_str()) {
            return false;
        }
        if OPENING.contains(&self.name.as_str()) {
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
            if !writes.iter().any(|flag| self.arguments.contains(flag)) {
                return false;
            }
        }
        self.paths().iter().any(|path| path.starts_with(place))
    }

    /// Whether what it creates is asked to be the owner's alone, without help of a mask.
    pub(crate) fn makes_private(&self) -> bool {
        let creates = match self.name.as_str() {
            "open" | "openat" | "openat2" => self.arguments.contains("O_CREAT"),
            name => name.starts_with("mkdir") || name.starts_with("mknod") || name == "creat",
        };
        // SQLite gives the files beside a database the mode of that database.
        let beside = ["-wal\"", "-shm\"", "-journal\""];
        let creates = creates && !beside.iter().any(|end| self.arguments.contains(end));
        let mode = self.arguments.rsplit(", ").next().unwrap_or_default();
        !creates || u32::from_str_radix(mode, 8).is_ok_and(|mode| mode & 0o077 == 0)
    }

    /// Every path in its arguments, of descriptors and of names. What is written is none.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let arguments = match self.name.contains("write") {
            true => self.arguments.split(", ").next().unwrap_or_default(),
            false => &self.arguments,
        };
        let quoted = arguments.split('"').skip(1).step_by(2);
        let annotated = arguments.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
        quoted.chain(annotated.map(|(path, _)| path)).map(PathBuf::from).collect()
    }

    pub(crate) fn for_people(&self) -> String {
        let paths: Vec<String> = self
            .paths()
            .iter()
            .filter(|path| *path != Path::new("/"))
            .map(|path| path.display().to_string())
            .collect();
        format!("{} #{} {}", self.name, self.nth, paths.join(" "))
    }
}
