//! The actual events, recorded outside the library: UPS's actions as they passed on the wire, and the driver's own
//! actions.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use batchsuite_auth::{
    clock::{Clock as _, SystemClock, Timestamp},
    events::{Event, EventKind},
    machine::CauseKind,
};
use batchsuite_tests::Secrets;
use serde_json::Value;
use tokio::time::Instant;
use url::form_urlencoded;

/// A request ends after 20 s. The process may have stopped waiting for an answer that took longer than this.
const IN_TIME: Duration = Duration::from_secs(15);
/// How soon a pair is stored if nothing interferes.
const STORED_WITHIN: Duration = Duration::from_secs(5);
/// A request ends within 20 s, and its outcome is written within this time.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(25);
/// A lease lasts 60 s, of which up to 5 s pass between the claim and the send.
const SENT_AGAIN_AFTER: Duration = Duration::from_secs(50);
/// How soon requests from before a removal, including late ones, have arrived.
const REMOVED_EVERYWHERE: Duration = Duration::from_secs(60);

/// All records.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Book>);

impl Ledger {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("no thread panicked with the ledger")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) companies: Vec<Company>,
    pub(crate) processes: Vec<Process>,
    /// When the store was out of order for at least one process.
    outages: Vec<(Instant, Option<Instant>)>,
    /// Every secret that no log may show.
    pub(crate) secrets: Secrets,
    /// The number of rotations at UPS.
    pub(crate) rotations: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// How opt-ins ended, with counts.
    pub(crate) endings: BTreeMap<&'static str, u64>,
    /// Events in the service's own log, with counts.
    pub(crate) events: BTreeMap<&'static str, u64>,
    /// How long callers waited for a token.
    pub(crate) waits: Vec<Duration>,
    pub(crate) wrong: BTreeSet<String>,
    grants: Vec<Grant>,
    sends: Vec<Send>,
    /// A code's company, and the grant that it opened.
    codes: HashMap<String, (usize, Option<usize>)>,
    /// A refresh token's grant.
    tokens: HashMap<String, usize>,
    last_sent: HashMap<String, Instant>,
}

/// A process of the service.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) stops: Vec<(Instant, Option<Instant>)>,
    pub(crate) killed: Option<Instant>,
}

/// A company's true state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Truth {
    /// A change is in progress.
    #[default]
    Changing,
    /// UPS accepts the current refresh token.
    Alive,
    /// The password was changed, or UPS revoked the opt-in.
    Ended,
    /// The host removed the authorization and was told so at this time.
    Removed(Instant),
}

#[derive(Debug, Default)]
pub(crate) struct Company {
    pub(crate) truth: Truth,
    /// Goes up with each change of the truth.
    pub(crate) changes: u64,
    /// The company's grant.
    grant: Option<usize>,
    /// The periods without a living opt-in at UPS: from a password change to the next opt-in.
    ended: Vec<(Timestamp, Option<Timestamp>)>,
    /// An attempt whose outcome is not recorded, and since when.
    claimed: Option<(String, Instant)>,
    /// Whether an attempt of this opt-in was given up.
    gave_up: bool,
    opted_in: Option<Instant>,
    /// When the callers that still have no token asked.
    without: Vec<Instant>,
}

/// An opt-in at UPS.
#[derive(Debug)]
struct Grant {
    company: usize,
    opened: Instant,
    /// The request that brought the current refresh token.
    by: usize,
    rotations: u64,
}

/// A request to UPS.
#[derive(Debug)]
struct Send {
    process: usize,
    /// `None`: it exchanged a code.
    grant: Option<usize>,
    code: Option<String>,
    came: Instant,
    status: Option<u16>,
    delivered: Option<Instant>,
}

impl Book {
    pub(crate) fn wrong(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.wrong.insert(what.clone()) {
            tracing::error!("{what}");
        }
    }

    pub(crate) fn ending(&mut self, how: &'static str) {
        *self.endings.entry(how).or_default() += 1;
    }

    /// The store is out of order for at least one process; returns the outage's number.
    pub(crate) fn outage_begins(&mut self) -> usize {
        self.outages.push((Instant::now(), None));
        self.outages.len() - 1
    }

    pub(crate) fn outage_ends(&mut self, number: usize) {
        self.outages[number].1 = Some(Instant::now());
    }

    /// A code that UPS gave to a person of this company.
    pub(crate) fn code(&mut self, code: &str, company: usize) {
        self.secrets.add("authorization code", code);
        self.codes.insert(code.to_owned(), (company, None));
    }

