//! The moves of a state: what each process, UPS, the store, time and faults can do next.

use crate::{
    row::{ECHO, Phase, Ticks},
    rules::Rules,
    scenario::{Fault, Scenario},
    truth::{self, Finding},
    world::{Fence, Halt, How, PROCESSES, Process, Task, World},
};

/// The kind of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Work done before time passes.
    Urgent,
    /// Work that may happen at any time.
    Unhurried,
    /// Time passes.
    Tick,
    /// An event whose number is limited.
    Fault,
    /// An action of a person, an operator or another system.
    Event,
}

impl Kind {
    /// Whether the move also happens without faults and interference.
    pub(crate) fn is_calm(self) -> bool {
        matches!(self, Self::Urgent | Self::Unhurried | Self::Tick)
    }
}

/// One move.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// The process that moves, if any.
    pub(crate) who: Option<usize>,
    pub(crate) tale: &'static str,
    pub(crate) world: World,
    pub(crate) finding: Option<Finding>,
}

/// The moves of one state.
pub(crate) struct Moves<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) scenario: &'a Scenario,
    pub(crate) from: &'a World,
    pub(crate) steps: Vec<Step>,
}

/// The longest stop of a process and the longest outage of the store.
const LONGEST_HALT: Ticks = 4;
const LONGEST_OUTAGE: Ticks = 3;

impl<'a> Moves<'a> {
    /// All moves of `from`.
    pub(crate) fn of(rules: &'a Rules, scenario: &'a Scenario, from: &'a World) -> Vec<Step> {
        let mut moves = Self { rules, scenario, from, steps: Vec::new() };
        for process in 0..scenario.processes {
            moves.process(process);
        }
        moves.ups();
        moves.store();
        if from.left.faults > 0 {
            moves.faults();
        }
        moves.events();
        moves.time();
        for step in &mut moves.steps {
            if step.finding.is_none() && matches!(step.kind, Kind::Urgent) {
                step.finding = truth::lost_by_us(from, &step.world, rules);
            }
        }
        moves.steps
    }

    pub(crate) fn push(&mut self, kind: Kind, who: Option<usize>, tale: &'static str, world: World) {
        self.steps.push(Step { kind, who, tale, world, finding: None });
    }

    pub(crate) fn found(&mut self, finding: Option<Finding>) {
        if let (Some(step), Some(_)) = (self.steps.last_mut(), &finding) {
            step.finding = finding;
        }
    }

    /// Whether one more fault of this kind may occur.
    pub(crate) fn may(&self, fault: Fault) -> bool {
        self.from.left.faults > 0 && self.scenario.faults_of.contains(&fault)
    }

    /// The state with one fault fewer to come.
    pub(crate) fn spoiled(&self) -> World {
        let mut world = *self.from;
        world.left.faults -= 1;
        world
    }

    fn process(&mut self, index: usize) {
        let process = self.from.processes[index];
        if let Some(halt) = process.halt {
            self.resume(index, halt);
            return;
        }
        self.gone(index);
        self.fence(index, process.fence);
        match process.task {
            Task::Idle => self.idle(index),
            Task::Exchange(_) | Task::Connect { .. } | Task::Remove { .. } | Task::Import { .. } => self.opt_in(index),
            _ => self.flight(index, process.task),
        }
    }

    fn resume(&mut self, index: usize, halt: Halt) {
        let mut world = *self.from;
        world.processes[index].halt = None;
        let kind = if halt.since <= -LONGEST_HALT { Kind::Urgent } else { Kind::Unhurried };
        match world.late {
            // The save that it was about to send when it was stopped.
            Some(late) if matches!(late.how, How::Stopped { process, .. } if usize::from(process) == index) => {
                let How::Stopped { is_fence, .. } = late.how else { return };
                world.late = None;
                let (world, finding) = self.landed(world, index, is_fence, &late.swap);
                self.push(kind, Some(index), "goes on, and its save reaches the store", world);
                self.found(finding);
            }
            _ => self.push(kind, Some(index), "goes on", world),
        }
    }

    /// Time passes when no urgent work remains.
    fn time(&mut self) {
        if self.steps.iter().any(|step| step.kind == Kind::Urgent) {
            return;
        }
        let is_held_up = self.from.away_since.is_some_and(|since| since <= -LONGEST_OUTAGE);
        if is_held_up {
            return;
        }
        let mut world = *self.from;
        world.pass();
        if self.scenario.ends_families {
            world.hold_up_the_halted();
        }
        // A save that never arrived is lost on the way.
        world.late = world.late.filter(|late| late.how != How::Travelling || late.swap.decided_at >= -LONGEST_OUTAGE);
        if self.rules.is_without(crate::omit::Rule::SuspendedClock) {
            for process in
                world.processes.iter_mut().filter(|process| process.halt.is_some_and(|halt| halt.is_suspended))
            {
                if let Task::Claim { asked_at, .. } | Task::Send { asked_at, .. } = &mut process.task {
                    *asked_at += 1;
                }
            }
        }
        self.push(Kind::Tick, None, "time passes", world);
    }

