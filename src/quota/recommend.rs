//! Which account should work next?
//!
//! Pure: what is known of each account and `now` come in, an order with reasons goes out. When
//! an account may work is [`cooldown`](super::cooldown)'s answer.
//!
//! The order: ready accounts first, of these the ones whose timing evidence agrees before those
//! marked "mismatch", then the least recently used (never used comes first); accounts in a
//! cooldown by the instant they are ready again, unknown last. Ties by e-mail, then by key.
//! Whether a login is stored changes the words, not the order: a person can sign in.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::{Availability, Source, Validation};
use crate::account::{Account, label};
use crate::time::{Stamp, Zone, span};

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
    /// only if there are no candidates, or none is ready and no end is known.
    pub selected: Option<usize>,
    /// All candidates, best first.
    pub ranked: Vec<Ranked>,
    /// Why this one.
    pub reason: String,
    /// What would change the answer.
    pub would_change: Vec<String>,
    /// Whether any account is ready.
    pub any_ready: bool,
}

/// Puts the candidates in order and explains it, with times in `zone`.
#[must_use]
pub fn recommend(candidates: &[Candidate], zone: &Zone, now: DateTime<Utc>) -> Recommendation {
    let mut order: Vec<(usize, &Candidate)> = candidates.iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| compare(a, b));

    let any_ready = candidates.iter().any(|candidate| candidate.availability.is_ready());
    let first = order.first().copied().filter(|(_, best)| {
        best.availability.is_ready() || best.availability.next_available_at.is_some()
    });
    let words = Words { candidates, zone, now };
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
fn compare(a: &Candidate, b: &Candidate) -> Ordering {
    let by_state = a.availability.state.cmp(&b.availability.state);
    let by_merit = if a.availability.is_ready() {
        // `false` and `None` sort first: no mismatch, never used.
        mismatched(a).cmp(&mismatched(b)).then(a.last_used.cmp(&b.last_used))
    } else {
        let end = |one: &Candidate| {
            let end = one.availability.next_available_at;
            (end.is_none(), end)
        };
        end(a).cmp(&end(b))
    };
    let email = |one: &Candidate| (one.account.email.is_none(), one.account.email.clone());
    by_state
        .then(by_merit)
        .then_with(|| email(a).cmp(&email(b)))
        .then_with(|| a.account.key.cmp(&b.account.key))
}

fn mismatched(candidate: &Candidate) -> bool {
    candidate.availability.validation == Some(Validation::Mismatch)
}

