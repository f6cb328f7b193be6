//! What does a captured screen say, once everything that only paints is gone?
//!
//! Escape sequences, borders and invisible characters go; what remains are lines of text with
//! their indentation. What the lines mean is `status`'s work.

/// One line of a screen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// Its text without borders and without blanks around it.
    pub(super) text: String,
    /// How many columns of blanks stand before the text, not counting a border.
    pub(super) indent: usize,
    /// Whether the text may go on behind the right border: narrow boxes cut it off there.
    pub(super) cut: bool,
}

/// Most columns that one "cursor forward" may stand for.
const MAX_FORWARD: usize = 500;

/// The lines of a screen that hold anything but borders.
pub(super) fn lines(screen: &str) -> Vec<Line> {
    plain(screen).split('\n').filter_map(line).collect()
}

fn line(raw: &str) -> Option<Line> {
    let raw = raw.trim_end();
    let body = raw.trim_start();
    let inner = body.trim_start_matches(is_border);
    let boxed = inner.len() < body.len();
    // Without a border on the left the indentation is that of the line itself.
    let indented = if boxed { inner } else { raw };
    let whole = indented.trim_end_matches(is_border);
    let text = whole.trim_matches(|c: char| c.is_whitespace() || is_border(c));
    let blanks_before_border = whole.len() - whole.trim_end().len();
    // Codex draws with U+2502; pipes belong to people's own tables, which cut nothing off.
    let border = indented.get(whole.len()..).filter(|border| !border.contains('|'));
    let reaches_border =
        border.is_some_and(|border| !border.is_empty()) && blanks_before_border <= 1;
    (!text.is_empty()).then(|| Line {
        text: text.to_owned(),
        indent: indented.chars().take_while(|c| c.is_whitespace()).count(),
        cut: reaches_border || text.ends_with('…'),
    })
}

/// A character that boxes are drawn with: U+2500..=U+257F and the pipe. The blocks of a
/// progress bar are not among them.
fn is_border(c: char) -> bool {
    matches!(c, '\u{2500}'..='\u{257f}' | '|')
}

/// A character that takes no column or turns the direction of the text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Takes escape sequences and control characters out of a text.
///
/// A cursor that moves right leaves blanks and one that moves elsewhere ends the line, as it
/// would have looked. Line ends become `\n`, tabs blanks.
fn plain(screen: &str) -> String {
    let mut out = String::with_capacity(screen.len());
    let mut rest = screen.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => match rest.next() {
                Some('[') => control_sequence(&mut rest, &mut out),
                Some(']' | 'P' | 'X' | '^' | '_') => control_string(&mut rest),
                // ESC, blanks up to a slash, one more: a character set or the like.
                Some(' '..='/') => {
                    while rest.next_if(|c| matches!(c, ' '..='/')).is_some() {}
                    rest.next_if(|c| matches!(c, '0'..='~'));
                }
                // "Next line", whose other form is a character of its own.
                Some('E') | None => out.push('\n'),
                Some(_) => {}
            },
            '\u{9b}' => control_sequence(&mut rest, &mut out),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => control_string(&mut rest),
            '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\r' => {
                rest.next_if(|c| *c == '\n');
                out.push('\n');
            }
            '\t' => out.push(' '),
            c if c.is_control() || is_invisible(c) => {}
            c => out.push(c),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// `ESC [ 31 m` and its kind: parameters, then one final character.
fn control_sequence(rest: &mut Chars<'_>, out: &mut String) {
    let mut parameters = String::new();
    while let Some(c) = rest.next_if(|c| matches!(c, ' '..='?')) {
        parameters.push(c);
    }
    match rest.next_if(|c| matches!(c, '@'..='~')) {
        Some('C') => {
            let columns = parameters.parse().unwrap_or(1).clamp(1, MAX_FORWARD);
            out.extend(std::iter::repeat_n(' ', columns));
        }
        Some('A' | 'B' | 'E' | 'F' | 'H' | 'J' | 'S' | 'T' | 'd' | 'f') => out.push('\n'),
        _ => {}
    }
}

/// A title or a link: everything up to BEL or ST. One that never ends takes its line only.
fn control_string(rest: &mut Chars<'_>) {
    while let Some(c) = rest.next_if(|c| !matches!(c, '\n' | '\r')) {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if(|c| *c == '\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn what_only_paints_is_gone() {
        check("plain",                                      &["plain"]);
        check("\u{1b}[1m\u{1b}[38;5;12mA\u{1b}[0mb",        &["Ab"]);
        check("\u{9b}31mA\u{9b}mb",                         &["Ab"]);
        check("\u{1b}]0;a title\u{7}A",                     &["A"]);
        check("\u{1b}]8;;https://example.com\u{1b}\\A\u{1b}]8;;\u{1b}\\", &["A"]);
        check("\u{1b}Pq#0\u{1b}\\A",                        &["A"]);
        check("\u{1b}]0;never ends\nA",                     &["A"]);
        check("\u{1b}(B\u{1b}=A\u{1b}7",                    &["A"]);
        check("A\u{1b}[3Cb\u{1b}[Cc",                       &["A   b c"]);
        check("A\u{1b}[2;1Hb\u{1b}Ec",                      &["A", "b", "c"]);
        check("A\r\nb\rc\u{85}d\te",                        &["A", "b", "c", "d e"]);
        check("A\u{8}\u{200b}\u{202e}\u{feff}b",            &["Ab"]);
        check("\u{1b}",                                     &[]);
        check("\u{1b}[",                                    &[]);
        check("╭──╮\n│ A │\n│   │\n╰──╯",                   &["A"]);
        check("| A | b |\n+---+",                           &["A | b", "+---+"]);
        check("┃ [██░░] 5% ┃",                              &["[██░░] 5%"]);
    }

    #[track_caller]
    fn check(screen: &str, expected: &[&str]) {
        let found: Vec<String> = lines(screen).into_iter().map(|line| line.text).collect();
        assert_eq!(found, expected, "{screen:?}");
    }

    #[test]
    #[rustfmt::skip]
    fn a_line_knows_its_indentation_and_whether_a_border_cut_it() {
        for (raw, indent, cut) in [
            ("A",        0, false),
            ("   A",     3, false),
            ("│  A   │", 2, false),
            ("│  A  │",  2, false),
            ("│  A │",   2, true),
            ("│ A│",     1, true),
            (" │ A  │",  1, false),
            ("| A |",    1, false),
            ("A…",       0, true),
        ] {
            let [line] = &lines(raw)[..] else { panic!("{raw}") };
            assert_eq!((line.indent, line.cut), (indent, cut), "{raw}");
        }
    }
}
