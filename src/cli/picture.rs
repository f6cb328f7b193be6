//! How does it look on a terminal?
//!
//! Text from files is escaped here before it is shown; styles are always written and taken out
//! again by [`crate::cli`] where colour is not wanted.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

pub(crate) use crate::disk::space::human as bytes;

/// Column heads and words that matter.
pub(crate) const STRONG: Style = Style::new().bold();
/// Side remarks.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What needs patience or a look.
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default();
/// What is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Some text in a style.
pub(crate) fn styled(text: impl Display, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// Makes text from a file or an archive harmless: control, bidirectional and invisible
/// characters become `\u{..}`.
pub(crate) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_treacherous(c) {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Whether a text has nothing but the letters, digits and signs of ASCII, as most have.
fn is_harmless(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{061c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A sentence for people: paths in the user's home begin with `~`. Behind a quotation mark they
/// do not, for there a shell would not know what it means.
pub(crate) fn at_home(text: &str, user_home: Option<&Path>) -> String {
    let home = user_home.filter(|home| home.parent().is_some()).and_then(Path::to_str);
    let Some(home) = home else { return text.to_owned() };
    let folder = format!("{home}/");
    let mut parts = text.split(&folder);
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let begins_a_path =
            written.chars().next_back().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '`'));
        written.push_str(if begins_a_path { "~" } else { home });
        written.push('/');
        written.push_str(part);
    }
    written
}

/// A path for people: the user's home as `~`, odd characters escaped.
pub(crate) fn path(path: &Path, user_home: Option<&Path>) -> String {
    let short = user_home.filter(|home| home.parent().is_some()).and_then(|home| {
        let rest = path.strip_prefix(home).ok()?;
        Some(if rest.as_os_str().is_empty() { "~".into() } else { Path::new("~").join(rest) })
    });
    plain(&short.as_deref().unwrap_or(path).to_string_lossy())
}

/// A share for people: `55%`, `12.9%`; unknown is `–`.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || "–".to_owned(),
        |share| {
            let text = format!("{share:.1}");
            format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
        },
    )
}

/// What is unknown reads `–`.
pub(crate) fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The beginning of a sentence.
pub(crate) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// A table whose less important columns give way when the terminal is narrow.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

struct Column {
    head: &'static str,
    /// The higher, the earlier it is dropped; 0 stays.
    spare: u8,
    /// How narrow its cells may be cut, if they may.
    floor: Option<usize>,
}

struct Row {
    cells: Vec<String>,
    accent: Option<(String, Style)>,
}

