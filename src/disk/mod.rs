//! How do bytes get to the disk, and back, safely?
//!
//! The lowest floor: it knows files, folders, locks and SQLite, and nothing of what they are
//! for. Whoever keeps to these verbs cannot leave half a file behind, follow a link that was
//! planted, or show a private file to others.

pub mod archive;
pub mod database;
pub mod durable;
mod early;
pub mod error;
pub mod facts;
pub mod folder;
pub mod jobs;
pub mod json;
pub mod lock;
pub mod read;
pub mod replace;
pub mod since;
pub mod space;
pub mod swap;
mod sys;
pub mod tree;

pub use error::{DiskError, Result};
pub use facts::Facts;
pub use folder::Folder;
pub use jobs::Jobs;
#[cfg(test)]
pub(crate) use sys::{Call, faults};
