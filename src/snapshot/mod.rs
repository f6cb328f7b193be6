//! What do we keep, and how does it come back?
//!
//! The store ([`store`]) holds archives and what they say about themselves ([`metadata`]) under
//! their names ([`name`]). Snapshots are made ([`backup`]) and brought back ([`restore`]); a
//! login alone is kept ([`adopt`], [`sign_in`]) and changes place too ([`logins`], [`switch`]); what is kept is checked ([`verify`]), tried
//! out ([`drill`]) and, when it is no longer wanted, put away ([`prune`], [`trash`]); what is known of an account can be forgotten ([`forget`]). What was done is written down
//! ([`operations`]) and taken back ([`undo`]). What the older tool left is read
//! ([`legacy`]) and taken over ([`normalize`], [`inventory`]).

pub mod adopt;
pub mod backup;
pub mod drill;
pub mod forget;
pub mod inventory;
mod journal;
pub mod legacy;
pub mod logins;
pub mod metadata;
pub mod name;
pub mod normalize;
pub mod operations;
pub mod prune;
pub mod restore;
pub mod sign_in;
pub mod store;
pub mod switch;
pub mod trash;
pub mod undo;
pub mod verify;
