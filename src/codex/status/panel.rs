//! Which labels and values does a panel consist of?
//!
//! A screen is parted into panels, a panel into entries of a label and a value that may take
//! several lines. The general windows come first; a heading without a value, "X limit:",
//! begins those of a further limit, which repeat the same labels and do not count.

use std::sync::LazyLock;

use regex::Regex;

use super::lines::Line;
use super::moment::{self, Sight};
use super::{MAX_WRAPPED, StatusText};
use crate::account::Email;
use crate::window::Window;

/// Most lines of a panel that are kept as its text.
const MAX_LINES: usize = 100;

const WEEK: u32 = 10_080;

/// What the label of a line says that its value is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Label {
    Account,
    Workspace,
    /// A general window of so many minutes, unless a [`Label::Further`] stands above it.
    Window(u32),
    /// "X limit"; without a value it is the heading of a further limit's own windows.
    Further,
    /// "Limits", which stands where windows would if there were figures.
    NoFigures,
    Other,
}

/// One label with its value, put together from all its lines.
struct Entry {
    label: Label,
    value: String,
    indent: usize,
    /// The column its value begins in, if it begins beside its label.
    column: Option<usize>,
    /// How many lines it has.
    lines: usize,
    /// Whether its last line may be cut off.
    cut: bool,
}

/// What stands between one header and the next.
#[derive(Default)]
pub(super) struct Panel {
    /// The index of its header, or of the first line that says anything.
    starts_at: usize,
    /// Whether Codex's header stands above it.
    headed: bool,
    entries: Vec<Entry>,
    text: Vec<String>,
}

static LABEL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?P<label>[[:alnum:]][^:]{0,60}?)\s*:\s*(?P<value>.*)$").ok());
static LENGTH: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?P<count>[0-9]{1,3})[ -]?(?P<unit>m|h|d|w)(?:in|r|our|ay|eek)?s? limit$").ok()
});
static PERCENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(?:^|[^0-9.,\-−])(?P<number>[0-9]{1,3}(?:[.,][0-9]{1,9})?)\s*%\s*(?P<word>left|remaining|used)\b",
    )
    .ok()
});
static RESET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?P<open>\()?\s*\bresets?:?\s+(?P<when>[^()]*)(?P<close>\))?").ok()
});

/// The last panel on a screen, if there is one.
pub(super) fn last(lines: &[Line]) -> Option<Panel> {
    panels(lines).into_iter().rfind(Panel::says_anything)
}

/// Parts the lines into panels, in their order.
fn panels(lines: &[Line]) -> Vec<Panel> {
    let mut panels = vec![Panel::default()];
    // Prompts, answers and notices are conversation, which may look like anything.
    let mut conversation = false;
    for (at, line) in lines.iter().enumerate() {
        let said = line.text.trim_start_matches(['›', ' ']);
        if said.starts_with(">_ OpenAI Codex") || said == "/status" {
            conversation = false;
            panels.push(Panel { starts_at: at, headed: true, ..Panel::default() });
        } else if line.text.starts_with(['›', '•', '■']) {
            conversation = true;
        }
        if conversation {
            continue;
        }
        let Some(panel) = panels.last_mut() else { break };
        let labelled = labelled(line);
        if panel.continues(line, labelled.as_ref().map(|(label, _, _)| *label)) {
            panel.append(line);
        } else if let Some((label, value, column)) = labelled {
            let again = label == Label::Account
                && panel.entries.iter().any(|entry| entry.label == Label::Account);
            if again {
                panels.push(Panel { starts_at: at, ..Panel::default() });
            }
            let Some(panel) = panels.last_mut() else { break };
            if !panel.headed && !panel.says_anything() {
                panel.starts_at = at;
            }
            panel.entries.push(Entry {
                label,
                value: value.to_owned(),
                indent: line.indent,
                column,
                lines: 1,
                cut: line.cut,
            });
        }
        if let Some(panel) = panels.last_mut()
            && (panel.headed || panel.says_anything())
            && panel.text.len() < MAX_LINES
        {
            panel.text.push(line.text.clone());
        }
    }
    panels
}

