//! Why is there no snapshot, and what helps?

use std::path::PathBuf;

use crate::codex::auth::AuthError;
use crate::disk::DiskError;
use crate::disk::archive::ArchiveError;
use crate::disk::database::DatabaseError;
use crate::disk::space::human;
use crate::snapshot::operations::OperationError;
use crate::snapshot::store::StoreError;

/// Why there is no snapshot. Whichever it is, the home is as it was, and so is the store.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no such home.
    #[error("there is no Codex home at {}", path.display())]
    NoHome {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Nobody is signed in.
    #[error("{} does not exist: nobody is signed in", path.display())]
    NoLogin {
        /// The login file.
        path: PathBuf,
    },
    /// Codex keeps the login where a snapshot cannot reach it.
    #[error("Codex keeps this login in {store}, not in auth.json")]
    LoginElsewhere {
        /// `the keyring` or `memory`.
        store: &'static str,
    },
    /// `auth.json` cannot be read.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// `auth.json` can be read and names nobody.
    #[error("auth.json names no account: {0}")]
    Nobody(String),
    /// `auth.json` mixes two accounts.
    #[error(
        "auth.json mixes two accounts: its workspace is {workspace}, its tokens belong to {tokens}"
    )]
    Mixed {
        /// `tokens.account_id`.
        workspace: String,
        /// `chatgpt_account_id` of the id token.
        tokens: String,
    },
    /// The reading is somebody else's.
    #[error("the status text is about {text}, but {live} is signed in")]
    OtherAccount {
        /// Whom the text is about.
        text: String,
        /// Who is signed in.
        live: String,
    },
    /// Some of the home cannot be stored.
    #[error("{} cannot be stored: {}", count(list), told(list))]
    Unreadable {
        /// Each path with its reason.
        list: Vec<(String, String)>,
    },
    /// There is no room for it.
    #[error("{} has {} free, about {} are needed", path.display(), human(*free), human(*needed))]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that will be needed.
        needed: u64,
    },
    /// A database is damaged or busy.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The archive could not be written or did not check.
    #[error(transparent)]
    Archive(ArchiveError),
    /// Another account signed in, or this one out, while the plan was made.
    #[error("{} was written by somebody else meanwhile", path.display())]
    LoginChanged {
        /// The login file.
        path: PathBuf,
    },
    /// Too many large files got shorter while they were read.
    #[error("the Codex home kept changing while it was read")]
    Restless,
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It could not be given its name.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The snapshots there are cannot be listed.
    #[error(transparent)]
    Store(#[from] Box<StoreError>),
    /// The user stopped it.
    #[error("the backup was stopped; nothing was stored")]
    Interrupted,
}

impl From<ArchiveError> for BackupError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Interrupted => Self::Interrupted,
            other => Self::Archive(other),
        }
    }
}

impl BackupError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoHome { .. } => "start `codex` once, or name the home with --codex-home DIR",
            Self::NoLogin { .. } | Self::Nobody(_) => {
                "sign in with `codex login`, or store the rest with `codex-manager backup --no-login`"
            }
            Self::LoginElsewhere { .. } => {
                "set cli_auth_credentials_store = \"file\" in Codex's config.toml and sign in again, \
                 or store the rest with --no-login"
            }
            Self::Mixed { .. } => {
                "sign in anew with `codex login`; --no-login stores everything else meanwhile"
            }
            Self::OtherAccount { .. } => "read the status of the account that is signed in",
            Self::Unreadable { .. } => {
                "mend what is wrong, or pass --skip-unreadable to store the rest"
            }
            Self::LoginChanged { .. } => "try again when nobody signs in or out",
            Self::Restless => "quit Codex and try again",
            Self::NoRoom { .. } => "free some space, or leave caches out with --lean",
            Self::Database(DatabaseError::Damaged { .. }) => {
                "pass --force-damaged to store the file as it is"
            }
            Self::Auth(error) => return error.hint(),
            Self::Database(error) => return error.hint(),
            Self::Archive(error) => return error.hint(),
            Self::Operation(error) => return error.hint(),
            Self::Disk(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Interrupted => return None,
        };
        Some(text.to_owned())
    }
}

/// So many are named in one message.
const MANY: usize = 20;

fn count(list: &[(String, String)]) -> String {
    if list.len() == 1 { "1 file".to_owned() } else { format!("{} files", list.len()) }
}

fn told(list: &[(String, String)]) -> String {
    let named = list.iter().take(MANY).map(|(path, why)| format!("{path} ({why})"));
    let named: Vec<String> = named.collect();
    let more = match list.len().saturating_sub(MANY) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}
