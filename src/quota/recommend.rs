//! Which account should work next?
//!
//! Pure: what is known of each account and `now` come in, an order with reasons goes out. When
//! an account may work is [`cooldown`](super::cooldown)'s answer.
//!
//! The order, where nobody asks for another: ready accounts first, of these the ones whose timing
//! evidence agrees before those marked "mismatch", then the least recently used (never used comes
//! first); accounts in a cooldown by the instant they are ready again, unknown last. Ties by
//! e-mail, then by key. What a person says of an account stands above: of ready accounts those
//! that keep more than their reserve come first, then the higher priority; a disabled one is last
//! and never selected. A [`Strategy`] replaces "least recently used", which then decides ties.
//! Whether a login is stored changes the words, not the order: a person can sign in.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::{Availability, Source, Validation};
use crate::account::{Account, label};
use crate::config::Strategy;
use crate::time::{Stamp, Zone, span};
use crate::window::Kind;

/// One account that could be taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Who.
    pub account: Account,
    /// Whether its login is the live one.
    pub active: bool,
    /// What its quota says.
    pub availability: Availability,
    /// Its last activation or session start, whichever is later; `None` if it was never used.
    pub last_used: Option<Stamp>,
    /// Why this program could not switch to it, as "no login is stored"; `None` if it could.
    pub obstacle: Option<String>,
    /// Whether a person wants it passed over.
    pub disabled: bool,
    /// How much of it a person wants kept, in percent: with no more than this left it comes after
    /// the other ready ones. What is not known is not taken for too little.
    pub reserve: u8,
    /// The higher, the earlier among the ready ones.
    pub priority: i32,
}

impl Candidate {
    /// Whether it may work, and nobody wants it passed over.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.availability.is_ready() && !self.disabled
    }

    /// Whether what is left of it is what a person wants kept.
    fn is_reserved(&self) -> bool {
        self.left().is_some_and(|left| left <= f64::from(self.reserve) && self.reserve != 0)
    }

    /// The percentage left; 100 where every window that is known has reset since.
    fn left(&self) -> Option<f64> {
        let predicted = || self.availability.windows.iter().any(|window| window.predicted_full);
        self.availability.left_percent.or_else(|| predicted().then_some(100.0))
    }

    /// When the week that runs now ends; `None` if none is known to run.
    fn week_ends(&self, now: DateTime<Utc>) -> Option<Stamp> {
        let windows = self.availability.windows.iter().map(|window| &window.window);
        let reset =
            windows.filter(|window| window.kind() == Kind::Week).find_map(|it| it.resets_at);
        reset.filter(|reset| now < reset.instant())
    }
}

/// A candidate in its place, and why it stands there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ranked {
    /// Its index among the candidates.
    pub index: usize,
    /// Why, in plain English.
    pub reason: String,
}

/// The advice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recommendation {
    /// Index of the account to take; with none ready, of the one that is ready first. `None`
    /// only if there are no candidates, all are disabled, or none is ready and no end is known.
    pub selected: Option<usize>,
    /// All candidates, best first.
    pub ranked: Vec<Ranked>,
    /// Why this one.
    pub reason: String,
    /// What would change the answer.
    pub would_change: Vec<String>,
    /// Whether any account is ready that is not disabled.
    pub any_ready: bool,
}

/// Puts the candidates in order and explains it, with times in `zone`.
#[must_use]
pub fn recommend(
    candidates: &[Candidate],
    strategy: Strategy,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Recommendation {
    let mut order: Vec<(usize, &Candidate)> = candidates.iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| compare(a, b, strategy, now));

    let any_ready = candidates.iter().any(Candidate::is_eligible);
    let first = order.first().copied().filter(|(_, best)| {
        let availability = &best.availability;
        let has_end = availability.is_ready() || availability.next_available_at.is_some();
        has_end && !best.disabled
    });
    let words = Words { candidates, strategy, zone, now };
    Recommendation {
        selected: first.map(|(index, _)| index),
        ranked: order
            .iter()
            .map(|(index, candidate)| Ranked { index: *index, reason: words.place(candidate) })
            .collect(),
        reason: words.choice(first.map(|(_, candidate)| candidate), &order),
        would_change: words.changes(first.map(|(index, _)| index), &order),
        any_ready,
    }
}