/// The label of a line, its value and the column that begins in.
fn labelled(line: &Line) -> Option<(Label, &str, Option<usize>)> {
    // The name of a further limit may be of any length and hold colons itself.
    if let Some(name) = line.text.strip_suffix(" limit:")
        && Label::of(&format!("{name} limit")) == Label::Further
    {
        return Some((Label::Further, "", None));
    }
    let found = LABEL.as_ref()?.captures(&line.text)?;
    let (name, value) = (found.name("label")?.as_str(), found.name("value")?);
    if name.to_lowercase().starts_with("resets") {
        return None;
    }
    let before = line.text.get(..value.start())?.chars().count();
    let column = (!value.is_empty()).then_some(line.indent + before);
    Some((Label::of(name), value.as_str(), column))
}

impl Label {
    fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        match name.as_str() {
            "account" | "email" | "e-mail" => Self::Account,
            "chatgpt workspace" | "workspace" => Self::Workspace,
            "limits" => Self::NoFigures,
            "quota" => Self::Window(WEEK),
            "hourly limit" => Self::Window(60),
            "daily limit" => Self::Window(1_440),
            "weekly limit" => Self::Window(WEEK),
            "monthly limit" => Self::Window(43_200),
            "annual limit" => Self::Window(525_600),
            _ => match length(&name) {
                Some(minutes) => Self::Window(minutes),
                None if name.ends_with(" limit") => Self::Further,
                None => Self::Other,
            },
        }
    }
}

/// The minutes of `5h limit` and the like.
fn length(name: &str) -> Option<u32> {
    let found = LENGTH.as_ref()?.captures(name)?;
    let unit = match found.name("unit")?.as_str() {
        "m" => 1,
        "h" => 60,
        "d" => 1_440,
        _ => WEEK,
    };
    found.name("count")?.as_str().parse::<u32>().ok()?.checked_mul(unit).filter(|m| 0 < *m)
}

impl Panel {
    /// The index of its header, or of the first line that says anything.
    pub(super) fn starts_at(&self) -> usize {
        self.starts_at
    }

    /// Whether it is a panel at all and not the banner Codex greets with.
    fn says_anything(&self) -> bool {
        self.entries.iter().any(|entry| !matches!(entry.label, Label::Further | Label::Other))
    }

    /// Whether a border cut off what matters. A closed bracket is the end of its line anyway.
    pub(super) fn is_cut(&self) -> bool {
        self.entries.iter().any(|entry| {
            entry.cut
                && !entry.value.ends_with(')')
                && matches!(entry.label, Label::Account | Label::Window(_))
        })
    }

    /// Whether a line goes on with the last entry.
    fn continues(&self, line: &Line, label: Option<Label>) -> bool {
        let Some(entry) = self.entries.last().filter(|entry| entry.lines < MAX_WRAPPED) else {
            return false;
        };
        if entry.column.is_some_and(|column| entry.indent < column && column <= line.indent) {
            return true;
        }
        if label.is_some_and(|label| label != Label::Other) {
            return false;
        }
        let begins_reset = line.text.starts_with('(') || line.text.starts_with("resets ");
        let goes_on = !entry.cut && is_open(&entry.value);
        let hangs = entry.column.is_none() && entry.indent < line.indent;
        begins_reset || goes_on || hangs
    }

    fn append(&mut self, line: &Line) {
        let Some(entry) = self.entries.last_mut() else { return };
        // An address that is too long for its column is broken anywhere.
        let broken = entry.label == Label::Account
            && entry.value.contains('@')
            && !entry.value.contains(char::is_whitespace)
            && !line.text.starts_with('(');
        if !entry.value.is_empty() && !broken {
            entry.value.push(' ');
        }
        entry.value.push_str(&line.text);
        entry.column = entry.column.or(Some(line.indent));
        entry.lines += 1;
        entry.cut = line.cut;
    }

    /// Whether the account it shows is whole and yet no address that an account can have: whose
    /// figures these are cannot be told then.
    pub(super) fn names_an_odd_account(&self) -> bool {
        let shown = self.entries.iter().rfind(|entry| entry.label == Label::Account);
        shown.is_some_and(|entry| {
            let is_whole = !entry.cut && !entry.value.ends_with('.') && !entry.value.ends_with('…');
            is_whole && entry.value.contains('@') && account(entry).0.is_none()
        })
    }

