//! The circuit breaker of a whole client. It keeps a bad client secret from failing for every company in turn, and one
//! faulty company from stopping the others.
//!
//! | UPS's answer | opens when |
//! |---|---|
//! | refuses the client's configuration, or blocks the client | two different companies in a row get such an answer with no success between, or it is the first answer since the start |
//! | has an unknown error | three different companies in a row get the same one |
//! | refuses a refresh token, and no lost answer explains the refusal | three different companies get it within ten minutes, with no success between |
//! | asks for a pause (429) | at once |
//! | none: requests do not reach UPS, or get no answer | three requests in a row, of any company |
//!
//! When half-open, it allows one trial at a time, preferably by a company that has not failed. While UPS is out of reach,
//! trials follow each other every few seconds, and any answer closes the breaker.

use std::time::Duration;

use super::{
    backoff::Backoff,
    health::{UpsTrouble, UpsTroubleKind},
    limits::{
        CLIENT_IN_A_ROW, LONGEST_RATE_LIMIT, LONGEST_TRIAL, MOST_FAILED, OUT_OF_REACH_IN_A_ROW, OUT_OF_REACH_PAUSE,
        PROVEN_FOR, REFUSED_IN_A_WAVE, UNKNOWN_IN_A_ROW, UNPROVEN, WAVE,
    },
};
use crate::{
    clock::{Timestamp, later, within},
    ids::CompanyId,
};

/// Why nothing is sent for any company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFault {
    /// UPS refuses our configuration: client id, secret, redirect URI, grant type, header.
    Misconfigured,
    /// UPS blocks the client (403).
    Blocked,
    /// UPS gave an unknown error; the text distinguishes one from another.
    Unknown(String),
    /// UPS refused the refresh tokens of several companies in a row.
    Wave,
    /// Several requests in a row did not reach UPS or got no answer.
    OutOfReach,
}

impl ClientFault {
    /// Whether UPS rejects the client itself, so that no request from it can succeed.
    pub fn is_the_clients(&self) -> bool {
        matches!(self, Self::Misconfigured | Self::Blocked)
    }

    /// The pause before the first trial, and the longest one.
    fn pause(&self, policy: Backoff) -> Backoff {
        match self {
            Self::OutOfReach => OUT_OF_REACH_PAUSE,
            Self::Misconfigured | Self::Blocked | Self::Unknown(_) | Self::Wave => policy,
        }
    }

    /// How long others wait for a trial that does not report.
    fn trial(&self, pause: Duration) -> Duration {
        match self {
            // Requests are silent then, so a trial may take its whole deadline.
            Self::OutOfReach => LONGEST_TRIAL,
            Self::Misconfigured | Self::Blocked | Self::Unknown(_) | Self::Wave => pause,
        }
    }
}