/// The order that [`recommend`] promises.
fn compare(a: &Candidate, b: &Candidate, strategy: Strategy, now: DateTime<Utc>) -> Ordering {
    let by_state =
        a.disabled.cmp(&b.disabled).then(a.availability.state.cmp(&b.availability.state));
    let by_merit = if a.availability.is_ready() {
        // `false` and `None` sort first: not reserved, no mismatch, never used.
        a.is_reserved()
            .cmp(&b.is_reserved())
            .then(b.priority.cmp(&a.priority))
            .then(mismatched(a).cmp(&mismatched(b)))
            .then_with(|| by_strategy(a, b, strategy, now))
            .then(a.last_used.cmp(&b.last_used))
            // Of two in one second the one before was left for the one that is active.
            .then(a.active.cmp(&b.active))
    } else {
        let end = |one: &Candidate| unknown_last(one.availability.next_available_at);
        end(a).cmp(&end(b))
    };
    let email = |one: &Candidate| unknown_last(one.account.email.clone());
    by_state
        .then(by_merit)
        .then_with(|| email(a).cmp(&email(b)))
        .then_with(|| a.account.key.cmp(&b.account.key))
}

/// What the strategy says of two ready accounts; [`Strategy::Lru`] leaves it to their last use.
fn by_strategy(a: &Candidate, b: &Candidate, strategy: Strategy, now: DateTime<Utc>) -> Ordering {
    match strategy {
        Strategy::Lru => Ordering::Equal,
        Strategy::SoonestReset => {
            unknown_last(a.week_ends(now)).cmp(&unknown_last(b.week_ends(now)))
        }
        Strategy::MostLeft => match (a.left(), b.left()) {
            (Some(a), Some(b)) => b.total_cmp(&a),
            (a, b) => a.is_none().cmp(&b.is_none()),
        },
    }
}

fn unknown_last<T>(value: Option<T>) -> (bool, Option<T>) {
    (value.is_none(), value)
}

fn mismatched(candidate: &Candidate) -> bool {
    candidate.availability.validation == Some(Validation::Mismatch)
}

/// What is needed to speak about the candidates.
struct Words<'a> {
    candidates: &'a [Candidate],
    strategy: Strategy,
    zone: &'a Zone,
    now: DateTime<Utc>,
}

