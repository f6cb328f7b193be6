//! How does it look on a terminal?
//!
//! Text from files is escaped here before it is shown; styles are always written and taken out
//! again by [`crate::cli`] where colour is not wanted.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write as _};
use std::path::Path;

use anstream::adapter::strip_str;
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

/// A text without its styles. Of what has none it takes no more than a copy.
pub(crate) fn undressed(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        // No control character in any form, but for the one at the end.
        let is_bare = |byte: u8| b' ' <= byte && byte != 0x7f && byte != 0xc2;
        let content = line.strip_suffix('\n').unwrap_or(line);
        match content.bytes().fold(true, |bare, byte| bare & is_bare(byte)) {
            true => bare.push_str(line),
            false => bare.extend(strip_str(line)),
        }
    }
    bare
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
    // Without a look at each whether to go on, many are looked at in one step.
    text.bytes().fold(true, |harmless, byte| harmless & (b' '..=b'~').contains(&byte))
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

/// How what is unknown reads.
pub(crate) const UNKNOWN: &str = "–";

/// What is unknown reads `–`.
pub(crate) fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
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
///
/// It may have thousands of rows: its cells are one text, and it is laid out in one go.
pub(crate) struct Table {
    columns: Vec<Column>,
    /// All cells, row by row, one behind the other.
    text: String,
    cells: Vec<Cell>,
    /// The rows in which a word is styled.
    accents: BTreeMap<usize, (String, Style)>,
}

struct Column {
    head: &'static str,
    /// The higher, the earlier it is dropped; 0 stays.
    spare: u8,
    /// How narrow its cells may be cut, if they may.
    floor: Option<usize>,
    /// Left out, whatever the width.
    omitted: bool,
}

struct Cell {
    /// Where it ends in the text; it begins where the one before it ends.
    end: usize,
    /// Columns of a terminal that it takes.
    breadth: usize,
}

/// A column of which a table shows no more than so much.
#[derive(Clone, Copy)]
struct Cut {
    column: usize,
    room: usize,
}

impl Table {
    /// Heads from left to right, each with how readily it is dropped (0: never).
    pub(crate) fn new(columns: &[(&'static str, u8)]) -> Self {
        let column = |&(head, spare)| Column { head, spare, floor: None, omitted: false };
        let columns = columns.iter().map(column).collect();
        Self { columns, text: String::new(), cells: Vec::new(), accents: BTreeMap::new() }
    }

    /// Adds a row; its cells are escaped here.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        for cell in cells {
            self.cell(|text| text.push_str(&cell));
        }
    }

    /// Adds the next cell of a row, which is appended to what it is given, and escaped here.
    pub(crate) fn cell(&mut self, write: impl FnOnce(&mut String)) {
        let from = self.text.len();
        write(&mut self.text);
        let written = self.text.get(from..).unwrap_or_default();
        let breadth = match is_harmless(written) {
            true => written.len(),
            false => {
                let safe = plain(written);
                self.text.truncate(from);
                self.text.push_str(&safe);
                safe.width()
            }
        };
        self.cells.push(Cell { end: self.text.len(), breadth });
    }

