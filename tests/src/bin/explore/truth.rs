//! The promises that must hold in every state, judged by what really happened.

use crate::{
    omit::Rule,
    row::{ECHO, LEASE, LONG_AGO, Phase, Row, Standing, Ticks},
    rules::Rules,
    world::{Answer, By, Call, Fence, Outcome, Process, Swap, Task, TokenState, World},
};

/// What a move reveals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Finding {
    /// A promise is broken.
    Broken(Promise),
    /// A wrong cause that no client can tell from the right one.
    Known(Label),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Promise {
    OneRequestWithinALease,
    NoPairThrownAway,
    InvalidatedOnlyIfUnused,
    LostOnlyIfInDoubt,
    NothingWithdrawnServed,
    OnlyStoredServed,
    NothingAliveErased,
    RemovedStaysRemoved,
    ClaimsHaveWholeLeases,
    NothingWorseStored,
    AWaveStopsTheOthers,
    OnlyAWaveStopsTheOthers,
    OnlySilenceIsAnOutage,
    AnOutageLeavesTrials,
    AuthenticatedInTheEnd,
}

impl Promise {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::OneRequestWithinALease => "two requests are made with one token within a lease",
            Self::NoPairThrownAway => "a pair that reached a living process is thrown away",
            Self::InvalidatedOnlyIfUnused => "OptInInvalidated is reported although the token had been used",
            Self::LostOnlyIfInDoubt => "RotationLost is reported although every request was answered",
            Self::NothingWithdrawnServed => "the token of a withdrawn or removed opt-in is served",
            Self::OnlyStoredServed => "a token is served that is not stored",
            Self::NothingAliveErased => "a refresh token is erased that UPS accepts",
            Self::RemovedStaysRemoved => "an opt-in comes back that was removed or replaced",
            Self::ClaimsHaveWholeLeases => "a claim is saved whose lease is partly over",
            Self::NothingWorseStored => "an opt-in that works is replaced by a pair that is spent",
            Self::AWaveStopsTheOthers => "a wave of refusals goes through one company after the other",
            Self::OnlyAWaveStopsTheOthers => "the breaker stops every company although there was no wave",
            Self::OnlySilenceIsAnOutage => "UPS is out of reach although it has answered",
            Self::AnOutageLeavesTrials => "UPS is out of reach, and a request is sent that is no trial",
            Self::AuthenticatedInTheEnd => {
                "faults have stopped, UPS accepts the token, and the company is not authenticated in the end"
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Label {
    /// The password was changed at the moment of a lost request.
    PasswordLooksLikeALostAnswer,
    /// An intermediary repeated an answered request.
    CopyLooksLikeAPassword,
    /// A process was stopped past its lease with the pair in hand, and another process asked with the spent token: UPS
    /// ended the family. The row was given up before the pair was stored.
    OwnRequestLooksLikeAPassword,
    /// The same, but the store was unavailable past the lease, returned briefly, and was unavailable until the holder's
    /// grace ended.
    OwnRequestAfterOutages,
}

impl Label {
    pub(crate) const ALL: [Self; 4] = [
        Self::PasswordLooksLikeALostAnswer,
        Self::CopyLooksLikeAPassword,
        Self::OwnRequestLooksLikeAPassword,
        Self::OwnRequestAfterOutages,
    ];

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::PasswordLooksLikeALostAnswer => "RotationLost for a password change at the moment of a lost request",
            Self::CopyLooksLikeAPassword => {
                "OptInInvalidated after an intermediary repeated a request that was answered"
            }
            Self::OwnRequestLooksLikeAPassword => {
                "OptInInvalidated after the family ended by our own second request, because of a stop"
            }
            Self::OwnRequestAfterOutages => {
                "OptInInvalidated after the family ended by our own second request, because the store was away twice"
            }
        }
    }
}

impl Process {
    /// The process's pair in hand, and when its request was sent.
    fn pair_in_hand(&self) -> Option<(u8, Ticks)> {
        match self.task {
            Task::Sent { call: Call::Answered(Answer::Pair { token, .. }), sent_at, .. }
            | Task::Settle { outcome: Outcome::Pair { token, sent_at, .. }, .. } => Some((token, sent_at)),
            _ => None,
        }
    }
}

/// Whether the process holds a claim whose outcome is not saved, so that its death leaves a doubt.
pub(crate) fn holds_a_claim(process: &Process) -> bool {
    let holds = matches!(process.task, Task::Send { .. } | Task::Sent { .. } | Task::Settle { .. });
    holds || process.fence != Fence::None
}

/// A process sends a token: no other open request with it may be younger than a lease.
pub(crate) fn sent(world: &World, index: usize, token: u8) -> Option<Finding> {
    let is_young = |sent_at: Ticks| sent_at > -LEASE;
    let others = world.processes.iter().enumerate().filter(|(other, _)| *other != index);
    let by_others = others.into_iter().any(|(_, process)| match process.task {
        Task::Sent { held, sent_at, .. } => held.token == token && is_young(sent_at),
        _ => false,
    });
    let by_ghosts =
        world.ghosts.iter().flatten().any(|ghost| ghost.token == token && !ghost.is_copy && is_young(ghost.sent_at));
    ((by_others || by_ghosts) && !world.truth.was_set_back).then_some(Finding::Broken(Promise::OneRequestWithinALease))
}

