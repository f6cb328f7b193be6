//! What does Codex write down while somebody works with it?
//!
//! Lines as those of Codex 0.169.0, in this proportion: a user asks, the model reasons (which
//! comes encrypted), runs commands that print source files and logs, patches the files it read,
//! and answers; after each answer the tokens are counted.

use std::fmt::Write as _;
use std::io;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::library::{Library, Source};
use crate::random::Random;

/// 1 November 2026 00:00 UTC in milliseconds: the newest session of a made-up home began before.
pub(crate) const NOVEMBER: u64 = 1_793_491_200_000;

/// A session being written.
pub(crate) struct Session<'a> {
    library: &'a Library,
    random: Random,
    /// The instant of the next line, milliseconds since 1970.
    clock: u64,
    ordinal: u64,
    turn: String,
    /// The file that is being worked on: what is patched was read before.
    source: Option<&'a Source>,
    /// Tokens used so far.
    tokens: u64,
    text: String,
}

impl<'a> Session<'a> {
    pub(crate) fn new(library: &'a Library, random: Random, began: u64) -> Self {
        let mut session = Self {
            library,
            random,
            clock: began,
            ordinal: 0,
            turn: String::new(),
            source: None,
            tokens: 9000,
            text: String::new(),
        };
        session.turn = session.id();
        session
    }

    /// Writes a whole session of about so many bytes; tells how many it became.
    pub(crate) fn write(
        &mut self,
        id: &str,
        bytes: u64,
        out: &mut impl io::Write,
    ) -> io::Result<u64> {
        self.meta(id, bytes);
        self.go_on(bytes, out)
    }

    /// Writes further lines until there are about so many bytes; tells how many there are.
    pub(crate) fn go_on(&mut self, bytes: u64, out: &mut impl io::Write) -> io::Result<u64> {
        let mut written = 0;
        let mut steps = 0;
        loop {
            let made = written + u64::try_from(self.text.len()).unwrap_or(u64::MAX);
            if bytes <= made {
                break;
            }
            if FLUSH < self.text.len() {
                out.write_all(self.text.as_bytes())?;
                self.text.clear();
                written = made;
            }
            let room = usize::try_from(bytes - made).unwrap_or(usize::MAX);
            if steps == 0 {
                self.ask();
                steps = 3 + self.random.below(30);
            } else {
                self.step(room);
                steps -= 1;
                if steps == 0 {
                    self.answer();
                }
            }
        }
        out.write_all(self.text.as_bytes())?;
        written += u64::try_from(self.text.len()).unwrap_or(u64::MAX);
        self.text.clear();
        Ok(written)
    }

    /// The first line.
    fn meta(&mut self, id: &str, bytes: u64) {
        let half = usize::try_from(bytes / 2).unwrap_or(usize::MAX);
        let mut room = self.library.instructions.len().min(half);
        while !self.library.instructions.is_char_boundary(room)
            || self.library.instructions.get(..room).is_some_and(|text| text.ends_with('\\'))
        {
            room -= 1;
        }
        let instructions = self.library.instructions.get(..room).unwrap_or_default();
        let (time, commit) = (stamp(self.clock), self.hex(40));
        self.open("session_meta");
        let _ = write!(
            self.text,
            r#"{{"session_id":"{id}","id":"{id}","timestamp":"{time}","cwd":"/home/ada/code/ledger","originator":"codex-tui","cli_version":"0.169.0","source":"cli","thread_source":"user","model_provider":"openai","base_instructions":{{"text":"{instructions}"}},"history_mode":"paginated","git":{{"commit_hash":"{commit}","branch":"main"}}}}"#
        );
        self.close();
    }

    /// A turn begins: the user says what is wanted.
    fn ask(&mut self) {
        self.turn = self.id();
        let turn = self.turn.clone();
        self.open("event_msg");
        let _ = write!(
            self.text,
            r#"{{"type":"task_started","turn_id":"{turn}","root_turn_id":"{turn}","started_at":{},"model_context_window":258400,"collaboration_mode_kind":"default"}}"#,
            self.clock / 1000
        );
        self.close();
        self.open("turn_context");
        let _ = write!(
            self.text,
            r#"{{"turn_id":"{turn}","root_turn_id":"{turn}","disabled_plugin_ids":[],"cwd":"/home/ada/code/ledger","approval_policy":"on-request","permission_profile":{{"type":"managed","file_system":{{"type":"restricted","entries":[{{"path":{{"type":"special","value":{{"kind":"root"}}}},"access":"read"}},{{"path":{{"type":"path","path":"/home/ada/code/ledger"}},"access":"write"}}]}},"network":"restricted"}},"model":"gpt-5-codex","effort":"medium","summary":"auto"}}"#
        );
        self.close();
        let said = self.sentences(1, 4);
        self.message("user", "input_text", &said);
        self.source = None;
    }

