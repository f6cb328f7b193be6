//! What does Codex find instead of its backend?
//!
//! A server on loopback, over TLS for Codex's questions and without it for the two token
//! endpoints. One thread per connection; it ends with the value. It answers what a turn, a
//! resume, a quota question and a refresh need, and remembers everything it was asked.

pub(crate) mod account;
mod certificate;
mod ledger;
mod route;
mod wire;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use account::{Person, Quota};
use certificate::Certificate;
use ledger::Ledger;
pub(crate) use route::reply;
use wire::{Answer, Request};

/// How long a silent peer keeps a thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request as it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    /// Whose token came with it, if it was a good one.
    pub(crate) account: Option<&'static str>,
    /// The input texts of a turn.
    pub(crate) texts: Vec<String>,
}

impl Seen {
    /// Whether it asked the model for something.
    pub(crate) fn is_turn(&self) -> bool {
        self.method == "POST" && self.path.ends_with("/responses")
    }

    /// Whether it asked for new tokens.
    pub(crate) fn is_refresh(&self) -> bool {
        self.path.ends_with("/oauth/token")
    }
}

/// A running backend.
pub(crate) struct Mock {
    shared: Arc<Shared>,
    plain: SocketAddr,
    secure: SocketAddr,
    authority: String,
}

/// What all connections look at.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
    origin: String,
}

/// How the question for what is left is answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Usage {
    /// As it should be.
    #[default]
    Well,
    /// With an error of the service.
    Broken,
    /// With a refusal of the token, whatever that is good for elsewhere.
    Refused,
    /// Not before the mock ends or this changes.
    Late,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    seen: Vec<Seen>,
    held: bool,
    held_refreshes: bool,
    usage: Usage,
}

impl Mock {
    /// Starts on two free ports of 127.0.0.1.
    pub(crate) fn start() -> Mock {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (plain, secure) = (listen(), listen());
        let Certificate { server, authority } = Certificate::for_loopback();
        let mock = Mock {
            plain: plain.local_addr().unwrap(),
            secure: secure.local_addr().unwrap(),
            authority,
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: Condvar::new(),
                ended: AtomicBool::new(false),
                origin: format!("https://{}", secure.local_addr().unwrap()),
            }),
        };
        accept(plain, Arc::clone(&mock.shared), |stream| Ok(Box::new(stream)));
        accept(secure, Arc::clone(&mock.shared), move |stream| tls(stream, &server));
        mock
    }

    /// Where Codex finds the backend.
    pub(crate) fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// Where tokens are exchanged and revoked.
    pub(crate) fn token_origin(&self) -> String {
        format!("http://{}", self.plain)
    }

    /// The authority that signed the certificate, as PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The text of an `auth.json` of a new sign-in; its access token is good for `seconds`, and
    /// was never good if that is not positive.
    pub(crate) fn sign_in(&self, person: &Person, seconds: i64) -> String {
        let now = now();
        let tokens = self.shared.lock().ledger.sign_in(person, now, now + seconds);
        tokens.auth_json(person, now)
    }

    /// Says what is left to an account from now on.
    pub(crate) fn set_quota(&self, person: &Person, quota: Quota) {
        self.shared.lock().ledger.set_quota(person, quota);
    }

    /// Says how the question for what is left is answered from now on.
    pub(crate) fn set_usage(&self, usage: Usage) {
        self.shared.lock().usage = usage;
        self.shared.changed.notify_all();
    }

    /// Everything it was asked so far, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// The last turn it was asked for.
    #[track_caller]
    pub(crate) fn last_turn(&self) -> Seen {
        let turn = self.seen().into_iter().rfind(Seen::is_turn);
        turn.expect("Codex asked the mock for a turn")
    }

    /// Keeps every turn in flight from here on: it begins, and goes on when the guard is dropped.
    pub(crate) fn hold_turns(&self) -> Held<'_> {
        self.shared.lock().held = true;
        Held(&self.shared)
    }

    /// Keeps every refresh in flight from here on: the old token is used up, and the new ones are
    /// on their way until the guard is dropped.
    pub(crate) fn hold_refreshes(&self) -> Held<'_> {
        self.shared.lock().held_refreshes = true;
        Held(&self.shared)
    }

    /// The refreshes so far, oldest first: whose, and how each was answered.
    pub(crate) fn refreshes(&self) -> Vec<(Option<&'static str>, u16)> {
        let seen = self.seen().into_iter().filter(Seen::is_refresh);
        seen.map(|seen| (seen.account, seen.status)).collect()
    }

    /// Waits until `count` turns were asked for.
    #[track_caller]
    pub(crate) fn wait_for_turns(&self, count: usize) {
        self.wait_for(Seen::is_turn, count);
    }

    /// Waits until `count` refreshes were asked for.
    #[track_caller]
    pub(crate) fn wait_for_refreshes(&self, count: usize) {
        self.wait_for(Seen::is_refresh, count);
    }

    #[track_caller]
    fn wait_for(&self, is_meant: fn(&Seen) -> bool, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while state.seen.iter().filter(|seen| is_meant(seen)).count() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it did not come in {PATIENCE:?}; seen: {:#?}", state.seen);
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.release();
        // A visitor each, so that the listeners wake up and see that it is over.
        for address in [self.plain, self.secure] {
            drop(TcpStream::connect(address));
        }
    }
}

