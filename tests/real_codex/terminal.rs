//! How does a test sit at the terminal program?
//!
//! `script` gives it a terminal, and we answer the one question that a real one would: where the
//! cursor is. What it draws is not looked at; what it asks of the backend and has open is.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;

/// Asks for the place of the cursor.
const QUESTION: &[u8] = b"\x1b[6n";

/// It is in the first line and column.
const ANSWER: &[u8] = b"\x1b[1;1R";

/// A terminal program that runs until this is dropped.
pub(crate) struct Terminal(Child);

impl Terminal {
    /// Starts a program with its words, none of which may hold a quote.
    #[track_caller]
    pub(crate) fn start(command: &Command) -> Terminal {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
        script.env_clear();
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.current_dir(command.get_current_dir().unwrap());
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = script.spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        thread::spawn(move || {
            let (mut tail, mut bytes) = (Vec::new(), [0; 4096]);
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                tail.extend_from_slice(&bytes[..count]);
                while let Some(at) = tail.windows(QUESTION.len()).position(|part| part == QUESTION)
                {
                    tail.drain(..at + QUESTION.len());
                    if input.write_all(ANSWER).and_then(|()| input.flush()).is_err() {
                        return;
                    }
                }
                // A question may be cut in two.
                tail.drain(..tail.len().saturating_sub(QUESTION.len()));
            }
        });
        Terminal(child)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The program behind it hangs up with its terminal.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