    /// A process sends a request to UPS; returns the request's number.
    pub(crate) fn sent(&mut self, process: usize, form: &[u8]) -> usize {
        let now = Instant::now();
        let (mut code, mut grant) = (None, None);
        for (name, value) in form_urlencoded::parse(form) {
            match &*name {
                "code" => code = Some(value.into_owned()).filter(|code| self.codes.contains_key(code)),
                "refresh_token" => {
                    grant = self.tokens.get(&*value).copied();
                    self.check_send(&value, grant, now);
                }
                _ => {}
            }
        }
        if code.is_none() && grant.is_none() {
            self.wrong("a request with a token or a code that UPS never issued");
        }
        self.sends.push(Send { process, grant, code, came: now, status: None, delivered: None });
        self.sends.len() - 1
    }

    fn check_send(&mut self, token: &str, grant: Option<usize>, now: Instant) {
        let before = self.last_sent.insert(token.to_owned(), now);
        let Some(grant) = grant.map(|grant| &self.grants[grant]) else { return };
        let (company, opened) = (grant.company, grant.opened);
        if let Some(gap) = before.map(|before| now - before).filter(|gap| *gap < SENT_AGAIN_AFTER) {
            self.wrong(format!("company-{company}: a refresh token was sent twice within {gap:.1?}"));
        }
        if let Truth::Removed(at) = self.companies[company].truth
            && opened < at
            && now > at + REMOVED_EVERYWHERE
        {
            self.wrong(format!("company-{company}: a refresh {:.1?} after its removal", now - at));
        }
    }

    /// UPS answered this request.
    pub(crate) fn answered(&mut self, send: usize, status: u16, answer: &Value) {
        self.sends[send].status = Some(status);
        let (Some(access), Some(refresh)) = (answer["access_token"].as_str(), answer["refresh_token"].as_str()) else {
            return;
        };
        self.secrets.add("access token", access);
        self.secrets.add("refresh token", refresh);
        let grant = match self.sends[send].grant {
            Some(grant) => {
                self.rotations += 1;
                self.grants[grant].by = send;
                self.grants[grant].rotations += 1;
                self.follow(grant);
                grant
            }
            None => {
                let opened = self.sends[send].code.as_ref().and_then(|code| self.codes.get_mut(code));
                let Some((company, grant)) = opened else { return };
                self.grants.push(Grant { company: *company, opened: Instant::now(), by: send, rotations: 0 });
                *grant.insert(self.grants.len() - 1)
            }
        };
        self.tokens.insert(refresh.to_owned(), grant);
    }

    /// Of a company's two opt-ins the one that UPS issued later wins, even if the driver was told of the other.
    fn follow(&mut self, grant: usize) {
        let Grant { company, opened, .. } = self.grants[grant];
        let company = &mut self.companies[company];
        if company.truth == Truth::Alive && company.grant.is_some_and(|held| self.grants[held].opened < opened) {
            company.grant = Some(grant);
        }
    }

    /// The answer has reached the process's socket.
    pub(crate) fn delivered(&mut self, send: usize) {
        self.sends[send].delivered = Some(Instant::now());
    }

    /// A change to a company's state begins.
    pub(crate) fn change(&mut self, company: usize) {
        let company = &mut self.companies[company];
        (company.truth, company.changes) = (Truth::Changing, company.changes + 1);
        company.without.clear();
    }

    /// From now on UPS refuses the company's tokens.
    pub(crate) fn ends(&mut self, company: usize) {
        self.change(company);
        self.companies[company].truth = Truth::Ended;
        self.companies[company].ended.push((SystemClock.now(), None));
    }

    pub(crate) fn removed(&mut self, company: usize) {
        self.companies[company].truth = Truth::Removed(Instant::now());
    }

    /// The opt-in with this code was reported as complete.
    pub(crate) fn opted_in(&mut self, company: usize, code: &str) {
        let grant = self.codes.get(code).and_then(|(_, grant)| *grant);
        if grant.is_none() {
            self.wrong(format!("company-{company}: an opt-in that UPS knows nothing of"));
        }
        let company = &mut self.companies[company];
        (company.truth, company.grant, company.opted_in) = (Truth::Alive, grant, Some(Instant::now()));
        (company.claimed, company.gave_up) = (None, false);
        if let Some(ended) = company.ended.last_mut() {
            ended.1.get_or_insert_with(|| SystemClock.now());
        }
    }

    /// A company's number of changes, and its state.
    pub(crate) fn stands(&self, company: usize) -> (u64, Truth) {
        (self.companies[company].changes, self.companies[company].truth)
    }

    /// Whether the company has had its opt-in for longer than an earlier token could be handed out.
    pub(crate) fn is_settled(&self, company: usize) -> bool {
        self.companies[company].opted_in.is_some_and(|at| at.elapsed() > REMOVED_EVERYWHERE)
    }

    /// How often the company's current grant was rotated at UPS.
    pub(crate) fn rotations_of(&self, company: usize) -> u64 {
        self.companies[company].grant.map_or(0, |grant| self.grants[grant].rotations)
    }

