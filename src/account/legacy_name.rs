//! What does the name of an old `21apr_ada@example.com_auth.json` say?
//!
//! The older tool was fed with such files: a day on which the quota is full again, and an
//! address. Only the name is looked at here; whose modification time makes what of it is
//! the normalizer's work (SPEC, "Legacy files").

use chrono::{Datelike, NaiveDate, TimeDelta};

use crate::account::Email;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The end that makes a file name one of ours to judge; case does not matter.
const SUFFIX: &str = "_auth.json";

/// The parts of a legacy file name.
///
/// The day need not exist: `31feb` is kept, and [`LegacyName::date_near`] tells what is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LegacyName {
    /// Day and month as the older tool recorded them, two digits and lower case: `09apr` also
    /// for `9APR`.
    pub day_token: String,
    /// The day's number, 0 to 99.
    pub day: u32,
    /// The month, 1 to 12; `None` for three letters that abbreviate no English month.
    pub month: Option<u32>,
    /// The account's address.
    pub email: Email,
}

impl LegacyName {
    /// Takes a file name (no path) apart; `None` if it does not end in `_auth.json`.
    ///
    /// # Errors
    ///
    /// [`Misnamed`] for a name with that end which does not fit the pattern otherwise.
    pub fn parse(file_name: &str) -> Result<Option<Self>, Misnamed> {
        let Some((stem, suffix)) =
            file_name.len().checked_sub(SUFFIX.len()).and_then(|at| file_name.split_at_checked(at))
        else {
            return Ok(None);
        };
        if !suffix.eq_ignore_ascii_case(SUFFIX) {
            return Ok(None);
        }

        let (day_token, address) = stem.split_once('_').ok_or(Misnamed::NoDay)?;
        let letters = day_token.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = day_token.strip_suffix(letters).unwrap_or_default();
        let shaped = (1..=2).contains(&digits.len())
            && letters.len() == 3
            && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
        let day: u32 = digits.parse().ok().filter(|_| shaped).ok_or(Misnamed::NoDay)?;
        let email = address.parse().map_err(|_| Misnamed::InvalidEmail)?;

        let month = (1..).zip(MONTHS).find(|(_, name)| letters.eq_ignore_ascii_case(name));
        Ok(Some(Self {
            day_token: format!("{day:02}{}", letters.to_ascii_lowercase()),
            day,
            month: month.map(|(number, _)| number),
            email,
        }))
    }

    /// The calendar day that is meant, in the year that puts it nearest to `near`, or in
    /// `reference_year`.
    ///
    /// The year is chosen first and only then asked whether it has that day, so `29feb` beside
    /// a February of 2026 is a day that does not exist, not one of 2028.
    ///
    /// # Errors
    ///
    /// [`NoSuchDay`], whose text is the reason for people.
    pub fn date_near(
        &self,
        near: NaiveDate,
        reference_year: Option<i32>,
    ) -> Result<NaiveDate, NoSuchDay> {
        let token = || self.day_token.clone();
        let month = self.month.ok_or_else(|| NoSuchDay::Month { token: token() })?;

        let distance = |year: i32| {
            let first = NaiveDate::from_ymd_opt(year, month, 1)?;
            let about = first.checked_add_signed(TimeDelta::days(i64::from(self.day) - 1))?;
            Some((about - near).abs())
        };
        // Of two years equally far away the first in the list is taken: the later.
        let nearest = [1, 0, -1]
            .into_iter()
            .filter_map(|by| near.year().checked_add(by))
            .filter_map(|year| Some((distance(year)?, year)))
            .min_by_key(|(distance, _)| *distance)
            .map_or(near.year(), |(_, year)| year);

        let year = reference_year.unwrap_or(nearest);
        NaiveDate::from_ymd_opt(year, month, self.day)
            .ok_or_else(|| NoSuchDay::Day { token: token(), year })
    }
}

/// Why a file that ends in `_auth.json` is passed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misnamed {
    /// The name does not begin with one or two digits, three letters and an underscore.
    #[error("the name does not begin with a day such as `21apr_`")]
    NoDay,
    /// What stands between the day and `_auth.json` cannot be an address.
    #[error("the name holds no e-mail address that can be used in a file name")]
    InvalidEmail,
}