impl Words<'_> {
    fn name(&self, candidate: &Candidate) -> String {
        label(&candidate.account, self.candidates.iter().map(|one| &one.account))
    }

    fn wall(&self, at: Stamp) -> String {
        self.zone.wall(at.instant()).format("%Y-%m-%d %H:%M").to_string()
    }

    /// Why a candidate stands where it does.
    fn place(&self, candidate: &Candidate) -> String {
        let availability = &candidate.availability;
        let mut parts = vec![availability.reason(self.zone, self.now)];
        if candidate.disabled {
            parts.push("disabled".to_owned());
        }
        if availability.is_ready() {
            if candidate.is_reserved() {
                parts.push(format!("{}% are kept in reserve", candidate.reserve));
            }
            if candidate.priority != 0 {
                parts.push(format!("priority {}", candidate.priority));
            }
            if self.strategy == Strategy::SoonestReset
                && let Some(end) = candidate.week_ends(self.now)
            {
                parts.push(format!("its week ends {}", self.wall(end)));
            }
            if mismatched(candidate) {
                parts.push("its timing evidence does not agree".to_owned());
            }
            parts.push(match candidate.last_used {
                None => "never used".to_owned(),
                Some(at) if self.now < at.instant() => format!("used at {}", self.wall(at)),
                Some(at) => format!("last used {} ago", span(self.now - at.instant())),
            });
        }
        if candidate.active {
            parts.push("active now".to_owned());
        }
        parts.extend(candidate.obstacle.clone());
        parts.join(", ")
    }

    /// Why the selected one.
    fn choice(&self, selected: Option<&Candidate>, order: &[(usize, &Candidate)]) -> String {
        let Some(best) = selected else {
            return if order.is_empty() {
                "no account is known".to_owned()
            } else if order.iter().all(|(_, candidate)| candidate.disabled) {
                "every account is disabled".to_owned()
            } else {
                "no account is ready, and it is not known when one will be".to_owned()
            };
        };
        let name = self.name(best);
        if let (false, Some(end)) =
            (best.availability.is_ready(), best.availability.next_available_at)
        {
            let wait = span(end.instant() - self.now);
            return format!(
                "no account is ready; {name} is the first, from {} (in {wait})",
                self.wall(end)
            );
        }
        let spent = match best.is_reserved() {
            true => format!(", with no more than its reserve of {}% left", best.reserve),
            false => String::new(),
        };
        let ready: Vec<&Candidate> = order
            .iter()
            .map(|(_, candidate)| *candidate)
            .filter(|candidate| candidate.is_eligible())
            .collect();
        let Some(next) = ready.get(1) else {
            return format!("{name} is the only one that is ready{spent}");
        };
        // What set the best one apart from the next is the reason.
        let why = if best.is_reserved() != next.is_reserved() {
            format!("{name} is ready and has more left than its reserve")
        } else if best.priority != next.priority {
            format!("{name} is ready and has the highest priority")
        } else if mismatched(best) != mismatched(next) {
            format!("{name} is ready, and its timing evidence agrees")
        } else if by_strategy(best, next, self.strategy, self.now).is_ne() {
            match (self.strategy, best.week_ends(self.now)) {
                (Strategy::SoonestReset, Some(end)) => {
                    format!("{name} is ready, and its week ends first, {}", self.wall(end))
                }
                _ => format!("{name} is ready and has the most left"),
            }
        } else if best.last_used.is_none() {
            format!("{name} is ready and was never used")
        } else if (best.last_used, best.active) != (next.last_used, next.active) {
            format!("{name} is ready and was used least recently")
        } else {
            format!("{name} is ready and comes first by name among equals")
        };
        format!("{why}{spent}")
    }

    /// What would make another account the answer.
    fn changes(&self, selected: Option<usize>, order: &[(usize, &Candidate)]) -> Vec<String> {
        let mut changes = Vec::new();
        for (index, candidate) in order {
            let name = self.name(candidate);
            let availability = &candidate.availability;
            let is_selected = selected == Some(*index);
            if candidate.disabled {
                changes.push(format!("{name} is disabled and can be enabled"));
                continue;
            }
            if !availability.is_ready() {
                match availability.next_available_at {
                    Some(end) => changes.push(format!("{name} is ready from {}", self.wall(end))),
                    None => changes.push(format!("a new status of {name} could show its reset")),
                }
                if availability.source == Some(Source::Manual) {
                    changes
                        .push(format!("the cooldown of {name} was set by hand and can be cleared"));
                }
            } else if is_selected && (availability.predicted || availability.source.is_none()) {
                changes.push(format!("a new status of {name} could show that it is used up"));
            }
            if is_selected && let Some(obstacle) = &candidate.obstacle {
                changes.push(format!("{name} needs a login first: {obstacle}"));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::strategy::Strategy as Arbitrary;

    use super::*;
    use crate::quota::{Reading, State, availability};
    use crate::window::Window;

    fn at(text: &str) -> Stamp {
        let (day, time) = text.split_once(' ').unwrap();
        format!("2026-04-{day}T{time}:00+02:00").parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        at("15 12:00").instant()
    }

    fn berlin() -> Zone {
        "Europe/Berlin".parse().unwrap()
    }

    /// An account with 55 % of its week left, never used.
    fn ready(name: &str) -> Candidate {
        let account = Account {
            key: format!("chatgpt:user-{name}/acct-{name}").parse().unwrap(),
            email: Some(format!("{name}@example.com").parse().unwrap()),
            alias: None,
        };
        let week =
            Window { minutes: 10_080, used_percent: Some(45.0), resets_at: Some(at("18 09:00")) };
        let reading =
            Reading::new(account.key.clone(), Source::AppServer, at("15 09:00"), vec![week]);
        Candidate {
            availability: availability(&[reading], now()),
            account,
            active: false,
            last_used: None,
            obstacle: None,
            disabled: false,
            reserve: 0,
            priority: 0,
        }
    }

    fn used(name: &str, last: &str) -> Candidate {
        Candidate { last_used: Some(at(last)), ..ready(name) }
    }

    fn mismatch(candidate: Candidate) -> Candidate {
        let availability =
            Availability { validation: Some(Validation::Mismatch), ..candidate.availability };
        Candidate { availability, ..candidate }
    }

    fn cooling(name: &str, until: Option<&str>) -> Candidate {
        let candidate = used(name, "10 10:00");
        let availability = Availability {
            state: State::Cooldown,
            next_available_at: until.map(at),
            ..candidate.availability
        };
        Candidate { availability, ..candidate }
    }

    #[test]
    #[rustfmt::skip]
    fn the_order_is_readiness_then_agreement_then_rest_then_name() {
        check(&[],                                                                   "");
        check(&[used("a", "15 10:00"), used("b", "14 10:00")],                       "b a");
        check(&[used("a", "14 10:00"), ready("b")],                                  "b a"); // never used first
        check(&[mismatch(ready("a")), used("b", "15 11:59")],                        "b a");
        check(&[mismatch(used("a", "14 10:00")), mismatch(ready("b"))],              "b a");
        check(&[active(used("a", "14 10:00")), used("b", "14 10:00")],               "b a"); // switched in that second
        check(&[ready("b"), ready("a")],                                             "a b");
        check(&[cooling("a", Some("15 13:00")), mismatch(used("b", "15 11:59"))],    "b a");
        check(&[cooling("a", Some("16 13:00")), cooling("b", Some("15 13:00"))],     "b a");
        check(&[cooling("a", None), cooling("b", Some("25 13:00"))],                 "b a");
        check(&[cooling("b", Some("16 13:00")), cooling("a", Some("16 13:00"))],     "a b");
        check(&[mismatch(cooling("a", Some("15 13:00"))), cooling("b", Some("16 13:00"))], "a b");
    }

    fn active(candidate: Candidate) -> Candidate {
        Candidate { active: true, ..candidate }
    }

    #[track_caller]
    fn check(candidates: &[Candidate], expected: &str) {
        assert_eq!(
            names(candidates, &recommend(candidates, Strategy::Lru, &berlin(), now())),
            expected
        );
    }

    fn names(candidates: &[Candidate], found: &Recommendation) -> String {
        let name = |ranked: &Ranked| candidates[ranked.index].account.email.clone().unwrap();
        let names: Vec<String> =
            found.ranked.iter().map(|r| name(r).to_string().replace("@example.com", "")).collect();
        names.join(" ")
    }

    #[test]
    #[rustfmt::skip]
    fn the_reason_is_what_set_the_best_apart() {
        reason(&[],                                            "no account is known");
        reason(&[ready("a")],                                  "a@example.com is the only one that is ready");
        reason(&[ready("a"), used("b", "14 10:00")],           "a@example.com is ready and was never used");
        reason(&[used("a", "13 10:00"), used("b", "14 10:00")], "a@example.com is ready and was used least recently");
        reason(&[used("a", "13 10:00"), used("b", "13 10:00")], "a@example.com is ready and comes first by name among equals");
        reason(&[active(used("a", "13 10:00")), used("b", "13 10:00")], "b@example.com is ready and was used least recently");
        reason(&[ready("a"), mismatch(ready("b"))],            "a@example.com is ready, and its timing evidence agrees");
        reason(&[cooling("a", Some("15 13:30"))],              "no account is ready; a@example.com is the first, from 2026-04-15 13:30 (in 1h 30m)");
        reason(&[cooling("a", None)],                          "no account is ready, and it is not known when one will be");
    }

    #[track_caller]
    fn reason(candidates: &[Candidate], expected: &str) {
        assert_eq!(recommend(candidates, Strategy::Lru, &berlin(), now()).reason, expected);
    }

    #[test]
    fn every_place_has_its_reason_and_every_cooldown_its_end() {
        let active = active(used("b", "15 10:30"));
        let orphan = Candidate { obstacle: Some("no login is stored".to_owned()), ..ready("a") };
        let candidates = [active, orphan, cooling("c", Some("17 10:00"))];
        let found = recommend(&candidates, Strategy::Lru, &berlin(), now());
        let reasons: Vec<_> = found.ranked.iter().map(|ranked| ranked.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "55% left, never used, no login is stored",
                "55% left, last used 1h 30m ago, active now",
                "a limit is reached until 2026-04-17 10:00 (in 1d 22h)",
            ]
        );
        assert_eq!(found.selected, Some(1));
        assert_eq!(
            found.would_change,
            [
                "a@example.com needs a login first: no login is stored",
                "c@example.com is ready from 2026-04-17 10:00",
            ]
        );
    }

    #[test]
    fn two_accounts_of_one_address_are_told_apart() {
        let mut twin = used("b", "14 10:00");
        twin.account.email = ready("a").account.email;
        let candidates = [ready("a"), twin];
        let found = recommend(&candidates, Strategy::Lru, &berlin(), now());
        let id = candidates[0].account.key.short_id();
        assert_eq!(found.reason, format!("a@example.com ({id}) is ready and was never used"));
    }

    #[test]
    fn with_none_ready_and_no_end_known_nothing_is_selected() {
        let found = recommend(&[cooling("a", None)], Strategy::Lru, &berlin(), now());
        assert_eq!((found.selected, found.any_ready), (None, false));
        assert_eq!(found.would_change, ["a new status of a@example.com could show its reset"]);
    }

    /// All that the order may depend on, but for the name.
    #[derive(Clone, Debug)]
    struct Facts {
        /// Percent of the week used, and the day of its reset; `None` if nothing is known.
        week: Option<(u32, u32)>,
        doubted: bool,
        disabled: bool,
        last_used: Option<u32>,
        reserve: u8,
        priority: i32,
    }

    impl Facts {
        fn candidate(&self, email: &str) -> Candidate {
            let one = ready("x");
            let reading = self.week.map(|(used, day)| {
                let resets_at = Some(at(&format!("{day} 13:00")));
                let week = Window { minutes: 10_080, used_percent: Some(used.into()), resets_at };
                Reading {
                    validation: self.doubted.then_some(Validation::Mismatch),
                    ..Reading::new(
                        one.account.key.clone(),
                        Source::AppServer,
                        at("13 09:00"),
                        vec![week],
                    )
                }
            });
            Candidate {
                availability: availability(reading.as_slice(), now()),
                account: Account {
                    key: format!("email:{email}").parse().unwrap(),
                    email: Some(email.parse().unwrap()),
                    alias: None,
                },
                active: false,
                last_used: self.last_used.map(|day| at(&format!("{day} 08:00"))),
                obstacle: None,
                disabled: self.disabled,
                reserve: self.reserve,
                priority: self.priority,
            }
        }
    }

    fn any_facts() -> impl Arbitrary<Value = Vec<Facts>> {
        let one = (
            proptest::option::weighted(0.8, (0..=100_u32, 14..20_u32)),
            any::<bool>(),
            proptest::bool::weighted(0.2),
            proptest::option::of(10..15_u32),
            proptest::sample::select(vec![0_u8, 0, 20, 100]),
            -1..=1_i32,
        );
        let one = one.prop_map(|(week, doubted, disabled, last_used, reserve, priority)| Facts {
            week,
            doubted,
            disabled,
            last_used,
            reserve,
            priority,
        });
        proptest::collection::vec(one, 1..6)
    }

    fn any_strategy() -> impl Arbitrary<Value = Strategy> {
        proptest::sample::select(Strategy::ALL.to_vec())
    }

    /// The candidates under addresses that sort as they stand, from the letter on.
    fn named(facts: &[Facts], letters: &[char]) -> Vec<Candidate> {
        let email = |letter: &char| format!("{letter}@example.com");
        facts.iter().zip(letters).map(|(one, letter)| one.candidate(&email(letter))).collect()
    }

    const LETTERS: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];

    fn place(of: usize, candidates: &[Candidate], strategy: Strategy) -> usize {
        let found = recommend(candidates, strategy, &berlin(), now());
        found.ranked.iter().position(|ranked| ranked.index == of).unwrap()
    }

    #[test]
    #[rustfmt::skip]
    fn what_a_person_says_stands_above_the_order_and_a_strategy_within_it() {
        let a = || used("a", "14 10:00");
        let b = || used("b", "15 10:00");
        let off = |one| Candidate { disabled: true, ..one };
        let keep = |reserve, one| Candidate { reserve, ..one };
        let first = |priority, one| Candidate { priority, ..one };
        let left = |used: f64, reset: &str, one: Candidate| {
            let week = Window { minutes: 10_080, used_percent: Some(used), resets_at: Some(at(reset)) };
            let reading = Reading::new(one.account.key.clone(), Source::AppServer, at("08 09:00"), vec![week]);
            Candidate { availability: availability(&[reading], now()), ..one }
        };
        let unknown = |one: Candidate| Candidate { availability: availability(&[], now()), ..one };
        for (strategy, candidates, expected, reason) in [
            (Strategy::Lru, vec![off(a()), b()], "b a", "b@example.com is the only one that is ready"),
            (Strategy::Lru, vec![off(a()), cooling("b", Some("16 10:00"))], "b a", "no account is ready; b@example.com is the first, from 2026-04-16 10:00 (in 22h)"),
            (Strategy::Lru, vec![off(a()), off(b())], "a b", "every account is disabled"),
            // 55 % are left of either.
            (Strategy::Lru, vec![keep(55, a()), b()], "b a", "b@example.com is ready and has more left than its reserve"),
            (Strategy::Lru, vec![keep(55, a()), keep(60, b())], "a b", "a@example.com is ready and was used least recently, with no more than its reserve of 55% left"),
            (Strategy::Lru, vec![keep(55, a()), off(b())], "a b", "a@example.com is the only one that is ready, with no more than its reserve of 55% left"),
            (Strategy::Lru, vec![keep(54, a()), b()], "a b", "a@example.com is ready and was used least recently"),
            (Strategy::Lru, vec![keep(100, unknown(a())), b()], "a b", "a@example.com is ready and was used least recently"),
            (Strategy::Lru, vec![a(), first(1, b())], "b a", "b@example.com is ready and has the highest priority"),
            (Strategy::Lru, vec![first(-1, a()), mismatch(b())], "b a", "b@example.com is ready and has the highest priority"),
            (Strategy::Lru, vec![a(), keep(60, first(9, b()))], "a b", "a@example.com is ready and has more left than its reserve"),
            (Strategy::Lru, vec![cooling("a", Some("16 10:00")), first(9, cooling("b", Some("17 10:00")))], "a b", "no account is ready; a@example.com is the first, from 2026-04-16 10:00 (in 22h)"),
            (Strategy::MostLeft, vec![left(50.0, "18 09:00", a()), left(49.0, "18 09:00", b())], "b a", "b@example.com is ready and has the most left"),
            (Strategy::MostLeft, vec![left(10.0, "18 09:00", a()), left(99.0, "14 09:00", b())], "b a", "b@example.com is ready and has the most left"), // full again
            (Strategy::MostLeft, vec![unknown(a()), left(99.0, "18 09:00", b())], "b a", "b@example.com is ready and has the most left"),
            (Strategy::MostLeft, vec![a(), b()], "a b", "a@example.com is ready and was used least recently"),
            (Strategy::SoonestReset, vec![left(1.0, "18 09:00", a()), left(99.0, "16 09:00", b())], "b a", "b@example.com is ready, and its week ends first, 2026-04-16 09:00"),
            (Strategy::SoonestReset, vec![left(1.0, "14 09:00", a()), left(99.0, "19 09:00", b())], "b a", "b@example.com is ready, and its week ends first, 2026-04-19 09:00"),
            (Strategy::SoonestReset, vec![unknown(a()), unknown(b())], "a b", "a@example.com is ready and was used least recently"),
            (Strategy::SoonestReset, vec![left(1.0, "16 09:00", mismatch(a())), mismatch(left(1.0, "15 19:00", b()))], "a b", "a@example.com is ready, and its timing evidence agrees"),
        ] {
            let found = recommend(&candidates, strategy, &berlin(), now());
            assert_eq!((names(&candidates, &found).as_str(), found.reason.as_str()), (expected, reason));
        }
    }

    #[test]
    fn the_words_name_what_a_person_said() {
        let one = Candidate { disabled: true, reserve: 60, priority: -2, ..ready("a") };
        let found = recommend(&[one, ready("b")], Strategy::SoonestReset, &berlin(), now());
        assert_eq!(
            found.ranked[1].reason,
            "55% left, disabled, 60% are kept in reserve, priority -2, its week ends 2026-04-18 09:00, never used"
        );
        assert_eq!(found.would_change, ["a@example.com is disabled and can be enabled"]);
        assert!(found.any_ready);
        let alone = Candidate { disabled: true, ..ready("a") };
        let found = recommend(&[alone], Strategy::Lru, &berlin(), now());
        assert_eq!((found.selected, found.any_ready), (None, false));
    }

    proptest! {
        #[test]
        fn the_order_of_the_candidates_changes_nothing(
            facts in any_facts(),
            strategy in any_strategy(),
            turn in 0_usize..6,
        ) {
            let candidates = named(&facts, &LETTERS);
            let mut turned = candidates.clone();
            turned.rotate_left(turn % candidates.len());
            turned.reverse();
            let (one, other) = (
                recommend(&candidates, strategy, &berlin(), now()),
                recommend(&turned, strategy, &berlin(), now()),
            );
            prop_assert_eq!(names(&candidates, &one), names(&turned, &other));
            prop_assert_eq!(one.reason, other.reason);
            prop_assert_eq!(one.would_change, other.would_change);
        }

        #[test]
        fn using_an_account_more_never_ranks_it_higher(
            facts in any_facts(),
            strategy in any_strategy(),
            which in 0_usize..6,
            more in 0..=100_u32,
        ) {
            let which = which % facts.len();
            let mut after = facts.clone();
            let one = &mut after[which];
            one.last_used = Some(15);
            // Of a week that is over nobody can use more; that begins another one.
            if let Some((used, day)) = &mut one.week && 15 <= *day {
                *used = (*used).max(more);
            }
            let place = |facts: &[Facts]| place(which, &named(facts, &LETTERS), strategy);
            prop_assert!(place(&facts) <= place(&after));
        }

        #[test]
        fn new_names_change_only_ties(
            facts in any_facts(),
            strategy in any_strategy(),
            turn in 0_usize..6,
        ) {
            let mut others = LETTERS;
            others.rotate_left(turn);
            others.reverse();
            // The merits in order are the same, whoever has them.
            let merits = |letters: &[char]| -> Vec<_> {
                let candidates = named(&facts, letters);
                let found = recommend(&candidates, strategy, &berlin(), now());
                let merit = |ranked: &Ranked| {
                    let one = &candidates[ranked.index];
                    let (is_ready, end) =
                        (one.availability.is_ready(), one.availability.next_available_at);
                    let merit = (
                        one.is_reserved(),
                        one.priority,
                        mismatched(one),
                        one.last_used,
                        one.left().filter(|_| strategy == Strategy::MostLeft),
                        one.week_ends(now()).filter(|_| strategy == Strategy::SoonestReset),
                    );
                    (one.disabled, is_ready, is_ready.then_some(merit), end.filter(|_| !is_ready))
                };
                found.ranked.iter().map(merit).collect()
            };
            prop_assert_eq!(merits(&LETTERS), merits(&others));
        }
    }
}