    /// What ends by itself in the store.
    fn store(&mut self) {
        if self.from.away_since.is_some() {
            let world = World { away_since: None, ..*self.from };
            self.push(Kind::Unhurried, None, "the store is back", world);
        }
        if let Some(late) = self.from.late {
            let (kind, tale) = match late.how {
                How::Committing => (Kind::Urgent, "the save that hung in the store is done"),
                How::Travelling => (Kind::Unhurried, "the delayed save reaches the store"),
                How::Stopped { .. } => return,
            };
            if late.how == How::Travelling && self.from.away_since.is_some() {
                return;
            }
            let mut world = *self.from;
            world.late = None;
            let (_, finding) = self.land(&mut world, &late.swap);
            self.push(kind, None, tale, world);
            self.found(finding);
        }
    }

    fn faults(&mut self) {
        for index in 0..self.scenario.processes {
            let process = self.from.processes[index];
            if self.may(Fault::Kill) && process != Process::default() {
                self.kill(index, &process);
            }
            for (fault, is_suspended, tale) in [
                (Fault::Stop, false, "is stopped (SIGSTOP)"),
                (Fault::Suspend, true, "is suspended with its whole machine"),
            ] {
                let is_busy = process.task != Task::Idle || process.fence != Fence::None;
                if self.may(fault) && process.halt.is_none() && is_busy {
                    let mut world = self.spoiled();
                    world.processes[index].halt = Some(Halt { since: 0, is_suspended });
                    if truth::holds_a_claim(&process) {
                        world.doubt();
                    }
                    self.push(Kind::Fault, Some(index), tale, world);
                }
            }
        }
        if self.may(Fault::Outage) && self.from.away_since.is_none() {
            let mut world = World { away_since: Some(0), ..self.spoiled() };
            // A second outage during the holder's grace after the first.
            let is_given_time = matches!(world.row.phase, Phase::Claimed { lease_until, .. } if lease_until <= 0);
            if is_given_time && world.processes.iter().any(truth::holds_a_claim) {
                world.doubt();
                if self.scenario.ends_families {
                    world.hold_up_all();
                }
            }
            self.push(Kind::Fault, None, "the store goes away", world);
        }
        if let Some(backup) = self.from.backup {
            self.set_back(backup);
        }
    }

    fn kill(&mut self, index: usize, process: &Process) {
        let mut world = self.spoiled();
        world.die(index, process);
        self.push(Kind::Fault, Some(index), "is killed, and started again", world);
    }

    fn set_back(&mut self, backup: crate::row::Row) {
        let lost = (self.from.row.epoch, self.from.row.version);
        // Losing only a claim is invisible; for that case there is `after_restore`.
        if self.may(Fault::SetBack) && (backup.epoch, backup.version) < lost {
            let mut world = self.spoiled();
            // A visible fail-over: processes have the last rotation cached.
            for process in &mut world.processes {
                process.seen = process.seen.max(lost);
                // The process has read the row before and relies on that.
                world.truth.forgot |= matches!(process.task, Task::Claim { .. });
            }
            (world.row, world.backup, world.late) = (backup, None, None);
            world.truth.was_set_back = true;
            world.doubt();
            self.push(Kind::Fault, None, "the store fails over and loses its last commits", world);
        }
        if self.may(Fault::Restore) {
            let mut world = self.spoiled();
            for index in 0..PROCESSES {
                let process = world.processes[index];
                world.die(index, &process);
            }
            (world.row, world.backup, world.late) = (backup, None, None);
            world.row.number = FRESH;
            if let Ok(swap) = self.rules.decide(&world.row, &crate::rules::Intent::Restore) {
                world.row = crate::row::Row { number: FRESH, ..swap.row };
            }
            world.truth.was_set_back = true;
            world.doubt();
            let tale =
                "the service stops, its store is restored from the backup, after_restore marks it, the service starts";
            self.push(Kind::Fault, None, tale, world);
        }
    }
}

/// A number that no row of a folded state has.
pub(crate) const FRESH: u8 = 60;

impl World {
    /// From now on a lost answer explains a refusal.
    pub(crate) fn doubt(&mut self) {
        self.truth.doubt = Some((ECHO, false));
    }

    /// A process dies, and another one replaces it.
    pub(crate) fn die(&mut self, index: usize, process: &Process) {
        if truth::holds_a_claim(process) || self.late.is_some() {
            self.doubt();
        }
        if let Task::Sent { held, sent_at, call, .. } = process.task {
            self.unanswered(held.token);
            if call == crate::world::Call::Travelling {
                self.haunt(crate::world::Ghost { token: held.token, sent_at, is_copy: false });
            }
        }
        if self.truth.was_set_back {
            self.truth.forgot = true;
        }
        self.late =
            self.late.filter(|late| !matches!(late.how, How::Stopped { process, .. } if usize::from(process) == index));
        self.processes[index] = Process::default();
    }

    /// A request with this token stays unanswered: its sender learns nothing from copies of it.
    pub(crate) fn unanswered(&mut self, token: u8) {
        self.doubt();
        for ghost in self.ghosts.iter_mut().flatten().filter(|ghost| ghost.token == token) {
            ghost.is_copy = false;
        }
    }
}
