//! Saves as the store performs them, and their faults.

use batchsuite_auth::test_util::machine::StepRefusal;

use crate::{
    moves::{FRESH, Kind, Moves},
    omit::Rule,
    row::Row,
    rules::Intent,
    scenario::Fault,
    truth::{self, Finding},
    world::{Fence, Halt, How, Late, Stop, Swap, Task, World},
};

/// The outcome of a save.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Saved {
    Yes(Row),
    Refused(StepRefusal),
    Conflict,
    Error,
}

impl Moves<'_> {
    /// A process asks the machine for a step and saves it, in its flight or its fence.
    pub(crate) fn save(&mut self, index: usize, is_fence: bool, read: &Row, intent: &Intent, tale: &'static str) {
        if self.from.late.is_some_and(|late| late.how == How::Committing) {
            // The row is locked.
            return;
        }
        let swap = match self.rules.decide(read, intent) {
            Ok(swap) => swap,
            Err(refusal) => {
                let (world, finding) = self.after_save(*self.from, index, is_fence, Saved::Refused(refusal));
                self.push(Kind::Urgent, Some(index), refused_tale(intent), world);
                self.found(finding);
                return;
            }
        };
        if self.from.away_since.is_some() {
            let (world, finding) = self.after_save(*self.from, index, is_fence, Saved::Error);
            self.push(Kind::Urgent, Some(index), "cannot save: the store is away", world);
            self.found(finding);
            return;
        }
        let (world, finding) = self.landed(*self.from, index, is_fence, &swap);
        let is_conflict = world.row.number == self.from.row.number;
        self.push(
            Kind::Urgent,
            Some(index),
            if is_conflict { "saves too late: the row is another" } else { tale },
            world,
        );
        self.found(finding);
        self.save_goes_wrong(index, is_fence, &swap);
    }

    /// A swap reaches the store, and its answer reaches the process.
    pub(crate) fn landed(
        &self,
        mut world: World,
        index: usize,
        is_fence: bool,
        swap: &Swap,
    ) -> (World, Option<Finding>) {
        let (is_saved, finding) = self.land(&mut world, swap);
        let saved = if is_saved { Saved::Yes(world.row) } else { Saved::Conflict };
        let (world, later) = self.after_save(world, index, is_fence, saved);
        (world, finding.or(later))
    }

    /// The store compares and swaps.
    pub(crate) fn land(&self, world: &mut World, swap: &Swap) -> (bool, Option<Finding>) {
        let is_same = swap.expected == world.row.number || self.rules.is_without(Rule::RowCompare);
        let is_in_time = !swap.is_timed || swap.decided_at >= 0 || self.rules.is_without(Rule::AgeCheck);
        if !is_same || !is_in_time {
            return (false, None);
        }
        let before = *world;
        world.row = Row { number: FRESH, ..swap.row };
        if swap.wakes {
            world.is_hidden = false;
        }
        (true, truth::saved(&before, world, swap, self.rules))
    }

    fn save_goes_wrong(&mut self, index: usize, is_fence: bool, swap: &Swap) {
        let may_be_late = self.from.late.is_none();
        let process = &self.from.processes[index];
        if !is_fence && matches!(process.task, Task::Claim { .. }) && process.fence != Fence::None {
            // One fence at a time is enough.
            return;
        }
        if self.may(Fault::Save) {
            let (world, finding) = self.after_save(self.spoiled(), index, is_fence, Saved::Error);
            self.push(Kind::Fault, Some(index), "gets an error: its save did not happen", world);
            self.found(finding);
            let mut world = self.spoiled();
            let (is_saved, finding) = self.land(&mut world, swap);
            if is_saved {
                let (world, later) = self.after_save(world, index, is_fence, Saved::Error);
                self.push(Kind::Fault, Some(index), "gets no answer: its save happened", world);
                self.found(finding.or(later));
            }
        }
        if self.may(Fault::LateSave) && may_be_late {
            for (how, tale) in [
                (How::Committing, "gets no answer: its save hangs in the store, which holds the row's lock"),
                (How::Travelling, "gets no answer: its save is delayed on the way"),
            ] {
                let (mut world, finding) = self.after_save(self.spoiled(), index, is_fence, Saved::Error);
                if how == How::Committing && !self.land(&mut world.clone(), swap).0 {
                    continue;
                }
                world.late = Some(Late { swap: *swap, how });
                self.push(Kind::Fault, Some(index), tale, world);
                self.found(finding);
            }
        }
        for (fault, is_suspended) in [(Fault::Stop, false), (Fault::Suspend, true)] {
            if self.may(fault) && may_be_late {
                let mut world = self.spoiled();
                let process = &mut world.processes[index];
                process.halt = Some(Halt { since: 0, is_suspended });
                let how = How::Stopped { process: u8::try_from(index).unwrap_or_default(), is_fence };
                world.late = Some(Late { swap: *swap, how });
                world.doubt();
                self.push(Kind::Fault, Some(index), "stands still just before its save leaves it", world);
            }
        }
    }

    /// The effect of a save's outcome on a process.
    pub(crate) fn after_save(
        &self,
        mut world: World,
        index: usize,
        is_fence: bool,
        saved: Saved,
    ) -> (World, Option<Finding>) {
        if is_fence {
            let process = world.processes[index];
            let is_ended = process.stopping == Stop::Ended;
            if let Fence::Take { attempt, number, .. } = process.fence {
                world.processes[index].fence = match saved {
                    Saved::Yes(_) | Saved::Refused(_) => Fence::None,
                    // This does not delay a shutdown: the lease ends by itself.
                    Saved::Error if is_ended => {
                        world.doubt();
                        Fence::None
                    }
                    Saved::Conflict | Saved::Error => Fence::Load { attempt, number },
                };
            }
            return (world, None);
        }
        match world.processes[index].task {
            Task::Chore { erases, .. } => {
                world.processes[index].task = match saved {
                    Saved::Conflict => Task::Chore { row: None, erases },
                    _ => Task::Idle,
                };
            }
            Task::Resume { .. } => {
                world.processes[index].task = match saved {
                    Saved::Conflict => Task::Resume { row: None },
                    _ => Task::Idle,
                };
            }
            Task::Connect { .. } | Task::Remove { .. } | Task::Import { .. } => {
                self.after_opt_in(&mut world, index, saved)
            }
            _ => return self.after_flight_save(world, index, saved),
        }
        (world, None)
    }
}

fn refused_tale(intent: &Intent) -> &'static str {
    match intent {
        Intent::End { outcome: crate::world::Outcome::Pair { .. }, .. } => {
            "finds that its pair cannot be stored: it is stored already, or the row moved on"
        }
        Intent::End { .. } => "finds that the row is no longer its own, and writes nothing",
        Intent::Claim { .. } => "may not claim",
        Intent::Connect(_) | Intent::Import(_) => "may not store the new opt-in",
        _ => "finds nothing to save",
    }
}
