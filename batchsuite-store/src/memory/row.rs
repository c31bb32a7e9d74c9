//! What is stored of one company.

use std::time::Duration;

use batchsuite_auth::{
    clock::{Timestamp, earlier, later},
    machine::{Access, Demand, Freshness, RefreshTokenEnd, Standing, TokenTimes, TokensEffect, Transition, decide},
    store::{DueQuery, GrantKey, Snapshot, WarnExpiring},
};

pub(super) struct Row {
    /// The grant as of the last reading.
    pub(super) grant: Snapshot,
    /// When its tokens were used last.
    pub(super) used_at: Option<Timestamp>,
    /// Until when it is handed out to a keeper.
    pub(super) reserved_until: Option<Timestamp>,
    /// The smallest warning window of its refresh token that was raised; zero: the end itself.
    pub(super) warned: Option<Duration>,
}

impl Row {
    pub(super) fn new(key: GrantKey, now: Timestamp) -> Self {
        Self { grant: Snapshot::empty(key, now), used_at: None, reserved_until: None, warned: None }
    }

    /// Takes over what the machine decided. What replaces the tokens comes with the verb.
    pub(super) fn apply(&mut self, transition: Transition) {
        self.grant.opt_in = transition.to;
        if transition.tokens == TokensEffect::Erase {
            self.grant.tokens = None;
        }
    }

    /// Begins another opt-in, or none: nothing of the former one stays.
    pub(super) fn begin_anew(&mut self, grant: Snapshot) {
        *self = Self { grant, used_at: self.used_at, reserved_until: None, warned: None };
    }

    /// When the tokens of an authenticated grant with a refresh token end.
    pub(super) fn refreshable_times(&self) -> Option<TokenTimes> {
        let authenticated = self.grant.opt_in.standing == Standing::Authenticated;
        let times = self.grant.facts("").tokens.filter(|_| authenticated)?;
        (times.refresh_token_end != RefreshTokenEnd::Absent).then_some(times)
    }

    /// Since when a refresh is due, if one is and the company is not reserved.
    pub(super) fn due_since(&self, query: &DueQuery, now: Timestamp) -> Option<Timestamp> {
        // A reservation longer than a reservation was written by a wrong clock.
        let reserved = |until: Timestamp| until > now && until <= later(now, query.reserve_for);
        if self.reserved_until.is_some_and(reserved) {
            return None;
        }
        let facts = self.grant.facts(&query.client_id);
        match decide(&facts, Demand::Renew(self.grant.opt_in.revision), now) {
            Access::Refresh | Access::ServeAndRefresh | Access::TakeOver(_) => {}
            _ => return None,
        }
        let times = facts.tokens?;
        let used = self.used_at.is_some_and(|used| used >= earlier(now, query.used_within));
        let for_use = (used && times.freshness(now) != Freshness::Fresh).then_some(wanted_at(&times));
        let to_keep_alive = keep_alive_at(&times, query.keep_alive).filter(|at| *at <= now);
        for_use.into_iter().chain(to_keep_alive).min()
    }

    /// The warning that is due and was not raised: the smallest window that has been entered, zero for the end.
    pub(super) fn warning(&self, query: &WarnExpiring, now: Timestamp) -> Option<Duration> {
        let RefreshTokenEnd::At(end) = self.refreshable_times()?.refresh_token_end else { return None };
        if self.grant.client_id.as_deref() != Some(&query.client_id) {
            return None;
        }
        let windows = query.windows.iter().copied().chain([Duration::ZERO]);
        let entered = windows.filter(|window| earlier(end, *window) <= now).min()?;
        self.warned.is_none_or(|raised| entered < raised).then_some(entered)
    }
}

/// From when on a company that is used wants another access token.
pub(super) fn wanted_at(times: &TokenTimes) -> Timestamp {
    times.access_token_end.map_or(times.obtained_at, |end| end.min(times.refresh_at))
}

/// When the refresh token has to be renewed, used or not, so that it does not end.
fn keep_alive_at(times: &TokenTimes, keep_alive: Duration) -> Option<Timestamp> {
    match times.refresh_token_end {
        RefreshTokenEnd::Absent => None,
        RefreshTokenEnd::Unknown => Some(later(times.obtained_at, keep_alive)),
        RefreshTokenEnd::At(end) => {
            // A short-lived refresh token would be renewed without pause.
            let life = (end - times.obtained_at).to_std().unwrap_or_default();
            Some(earlier(end, keep_alive).max(later(times.obtained_at, life.mul_f64(0.75))))
        }
    }
}
