//! One seed, from the first opt-in to the final check.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    Environment,
    events::{Event, EventId, EventKind},
    machine::CauseKind,
    store::{EventOrder, EventQuery, Store as _},
};

use batchsuite_tests::virtual_time::{in_virtual_time, micros};

use crate::{
    broken::Break,
    faults::{Fault, Tally},
    ledger::Ledger,
    plan::Plan,
    process::Name,
    world::{Weather, World},
};

/// The result of a seed.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) rotations: u64,
    pub(crate) opt_ins: u64,
    pub(crate) imports: u64,
    /// How often UPS was told to be out of reach.
    pub(crate) outages: u64,
    /// How many events were delivered.
    pub(crate) delivered: u64,
    pub(crate) recovered: u64,
    pub(crate) told_as_withdrawn: u64,
    pub(crate) superseded_by_clock: u64,
    /// Ended opt-ins, by cause.
    pub(crate) ended: Vec<(&'static str, u64)>,
    pub(crate) tally: Tally,
    /// The world's duration, in its own time.
    pub(crate) lasted: Duration,
    /// The number of trace lines, and their hash.
    pub(crate) trace: (u64, u64),
    /// The violation, and the last lines before it.
    pub(crate) violation: Option<(String, Vec<String>)>,
}

/// Runs one world.
pub(crate) fn run(seed: u64, is_shown: bool, broken: Option<Break>) -> Outcome {
    in_virtual_time(seed, async {
        let world = World::new(seed, is_shown, broken);
        world.live().await;
        let outcome = world.outcome(seed);
        let last: Vec<_> = world.slots().iter_mut().filter_map(|slot| slot.auth.take()).collect();
        drop(last);
        outcome
    })
}

impl World {
    async fn live(self: &Arc<Self>) {
        self.note("", format_args!("{:?}", self.plan));
        let mut started = 0;
        for slot in 0..self.plan.processes {
            self.start(slot, started);
            started += 1;
        }
        // A new consumer is told what happens from its beginning on.
        self.pause(Duration::from_millis(50)).await;
        for company in 0..self.plan.companies {
            tokio::spawn(Arc::clone(self).consent(company));
        }
        self.pause(Duration::from_secs(180)).await;
        self.weather().is_calm = false;
        while self.now() < micros(self.plan.troubled_for) && !self.is_violated() {
            let rest = self.dice().milliseconds(0..micros(self.plan.pace * 2) / 1000);
            self.pause(rest).await;
            self.start_what_is_down(0.3, &mut started);
            self.backs_up_or_restores(&mut started).await;
            self.next_deed();
        }
        if !self.is_violated() {
            self.calm_down(&mut started).await;
        }
        if !self.is_violated() {
            self.look_at_everything().await;
        }
    }

    fn start_what_is_down(self: &Arc<Self>, chance: f64, started: &mut usize) {
        for slot in 0..self.plan.processes {
            let is_down = self.slots()[slot].auth.is_none();
            if is_down && self.dice().chance(chance) {
                self.start(slot, *started);
                *started += 1;
            }
        }
    }

    /// An operator makes a backup, or restores one: all processes are stopped before, and none serves before the marks
    /// are set.
    async fn backs_up_or_restores(self: &Arc<Self>, started: &mut usize) {
        if self.dice().chance(0.002) {
            self.note("", format_args!("a backup is made"));
            self.back_up();
        }
        if !self.dice().chance(self.plan.disasters / 20.0) {
            return;
        }
        for slot in 0..self.plan.processes {
            let incarnation = self.slots()[slot].incarnation;
            self.kill(slot, incarnation);
        }
        // Saves in transit to the store arrive or are lost.
        self.pause(Duration::from_secs(100)).await;
        if !self.restore() {
            return;
        }
        self.suffers(Fault::BackupRestored, "store");
        let weather = std::mem::replace(&mut *self.weather(), Weather { is_calm: true, ..Weather::default() });
        self.start(0, *started);
        *started += 1;
        let Some((incarnation, _, auth)) = self.process(0) else { return };
        let marked = auth.after_restore().await;
        self.note(Name(0, incarnation), format_args!("marks after the restore: {:?}", marked.ok()));
        *self.weather() = weather;
    }

