//! What is a process to a Codex home, how is that known, and how does a person end it?

use std::fmt;

use chrono::{DateTime, Utc};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// A process that uses a Codex home, or would.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it is.
    pub role: Role,
    /// The name of the program, for [`Role::Other`]; of the program that started it, for
    /// [`Role::AppServer`]. From the system, so it may hold anything: escape it for a terminal.
    pub program: Option<String>,
    /// When it began, in whole seconds, if the system says.
    pub since: Option<DateTime<Utc>>,
    /// Why it counts, each reason once.
    pub evidence: Vec<Evidence>,
}

impl Holder {
    /// A process of which no more is known.
    #[must_use]
    pub fn new(pid: u32, role: Role) -> Self {
        Self { pid, role, program: None, since: None, evidence: Vec::new() }
    }

    /// What it is, without its number.
    #[must_use]
    pub fn what(&self) -> String {
        match (self.role, &self.program) {
            (Role::Tui, _) => "codex".to_owned(),
            (Role::Exec, _) => "codex exec".to_owned(),
            (Role::Command, _) => "a command of codex".to_owned(),
            (Role::AppServer, None) => "codex app-server".to_owned(),
            (Role::AppServer, Some(by)) => format!("codex app-server of {by}"),
            (Role::Editor(editor), _) => format!("codex of {editor}"),
            (Role::Desktop, _) => "codex of the desktop app".to_owned(),
            (Role::Background, _) => "the background server of codex".to_owned(),
            (Role::Updater, _) => "the updater of codex's background server".to_owned(),
            (Role::Other, None) => "a program that writes there".to_owned(),
            (Role::Other, Some(name)) => name.clone(),
        }
    }

    /// How a person ends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let text = match (self.role, &self.program) {
            (Role::Tui, _) => "quit it with /quit",
            (Role::Exec | Role::Command, _) => "let it finish, or stop it with Ctrl-C",
            (Role::AppServer, None) => "close the program or script that started it",
            (Role::AppServer, Some(by)) => return format!("close {by}, which started it"),
            (Role::Editor(editor), _) => {
                return format!(
                    "close the windows of {editor}; closing its Codex panel only hides it"
                );
            }
            (Role::Desktop, _) => "quit the app from its menu; closing its window only hides it",
            (Role::Background, _) => "end it with `codex app-server daemon stop`",
            (Role::Updater, _) => "it stands in nobody's way",
            (Role::Other, _) => "close it",
        };
        text.to_owned()
    }
}

/// What it is and its number; `sqlite3 (pid 42)`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.what(), self.pid)
    }
}

/// For scripts: everything, in words of its own for each.
impl Serialize for Holder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Holder", 6)?;
        object.serialize_field("pid", &self.pid)?;
        object.serialize_field("role", self.role.word())?;
        object.serialize_field("what", &self.what())?;
        object.serialize_field("since", &self.since)?;
        object.serialize_field("evidence", &self.evidence)?;
        object.serialize_field("remedy", &self.remedy())?;
        object.end()
    }
}

/// What a holder is to Codex; each ends in another way.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// The terminal program.
    Tui,
    /// `codex exec` or `codex review`.
    Exec,
    /// Another command of Codex, such as `codex login`.
    Command,
    /// `codex app-server` or `codex mcp-server`, started by a program or a script.
    AppServer,
    /// The server of an editor's extension, with the editor's name.
    Editor(&'static str),
    /// The server of the desktop app.
    Desktop,
    /// The server that the terminal program leaves behind (0.160.1 and newer).
    Background,
    /// What keeps that server up to date. It has neither login nor sessions.
    Updater,
    /// Another program that writes below the home.
    Other,
}

impl Role {
    /// The word for it in `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tui => "tui",
            Self::Exec => "exec",
            Self::Command => "command",
            Self::AppServer => "app-server",
            Self::Editor(_) => "editor",
            Self::Desktop => "desktop-app",
            Self::Background => "background-server",
            Self::Updater => "updater",
            Self::Other => "other",
        }
    }
}