    /// Takes the entries for what they are.
    pub(super) fn read(&self, sight: &Sight<'_>) -> StatusText {
        let mut status = StatusText { text: self.text.join("\n"), ..StatusText::default() };
        let mut further = false;
        let mut met = Vec::new();
        for entry in &self.entries {
            match entry.label {
                Label::Account => (status.email, status.plan) = account(entry),
                Label::Workspace => {
                    let whole = !entry.cut && !entry.value.is_empty();
                    status.workspace = whole.then(|| entry.value.clone());
                }
                // Codex never repeats a label but under a heading, even one that got lost.
                Label::Window(minutes) if self.headed && met.contains(&minutes) => further = true,
                Label::Window(minutes) if !further => {
                    met.push(minutes);
                    status.windows.retain(|window| window.minutes != minutes);
                    status.windows.extend(window(minutes, entry, sight));
                }
                Label::Further => further |= entry.value.is_empty(),
                Label::Window(_) | Label::NoFigures | Label::Other => {}
            }
        }
        status
    }
}

/// Whether a parenthesis has not been closed yet.
fn is_open(value: &str) -> bool {
    value.rfind('(') > value.rfind(')')
}

/// The address and the plan of `user@example.com (Plus)`.
fn account(entry: &Entry) -> (Option<Email>, Option<String>) {
    let Some(at) = entry.value.find('@') else { return (None, None) };
    let (before, after) = entry.value.split_at(at);
    let start = at - before.rsplit(char::is_whitespace).next().map_or(0, str::len);
    let end = after
        .find(|c: char| c.is_whitespace() || c == '(')
        .map_or(entry.value.len(), |blank| at + blank);
    let word = entry.value.get(start..end).unwrap_or_default();
    let rest = entry.value.get(end..).unwrap_or_default().trim();

    // Where nothing follows the address, a border right behind it may have cut it.
    let cut = entry.cut && rest.is_empty();
    let email = if cut { None } else { address(word) };
    let plan = rest
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .map(|(plan, _)| plan.trim().to_owned())
        .filter(|plan| !plan.is_empty() && plan.len() <= 64);
    (email, plan)
}

/// An address without the punctuation around it.
fn address(word: &str) -> Option<Email> {
    let begun = word.trim_start_matches(|c: char| "<([{\"'`,;:*".contains(c));
    let begun = begun.strip_prefix("mailto:").unwrap_or(begun);
    let bare = begun.trim_end_matches(|c: char| !c.is_alphanumeric());
    // `user@example.` is more likely the beginning of an address than one with a full stop.
    let torn = bare.len() < begun.len() && !bare.rsplit('@').next()?.contains('.');
    if torn { None } else { bare.parse().ok() }
}

fn window(minutes: u32, entry: &Entry, sight: &Sight<'_>) -> Option<Window> {
    let used_percent = used_percent(&entry.value);
    let resets_at = RESET
        .as_ref()
        .and_then(|reset| reset.captures(&entry.value))
        // A bracket that is not closed has lost its end, and maybe a day with it.
        .filter(|found| match found.name("open") {
            Some(_) => found.name("close").is_some(),
            None => !entry.cut,
        })
        .and_then(|found| moment::read(found.name("when")?.as_str(), sight))
        .map(|at| sight.zone.stamp(at));
    let known = used_percent.is_some() || resets_at.is_some();
    known.then_some(Window { minutes, used_percent, resets_at })
}

/// How much is used, from what is left or used; shares over 100 are unknown.
fn used_percent(value: &str) -> Option<f64> {
    let found = PERCENT.as_ref()?.captures(value)?;
    let number: f64 = found.name("number")?.as_str().replace(',', ".").parse().ok()?;
    let used = found.name("word")?.as_str().eq_ignore_ascii_case("used");
    let percent = if used { number } else { 100.0 - number };
    // Subtracting leaves digits that nobody wrote: 100 - 99.9 is not 0.1 to a computer.
    (number <= 100.0).then(|| (percent * 1e6).round() / 1e6)
}
