//! The mutable state of this UPS: accounts, codes, grants.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::settings::Settings;

/// A user's consent, kept under its code.
pub(super) struct UserConsent {
    pub(super) client: usize,
    pub(super) user: usize,
    /// How often the user's opt-ins had been ended at that time.
    pub(super) opt_ins_ended: u32,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: Option<String>,
}

/// All state that changes together.
#[derive(Default)]
pub(super) struct Accounts {
    pub(super) users: Vec<Account>,
    pub(super) codes: HashMap<u64, Code, RandomState>,
    /// In order of issue.
    pub(super) code_order: VecDeque<u64>,
    pub(super) grants: HashMap<u64, Grant, RandomState>,
    /// Every grant once. Each new grant checks two of them, so that ended ones are removed without a sweep over all.
    pub(super) grant_round: VecDeque<u64>,
}

pub(super) struct Account {
    pub(super) name: String,
    pub(super) password: String,
    pub(super) opt_ins_ended: u32,
    /// Access tokens with a lower serial number are invalid.
    pub(super) first_good_serial: u64,
}

pub(super) struct Code {
    pub(super) code: Box<str>,
    /// `None` once the code was presented.
    pub(super) consent: Option<UserConsent>,
    pub(super) expires_at: i64,
}

pub(super) struct Grant {
    pub(super) client: usize,
    pub(super) user: usize,
    pub(super) opt_ins_ended: u32,
    /// The rotation of the current refresh token.
    pub(super) rotation: u64,
    pub(super) expires_at: i64,
}

/// No user of this UPS has that name.
#[derive(Debug, thiserror::Error)]
#[error("nobody at this UPS is called {0:?}")]
pub struct UnknownUser(String);

/// Beyond these limits the oldest entries are dropped: manual use never reaches them.
const MOST_CODES: usize = 100_000;
const MOST_GRANTS: usize = 1_000_000;

impl Accounts {
    pub(super) fn new(settings: &Settings) -> Self {
        let users = settings.users.iter().map(|user| Account::new(&user.name, &user.password)).collect();
        Self { users, ..Self::default() }
    }

    pub(super) fn user_mut(&mut self, name: &str) -> Result<&mut Account, UnknownUser> {
        self.users.iter_mut().find(|user| user.is_called(name)).ok_or_else(|| UnknownUser(name.to_owned()))
    }

    pub(super) fn keep_code(&mut self, number: u64, code: Code, now: i64) {
        while let Some(oldest) = self.code_order.front() {
            let ended = self.codes.get(oldest).is_none_or(|code| now >= code.expires_at);
            if !ended && self.code_order.len() < MOST_CODES {
                break;
            }
            self.codes.remove(oldest);
            self.code_order.pop_front();
        }
        self.codes.insert(number, code);
        self.code_order.push_back(number);
    }

    pub(super) fn keep_grant(&mut self, id: u64, grant: Grant, now: i64) {
        for _ in 0..2 {
            let Some(next) = self.grant_round.pop_front() else { break };
            let ended = self.grants.get(&next).is_none_or(|grant| now >= grant.expires_at);
            if ended || self.grant_round.len() + 1 >= MOST_GRANTS {
                self.grants.remove(&next);
            } else {
                self.grant_round.push_back(next);
            }
        }
        self.grants.insert(id, grant);
        self.grant_round.push_back(id);
    }
}

impl Account {
    pub(super) fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned(), opt_ins_ended: 0, first_good_serial: 0 }
    }

    /// E-mail addresses and user names are case-insensitive.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(expires_at: i64) -> Grant {
        Grant { client: 0, user: 0, opt_ins_ended: 0, rotation: 0, expires_at }
    }

    #[test]
    fn ended_grants_are_forgotten_as_new_ones_come() {
        let mut accounts = Accounts::default();
        for id in 0..1_000 {
            accounts.keep_grant(id, grant(10), 0);
        }
        for id in 1_000..2_000 {
            accounts.keep_grant(id, grant(100), 50);
        }

        assert_eq!(accounts.grants.len(), 1_000);
        assert_eq!(accounts.grant_round.len(), 1_000);
        assert!(accounts.grants.values().all(|grant| grant.expires_at == 100));
    }

    #[test]
    fn ended_codes_are_forgotten_and_living_ones_are_bounded() {
        let code = |expires_at| Code { code: "c".into(), consent: None, expires_at };
        let mut accounts = Accounts::default();
        for number in 0..100 {
            accounts.keep_code(number, code(10), 0);
        }
        accounts.keep_code(100, code(20), 10);
        assert_eq!(accounts.codes.len(), 1);

        for number in 0..MOST_CODES as u64 + 5 {
            accounts.keep_code(1_000 + number, code(20), 10);
        }
        assert_eq!((accounts.codes.len(), accounts.code_order.len()), (MOST_CODES, MOST_CODES));
    }
}
