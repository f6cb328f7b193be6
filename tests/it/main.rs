//! Evenings at the keyboard: whole command lines, played in process in a home of the test's own.
//!
//! One file per command; [`traps`] holds what the older tool stumbled over, [`rooms`] the floors
//! of the crate. [`home::TestHome`] is the home they all play in, [`canaries`] the made-up tokens that
//! it is full of and that must never get out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on says so by panicking"
)]

mod canaries;
mod home;

mod accounts;
mod backup;
mod config;
mod cooldown;
mod doctor;
mod drill;
mod full;
mod fuzz;
mod history;
mod holders;
mod hostile;
mod ledger;
mod legacy;
mod list;
#[cfg(unix)]
mod live;
mod load;
#[cfg(unix)]
mod login;
mod normalize;
mod only;
#[cfg(unix)]
mod places;
mod process;
mod promises;
mod prune;
mod ready;
mod restore;
mod rooms;
mod secrets;
mod status;
mod switch;
mod traps;
mod undo;
mod verify;
mod wrong_input;
