//! What do we keep, and how does it come back?

pub mod metadata;
pub mod name;
