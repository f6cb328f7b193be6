//! What do the programs, logs and sentences that sessions quote look like?
//!
//! Made once per run and quoted by all sessions: source files whose lines share a dozen names,
//! as those of real programs do, lines of logs and test runs, and sentences. Every line is
//! escaped for a JSON string already, so that quoting it is a copy.

use crate::random::Random;

/// Source files in the library; a session works on some of them.
const FILES: usize = 600;
const SENTENCES: usize = 6000;
const RECORDS: usize = 12_000;
/// What Codex tells the model at the start of each session, in bytes.
const INSTRUCTIONS: usize = 10 << 10;

/// Everything that sessions quote.
pub(crate) struct Library {
    pub(crate) files: Vec<Source>,
    /// Sentences with their full stop and a blank.
    pub(crate) prose: Vec<String>,
    /// Lines of logs and of test runs.
    pub(crate) logs: Vec<String>,
    /// The same at the start of every session, as with real ones.
    pub(crate) instructions: String,
}

/// A source file that a session reads and changes.
pub(crate) struct Source {
    /// Relative to the project, such as `src/store/ledger.rs`.
    pub(crate) path: String,
    /// Its lines without their ends.
    pub(crate) lines: Vec<String>,
}

impl Library {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let files = (0..FILES).map(|number| source(&mut random, number)).collect();
        let prose: Vec<String> = (0..SENTENCES).map(|_| sentence(&mut random)).collect();
        let logs = records(&mut random);
        let mut instructions = String::new();
        for text in prose.iter().cycle().step_by(7) {
            if INSTRUCTIONS < instructions.len() {
                break;
            }
            instructions.push_str(text);
            if text.len() % 5 == 0 {
                instructions.push_str(r"\n\n- ");
            }
        }
        Self { files, prose, logs, instructions }
    }
}

fn source(random: &mut Random, number: usize) -> Source {
    let mut name = || format!("{}_{}", random.skewed(VERBS), random.skewed(NOUNS));
    let names: Vec<String> = (0..14).map(|_| name()).collect();
    let (room, topic) = (random.one(NOUNS), random.one(NOUNS));
    let path = format!("src/{room}/{topic}_{number}.rs");
    let count = 60 + random.below(340);
    let lines = (0..count).map(|_| line(random, &names)).collect();
    Source { path, lines }
}

/// A line of a program in no language in particular, with the names of its file.
#[rustfmt::skip]
fn line(random: &mut Random, names: &[String]) -> String {
    let indent = "    ".repeat(random.below(4));
    let mut name = || names.get(random.below(names.len())).map(String::as_str).unwrap_or_default();
    let (a, b, c) = (name(), name(), name());
    let noun = random.skewed(NOUNS);
    let kind = random.skewed(KINDS);
    let text = match random.below(20) {
        0 => return String::new(),
        1 | 2 => "}".to_owned(),
        3 => format!("// {}", clause(random)),
        4 => format!("pub(crate) fn {a}({noun}: &{kind}) -> Result<{kind}, Error> {{"),
        5 => format!("let {noun} = {a}(&{b}, {c})?;"),
        6 => format!("let mut {a} = {kind}::new();"),
        7 => format!("if {a}.is_empty() && !{b}.contains(&{noun}) {{"),
        8 => format!("for {noun} in {a}.iter().filter(|{noun}| {noun}.{b}()) {{"),
        9 => format!("return Err(Error::{kind}(format!(\\\"{} {{{noun}}}\\\")));", clause(random)),
        10 => format!("self.{a}.push({b}.clone());"),
        11 => format!("assert_eq!({a}({b}), {});", random.below(5000)),
        12 => format!("const {}: usize = {};", a.to_uppercase(), random.below(100_000)),
        13 => format!("match {a}.get({b}) {{"),
        14 => format!("Some({noun}) => {noun}.{a}(),"),
        15 => "None => continue,".to_owned(),
        16 => format!("/// {}.", clause(random)),
        17 => format!("use crate::{noun}::{{{kind}, {a}}};"),
        18 => format!("{a}.{b}(|{noun}| {noun}.{c}).collect::<Vec<_>>()"),
        _ => format!("writeln!(out, \\\"{{{a}}} {{{b}}} {}\\\")?;", random.skewed(WORDS)),
    };
    indent + &text
}

