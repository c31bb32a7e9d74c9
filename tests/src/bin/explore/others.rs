//! Actions of people and other systems: consents, removals, imports, passwords, backups.

use crate::{
    moves::{Kind, Moves},
    row::{Row, Ticks},
    rules::Intent,
    saves::Saved,
    world::{By, Coming, Consent, Imported, Stop, Task, Token, TokenState, World},
};

/// The opt-ins that imports bring: of tokens that UPS accepts, and of spent ones.
const IMPORTED: u8 = 9;
const IMPORTED_SPENT: u8 = 8;

impl Moves<'_> {
    pub(crate) fn events(&mut self) {
        let left = self.from.left;
        if left.passwords > 0 {
            let mut world = *self.from;
            world.left.passwords -= 1;
            let alive = world.tokens.iter_mut().filter(|token| token.opt_in != 0 && token.state == TokenState::Alive);
            alive.for_each(|token| token.state = TokenState::Withdrawn);
            self.push(Kind::Event, None, "the password is changed at UPS.com", world);
        }
        if left.consents > 0 && self.from.consent.is_none() {
            let mut world = *self.from;
            world.left.consents -= 1;
            world.consent = Some(Consent { id: 2 + left.consents, removals: world.row.removals });
            self.push(Kind::Event, None, "a person begins a consent", world);
        }
        if left.backups > 0 {
            let mut world = *self.from;
            world.left.backups -= 1;
            world.backup = Some(world.row);
            self.push(Kind::Event, None, "the store's row is copied to a backup or a standby", world);
        }
        let spent = self.from.tokens.iter().position(|token| token.is_shared && token.state == TokenState::Alive);
        if let Some(spent) = spent {
            let mut world = *self.from;
            world.tokens[spent].state = TokenState::Spent(By::OtherSystem);
            self.push(Kind::Event, None, "the other system uses the token that was imported", world);
        }
        for index in 0..self.scenario.processes {
            let process = &self.from.processes[index];
            if process.halt.is_none()
                && process.task == Task::Idle
                && process.stopping != Stop::Ended
                && self.from.away_since.is_none()
            {
                self.begin(index);
            }
            self.stop(index);
            self.others(index);
        }
    }

    fn begin(&mut self, index: usize) {
        let row = &self.from.row;
        let begun = |task: Task| {
            let mut world = *self.from;
            world.processes[index].task = task;
            world
        };
        if let Some(consent) = self.from.consent {
            // The callback checks the consent against the row and uses it.
            let is_good = consent.removals == row.removals || self.rules.is_without(crate::omit::Rule::RemovalsCompare);
            let world = begun(if is_good { Task::Exchange(consent) } else { Task::Idle });
            self.push(Kind::Event, Some(index), "gets the callback of the consent", World { consent: None, ..world });
        }
        if self.from.processes[index].breaker.resumes {
            let mut world = begun(Task::Resume { row: None });
            world.processes[index].breaker.resumes = false;
            self.push(Kind::Event, Some(index), "hears that UPS is in reach again", world);
        }
        if self.from.left.removals > 0 {
            let mut world = begun(Task::Remove { row: None });
            world.left.removals -= 1;
            self.push(Kind::Event, Some(index), "is told to remove the authorization", world);
        }
        if self.from.left.imports > 0 {
            let mut world = *self.from;
            world.left.imports -= 1;
            world.import(index, IMPORTED, TokenState::Alive, Some(0));
            self.push(Kind::Event, Some(index), "is told to import another system's tokens", world);
        }
        if self.from.left.spent_imports > 0 {
            // At the latest, UPS issued them together with the pair that is stored here.
            let latest = row.times.map(|times| times.obtained_at);
            let dates = [
                (latest, "is told to import spent tokens, dated like the pair that is stored"),
                (None, "is told to import spent tokens without a date"),
            ];
            for (issued_at, tale) in dates.into_iter().skip(usize::from(latest.is_none())) {
                let mut world = *self.from;
                world.left.spent_imports -= 1;
                world.import(index, IMPORTED_SPENT, TokenState::Spent(By::Earlier), issued_at);
                self.push(Kind::Event, Some(index), tale, world);
            }
        }
    }

    /// A task that stores or removes an opt-in.
    pub(crate) fn opt_in(&mut self, index: usize) {
        let mut world = *self.from;
        let task = &mut world.processes[index].task;
        let is_away = self.from.away_since.is_some();
        match *task {
            Task::Exchange(consent) => {
                let token = world.issue(consent.id);
                let coming = Coming { consent, used_at: 0, token, is_retry: false };
                world.processes[index].task = Task::Connect { coming, row: None };
                self.push(Kind::Urgent, Some(index), "exchanges the code for a first pair", world);
            }
            Task::Remove { row: None } if is_away => {
                *task = Task::Idle;
                self.push(Kind::Urgent, Some(index), "cannot remove: the store is away", world);
            }
            Task::Connect { row: None, .. } | Task::Import { row: None, .. } if is_away => {}
            Task::Connect { row: ref mut row @ None, .. }
            | Task::Import { row: ref mut row @ None, .. }
            | Task::Remove { row: ref mut row @ None } => {
                *row = Some(self.from.row);
                self.push(Kind::Urgent, Some(index), "reads the row of the opt-in", world);
            }
            Task::Connect { coming, row: Some(row) } => {
                self.save(index, false, &row, &Intent::Connect(coming), "stores the new opt-in");
            }
            Task::Import { coming, row: Some(row) } => {
                self.save(index, false, &row, &Intent::Import(coming), "stores the imported opt-in");
            }
            Task::Remove { row: Some(row) } => {
                self.save(index, false, &row, &Intent::Remove, "removes the authorization");
            }
            _ => {}
        }
    }

    pub(crate) fn after_opt_in(&self, world: &mut World, index: usize, saved: Saved) {
        let task = &mut world.processes[index].task;
        *task = match (*task, saved) {
            (Task::Connect { coming, .. }, Saved::Error) => {
                Task::Connect { coming: Coming { is_retry: true, ..coming }, row: None }
            }
            (Task::Connect { coming, .. }, Saved::Conflict) => Task::Connect { coming, row: None },
            (Task::Import { coming, .. }, Saved::Error | Saved::Conflict) => Task::Import { coming, row: None },
            (Task::Remove { .. }, Saved::Conflict | Saved::Refused(_)) => Task::Remove { row: None },
            _ => Task::Idle,
        };
    }
}

impl World {
    /// A process is told to import tokens whose refresh token is in this state.
    fn import(&mut self, index: usize, opt_in: u8, state: TokenState, issued_at: Option<Ticks>) {
        let token = self.issue(opt_in);
        let Token { state: issued, is_shared, .. } = &mut self.tokens[usize::from(token) - 1];
        (*issued, *is_shared) = (state, true);
        let Row { epoch, removals, .. } = self.row;
        let coming = Imported { opt_in, epoch, removals, token, issued_at };
        self.processes[index].task = Task::Import { coming, row: None };
    }
}
