//! Symmetry: states that differ only in names are one. Processes are sorted; attempts, tokens, row numbers and versions
//! get the smallest names that preserve their comparisons; values that are forgotten or decide nothing are dropped.

use crate::{
    row::{ECHO, LONG_AGO, Phase, Row, Ticks},
    world::{Answer, Call, Fence, How, Outcome, PROCESSES, Process, TOKENS, Task, Token, Trip, World},
};

/// The name of an attempt that has ended.
const ENDED: u8 = 63;

/// Visits each name and each time of a state, in a fixed order.
trait Visitor {
    fn attempt(&mut self, _: &mut u8) {}
    fn token(&mut self, _: &mut u8) {}
    fn number(&mut self, _: &mut u8) {}
    fn version(&mut self, _: &mut u8) {}
    fn time(&mut self, _: &mut Ticks) {}
}

impl Row {
    fn visit(&mut self, visitor: &mut impl Visitor) {
        visitor.number(&mut self.number);
        visitor.version(&mut self.version);
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Claimed { attempt, at, lease_until } => {
                visitor.attempt(attempt);
                visitor.time(at);
                visitor.time(lease_until);
            }
            Phase::InDoubt { lease_until } => visitor.time(lease_until),
        }
        if let Some((attempt, until)) = &mut self.unanswered {
            visitor.attempt(attempt);
            visitor.time(until);
        }
        visitor.attempt(&mut self.rotated_by);
        visitor.token(&mut self.token);
        let times = [
            &mut self.suspect_until,
            &mut self.issued_at,
            &mut self.authenticated_at,
            &mut self.retry_at,
            &mut self.refused_at,
            &mut self.wake_at,
        ];
        times.into_iter().flatten().for_each(|at| visitor.time(at));
        if let Some(times) = &mut self.times {
            visitor.time(&mut times.obtained_at);
        }
        if let Some(quarantine) = &mut self.quarantine {
            visitor.time(&mut quarantine.until);
        }
    }
}

impl Trip {
    fn visit(&mut self, visitor: &mut impl Visitor) {
        if let Some((_, version)) = &mut self.renews {
            visitor.version(version);
        }
        visitor.attempt(&mut self.given_time);
    }
}

impl Task {
    fn visit(&mut self, visitor: &mut impl Visitor) {
        match self {
            Self::Idle | Self::Exchange(_) => {}
            Self::Load(trip) => trip.visit(visitor),
            Self::Wait { trip, number, .. } => {
                trip.visit(visitor);
                visitor.number(number);
            }
            Self::Claim { trip, row, asked_at } => {
                trip.visit(visitor);
                row.visit(visitor);
                visitor.time(asked_at);
            }
            Self::Send { trip, held, asked_at } => {
                trip.visit(visitor);
                held.visit(visitor);
                visitor.time(asked_at);
            }
            Self::Sent { trip, held, sent_at, call, .. } => {
                trip.visit(visitor);
                held.visit(visitor);
                visitor.time(sent_at);
                if let Call::Answered(Answer::Pair { token, .. }) = call {
                    visitor.token(token);
                }
            }
            Self::Settle { trip, held, outcome, row } => {
                trip.visit(visitor);
                held.visit(visitor);
                if let Outcome::Pair { token, sent_at, .. } = outcome {
                    visitor.token(token);
                    visitor.time(sent_at);
                }
                row.iter_mut().for_each(|row| row.visit(visitor));
            }
            Self::Mark { trip, row } => {
                trip.visit(visitor);
                row.visit(visitor);
            }
            Self::Connect { coming, row } => {
                visitor.token(&mut coming.token);
                visitor.time(&mut coming.used_at);
                row.iter_mut().for_each(|row| row.visit(visitor));
            }
            Self::Chore { row, .. } | Self::Resume { row } | Self::Remove { row } => {
                row.iter_mut().for_each(|row| row.visit(visitor))
            }
            Self::Import { coming, row } => {
                visitor.token(&mut coming.token);
                coming.issued_at.iter_mut().for_each(|at| visitor.time(at));
                row.iter_mut().for_each(|row| row.visit(visitor));
            }
        }
    }
}

