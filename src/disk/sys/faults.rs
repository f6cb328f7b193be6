//! What if the disk stopped working at this very call?
//!
//! For tests: a [`Weather`] is put over one act of one thread (and of the threads that work for
//! it), and decides which of its calls fail, and how. What is there afterwards is what a full
//! disk, a broken one, or a kill at that point leaves.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Call;

/// How a call fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It does nothing and answers with this number of the system's; the next one works again.
    Errno(i32),
    /// A write gets half of its bytes onto the disk, then there is room for no more.
    Torn(i32),
    /// It and every later one does nothing: whoever was killed here does not tidy up either.
    Gone,
    /// The same in the midst of a write.
    GoneTorn,
}

/// What the disk is like during an act. The default is fair, and only watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// Which call fails, counted from 0, and how.
    pub(crate) fails: Option<(usize, Fault)>,
    /// Calls of other kinds neither count nor fail, if there is one.
    pub(crate) only: Option<Call>,
    /// Whether renaming knows no flags, as on NFS.
    pub(crate) without_flags: bool,
    /// Whether a file can have another one's content at once, as on Btrfs.
    pub(crate) clones: bool,
    /// Whether no file has been written to for long, whatever its times say.
    pub(crate) rests: bool,
}

/// A call that was asked for, and on what, where that is known.
pub(crate) type Asked = (Call, PathBuf);

#[derive(Debug, Default)]
struct State {
    weather: Weather,
    asked: Vec<Asked>,
    gone: bool,
    /// Whether the call that failed just now was torn.
    torn: bool,
}

thread_local! {
    static STATE: RefCell<Option<Arc<Mutex<State>>>> = const { RefCell::new(None) };
}

impl Weather {
    /// The disk fails at that call.
    pub(crate) fn failing(at: usize, fault: Fault) -> Self {
        Self { fails: Some((at, fault)), ..Self::default() }
    }

    /// Does something in this weather; answers which calls it asked for.
    pub(crate) fn over<T>(self, act: impl FnOnce() -> T) -> (T, Vec<Asked>) {
        let state = Arc::new(Mutex::new(State { weather: self, ..State::default() }));
        let result = Errand(Some(Arc::clone(&state))).run(act);
        let asked = std::mem::take(&mut lock(&state).asked);
        (result, asked)
    }
}

/// Does something in this thread as if renaming knew no flags.
pub(crate) fn without_flags<T>(act: impl FnOnce() -> T) -> T {
    Weather { without_flags: true, ..Weather::default() }.over(act).0
}

/// Does the same, and nothing can be renamed after so many renames: what is there afterwards is
/// what a kill at that point leaves.
pub(crate) fn stopped_after<T>(renames: usize, act: impl FnOnce() -> T) -> T {
    let fails = Some((renames, Fault::Gone));
    let only = Some(Call::Rename);
    Weather { fails, only, without_flags: true, ..Weather::default() }.over(act).0
}

/// The weather over a thread, for another one that works for it.
#[derive(Clone)]
pub(in crate::disk) struct Errand(Option<Arc<Mutex<State>>>);

impl Errand {
    pub(in crate::disk) fn of_this_thread() -> Self {
        Self(STATE.with_borrow(Clone::clone))
    }

    pub(in crate::disk) fn run<T>(self, act: impl FnOnce() -> T) -> T {
        /// Puts back what was there before, also when a test fails by panicking.
        struct Before(Option<Arc<Mutex<State>>>);
        impl Drop for Before {
            fn drop(&mut self) {
                STATE.set(self.0.take());
            }
        }
        let _before = Before(STATE.replace(self.0));
        act()
    }
}

