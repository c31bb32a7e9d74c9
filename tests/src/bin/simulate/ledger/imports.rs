//! Another system's tokens: what that system does with them, and what must come of their imports.

use batchsuite_auth::{CauseKind, Imported, error::ImportError};

use super::{Asks, Doubt, Grant, Incarnation, Landed, Ledger, Outcome, Pair, PairId, Sent, Stands, digest, rows::ECHO};

/// What is known of an opt-in at another system.
pub(super) struct Elsewhere {
    /// The import says when UPS issued the tokens.
    is_dated: bool,
    /// The latest import that nobody was refused: in which process, and when.
    called: Option<(Incarnation, u64)>,
}

/// UPS dates by the millisecond.
const MILLISECOND: u64 = 1_000;
/// Where no clock was set.
const CLOCKS_DIFFER: u64 = 600 * 1_000_000;

impl Ledger {
    /// A person opts in at another system, which keeps these tokens.
    pub(crate) fn opted_in_elsewhere(
        &mut self,
        company: usize,
        (access, refresh): (&str, &str),
        (issued_at, expires_at): (u64, u64),
        store_set: u64,
        is_dated: bool,
    ) {
        let pair = Pair::issued(issued_at, expires_at, store_set);
        let elsewhere = Some(Elsewhere { is_dated, called: None });
        let (user, began) = (self.companies[company].user, (issued_at, issued_at));
        self.grants.push(Grant { company, user, began, pairs: vec![pair], ended: None, elsewhere });
        let id = PairId { grant: self.grants.len() - 1, rotation: 0 };
        self.access_tokens.insert(digest(access), id);
        self.refresh_tokens.insert(digest(refresh), id);
    }

    /// Whether the other system gets a pair for this refresh token.
    pub(crate) fn is_good_elsewhere(&self, refresh: &str) -> bool {
        let id = self.refresh_tokens.get(&digest(refresh));
        id.is_some_and(|id| !self.pair(*id).is_spent && self.grant(*id).ended.is_none())
    }

    /// The other system used this refresh token, and has the next pair.
    pub(crate) fn spent_elsewhere(&mut self, refresh: &str, next: (&str, &str), times: (u64, u64), store_set: u64) {
        self.issues(Asks::Refresh(digest(refresh)), next, times, store_set);
    }

    /// An import of this refresh token is called.
    pub(crate) fn import_called(&mut self, by: Incarnation, refresh: &str, now: u64) {
        if let Some(elsewhere) = self.elsewhere(refresh) {
            elsewhere.called = Some((by, now));
        }
    }

    /// An import that was called at `called_at` came back.
    pub(crate) fn import_answered(&mut self, refresh: &str, called_at: u64, answer: &Result<Imported, ImportError>) {
        let Some(id) = self.refresh_tokens.get(&digest(refresh)).copied() else { return };
        let index = self.grant(id).company;
        match answer {
            Ok(imported) => {
                if !self.pair(id).has_landed {
                    self.violated(|| format!("company {index}: {id:?} is said to be {imported:?}, and is not"));
                }
            }
            Err(ImportError::Store(_) | ImportError::ShutDown) => {}
            Err(error) => {
                let is_of_the_company = matches!(error, ImportError::NewerOptIn | ImportError::ChangedSince);
                if is_of_the_company && self.companies[index].had_no_opt_in_since(called_at) {
                    self.violated(|| format!("company {index}: an import is refused as {error:?}, but there is none"));
                }
                if let Some(elsewhere) = self.elsewhere(refresh) {
                    elsewhere.called = None;
                }
            }
        }
    }

    /// A process sends the save of an import to the store.
    pub(crate) fn import_is_sent(&mut self, landed: &Landed) {
        self.import_attempts.entry(landed.text("/opt_in")).or_insert(landed.number("/removals"));
    }

