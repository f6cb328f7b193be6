//! What does a program say, line by line, while it runs?

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::process::{ChildStdin, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::RunError;
use super::child::Child;

/// The longest line that is heard, in bytes; a longer one is passed over.
const MAX_LINE: u64 = 1 << 20;

/// All that a program may say in one conversation, in bytes.
const MAX_TALK: u64 = 16 << 20;

/// How many lines wait for us at most.
const WAITING: usize = 16;

/// How often the user's wish to stop is looked for while nothing is said.
const GLANCE: Duration = Duration::from_millis(20);

/// A program that answers in lines while its input is open.
///
/// Dropping it ends the program and all that it started.
#[derive(Debug)]
pub struct Conversation {
    input: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    child: Child,
}

/// What the program said next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// A line, without its end.
    Line(Vec<u8>),
    /// It will say nothing more.
    End,
}

impl Conversation {
    pub(super) fn new(mut child: Child) -> Self {
        let (tell, lines) = mpsc::sync_channel(WAITING);
        let input = child.input();
        let (out, _) = child.outputs();
        std::thread::spawn(move || out.map(|out| listen(out, &tell)));
        Self { input, lines, child }
    }

    /// Says a line. Whether anybody listens is told by what is heard next.
    pub fn say(&mut self, line: &str) {
        let said = self.input.as_mut().map(|input| {
            input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush())
        });
        drop(said); // Who does not listen has ended, which `hear` tells.
    }

    /// The next line, or the end of all lines.
    ///
    /// # Errors
    ///
    /// [`RunError::Slow`] at `until` (`patience` is what that was in all, for the message), and
    /// [`RunError::Stopped`]. The program goes on until this conversation is dropped.
    pub fn hear(
        &mut self,
        until: Instant,
        patience: Duration,
        stop: &AtomicBool,
    ) -> Result<Heard, RunError> {
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(RunError::Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RunError::Slow(patience));
            }
            match self.lines.recv_timeout(left.min(GLANCE)) {
                Ok(line) => return Ok(Heard::Line(line)),
                Err(RecvTimeoutError::Disconnected) => return Ok(Heard::End),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Closes its input, which asks it to end, and waits until it has or `until` comes; then it is
    /// ended. How it ended, if that was by itself.
    pub fn finish(mut self, until: Instant) -> Option<ExitStatus> {
        self.input = None;
        while Instant::now() < until {
            // What is still said was not asked for; it must not keep the program from ending.
            while self.lines.try_recv().is_ok() {}
            match self.child.look() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(status)) => return Some(status),
                Err(_) => break,
            }
        }
        None
    }
}

/// Passes the lines of a pipe on, until it ends, says too much, or nobody listens.
fn listen(pipe: impl Read, tell: &SyncSender<Vec<u8>>) {
    let mut pipe = BufReader::new(pipe.take(MAX_TALK));
    while let Ok(Some(line)) = next_line(&mut pipe) {
        if line.is_some_and(|line| tell.send(line).is_err()) {
            break;
        }
    }
}

/// The next line: `None` at the end, `Some(None)` for one that is too long.
fn next_line(pipe: &mut impl BufRead) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut line = Vec::new();
    let mut read = pipe.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(Some(line)));
    }
    // A last line without an end is a line; anything else was cut, and its rest is passed over.
    let is_last = pipe.fill_buf()?.is_empty();
    let is_short = u64::try_from(line.len()).unwrap_or(u64::MAX) < MAX_LINE;
    while read != 0 && !is_last {
        let mut rest = Vec::new();
        read = pipe.take(MAX_LINE).read_until(b'\n', &mut rest)?;
        if rest.last() == Some(&b'\n') {
            break;
        }
    }
    Ok(Some((is_last && is_short).then_some(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_line_and_a_monstrous_one_is_passed_over() {
        let long = usize::try_from(MAX_LINE).unwrap();
        let text = [
            b"one\n\n".to_vec(),
            vec![b'x'; long + 7],
            b"\ntwo\n".to_vec(),
            vec![b'y'; 3 * long],
            b"\nthree".to_vec(),
        ]
        .concat();
        let mut pipe = BufReader::new(text.as_slice());
        let mut heard = Vec::new();
        while let Some(line) = next_line(&mut pipe).unwrap() {
            heard.push(line.map(|line| String::from_utf8(line).unwrap()));
        }
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(heard, [said("one"), said(""), None, said("two"), None, said("three")]);
    }

    #[test]
    fn a_talk_without_end_ends() {
        let (tell, told) = mpsc::sync_channel(WAITING);
        let speaker = std::thread::spawn(move || listen(io::repeat(b'z'), &tell));
        assert_eq!(told.recv().ok(), None);
        speaker.join().unwrap();
    }
}
