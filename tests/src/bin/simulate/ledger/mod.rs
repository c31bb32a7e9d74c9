//! The ledger: what UPS really did and what people really did, kept outside of the library, and what follows from it.
//!
//! It hears of each request when it is handed to a connection and when UPS acts on it, of each answer that reaches a process, of each
//! save that lands, and of each token that a caller gets. It knows nothing of the machine's rules: it knows what is true, and so which
//! status is true.

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

/// The number of a process that was started: the same slot, restarted, is another one.
pub(crate) type Incarnation = usize;
/// The number of a grant that UPS issued.
pub(crate) type GrantNumber = usize;

/// Everything that is known.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) companies: Vec<Company>,
    /// How often each UPS.com user's opt-ins were ended.
    user_epochs: Vec<u64>,
    grants: Vec<Grant>,
    /// By digest.
    refresh_tokens: HashMap<u64, PairId>,
    access_tokens: HashMap<u64, PairId>,
    codes: HashMap<u64, Code>,
    sends: Vec<Sent>,
    /// Processes that were killed.
    dead: BTreeSet<Incarnation>,
    /// Processes that were shut down.
    stopped: BTreeSet<Incarnation>,
    /// When each process stood still, or its store was silent or away.
    hindered: BTreeMap<Incarnation, Vec<u64>>,
    /// What each process has heard of the feed: the state of the store as of then.
    feeds: BTreeMap<Incarnation, u64>,
    /// When removals came back to a process as done.
    removed_by: BTreeMap<(Incarnation, usize), u64>,
    /// The end of the lease of each process's latest claim of a company, by the store's clock.
    leases: BTreeMap<(Incarnation, usize), Lease>,
    pub(crate) rotations: u64,
    pub(crate) opt_ins: u64,
    pub(crate) imports: u64,
    /// When each import was first sent to the store, by the opt-in that it begins.
    import_attempts: BTreeMap<String, u64>,
    /// Opt-ins that ended, by cause.
    pub(crate) ended: BTreeMap<&'static str, u64>,
    pub(crate) recovered: u64,
    /// How often a family that ended by our own second send was told as a withdrawal.
    pub(crate) told_as_withdrawn: u64,
    /// The first thing that must not be.
    pub(crate) violation: Option<String>,
}

/// One silent call is the claim's own; each other one costs half a lease.
const HINDRANCES: usize = 2;

/// Which pair of which grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairId {
    pub(crate) grant: GrantNumber,
    pub(crate) rotation: usize,
}

/// A company, as the rows that landed show it.
#[derive(Clone, Default)]
pub(crate) struct Company {
    pub(crate) user: usize,
    stands: Stands,
    /// Since when, in the true time.
    since: u64,
    /// The pair that is stored.
    stored: Option<PairId>,
    /// When removals landed.
    removals: Vec<u64>,
    /// The claim that has not said how it ended.
    claim: Option<Claim>,
    /// When claims were made whose outcome is in doubt, by the store's clock.
    doubts: Vec<Doubt>,
    /// The doubts over which pairs were stored: their echo may still come.
    echoes: Vec<Doubt>,
}

/// Where a company stands, by the steps that landed.
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

/// A claim of which nobody said how it ended.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// By the store's clock.
    at: i64,
    /// Its request was sent, or its process could not say that it was not.
    is_founded: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    stored: PairId,
    at: i64,
    until: i64,
    /// How far the store's clock had been set by then.
    store_set: u64,
}

/// What UPS knows of an opt-in.
struct Grant {
    company: usize,
    user: usize,
    /// When its consent began here: when the person asked for it, and when the person was sent away.
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
    /// A refresh token came a second time.
    Family(Killer),
}

/// By what a family ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killer {
    /// A copy of a request that had been answered: to a client this looks like a withdrawal.
    AnsweredCopy,
    /// A request over a lease that had run out: the holder of the pair was stopped, or the store was away. The design leaves no mark of it.
    SecondSend,
    /// The echo of a request that was not answered.
    Echo,
}

struct Pair {
    issued_at: u64,
    /// How far the store's clock had been set by then.
    store_set: u64,
    expires_at: u64,
    /// Who got it from UPS.
    holder: Option<Incarnation>,
    has_landed: bool,
    /// Its refresh token was used.
    is_spent: bool,
    /// How often UPS refused it although it was unused, for whatever reason.
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

/// A request with a refresh token on its way.
struct Sent {
    by: Incarnation,
    token: PairId,
    lease_until: i64,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// None yet, or silence: it may still be under way.
    Open,
    /// UPS's answer is here, whatever it says.
    Answered,
}

impl Ledger {
    pub(crate) fn new(companies: usize, users: usize) -> Self {
        Self {
            companies: (0..companies).map(|index| Company { user: index % users, ..Company::default() }).collect(),
            user_epochs: vec![0; users],
            ..Self::default()
        }
    }

    /// Notes what must not be; the first counts.
    fn violated(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    /// Notes what was seen elsewhere and must not be.
    pub(crate) fn note_violation(&mut self, what: String) {
        self.violated(|| what);
    }

    /// The first company from this one on that has no opt-in.
    pub(crate) fn without_opt_in(&self, first: usize) -> Option<usize> {
        let all = self.companies.len();
        (first..first + all)
            .map(|index| index % all)
            .find(|index| self.companies[*index].stands != Stands::Authenticated)
    }

    /// A process was killed: what it had in hand is lost.
    pub(crate) fn died(&mut self, process: Incarnation) {
        self.dead.insert(process);
    }

    /// A process was shut down: what it had in hand is stored.
    pub(crate) fn stopped(&mut self, process: Incarnation) {
        self.stopped.insert(process);
    }

    /// A process stands still, or its store is silent or away.
    pub(crate) fn hindered(&mut self, process: Incarnation, now: u64) {
        self.hindered.entry(process).or_default().push(now);
    }

    /// Whether the holder of a claim could not say how it ended.
    fn is_hindered(&self, claim: &Claim) -> bool {
        let hindrances = self.hindered.get(&claim.by).into_iter().flatten();
        // A stop, or a silence that ends after the store's deadline, twice.
        let since = claim.landed_at.saturating_sub(60_000_000);
        self.dead.contains(&claim.by)
            || self.stopped.contains(&claim.by)
            || hindrances.filter(|at| **at >= since).count() >= HINDRANCES
    }

    /// The store is as it was once. Every process was killed before; what they had sent is over.
    pub(crate) fn restored(&mut self, known: Vec<Company>, store_now: i64) {
        self.companies = known;
        for company in &mut self.companies {
            // Whoever held the claim in the backup is dead, and the refresh token may be spent.
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

/// Stands for a token.
pub(crate) fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