/// Why a process counts as a user of the home.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// It has something in the home or in the folder of the databases open.
    OpenFile,
    /// It holds a lock on a file there.
    Lock,
    /// Codex wrote it down as its background server.
    PidFile,
    /// Its environment names the home.
    Environment,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OpenFile => "has files of it open",
            Self::Lock => "holds a lock in it",
            Self::PidFile => "is named by its daemon.pid",
            Self::Environment => "names it in its environment",
        })
    }
}

/// Something that may use the home and could not be looked at.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Unseen {
    /// A Codex of another user, whose files and environment the system does not show us.
    OtherUser {
        /// Its number.
        pid: u32,
        /// Whose it is; 0 is root.
        user: u32,
    },
    /// The system lists no processes of other users at all.
    OtherUsers,
    /// Somebody whom the system does not name, in a container perhaps, holds a lock of Codex.
    Nameless,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherUser { pid, user: 0 } => write!(f, "a codex of root (pid {pid})"),
            Self::OtherUser { pid, user } => write!(f, "a codex of user {user} (pid {pid})"),
            Self::OtherUsers => f.write_str("the processes of other users, which are hidden here"),
            Self::Nameless => f.write_str(
                "a process that this system does not name and that holds a lock of Codex",
            ),
        }
    }
}

/// What could be found out about the users of a home.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holders {
    /// The processes, by number.
    pub found: Vec<Holder>,
    /// Processes that use the home and stand in nobody's way.
    pub bystanders: Vec<Holder>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
    /// Whether the system tells nothing at all.
    pub is_unknown: bool,
}

/// The processes, for people: what each is, and its number.
#[must_use]
pub fn said(found: &[Holder]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What ends them. Where that is not the same for all, each remedy stands behind its process.
#[must_use]
pub fn remedies(found: &[Holder]) -> String {
    let mut each: Vec<(String, Vec<String>)> = Vec::new();
    for holder in found {
        let remedy = holder.remedy();
        match each.iter_mut().find(|(other, _)| *other == remedy) {
            Some((_, pids)) => pids.push(holder.pid.to_string()),
            None => each.push((remedy, vec![holder.pid.to_string()])),
        }
    }
    match each.as_slice() {
        [(remedy, _)] => remedy.clone(),
        several => {
            let lines =
                several.iter().map(|(remedy, pids)| format!("pid {}: {remedy}", pids.join(", ")));
            lines.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_remedy_for_all_is_said_once_and_several_name_their_processes() {
        let tui = |pid| Holder::new(pid, Role::Tui);
        assert_eq!(remedies(&[tui(7)]), "quit it with /quit");
        assert_eq!(remedies(&[tui(7), tui(9)]), "quit it with /quit");
        let server = Holder::new(8, Role::Background);
        assert_eq!(
            remedies(&[tui(7), server, tui(9)]),
            "pid 7, 9: quit it with /quit; pid 8: end it with `codex app-server daemon stop`"
        );
        assert_eq!(remedies(&[]), "");
    }

    #[test]
    #[rustfmt::skip]
    fn every_holder_says_what_it_is_and_how_it_ends() {
        check(Role::Tui,             None,            "codex (pid 7)",                          "/quit");
        check(Role::Exec,            None,            "codex exec (pid 7)",                     "let it finish");
        check(Role::AppServer,       None,            "codex app-server (pid 7)",               "script that started it");
        check(Role::AppServer,       Some("python3"), "codex app-server of python3 (pid 7)",    "close python3");
        check(Role::Editor("Zed"),   None,            "codex of Zed (pid 7)",                   "windows of Zed");
        check(Role::Desktop,         None,            "codex of the desktop app (pid 7)",       "quit the app");
        check(Role::Background,      None,            "the background server of codex (pid 7)", "daemon stop");
        check(Role::Other,           None,            "a program that writes there (pid 7)",    "close it");
        check(Role::Other,           Some("sqlite3"), "sqlite3 (pid 7)",                        "close it");
    }

    #[track_caller]
    fn check(role: Role, program: Option<&str>, said: &str, remedy: &str) {
        let program = program.map(str::to_owned);
        let holder = Holder { program, ..Holder::new(7, role) };
        assert_eq!(holder.to_string(), said);
        assert!(holder.remedy().contains(remedy), "{}", holder.remedy());
    }
}
