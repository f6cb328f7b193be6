//! Which processes does macOS list that use the home, and what have they open?
//!
//! There is no `/proc`. `lsof` is asked who has the files open that every Codex has open (its
//! databases, its locks), by name: a search of the whole home would take long. `ps` tells what
//! these processes are. The environment of others is not shown there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::command_line::{self, Codex};
use super::{Evidence, Holder, Holders, Role, Unseen};
use crate::codex::daemon::PidFile;

/// What was found out, before anything is made of it.
struct Facts<'a> {
    /// Who has one of the files open, and whether to write to it.
    open: &'a BTreeMap<u32, bool>,
    /// All processes.
    processes: &'a [Listed],
    /// Whom Codex wrote down as its server.
    server: Option<&'a PidFile>,
    /// The process that asks, and its user.
    own: (u32, u32),
    /// Whether other users than root can get at the home.
    may_others_enter: bool,
}

/// One line of `ps`.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Listed {
    pid: u32,
    parent: u32,
    user: u32,
    since: Option<DateTime<Utc>>,
    /// The file it was started from, as far as is known.
    program: String,
    words: Vec<OsString>,
}

impl Listed {
    fn codex(&self) -> Option<Codex> {
        command_line::codex(&self.words, Some(Path::new(&self.program)))
    }
}

#[cfg(target_os = "macos")]
pub(super) fn holders(place: &super::Place) -> Holders {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use crate::codex::program::{Limits, Task};

    // Where the system keeps them, whatever PATH says.
    let ask = |program: &str, words: Vec<OsString>| {
        let environment = [("LC_ALL", "C"), ("TZ", "UTC")];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let task = Task::new(Path::new(program), &BTreeMap::from(environment)).words(words);
        let stop = AtomicBool::new(false);
        let limits = Limits { bytes: 64 << 20, patience: Duration::from_secs(10), stop: &stop };
        // It ends with an error as soon as one of the files is open nowhere.
        let output = task.output(limits).ok()?;
        Some(String::from_utf8_lossy(&output.said).into_owned())
    };
    let mut words: Vec<OsString> = ["-w", "-n", "-P", "-F", "pa", "--"].map(Into::into).into();
    words.extend(place.telling_files().into_iter().map(OsString::from));
    let listed = |columns: &str| ask("/bin/ps", ["-axww", "-o", columns].map(Into::into).into());
    let (Some(open), Some(processes), Some(lines)) = (
        ask("/usr/sbin/lsof", words),
        listed("pid=,ppid=,uid=,lstart=,comm="),
        listed("pid=,args="),
    ) else {
        return Holders { is_unknown: true, ..Holders::default() };
    };
    decide(&Facts {
        open: &open_files(&open),
        processes: &processes_of(&processes, &lines),
        server: PidFile::read(&place.root).as_ref(),
        own: (place.own, rustix::process::geteuid().as_raw()),
        may_others_enter: super::may_others_enter(&place.root),
    })
}

/// Who uses the home, by all that was found out.
fn decide(facts: &Facts<'_>) -> Holders {
    let mut holders = Holders::default();
    for process in facts.processes.iter().filter(|process| process.pid != facts.own.0) {
        let codex = process.codex();
        let open = facts.open.get(&process.pid);
        let is_server =
            codex.is_some() && facts.server.is_some_and(|server| server.pid == process.pid);
        let mut evidence = Vec::new();
        if open.is_some_and(|writes| *writes || codex.is_some()) {
            evidence.push(Evidence::OpenFile);
        }
        if is_server {
            evidence.push(Evidence::PidFile);
        }
        if evidence.is_empty() {
            let is_hidden = facts.own.1 != 0 && process.user != facts.own.1;
            let counts = codex.is_some_and(|codex| codex.role != Role::Updater);
            if is_hidden && counts && (process.user == 0 || facts.may_others_enter) {
                holders.unseen.push(Unseen::OtherUser { pid: process.pid, user: process.user });
            }
            continue;
        }
        let role = match codex {
            _ if is_server => Role::Background,
            Some(codex) => codex.role,
            None => Role::Other,
        };
        let name = |process: &Listed| {
            Path::new(&process.program).file_name().map(|name| name.to_string_lossy().into_owned())
        };
        let starter = || facts.processes.iter().find(|other| other.pid == process.parent);
        let program = match role {
            Role::Other => name(process),
            Role::AppServer if process.parent != 1 => starter().and_then(name),
            _ => None,
        };
        let holder = Holder { pid: process.pid, role, program, since: process.since, evidence };
        match role {
            Role::Updater => holders.bystanders.push(holder),
            _ => holders.found.push(holder),
        }
    }
    holders.found.sort_by_key(|holder| holder.pid);
    holders
}

/// Reads `lsof -F pa`: a line `pPID`, then for each open file `fNUMBER` and `aMODE`, where the
/// mode is `r`, `w`, `u` for both, or a blank.
fn open_files(text: &str) -> BTreeMap<u32, bool> {
    let mut open = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(pid) = line.strip_prefix('p') {
            current = pid.parse().ok();
        } else if let (Some(pid), Some(_)) = (current, line.strip_prefix('f')) {
            open.entry(pid).or_insert(false);
        } else if let (Some(pid), Some(mode)) = (current, line.strip_prefix('a')) {
            let writes: &mut bool = open.entry(pid).or_insert(false);
            *writes |= mode.starts_with(['w', 'u']);
        }
    }
    open
}

