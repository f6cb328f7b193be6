//! When may an account work, and which one next?
//!
//! What some source said about an account ([`reading`]), the file of all that was ever said
//! ([`ledger`]) and how sure that is ([`confidence`]), what follows from it at one instant ([`cooldown`]) and which account to take
//! ([`mod@recommend`]). All of it is pure: bytes, facts and `now` come in, answers go out.

pub mod confidence;
pub mod cooldown;
pub mod ledger;
pub mod reading;
pub mod recommend;
mod weigh;

pub use self::confidence::{Basis, Confidence};
pub use self::cooldown::{Availability, State, WindowNow, availability};
pub use self::ledger::{Entry, Ledger, parse};
pub use self::reading::{Reading, Source, Validation};
pub use self::recommend::{Candidate, Ranked, Recommendation, recommend};