    pub(super) fn imported(&mut self, landed: &Landed, now: u64, store_set: u64) {
        let again = landed.refresh.and_then(|token| self.refresh_tokens.get(&token)).copied();
        if let Some(again) = again.filter(|id| self.pair(*id).has_landed) {
            self.gave_up(again);
        }
        let Some(id) = self.stored_pair(landed) else { return };
        self.imports += 1;
        let before = self.companies[landed.company].clone();
        if self.import_attempts.get(&landed.text("/opt_in")) != Some(&landed.number("/removals")) {
            self.violated(|| format!("company {}: an import is stored that began before a removal", landed.company));
        }
        let replaced = before.stored.filter(|_| before.stands == Stands::Authenticated);
        if let Some(replaced) = replaced.filter(|replaced| !self.may_replace(*replaced, id, store_set)) {
            self.violated(|| format!("company {}: the import of {id:?} replaces {replaced:?}", landed.company));
        }
        self.grants[id.grant].began = (now, now);
        let company = &mut self.companies[landed.company];
        (company.claim, company.stored) = (None, Some(id));
        company.forget_doubts();
        // The other system may have used the token, until the first clean rotation that is sent later.
        company.echoes.push(Doubt { at: landed.number("/authenticated_at") - ECHO, is_founded: true });
        company.stand(Stands::Authenticated, now);
    }

    /// A token that was imported before is imported once more: what was under way for the earlier opt-in belongs to none now.
    fn gave_up(&mut self, id: PairId) {
        let is_of_the_grant = |sent: &&mut Sent| sent.token.grant == id.grant && sent.outcome == Outcome::Open;
        self.sends.iter_mut().filter(is_of_the_grant).for_each(|sent| sent.outcome = Outcome::Removed);
        let pairs = &mut self.grants[id.grant].pairs;
        pairs.iter_mut().filter(|pair| !pair.has_landed).for_each(|pair| pair.holder = None);
    }

    /// Whether an import may replace an opt-in that is authenticated.
    fn may_replace(&self, stored: PairId, import: PairId, store_set: u64) -> bool {
        let is_dated = |grant: &Grant| grant.elsewhere.as_ref().is_none_or(|elsewhere| elsewhere.is_dated);
        let rotated_at = (stored.rotation > 0).then(|| self.pair(stored).issued_at);
        let (stored, import) = (self.grant(stored), self.grant(import));
        // The store's clock dates a rotation, and UPS's the import.
        let is_outlived = rotated_at.is_some_and(|at| import.pairs[0].issued_at + CLOCKS_DIFFER < at);
        let is_later = import.pairs[0].issued_at + MILLISECOND > stored.pairs[0].issued_at;
        // A store whose clock was set may not believe UPS's dates.
        is_dated(import) && (store_set > 0 || (!is_outlived && (!is_dated(stored) || is_later)))
    }

    /// Each import into a process that lives is stored, unless it was refused or something else happened to the company.
    pub(crate) fn no_import_is_thrown_away(&mut self, store_set: u64) {
        let lost = self.grants.iter().enumerate().find(|(_, grant)| {
            let Some(Elsewhere { is_dated, called: Some((by, called_at)) }) = grant.elsewhere else { return false };
            let is_refused = is_dated && store_set > 0;
            let company = &self.companies[grant.company];
            !self.dead.contains(&by)
                && !grant.pairs[0].has_landed
                && !is_refused
                && company.had_no_opt_in_since(called_at)
        });
        if let Some((number, grant)) = lost {
            let company = grant.company;
            self.violated(|| format!("company {company}: the import of grant {number} was thrown away"));
        }
    }

    fn elsewhere(&mut self, refresh: &str) -> Option<&mut Elsewhere> {
        let id = self.refresh_tokens.get(&digest(refresh))?;
        self.grants[id.grant].elsewhere.as_mut()
    }
}

impl super::Company {
    /// Whether the company had no opt-in then, and nothing has changed that since. UPS may have refused an invalidated one by
    /// mistake: it counts, as long as UPS is to be asked again.
    fn had_no_opt_in_since(&self, then: u64) -> bool {
        let may_have_one = matches!(self.stands, Stands::Authenticated | Stands::Reauth(CauseKind::OptInInvalidated));
        !may_have_one && self.since < then && !self.removals.iter().any(|at| *at >= then)
    }
}
