//! How do a request and an answer look on the wire?
//!
//! Just the HTTP/1.1 that Codex speaks to its backend: a request with a known length, one answer,
//! then the connection ends. Neither this file nor the lab needs more.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde_json::{Value, json};

/// No request of a test is longer; a length beyond it is a bug of the mock.
const LONGEST_BODY: u64 = 64 << 20;

/// A request, read whole.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Reads one request; `None` if the peer left without asking.
    pub(crate) fn read(stream: &mut impl Read) -> io::Result<Option<Request>> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::other("not a request line"));
        };
        let path = target.split('?').next().unwrap_or(target).trim_end_matches('/').to_owned();
        let mut request =
            Request { method: method.to_owned(), path, headers: Vec::new(), body: Vec::new() };
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = request.header("content-length").map_or(Ok(0), str::parse::<u64>);
        let length = length.map_err(io::Error::other)?.min(LONGEST_BODY);
        stream.take(length).read_to_end(&mut request.body)?;
        Ok(Some(request))
    }

    /// The value of a header, whose name is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The token behind `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The body as JSON, null if it is none (Codex compresses it unless told not to).
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What people and models said in a turn's input, oldest first.
    pub(crate) fn texts(&self) -> Vec<String> {
        let body = self.json();
        let items = body["input"].as_array().map(Vec::as_slice).unwrap_or_default();
        let said =
            items.iter().filter(|item| item["role"] == "user" || item["role"] == "assistant");
        let parts = said.filter_map(|item| item["content"].as_array()).flatten();
        parts.filter_map(|part| part["text"].as_str()).map(str::to_owned).collect()
    }
}

/// What is sent back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

/// The two kinds of body Codex understands.
#[derive(Debug)]
pub(crate) enum Body {
    Json(Value),
    /// Server-sent events: the first at once, the rest when replies flow.
    Events(Vec<Value>),
}

impl Answer {
    /// A JSON answer without further headers.
    pub(crate) fn json(status: u16, body: Value) -> Answer {
        Answer { status, headers: Vec::new(), body: Body::Json(body) }
    }

    /// An error in the shape of the service's.
    pub(crate) fn error(status: u16, code: &str) -> Answer {
        Answer::json(status, json!({ "error": { "code": code, "message": "said by the mock" } }))
    }

    /// Writes the answer; `flow` is waited for between the first event and the rest.
    pub(crate) fn write(&self, stream: &mut impl Write, flow: impl FnOnce()) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Mock\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::Json(value) => {
                let body = value.to_string();
                head.push_str("content-type: application/json\r\n");
                head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
                stream.write_all(head.as_bytes())?;
            }
            Body::Events(events) => {
                head.push_str("content-type: text/event-stream\r\n\r\n");
                stream.write_all(head.as_bytes())?;
                let (first, rest) = events.split_at(events.len().min(1));
                send(stream, first)?;
                flow();
                send(stream, rest)?;
            }
        }
        stream.flush()
    }
}

/// Sends events; each is named by its own `type`.
fn send(stream: &mut impl Write, events: &[Value]) -> io::Result<()> {
    for event in events {
        let kind = event["type"].as_str().unwrap_or("message");
        write!(stream, "event: {kind}\ndata: {event}\n\n")?;
        stream.flush()?;
    }
    Ok(())
}