impl crate::world::Held {
    fn visit(&mut self, visitor: &mut impl Visitor) {
        visitor.version(&mut self.version);
        visitor.attempt(&mut self.attempt);
        visitor.token(&mut self.token);
        self.row.visit(visitor);
    }
}

impl Process {
    fn visit(&mut self, visitor: &mut impl Visitor) {
        if let Some(halt) = &mut self.halt {
            visitor.time(&mut halt.since);
        }
        visitor.version(&mut self.seen.1);
        self.breaker.times().for_each(|at| visitor.time(at));
        self.task.visit(visitor);
        match &mut self.fence {
            Fence::None => {}
            Fence::Load { attempt, number } => {
                visitor.attempt(attempt);
                visitor.number(number);
            }
            Fence::Take { attempt, number, row } => {
                visitor.attempt(attempt);
                visitor.number(number);
                row.visit(visitor);
            }
        }
    }
}

impl World {
    fn visit(&mut self, visitor: &mut impl Visitor) {
        self.row.visit(visitor);
        self.away_since.iter_mut().for_each(|since| visitor.time(since));
        self.processes.iter_mut().for_each(|process| process.visit(visitor));
        if let Some(late) = &mut self.late {
            visitor.number(&mut late.swap.expected);
            visitor.time(&mut late.swap.decided_at);
            late.swap.brought.iter_mut().for_each(|at| visitor.time(at));
            late.swap.row.visit(visitor);
        }
        self.backup.iter_mut().for_each(|row| row.visit(visitor));
        for ghost in self.ghosts.iter_mut().flatten() {
            visitor.token(&mut ghost.token);
            visitor.time(&mut ghost.sent_at);
        }
        if let Some((until, _)) = &mut self.truth.doubt {
            visitor.time(until);
        }
    }

    /// One step of time.
    pub(crate) fn pass(&mut self) {
        struct Pass;
        impl Visitor for Pass {
            fn time(&mut self, at: &mut Ticks) {
                if *at < crate::row::FAR {
                    *at = (*at - 1).max(LONG_AGO);
                }
            }
        }
        self.visit(&mut Pass);
        for process in &mut self.processes {
            // A suspended machine's timers stop.
            let by = if process.halt.is_some_and(|halt| halt.is_suspended) { 0 } else { 1 };
            for timer in process.task.timers().into_iter().flatten() {
                *timer = (*timer - by).max(LONG_AGO);
            }
            process.was_asked = false;
        }
        for ghost in &mut self.ghosts {
            *ghost = ghost.filter(|ghost| ghost.sent_at >= -ECHO);
        }
        self.ghosts.sort_unstable();
        self.is_hidden = false;
    }

    /// The same state with its smallest names, and each process's previous index.
    pub(crate) fn folded(&self, processes: usize) -> (Self, [usize; PROCESSES]) {
        let mut world = *self;
        world.forget();
        let order = world.sort(processes);
        let mut known = Known::default();
        world.visit(&mut known);
        let mut names = Names { numbers: ranks(known.numbers), versions: versions(known.versions), ..Names::default() };
        world.visit(&mut names);
        let mut tokens = [Token::default(); TOKENS];
        for (old, new) in names.tokens.iter().enumerate().filter(|(_, new)| **new != 0) {
            tokens[usize::from(*new) - 1] = world.tokens[old - 1];
        }
        world.tokens = tokens;
        world.ghosts.sort_unstable();
        (world, order)
    }

