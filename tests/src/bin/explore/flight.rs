//! A process's flight and keeper, await by await, in the order of `rotation/fetch.rs` and `rotation/attempt.rs`. The
//! machine decides; this file models only the engine around it.

use batchsuite_auth::test_util::machine::{Chore, FlightEvent, Next, Pause, Permit, StepRefusal, Wait};

use crate::{
    moves::{Kind, Moves},
    omit::Rule,
    row::{ACCESS_LIFETIME, Phase, Row, Standing, TICK, Ticks, whole_steps},
    rules::{Intent, pause_of},
    saves::Saved,
    scenario::{Callers, Fault},
    truth::{self, Finding},
    world::{Answer, Call, Failed, Fence, Ghost, Held, Outcome, Stop, Task, Trip, World},
};

/// How long a request waits for its answer.
const DEADLINE: Ticks = 1;
/// An attempt that no row remembers.
const NEW_ATTEMPT: u8 = 60;

impl Moves<'_> {
    /// An idle process: its keeper looks for woken grants, and callers come.
    pub(crate) fn idle(&mut self, index: usize) {
        let row = self.from.row;
        let is_away = self.from.away_since.is_some();
        match self.from.processes[index].stopping {
            Stop::No => {}
            Stop::Quiet => return self.quiet(index, is_away),
            Stop::Ended => return self.exit(index, "has shut down; another one is started"),
        }
        if !is_away && !self.from.is_hidden && row.wake_at.is_some_and(|at| at <= 0) {
            self.wake(index, &row);
        }
        if !is_away && !self.from.processes[index].was_asked {
            self.callers(index, &row);
        }
    }

    pub(crate) fn callers(&mut self, index: usize, row: &Row) {
        let callers = self.scenario.callers;
        if callers != Callers::None {
            self.ask(index, None, "is asked for a token, which it has not cached");
        }
        if callers == Callers::Reject && row.standing == Standing::Authenticated {
            self.ask(index, Some((row.epoch, row.version)), "is told that an API rejects the token");
        }
    }

    fn ask(&mut self, index: usize, renews: Option<(u8, u8)>, tale: &'static str) {
        let mut world = *self.from;
        let trip = Trip { renews, began_at: 0, given_time: 0, failed: Failed::No, is_background: false };
        world.processes[index].was_asked = true;
        world.processes[index].task = Task::Load(trip);
        self.push(Kind::Unhurried, Some(index), tale, world);
    }

    fn wake(&mut self, index: usize, row: &Row) {
        let mut world = *self.from;
        world.is_hidden = true;
        match self.rules.chore(row, &world.processes[index].breaker) {
            Chore::Refresh if row.token != 0 => {
                let renews = Some((row.epoch, row.version));
                let trip = Trip { renews, began_at: 0, given_time: 0, failed: Failed::No, is_background: true };
                self.read(world, index, trip, row, true);
            }
            Chore::Refresh | Chore::Leave => {
                self.push(Kind::Urgent, Some(index), "takes the row, and leaves it", world);
            }
            chore => {
                world.processes[index].task = chore_task(chore, row);
                let tale = match chore {
                    Chore::Erase => "takes the row, to erase its refused token",
                    _ => "takes the row, and only looks",
                };
                self.push(Kind::Urgent, Some(index), tale, world);
            }
        }
    }

    /// The row changed before a chore was saved: read it and ask the machine again.
    fn chore_again(&mut self, index: usize) {
        let row = self.from.row;
        if self.from.away_since.is_some() {
            return self.go(Kind::Urgent, index, Task::Idle, "cannot read the row: it wakes again");
        }
        let task = chore_task(self.rules.chore(&row, &self.from.processes[index].breaker), &row);
        self.go(Kind::Urgent, index, task, "reads the row again, and asks what it needs now");
    }

    pub(crate) fn flight(&mut self, index: usize, task: Task) {
        match task {
            Task::Load(trip) => self.load(index, trip),
            Task::Wait { trip, until, number }
                if until <= 0
                    || (number != 0 && number != self.from.row.number)
                    || self.from.processes[index].stopping == Stop::Ended =>
            {
                self.go(Kind::Urgent, index, Task::Load(trip), "has waited, and will read again");
            }
            Task::Claim { row, .. } => {
                self.save(index, false, &row, &Intent::Claim { attempt: NEW_ATTEMPT }, "saves its claim");
            }
            Task::Send { trip, held, asked_at } => self.send(index, trip, held, asked_at),
            Task::Sent { trip, held, sent_at, call, deadline } => {
                self.answer(index, trip, held, sent_at, call, deadline);
            }
            Task::Settle { held, outcome, row, .. } => self.settle(index, held, outcome, row),
            Task::Mark { row, .. } => {
                self.save(index, false, &row, &Intent::Restore, "marks the row, which was set back");
            }
            Task::Chore { row: None, .. } => self.chore_again(index),
            Task::Chore { row: Some(row), erases } => {
                let (intent, tale) =
                    if erases { (Intent::Erase, "erases the refused token") } else { (Intent::Look, "saves its look") };
                self.save(index, false, &row, &intent, tale);
            }
            Task::Resume { row: None } if self.from.away_since.is_some() => {
                self.go(Kind::Urgent, index, Task::Idle, "cannot end a pause: the store is away");
            }
            Task::Resume { row: None } => {
                let task = Task::Resume { row: Some(self.from.row) };
                self.go(Kind::Urgent, index, task, "reads the row, to end its pause");
            }
            Task::Resume { row: Some(row) } => {
                self.save(index, false, &row, &Intent::Resume, "ends the pause of UPS's silence");
            }
            _ => {}
        }
    }

    fn go(&mut self, kind: Kind, index: usize, task: Task, tale: &'static str) {
        let mut world = *self.from;
        world.processes[index].task = task;
        self.push(kind, Some(index), tale, world);
    }

    fn load(&mut self, index: usize, trip: Trip) {
        if self.from.away_since.is_some() {
            return self.go(Kind::Urgent, index, Task::Idle, "cannot read: its flight ends with the store's error");
        }
        let row = self.from.row;
        self.read(*self.from, index, trip, &row, false);
    }

    /// A flight has read its row: the machine says what comes next.
    fn read(&mut self, mut world: World, index: usize, trip: Trip, row: &Row, is_reserved: bool) {
        let process = &mut world.processes[index];
        let mut shown = *row;
        if self.rules.is_without(Rule::WithdrawnNotServed) && shown.standing == Standing::Invalidated {
            shown.standing = Standing::Lost;
            shown.times.iter_mut().for_each(|times| times.has_access_token = true);
        }
        let (grant, fault) = (shown.grant(), self.rules.client_fault(&process.breaker));
        let read = self.rules.read(&grant, &trip, is_reserved, (process.seen, process.stopping), fault.as_ref());
        let (next, trip) = self.rules.next(&trip, FlightEvent::Read(read));
        let mut finding = None;
        let tale = match next {
            Next::Serve { refresh_next } => {
                finding = truth::served(row, true);
                self.cache(process, row);
                let trip = Trip { renews: None, is_background: true, failed: Failed::No, given_time: 0, began_at: 0 };
                process.task = if refresh_next && process.stopping == Stop::No { Task::Load(trip) } else { Task::Idle };
                "reads the row and serves its access token"
            }
            Next::Refresh { .. } => {
                let (permit, found) = self.permit(&mut process.breaker);
                finding = found;
                if let Permit::Refused { .. } = permit {
                    let pause = Pause::Misconfigured { evidence: Box::default(), retry_after: TICK };
                    let (_, trip) = self.rules.next(&trip, FlightEvent::Failed(pause));
                    process.task = Task::Load(trip);
                    "reads the row, but its breaker lets nothing through"
                } else {
                    process.task = Task::Claim { trip, row: *row, asked_at: 0 };
                    "reads the row, and is going to refresh it"
                }
            }
            Next::Mark => {
                process.task = Task::Mark { trip, row: *row };
                "reads a row below the one that it has cached"
            }
            Next::Wait(wait) => {
                process.task = self.waiting(trip, wait, row.number);
                "reads the row, and waits"
            }
            Next::Pause(_) | Next::Fail(_) => {
                process.task = Task::Idle;
                "reads the row, and its flight ends without a token"
            }
        };
        self.push(Kind::Urgent, Some(index), tale, world);
        self.found(finding);
    }

    fn cache(&self, process: &mut crate::world::Process, row: &Row) {
        if self.scenario.faults_of.contains(&Fault::SetBack) {
            process.seen = process.seen.max((row.epoch, row.version));
        }
    }

    fn waiting(&self, trip: Trip, wait: Wait, number: u8) -> Task {
        match wait {
            Wait::No => Task::Load(trip),
            Wait::Whole(_) if self.rules.is_without(Rule::Grace) => Task::Load(trip),
            Wait::Whole(wait) => Task::Wait { trip, until: whole_steps(wait), number: 0 },
            // Reading again before anything has changed gives nothing new within a step of time.
            Wait::OrChange(_) => Task::Wait { trip, until: 1, number },
        }
    }

    fn send(&mut self, index: usize, trip: Trip, held: Held, asked_at: Ticks) {
        let late = Task::Settle { trip, held: bare(held), outcome: Outcome::Late, row: None };
        if !self.rules.may_be_sent(asked_at) {
            return self.go(Kind::Urgent, index, late, "comes too late to send anything");
        }
        let task = Task::Sent { trip, held, sent_at: 0, call: Call::Travelling, deadline: DEADLINE };
        self.go(Kind::Urgent, index, task, "sends its request");
        self.found(truth::sent(self.from, index, held.token));
        if self.may(Fault::Answers) {
            let mut world = self.spoiled();
            let told = &mut world.processes[index].breaker;
            self.tell_breaker(told, &Outcome::NotSent, false);
            let is_outage = self.rules.is_out_of_reach(told);
            let outcome = if is_outage { Outcome::OutOfReach } else { Outcome::NotSent };
            world.processes[index].task = Task::Settle { trip, held: bare(held), outcome, row: None };
            self.push(Kind::Fault, Some(index), "finds no connection to UPS", world);
        }
    }

    fn answer(&mut self, index: usize, trip: Trip, held: Held, sent_at: Ticks, call: Call, deadline: Ticks) {
        let mut world = *self.from;
        let unanswered = Task::Settle { trip, held: bare(held), outcome: Outcome::Unanswered, row: None };
        match call {
            Call::Travelling => {}
            Call::Silent => {
                if deadline <= 0 {
                    let process = &mut world.processes[index];
                    self.tell_breaker(&mut process.breaker, &Outcome::Unanswered, false);
                    process.task = unanswered;
                    self.push(Kind::Urgent, Some(index), "has waited for UPS in vain", world);
                }
            }
            Call::Answered(_) if deadline < 0 && self.rules.is_without(Rule::AnswerBeatsDeadline) => {
                world.unanswered(held.token);
                world.processes[index].task = unanswered;
                self.push(Kind::Urgent, Some(index), "drops the answer: the deadline is over", world);
            }
            Call::Answered(answer) => {
                let (outcome, tale) = match answer {
                    Answer::Pair { token, kind } => (Outcome::Pair { token, sent_at, kind }, "gets a new pair"),
                    Answer::Refused(why) => (Outcome::Refused(why), "is told that its token is refused"),
                    Answer::Misconfigured => (Outcome::Misconfigured, "is told that UPS refuses the client"),
                };
                let process = &mut world.processes[index];
                self.tell_breaker(&mut process.breaker, &outcome, held.row.grant().expects_refusal());
                let is_pair = matches!(outcome, Outcome::Pair { .. });
                let row = is_pair.then_some(held.row);
                process.task = Task::Settle { trip, held: bare(held), outcome, row };
                self.push(Kind::Urgent, Some(index), tale, world);
                if is_pair && self.rules.is_without(Rule::PublishAfterCommit) {
                    self.found(truth::served(&held.row, false));
                }
                if self.may(Fault::Network) {
                    let mut world = self.spoiled();
                    world.unanswered(held.token);
                    let process = &mut world.processes[index];
                    self.tell_breaker(&mut process.breaker, &Outcome::Unanswered, false);
                    process.task = unanswered;
                    self.push(Kind::Fault, Some(index), "loses UPS's answer on the way", world);
                }
            }
        }
    }

    fn settle(&mut self, index: usize, held: Held, outcome: Outcome, row: Option<Row>) {
        let Some(row) = row else {
            if self.from.away_since.is_none() {
                let mut world = *self.from;
                if let Task::Settle { row, .. } = &mut world.processes[index].task {
                    *row = Some(self.from.row);
                }
                self.push(Kind::Urgent, Some(index), "reads the row, to save how its attempt ended", world);
            }
            return;
        };
        let tale = match outcome {
            Outcome::Pair { .. } => "stores the new pair",
            Outcome::Refused(_) => "records the refusal",
            Outcome::Unanswered => "records that its attempt is in doubt",
            Outcome::NotSent | Outcome::OutOfReach | Outcome::Late | Outcome::Misconfigured => "releases its claim",
        };
        self.save(index, false, &row, &Intent::End { held, outcome }, tale);
    }

    /// The effect of a save's outcome on a flight.
    pub(crate) fn after_flight_save(&self, mut world: World, index: usize, saved: Saved) -> (World, Option<Finding>) {
        let mut finding = None;
        match world.processes[index].task {
            Task::Claim { trip, row, asked_at } => self.after_claim(&mut world, index, trip, &row, asked_at, saved),
            Task::Mark { trip, .. } => {
                let task = if matches!(saved, Saved::Error) { Task::Idle } else { Task::Load(trip) };
                world.processes[index].task = task;
            }
            Task::Settle { trip, held, outcome, row } => {
                finding = self.after_settling(&mut world, index, (trip, held, outcome), row, saved);
            }
            _ => {}
        }
        (world, finding)
    }

    fn after_claim(&self, world: &mut World, index: usize, trip: Trip, row: &Row, asked_at: Ticks, saved: Saved) {
        let process = &mut world.processes[index];
        let event = match saved {
            Saved::Yes(claimed) => {
                let Row { opt_in, epoch, version, token, .. } = *row;
                let attempt = match claimed.phase {
                    Phase::Claimed { attempt, .. } => attempt,
                    _ => NEW_ATTEMPT,
                };
                let held = Held { opt_in, epoch, version, attempt, token, row: claimed };
                process.task = Task::Send { trip, held, asked_at };
                return;
            }
            Saved::Refused(_) | Saved::Conflict => FlightEvent::Lost,
            Saved::Error => {
                if process.fence == Fence::None && !self.rules.is_without(Rule::UnknownClaimFenced) {
                    process.fence = Fence::Load { attempt: NEW_ATTEMPT, number: row.number };
                }
                FlightEvent::Failed(Pause::Store)
            }
        };
        let (_, trip) = self.rules.next(&trip, event);
        process.task = Task::Load(trip);
    }

    fn after_settling(
        &self,
        world: &mut World,
        index: usize,
        (trip, held, outcome): (Trip, Held, Outcome),
        row: Option<Row>,
        saved: Saved,
    ) -> Option<Finding> {
        let is_pair = matches!(outcome, Outcome::Pair { .. });
        let process = &mut world.processes[index];
        let event = match (saved, outcome) {
            (Saved::Error, _) if is_pair && self.rules.is_without(Rule::PairKept) => FlightEvent::Failed(Pause::Store),
            // A verdict does not delay a shutdown: its lease ends by itself.
            (Saved::Error, _) if !is_pair && process.stopping == Stop::Ended => {
                process.task = Task::Load(trip);
                world.doubt();
                return None;
            }
            (Saved::Conflict | Saved::Error, _) => {
                process.task = Task::Settle { trip, held, outcome, row: None };
                return None;
            }
            (Saved::Yes(stored), Outcome::Pair { .. }) => return self.publish(process, trip, &stored),
            (Saved::Refused(StepRefusal::AlreadyStored), Outcome::Pair { .. }) => {
                return row.and_then(|row| self.publish(process, trip, &row));
            }
            (Saved::Refused(_), Outcome::Pair { .. }) => FlightEvent::Lost,
            (_, Outcome::Refused(_)) => FlightEvent::Settled,
            (_, Outcome::Late) => FlightEvent::Late,
            (_, Outcome::Misconfigured) => FlightEvent::Failed(pause_of(Failed::Misconfigured)?),
            (_, _) => FlightEvent::Failed(pause_of(Failed::Unavailable)?),
        };
        let (_, trip) = self.rules.next(&trip, event);
        process.task = Task::Load(trip);
        None
    }

    /// The pair is stored: hand out its access token if it still works, otherwise read the row again.
    fn publish(&self, process: &mut crate::world::Process, trip: Trip, stored: &Row) -> Option<Finding> {
        let works = stored.times.is_some_and(|times| times.has_access_token && times.obtained_at + ACCESS_LIFETIME > 0);
        if !works {
            process.task = Task::Load(trip);
            return None;
        }
        self.cache(process, stored);
        process.task = Task::Idle;
        truth::served(stored, true)
    }

    /// The task that ends a claim of unknown outcome.
    pub(crate) fn fence(&mut self, index: usize, fence: Fence) {
        match fence {
            Fence::None => {}
            Fence::Load { attempt, number } => {
                if self.from.away_since.is_some() {
                    return;
                }
                let mut world = *self.from;
                world.processes[index].fence = Fence::Take { attempt, number, row: self.from.row };
                self.push(Kind::Urgent, Some(index), "looks for its claim of unknown outcome", world);
            }
            Fence::Take { attempt, number, row } => {
                let tale = if row.phase.claimed_by() == attempt {
                    "releases its claim of unknown outcome"
                } else {
                    "saves the row unchanged, so that its claim never gets there"
                };
                self.save(index, true, &row, &Intent::Fence { attempt, number }, tale);
            }
        }
    }

    /// A request's connection breaks, or no answer comes.
    pub(crate) fn request_fails(&mut self, index: usize, trip: Trip, held: Held, sent_at: Ticks, deadline: Ticks) {
        let ghost = Ghost { token: held.token, sent_at, is_copy: false };
        let mut world = self.spoiled();
        world.unanswered(held.token);
        world.haunt(ghost);
        let mut lost = world;
        let process = &mut lost.processes[index];
        self.tell_breaker(&mut process.breaker, &Outcome::Unanswered, false);
        process.task = Task::Settle { trip, held: bare(held), outcome: Outcome::Unanswered, row: None };
        self.push(Kind::Fault, Some(index), "loses its connection: its request may still reach UPS", lost);
        world.processes[index].task = Task::Sent { trip, held, sent_at, call: Call::Silent, deadline };
        self.push(Kind::Fault, Some(index), "will get no answer: its request is held up on the way", world);
    }
}

/// The save for a chore other than a refresh.
fn chore_task(chore: Chore, row: &Row) -> Task {
    match chore {
        Chore::Erase => Task::Chore { row: Some(*row), erases: true },
        Chore::Look => Task::Chore { row: Some(*row), erases: false },
        // The row wakes by itself.
        Chore::Refresh | Chore::Leave => Task::Idle,
        Chore::Notify(_) | Chore::Postpone => unreachable!("tokens here never expire and are readable: {chore:?}"),
    }
}

/// The claim without its row, which is read again before anything is saved.
fn bare(held: Held) -> Held {
    Held { row: Row::default(), ..held }
}