impl From<&ClientFault> for UpsTroubleKind {
    fn from(fault: &ClientFault) -> Self {
        match fault {
            ClientFault::Misconfigured => Self::ClientMisconfigured,
            ClientFault::Blocked => Self::ClientBlocked,
            ClientFault::Unknown(_) => Self::UnknownAnswer,
            ClientFault::Wave => Self::RefusalWave,
            ClientFault::OutOfReach => Self::OutOfReach,
        }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The exchange of a code. Refused refresh tokens do not block it.
    Exchange,
    /// A refresh.
    Refresh,
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Yes. The caller must report its end with [`Breaker::ended`].
    Granted,
    /// Yes, as the single trial that decides for all companies. The caller must report its end as well.
    Trial,
    /// Not until another request has ended: UPS has not accepted this client recently, and enough requests are under
    /// way to find out.
    Wait,
    /// No.
    Refused {
        /// When to ask again.
        until: Timestamp,
    },
}

/// Closed at first; opened by a fault that affects every company; half-open after a pause, for one trial at a time.
#[derive(Clone, Debug)]
pub struct Breaker {
    pause: Backoff,
    open: Option<Open>,
    rate_limited: Option<RateLimited>,
    /// Whether UPS has answered since the start.
    answered: bool,
    /// When UPS last accepted this client.
    accepted_at: Option<Timestamp>,
    under_way: usize,
    /// The companies, in a row, for which UPS rejected the client.
    refused_as_client: Vec<CompanyId>,
    unknown: Option<(String, Vec<CompanyId>)>,
    /// The companies whose refresh token was refused since the last success, with the time of the refusal.
    refused: Vec<(CompanyId, Timestamp)>,
    /// How many requests in a row failed to reach UPS or got no answer, and since when.
    unreached: Option<(usize, Timestamp)>,
}

/// A pause that UPS asked for.
#[derive(Clone, Copy, Debug)]
struct RateLimited {
    since: Timestamp,
    until: Timestamp,
}

#[derive(Clone, Debug)]
struct Open {
    fault: ClientFault,
    since: Timestamp,
    /// Consecutive failed trials, including the fault that opened the breaker.
    times: u32,
    until: Timestamp,
    /// The company whose trial is under way.
    trial: Option<CompanyId>,
    /// The companies that failed, each with its number of failed trials.
    failed: Vec<(CompanyId, u32)>,
    /// Whether a company that has not failed has asked.
    has_others: bool,
}

impl Breaker {
    /// A closed breaker with `pause` between trials.
    pub fn new(pause: Backoff) -> Self {
        Self {
            pause,
            open: None,
            rate_limited: None,
            answered: false,
            accepted_at: None,
            under_way: 0,
            refused_as_client: Vec::new(),
            unknown: None,
            refused: Vec::new(),
            unreached: None,
        }
    }

    /// Whether a request for `company` may be sent now. A granted trial holds back all other companies for one more
    /// pause. A caller that is no longer `patient` never gets [`Permit::Wait`].
    pub fn permit(&mut self, errand: Errand, company: &CompanyId, patient: bool, now: Timestamp) -> Permit {
        if let Some(until) = self.limited_until(now) {
            return Permit::Refused { until };
        }
        let unproven = self.is_unproven(now) && self.under_way + self.refused_as_client.len() >= UNPROVEN;
        let open = self.open.as_mut().filter(|open| errand == Errand::Refresh || open.fault.is_the_clients());
        let permit = match open {
            None if unproven && patient => return Permit::Wait,
            None => Permit::Granted,
            Some(open) => {
                let pause = open.fault.pause(self.pause);
                if let Some(until) = open.refuses(company, pause, now) {
                    return Permit::Refused { until };
                }
                open.until = later(now, open.fault.trial(pause.after(open.times, 1.0)));
                open.trial = Some(company.clone());
                Permit::Trial
            }
        };
        self.under_way += 1;
        permit
    }

    /// A permitted request for `company` has ended, with any outcome. If nothing was reported of a trial, nothing was
    /// sent, and while UPS is out of reach the next trial may begin.
    pub fn ended(&mut self, company: &CompanyId, now: Timestamp) {
        self.under_way = self.under_way.saturating_sub(1);
        let is_of_trial = |open: &&mut Open| open.trial.as_ref() == Some(company);
        if let Some(open) = self.open.as_mut().filter(is_of_trial).filter(|open| open.fault == ClientFault::OutOfReach)
        {
            open.until = open.until.min(now);
        }
    }

    /// Why the breaker is open; `None` if it is closed.
    pub fn fault(&self) -> Option<&ClientFault> {
        self.open.as_ref().map(|open| &open.fault)
    }

    /// Why nothing, or less than usual, is sent at `now`.
    pub fn troubles(&self, now: Timestamp) -> Vec<UpsTrouble> {
        let open = self.open.as_ref().map(|open| UpsTrouble {
            kind: (&open.fault).into(),
            since: Some(open.since),
            until: Some(open.until).filter(|until| *until > now),
        });
        let kind = UpsTroubleKind::RateLimited;
        let limited = self.limited(now).map(|RateLimited { since, until }| UpsTrouble {
            kind,
            since: Some(since),
            until: Some(until),
        });
        open.into_iter().chain(limited).collect()
    }

    /// When the next trial is due, if the breaker is open.
    pub fn open_until(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.until)
    }

    /// UPS issued a pair.
    pub fn succeeded(&mut self, errand: Errand, now: Timestamp) {
        self.accepted(now);
        if errand == Errand::Refresh {
            self.open = None;
            self.unknown = None;
            self.refused.clear();
        }
    }

