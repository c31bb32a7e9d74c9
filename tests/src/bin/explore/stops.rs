//! How a process ends: it is told to start nothing new, then to shut down; it finishes its work in hand.

use batchsuite_auth::test_util::machine::Stopping;

use crate::{
    moves::{Kind, Moves},
    omit::Rule,
    world::{Call, Fence, Ghost, Process, Stop, Task},
};

const SHUT_DOWN: &str = "is told to shut down";

impl Moves<'_> {
    /// An operator stops a process, in two halves.
    pub(crate) fn stop(&mut self, index: usize) {
        let process = &self.from.processes[index];
        if process.halt.is_some() {
            return;
        }
        let told = |stopping: Stop| {
            let mut world = *self.from;
            world.processes[index].stopping = stopping;
            world
        };
        match process.stopping {
            Stop::No if self.from.left.stops > 0 => {
                for (stopping, tale) in [(Stop::Quiet, "is told to begin nothing any more"), (Stop::Ended, SHUT_DOWN)] {
                    let mut world = told(stopping);
                    world.left.stops -= 1;
                    self.push(Kind::Event, Some(index), tale, world);
                }
            }
            Stop::Quiet => self.push(Kind::Unhurried, Some(index), SHUT_DOWN, told(Stop::Ended)),
            Stop::No | Stop::Ended => {}
        }
    }

    /// Nothing starts by itself; callers still come, until the shutdown.
    pub(crate) fn quiet(&mut self, index: usize, is_away: bool) {
        if !is_away && !self.from.processes[index].was_asked {
            let row = self.from.row;
            self.callers(index, &row);
        }
    }

    /// Nothing is left to do: the process ends.
    pub(crate) fn exit(&mut self, index: usize, tale: &'static str) {
        let process = self.from.processes[index];
        if process.fence == Fence::None {
            let mut world = *self.from;
            world.processes[index] = crate::world::Process::default();
            self.push(Kind::Urgent, Some(index), tale, world);
        }
    }

    /// With a rule left out: a flight is part of its caller, or a shutdown waits for nothing.
    pub(crate) fn gone(&mut self, index: usize) {
        let process = self.from.processes[index];
        let (trip, travels) = match process.task {
            Task::Send { trip, .. } | Task::Settle { trip, .. } => (trip, None),
            Task::Sent { trip, held, sent_at, call, .. } => {
                let ghost = Ghost { token: held.token, sent_at, is_copy: false };
                (trip, (call == Call::Travelling).then_some(ghost))
            }
            _ => return,
        };
        let mut world = *self.from;
        if self.rules.is_without(Rule::SpawnedTask) && !trip.is_background {
            world.processes[index].task = Task::Idle;
            travels.into_iter().for_each(|ghost| world.haunt(ghost));
            world.doubt();
            self.push(Kind::Urgent, Some(index), "is left by its caller, and the flight ends with it", world);
        } else if self.rules.is_without(Rule::ShutdownWaits) && process.stopping == Stop::Ended {
            world.processes[index] = Process::default();
            travels.into_iter().for_each(|ghost| world.haunt(ghost));
            world.doubt();
            self.push(Kind::Urgent, Some(index), "ends, whatever it has in hand", world);
        }
    }
}

impl Stop {
    pub(crate) fn of_machine(self) -> Stopping {
        match self {
            Self::No => Stopping::No,
            Self::Quiet => Stopping::Quiet,
            Self::Ended => Stopping::Ended,
        }
    }
}
