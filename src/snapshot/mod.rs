//! What do we keep, and how does it come back?

pub mod inventory;
pub mod metadata;
pub mod name;
pub mod normalize;