/// A token is served from a row that the store returned, or not.
pub(crate) fn served(row: &Row, is_stored: bool) -> Option<Finding> {
    if !is_stored {
        return Some(Finding::Broken(Promise::OnlyStoredServed));
    }
    let is_withdrawn = matches!(row.standing, Standing::Unauthenticated | Standing::Invalidated);
    is_withdrawn.then_some(Finding::Broken(Promise::NothingWithdrawnServed))
}

/// A step is saved: returns the label it causes or the token it wrongly erases.
pub(crate) fn saved(before: &World, world: &mut World, swap: &Swap, rules: &Rules) -> Option<Finding> {
    let (old, new) = (&before.row, world.row);
    let mut finding = None;
    if new.standing != old.standing {
        finding = match new.standing {
            Standing::Invalidated => invalidated(world, swap.refused),
            Standing::Lost => lost(world, swap.refused),
            _ => None,
        };
    }
    if let Phase::Claimed { attempt, lease_until, .. } = new.phase
        && attempt != old.phase.claimed_by()
        && lease_until < LEASE
        && !rules.is_without(Rule::Lease)
    {
        finding = finding.or(Some(Finding::Broken(Promise::ClaimsHaveWholeLeases)));
    }
    if new.opt_in != old.opt_in {
        let is_worse = match world.token(new.token).state {
            TokenState::Spent(By::Client) => true,
            TokenState::Spent(By::Earlier) => works(old),
            _ => false,
        };
        if is_worse && world.is_alive(old.token) {
            finding = finding.or(Some(Finding::Broken(Promise::NothingWorseStored)));
        }
        world.truth.doubt = None;
        // Another system may use an imported token, too.
        if world.token(new.token).is_shared {
            world.doubt();
        }
        if was_replaced(before, &new) {
            finding = finding.or(Some(Finding::Broken(Promise::RemovedStaysRemoved)));
        }
    } else if let Some(sent_at) = swap.brought {
        came_home(world, sent_at);
        if !matches!(old.standing, Standing::Invalidated | Standing::Lost) {
            world.forget_the_stop(new.token);
        }
        if swap.is_kept {
            // Nothing shows whether UPS accepts the token again.
            let until = (sent_at + ECHO).max(world.truth.doubt.map_or(LONG_AGO, |(until, _)| until));
            world.truth.doubt = Some((until, false));
        }
        let is_own = [0, new.rotated_by].contains(&old.phase.claimed_by());
        // A row that was set back: its lost knowledge is noticed only now.
        let is_set_back = new.version > old.version + 1;
        renew_doubt(world, !is_own || is_set_back);
    }
    let is_taken_over = old.phase.claimed_by() != 0 && new.phase.claimed_by() != 0;
    let is_marked = new.unanswered.is_some() && new.unanswered != old.unanswered;
    renew_doubt(world, is_marked || (is_taken_over && old.phase.claimed_by() != new.phase.claimed_by()));
    let is_erased = old.token != 0 && new.token == 0 && new.opt_in == old.opt_in && before.is_alive(old.token);
    if is_erased && usize::from(world.truth.mistakes) <= rules.second_opinions() {
        finding = finding.or(Some(Finding::Broken(Promise::NothingAliveErased)));
    }
    finding
}

/// Whether the library serves this opt-in or is still to ask UPS about it.
fn works(row: &Row) -> bool {
    let is_asked_again = row.quarantine.is_some_and(|kept| !kept.is_over);
    row.standing == Standing::Authenticated || (row.standing == Standing::Invalidated && is_asked_again)
}

/// Whether the save brings an opt-in from before a removal, or a commit of another opt-in than the row's.
fn was_replaced(before: &World, new: &Row) -> bool {
    let is_commit = new.epoch == before.row.epoch && new.opt_in != 0;
    let is_removed_consent = new.opt_in != 0
        && before.processes.iter().any(|process| match process.task {
            Task::Connect { coming, .. } => {
                coming.consent.id == new.opt_in && coming.consent.removals != before.row.removals
            }
            Task::Import { coming, .. } => coming.opt_in == new.opt_in && coming.removals != before.row.removals,
            _ => false,
        });
    is_commit || is_removed_consent
}