/// Why a day token stands for no calendar day.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoSuchDay {
    /// The three letters are no month's.
    #[error("`{token}` names no month")]
    Month {
        /// The token as it stands in the name.
        token: String,
    },
    /// That month of that year has no such day.
    #[error("`{token}` does not exist in {year}")]
    Day {
        /// The token as it stands in the name.
        token: String,
        /// The year that was looked at.
        year: i32,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_name_is_ours_or_skipped_with_a_reason_or_none_of_our_business() {
        check("21apr_ada@example.com_auth.json",        "21apr day 21 month 4 ada@example.com");
        check("1Dec_ADA@Example.com_AUTH.JSON",         "01dec day 1 month 12 ada@example.com");
        check("05may_a_b_auth@example.com_auth.json",   "05may day 5 month 5 a_b_auth@example.com");
        check("00apr_ada@example.com_auth.json",        "00apr day 0 month 4 ada@example.com");
        check("31feb_ada@example.com_auth.json",        "31feb day 31 month 2 ada@example.com");
        check("21xyz_ada@example.com_auth.json",        "21xyz day 21 no month ada@example.com");
        check("auth.json",                              "not ours");
        check("",                                       "not ours");
        check("é",                                      "not ours");
        check("ééééé_uth.json",                         "not ours");
        check("21apr_ada@example.com_auth.json.bak",    "not ours");
        check("21apr_ada@example.com-auth.json",        "not ours");
        check("_auth.json",                             "skipped: the name does not begin with a day such as `21apr_`");
        check("x_auth.json",                            "skipped: the name does not begin with a day such as `21apr_`");
        check("ada@example.com_auth.json",              "skipped: the name does not begin with a day such as `21apr_`");
        check("121apr_ada@example.com_auth.json",       "skipped: the name does not begin with a day such as `21apr_`");
        check("21apri_ada@example.com_auth.json",       "skipped: the name does not begin with a day such as `21apr_`");
        check("apr21_ada@example.com_auth.json",        "skipped: the name does not begin with a day such as `21apr_`");
        check("٢١apr_ada@example.com_auth.json",        "skipped: the name does not begin with a day such as `21apr_`");
        check("21apr__auth.json",                       "skipped: the name holds no e-mail address that can be used in a file name");
        check("21apr_ada_auth.json",                    "skipped: the name holds no e-mail address that can be used in a file name");
        check("21apr_ada@exam ple.com_auth.json",       "skipped: the name holds no e-mail address that can be used in a file name");
        check("21apr_a\u{1b}[1m@example.com_auth.json", "skipped: the name holds no e-mail address that can be used in a file name");
    }

    #[track_caller]
    fn check(file_name: &str, expected: &str) {
        let found = match LegacyName::parse(file_name) {
            Ok(None) => "not ours".to_owned(),
            Err(reason) => format!("skipped: {reason}"),
            Ok(Some(LegacyName { day_token, day, month, email })) => {
                let month = month.map_or("no month".to_owned(), |month| format!("month {month}"));
                format!("{day_token} day {day} {month} {email}")
            }
        };
        assert_eq!(found, expected, "{file_name:?}");
    }

    #[test]
    #[rustfmt::skip]
    fn the_year_is_the_nearest_one_and_a_day_that_is_not_in_it_is_told() {
        date("21apr", "2026-04-21", None,       "2026-04-21");
        date("30dec", "2027-01-03", None,       "2026-12-30");
        date("02jan", "2026-12-29", None,       "2027-01-02");
        date("21apr", "2026-10-20", None,       "2026-04-21"); // 182 days back, 183 ahead
        date("21apr", "2026-10-21", None,       "2027-04-21");
        date("21apr", "2027-10-21", None,       "2028-04-21"); // equally far: the later
        date("21apr", "2026-04-21", Some(2024), "2024-04-21");
        date("29feb", "2028-03-01", None,       "2028-02-29");
        date("29feb", "2026-03-01", None,       "`29feb` does not exist in 2026");
        date("29feb", "2026-03-01", Some(2024), "2024-02-29");
        date("29feb", "2024-03-01", Some(2025), "`29feb` does not exist in 2025");
        date("31feb", "2026-03-03", None,       "`31feb` does not exist in 2026");
        date("31apr", "2026-05-01", None,       "`31apr` does not exist in 2026");
        date("00apr", "2026-04-01", None,       "`00apr` does not exist in 2026");
        date("99dec", "2026-12-31", None,       "`99dec` does not exist in 2026");
        date("21xyz", "2026-04-21", None,       "`21xyz` names no month");
        date("21apr", "2026-04-21", Some(i32::MAX), "`21apr` does not exist in 2147483647");
    }

    #[track_caller]
    fn date(token: &str, near: &str, reference_year: Option<i32>, expected: &str) {
        let name = LegacyName::parse(&format!("{token}_ada@example.com_auth.json"));
        let found = name.unwrap().unwrap().date_near(near.parse().unwrap(), reference_year);
        let found = found.map_or_else(|reason| reason.to_string(), |date| date.to_string());
        assert_eq!(found, expected, "{token} near {near}");
    }

    proptest! {
        #[test]
        fn no_name_breaks_the_reader(name in "\\PC{0,20}(_auth.json)?", year in any::<i32>()) {
            if let Ok(Some(name)) = LegacyName::parse(&name) {
                let _ = name.date_near(NaiveDate::MAX, Some(year));
            }
        }

        #[test]
        fn the_nearest_year_is_never_more_than_half_a_year_away(day in 1_u32..29, days in 0_i64..20_000) {
            let near = NaiveDate::default() + TimeDelta::days(days);
            let name = LegacyName::parse(&format!("{day}jun_ada@example.com_auth.json"));
            let found = name.unwrap().unwrap().date_near(near, None).unwrap();
            prop_assert!((found - near).abs() <= TimeDelta::days(183));
        }
    }
}