/// Counts a call, and answers what the weather says to it.
pub(in crate::disk) fn ask(call: Call, path: &Path) -> io::Result<()> {
    let Some(state) = STATE.with_borrow(Clone::clone) else { return Ok(()) };
    let mut state = lock(&state);
    let Weather { fails, only, without_flags, .. } = state.weather;
    state.torn = false;
    let mut answer = None;
    if only.is_none_or(|only| only == call) {
        let number = state.asked.len();
        state.asked.push((call, path.to_owned()));
        answer = fails.filter(|(at, _)| *at == number || state.gone).map(|(_, fault)| fault);
    }
    match answer {
        Some(_) if state.gone => Err(gone()),
        Some(fault) => {
            state.torn = matches!(fault, Fault::Torn(_) | Fault::GoneTorn);
            state.gone = matches!(fault, Fault::Gone | Fault::GoneTorn);
            match fault {
                Fault::Errno(number) | Fault::Torn(number) => {
                    Err(io::Error::from_raw_os_error(number))
                }
                Fault::Gone | Fault::GoneTorn => Err(gone()),
            }
        }
        None if without_flags && call == Call::RenameWith => Err(io::ErrorKind::Unsupported.into()),
        None => Ok(()),
    }
}

/// Whether there is any weather: then nothing need survive a power cut, nobody else writes, and
/// many commands are played in a short time.
pub(in crate::disk) fn is_played() -> bool {
    STATE.with_borrow(Option::is_some)
}

/// Whether a file can have another one's content, also where a test runs on what cannot do that.
pub(super) fn is_cloning() -> bool {
    let state = STATE.with_borrow(Clone::clone);
    state.is_some_and(|state| lock(&state).weather.clones)
}

/// Whether every file is at rest.
pub(in crate::disk) fn is_resting() -> bool {
    let state = STATE.with_borrow(Clone::clone);
    state.is_some_and(|state| lock(&state).weather.rests)
}

/// What reaches the disk of a write that has just failed.
pub(super) fn torn(bytes: &[u8]) -> &[u8] {
    let state = STATE.with_borrow(Clone::clone);
    let is_torn = state.is_some_and(|state| lock(&state).torn);
    if is_torn { bytes.get(..bytes.len() / 2).unwrap_or_default() } else { &[] }
}

fn gone() -> io::Error {
    io::Error::other("the disk is gone")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::replace;

    /// No space left on device.
    const FULL: i32 = 28;

    fn write(weather: Weather) -> (crate::disk::Result<()>, Vec<Call>, Vec<Vec<u8>>) {
        let dir = tempfile::tempdir().unwrap();
        let (done, asked) = weather.over(|| replace::write(&dir.path().join("a"), b"four"));
        let files = fs::read_dir(dir.path()).unwrap();
        let files = files.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
        (done, asked.into_iter().map(|(call, _)| call).collect(), files)
    }

    #[test]
    fn fair_weather_counts_every_call() {
        let (done, asked, files) = write(Weather::default());
        done.unwrap();
        assert_eq!(files, [b"four"]);
        let expected =
            [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::Open, Call::Sync];
        assert_eq!(asked, expected);
    }

    #[test]
    #[rustfmt::skip]
    fn a_call_fails_alone_or_with_all_that_follow_whole_or_torn() {
        check(1, Fault::Errno(FULL), &[]);            // what was created is removed
        check(1, Fault::Torn(FULL),  &[]);
        check(1, Fault::Gone,        &[b""]);         // nobody is left who would
        check(1, Fault::GoneTorn,    &[b"fo"]);
        check(2, Fault::Gone,        &[b"four"]);
        check(0, Fault::Gone,        &[]);
    }

    #[track_caller]
    fn check(at: usize, fault: Fault, left: &[&[u8]]) {
        let (done, asked, files) = write(Weather::failing(at, fault));
        done.unwrap_err();
        assert!(asked.len() > at);
        assert_eq!(files, left);
    }

    #[test]
    fn the_weather_is_over_one_act_and_those_who_work_for_it() {
        let (asked, _) = Weather::failing(0, Fault::Gone).over(|| {
            let errand = Errand::of_this_thread();
            let elsewhere = || ask(Call::Write, Path::new("")).is_ok();
            std::thread::scope(|scope| {
                let stranger = scope.spawn(elsewhere).join().unwrap();
                let helper = scope.spawn(|| errand.run(elsewhere)).join().unwrap();
                (stranger, helper)
            })
        });
        assert_eq!(asked, (true, false));
        assert!(ask(Call::Write, Path::new("")).is_ok());
    }
}