    /// Drops values that no longer decide anything.
    fn forget(&mut self) {
        let mut living = 0_u64;
        let mut imports = self.left.imports > 0 || self.left.spent_imports > 0;
        let mut consents = self.left.consents > 0 || self.consent.is_some();
        for process in &self.processes {
            match process.task {
                Task::Send { held, .. } | Task::Sent { held, .. } | Task::Settle { held, .. } => {
                    living |= 1 << held.attempt;
                }
                Task::Exchange(_) | Task::Connect { .. } => consents = true,
                Task::Import { .. } => imports = true,
                _ => {}
            }
            if let Fence::Load { attempt, .. } | Fence::Take { attempt, .. } = process.fence {
                living |= 1 << attempt;
            }
        }
        self.each_row(&mut |row| row.forget(living, consents, imports));
        self.processes.iter_mut().for_each(|process| process.breaker.forget());
        if let Some((until, came_home)) = self.truth.doubt {
            self.truth.doubt = Some((until.max(LONG_AGO), came_home));
        }
    }

    fn each_row(&mut self, look: &mut impl FnMut(&mut Row)) {
        look(&mut self.row);
        for process in &mut self.processes {
            process.task.rows().into_iter().flatten().for_each(&mut *look);
            if let Fence::Take { row, .. } = &mut process.fence {
                look(row);
            }
        }
        self.late.iter_mut().for_each(|late| look(&mut late.swap.row));
        self.backup.iter_mut().for_each(look);
    }

    /// Sorts the processes by their activity, ignoring names.
    fn sort(&mut self, processes: usize) -> [usize; PROCESSES] {
        struct Nameless;
        impl Visitor for Nameless {
            fn attempt(&mut self, attempt: &mut u8) {
                *attempt = 0;
            }
            fn token(&mut self, token: &mut u8) {
                *token = 0;
            }
            fn number(&mut self, number: &mut u8) {
                *number = 0;
            }
            fn version(&mut self, version: &mut u8) {
                *version = 0;
            }
        }
        let row = self.row;
        let mut order: [usize; PROCESSES] = std::array::from_fn(|index| index);
        let keys = self.processes.map(|process| {
            let mut key = process;
            key.visit(&mut Nameless);
            // Two equal processes are ordered by which of them holds the row.
            (key, holds(&process, &row))
        });
        order[..processes].sort_by(|left, right| keys[*left].cmp(&keys[*right]));
        self.processes = order.map(|index| self.processes[index]);
        if let Some(crate::world::Late { how: How::Stopped { process, .. }, .. }) = &mut self.late {
            let at = order.iter().position(|index| *index == usize::from(*process)).expect("a process");
            *process = u8::try_from(at).expect("few processes");
        }
        order
    }
}

/// Whether a process holds the row, and whether it has read the current row.
fn holds(process: &Process, row: &Row) -> (bool, bool) {
    let (attempt, number) = match process.task {
        Task::Send { held, .. } | Task::Sent { held, .. } | Task::Settle { held, .. } => {
            (held.attempt, held.row.number)
        }
        Task::Claim { row, .. } | Task::Mark { row, .. } | Task::Chore { row: Some(row), .. } => (0, row.number),
        _ => (0, 0),
    };
    (attempt != 0 && row.phase.claimed_by() == attempt, number == row.number)
}

impl Row {
    fn forget(&mut self, living: u64, consents: bool, imports: bool) {
        let lives = |attempt: u8| living & (1 << attempt) != 0;
        // An import asks whether there was a rotation, and when.
        if !lives(self.rotated_by) && self.rotated_by != 0 {
            self.rotated_by = if imports { ENDED } else { 0 };
        }
        if let Some((attempt, _)) = &mut self.unanswered
            && !lives(*attempt)
        {
            *attempt = 0;
        }
        if let Phase::Claimed { lease_until, .. } | Phase::InDoubt { lease_until } = &mut self.phase {
            *lease_until = (*lease_until).max(0);
        }
        self.retry_at = self.retry_at.filter(|at| *at > 0);
        self.wake_at = self.wake_at.map(|at| at.max(0));
        if !imports {
            self.imported = 0;
            if let Some(times) = &mut self.times {
                times.obtained_at = times.obtained_at.max(-crate::row::ACCESS_LIFETIME);
            }
        }
        if !consents && !imports {
            (self.issued_at, self.authenticated_at) = (None, None);
        }
        if self.quarantine.is_none() {
            self.refused_at = self.refused_at.map(|_| 0);
        }
    }
}