/// Lines that programs print: some of one kind about one thing, then some of another.
fn records(random: &mut Random) -> Vec<String> {
    let mut records = Vec::with_capacity(RECORDS);
    while records.len() < RECORDS {
        let (kind, said) = (random.below(6), clause(random));
        let (noun, other) = (random.skewed(NOUNS), random.one(NOUNS));
        let (hour, mut micros) = (random.below(24), random.next() % 3_000_000_000);
        for _ in 0..8 + random.below(50) {
            micros += random.next() % 200_000;
            let (verb, about) = (random.skewed(VERBS), random.skewed(NOUNS));
            let number = random.below(900);
            records.push(match kind {
                0 => format!("test {noun}::{other}::{verb}s_the_{about}_of_{other} ... ok"),
                1 => format!(
                    "2026-10-27T{hour:02}:{:02}:{:02}.{:06}Z  INFO {noun}::{other}: {said} {about}={number}",
                    micros / 60_000_000,
                    micros / 1_000_000 % 60,
                    micros % 1_000_000
                ),
                2 => format!("   Compiling {about}-{verb} v0.{}.{}", number / 40, number % 9),
                3 => format!("-rw-r--r--  1 ada ada {:>8} Oct 27 {hour:02}:{:02} {about}_{verb}.rs", number * 57, number % 60),
                4 => format!("warning: {said}: `{verb}_{about}` --> src/{noun}/{other}.rs:{number}:{}", number % 30),
                _ => format!("src/{noun}/{other}.rs:{number}:    let {about} = {verb}_{other}(&{noun})?;"),
            });
        }
    }
    records
}

fn sentence(random: &mut Random) -> String {
    let mut text = clause(random);
    for _ in 0..random.below(3) {
        text.push_str(random.one(&[", and ", ", because ", "; ", ", so that ", " and then "]));
        text.push_str(&clause(random));
    }
    if random.below(4) == 0 {
        text = format!("{text} (`{}_{}`)", random.skewed(VERBS), random.skewed(NOUNS));
    }
    text + random.one(&[". ", ". ", ".\\n", ".\\n\\n", ": "])
}

fn clause(random: &mut Random) -> String {
    let mut text = String::new();
    for place in 0..4 + random.below(8) {
        if place != 0 {
            text.push(' ');
        }
        let noun = random.below(4) == 0;
        text.push_str(random.skewed(if noun { NOUNS } else { WORDS }));
    }
    text
}

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "the", "to", "and", "of", "is", "in", "that", "a", "it", "for", "be", "on", "not", "this", "with", "are",
    "as", "if", "so", "when", "now", "we", "by", "from", "was", "which", "will", "there", "but", "its", "have",
    "only", "all", "one", "no", "then", "than", "can", "must", "should", "at", "or", "an", "they", "each",
    "before", "after", "because", "new", "old", "first", "last", "same", "other", "still", "already", "again",
    "where", "what", "how", "would", "could", "here", "also", "both", "without", "into", "out", "up", "back",
    "written", "read", "found", "missing", "wrong", "right", "empty", "full", "open", "closed", "changed",
    "kept", "left", "used", "passes", "fails", "returns", "calls", "takes", "gives", "means", "needs", "holds",
    "looks", "works", "happens", "says", "shows", "makes", "adds", "removes", "checks", "tries", "waits",
    "next", "whole", "single", "every", "some", "few", "many", "more", "less", "most", "least", "between",
    "while", "until", "instead", "rather", "whether", "either", "neither", "unless", "though", "since",
    "careful", "simple", "clear", "small", "large", "fast", "slow", "early", "late", "safe", "broken", "stale",
];

#[rustfmt::skip]
const NOUNS: &[&str] = &[
    "file", "error", "test", "path", "name", "line", "value", "state", "user", "session", "config", "result",
    "request", "response", "token", "index", "buffer", "handler", "client", "server", "event", "message",
    "output", "input", "table", "row", "column", "query", "cache", "store", "ledger", "window", "account",
    "record", "entry", "field", "option", "module", "function", "method", "type", "parser", "writer", "reader",
    "stream", "socket", "thread", "worker", "queue", "task", "job", "lock", "signal", "timer", "clock", "zone",
    "folder", "archive", "member", "chunk", "digest", "snapshot", "backup", "journal", "transaction", "commit",
    "branch", "patch", "diff", "merge", "build", "target", "package", "version", "release", "feature", "flag",
    "command", "argument", "environment", "variable", "process", "pipe", "terminal", "screen", "widget", "button",
    "layout", "style", "colour", "theme", "font", "image", "template", "schema", "migration", "database",
    "connection", "pool", "limit", "quota", "budget", "invoice", "payment", "order", "customer", "product",
    "inventory", "shipment", "address", "country", "language", "translation", "currency", "price", "discount",
];

#[rustfmt::skip]
const VERBS: &[&str] = &[
    "read", "write", "parse", "check", "find", "make", "load", "store", "send", "open", "close", "update",
    "remove", "insert", "merge", "split", "sort", "filter", "count", "format", "render", "build", "resolve",
    "validate", "encode", "decode", "compress", "restore", "verify", "commit", "rollback", "lock", "release",
    "spawn", "wait", "retry", "schedule", "cancel", "subscribe", "publish", "connect", "listen", "accept",
];

#[rustfmt::skip]
const KINDS: &[&str] = &[
    "String", "Path", "Value", "Entry", "Config", "Session", "Error", "Vec<u8>", "Option<usize>", "Request",
    "Response", "Account", "Record", "Token", "Event", "Buffer", "Handle", "Window", "Snapshot", "Ledger",
];
