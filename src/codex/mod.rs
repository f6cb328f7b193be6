//! codex

pub mod auth;