impl Task {
    /// The times that the process's own clock counts down to or from.
    fn timers(&mut self) -> [Option<&mut Ticks>; 2] {
        match self {
            Self::Load(trip) | Self::Claim { trip, .. } | Self::Send { trip, .. } | Self::Settle { trip, .. } => {
                [Some(&mut trip.began_at), None]
            }
            Self::Wait { trip, until, .. } => [Some(&mut trip.began_at), Some(until)],
            Self::Sent { trip, deadline, .. } => [Some(&mut trip.began_at), Some(deadline)],
            Self::Mark { trip, .. } => [Some(&mut trip.began_at), None],
            _ => [None, None],
        }
    }

    fn rows(&mut self) -> [Option<&mut Row>; 2] {
        match self {
            Self::Claim { row, .. } | Self::Mark { row, .. } => [Some(row), None],
            Self::Send { held, .. } | Self::Sent { held, .. } => [Some(&mut held.row), None],
            Self::Settle { held, row, .. } => [Some(&mut held.row), row.as_mut()],
            Self::Chore { row, .. }
            | Self::Resume { row }
            | Self::Connect { row, .. }
            | Self::Remove { row }
            | Self::Import { row, .. } => [row.as_mut(), None],
            _ => [None, None],
        }
    }
}

/// The existing numbers and versions.
#[derive(Default)]
struct Known {
    numbers: u64,
    versions: u64,
}

impl Visitor for Known {
    fn number(&mut self, number: &mut u8) {
        self.numbers |= 1 << *number;
    }

    fn version(&mut self, version: &mut u8) {
        self.versions |= 1 << *version;
    }
}

/// Row numbers are only compared for equality.
fn ranks(known: u64) -> [u8; 64] {
    let mut ranks = [0; 64];
    let mut next = 1;
    for (number, rank) in ranks.iter_mut().enumerate().skip(1) {
        if known & (1 << number) != 0 {
            *rank = next;
            next += 1;
        }
    }
    ranks
}

/// Versions are compared by order and grow by one: gaps of up to three are kept.
fn versions(known: u64) -> [u8; 64] {
    const GAP: u8 = 3;
    let mut names = [0; 64];
    let mut last: Option<(u8, u8)> = None;
    for version in 1..64_u8 {
        if known & (1 << version) != 0 {
            let name = last.map_or(1, |(before, name)| name + (version - before).min(GAP));
            names[usize::from(version)] = name;
            last = Some((version, name));
        }
    }
    names
}

/// New names for old ones.
struct Names {
    numbers: [u8; 64],
    versions: [u8; 64],
    attempts: [u8; 64],
    tokens: [u8; TOKENS + 1],
    last_attempt: u8,
    last_token: u8,
}

impl Default for Names {
    fn default() -> Self {
        let empty = [0; 64];
        let (numbers, versions, attempts) = (empty, empty, empty);
        Self { numbers, versions, attempts, tokens: [0; TOKENS + 1], last_attempt: 0, last_token: 0 }
    }
}

impl Visitor for Names {
    fn attempt(&mut self, attempt: &mut u8) {
        if *attempt == 0 {
            return;
        }
        let name = &mut self.attempts[usize::from(*attempt)];
        if *name == 0 {
            self.last_attempt += 1;
            *name = self.last_attempt;
        }
        *attempt = *name;
    }

    fn token(&mut self, token: &mut u8) {
        if *token == 0 {
            return;
        }
        let name = &mut self.tokens[usize::from(*token)];
        if *name == 0 {
            self.last_token += 1;
            *name = self.last_token;
        }
        *token = *name;
    }

    fn number(&mut self, number: &mut u8) {
        *number = self.numbers[usize::from(*number)];
    }

    fn version(&mut self, version: &mut u8) {
        *version = self.versions[usize::from(*version)];
    }
}