    /// UPS refused the code or the refresh token of `company`, which shows that UPS accepts the client. Returns whether
    /// this opened a closed breaker. A refusal that is `explained` by a lost answer is not counted.
    pub fn refused(&mut self, errand: Errand, company: &CompanyId, explained: bool, now: Timestamp) -> bool {
        self.accepted(now);
        if errand == Errand::Exchange {
            return false;
        }
        self.unknown = None;
        self.open = self.open.take().filter(|open| open.fault == ClientFault::Wave);
        if explained {
            return false;
        }
        self.refused.retain(|(known, at)| known != company && *at <= now && now < later(*at, WAVE));
        self.refused.push((company.clone(), now));
        let others = self.refused.len().saturating_sub(REFUSED_IN_A_WAVE);
        self.refused.drain(..others);
        self.refused.len() >= REFUSED_IN_A_WAVE && self.open_for(company, ClientFault::Wave, now)
    }

    /// A request for `company` ended in `fault`. Returns whether this opened a closed breaker.
    pub fn failed(&mut self, company: &CompanyId, fault: ClientFault, now: Timestamp) -> bool {
        let is_first = !self.answered;
        self.reached();
        let concerns_all = match &fault {
            // This also applies to a trial: an unknown error is no further evidence against the client.
            ClientFault::Unknown(text) => self.unknown_in_a_row(company, text),
            _ => {
                add(&mut self.refused_as_client, company, CLIENT_IN_A_ROW);
                let is_trial = self.open.as_ref().is_some_and(|open| open.trial.as_ref() == Some(company));
                is_first || is_trial || self.refused_as_client.len() >= CLIENT_IN_A_ROW
            }
        };
        concerns_all && self.open_for(company, fault, now)
    }

    /// UPS asked for a pause (429): nothing is sent until it is over.
    pub fn rate_limited(&mut self, pause: Duration, now: Timestamp) {
        self.reached();
        let until = later(now, pause.min(LONGEST_RATE_LIMIT));
        let since = self.limited(now).map_or(now, |limited| limited.since);
        let until = self.rate_limited.map_or(until, |limited| limited.until.max(until));
        self.rate_limited = Some(RateLimited { since, until });
    }

    /// A request for `company` did not reach UPS, or got no answer. Returns whether this opened a closed breaker.
    pub fn unreached(&mut self, company: &CompanyId, now: Timestamp) -> bool {
        let (requests, _) = self.unreached.get_or_insert((0, now));
        *requests = requests.saturating_add(1);
        let concerns_all = match &self.open {
            Some(open) => open.fault == ClientFault::OutOfReach,
            None => *requests >= OUT_OF_REACH_IN_A_ROW,
        };
        concerns_all && self.open_for(company, ClientFault::OutOfReach, now)
    }

    /// Another process has recorded that UPS is out of reach since then. Unless UPS has answered this process, the next
    /// request is a trial. Returns whether UPS has answered, so that the record no longer holds.
    pub fn hears_of_outage(&mut self, since: Timestamp, now: Timestamp) -> bool {
        if self.answered {
            return !self.is_out_of_reach();
        }
        if self.open.is_none() {
            let fault = ClientFault::OutOfReach;
            let open = Open { fault, since, times: 1, until: now, trial: None, failed: Vec::new(), has_others: false };
            self.open = Some(open);
        }
        false
    }

    /// Since when UPS is out of reach.
    pub fn out_of_reach_since(&self) -> Option<Timestamp> {
        self.open.as_ref().filter(|open| open.fault == ClientFault::OutOfReach).map(|open| open.since)
    }

    /// Whether UPS is out of reach.
    pub fn is_out_of_reach(&self) -> bool {
        self.fault() == Some(&ClientFault::OutOfReach)
    }

    /// Until when no refresh may be sent; `None`: one may.
    pub fn blocked_until(&self, now: Timestamp) -> Option<Timestamp> {
        let limited = self.limited_until(now);
        let open = self.open.as_ref().filter(|open| within(open.until, now, open.longest(self.pause)));
        limited.max(open.map(|open| open.until))
    }

