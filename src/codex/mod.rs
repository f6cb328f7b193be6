//! What does Codex keep, and what does it say?
//!
//! Its files ([`home`]), its login ([`auth`]), the quota figures in its session files
//! ([`rollout`]) and in the text of `/status` ([`status`]), and who has the home open
//! ([`process`]). [`program`] starts Codex itself.

pub mod auth;
pub mod home;
pub mod process;
pub mod program;
pub mod rollout;
pub mod status;
