//! Why did a restore not happen, and what helps?

use std::path::PathBuf;

use crate::codex::process::{self, Holder};
use crate::disk::DiskError;
use crate::disk::archive::ArchiveError;
use crate::disk::database::DatabaseError;
use crate::disk::space::human;
use crate::snapshot::backup::BackupError;
use crate::snapshot::logins::{HoldError, LoginError};
use crate::snapshot::operations::OperationError;

/// Why a restore did not happen. The home is as it was, but for
/// [`RestoreError::LoginOverwritten`]; where even taking an exchange back failed, the error names
/// where it is, and the next command brings it back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive is damaged, hostile or unreadable.
    #[error("{title}: {source}")]
    Archive {
        /// The snapshot.
        title: String,
        /// What is wrong.
        source: ArchiveError,
    },
    /// The sidecar is damaged, whatever the archive is.
    #[error("{title}: its sidecar {what}")]
    Sidecar {
        /// The snapshot.
        title: String,
        /// The sidecar.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Parts are asked for, and nothing tells where they are.
    #[error("{title}: {source}; no part of it can be found any more")]
    NoTable {
        /// The snapshot.
        title: String,
        /// Its archive.
        archive: PathBuf,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// A part is asked for that the snapshot does not have.
    #[error("{title} has nothing called {asked:?}")]
    NothingThere {
        /// The snapshot.
        title: String,
        /// What was asked for.
        asked: String,
        /// Names in it that look like that.
        near: Vec<String>,
    },
    /// All files that are asked for are damaged.
    #[error("{title}: {}", all_damaged(*count, first))]
    NothingSound {
        /// The snapshot.
        title: String,
        /// How many files that are.
        count: usize,
        /// What is wrong with the first.
        first: String,
    },
    /// The archive is another one than the sidecar describes.
    #[error("{title}: the archive is not the one its sidecar describes")]
    OtherArchive {
        /// The snapshot.
        title: String,
    },
    /// The archived login is another account's than the sidecar says.
    #[error("{title}: its auth.json belongs to {found}, its sidecar says {said}")]
    OtherAccount {
        /// The snapshot.
        title: String,
        /// Whose login it is.
        found: String,
        /// Whose it should be.
        said: String,
    },
    /// It holds a login and nothing else.
    #[error("{title} holds only a login")]
    OnlyALogin {
        /// The snapshot.
        title: String,
    },
    /// A newer login is known than the one that is insisted on.
    #[error("{title} holds an older login ({archived}) than {newer} ({known})")]
    StaleLogin {
        /// The snapshot.
        title: String,
        /// When the archived one was refreshed.
        archived: String,
        /// Where the newer one is.
        newer: String,
        /// When that one was refreshed.
        known: String,
    },
    /// The destination is in the way.
    #[error("{} is there already and is no empty folder", path.display())]
    NotEmpty {
        /// The destination.
        path: PathBuf,
    },
    /// The home is a mount point, so it cannot be exchanged.
    #[error("{} is a mount point and cannot be exchanged with another folder", path.display())]
    MountPoint {
        /// The home.
        path: PathBuf,
    },
    /// There is no room.
    #[error("{} has {} free, {} are needed", path.display(), human(*free), human(*needed))]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// What is free.
        free: u64,
        /// What is needed.
        needed: u64,
    },
    /// An operation before this one was interrupted and could not be finished.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The login that is live could not be stored.
    #[error(transparent)]
    Bank(#[from] Box<BackupError>),
    /// A stored login cannot be read.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A database did not survive.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Codex would not look at the login.
    #[error("Codex keeps its logins in {store}: the restored auth.json would do nothing")]
    LoginElsewhere {
        /// `the keyring` or `memory`.
        store: &'static str,
    },
    /// `auth.json` is a link to a file that is not part of the home.
    #[error("auth.json is a link to {}, which is not exchanged with the home", target.display())]
    LinkedLogin {
        /// Where it leads.
        target: PathBuf,
    },
    /// Codex holds its own lock on the login.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// Somebody began to use the home while the new one was built.
    #[error("{} came to use the home meanwhile", process::said(found))]
    Running {
        /// Who.
        found: Vec<Holder>,
    },
    /// Another login is live than the one that was stored a moment ago.
    #[error("auth.json was written by somebody else meanwhile; it is as they wrote it")]
    LoginChanged,
    /// The home that was built has another login than it should.
    #[error("the login in the new home is not the one that was put there")]
    LoginNotBuilt,
    /// Somebody else wrote the login at the very moment of the exchange.
    #[error(
        "auth.json was written by somebody else during the exchange; the home that was live, with its login, is {}",
        kept.display()
    )]
    LoginOverwritten {
        /// Where the replaced home is.
        kept: PathBuf,
    },
}

