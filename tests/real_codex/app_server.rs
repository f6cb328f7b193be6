//! How does a Codex stay open on a home?
//!
//! `codex app-server` over its standard streams, one JSON object a line: what an editor keeps
//! running all day. It holds the home's databases open until it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an answer may take; a cold start on a busy machine included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that answers; it ends when dropped.
pub(crate) struct AppServer {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Value>,
    asked: u64,
}

impl AppServer {
    /// Starts it and waits until it has opened the home.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> AppServer {
        command.arg("app-server");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (send, output) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(message) = serde_json::from_str(&line) else { continue };
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let mut server = AppServer { input: child.stdin.take(), child, output, asked: 0 };
        let client = json!({ "name": "codex_manager_tests", "version": "0.1.0" });
        server.ask("initialize", &json!({ "clientInfo": client }));
        server.say(&json!({ "method": "initialized" }));
        // The list of sessions is in the state database, so it is open from here on.
        server.threads();
        server
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The ids of the sessions it finds in its home.
    #[track_caller]
    pub(crate) fn threads(&mut self) -> Vec<String> {
        let kinds = ["cli", "exec", "vscode", "appServer"];
        let listed = self.ask("thread/list", &json!({ "sourceKinds": kinds }));
        let listed = listed["data"].as_array().cloned().unwrap_or_default();
        listed.iter().filter_map(|thread| thread["id"].as_str()).map(str::to_owned).collect()
    }

    /// Has a session of its own and takes one turn in it; returns the session's id.
    #[track_caller]
    pub(crate) fn turn(&mut self, project: &Path, prompt: &str) -> String {
        let started = self.ask("thread/start", &json!({ "cwd": project }));
        let thread = started["thread"]["id"].as_str().unwrap().to_owned();
        let input = json!([{ "type": "text", "text": prompt }]);
        self.ask("turn/start", &json!({ "threadId": thread, "input": input }));
        self.receive("turn/completed", |message| message["method"] == "turn/completed");
        thread
    }

    /// Has it refresh its login, and does not wait for that.
    pub(crate) fn begin_refresh(&mut self) {
        self.asked += 1;
        let params = json!({ "refreshToken": true });
        self.say(&json!({ "id": self.asked, "method": "account/read", "params": params }));
    }

    /// Waits for the answer to what was asked last, whatever it is.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Value {
        let id = self.asked;
        self.receive("the answer", |message| message["id"] == id)
    }

    /// Asks and waits for the result; an error is a failed test.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({ "id": id, "method": method, "params": params }));
        let answer = self.receive(method, |message| message["id"] == id);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Waits for the message that is meant, past whatever comes in between.
    #[track_caller]
    fn receive(&mut self, what: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(message) if is_meant(&message) => return message,
                Ok(_) => {}
                Err(error) => panic!("{what}: nothing came ({error})"),
            }
        }
    }

    fn say(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{message}").unwrap();
        input.flush().unwrap();
    }
}

impl Drop for AppServer {
    fn drop(&mut self) {
        // The end of its input is how it is told to go; if it stays, it is made to.
        drop(self.input.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
