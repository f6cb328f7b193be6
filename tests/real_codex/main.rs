//! Does it hold with the real Codex?
//!
//! Codex from npm runs here against a [`mock`] of its backend on loopback, in homes of the tests'
//! own, and `codex-manager` runs beside it as a person would run it. Nothing leaves the machine.
//! Needs Codex once, and only runs where it is named:
//!
//! ```sh
//! npm install --prefix target/codex @openai/codex@0.169.0
//! npm install --prefix target/codex-spring @openai/codex@0.118.0
//! cargo test --test real_codex
//! ```
//!
//! `CODEX_BIN` names another Codex. The tools come first ([`mock`], [`lab`] and what it leans on),
//! then one file per promise; [`codex_itself`] proves the tools.

// The whole crate is a test, which the lints only notice inside `#[test]` functions.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod app_server;
mod lab;
mod manager;
mod mock;
mod process;
mod terminal;
mod tree;

mod backup;
mod codex_itself;
mod holders;
mod live;
mod login;
mod places;
mod quota;
mod restore;
mod switch;