impl Table {
    /// Heads from left to right, each with how readily it is dropped (0: never).
    pub(crate) fn new(columns: &[(&'static str, u8)]) -> Self {
        let columns =
            columns.iter().map(|&(head, spare)| Column { head, spare, floor: None }).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; its cells are escaped here.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let safe = |cell: String| if is_harmless(&cell) { cell } else { plain(&cell) };
        let cells = cells.into_iter().map(safe).collect();
        self.rows.push(Row { cells, accent: None });
    }

    /// Leaves a column out, whatever the width: it would tell nothing.
    pub(crate) fn omit(&mut self, head: &str) {
        if let Some(at) = self.columns.iter().position(|column| column.head == head) {
            self.columns.remove(at);
            self.rows.iter_mut().for_each(|row| drop(row.cells.remove(at)));
        }
    }

    /// Lets the cells of a column be cut to no less than so many columns. One that can be dropped
    /// is cut before anything is dropped, any other when nothing is left to drop.
    pub(crate) fn cut(&mut self, head: &str, floor: usize) {
        if let Some(column) = self.columns.iter_mut().find(|column| column.head == head) {
            column.floor = Some(floor);
        }
    }

    /// Styles the first occurrence of `word` in the row added last.
    pub(crate) fn accent(&mut self, word: &str, style: Style) {
        if let Some(row) = self.rows.last_mut() {
            row.accent = Some((word.to_owned(), style));
        }
    }

    /// The table in at most `width` columns, as long as cutting and dropping what may be helps.
    pub(crate) fn draw(&self, width: Option<usize>) -> String {
        let mut kept: Vec<usize> = (0..self.columns.len()).collect();
        loop {
            let lines = self.lay_out(&kept, None);
            let widest = lines.iter().map(|line| breadth(line)).max().unwrap_or(0);
            let Some(excess) = width.and_then(|width| widest.checked_sub(width)) else {
                return self.dress(&lines);
            };
            if excess == 0 {
                return self.dress(&lines);
            }
            let spare = |&index: &usize| self.columns.get(index).map_or(0, |column| column.spare);
            let most = kept.iter().copied().filter(|index| 0 < spare(index)).max_by_key(spare);
            // How wide a column would be that makes room for all the others, and how wide it must.
            let fitted = |&index: &usize| {
                let floor = self.columns.get(index)?.floor?;
                let cells = self.rows.iter().filter_map(|row| row.cells.get(index));
                let widest = cells.map(|cell| breadth(cell)).max()?;
                (floor < widest).then(|| (index, widest.saturating_sub(excess), floor))
            };
            let enough = |&(_, room, floor): &(usize, usize, usize)| floor <= room;
            let spared = kept.iter().filter(|index| 0 < spare(index));
            if let Some((index, room, _)) = spared.filter_map(fitted).find(enough) {
                return self.dress(&self.lay_out(&kept, Some((index, room))));
            }
            let Some(drop) = most else {
                let cut = kept.iter().find_map(fitted);
                let cut = cut.map(|(index, room, floor)| (index, room.max(floor)));
                return self.dress(&self.lay_out(&kept, cut));
            };
            kept.retain(|&index| index != drop);
        }
    }

    /// The lines with these columns, the cells of one of them cut to so much room.
    fn lay_out<'a>(&'a self, kept: &[usize], cut: Option<(usize, usize)>) -> Vec<String> {
        let fit = |index: usize, cell: &'a str| match cut {
            Some((narrow, room)) if narrow == index => Cow::from(shortened(cell, room)),
            _ => Cow::from(cell),
        };
        let heads =
            kept.iter().filter_map(|&index| Some(fit(index, self.columns.get(index)?.head)));
        let rows = self.rows.iter().map(|row| -> Vec<Cow<'a, str>> {
            let cell = |&index: &usize| row.cells.get(index).map(|cell| fit(index, cell));
            kept.iter().filter_map(cell).collect()
        });
        let rows: Vec<_> = std::iter::once(heads.collect()).chain(rows).collect();
        let widths: Vec<usize> = (0..kept.len())
            .map(|place| {
                rows.iter().filter_map(|row| row.get(place)).map(|cell| breadth(cell)).max()
            })
            // One that is empty throughout keeps its place.
            .map(|widest| widest.unwrap_or_default().max(1))
            .collect();
        let line = |row: &Vec<Cow<'_, str>>| {
            let mut line = String::with_capacity(widths.iter().map(|width| width + 4).sum());
            for (cell, widest) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', widest.saturating_sub(breadth(cell)) + GAP));
            }
            line.truncate(line.trim_end().len());
            line
        };
        rows.iter().map(line).collect()
    }

    fn dress(&self, lines: &[String]) -> String {
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            let row = index.checked_sub(1).and_then(|index| self.rows.get(index));
            let dressed = match row.map(|row| &row.accent) {
                None => styled(line, STRONG),
                Some(None) => line.clone(),
                Some(Some((word, style))) => line.replacen(word, &styled(word, *style), 1),
            };
            text.push_str(&dressed);
            text.push('\n');
        }
        text
    }
}

/// Columns between two cells.
const GAP: usize = 2;

/// Columns of a terminal that a text takes.
fn breadth(text: &str) -> usize {
    if is_harmless(text) { text.len() } else { text.width() }
}

/// The text, or as much of its beginning as fits with `…` behind it.
fn shortened(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        if room <= short.width() {
            short.pop();
            break;
        }
    }
    format!("{}…", short.trim_end())
}

/// Lines of `name  value`, the names aligned.
pub(crate) struct Facts(Vec<(String, String)>);

impl Facts {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Adds all of these behind those that are there.
    pub(crate) fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

impl Display for Facts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        for (name, value) in &self.0 {
            writeln!(f, "{STRONG}{name}{STRONG:#}{:1$}  {value}", "", width - name.width())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn shares_read_well() {
        assert_eq!(percent(Some(12.9)), "12.9%");
        assert_eq!(percent(Some(55.0)), "55%");
        assert_eq!(percent(None), "–");
    }