fn all_damaged(count: usize, first: &str) -> String {
    match count {
        1 => first.to_owned(),
        count => format!("all {count} files that were asked for are damaged: {first}"),
    }
}

impl RestoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Archive { source, .. } if source.is_corrupt() => {
                "use another snapshot; `codex-manager verify` names everything that is damaged, and \
                 `restore --only WHAT --to DIR` takes out what is sound"
                    .to_owned()
            }
            Self::Archive { source, .. } => return source.hint(),
            Self::Sidecar { path, .. } => format!(
                "the archive holds a copy of it, which speaks for it once {} is moved away",
                path.display()
            ),
            Self::NoTable { archive, .. } => format!(
                "plain tar still reads what lies before the damage, unchecked: `tar -xzf '{}' -C \
                 NEW-FOLDER`",
                archive.display()
            ),
            Self::NothingThere { near, .. } if near.is_empty() => {
                "`codex-manager show SNAPSHOT --files` lists what is in it; SNAPSHOT itself goes \
                 before --only"
                    .to_owned()
            }
            Self::NothingThere { near, .. } => format!("did you mean {}?", near.join(", ")),
            Self::NothingSound { .. } => {
                "use another snapshot; `codex-manager verify` names everything that is damaged"
                    .to_owned()
            }
            Self::OtherArchive { title } | Self::OtherAccount { title, .. } => {
                format!("see `codex-manager verify {title}`, and use another snapshot")
            }
            Self::OnlyALogin { .. } => {
                "sign that account in with `codex-manager use ACCOUNT`, or unpack it with --to DIR"
                    .to_owned()
            }
            Self::StaleLogin { .. } => {
                "leave --login away to install the newest one; --accept-stale-login insists"
                    .to_owned()
            }
            Self::NotEmpty { .. } => "name a folder that does not exist yet".to_owned(),
            Self::MountPoint { .. } => {
                "restore with --to DIR inside that file system, or unmount it".to_owned()
            }
            Self::NoRoom { .. } => "free some space and try again".to_owned(),
            Self::Operation(error) => return error.hint(),
            Self::Bank(error) => return error.hint(),
            Self::Login(LoginError::Lost { .. } | LoginError::Damaged { .. }) => {
                "`--login keep` leaves the login as it is; `--login snapshot --accept-stale-login` \
                 takes the one in this snapshot"
                    .to_owned()
            }
            Self::Login(error) => return error.hint(),
            Self::LoginElsewhere { .. } => {
                "`--login keep` restores everything else; cli_auth_credentials_store = \"file\" in \
                 config.toml brings the login back into auth.json"
                    .to_owned()
            }
            Self::LinkedLogin { .. } => {
                "restore with `--login keep`; then `codex-manager use ACCOUNT` writes that file"
                    .to_owned()
            }
            Self::Hold(error) => return error.hint(),
            Self::Running { found } => {
                let remedies = process::remedies(found);
                format!("{remedies}, and try again; --force goes on regardless")
            }
            Self::LoginChanged | Self::LoginNotBuilt => "quit every Codex and try again".to_owned(),
            Self::Database(error) => return error.hint(),
            Self::Disk(error) => return error.hint(),
            Self::LoginOverwritten { .. } => {
                "quit every Codex and run `codex-manager use` for the account you want".to_owned()
            }
        })
    }

    /// Whether it was refused for safety.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Archive { source, .. } => source.is_hostile() || source.is_corrupt(),
            Self::NoTable { source, .. } => source.is_hostile() || source.is_corrupt(),
            Self::Sidecar { .. }
            | Self::NothingSound { .. }
            | Self::OtherArchive { .. }
            | Self::OtherAccount { .. }
            | Self::StaleLogin { .. }
            | Self::LoginElsewhere { .. }
            | Self::LinkedLogin { .. } => true,
            Self::Login(error) => error.is_refusal(),
            _ => false,
        }
    }
}