/// While it lives, turns or refreshes stay in flight.
pub(crate) struct Held<'mock>(&'mock Shared);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed while it held the lock has said what there is to say.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn release(&self) {
        let mut state = self.lock();
        (state.held, state.held_refreshes) = (false, false);
        drop(state);
        self.changed.notify_all();
    }

    fn wait_while_late<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.usage == Usage::Late && !self.ended.load(Ordering::Acquire) {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state
    }

    fn wait_until_released(&self, is_held: fn(&State) -> bool) {
        let mut state = self.lock();
        while is_held(&state) {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Answers one request.
    fn serve(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        let Some(request) = Request::read(stream)? else { return Ok(()) };
        let is_refresh = request.path.ends_with("/oauth/token");
        let answer = {
            let mut state = self.lock();
            let mut routed = route::route(&request, &mut state.ledger, &self.origin, now());
            if request.path.ends_with("/usage") {
                state = self.wait_while_late(state);
                match state.usage {
                    Usage::Well | Usage::Late => {}
                    Usage::Broken => routed.answer = Answer::error(500, "broken"),
                    Usage::Refused => routed.answer = Answer::error(401, "token_expired"),
                }
            }
            state.seen.push(Seen {
                status: routed.answer.status,
                account: routed.account,
                texts: request.texts(),
                method: request.method,
                path: request.path,
            });
            routed.answer
        };
        self.changed.notify_all();
        if is_refresh {
            self.wait_until_released(|state| state.held_refreshes);
        }
        answer.write(stream, || self.wait_until_released(|state| state.held))
    }
}

/// A connection, whatever it is made of.
trait Connection: Read + Write {
    /// Says that nothing more comes.
    fn finish(&mut self);
}

impl Connection for TcpStream {
    fn finish(&mut self) {
        // The peer may be gone already, and then there is nobody to tell.
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Connection for StreamOwned<ServerConnection, TcpStream> {
    fn finish(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        self.sock.finish();
    }
}

/// The server's side of a TLS connection; the handshake happens with the first byte read.
fn tls(stream: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Box<dyn Connection>> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

/// Takes connections until the mock ends, a thread for each.
fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    wrap: impl Fn(TcpStream) -> io::Result<Box<dyn Connection>> + Clone + Send + 'static,
) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.ended.load(Ordering::Acquire) {
                break;
            }
            let Ok(stream) = stream else { continue };
            let (shared, wrap) = (Arc::clone(&shared), wrap.clone());
            thread::spawn(move || {
                // A client that hangs up in the middle is its own affair: Codex probes a lot.
                let _ = stream.set_read_timeout(Some(PATIENCE));
                if let Ok(mut stream) = wrap(stream) {
                    let _ = shared.serve(&mut stream);
                    stream.finish();
                }
            });
        }
    });
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