fn invalidated(world: &World, refused: Option<TokenState>) -> Option<Finding> {
    let forgotten = world.truth.was_set_back && world.truth.forgot;
    match refused {
        Some(TokenState::Alive | TokenState::Withdrawn) => None,
        Some(TokenState::Spent(By::Copy) | TokenState::FamilyEnded(By::Copy)) => {
            Some(Finding::Known(Label::CopyLooksLikeAPassword))
        }
        Some(TokenState::FamilyEnded(By::AfterStop)) => Some(Finding::Known(Label::OwnRequestLooksLikeAPassword)),
        Some(TokenState::FamilyEnded(By::AfterOutages)) => Some(Finding::Known(Label::OwnRequestAfterOutages)),
        _ if forgotten => None,
        _ => Some(Finding::Broken(Promise::InvalidatedOnlyIfUnused)),
    }
}

fn lost(world: &World, refused: Option<TokenState>) -> Option<Finding> {
    match (world.truth.doubt, refused) {
        (None, _) => Some(Finding::Broken(Promise::LostOnlyIfInDoubt)),
        (Some(_), Some(TokenState::Withdrawn)) => Some(Finding::Known(Label::PasswordLooksLikeALostAnswer)),
        (Some(_), _) => None,
    }
}

/// An earlier doubt persists: another attempt may have sent the same token.
fn renew_doubt(world: &mut World, is_renewed: bool) {
    if is_renewed && world.truth.doubt.is_some() {
        world.doubt();
    }
}

/// A pair is stored whose request was sent at `sent_at`: the second one after the last doubtful request ends the doubt.
fn came_home(world: &mut World, sent_at: Ticks) {
    if let Some((until, once)) = world.truth.doubt {
        world.truth.doubt = (!(once && until < sent_at)).then_some((until, true));
    }
}

impl World {
    /// A pair was stored over a row that had not been given up: nothing excuses a wrong cause later.
    fn forget_the_stop(&mut self, token: u8) {
        let token = &mut self.tokens[usize::from(token) - 1];
        token.held_up = By::Client;
        if matches!(token.state, TokenState::FamilyEnded(By::AfterStop | By::AfterOutages)) {
            token.state = TokenState::FamilyEnded(By::Client);
        }
    }

    /// Marks the pairs held by processes that are stopped past their lease.
    pub(crate) fn hold_up_the_halted(&mut self) {
        for index in 0..self.processes.len() {
            if let (Some(_), Some((token, sent_at))) =
                (self.processes[index].halt, self.processes[index].pair_in_hand())
                && sent_at <= -LEASE
            {
                self.tokens[usize::from(token) - 1].held_up = By::AfterStop;
            }
        }
    }

    /// The store becomes unavailable during a holder's grace.
    pub(crate) fn hold_up_all(&mut self) {
        for index in 0..self.processes.len() {
            let process = &self.processes[index];
            if let (None, Some((token, _))) = (process.halt, process.pair_in_hand()) {
                self.tokens[usize::from(token) - 1].held_up = By::AfterOutages;
            }
        }
    }

    /// The current opt-in's token that UPS accepts, and whether anything that we have recovers it.
    pub(crate) fn living(&self) -> Option<(u8, bool)> {
        if self.row.opt_in == 0 {
            return None;
        }
        let is_ours = |token: &crate::world::Token| token.opt_in == self.row.opt_in && token.state == TokenState::Alive;
        let token = u8::try_from(self.tokens.iter().position(is_ours)?).ok()? + 1;
        let holds = |process: &Process| match process.task {
            Task::Sent { call: Call::Answered(Answer::Pair { token: pair, .. }), .. } => pair == token,
            // A pair that the process has read as stored is the store's to keep.
            Task::Settle { outcome: Outcome::Pair { token: pair, .. }, held, row, .. } => {
                pair == token && row.is_none_or(|row| row.rotated_by != held.attempt)
            }
            _ => false,
        };
        let is_late = self.late.is_some_and(|late| late.swap.brought.is_some() && late.swap.row.token == token);
        let is_held = self.row.token == token || self.processes.iter().any(holds) || is_late;
        Some((token, is_held))
    }

    /// Whether the company is authenticated, with a token that UPS accepts and nothing pending.
    pub(crate) fn is_settled(&self) -> bool {
        let row = &self.row;
        row.standing == Standing::Authenticated
            && row.phase == Phase::Idle
            && row.unanswered.is_none()
            && self.is_alive(row.token)
    }

    /// Whether the company must become authenticated again by itself.
    pub(crate) fn must_settle(&self, rules: &Rules) -> bool {
        let is_given_up = usize::from(self.truth.mistakes) > rules.second_opinions();
        self.living().is_some_and(|(_, is_held)| is_held) && !is_given_up
    }
}

/// Work alone has thrown away the opt-in's last living token.
pub(crate) fn lost_by_us(before: &World, after: &World, rules: &Rules) -> Option<Finding> {
    if usize::from(after.truth.mistakes) > rules.second_opinions() {
        return None;
    }
    let was_held = before.living().is_some_and(|(_, is_held)| is_held);
    let is_lost = after.living().is_some_and(|(_, is_held)| !is_held);
    (was_held && is_lost && before.row.opt_in == after.row.opt_in).then_some(Finding::Broken(Promise::NoPairThrownAway))
}
