//! Does everything survive: a kill or a failing call anywhere, and a power cut?
//!
//! The compiled program runs under `strace` here, in folders of the tests' own, and is disturbed
//! from outside at every call that changes something. Linux only; needs strace, `timeout` and
//! `taskset`, and only runs where it is named:
//!
//! ```sh
//! cargo test --test survival -- --nocapture
//! ```
//!
//! The tools come first ([`ground`], [`trace`], [`state`], [`oracle`]), then one file per question.
//! `SURVIVAL=full` tries every point instead of a sample.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]
#![cfg(target_os = "linux")]

mod commands;
mod ground;
mod model;
mod oracle;
mod people;
mod renumber;
mod state;
mod syscalls;
mod trace;
mod work;

mod modes;
mod places;
mod power;
mod quiet;
mod sweep;
