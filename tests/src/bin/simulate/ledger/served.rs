//! The tokens and errors that callers get.

use batchsuite_auth::{AccessToken, error::TokenError};

use super::{Ended, Incarnation, Ledger, Stands, digest};

/// A call, and the circumstances that can excuse its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) by: Incarnation,
    pub(crate) company: usize,
    /// When it started and when it was answered.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The process knew the store's state as of this time when it was called.
    pub(crate) heard: u64,
    /// The process's clock was recently set, or the process was stopped meanwhile.
    pub(crate) is_dated_wrongly: bool,
    /// How far the store's clock was moved in total.
    pub(crate) store_set: u64,
    /// How long after losing the feed the process still serves cached tokens, in microseconds.
    pub(crate) refuses_after: Option<u64>,
}

/// A second of rounding in the store's time, and the answer's travel time.
const SLACK: u64 = 3_000_000;

impl Ledger {
    /// A process has read the feed as of this time.
    pub(crate) fn heard(&mut self, by: Incarnation, as_of: u64) {
        let heard = self.feeds.entry(by).or_default();
        *heard = as_of.max(*heard);
    }

    /// The time as of which a process knows the store's state, through the feed or its own action.
    pub(crate) fn heard_by(&self, process: Incarnation, company: usize) -> u64 {
        let removed = self.removed_by.get(&(process, company)).copied();
        removed.max(self.feeds.get(&process).copied()).unwrap_or_default()
    }

    /// A removal returned success to a caller of this process.
    pub(crate) fn removed_here(&mut self, by: Incarnation, company: usize, now: u64) {
        self.removed_by.insert((by, company), now);
    }

    /// A caller got an answer.
    pub(crate) fn served(&mut self, asked: Asked, answer: &Result<AccessToken, TokenError>) {
        match answer {
            Ok(token) => self.served_token(asked, token),
            Err(TokenError::NotAuthenticated) => {
                let company = &self.companies[asked.company];
                if company.stands == Stands::Authenticated && company.since < asked.from {
                    self.violated(|| format!("company {}: NotAuthenticated, but there is an opt-in", asked.company));
                }
            }
            Err(TokenError::ReauthRequired(cause)) => {
                let company = &self.companies[asked.company];
                let was_so = company.stands == Stands::Authenticated && company.since < asked.from;
                if was_so {
                    let cause = cause.kind;
                    self.violated(|| format!("company {}: {cause:?}, but there is an opt-in", asked.company));
                }
            }
            Err(_) => {}
        }
    }

    fn served_token(&mut self, asked: Asked, token: &AccessToken) {
        let Asked { by, company: index, from, to, .. } = asked;
        let Some(id) = self.access_tokens.get(&digest(token.expose_secret())).copied() else {
            self.violated(|| format!("company {index}: a token is handed out that UPS never issued"));
            return;
        };
        let (grant, pair) = (self.grant(id), self.pair(id));
        if grant.company != index {
            self.violated(|| format!("company {index}: the token of another company is handed out"));
            return;
        }
        if !pair.has_landed {
            self.violated(|| format!("company {index}: {id:?} is handed out before it is stored"));
            return;
        }
        let allowed = SLACK + (asked.store_set - pair.store_set);
        if !asked.is_dated_wrongly && to > pair.expires_at + allowed {
            let late = (to - pair.expires_at) / 1_000_000;
            self.violated(|| format!("company {index}: {id:?} is handed out {late} s after its end"));
            return;
        }
        let (issued_at, company) = (pair.issued_at, &self.companies[index]);
        let removed_at = company.removals.iter().rev().find(|at| **at <= asked.heard).copied();
        if removed_at.is_some_and(|at| issued_at < at && grant.began.1 < at) {
            self.violated(|| format!("company {index}: {id:?} is handed out after process {by} heard of its removal"));
            return;
        }
        let bound = asked.refuses_after.filter(|_| !asked.is_dated_wrongly);
        let removed_long_ago = bound.and_then(|bound| {
            company.removals.iter().rev().find(|at| **at + bound < from && issued_at < **at && grant.began.1 < **at)
        });
        if let Some(at) = removed_long_ago {
            let late = (from - at) / 1_000_000;
            self.violated(|| format!("company {index}: {id:?} is handed out {late} s after its removal"));
        }
    }

    /// Whether UPS still accepts an access token that has not expired.
    pub(crate) fn is_accepted(&self, token: &AccessToken) -> bool {
        let id = self.access_tokens.get(&digest(token.expose_secret()));
        id.is_some_and(|id| self.grant(*id).ended != Some(Ended::Withdrawn))
    }
}
