//! With which code does a run end, and what does it say when it did not go well?

use std::process::ExitCode;

use crate::codex::auth::AuthError;
use crate::codex::process::Holder;
use crate::codex::program::ProgramError;
use crate::codex::status::StatusError;
use crate::config::ConfigError;
use crate::disk::DiskError;
use crate::disk::archive::ArchiveError;
use crate::disk::lock::LockError;
use crate::snapshot::backup::BackupError;
use crate::snapshot::forget::ForgetError;
use crate::snapshot::inventory::InventoryError;
use crate::snapshot::logins::{LiveError, LoginError};
use crate::snapshot::operations::OperationError;
use crate::snapshot::restore::RestoreError;
use crate::snapshot::restore::undo::UndoHomeError;
use crate::snapshot::sign_in::SignInError;
use crate::snapshot::store::StoreError;
use crate::snapshot::switch::SwitchError;
use crate::snapshot::undo::UndoError;

/// The documented exit codes (SPEC, "Exit codes").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// It failed, or was done in part.
    Failed,
    /// A conflict or an ambiguity: a person must decide.
    Conflict,
    /// Codex is running on the home.
    Running,
    /// Bad arguments, configuration or input.
    Usage,
    /// Refused for safety.
    Refused,
    /// Another process holds the lock.
    Locked,
    /// No account is ready.
    NothingReady,
    /// Stopped by Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Conflict => 2,
            Self::Running => 3,
            Self::Usage => 4,
            Self::Refused => 5,
            Self::Locked => 8,
            Self::NothingReady => 10,
            Self::Interrupted => 130,
        }
    }

    /// The word for it in `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Conflict => "conflict",
            Self::Running => "codex-is-running",
            Self::Usage => "bad-input",
            Self::Refused => "refused",
            Self::Locked => "locked",
            Self::NothingReady => "nothing-is-ready",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ended without its result.
#[derive(Debug)]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    /// What happened, with the value.
    pub message: String,
    /// The next step, as a command where there is one.
    pub hint: Option<String>,
    /// Who stands in the way, if that is why.
    pub holders: Vec<Holder>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, holders: Vec::new() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn hinted(self, hint: Option<String>) -> Self {
        Self { hint: hint.or(self.hint), ..self }
    }
}

/// Room errors become failures: the message is theirs, the code is decided here.
macro_rules! failure_from {
    ($($error:ty => $exit:expr;)*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let exit: fn(&$error) -> Exit = $exit;
                Self::new(exit(&error), error.to_string()).hinted(error.hint())
            }
        }
    )*};
}

fn of_login(error: &LoginError) -> Exit {
    match error {
        LoginError::SharedAddress { .. } => Exit::Conflict,
        _ if error.is_refusal() => Exit::Refused,
        _ => Exit::Failed,
    }
}

fn of_operation(error: &OperationError) -> Exit {
    match error {
        OperationError::Unfinished { .. } => Exit::Conflict,
        OperationError::Disk(_) => Exit::Failed,
    }
}

fn of_backup(error: &BackupError) -> Exit {
    match error {
        BackupError::NoHome { .. }
        | BackupError::NoLogin { .. }
        | BackupError::LoginElsewhere { .. }
        | BackupError::Nobody(_)
        | BackupError::OtherAccount { .. } => Exit::Usage,
        BackupError::Auth(error) => of_auth(error),
        BackupError::LoginChanged { .. } => Exit::Conflict,
        BackupError::Mixed { .. } => Exit::Refused,
        BackupError::Interrupted => Exit::Interrupted,
        BackupError::Operation(error) => of_operation(error),
        _ => Exit::Failed,
    }
}

fn of_switch(error: &SwitchError) -> Exit {
    match error {
        SwitchError::NoHome { .. } | SwitchError::NotStored { .. } => Exit::Usage,
        SwitchError::LoginElsewhere { .. } => Exit::Refused,
        SwitchError::Login(error) => of_login(error),
        SwitchError::Operation(error) => of_operation(error),
        SwitchError::Running { .. } => Exit::Running,
        _ => Exit::Failed,
    }
}

fn of_undo_home(error: &UndoHomeError) -> Exit {
    match error {
        UndoHomeError::OtherPlace { .. } => Exit::Usage,
        UndoHomeError::Replaced { .. } | UndoHomeError::Used { .. } => Exit::Conflict,
        UndoHomeError::LinkedLogin { .. } | UndoHomeError::LoginElsewhere { .. } => Exit::Refused,
        UndoHomeError::Running { .. } => Exit::Running,
        UndoHomeError::Login(error) => of_login(error),
        UndoHomeError::Operation(error) => of_operation(error),
        _ => Exit::Failed,
    }
}

fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Lock(LockError::Held { .. }) => Exit::Locked,
        StoreError::NotOurs { .. } => Exit::Usage,
        StoreError::Operation(error) => of_operation(error),
        _ => Exit::Failed,
    }
}

fn of_inventory(error: &InventoryError) -> Exit {
    match error {
        InventoryError::Disk(_) => Exit::Failed,
        _ if error.is_newer() => Exit::Refused,
        _ => Exit::Usage,
    }
}

/// What the system refused is no fault of the file.
fn of_auth(error: &AuthError) -> Exit {
    match error {
        AuthError::Io { .. } => Exit::Failed,
        AuthError::NotAFile { .. }
        | AuthError::TooLarge { .. }
        | AuthError::NotALogin { .. }
        | AuthError::Unsettled { .. } => Exit::Usage,
    }
}

failure_from! {
    DiskError => |_| Exit::Failed;
    StoreError => of_store;
    ConfigError => |_| Exit::Usage;
    InventoryError => of_inventory;
    LiveError => |error| match error {
        LiveError::Auth(error) => of_auth(error),
        LiveError::Disk(_) => Exit::Failed,
    };
    LoginError => of_login;
    ForgetError => |error| match error {
        ForgetError::Inventory(error) => of_inventory(error),
        ForgetError::Config(_) => Exit::Usage,
        ForgetError::Disk(_) => Exit::Failed,
    };
    OperationError => of_operation;
    ProgramError => |_| Exit::Failed;
    SignInError => |error| match error {
        SignInError::Auth(error) => of_auth(error),
        SignInError::Backup(error) => of_backup(error),
        SignInError::Store(error) => of_store(error),
        SignInError::Lock(_) | SignInError::Disk(_) => Exit::Failed,
    };
    StatusError => |_| Exit::Usage;
    BackupError => of_backup;
    RestoreError => |error| match error {
        RestoreError::Archive { source: ArchiveError::Interrupted, .. } => Exit::Interrupted,
        RestoreError::NotEmpty { .. }
        | RestoreError::MountPoint { .. }
        | RestoreError::NothingThere { .. }
        | RestoreError::OnlyALogin { .. } => Exit::Usage,
        RestoreError::Running { .. } => Exit::Running,
        RestoreError::Operation(error) => of_operation(error),
        RestoreError::Bank(error) => of_backup(error),
        _ if error.is_refusal() => Exit::Refused,
        _ => Exit::Failed,
    };
    SwitchError => of_switch;
    UndoHomeError => of_undo_home;
    UndoError => |error| match error {
        UndoError::NoneFits(_) | UndoError::Never { .. } => Exit::Usage,
        UndoError::Ambiguous { .. } | UndoError::Done { .. } | UndoError::Changed { .. } => {
            Exit::Conflict
        }
        UndoError::Gone { .. } | UndoError::Disk(_) => Exit::Failed,
        UndoError::Needed { .. } => Exit::Refused,
        UndoError::Switch(error) => of_switch(error),
        UndoError::Home(error) => of_undo_home(error),
        UndoError::Operation(error) => of_operation(error),
    };
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::snapshot::inventory::Unreadable;

    #[test]
    fn what_the_disk_refuses_is_1_what_a_file_holds_is_4_and_what_is_too_new_is_5() {
        let path = || PathBuf::from("auth.json");
        let denied = || AuthError::Io { path: path(), source: io::Error::other("made up") };
        let folder = || AuthError::NotAFile { path: path() };
        let unreadable = |reason| InventoryError::Unreadable { path: path(), reason };
        let rows: [(Failure, u8); 8] = [
            (LiveError::Auth(denied()).into(), 1),
            (BackupError::Auth(denied()).into(), 1),
            (LiveError::Auth(folder()).into(), 4),
            (BackupError::Auth(folder()).into(), 4),
            (unreadable(Unreadable::NoRecords).into(), 4),
            (unreadable(Unreadable::Newer(7)).into(), 5),
            (InventoryError::Newer { path: path(), version: 2 }.into(), 5),
            (BackupError::Interrupted.into(), 130),
        ];
        for (failure, code) in rows {
            assert_eq!(failure.exit.code(), code, "{}", failure.message);
        }
    }
}
