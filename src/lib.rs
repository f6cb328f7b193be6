//! codex-manager keeps every Codex account's state safe, knows when each may work again, and
//! moves between them.
//!
//! This is the map. Rooms lie on floors; a room uses the floors below it, never its own or a
//! higher one (`tests/it/rooms.rs` holds this):
//!
//! | floor | rooms | the question it answers |
//! |---|---|---|
//! | 7 | [`cli`] | which words, columns, exit code? |
//! | 6 | [`doctor`] | what is wrong, and what mends it? |
//! | 5 | [`overview`], [`world`] | what do we know right now? · what is outside? |
//! | 4 | [`snapshot`] | what do we keep, and how does it come back? |
//! | 3 | [`codex`], [`quota`] | what does Codex keep and say? · when may an account work? (pure) |
//! | 2 | [`account`], [`config`], [`window`] | who? · what does the user prefer? · what is a quota window? |
//! | 1 | [`disk`], [`time`] | how do bytes get there safely? · how are instants read and written? |
//!
//! Every command observes, decides, applies and shows, in this order. What decides is pure: it
//! gets facts, rules and the instant of the run and answers with a plan, which `--dry-run`
//! shows instead of applying it. Only `disk` writes, only `cli` prints, only `world` knows the
//! clock and the environment.
//!
//! The rules, the formats and the tables of decisions are in `SPEC.md`.

pub mod account;
pub mod cli;
pub mod codex;
pub mod config;
pub mod disk;
pub mod doctor;
pub mod overview;
pub mod quota;
pub mod snapshot;
pub mod time;
pub mod window;
pub mod world;
