//! The ledger: the actual deeds of UPS and people, recorded outside the library, and the conclusions from them.
//!
//! It records each request when it is handed to a connection and when UPS processes it, each answer that reaches a
//! process, each save that lands, and each token that a caller gets. It knows none of the machine's rules, only the
//! truth, and so the true status.

mod deliveries;
mod end;
mod imports;
mod rows;
mod served;
mod ups;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use batchsuite_auth::machine::CauseKind;

pub(crate) use self::{
    rows::Landed,
    served::Asked,
    ups::{Arrived, Asks, Verdict},
};

/// The number of a started process: a restarted slot gets a new one.
pub(crate) type Incarnation = usize;
/// The number of a grant issued by UPS.
pub(crate) type GrantNumber = usize;

/// All records.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) companies: Vec<Company>,
    /// How often each UPS.com user's opt-ins were ended.
    user_epochs: Vec<u64>,
    grants: Vec<Grant>,
    /// Keyed by digest.
    refresh_tokens: HashMap<u64, PairId>,
    access_tokens: HashMap<u64, PairId>,
    codes: HashMap<u64, Code>,
    sends: Vec<Sent>,
    /// Killed processes.
    dead: BTreeSet<Incarnation>,
    /// Processes that were shut down.
    stopped: BTreeSet<Incarnation>,
    /// Processes that stand still at present.
    frozen: BTreeSet<Incarnation>,
    /// When each process was stopped, or its store was silent or unavailable.
    hindered: BTreeMap<Incarnation, Vec<u64>>,
    /// The time up to which each process has read the feed.
    feeds: BTreeMap<Incarnation, u64>,
    /// When removals returned success to a process.
    removed_by: BTreeMap<(Incarnation, usize), u64>,
    /// The end of the lease of each process's latest claim of a company, by the store's clock.
    leases: BTreeMap<(Incarnation, usize), Lease>,
    pub(crate) rotations: u64,
    pub(crate) opt_ins: u64,
    pub(crate) imports: u64,
    /// How many removals each import saw first, by the opt-in that it begins. (After a removal the same tokens begin another one.)
    import_attempts: BTreeMap<String, i64>,
    /// Ended opt-ins, by cause.
    pub(crate) ended: BTreeMap<&'static str, u64>,
    pub(crate) recovered: u64,
    /// How often a family that our own second request ended was reported as a withdrawal.
    pub(crate) told_as_withdrawn: u64,
    delivered: deliveries::Delivered,
    refreshes: BTreeMap<Incarnation, deliveries::Refreshes>,
    /// How often UPS was told to be out of reach.
    pub(crate) outages: u64,
    /// How many second opt-ins lost against a first one because the store's clock went back between them.
    pub(crate) superseded_by_clock: u64,
    /// The first violation.
    pub(crate) violation: Option<String>,
}

/// One silent call is the claim's own; each further one costs half a lease.
const HINDRANCES: usize = 2;

/// A pair's grant and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairId {
    pub(crate) grant: GrantNumber,
    pub(crate) rotation: usize,
}

/// A company's state, according to the saves that landed.
#[derive(Clone, Default)]
pub(crate) struct Company {
    pub(crate) user: usize,
    stands: Stands,
    /// Since when, in the true time.
    since: u64,
    /// The stored pair.
    stored: Option<PairId>,
    /// When removals landed.
    removals: Vec<u64>,
    /// The claim whose outcome is not recorded.
    claim: Option<Claim>,
    /// When the claims in doubt were made, by the store's clock.
    doubts: Vec<Doubt>,
    /// The doubts that were open when pairs were stored: their echo may still come.
    echoes: Vec<Doubt>,
}

/// A company's standing, by the steps that landed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stands {
    #[default]
    Unauthenticated,
    Authenticated,
    Reauth(CauseKind),
}

#[derive(Clone, Debug)]
struct Claim {
    by: Incarnation,
    attempt: String,
    /// By the store's clock.
    at: i64,
    /// When it landed, in the true time.
    landed_at: u64,
    /// Its request was handed to a connection.
    is_sent: bool,
}

/// A claim whose outcome was never recorded.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// By the store's clock.
    at: i64,
    /// Whether its request was sent, or its process could not tell.
    is_founded: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    stored: PairId,
    at: i64,
    until: i64,
    /// How far the store's clock had been moved by then.
    store_set: u64,
}

/// UPS's record of an opt-in.
struct Grant {
    company: usize,
    user: usize,
    /// When its consent began here: when the person requested it, and when the person was redirected.
    began: (u64, u64),
    pairs: Vec<Pair>,
    ended: Option<Ended>,
    /// Another system opted in for it.
    elsewhere: Option<imports::Elsewhere>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The password was changed.
    Withdrawn,
    /// A refresh token was reused.
    Family(Killer),
}

