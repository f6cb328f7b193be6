//! What does the text of `/status` say about an account's quota?
//!
//! Accepted is what Codex draws, in a box or without one, wrapped or cut off, coloured or
//! not; the sentence it prints at the limit; and the lines `Email :` and `Quota :` of people's
//! own helpers. The figures are for people: percentages are rounded, times are local and have
//! no year. The app-server and the session files know better where they can be had.

mod lines;
mod moment;
mod panel;

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regex::Regex;

use self::lines::Line;
use self::moment::Sight;
use crate::account::Email;
use crate::time::{Stamp, Zone};
use crate::window::Window;

/// The largest text that is read, in bytes.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Most lines that one wrapped value or sentence may take.
const MAX_WRAPPED: usize = 8;

/// What a status text says. Whatever it does not say is `None` or missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusText {
    /// The account's address.
    pub email: Option<Email>,
    /// The plan as Codex names it for people (`Plus`, `Pro 200`).
    pub plan: Option<String>,
    /// The workspace, its name or its id.
    pub workspace: Option<String>,
    /// The general windows, in the order of the text; those of further limits (a special
    /// model's) are left out. One without a percentage and without a reset is none.
    pub windows: Vec<Window>,
    /// `Some(true)` if Codex says that the limit is hit, after the panel or without one.
    /// A panel by itself says neither yes nor no: look at its windows.
    pub limit_reached: Option<bool>,
    /// When that sentence says to try again; it does not tell which window is meant.
    pub limit_resets_at: Option<Stamp>,
    /// The lines this was read from, without colours and borders, for the record.
    pub text: String,
}

/// Why a text is no status. None of them repeats the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StatusError {
    /// Nothing but blanks.
    #[error("the status text is empty")]
    Empty,
    /// Zero bytes or mostly broken UTF-8.
    #[error("the status text is binary data")]
    NotText,
    /// Over [`MAX_BYTES`].
    #[error("the status text is larger than {} MiB", MAX_BYTES / 1024 / 1024)]
    TooLarge,
    /// Neither an account nor a limit in it.
    #[error("the text shows no status panel")]
    NoPanel,
    /// A panel from which a narrow terminal cut whatever could be read.
    #[error("the status panel is cut off")]
    CutOff,
}

impl StatusError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::CutOff => {
                Some("widen the terminal to 100 columns and run /status again".to_owned())
            }
            Self::NoPanel | Self::Empty => {
                Some("run /status in Codex and copy what it shows".to_owned())
            }
            Self::NotText | Self::TooLarge => None,
        }
    }
}

/// Reads the text of a screen on which `/status` was run; of several panels the last counts.
///
/// Times are on the wall clock of `zone`; those without a day or year are the ones nearest to
/// `seen_at`, see [`StatusText`]. `reference_year` replaces the nearest year.
///
/// # Errors
///
/// [`StatusError`] when there is nothing to read. A panel that shows an account but no
/// figures (yet) is no error and has no windows.
pub fn parse(
    bytes: &[u8],
    zone: &Zone,
    seen_at: DateTime<Utc>,
    reference_year: Option<i32>,
) -> Result<StatusText, StatusError> {
    let sight = Sight { zone, seen_at, reference_year };
    let lines = lines::lines(&decode(bytes)?);
    if lines.is_empty() {
        return Err(StatusError::Empty);
    }

    let panel = panel::last(&lines);
    let mut status = panel.as_ref().map(|panel| panel.read(&sight)).unwrap_or_default();
    let sentence = sentence(&lines, &sight).filter(|sentence| {
        // A panel with figures is newer than a sentence that stands above it.
        status.windows.is_empty()
            || panel.as_ref().is_none_or(|panel| panel.starts_at() < sentence.line)
    });
    if let Some(sentence) = sentence {
        status.limit_reached = Some(true);
        status.limit_resets_at = sentence.resets_at.map(|at| zone.stamp(at));
        if !status.text.is_empty() {
            status.text.push('\n');
        }
        status.text.push_str(&sentence.text);
        return Ok(status);
    }
    match panel {
        None => Err(StatusError::NoPanel),
        Some(panel) if status.email.is_none() && status.windows.is_empty() && panel.is_cut() => {
            Err(StatusError::CutOff)
        }
        Some(_) => Ok(status),
    }
}

fn decode(bytes: &[u8]) -> Result<String, StatusError> {
    if MAX_BYTES < bytes.len() {
        return Err(StatusError::TooLarge);
    }
    if bytes.contains(&0) {
        return Err(StatusError::NotText);
    }
    // A capture may begin or end within a character; that is no reason to refuse it.
    let text = String::from_utf8_lossy(bytes).into_owned();
    let broken = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
    if text.chars().count() < broken.saturating_mul(10) {
        return Err(StatusError::NotText);
    }
    Ok(text)
}

static AGAIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)\btry again (?P<when>(?:at|in)\s.+?)\s*(?:\.(?:[\s"]|$)|"|$)"#).ok()
});

/// What Codex says when a turn fails at the limit.
struct Sentence {
    /// The index of its first line.
    line: usize,
    resets_at: Option<DateTime<Utc>>,
    text: String,
}

/// The last such sentence that is about the general limit.
fn sentence(lines: &[Line], sight: &Sight<'_>) -> Option<Sentence> {
    const SAYING: &str = "hit your usage limit";
    let is_marked = |line: &Line| line.text.starts_with(['›', '•', '■', '⚠']);
    lines.iter().enumerate().rev().find_map(|(at, line)| {
        if line.text.starts_with('›') || !line.text.contains(SAYING) {
            return None;
        }
        let following = lines.get(at + 1..).unwrap_or_default().iter();
        let wrapped = following.take(MAX_WRAPPED - 1).take_while(|line| !is_marked(line));
        let mut text = line.text.trim_start_matches(['■', ' ']).to_owned();
        for line in wrapped {
            text.push(' ');
            text.push_str(&line.text);
        }
        let (_, after) = text.split_once(SAYING)?;
        if after.starts_with(" for ") {
            return None;
        }
        let again = AGAIN.as_ref().and_then(|again| again.captures(&text));
        let when = again.as_ref().and_then(|found| found.name("when"));
        let resets_at = when.and_then(|when| {
            let when = when.as_str();
            moment::read(when.strip_prefix("at ").unwrap_or(when), sight)
        });
        // What follows on the screen does not belong to it.
        let end = match (&again, resets_at) {
            (Some(found), Some(_)) => found.get(0).map_or(0, |whole| whole.end()),
            _ => line.text.trim_start_matches(['■', ' ']).len(),
        };
        let said = text.get(..end).unwrap_or_default().trim_end().to_owned();
        Some(Sentence { line: at, resets_at, text: said })
    })
}
