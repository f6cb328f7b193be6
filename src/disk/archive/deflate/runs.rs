//! Where does content stand that only looks like text, since it was written in base64?

use memchr::memchr2;

/// How many digits are looked at, once the first ones and once others all over the run.
const SAMPLE: usize = 256;
/// Most pairs of equal digits among so many, each with itself too: a quarter more than if chance has
/// spread 64 of them.
const EVEN: u32 = (256 + 256 * 255 / 64) / 4 * 5;

/// A run of digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Run {
    /// Where it begins.
    pub(super) from: usize,
    /// Where it is over.
    pub(super) to: usize,
    /// Which digits they are.
    pub(super) digits: Alphabet,
}

/// The digits of base64 (RFC 4648).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Alphabet {
    /// With `+` and `/`.
    Standard,
    /// With `-` and `_`.
    Url,
}

/// The runs of base64 in content, first to last: those of `least` digits and more, a multiple of 32 from
/// 256 on, of which a sample is spread as evenly as chance would have it.
pub(super) fn runs(content: &[u8], least: usize) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            // A run that covers all of this ends behind it; else one can begin behind the last byte
            // that is no digit, and most of what is before need not be looked at.
            let first = content.get(at..at + least)?;
            // 32 at a time, which a processor does at once.
            let (parts, _) = first.as_chunks::<32>();
            if let Some(part) = parts.iter().rposition(|part| !are_digits(part)) {
                let last = parts.get(part).and_then(|it| it.iter().rposition(|it| !is_digit(*it)));
                at += 32 * part + last.unwrap_or(0) + 1;
                continue;
            }
            let from = at;
            at += least;
            let rest = content.get(at..).unwrap_or_default();
            let (parts, _) = rest.as_chunks::<32>();
            at += 32 * parts.iter().take_while(|part| are_digits(part)).count();
            let rest = content.get(at..).unwrap_or_default();
            at += rest.iter().take_while(|byte| is_digit(**byte)).count();
            let run = content.get(from..at)?;
            let all_over = run.chunks(run.len() / SAMPLE).filter_map(|part| part.first());
            if let Some(digits) = alphabet(run)
                && is_even(run.iter().take(SAMPLE))
                && is_even(all_over.take(SAMPLE))
            {
                return Some(Run { from, to: at, digits });
            }
        }
    })
}

fn is_digit(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let number = byte.wrapping_sub(b'0') < 10;
    letter | number | (byte == b'+') | (byte == b'/') | (byte == b'-') | (byte == b'_')
}

fn are_digits(bytes: &[u8; 32]) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_digit(*byte))
}

/// Whose digits they are; none if they are of both.
fn alphabet(run: &[u8]) -> Option<Alphabet> {
    match (memchr2(b'+', b'/', run), memchr2(b'-', b'_', run)) {
        (Some(_), Some(_)) => None,
        (None, Some(_)) => Some(Alphabet::Url),
        (_, None) => Some(Alphabet::Standard),
    }
}

/// Whether all of a sample occur about as often. The digits of base 16 do not, nor do letters of words.
fn is_even<'a>(sample: impl Iterator<Item = &'a u8>) -> bool {
    let mut counts = [0_u32; 256];
    for digit in sample {
        if let Some(count) = counts.get_mut(usize::from(*digit)) {
            *count += 1;
        }
    }
    counts.iter().map(|count| count * count).sum::<u32>() <= EVEN
}

#[cfg(test)]
mod tests {
    use super::super::tests::random;
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    const LEAST: usize = 512;

    fn found(content: &str) -> Vec<(usize, usize, Alphabet)> {
        runs(content.as_bytes(), LEAST).map(|run| (run.from, run.to, run.digits)).collect()
    }

    #[test]
    fn a_run_begins_and_ends_where_its_digits_do() {
        let secret = STANDARD.encode(random(7, 600));
        let line = |secret: &str| format!(r#"{{"encrypted_content":"{secret}","id":"rs_1"}}"#);
        assert_eq!(found(&line(&secret)), [(22, 822, Alphabet::Standard)]);
        let url = URL_SAFE_NO_PAD.encode(random(7, 600));
        assert_eq!(found(&url), [(0, 800, Alphabet::Url)]);
        let two = line(&secret) + &line(&url);
        assert_eq!(found(&two).len(), 2);
        for length in LEAST - 1..LEAST + 70 {
            let (run, rest) = secret.split_at(length);
            let expected =
                if length < LEAST { vec![] } else { vec![(0, length, Alphabet::Standard)] };
            assert_eq!(found(&format!("{run}={rest}")).first(), expected.first(), "{length}");
        }
    }

    #[test]
    fn what_is_no_base64_is_no_run() {
        assert_eq!(found(&"-".repeat(4000)), []);
        assert_eq!(found(&"fn main() { println!(\"hello\"); }\n".repeat(100)), []);
        let hexadecimal: String =
            random(7, 2000).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found(&hexadecimal), []);
        let both = URL_SAFE_NO_PAD.encode(random(7, 600)) + &STANDARD.encode(random(7, 600));
        assert_eq!(found(&both), []);
        assert_eq!(found(""), []);
        let begins = |rest: &str| STANDARD.encode(random(7, 300)) + &rest.repeat(4000);
        assert_eq!(found(&begins("A")), [], "most of it is the same digit");
        assert_eq!(found(&begins("fn")), []);
    }
}