    fn limited_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.limited(now).map(|limited| limited.until)
    }

    fn limited(&self, now: Timestamp) -> Option<RateLimited> {
        self.rate_limited.filter(|limited| within(limited.until, now, LONGEST_RATE_LIMIT))
    }

    /// UPS answered, with any content.
    fn reached(&mut self) {
        self.answered = true;
        self.unreached = None;
        self.open = self.open.take().filter(|open| open.fault != ClientFault::OutOfReach);
    }

    fn accepted(&mut self, now: Timestamp) {
        self.reached();
        self.accepted_at = Some(now);
        self.refused_as_client.clear();
        self.open = self.open.take().filter(|open| !open.fault.is_the_clients());
    }

    fn is_unproven(&self, now: Timestamp) -> bool {
        let is_recent = |at: Timestamp| at <= now && now < later(at, PROVEN_FOR);
        !self.refused_as_client.is_empty() || !self.accepted_at.is_some_and(is_recent)
    }

    fn open_for(&mut self, company: &CompanyId, fault: ClientFault, now: Timestamp) -> bool {
        let (times, since, mut failed) = match self.open.take() {
            None => (1, self.unreached.map_or(now, |(_, since)| since), Vec::new()),
            Some(open) if open.trial.as_ref() == Some(company) => {
                let since = if open.fault == fault { open.since } else { now };
                (open.times.saturating_add(1), since, open.failed)
            }
            // A breaker that is open for refreshes alone still allows exchanges; this fault must stop those as well.
            Some(open) if fault.is_the_clients() && !open.fault.is_the_clients() => (1, now, Vec::new()),
            Some(mut open) => {
                // This request was sent before the breaker opened, so it is no new evidence against the client.
                open.add_failed(company, 0);
                self.open = Some(open);
                return false;
            }
        };
        if times == 1 && fault.is_the_clients() {
            failed.extend(self.refused_as_client.iter().map(|company| (company.clone(), 0)));
        }
        let until = later(now, fault.pause(self.pause).after(times, 1.0));
        let mut open = Open { fault, since, times, until, trial: None, failed, has_others: false };
        open.add_failed(company, u32::from(times > 1));
        self.open = Some(open);
        times == 1
    }

    fn unknown_in_a_row(&mut self, company: &CompanyId, text: &str) -> bool {
        let companies = match &mut self.unknown {
            Some((known, companies)) if known == text => companies,
            other => &mut other.insert((text.to_owned(), Vec::new())).1,
        };
        add(companies, company, UNKNOWN_IN_A_ROW);
        companies.len() >= UNKNOWN_IN_A_ROW
    }
}

impl Open {
    /// Until when `company` is refused; `None` if it may have the next trial.
    fn refuses(&mut self, company: &CompanyId, pause: Backoff, now: Timestamp) -> Option<Timestamp> {
        let failed = self.failed.iter().find(|(failed, _)| failed == company);
        self.has_others |= failed.is_none();
        if within(self.until, now, self.longest(pause)) {
            return Some(self.until);
        }
        // The fault may be this company's own, so another company gets the first trial; only for a while, because no
        // other may ask.
        let is_suspect = failed.is_some_and(|(_, trials)| self.failed.len() == 1 || *trials > 1);
        let others_until = later(self.until, pause.first);
        (is_suspect && self.has_others && within(others_until, now, pause.first)).then_some(others_until)
    }

    /// The longest time that the next trial can be ahead; a later one was set by a wrong clock.
    fn longest(&self, policy: Backoff) -> Duration {
        let pause = self.fault.pause(policy);
        self.fault.trial(pause.most)
    }

    fn add_failed(&mut self, company: &CompanyId, trials: u32) {
        if let Some((_, failed)) = self.failed.iter_mut().find(|(failed, _)| failed == company) {
            *failed = failed.saturating_add(trials);
        } else if self.failed.len() < MOST_FAILED {
            self.failed.push((company.clone(), trials));
        }
    }
}

/// Adds `company` once, up to `most` companies.
fn add(companies: &mut Vec<CompanyId>, company: &CompanyId, most: usize) {
    if companies.len() < most && !companies.contains(company) {
        companies.push(company.clone());
    }
}