    /// Leaves a column out, whatever the width: it would tell nothing.
    pub(crate) fn omit(&mut self, head: &str) {
        if let Some(column) = self.columns.iter_mut().find(|column| column.head == head) {
            column.omitted = true;
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
        if let Some(row) = self.height().checked_sub(1) {
            self.accents.insert(row, (word.to_owned(), style));
        }
    }

    /// The table in at most `width` columns, as long as cutting and dropping what may be helps.
    pub(crate) fn draw(&self, width: Option<usize>) -> String {
        let shown = self.columns.iter().enumerate().filter(|(_, column)| !column.omitted);
        let mut kept: Vec<usize> = shown.map(|(index, _)| index).collect();
        let Some(width) = width else { return self.lay_out(&kept, None) };
        loop {
            let excess = self.breadth(&kept).saturating_sub(width);
            if excess == 0 {
                return self.lay_out(&kept, None);
            }
            let spare = |&index: &usize| self.columns.get(index).map_or(0, |column| column.spare);
            let most = kept.iter().copied().filter(|index| 0 < spare(index)).max_by_key(spare);
            // How wide a column would be that makes room for all the others, and how wide it must.
            let fitted = |&index: &usize| {
                let floor = self.columns.get(index)?.floor?;
                let widest = self.widest(index);
                (floor < widest).then(|| (index, widest.saturating_sub(excess), floor))
            };
            let enough = |&(_, room, floor): &(usize, usize, usize)| floor <= room;
            let spared = kept.iter().filter(|index| 0 < spare(index));
            if let Some((column, room, _)) = spared.filter_map(fitted).find(enough) {
                return self.lay_out(&kept, Some(Cut { column, room }));
            }
            let Some(drop) = most else {
                let cut = kept.iter().find_map(fitted);
                let cut = cut.map(|(column, room, floor)| Cut { column, room: room.max(floor) });
                return self.lay_out(&kept, cut);
            };
            kept.retain(|&index| index != drop);
        }
    }

    /// How many rows there are.
    fn height(&self) -> usize {
        self.cells.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    /// A cell, and the columns of a terminal that it takes; the row above the first is the heads.
    fn at(&self, row: Option<usize>, column: usize) -> (&str, usize) {
        let Some(row) = row else {
            let head = self.columns.get(column).map_or("", |column| column.head);
            return (head, breadth(head));
        };
        let index = row * self.columns.len() + column;
        let end = |index: usize| self.cells.get(index).map(|cell| cell.end);
        let from = index.checked_sub(1).and_then(end).unwrap_or(0);
        let text = end(index).and_then(|to| self.text.get(from..to)).unwrap_or_default();
        (text, self.cells.get(index).map_or(0, |cell| cell.breadth))
    }

    /// The rows and, above them, the heads.
    fn rows(&self) -> impl Iterator<Item = Option<usize>> {
        std::iter::once(None).chain((0..self.height()).map(Some))
    }

    /// How wide the widest cell of a column is, but for its head.
    fn widest(&self, column: usize) -> usize {
        let cells = self.cells.iter().skip(column).step_by(self.columns.len().max(1));
        cells.map(|cell| cell.breadth).max().unwrap_or(0)
    }

    /// How wide each of these columns is; one that is empty throughout keeps its place.
    fn widths(&self, kept: &[usize], cut: Option<Cut>) -> Vec<usize> {
        let width = |&index: &usize| match cut.filter(|cut| cut.column == index) {
            Some(Cut { room, .. }) => {
                let cells = self.rows().map(|row| breadth(&shortened(self.at(row, index).0, room)));
                cells.max().unwrap_or(0).max(1)
            }
            None => self.widest(index).max(self.at(None, index).1).max(1),
        };
        kept.iter().map(width).collect()
    }

    /// How wide the widest line with these columns is, without the blanks at its end.
    fn breadth(&self, kept: &[usize]) -> usize {
        let widths = self.widths(kept, None);
        let line = |row| {
            let mut from = 0;
            let mut end = 0;
            for (&index, width) in kept.iter().zip(&widths) {
                let (text, taken) = self.at(row, index);
                let trimmed = text.trim_end();
                if !trimmed.is_empty() {
                    let is_whole = trimmed.len() == text.len();
                    end = from + if is_whole { taken } else { breadth(trimmed) };
                }
                from += width + GAP;
            }
            end
        };
        self.rows().map(line).max().unwrap_or(0)
    }

    /// The lines with these columns, the cells of one of them cut to so much room.
    fn lay_out(&self, kept: &[usize], cut: Option<Cut>) -> String {
        let widths = self.widths(kept, cut);
        let length: usize = widths.iter().map(|width| width + GAP).sum();
        // A little more for signs that take more bytes than columns.
        let mut all = String::with_capacity((self.height() + 1) * (length + 8));
        for row in self.rows() {
            let begin = all.len();
            for (&index, width) in kept.iter().zip(&widths) {
                let (text, taken) = self.at(row, index);
                let taken = match cut.filter(|cut| cut.column == index) {
                    Some(Cut { room, .. }) => {
                        let short = shortened(text, room);
                        all.push_str(&short);
                        breadth(&short)
                    }
                    None => {
                        all.push_str(text);
                        taken
                    }
                };
                pad(&mut all, width.saturating_sub(taken) + GAP);
            }
            let line = all.get(begin..).unwrap_or_default().trim_end();
            let dressed = match row {
                None => Some(styled(line, STRONG)),
                Some(row) => self
                    .accents
                    .get(&row)
                    .map(|(word, style)| line.replacen(word.as_str(), &styled(word, *style), 1)),
            };
            let end = begin + line.len();
            match dressed {
                Some(dressed) => {
                    all.truncate(begin);
                    all.push_str(&dressed);
                }
                None => all.truncate(end),
            }
            all.push('\n');
        }
        all
    }
}

/// Appends so many blanks.
fn pad(text: &mut String, mut count: usize) {
    const BLANKS: &str = "                                ";
    while 0 < count {
        let some = BLANKS.get(..count).unwrap_or(BLANKS);
        text.push_str(some);
        count -= some.len();
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
    fn a_text_is_undressed_as_a_library_does_it() {
        let dressed = styled("a", BAD)
            + "–é\u{e9}\n"
            + &styled("b", FAINT)
            + "\tc\u{7f}\u{9b}\nplain ü\n\ntail";
        assert_eq!(undressed(&dressed), strip_str(&dressed).to_string());
        assert!(!undressed(&dressed).contains('\u{1b}'));
        assert_eq!(undressed(""), "");
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
        let drawn = undressed(&table.draw(None));
        assert_eq!(drawn.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_narrow_table_drops_columns_and_never_wraps() {
        let mut table = Table::new(&[("NAME", 0), ("NOTE", 2), ("STATE", 1)]);
        table.row(["ada@example.com".into(), "a rather long note".into(), "ready".into()]);
        let bare = |width| strip_str(&table.draw(width)).to_string();
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
        let bare = |width| strip_str(&table.draw(Some(width))).to_string();
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
