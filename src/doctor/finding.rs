//! What does a check answer with?

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// It works, and may stop working or is less safe than it could be.
    Warning,
    /// Something does not work, or cannot be trusted.
    Error,
}

/// What was looked at, in the order of the report.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The `codex` that a shell would start.
    CodexProgram,
    /// The Codex home as a folder.
    CodexHome,
    /// Codex's own configuration, as far as it concerns the login.
    CodexConfig,
    /// The login.
    Login,
    /// Who uses the Codex home.
    Running,
    /// The SQLite databases.
    Databases,
    /// What an interrupted exchange left beside the Codex home.
    CodexLeftovers,
    /// Room on the file system of the Codex home.
    CodexRoom,
    /// Our own configuration.
    Configuration,
    /// The manager home as a folder.
    ManagerHome,
    /// Who else may read what is in it.
    Modes,
    /// Ledger and inventory.
    Records,
    /// What an interrupted run left in it.
    Leftovers,
    /// Room on the file system of the manager home.
    Room,
    /// Archives and sidecars.
    Snapshots,
    /// Whether the live login is stored.
    StoredLogin,
}

impl Check {
    /// The head under which its findings stand.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::CodexProgram
            | Self::CodexHome
            | Self::CodexConfig
            | Self::Login
            | Self::Running
            | Self::Databases
            | Self::CodexLeftovers
            | Self::CodexRoom => "Codex",
            Self::Configuration
            | Self::ManagerHome
            | Self::Modes
            | Self::Records
            | Self::Leftovers
            | Self::Room => "Manager home",
            Self::Snapshots | Self::StoredLogin => "Snapshots",
        }
    }
}

/// One thing that was found. Neither text holds a word of a file's content.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How much it matters.
    pub level: Level,
    /// The fact, with the value in it. Names of files may stand in it: escape it for a terminal.
    pub what: String,
    /// What mends it: a command where there is one.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(check: Check, level: Level, what: impl Into<String>) -> Self {
        Self { check, level, what: what.into(), remedy: None }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(super) fn remedied(self, remedy: Option<String>) -> Self {
        Self { remedy, ..self }
    }
}

/// The level of the worst finding; of none, [`Level::Ok`].
#[must_use]
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}
