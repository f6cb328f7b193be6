//! What does Codex keep, and what does it say?
//!
//! Its files ([`home`]), its login ([`auth`]), the quota figures in its session files
//! ([`rollout`]) and in the text of `/status` ([`status`]), who has the home open
//! ([`process`]). Codex itself is started by [`program`], asked by [`app_server`], and tells of its
//! background server ([`daemon`]).

pub mod app_server;
pub mod auth;
pub mod daemon;
pub mod home;
pub mod process;
pub mod program;
pub mod rollout;
pub mod status;
