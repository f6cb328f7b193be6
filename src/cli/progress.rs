//! How far is it?

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::session::Session;

/// Steps shorter than this show nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// A bar over bytes on standard error, for whatever takes longer than half a second.
///
/// Without a terminal, with `--quiet` or `--json`, it counts and stays invisible.
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    hidden: bool,
    wanted: bool,
}

impl Progress {
    /// A bar that ends at `total` bytes.
    pub(crate) fn bytes(label: &str, total: u64, session: &Session) -> Self {
        let global = &session.global;
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(
            "{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(label.to_owned());
        Self {
            bar,
            began: Instant::now(),
            hidden: true,
            wanted: session.world.terminals.err && !global.quiet && !global.json,
        }
    }

    /// `count` bytes more are done, of `total`.
    pub(crate) fn advance_of(&mut self, count: u64, total: u64) {
        self.bar.set_length(total);
        self.advance(count);
    }

    /// `count` bytes more are done.
    pub(crate) fn advance(&mut self, count: u64) {
        self.bar.inc(count);
        if self.hidden && self.wanted && PATIENCE <= self.began.elapsed() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            self.hidden = false;
        }
    }
}

/// A line on standard error while somebody else works, from half a second on.
///
/// Without a terminal, with `--quiet` or `--json`, there is none.
pub(crate) struct Waiting(Option<(Sender<()>, JoinHandle<()>)>);

impl Waiting {
    /// Says what is waited for, until it is dropped.
    pub(crate) fn on(what: &str, session: &Session) -> Self {
        let global = &session.global;
        if !session.world.terminals.err || global.quiet || global.json {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(format!("{what} …"));
        let (done, waits) = mpsc::channel::<()>();
        let shown = std::thread::spawn(move || {
            if waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
                bar.enable_steady_tick(PATIENCE / 5);
                // Nothing is ever sent: this is the end of the wait.
                let _ended = waits.recv();
            }
            bar.finish_and_clear();
        });
        Self(Some((done, shown)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((done, shown)) = self.0.take() {
            drop(done);
            // The line is gone before anything else is said.
            drop(shown.join());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
