//! How does a test run a program without ever hanging on it?

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a program left behind when it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, or `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that runs with a time limit; dropping it ends it.
pub(crate) struct Running {
    child: Child,
    what: String,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    deadline: Instant,
    limit: Duration,
}

impl Running {
    /// Starts `command` without standard input.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, limit: Duration) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        Running {
            stdout: child.stdout.take().map(collect),
            stderr: child.stderr.take().map(collect),
            child,
            what,
            deadline: Instant::now() + limit,
            limit,
        }
    }

    /// Waits for the end; a program that takes longer than its limit fails the test.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= self.deadline {
                self.end();
                let (stdout, stderr) = self.texts();
                panic!("still at work after {:?}: {}\n{stdout}\n{stderr}", self.limit, self.what);
            }
            thread::sleep(Duration::from_millis(20));
        };
        let (stdout, stderr) = self.texts();
        Ended { code: status.code(), stdout, stderr }
    }

    fn texts(&mut self) -> (String, String) {
        let text = |reader: Option<JoinHandle<String>>| {
            reader.map_or_else(String::new, |reader| reader.join().unwrap_or_default())
        };
        (text(self.stdout.take()), text(self.stderr.take()))
    }

    fn end(&mut self) {
        // It may have ended by itself in this very moment, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads a stream to its end beside the test, so that a full pipe stops nobody.
fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is all there is to show.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