/// What ended a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killer {
    /// A copy of an answered request: to a client this looks like a withdrawal.
    AnsweredCopy,
    /// A request after an expired lease: the pair's holder was stopped, or the store was unavailable. By design this
    /// leaves no mark.
    SecondSend,
    /// The echo of an unanswered request.
    Echo,
}

struct Pair {
    issued_at: u64,
    /// How far the store's clock had been moved by then.
    store_set: u64,
    expires_at: u64,
    /// The process that received it from UPS.
    holder: Option<Incarnation>,
    has_landed: bool,
    /// Its refresh token was used.
    is_spent: bool,
    /// How often UPS refused it although it was unused, for any reason.
    refused_unused: usize,
}

impl Pair {
    fn issued(issued_at: u64, expires_at: u64, store_set: u64) -> Self {
        Self { issued_at, store_set, expires_at, holder: None, has_landed: false, is_spent: false, refused_unused: 0 }
    }
}

struct Code {
    company: usize,
    user: usize,
    user_epoch: u64,
    began: (u64, u64),
    is_sent: bool,
}

/// A request with a refresh token in transit.
struct Sent {
    by: Incarnation,
    token: PairId,
    lease_until: i64,
    /// By how much the store's clock had been set when it was claimed.
    store_set: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// No outcome yet, or silence: it may still be in transit.
    Open,
    /// UPS's answer has arrived, whatever it says.
    Answered,
    /// The opt-in was removed, and its first token was imported again: a pair from this request is discarded.
    Removed,
}

impl Ledger {
    pub(crate) fn new(companies: usize, users: usize) -> Self {
        Self {
            companies: (0..companies).map(|index| Company { user: index % users, ..Company::default() }).collect(),
            user_epochs: vec![0; users],
            ..Self::default()
        }
    }

    /// Records a violation; only the first is kept.
    fn violated(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    /// Records a violation detected elsewhere.
    pub(crate) fn note_violation(&mut self, what: String) {
        self.violated(|| what);
    }

    /// The first company, starting from this one, without an opt-in.
    pub(crate) fn without_opt_in(&self, first: usize) -> Option<usize> {
        let all = self.companies.len();
        (first..first + all)
            .map(|index| index % all)
            .find(|index| self.companies[*index].stands != Stands::Authenticated)
    }

    /// A process was killed: its work in hand is lost.
    pub(crate) fn died(&mut self, process: Incarnation) {
        self.dead.insert(process);
    }

    /// A process was shut down: its work in hand is stored.
    pub(crate) fn stopped(&mut self, process: Incarnation) {
        self.stopped.insert(process);
    }

    /// A process is stopped, or its store is silent or unavailable.
    pub(crate) fn hindered(&mut self, process: Incarnation, now: u64) {
        self.hindered.entry(process).or_default().push(now);
    }

    /// A process stands still, or goes on.
    pub(crate) fn stands_still(&mut self, process: Incarnation, is_frozen: bool) {
        if is_frozen {
            self.frozen.insert(process);
        } else {
            self.frozen.remove(&process);
        }
    }

    /// Whether the claim's holder may have been unable to record its outcome.
    fn is_hindered(&self, claim: &Claim) -> bool {
        let hindrances = self.hindered.get(&claim.by).into_iter().flatten();
        // A stop, or two silences that end after the store's deadline.
        let since = claim.landed_at.saturating_sub(60_000_000);
        self.dead.contains(&claim.by)
            || self.frozen.contains(&claim.by)
            || self.stopped.contains(&claim.by)
            || hindrances.filter(|at| **at >= since).count() >= HINDRANCES
    }

    /// The store is set back to an earlier state. Every process was killed before, and their requests have ended.
    pub(crate) fn restored(&mut self, known: Vec<Company>, store_now: i64) {
        self.companies = known;
        for company in &mut self.companies {
            // The claim's holder in the backup is dead, and the refresh token may be spent.
            company.claim = None;
            if company.stored.is_some() {
                company.doubts.push(Doubt { at: store_now, is_founded: true });
            }
        }
        self.sends.clear();
    }

    /// A person changes the UPS.com password: every opt-in of that user ends.
    pub(crate) fn password_changed(&mut self, user: usize) {
        self.user_epochs[user] += 1;
        for grant in self.grants.iter_mut().filter(|grant| grant.user == user) {
            grant.ended = Some(Ended::Withdrawn);
        }
    }

    fn grant(&self, id: PairId) -> &Grant {
        &self.grants[id.grant]
    }

    fn pair(&self, id: PairId) -> &Pair {
        &self.grants[id.grant].pairs[id.rotation]
    }

    fn pair_mut(&mut self, id: PairId) -> &mut Pair {
        &mut self.grants[id.grant].pairs[id.rotation]
    }
}

/// Identifies a token.
pub(crate) fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
