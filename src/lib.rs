//! codex-manager

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
