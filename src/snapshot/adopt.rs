//! Is this very login stored already, and how is it stored if not?
//!
//! A login that is to be kept becomes an `auth` snapshot of its account, once: a copy more of one
//! that is there would be of no use to anybody.

use crate::codex::auth::AuthFile;
use crate::snapshot::backup::{self, Plan};
use crate::snapshot::logins;
use crate::snapshot::metadata::{Kind, Metadata};
use crate::snapshot::name::{SnapshotName, Who};
use crate::snapshot::store::{Store, Stored};
use crate::time::{Stamp, Zone};

/// The snapshot that holds this login: one from which the same secret was just read, whatever
/// else is in the file. Of two without any secret, or that name nobody, the bytes have to agree.
#[must_use]
pub fn stored_as<'a>(file: &AuthFile, snapshots: &'a [Stored]) -> Option<&'a Stored> {
    if file.key.is_none() {
        let mut orphans = snapshots.iter().filter(|stored| stored.is_orphan());
        return orphans.find(|stored| logins::orphan_in(stored).as_ref() == Some(&file.bytes));
    }
    snapshots.iter().find(|stored| {
        let told = stored.metadata.login.as_ref();
        let is_it = |found: &AuthFile| match file.login.fingerprint {
            Some(fingerprint) => found.login.fingerprint == Some(fingerprint),
            None => found.bytes == file.bytes,
        };
        stored.metadata.kind.has_login()
            && told.is_some_and(|told| told.fingerprint == file.login.fingerprint)
            && logins::read_login(stored).is_ok_and(|found| found.key == file.key && is_it(&found))
    })
}

/// Decides how this login is stored, as of `at`; `note` tells where it is from, and `home`, for
/// people, in which Codex home it is live. One that names nobody becomes an orphan.
#[must_use]
pub fn plan(
    file: &AuthFile,
    (note, home): (&str, Option<String>),
    at: Stamp,
    zone: &Zone,
    store: &Store,
) -> Plan {
    let mut metadata = Metadata::empty(Kind::Auth);
    metadata.created_at = Some(at);
    metadata.manager_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    metadata.source_codex_home = home;
    let who = match file.problem {
        None => {
            metadata.email = file.email.clone();
            metadata.account = backup::account_facts(file);
            metadata.login = Some(file.login.clone());
            metadata.note = Some(note.to_owned());
            backup::who(Some(file))
        }
        Some(problem) => {
            metadata.note = Some(format!("an orphan, {note}: {problem}"));
            Who::nameless("orphan")
        }
    };
    let now = at.instant();
    let wanted = SnapshotName::new(zone.wall(now), who);
    backup::plan_login(&file.bytes, now.timestamp(), metadata, wanted, store)
}
