//! disk

pub mod archive;
