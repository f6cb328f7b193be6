//! How does a program end together with everything it started?

use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};

#[cfg(unix)]
use rustix::process::{Pid, Signal};

/// A program that was started. It does not outlive this value.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    /// Whether it leads a process group, which then ends with it.
    leads: bool,
    has_ended: bool,
}

impl Child {
    /// Starts it in a process group of its own: Ctrl-C at our terminal does not reach it.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        Ok(Self { process: command.spawn()?, leads: true, has_ended: false })
    }

    /// Starts it in our group, so that it may read from our terminal.
    pub(super) fn attended(command: &mut Command) -> io::Result<Self> {
        Ok(Self { process: command.spawn()?, leads: false, has_ended: false })
    }

    /// Its standard output and error, as far as they are pipes; once.
    pub(super) fn outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.process.stdout.take(), self.process.stderr.take())
    }

    /// Its standard input, if that is a pipe; once.
    pub(super) fn input(&mut self) -> Option<ChildStdin> {
        self.process.stdin.take()
    }

    /// How it ended, if it has.
    pub(super) fn look(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.process.try_wait()?;
        self.has_ended |= status.is_some();
        Ok(status)
    }

    /// Asks it to end, which a script may pass on to what it started.
    pub(super) fn ask_to_end(&mut self) {
        #[cfg(unix)]
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
            && !self.has_ended
        {
            // Until it is waited for, its number is nobody else's.
            let _gone = rustix::process::kill_process(pid, Signal::TERM);
        }
    }

    /// Ends it with what it started, unless it has ended by itself.
    pub(super) fn end(&mut self) {
        if self.has_ended {
            return;
        }
        // Until it is waited for, its number is nobody else's, and so is its group's.
        let done =
            if self.leads && kill_group(self.process.id()) { Ok(()) } else { self.process.kill() };
        drop(done.and_then(|()| self.process.wait())); // It is given up either way.
        self.has_ended = true;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(unix)]
fn kill_group(leader: u32) -> bool {
    let group = i32::try_from(leader).ok().and_then(Pid::from_raw);
    let kill = rustix::process::kill_process_group;
    group.is_some_and(|group| kill(group, Signal::KILL).is_ok())
}

#[cfg(not(unix))]
fn kill_group(_leader: u32) -> bool {
    false
}