    #[test]
    #[rustfmt::skip]
    fn the_users_home_is_a_tilde_where_a_shell_takes_it_for_one() {
        let at = |text: &str| at_home(text, Some(Path::new("/home/ada")));
        assert_eq!(at("there is no /home/ada/.codex"),      "there is no ~/.codex");
        assert_eq!(at("/home/ada/a and `mv /home/ada/b x`"), "~/a and `mv ~/b x`");
        assert_eq!(at("mv '/home/ada/a b' x"),               "mv '/home/ada/a b' x");
        assert_eq!(at("/mnt/home/ada/x, /home/adam/y"),      "/mnt/home/ada/x, /home/adam/y");
        assert_eq!(at_home("/etc/x", Some(Path::new("/"))), "/etc/x");
        assert_eq!(at_home("/etc/x", None),                 "/etc/x");
    }

    #[test]
    fn a_name_cannot_move_the_cursor_or_turn_the_line_around() {
        assert_eq!(plain("a\u{1b}[2Jb\n\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\u{a}\\u{202e}c\\u{9b}");
        assert_eq!(plain("jürgen@münchen.example ✓"), "jürgen@münchen.example ✓");
    }

    #[test]
    fn a_table_is_laid_out_as_a_library_for_tables_does_it() {
        use comfy_table::{ContentArrangement, Table as Grid, TableStyle};
        let rows = [
            ["", "ada@example.com", "", "4.1 KiB"],
            ["", "jürgen@münchen.example", "–", "全角文字"],
            ["", "e\u{301}", "a b  c", "x"],
            ["", "\u{1b}[2J", " led", "👩\u{200d}💻"],
        ];
        let mut table = Table::new(&[("", 0), ("NAME", 0), ("", 1), ("SIZE ÄÖ", 0)]);
        let mut grid = Grid::new();
        grid.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
        grid.add_row(["", "NAME", "", "SIZE ÄÖ"]);
        for row in rows {
            table.row(row.map(str::to_owned));
            grid.add_row(row.map(plain));
        }
        for index in 0..4 {
            grid.column_mut(index).unwrap().set_padding((0, 2));
        }
        let expected: Vec<_> = grid.lines().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(table.lay_out(&[0, 1, 2, 3], None), expected);
    }

    #[test]
    fn a_narrow_table_drops_columns_and_never_wraps() {
        let mut table = Table::new(&[("NAME", 0), ("NOTE", 2), ("STATE", 1)]);
        table.row(["ada@example.com".into(), "a rather long note".into(), "ready".into()]);
        let bare = |width| anstream::adapter::strip_str(&table.draw(width)).to_string();
        assert_eq!(
            bare(None),
            "NAME             NOTE                STATE\nada@example.com  a rather long note  ready\n"
        );
        assert_eq!(bare(Some(30)), "NAME             STATE\nada@example.com  ready\n");
        assert_eq!(bare(Some(5)), "NAME\nada@example.com\n");
    }

    #[test]
    fn a_long_remark_is_cut_before_a_column_is_dropped_and_a_name_after_all_were() {
        let mut table = Table::new(&[("NAME", 0), ("STATE", 2), ("NOTE", 1)]);
        table.cut("NAME", 6);
        table.cut("NOTE", 8);
        table.row(["ada@example.com".into(), "ready".into(), "ein größeres Wörterbuch".into()]);
        table.row(["bob".into(), "ready".into(), "kurz".into()]);
        let bare = |width| anstream::adapter::strip_str(&table.draw(Some(width))).to_string();
        assert_eq!(
            bare(36),
            "NAME             STATE  NOTE\nada@example.com  ready  ein größere…\nbob              ready  kurz\n"
        );
        assert_eq!(
            bare(31),
            "NAME             NOTE\nada@example.com  ein größeres…\nbob              kurz\n"
        );
        assert_eq!(bare(15), "NAME\nada@example.com\nbob\n");
        assert_eq!(bare(10), "NAME\nada@examp…\nbob\n");
        assert_eq!(bare(2), "NAME\nada@e…\nbob\n");
        // No character that is two columns wide is cut in half.
        assert_eq!(shortened("日本語", 5), "日本…");
        assert_eq!(shortened("日本語", 4), "日…");
        assert_eq!(shortened("日本語", 6), "日本語");
    }
}
