//! The program: makes the process safe to hold secrets, and hands over to
//! [`codex_manager::cli`].

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use codex_manager::cli::{self, Exit};
use codex_manager::world::World;

fn main() -> ExitCode {
    guard();
    let words: Vec<OsString> = std::env::args_os().collect();
    match World::real() {
        Ok(world) => cli::run(&words, world).into(),
        Err(error) => {
            let told = writeln!(std::io::stderr(), "error: cannot start: {error}");
            drop(told); // If standard error is gone, the exit code has to do.
            Exit::Failed.into()
        }
    }
}

/// Files are the owner's alone whatever mode they are asked with, memory does not end up in a
/// core file, and a mistake of ours prints one line without what it was about.
fn guard() {
    #[cfg(unix)]
    {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        // A system that refuses this still has the modes above.
        let _refused = rustix::process::setrlimit(rustix::process::Resource::Core, none).is_err();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |at| format!(" at {at}"));
        let told = writeln!(
            std::io::stderr(),
            "error: a mistake in codex-manager{place}\nhint: nothing was left half-written; please report it"
        );
        drop(told);
    }));
}