/// What is needed to speak about the candidates.
struct Words<'a> {
    candidates: &'a [Candidate],
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
        if availability.is_ready() {
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
        let ready: Vec<&Candidate> = order
            .iter()
            .map(|(_, candidate)| *candidate)
            .filter(|candidate| candidate.availability.is_ready())
            .collect();
        // What set the best one apart from the next is the reason.
        match ready.get(1) {
            None => format!("{name} is the only one that is ready"),
            Some(next) if mismatched(best) != mismatched(next) => {
                format!("{name} is ready, and its timing evidence agrees")
            }
            Some(_) if best.last_used.is_none() => format!("{name} is ready and was never used"),
            Some(next) if best.last_used != next.last_used => {
                format!("{name} is ready and was used least recently")
            }
            Some(_) => format!("{name} is ready and comes first by name among equals"),
        }
    }

    /// What would make another account the answer.
    fn changes(&self, selected: Option<usize>, order: &[(usize, &Candidate)]) -> Vec<String> {
        let mut changes = Vec::new();
        for (index, candidate) in order {
            let name = self.name(candidate);
            let availability = &candidate.availability;
            let is_selected = selected == Some(*index);
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
    use proptest::prelude::*;

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
        check(&[ready("b"), ready("a")],                                             "a b");
        check(&[cooling("a", Some("15 13:00")), mismatch(used("b", "15 11:59"))],    "b a");
        check(&[cooling("a", Some("16 13:00")), cooling("b", Some("15 13:00"))],     "b a");
        check(&[cooling("a", None), cooling("b", Some("25 13:00"))],                 "b a");
        check(&[cooling("b", Some("16 13:00")), cooling("a", Some("16 13:00"))],     "a b");
        check(&[mismatch(cooling("a", Some("15 13:00"))), cooling("b", Some("16 13:00"))], "a b");
    }

    #[track_caller]
    fn check(candidates: &[Candidate], expected: &str) {
        assert_eq!(names(candidates, &recommend(candidates, &berlin(), now())), expected);
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
        reason(&[ready("a"), mismatch(ready("b"))],            "a@example.com is ready, and its timing evidence agrees");
        reason(&[cooling("a", Some("15 13:30"))],              "no account is ready; a@example.com is the first, from 2026-04-15 13:30 (in 1h 30m)");
        reason(&[cooling("a", None)],                          "no account is ready, and it is not known when one will be");
    }

    #[track_caller]
    fn reason(candidates: &[Candidate], expected: &str) {
        assert_eq!(recommend(candidates, &berlin(), now()).reason, expected);
    }

    #[test]
    fn every_place_has_its_reason_and_every_cooldown_its_end() {
        let active = Candidate { active: true, ..used("b", "15 10:30") };
        let orphan = Candidate { obstacle: Some("no login is stored".to_owned()), ..ready("a") };
        let candidates = [active, orphan, cooling("c", Some("17 10:00"))];
        let found = recommend(&candidates, &berlin(), now());
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
        let found = recommend(&candidates, &berlin(), now());
        let id = candidates[0].account.key.short_id();
        assert_eq!(found.reason, format!("a@example.com ({id}) is ready and was never used"));
    }

    #[test]
    fn with_none_ready_and_no_end_known_nothing_is_selected() {
        let found = recommend(&[cooling("a", None)], &berlin(), now());
        assert_eq!((found.selected, found.any_ready), (None, false));
        assert_eq!(found.would_change, ["a new status of a@example.com could show its reset"]);
    }

    fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (any::<bool>(), any::<bool>(), proptest::option::of(10..15_u32), 10..20_u32);
        proptest::collection::vec(one, 1..6).prop_map(|rows| {
            let letters = ["a", "b", "c", "d", "e", "f"];
            letters
                .into_iter()
                .zip(rows)
                .map(|(name, (is_ready, doubted, last, until))| {
                    let one = if is_ready {
                        ready(name)
                    } else {
                        cooling(name, Some(&format!("{until} 13:00")))
                    };
                    let one = if doubted { mismatch(one) } else { one };
                    Candidate { last_used: last.map(|day| at(&format!("{day} 08:00"))), ..one }
                })
                .collect()
        })
    }

    fn place(of: usize, candidates: &[Candidate]) -> usize {
        let found = recommend(candidates, &berlin(), now());
        found.ranked.iter().position(|ranked| ranked.index == of).unwrap()
    }

    proptest! {
        #[test]
        fn the_order_of_the_candidates_changes_nothing(
            candidates in any_candidates(),
            turn in 0_usize..6,
        ) {
            let mut turned = candidates.clone();
            turned.rotate_left(turn % candidates.len());
            turned.reverse();
            let (one, other) = (
                recommend(&candidates, &berlin(), now()),
                recommend(&turned, &berlin(), now()),
            );
            prop_assert_eq!(names(&candidates, &one), names(&turned, &other));
            prop_assert_eq!(one.reason, other.reason);
            prop_assert_eq!(one.would_change, other.would_change);
        }

        #[test]
        fn using_an_account_more_never_ranks_it_higher(
            candidates in any_candidates(),
            which in 0_usize..6,
        ) {
            let which = which % candidates.len();
            let mut more = candidates.clone();
            more[which].last_used = Some(at("15 11:00"));
            prop_assert!(place(which, &candidates) <= place(which, &more));
        }

        #[test]
        fn new_names_change_only_ties(candidates in any_candidates()) {
            let mut renamed = candidates.clone();
            for (index, one) in renamed.iter_mut().enumerate() {
                one.account.email = Some(format!("z{}@example.com", 9 - index).parse().unwrap());
            }
            // The merits in order are the same, whoever has them.
            let merits = |candidates: &[Candidate]| -> Vec<_> {
                let found = recommend(candidates, &berlin(), now());
                found
                    .ranked
                    .iter()
                    .map(|ranked| {
                        let one = &candidates[ranked.index];
                        let is_ready = one.availability.is_ready();
                        let end = one.availability.next_available_at.filter(|_| !is_ready);
                        (is_ready, is_ready && mismatched(one), one.last_used.filter(|_| is_ready), end)
                    })
                    .collect()
            };
            prop_assert_eq!(merits(&candidates), merits(&renamed));
        }
    }
}
