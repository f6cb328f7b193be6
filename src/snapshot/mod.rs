//! What do we keep, and how does it come back?
//!
//! The store ([`store`]) holds archives and what they say about themselves ([`metadata`]) under
//! their names ([`name`]). Snapshots are made ([`backup`]) and brought back ([`restore`]); a
//! login alone changes place too ([`logins`], [`switch`]); what is kept is checked ([`verify`]) and tried out ([`drill`]). What the older tool left is read
//! ([`legacy`]) and taken over ([`normalize`], [`inventory`]).

pub mod backup;
pub mod drill;
pub mod inventory;
pub mod legacy;
pub mod logins;
pub mod metadata;
pub mod name;
pub mod normalize;
pub mod restore;
pub mod store;
pub mod switch;
pub mod verify;
