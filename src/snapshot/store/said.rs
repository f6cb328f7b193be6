//! What does a sidecar say, and how much of that is taken apart?
//!
//! A look at thousands needs a [`Brief`] of each. The rest of a sidecar that is remembered stays the
//! bytes that it is remembered as, until somebody asks.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::bulk::Piece;
use super::packed::Packed;
use crate::account::{AccountKey, Email};
use crate::disk::archive::parse_digest;
use crate::quota::{Source, Validation};
use crate::snapshot::metadata::{Kind, Metadata};
use crate::time::Stamp;
use crate::window::Window;

/// All that a sidecar says; it reads as the [`Metadata`] it is.
#[derive(Clone)]
pub struct Said {
    whose: Arc<Whose>,
    brief: Brief,
    whole: OnceLock<Box<Metadata>>,
    packed: Option<Piece>,
}

/// What a list shows and a quota is reckoned by.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// Which part of the home it holds.
    pub kind: Kind,
    /// When it was taken.
    pub created_at: Option<Stamp>,
    /// When the weekly window of the reading began.
    pub session_start_at: Option<Stamp>,
    /// When the account may work again as far as the weekly window goes.
    pub next_available_at: Option<Stamp>,
    /// Whether the day in an older file's name agrees with its time.
    pub validation: Option<Validation>,
    /// A short name a person gave it.
    pub label: Option<String>,
    /// The archive's length in bytes.
    pub bytes: Option<u64>,
    /// The digest of its table of contents, as `sha256:` and 64 hex digits.
    pub toc_digest: Option<Digest>,
    /// What the quota said.
    pub figures: Option<Figures>,
}

/// An account as a sidecar names it. Few of them have thousands of snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Whose {
    /// Its key, if anything tells.
    pub key: Option<AccountKey>,
    /// Its address.
    pub email: Option<Email>,
}

/// A digest, the 32 bytes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digest(pub [u8; 32]);

/// What a quota said, but for the text it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Where the figures come from.
    pub source: Source,
    /// When they were true.
    pub observed_at: Option<Stamp>,
    /// Each window that was reported.
    pub windows: Vec<Window>,
    /// Whether the source said that the limit was reached.
    pub limit_reached: Option<bool>,
}

impl Said {
    /// What is remembered of a sidecar: whose it is and a [`Brief`], and all of it packed.
    pub(super) fn remembered(whose: Arc<Whose>, brief: Brief, packed: Piece) -> Self {
        Self { whose, brief, whole: OnceLock::new(), packed: Some(packed) }
    }

    /// Whose snapshot it is.
    #[must_use]
    pub fn whose(&self) -> &Whose {
        &self.whose
    }

    /// What a look at thousands needs of it.
    #[must_use]
    pub fn brief(&self) -> &Brief {
        &self.brief
    }

    /// All of it, for those who go through thousands: what is taken apart for them is not kept.
    #[must_use]
    pub fn whole(&self) -> Cow<'_, Metadata> {
        match self.whole.get() {
            Some(whole) => Cow::Borrowed(whole),
            None => Cow::Owned(self.unpacked()),
        }
    }

    fn unpacked(&self) -> Metadata {
        let unpacked = self.packed().and_then(|mut bytes| Metadata::unpack(&mut bytes));
        // What this program packed it can unpack.
        unpacked.unwrap_or_else(|| Metadata::empty(self.brief.kind))
    }

    /// The packed form, if it is remembered in one.
    pub(super) fn packed(&self) -> Option<&[u8]> {
        self.packed.as_ref().and_then(Piece::bytes)
    }
}

impl From<Metadata> for Said {
    fn from(metadata: Metadata) -> Self {
        let whose = Whose { key: metadata.key(), email: metadata.email.clone() };
        let brief = Brief::of(&metadata);
        Self { whose: whose.into(), brief, whole: Box::new(metadata).into(), packed: None }
    }
}

impl Deref for Said {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        self.whole.get_or_init(|| Box::new(self.unpacked()))
    }
}

impl PartialEq for Said {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Brief {
    /// What these metadata come to.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let archive = metadata.archive.as_ref();
        Self {
            kind: metadata.kind,
            created_at: metadata.created_at,
            session_start_at: metadata.session_start_at,
            next_available_at: metadata.next_available_at,
            validation: metadata.validation_status,
            label: metadata.label.clone(),
            bytes: archive.map(|archive| archive.bytes),
            toc_digest: archive.and_then(|archive| parse_digest(&archive.toc_digest)).map(Digest),
            figures: metadata.quota.as_ref().map(|quota| Figures {
                source: quota.source,
                observed_at: quota.observed_at,
                windows: quota.windows.clone(),
                limit_reached: quota.limit_reached,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bulk::{self, Bulk};
    use super::*;

    #[test]
    fn what_is_remembered_is_taken_apart_when_somebody_asks_and_is_the_same() {
        let metadata = Metadata {
            email: Some("ada@example.com".parse().unwrap()),
            label: Some("before".to_owned()),
            ..Metadata::empty(Kind::State)
        };
        let mut bytes = b"other".to_vec();
        metadata.pack(&mut bytes);
        let packed = Arc::new(bulk::pack(&bytes).unwrap());
        let length = bytes.len();
        let bulk = Arc::new(Bulk::of(packed, 0, length));
        let piece = Piece { bulk, span: (5, u32::try_from(length).unwrap()) };
        let whose = Arc::clone(&Said::from(metadata.clone()).whose);
        let said = Said::remembered(whose, Brief::of(&metadata), piece);
        assert_eq!(said.whose().email, metadata.email);
        assert_eq!(said.brief().label.as_deref(), Some("before"));
        assert!(said.whole.get().is_none(), "it was taken apart for the brief");
        assert_eq!(*said.whole(), metadata);
        assert!(said.whole.get().is_none(), "it was kept");
        assert_eq!(*said, metadata);
        assert_eq!(said, Said::from(metadata));
    }
}