    /// A person, a program or chance acts.
    fn next_deed(self: &Arc<Self>) {
        let (company, slot, user) = {
            let mut dice = self.dice();
            (dice.below(self.plan.companies), dice.below(self.plan.processes), dice.below(self.plan.users))
        };
        if self.dice().chance(self.plan.disasters) {
            return self.disaster(slot);
        }
        let world = Arc::clone(self);
        let deed = self.dice().below(1000);
        match deed {
            0..4 => {
                tokio::spawn(world.remove(slot, company));
            }
            4..7 => self.change_password(user),
            7..12 => {
                self.suffers(Fault::TwoConsents, "");
                tokio::spawn(Arc::clone(&world).consent(company));
                tokio::spawn(world.consent(company));
            }
            12..20 => {
                self.suffers(Fault::Consented, "");
                tokio::spawn(world.consent(company));
            }
            20..150 => self.repair(company),
            150..156 => {
                tokio::spawn(world.import(company));
            }
            _ => {
                let goes_after = (deed < 250).then(|| self.dice().milliseconds(0..400));
                tokio::spawn(world.ask(slot, company, goes_after, deed > 990));
            }
        }
    }

    /// An administrator opts in again where a company has no opt-in, or moves it here from another system.
    fn repair(self: &Arc<Self>, first: usize) {
        let broken = self.ledger(|ledger| ledger.without_opt_in(first));
        if let Some(company) = broken {
            if self.dice().chance(0.15) {
                tokio::spawn(Arc::clone(self).import(company));
                return;
            }
            self.suffers(Fault::Consented, "");
            tokio::spawn(Arc::clone(self).consent(company));
        }
    }

    fn disaster(self: &Arc<Self>, slot: usize) {
        let now = self.now();
        let (kind, long, short) = {
            let mut dice = self.dice();
            (dice.below(16), micros(dice.seconds(60..1800)), micros(dice.seconds(5..300)))
        };
        match kind {
            0 | 1 => self.weather().store_away_until = now + short,
            2 | 3 => self.weather().store_away_for = (slot, now + short),
            4 => self.weather().ups_away_until = now + long,
            5 => self.weather().wave_until = now + short,
            6 => self.weather().client_refused_until = now + short / 4,
            7 | 8 => {
                if let Some((incarnation, ..)) = self.process(slot) {
                    self.suffers(Fault::Killed, Name(slot, incarnation));
                    self.kill(slot, incarnation);
                }
            }
            9 => self.stop_for_a_while(slot, Fault::Frozen),
            10 | 11 => self.stop_for_a_while(slot, Fault::FrozenPastLease),
            12 => self.suspend(),
            13 if self.plan.sets_clocks => self.set_process_clock(slot),
            14 if self.plan.sets_clocks => self.set_store_clock(),
            _ => {
                self.suffers(Fault::Restarted, format_args!("p{slot}"));
                let world = Arc::clone(self);
                tokio::spawn(async move { world.shut_down(slot).await });
            }
        }
        self.note("", format_args!("disaster {kind} at p{slot}"));
    }

    /// Faults stop, and hours pass.
    async fn calm_down(self: &Arc<Self>, started: &mut usize) {
        *self.weather() = Weather { is_calm: true, ..Weather::default() };
        self.note("", format_args!("all is calm"));
        // Shutdowns in progress complete; stopped processes continue.
        for slot in 0..self.plan.processes {
            self.clocks.set_process(slot, 0);
            let incarnation = self.slots()[slot].incarnation;
            self.thaw(slot, incarnation);
        }
        self.pause(Duration::from_secs(180)).await;
        self.start_what_is_down(1.0, started);
        self.pause(Self::DELIVERED_WITHIN).await;
        self.ledger(Ledger::deliveries_are_quiet);
        self.pause(Plan::calm_for()).await;
        for slot in 0..self.plan.processes {
            for company in 0..self.plan.companies {
                Arc::clone(self).ask(slot, company, None, false).await;
            }
        }
    }