    /// The turn ends: the model says what it did.
    fn answer(&mut self) {
        let said = self.sentences(2, 9);
        self.message("assistant", "output_text", &said);
        let turn = self.turn.clone();
        self.open("event_msg");
        let _ = write!(
            self.text,
            r#"{{"type":"task_complete","root_turn_id":"{turn}","turn_id":"{turn}","last_agent_message":"{said}","completed_at":{}}}"#,
            self.clock / 1000
        );
        self.close();
    }

    /// The model thinks and acts once, in about so many bytes at most.
    fn step(&mut self, room: usize) {
        self.reasoning(room);
        match self.random.below(10) {
            0..4 => self.look_at_source(room),
            4..6 => self.patch(room),
            6..9 => self.run_tests(room),
            _ => {
                let said = self.sentences(1, 3);
                self.message("assistant", "output_text", &said);
            }
        }
        self.count_tokens();
    }

    /// What only the backend can read, in base64: the part of a session that does not compress.
    fn reasoning(&mut self, room: usize) {
        let id = self.hex(48);
        let bytes = (300 + self.random.below(1400)).min(room / 4);
        self.open("response_item");
        let _ = write!(
            self.text,
            r#"{{"type":"reasoning","id":"rs_{id}","summary":[],"content":null,"encrypted_content":"gAAAAABp"#
        );
        self.base64(bytes);
        self.text.push_str(r#"=="}"#);
        self.close();
    }

    /// Prints some lines of a file, the one at hand or another.
    fn look_at_source(&mut self, room: usize) {
        let library = self.library;
        let source = match self.source {
            Some(source) if self.random.below(3) != 0 => source,
            _ => library.files.get(self.random.below(library.files.len())).unwrap_or(&NO_SOURCE),
        };
        self.source = Some(source);
        let from = self.random.below(source.lines.len());
        let lines = 20 + self.random.below(400);
        let command = format!("sed -n '{},{}p' {}", from + 1, from + lines, source.path);
        self.call(&command);
        let id = self.output();
        let end = self.text.len() + room;
        for line in source.lines.iter().skip(from).take(lines) {
            self.text.push_str(line);
            self.text.push_str("\\n");
            if end < self.text.len() {
                break;
            }
        }
        self.output_end(&id);
    }

    /// Changes lines of the file that was read.
    fn patch(&mut self, room: usize) {
        let Some(source) = self.source else { return self.look_at_source(room) };
        let id = self.hex(24);
        let from = self.random.below(source.lines.len());
        self.open("response_item");
        let _ = write!(
            self.text,
            r#"{{"type":"custom_tool_call","status":"completed","call_id":"call_{id}","name":"apply_patch","input":"*** Begin Patch\n*** Update File: {}\n@@\n"#,
            source.path
        );
        for line in source.lines.iter().skip(from).take(3 + self.random.below(25)) {
            let sign = self.random.one(&[" ", " ", "-", "+"]);
            let _ = write!(self.text, "{sign}{line}\\n");
        }
        self.text.push_str(r#"*** End Patch\n"}"#);
        self.close();
        self.open("response_item");
        let _ = write!(
            self.text,
            r#"{{"type":"custom_tool_call_output","call_id":"call_{id}","output":"{{\"output\":\"Success. Updated the following files:\nM {}\n\",\"metadata\":{{\"exit_code\":0,\"duration_seconds\":0.0}}}}"}}"#,
            source.path
        );
        self.close();
    }

    /// A build, a test run or a log.
    fn run_tests(&mut self, room: usize) {
        let library = self.library;
        let command = self.random.one(&[
            "cargo test --quiet",
            "cargo build 2>&1 | tail -100",
            "npm run check",
            "journalctl --user -u ledger -n 200",
            "ls -la target",
        ]);
        self.call(command);
        let id = self.output();
        let end = self.text.len() + room;
        let from = self.random.below(library.logs.len());
        let lines = 8 + self.random.below(140);
        for line in library.logs.iter().skip(from).take(lines) {
            self.text.push_str(line);
            self.text.push_str("\\n");
            if end < self.text.len() {
                break;
            }
        }
        self.output_end(&id);
    }

    fn call(&mut self, command: &str) {
        let id = self.hex(24);
        self.open("response_item");
        let _ = write!(
            self.text,
            r#"{{"type":"function_call","name":"exec_command","arguments":"{{\"cmd\":\"{command}\",\"workdir\":\"/home/ada/code/ledger\",\"max_output_tokens\":6000}}","call_id":"call_{id}","internal_chat_message_metadata_passthrough":{{"turn_id":"{}"}}}}"#,
            self.turn
        );
        self.close();
    }

    /// Begins the output of a command; tells its id.
    fn output(&mut self) -> String {
        let id = self.hex(24);
        let time = self.random.below(90_000);
        self.open("response_item");
        let _ = write!(
            self.text,
            r#"{{"type":"function_call_output","call_id":"call_{id}","output":"Chunk ID: {}\nWall time: {}.{:04} seconds\nProcess exited with code 0\nOutput:\n"#,
            id.get(..6).unwrap_or_default(),
            time / 10_000,
            time % 10_000
        );
        id
    }

    fn output_end(&mut self, id: &str) {
        let _ = write!(
            self.text,
            r#"","internal_chat_message_metadata_passthrough":{{"turn_id":"{}","item":"{id}"}}}}"#,
            self.turn
        );
        self.close();
    }

    fn message(&mut self, role: &str, kind: &str, said: &str) {
        let id = self.id();
        self.open("response_item");
        let _ = write!(
            self.text,
            r#"{{"type":"message","id":"msg_{id}","role":"{role}","content":[{{"type":"{kind}","text":"{said}"}}],"internal_chat_message_metadata_passthrough":{{"turn_id":"{}","content_item_kinds":["unknown"]}}}}"#,
            self.turn
        );
        self.close();
        self.open("event_msg");
        let _ = write!(
            self.text,
            r#"{{"type":"{}","message":"{said}"}}"#,
            if role == "user" { "user_message" } else { "agent_message" }
        );
        self.close();
    }

    fn count_tokens(&mut self) {
        let (input, output) = (self.random.below(9000), self.random.below(900));
        self.tokens += u64::try_from(input + output).unwrap_or_default();
        let used = self.tokens / 100_000 % 100;
        let day = self.clock / 86_400_000;
        self.open("event_msg");
        let _ = write!(
            self.text,
            r#"{{"type":"token_count","info":{{"total_token_usage":{{"input_tokens":{},"cached_input_tokens":{},"output_tokens":{output},"reasoning_output_tokens":{},"total_tokens":{}}},"last_token_usage":{{"input_tokens":{input},"cached_input_tokens":{},"output_tokens":{output},"reasoning_output_tokens":0,"total_tokens":{}}},"model_context_window":258400}},"rate_limits":{{"limit_id":"codex","limit_name":null,"primary":{{"used_percent":{used}.0,"window_minutes":300,"resets_at":{}}},"secondary":{{"used_percent":{}.0,"window_minutes":10080,"resets_at":{}}},"credits":{{"has_credits":false,"unlimited":false,"balance":null}},"plan_type":null}}}}"#,
            self.tokens,
            self.tokens / 10 * 9,
            output / 2,
            self.tokens,
            input / 10 * 9,
            input + output,
            self.clock / 18_000_000 * 18_000 + 18_000,
            used / 3,
            day / 7 * 604_800 + 604_800
        );
        self.close();
    }

    /// The envelope of a line, up to its payload.
    fn open(&mut self, kind: &str) {
        self.clock += 20 + self.random.next() % 6000;
        let (time, ordinal) = (stamp(self.clock), self.ordinal);
        let _ = write!(
            self.text,
            r#"{{"timestamp":"{time}","ordinal":{ordinal},"type":"{kind}","payload":"#
        );
        self.ordinal += 1;
    }

    fn close(&mut self) {
        self.text.push_str("}\n");
    }

    fn sentences(&mut self, least: usize, most: usize) -> String {
        let count = least + self.random.below(most - least + 1);
        let mut one = || self.library.prose.get(self.random.below(self.library.prose.len()));
        (0..count).filter_map(|_| one()).map(String::as_str).collect()
    }

    /// A UUID of version 7 at this instant.
    pub(crate) fn id(&mut self) -> String {
        id(self.clock, &mut self.random)
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            let _ = write!(text, "{:016x}", self.random.next());
        }
        text.truncate(digits);
        text
    }

    fn base64(&mut self, bytes: usize) {
        for _ in 0..bytes / 10 {
            let mut bits = self.random.next();
            for _ in 0..10 {
                let digit = usize::try_from(bits & 63).unwrap_or_default();
                self.text.push(BASE64.get(digit).copied().map_or('A', char::from));
                bits >>= 6;
            }
        }
    }
}

/// A UUID of version 7.
pub(crate) fn id(millis: u64, random: &mut Random) -> String {
    let (a, b) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
        millis >> 16 & 0xffff_ffff,
        millis & 0xffff,
        a & 0xfff,
        0x8000 | (a >> 12 & 0x3fff),
        b & 0xffff_ffff_ffff
    )
}

/// An instant as Codex writes it, RFC 3339 with milliseconds.
pub(crate) fn stamp(millis: u64) -> String {
    instant(millis).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Milliseconds since 1970 as an instant.
pub(crate) fn instant(millis: u64) -> DateTime<Utc> {
    let millis = i64::try_from(millis).unwrap_or_default();
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// Text in memory before it is written, in bytes.
const FLUSH: usize = 256 << 10;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static NO_SOURCE: Source = Source { path: String::new(), lines: Vec::new() };