    /// Updates the attempt recorded in the company's row. An attempt that outlasts a request will not be settled: its
    /// process died, was stopped, or could not reach the store.
    pub(crate) fn row(&mut self, company: usize, document: &Value) {
        let company = &mut self.companies[company];
        let Some(attempt) = document["phase"]["claimed"]["attempt"].as_str() else {
            company.claimed = None;
            return;
        };
        match &company.claimed {
            Some((known, since)) if known == attempt => company.gave_up |= since.elapsed() > GIVEN_UP_AFTER,
            _ => company.claimed = Some((attempt.to_owned(), Instant::now())),
        }
    }

    /// Why the process may not have stored the outcome of this request; `None`: it must have.
    fn may_be_lost(&self, send: &Send) -> Option<&'static str> {
        let Some(at) = send.delivered.filter(|at| *at - send.came < IN_TIME) else {
            return Some("RotationLost: the answer was lost");
        };
        let process = &self.processes[send.process];
        let meets = |spans: &[(Instant, Option<Instant>)], end: Instant| {
            spans.iter().any(|(from, until)| *from < end && until.is_none_or(|until| until > at))
        };
        match process.killed {
            Some(killed) => {
                let hindered = meets(&self.outages, killed) || meets(&process.stops, killed);
                (killed < at + STORED_WITHIN || hindered)
                    .then_some("RotationLost: the process was killed between answer and commit")
            }
            // The stopped process stores the pair when it continues.
            None => {
                let stop = process.stops.last()?;
                let is_over = stop.1.is_some_and(|end| end < at || end.elapsed() > 2 * STORED_WITHIN);
                (!is_over).then_some("RotationLost: the process with the pair was stopped")
            }
        }
    }

    /// Whether an attempt of the current opt-in stayed unanswered or unsettled.
    fn is_in_doubt(&self, company: usize) -> bool {
        let company = &self.companies[company];
        let Some(grant) = company.grant else { return false };
        let unsettled = |send: &&Send| !matches!(send.status, Some(200 | 400)) || self.may_be_lost(send).is_some();
        company.gave_up || self.sends.iter().filter(|send| send.grant == Some(grant)).any(|send| unsettled(&send))
    }

    /// Judges the report to a caller whose company's opt-in had ended at UPS.
    pub(crate) fn told_ended(&mut self, company: usize, told: &Value) -> bool {
        let how = match told["cause"].as_str() {
            Some("OptInInvalidated") => "password changed or withdrawn, told as OptInInvalidated",
            Some("RotationLost") if self.is_in_doubt(company) => {
                "password changed or withdrawn, told as RotationLost: an attempt was in doubt"
            }
            _ => return false,
        };
        self.ending(how);
        true
    }

    /// Judges the report to a caller whose company's opt-in is alive at UPS: a fault may have lost a pair.
    pub(crate) fn told_lost(&mut self, company: usize, told: &Value) -> bool {
        let grant = self.companies[company].grant.map(|grant| &self.grants[grant]);
        let Some(how) = grant
            .filter(|grant| grant.rotations > 0 && told["cause"] == "RotationLost")
            .and_then(|grant| self.may_be_lost(&self.sends[grant.by]))
        else {
            return false;
        };
        self.ending(how);
        // From now on callers wait for a person.
        self.companies[company].without.clear();
        true
    }

    /// Records a call for a token, made when the company had this number of changes, and whether it was served.
    pub(crate) fn called(&mut self, company: usize, changes: u64, asked: Instant, is_served: bool) {
        let asked_about = &mut self.companies[company];
        if asked_about.changes != changes || asked_about.truth != Truth::Alive {
            return;
        }
        asked_about.without.push(asked);
        if is_served {
            let now = Instant::now();
            self.waits.extend(asked_about.without.drain(..).map(|asked| now - asked));
        }
    }

    /// Asserts that a password change is reported only if there was one.
    pub(crate) fn check_events(&mut self, events: &[Event]) {
        let tolerance = Duration::from_secs(1);
        for event in events {
            *self.events.entry(event.kind.name()).or_default() += 1;
            let number = event.company.as_ref().and_then(|company| number(company.as_str()));
            let Some(company) = number.and_then(|number| self.companies.get(number)) else { continue };
            let has_ended = company.ended.iter().any(|(from, until)| {
                *from <= event.at + tolerance && until.is_none_or(|until| event.at <= until + tolerance)
            });
            if event.kind == EventKind::Invalidated && event.cause == Some(CauseKind::OptInInvalidated) && !has_ended {
                let (company, at) = (&event.company, event.at);
                self.wrong(format!("{company:?}: told as OptInInvalidated at {at}, without a password change"));
            }
        }
    }
}

/// The number of the company of this name.
pub(crate) fn number(name: &str) -> Option<usize> {
    name.strip_prefix("company-")?.parse().ok()
}