    async fn look_at_everything(self: &Arc<Self>) {
        let log = self.all_events().await;
        self.pause(Duration::from_secs(60)).await;
        self.ledger(|ledger| ledger.all_are_delivered(&log));
        self.ledger(|ledger| ledger.outages_are_told_once(&log));
        // Work in progress completes, so that the ledger and the rows show the same moment.
        for slot in 0..self.plan.processes {
            if let Some((_, _, auth)) = self.process(slot) {
                auth.quiesce();
            }
        }
        self.pause(Duration::from_secs(60)).await;
        for slot in 0..self.plan.processes {
            let Some((_, _, auth)) = self.process(slot) else { continue };
            for (index, company) in self.companies.iter().enumerate() {
                let token = auth.access_token(company).await;
                let is_accepted = token.as_ref().is_ok_and(|token| self.accepts(token));
                let status = auth.status(company).await.map(|company| company.status);
                self.ledger(|ledger| match &status {
                    Ok(status) => ledger.at_the_end(index, status, &token, is_accepted),
                    Err(error) => ledger.note_violation(format!("company {index} at the end: {error}")),
                });
            }
        }
        for (index, company) in self.companies.iter().enumerate() {
            let query = EventQuery {
                environment: Environment::Cie,
                company: Some(company.clone()),
                order: EventOrder::OldestFirst,
                after: Some(EventId::START),
                limit: usize::MAX,
            };
            match self.store().events(query).await {
                Ok(page) => {
                    if let Some(words) = twice_told(&page.items) {
                        self.ledger(|ledger| ledger.note_violation(format!("company {index}: {words}")));
                    }
                }
                Err(error) => self.ledger(|ledger| ledger.note_violation(format!("company {index}: {error}"))),
            }
        }
        for slot in 0..self.plan.processes {
            if !self.shut_down(slot).await {
                self.ledger(|ledger| ledger.note_violation(format!("p{slot}: its shutdown is not complete")));
            }
        }
        self.ledger(Ledger::no_opt_in_is_thrown_away);
        let store_set = self.clocks.store_set();
        self.ledger(|ledger| ledger.no_import_is_thrown_away(store_set));
    }

    fn outcome(&self, seed: u64) -> Outcome {
        let trace = self.trace();
        let (tally, lasted, story) = (self.tally(), Duration::from_micros(self.now()), self.story());
        self.ledger(|ledger| Outcome {
            seed,
            rotations: ledger.rotations,
            opt_ins: ledger.opt_ins,
            imports: ledger.imports,
            outages: ledger.outages,
            delivered: ledger.events_delivered(),
            recovered: ledger.recovered,
            told_as_withdrawn: ledger.told_as_withdrawn,
            superseded_by_clock: ledger.superseded_by_clock,
            ended: ledger.ended.iter().map(|(cause, times)| (*cause, *times)).collect(),
            tally,
            lasted,
            trace,
            violation: ledger.violation.clone().zip(story),
        })
    }
}

/// An inconsistency in the events: a company's events are its transitions, each exactly once.
fn twice_told(events: &[Event]) -> Option<String> {
    let (mut is_authenticated, mut cause): (bool, Option<CauseKind>) = (false, None);
    for event in events {
        let is_right = match event.kind {
            EventKind::Authenticated | EventKind::Removed => {
                (is_authenticated, cause) = (event.kind == EventKind::Authenticated, None);
                true
            }
            EventKind::Refreshed => is_authenticated && cause.is_none(),
            EventKind::Recovered => cause.take().is_some(),
            EventKind::Invalidated => {
                let is_new = is_authenticated && event.cause.is_some() && cause != event.cause;
                cause = event.cause;
                is_new
            }
            _ => true,
        };
        if !is_right {
            return Some(format!("the event {} {} cannot be", event.id.number(), event.kind));
        }
    }
    None
}
