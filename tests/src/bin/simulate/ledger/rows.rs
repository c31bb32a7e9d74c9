//! The saves that land.

use batchsuite_auth::{
    events::EventKind,
    machine::CauseKind,
    store::{Swap, TokenChange},
};
use serde_json::Value;

use super::{Claim, Doubt, Ended, Incarnation, Killer, Lease, Ledger, PairId, Stands, digest};

/// How long a late copy of a request can still reach UPS, in microseconds.
pub(super) const ECHO: i64 = 600_000_000;

/// The record of a save before it is handed to the store.
pub(crate) struct Landed {
    pub(crate) company: usize,
    pub(crate) step: &'static str,
    kind: Option<EventKind>,
    cause: Option<CauseKind>,
    /// The pair whose tokens are saved.
    pub(super) refresh: Option<u64>,
    document: Option<Value>,
}

impl Landed {
    pub(crate) fn of(swap: &Swap, company: usize) -> Self {
        let event = swap.events.first();
        let refresh = match &swap.tokens {
            TokenChange::Replace(tokens) => tokens.refresh.as_ref().map(|token| digest(token.expose_secret())),
            TokenChange::Keep | TokenChange::Erase => None,
        };
        let is_read = matches!(swap.step, "claim" | "commit" | "import");
        Self {
            company,
            step: swap.step,
            kind: event.map(|event| event.kind),
            cause: event.and_then(|event| event.cause),
            refresh,
            document: is_read.then(|| serde_json::from_str(swap.document.as_str()).unwrap_or_default()),
        }
    }

    pub(super) fn text(&self, path: &str) -> String {
        self.document.as_ref().and_then(|value| value.pointer(path)).map(Value::to_string).unwrap_or_default()
    }

    pub(super) fn number(&self, path: &str) -> i64 {
        self.document.as_ref().and_then(|value| value.pointer(path)).and_then(Value::as_i64).unwrap_or_default()
    }
}

impl Ledger {
    /// A save by `by` landed.
    pub(crate) fn landed(&mut self, by: Incarnation, landed: &Landed, now: u64, store_set: u64) {
        match landed.step {
            "claim" => self.claimed(by, landed, now, store_set),
            "commit" => self.committed(landed, now),
            "connect" => self.connected(landed, now),
            "import" => self.imported(landed, now, store_set),
            "remove" => {
                let company = &mut self.companies[landed.company];
                company.removals.push(now);
                (company.claim, company.stored) = (None, None);
                company.forget_doubts();
                company.stand(Stands::Unauthenticated, now);
            }
            "unanswered" => self.in_doubt(landed.company, true),
            "release" => self.companies[landed.company].claim = None,
            "refused" => self.refused_and_saved(landed, now, store_set > 0),
            _ => {}
        }
    }

    /// The outcome of the row's claim was never recorded, or is recorded as unknown.
    fn in_doubt(&mut self, company: usize, is_known: bool) {
        if let Some(claim) = self.companies[company].claim.take() {
            let is_founded = is_known || claim.is_sent || self.is_hindered(&claim);
            self.companies[company].doubts.push(Doubt { at: claim.at, is_founded });
        }
    }

    fn claimed(&mut self, by: Incarnation, landed: &Landed, now: u64, store_set: u64) {
        self.in_doubt(landed.company, false);
        let (attempt, at) = (landed.text("/phase/claimed/attempt"), landed.number("/phase/claimed/at"));
        let company = &mut self.companies[landed.company];
        company.claim = Some(Claim { by, attempt, at, landed_at: now, is_sent: false });
        let until = landed.number("/phase/claimed/lease_until");
        match company.stored {
            Some(stored) if until > 0 => {
                self.leases.insert((by, landed.company), Lease { stored, at, until, store_set });
            }
            _ => self.violated(|| format!("company {}: a claim without a stored pair or a lease", landed.company)),
        }
    }

