//! Requests to UPS, their processing, and the answers.

use super::{Code, Ended, Grant, Incarnation, Killer, Ledger, Outcome, Pair, PairId, Sent, digest};

/// The purpose of a request to UPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// The exchange of a code, by digest.
    Exchange(u64),
    /// A refresh, by the digest of its token.
    Refresh(u64),
}

/// How a request arrives at UPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    First,
    /// Once more, sent by an intermediary.
    Again {
        of_answered: bool,
    },
}

/// UPS's treatment of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The fake decides.
    Ask,
    /// UPS refuses it: the family has ended.
    Refuse,
}

/// How long after its claim a request may be sent: five seconds, plus two for rounding.
const SENT_WITHIN: i64 = 7_000_000;
/// The slack of a lease: the store accepts a decision five seconds old, plus one second for rounding.
const LEASE_SLACK: i64 = 6_000_000;

impl Ledger {
    /// A person signed in at UPS.com and got this code.
    pub(crate) fn signed_in(&mut self, code: &str, company: usize, began: (u64, u64)) {
        let user = self.companies[company].user;
        let user_epoch = self.user_epochs[user];
        self.codes.insert(digest(code), Code { company, user, user_epoch, began, is_sent: false });
    }

    /// A process hands a request to a connection; returns its number if it is a refresh.
    pub(crate) fn handed_over(&mut self, by: Incarnation, send: Asks, store_now: i64, store_set: u64) -> Option<usize> {
        let token = match send {
            Asks::Exchange(code) => {
                let was_sent = self.codes.get_mut(&code).map(|code| std::mem::replace(&mut code.is_sent, true));
                match was_sent {
                    Some(false) => {}
                    Some(true) => self.violated(|| "a code is sent twice".to_owned()),
                    None => self.violated(|| "a code is sent that UPS never issued".to_owned()),
                }
                return None;
            }
            Asks::Refresh(token) => self.refresh_tokens.get(&token).copied(),
        };
        let Some(token) = token else {
            self.violated(|| "a refresh token is sent that UPS never issued".to_owned());
            return None;
        };
        let company = self.grant(token).company;
        let lease = self.leases.get(&(by, company)).copied().filter(|lease| lease.stored == token);
        let Some(lease) = lease else {
            self.violated(|| format!("company {company}: a refresh token is sent without a claim that is stored"));
            return None;
        };
        let allowed = SENT_WITHIN + (store_set - lease.store_set).cast_signed();
        if store_now > lease.at + allowed {
            let late = (store_now - lease.at) / 1_000_000;
            self.violated(|| format!("company {company}: {token:?} is sent {late} s after it was claimed"));
        }
        let claim = self.companies[company].claim.as_mut();
        if let Some(claim) = claim.filter(|claim| claim.by == by) {
            claim.is_sent = true;
        }
        // By a clock that was set back, a lease that is over may seem to last.
        let is_leased = |sent: &&Sent| {
            let slack = LEASE_SLACK + (store_set - sent.store_set).cast_signed();
            sent.token == token && sent.outcome == Outcome::Open && store_now + slack < sent.lease_until
        };
        let under_way = self.sends.iter().rev().take(2000).find(is_leased);
        if let Some(under_way) = under_way {
            let (other, rest) = (under_way.by, (under_way.lease_until - store_now) / 1_000_000);
            self.violated(|| {
                format!(
                    "company {company}: {token:?} is sent by process {by} while that of process {other} is under way, {rest} s before its lease ends"
                )
            });
        }
        let (lease_until, store_set) = (lease.until, lease.store_set);
        self.sends.push(Sent { by, token, lease_until, store_set, outcome: Outcome::Open });
        Some(self.sends.len() - 1)
    }

    /// A request arrives at UPS; returns how UPS treats it.
    pub(crate) fn arrives(&mut self, send: Asks, arrived: Arrived, ends_families: bool) -> Verdict {
        let Asks::Refresh(token) = send else { return Verdict::Ask };
        let Some(id) = self.refresh_tokens.get(&token).copied() else { return Verdict::Ask };
        let is_spent = self.pair(id).is_spent;
        let grant = &mut self.grants[id.grant];
        if is_spent && ends_families && grant.ended.is_none() {
            grant.ended = Some(Ended::Family(match arrived {
                Arrived::First => Killer::SecondSend,
                Arrived::Again { of_answered: true } => Killer::AnsweredCopy,
                Arrived::Again { of_answered: false } => Killer::Echo,
            }));
        }
        match grant.ended {
            Some(Ended::Family(_)) => {
                self.refused(id);
                Verdict::Refuse
            }
            _ => Verdict::Ask,
        }
    }

    /// UPS refused a refresh token.
    pub(crate) fn refuses(&mut self, send: Asks) {
        if let Asks::Refresh(token) = send
            && let Some(id) = self.refresh_tokens.get(&token).copied()
        {
            self.refused(id);
        }
    }

    fn refused(&mut self, id: PairId) {
        let pair = self.pair_mut(id);
        if !pair.is_spent {
            pair.refused_unused += 1;
        }
    }

    /// UPS issued a pair.
    pub(crate) fn issues(
        &mut self,
        send: Asks,
        tokens: (&str, &str),
        times: (u64, u64),
        store_set: u64,
    ) -> Option<PairId> {
        let (issued_at, expires_at) = times;
        let pair = Pair::issued(issued_at, expires_at, store_set);
        let id = match send {
            Asks::Exchange(code) => {
                let code = self.codes.get(&code)?;
                let ended = (code.user_epoch != self.user_epochs[code.user]).then_some(Ended::Withdrawn);
                let Code { company, user, began, .. } = *code;
                self.grants.push(Grant { company, user, began, pairs: vec![pair], ended, elsewhere: None });
                PairId { grant: self.grants.len() - 1, rotation: 0 }
            }
            Asks::Refresh(token) => {
                let before = self.refresh_tokens.get(&token).copied()?;
                self.pair_mut(before).is_spent = true;
                let pairs = &mut self.grants[before.grant].pairs;
                pairs.push(pair);
                PairId { grant: before.grant, rotation: pairs.len() - 1 }
            }
        };
        let (access, refresh) = tokens;
        self.access_tokens.insert(digest(access), id);
        self.refresh_tokens.insert(digest(refresh), id);
        Some(id)
    }

    /// An answer reached its process, and any pair in it is now in that process's hands.
    pub(crate) fn answered(&mut self, by: Incarnation, sent: Option<usize>, pair: Option<PairId>, is_definite: bool) {
        let is_removed =
            sent.and_then(|sent| self.sends.get(sent)).is_some_and(|sent| sent.outcome == Outcome::Removed);
        if let Some(id) = pair.filter(|_| !is_removed) {
            self.pair_mut(id).holder = Some(by);
        }
        // A restored backup has forgotten it.
        if let Some(sent) = sent.filter(|_| is_definite).and_then(|sent| self.sends.get_mut(sent)) {
            sent.outcome = Outcome::Answered;
        }
    }
}
