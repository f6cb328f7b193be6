//! What do we keep, and how does it come back?

pub mod inventory;
pub mod legacy;
pub mod metadata;
pub mod name;
pub mod normalize;
