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
        use rustix::process::{Resource, Rlimit, setrlimit, umask};
        umask(rustix::fs::Mode::from_raw_mode(0o077));
        // Linux asks no limit before it pipes the memory into a program that collects core files,
        // unless the limit is exactly one byte; no file is written for so little either.
        let limits: &[u64] = if cfg!(target_os = "linux") { &[1, 0] } else { &[0] };
        let set = |limit: &u64| {
            let limit = Rlimit { current: Some(*limit), maximum: Some(*limit) };
            setrlimit(Resource::Core, limit).is_ok()
        };
        // A system that refuses this still has the modes above.
        let _accepted = limits.iter().any(set);
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::guard;

    #[test]
    fn a_mistake_is_told_by_its_place_and_never_by_what_it_was_about() {
        const CHILD: &str = "CODEX_MANAGER_TEST_MISTAKE";
        let name = "tests::a_mistake_is_told_by_its_place_and_never_by_what_it_was_about";
        if let Some(secret) = std::env::var_os(CHILD) {
            guard();
            // In a thread of its own as in the program's own: both are told in the same way.
            let ended = std::thread::spawn(|| std::panic::panic_any(secret)).join();
            let secret = ended.unwrap_err().downcast::<std::ffi::OsString>().unwrap();
            panic!("{}", secret.display());
        }
        let seen = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "made-up-secret")
            .env("RUST_BACKTRACE", "full")
            .output()
            .unwrap();
        assert!(!seen.status.success());
        let said = String::from_utf8(seen.stderr).unwrap();
        let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 4, "{said}");
        for pair in lines.chunks(2) {
            assert!(pair[0].starts_with("error: a mistake in codex-manager at src"), "{said}");
            assert!(pair[1].starts_with("hint: nothing was left half-written"), "{said}");
        }
        let all = said + &String::from_utf8(seen.stdout).unwrap();
        assert!(!all.contains("made-up-secret"), "{all}");
    }
}
