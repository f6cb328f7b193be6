//! What does Codex keep, and what does it say?
//!
//! The session files and the quota figures in them ([`rollout`]).

pub mod rollout;