    fn committed(&mut self, landed: &Landed, now: u64) {
        let Some(id) = self.stored_pair(landed) else { return };
        self.rotations += 1;
        let attempt = landed.text("/rotated_by");
        if self.companies[landed.company].claim.as_ref().is_some_and(|claim| claim.attempt != attempt) {
            self.in_doubt(landed.company, false);
        }
        let company = &mut self.companies[landed.company];
        company.claim = None;
        let sent_at = landed.number("/tokens/obtained_at");
        if company.doubts.is_empty() {
            company.echoes.retain(|doubt| sent_at <= doubt.at + ECHO);
        }
        company.echoes.append(&mut company.doubts);
        let follows = company.stored.is_some_and(|before| before.grant == id.grant && before.rotation < id.rotation);
        if !follows {
            let before = company.stored;
            self.violated(|| format!("company {}: {id:?} is stored over {before:?}", landed.company));
        }
        let company = &mut self.companies[landed.company];
        if let Stands::Reauth(_) = company.stands {
            self.recovered += 1;
        }
        company.stored = Some(id);
        company.stand(Stands::Authenticated, now);
    }

    fn connected(&mut self, landed: &Landed, now: u64) {
        let Some(id) = self.stored_pair(landed) else { return };
        self.opt_ins += 1;
        let (_, sent_away_at) = self.grant(id).began;
        let company = &mut self.companies[landed.company];
        let removed_since = company.removals.iter().any(|at| *at > sent_away_at);
        (company.claim, company.stored) = (None, Some(id));
        company.forget_doubts();
        company.stand(Stands::Authenticated, now);
        if removed_since {
            self.violated(|| format!("company {}: a consent is stored that began before a removal", landed.company));
        }
    }

    /// The pair whose tokens were saved.
    pub(super) fn stored_pair(&mut self, landed: &Landed) -> Option<PairId> {
        let id = landed.refresh.and_then(|token| self.refresh_tokens.get(&token)).copied();
        let Some(id) = id else {
            self.violated(|| format!("company {}: {} saves tokens that UPS never issued", landed.company, landed.step));
            return None;
        };
        if self.grant(id).company != landed.company {
            self.violated(|| format!("company {}: the tokens of another company are saved", landed.company));
        }
        self.pair_mut(id).has_landed = true;
        Some(id)
    }

    fn refused_and_saved(&mut self, landed: &Landed, now: u64, clocks_were_set: bool) {
        let company = &mut self.companies[landed.company];
        company.claim = None;
        let Some(cause) = landed.cause.filter(|_| landed.kind == Some(EventKind::Invalidated)) else { return };
        let mut doubts = company.doubts.iter().chain(&company.echoes);
        let (has_doubt, stored) = (doubts.any(|doubt| doubt.is_founded), company.stored);
        company.stand(Stands::Reauth(cause), now);
        *self.ended.entry(cause.name()).or_default() += 1;
        let Some(stored) = stored else { return };
        let (pair, ended) = (self.pair(stored), self.grant(stored).ended);
        match cause {
            CauseKind::OptInInvalidated if pair.refused_unused == 0 => {
                self.violated(|| {
                    format!(
                        "company {}: OptInInvalidated, but UPS never refused {stored:?} while it was unused",
                        landed.company
                    )
                });
            }
            // A copy of an answered request looks like a withdrawal; the echo of an unanswered one must not.
            CauseKind::OptInInvalidated if ended == Some(Ended::Family(Killer::Echo)) && !clocks_were_set => {
                self.violated(|| {
                    format!(
                        "company {}: OptInInvalidated, but the echo of an unanswered request ended the family of {stored:?}",
                        landed.company
                    )
                });
            }
            CauseKind::RotationLost if !has_doubt => {
                self.violated(|| {
                    format!("company {}: RotationLost without an attempt that is in doubt", landed.company)
                });
            }
            CauseKind::OptInInvalidated if ended == Some(Ended::Family(Killer::SecondSend)) => {
                self.told_as_withdrawn += 1;
            }
            _ => {}
        }
    }
}

impl super::Company {
    pub(super) fn stand(&mut self, stands: Stands, now: u64) {
        if self.stands != stands {
            (self.stands, self.since) = (stands, now);
        }
    }

    pub(super) fn forget_doubts(&mut self) {
        self.doubts.clear();
        self.echoes.clear();
    }
}
