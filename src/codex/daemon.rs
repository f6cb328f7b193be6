//! What does Codex say of its background server?
//!
//! From 0.160.1 on the terminal program leaves a server behind, which keeps the account it was
//! started with. Codex writes down which process it is, and tells more through
//! `codex app-server daemon version`; `… restart` ends it and starts it anew (SPEC, "Running
//! Codex"). Only texts are read here; `process` looks for the process, and whoever asks Codex
//! runs it.

use std::path::Path;

use serde::Deserialize;

use crate::disk::read;

/// The words that ask whether the server runs.
pub const VERSION: [&str; 3] = ["app-server", "daemon", "version"];

/// The words that start it anew.
pub const RESTART: [&str; 3] = ["app-server", "daemon", "restart"];

/// What is read of `daemon.pid`, in bytes.
const CAP: u64 = 64 << 10;

/// Whom Codex wrote down as its server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct PidFile {
    /// The number of the process, which another one may have by now.
    pub pid: u32,
    /// What tells that other one from it.
    #[serde(rename = "processIdentity")]
    pub identity: Option<ProcessIdentity>,
}

/// One process, among all that ever had its number.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProcessIdentity {
    /// Which start of the machine it belongs to.
    pub boot_id: String,
    /// When it began, in ticks from that start.
    pub start_ticks: u64,
}

impl PidFile {
    /// Reads `app-server-daemon/daemon.pid` of a home. A file that is not there or not understood
    /// names nobody: it is one of several ways to find the server.
    #[must_use]
    pub fn read(root: &Path) -> Option<Self> {
        let path = root.join("app-server-daemon/daemon.pid");
        serde_json::from_slice(&read::optional(&path, CAP).ok()??).ok()
    }
}

/// What `codex app-server daemon …` prints, one JSON object on a line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Answer {
    /// `running`, `restarted`, `stopped`…
    pub status: String,
    /// The number of the server's process, where it was started.
    pub pid: Option<u32>,
}

impl Answer {
    /// The last line that is an answer.
    #[must_use]
    pub fn parse(printed: &[u8]) -> Option<Self> {
        let lines = printed.split(|byte| *byte == b'\n').rev();
        lines.filter_map(|line| serde_json::from_slice(line).ok()).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_codex_writes_down_names_the_process() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(PidFile::read(dir.path()), None);
        let folder = dir.path().join("app-server-daemon");
        std::fs::create_dir(&folder).unwrap();
        let write = |text: &str| std::fs::write(folder.join("daemon.pid"), text).unwrap();
        // As 0.169.0 writes it, with the digests cut short.
        write(
            r#"{"pid":22521,"processStartTime":"Sat Nov 21 10:14:12 2026","processIdentity":
            {"bootId":"ec0744ef-1dca-41c0-82a4-60f7e04e2669","startTicks":548541},
            "executableIdentity":{"digest":[253,103],"path_digest":[34,55]}}"#,
        );
        let boot_id = "ec0744ef-1dca-41c0-82a4-60f7e04e2669".to_owned();
        let identity = Some(ProcessIdentity { boot_id, start_ticks: 548_541 });
        assert_eq!(PidFile::read(dir.path()), Some(PidFile { pid: 22_521, identity }));
        write(r#"{"pid":7}"#);
        assert_eq!(PidFile::read(dir.path()), Some(PidFile { pid: 7, identity: None }));
        for odd in ["", "7", "{}", r#"{"pid":-1}"#, r#"{"pid":"7"}"#] {
            write(odd);
            assert_eq!(PidFile::read(dir.path()), None, "{odd}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn an_answer_is_found_behind_whatever_else_is_printed() {
        let answer = |status: &str, pid| Some(Answer { status: status.to_owned(), pid });
        check(r#"{"status":"running","backend":"pid","appServerVersion":"0.169.0"}"#, &answer("running", None));
        check("Installing…\n{\"status\":\"restarted\",\"pid\":32730}\n",            &answer("restarted", Some(32_730)));
        check("{\"stage\":\"process_spawn\"}\n",                                      &None);
        check("",                                                                     &None);
    }

    #[track_caller]
    fn check(printed: &str, expected: &Option<Answer>) {
        assert_eq!(Answer::parse(printed.as_bytes()), *expected, "{printed}");
    }
}
