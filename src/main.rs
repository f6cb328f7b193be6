//! The program: sets up the process and hands over to [`codex_manager`].

fn main() {}