/// Joins `ps -o pid=,ppid=,uid=,lstart=,comm=` and `ps -o pid=,args=`. The program's path may
/// hold blanks, and then the words begin with it.
fn processes_of(listed: &str, lines: &str) -> Vec<Listed> {
    let lines: BTreeMap<u32, &str> = lines
        .lines()
        .filter_map(|line| {
            let (pid, rest) = word(line)?;
            Some((pid.parse().ok()?, rest))
        })
        .collect();
    listed.lines().filter_map(|line| process(line, &lines)).collect()
}

fn process(line: &str, lines: &BTreeMap<u32, &str>) -> Option<Listed> {
    let (pid, rest) = word(line)?;
    let (parent, rest) = word(rest)?;
    let (user, mut rest) = word(rest)?;
    let mut moment = String::new();
    for _ in 0..5 {
        let (part, behind) = word(rest)?;
        moment.push_str(part);
        moment.push(' ');
        rest = behind;
    }
    let since = NaiveDateTime::parse_from_str(moment.trim(), "%a %b %e %H:%M:%S %Y").ok();
    let pid = pid.parse().ok()?;
    let program = rest.trim().to_owned();
    let line = lines.get(&pid).copied().unwrap_or_default();
    let words = match line.strip_prefix(program.as_str()).filter(|_| !program.is_empty()) {
        Some(behind) => {
            std::iter::once(program.as_str()).chain(behind.split_whitespace()).collect()
        }
        None => line.split_whitespace().collect::<Vec<_>>(),
    };
    Some(Listed {
        pid,
        parent: parent.parse().ok()?,
        user: user.parse().ok()?,
        since: since.map(|since| since.and_utc()),
        words: words.into_iter().map(OsString::from).collect(),
        program,
    })
}

/// The first word of a line, and what stands behind it.
fn word(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end)?;
    (!word.is_empty()).then_some((word, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSES: &str = "\
    1     0     0 Sat Nov 21 08:00:00 2026     /sbin/launchd
  500   400   501 Sat Nov 21 09:00:05 2026     /usr/local/lib/codex/bin/codex
  501   402   501 Sun Nov  1 09:00:05 2026     /Applications/Codex.app/Contents/Resources/codex
  502   403   501 Sat Nov 21 09:00:05 2026     /usr/bin/sqlite3
  503     1   501 Sat Nov 21 09:00:05 2026     /Users/ada/My Home/.codex/packages/app-server-daemon/current/bin/codex
  504   403   501 Sat Nov 21 09:00:05 2026     /usr/bin/tail
  505   400     0 Sat Nov 21 09:00:05 2026     /usr/local/lib/codex/bin/codex
  506   400   501 Sat Nov 21 09:00:05 2026     /usr/local/lib/codex/bin/codex
  507   508   501 Sat Nov 21 09:00:05 2026     /usr/local/lib/codex/bin/codex
  508   400   501 Sat Nov 21 09:00:05 2026     /usr/bin/python3
  509   400   502 Sat Nov 21 09:00:05 2026     /usr/local/lib/codex/bin/codex
";

    const LINES: &str = "\
    1 /sbin/launchd
  500 /usr/local/lib/codex/bin/codex exec --json hi
  501 /Applications/Codex.app/Contents/Resources/codex app-server
  502 sqlite3 state_5.sqlite
  503 /Users/ada/My Home/.codex/packages/app-server-daemon/current/bin/codex app-server --listen unix:// --managed-daemon
  504 tail -f history.jsonl
  505 codex
  506 codex
  507 codex app-server
  508 python3 ask.py
  509 codex
";

    const OPEN: &str = "p500\nf10\nau\nf11\nar\np501\nf9\nau\np502\nf3\nau\np504\nf3\nar\np507\nf3\na \np777\nf3\nau\n";

    #[test]
    fn who_has_the_files_open_is_told_with_what_it_is() {
        let (open, processes) = (open_files(OPEN), processes_of(PROCESSES, LINES));
        assert_eq!(processes.len(), 11);
        let server = PidFile { pid: 503, identity: None };
        let facts = Facts {
            open: &open,
            processes: &processes,
            server: Some(&server),
            own: (4_242, 501),
            may_others_enter: false,
        };
        let holders = decide(&facts);
        let said: Vec<String> = holders.found.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "codex exec (pid 500)",
                "codex of the desktop app (pid 501)",
                "sqlite3 (pid 502)",
                "the background server of codex (pid 503)",
                "codex app-server of python3 (pid 507)",
            ]
        );
        let since =
            holders.found.iter().find_map(|found| (found.pid == 501).then_some(found.since));
        assert_eq!(since.flatten(), "2026-11-01T09:00:05Z".parse().ok());
        // A reader is nobody, nor is who only has the name; root's may be one of this home.
        assert_eq!(holders.unseen, [Unseen::OtherUser { pid: 505, user: 0 }]);
        let everybody = decide(&Facts { may_others_enter: true, ..facts }).unseen;
        assert_eq!(everybody.len(), 2);
        let own = decide(&Facts { own: (500, 0), may_others_enter: true, ..facts });
        assert_eq!((own.found.len(), own.unseen.len()), (4, 0));
    }

    #[test]
    fn what_is_no_list_lists_nothing() {
        for odd in ["", "\n\n", "x y z", "p\nf1\nau", "1 2 3 Sat Nov"] {
            assert_eq!(processes_of(odd, odd), [], "{odd:?}");
            assert!(open_files(odd).is_empty(), "{odd:?}");
        }
    }
}
