//! A state of the search: the store, UPS, the processes, and the remaining budget of faults and events.
//!
//! Everything is small and copied. Times are relative to now, and ids are small numbers, so that [`fold`](crate::fold)
//! can give equal names to states that differ only in names.

use crate::{
    breaker::Breaker,
    row::{Row, Ticks},
};

/// The maximum number of processes.
pub(crate) const PROCESSES: usize = 3;
/// The maximum number of tokens that anything can refer to at once.
pub(crate) const TOKENS: usize = 12;
/// The maximum number of requests in transit without a sender.
pub(crate) const GHOSTS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct World {
    pub(crate) row: Row,
    /// A keeper took the row, so the others do not see it wake.
    pub(crate) is_hidden: bool,
    /// Since when the store has been unavailable.
    pub(crate) away_since: Option<Ticks>,
    /// A save that has not landed yet.
    pub(crate) late: Option<Late>,
    /// An earlier copy of the row: a backup, or a standby's state.
    pub(crate) backup: Option<Row>,
    pub(crate) tokens: [Token; TOKENS],
    pub(crate) ghosts: [Option<Ghost>; GHOSTS],
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) consent: Option<Consent>,
    pub(crate) left: Left,
    pub(crate) truth: Truth,
}

/// A token as UPS knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token {
    /// The opt-in that it belongs to; zero: the token does not exist.
    pub(crate) opt_in: u8,
    pub(crate) state: TokenState,
    /// Another system has it, too.
    pub(crate) is_shared: bool,
    /// Why another process may have used the spent token before it, if the process with this pair in hand could not
    /// store it in time.
    pub(crate) held_up: By,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TokenState {
    /// UPS accepts it.
    #[default]
    Alive,
    /// It was used.
    Spent(By),
    /// The password was changed.
    Withdrawn,
    /// A spent token of its family was reused.
    FamilyEnded(By),
}

/// The origin of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum By {
    /// A client.
    #[default]
    Client,
    /// A client, while another process had the family's living token in hand and was stopped past its lease.
    AfterStop,
    /// The same, but the store was unavailable past the lease and again during the holder's grace.
    AfterOutages,
    /// An intermediary that copied a request.
    Copy,
    /// Another system that kept the token before an import.
    OtherSystem,
    /// Any client, before the token was imported.
    Earlier,
}

/// A request whose sender no longer waits for it, or a copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ghost {
    pub(crate) token: u8,
    pub(crate) sent_at: Ticks,
    pub(crate) is_copy: bool,
}

/// A swap on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Swap {
    pub(crate) row: Row,
    pub(crate) expected: u8,
    pub(crate) decided_at: Ticks,
    pub(crate) is_timed: bool,
    pub(crate) wakes: bool,
    /// When the request for the stored token was sent; `None`: the swap stores no new token.
    pub(crate) brought: Option<Ticks>,
    /// The pair has no refresh token of its own.
    pub(crate) is_kept: bool,
    /// The reason of UPS's refusal, if this is such a verdict.
    pub(crate) refused: Option<TokenState>,
}

/// A save whose sender got no answer or is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Late {
    pub(crate) swap: Swap,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum How {
    /// It was judged and holds the row's lock.
    Committing,
    /// It has not reached the store.
    Travelling,
    /// Its process was stopped before sending it.
    Stopped { process: u8, is_fence: bool },
}

/// A consent that a person has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Consent {
    pub(crate) id: u8,
    pub(crate) removals: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) halt: Option<Halt>,
    pub(crate) stopping: Stop,
    /// The latest rotation in its cache.
    pub(crate) seen: (u8, u8),
    pub(crate) breaker: Breaker,
    /// A caller has asked in this step of time.
    pub(crate) was_asked: bool,
    pub(crate) task: Task,
    pub(crate) fence: Fence,
}

/// Whether a process is about to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stop {
    #[default]
    No,
    Quiet,
    Ended,
}

/// A process, or its whole machine, is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Halt {
    pub(crate) since: Ticks,
    /// Its monotonic clock stops, too.
    pub(crate) is_suspended: bool,
}

/// A process's activity. Each variant is one await.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Task {
    #[default]
    Idle,
    /// A flight reads the row.
    Load(Trip),
    /// A flight waits until a time or until the row's number changes.
    Wait { trip: Trip, until: Ticks, number: u8 },
    /// A flight saves its claim.
    Claim { trip: Trip, row: Row, asked_at: Ticks },
    /// The claim is saved; the request is about to be sent.
    Send { trip: Trip, held: Held, asked_at: Ticks },
    /// The request was sent.
    Sent { trip: Trip, held: Held, sent_at: Ticks, call: Call, deadline: Ticks },
    /// The outcome is being saved.
    Settle { trip: Trip, held: Held, outcome: Outcome, row: Option<Row> },
    /// A row that was set back is being marked.
    Mark { trip: Trip, row: Row },
    /// The keeper saves a step.
    Chore { row: Option<Row>, erases: bool },
    /// The pause of UPS's silence ends, because UPS is in reach again.
    Resume { row: Option<Row> },
    /// A callback's code is exchanged.
    Exchange(Consent),
    /// A first pair is being stored.
    Connect { coming: Coming, row: Option<Row> },
    /// The authorization is being removed.
    Remove { row: Option<Row> },
    /// Another system's tokens are being stored.
    Import { coming: Imported, row: Option<Row> },
}

/// A first pair on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Coming {
    pub(crate) consent: Consent,
    pub(crate) used_at: Ticks,
    pub(crate) token: u8,
    pub(crate) is_retry: bool,
}

/// Another system's tokens on their way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Imported {
    pub(crate) opt_in: u8,
    pub(crate) epoch: u8,
    pub(crate) removals: u8,
    pub(crate) token: u8,
    /// When UPS issued them, as the other system says.
    pub(crate) issued_at: Option<Ticks>,
}

/// A flight's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Trip {
    /// The rotation to replace, for the keeper or because an API rejected it; `None`: a caller asks.
    pub(crate) renews: Option<(u8, u8)>,
    pub(crate) began_at: Ticks,
    /// The attempt whose holder got its grace.
    pub(crate) given_time: u8,
    pub(crate) failed: Failed,
    pub(crate) is_background: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Failed {
    #[default]
    No,
    Store,
    Unavailable,
    Misconfigured,
}

/// A saved claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) opt_in: u8,
    pub(crate) epoch: u8,
    pub(crate) version: u8,
    pub(crate) attempt: u8,
    pub(crate) token: u8,
    /// The row with the claim.
    pub(crate) row: Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Call {
    Travelling,
    Answered(Answer),
    /// No answer will come.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    Pair {
        token: u8,
        kind: Pair,
    },
    /// Refused; and the token's true state.
    Refused(TokenState),
    Misconfigured,
}

/// The content of UPS's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Pair {
    Whole,
    /// Its access token is unusable.
    NoAccess,
    /// It has no refresh token.
    NoRefresh,
}

/// What an attempt writes at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Pair {
        token: u8,
        sent_at: Ticks,
        kind: Pair,
    },
    Refused(TokenState),
    Unanswered,
    NotSent,
    /// Not sent, while UPS is out of reach.
    OutOfReach,
    Late,
    Misconfigured,
}

/// Ensures that a claim of unknown outcome blocks nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fence {
    #[default]
    None,
    Load {
        attempt: u8,
        number: u8,
    },
    Take {
        attempt: u8,
        number: u8,
        row: Row,
    },
}

/// The remaining budget of faults and events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Left {
    pub(crate) faults: u8,
    pub(crate) passwords: u8,
    pub(crate) consents: u8,
    pub(crate) removals: u8,
    pub(crate) imports: u8,
    /// Imports of tokens that were spent before.
    pub(crate) spent_imports: u8,
    pub(crate) backups: u8,
    pub(crate) stops: u8,
    /// Requests for other companies of the same client.
    pub(crate) others: u8,
}

/// What really happened; nobody in the world can read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Truth {
    /// Until when a lost answer is plausible, and whether a rotation was stored since.
    pub(crate) doubt: Option<(Ticks, bool)>,
    /// How often UPS refused by mistake.
    pub(crate) mistakes: u8,
    /// The store lost a save.
    pub(crate) was_set_back: bool,
    /// A process that knew of the lost rotation died.
    pub(crate) forgot: bool,
}

impl World {
    pub(crate) fn token(&self, token: u8) -> Token {
        if token == 0 { Token::default() } else { self.tokens[usize::from(token) - 1] }
    }

    pub(crate) fn is_alive(&self, token: u8) -> bool {
        token != 0 && self.token(token).state == TokenState::Alive
    }

    pub(crate) fn set_token(&mut self, token: u8, state: TokenState) {
        self.tokens[usize::from(token) - 1].state = state;
    }

    /// UPS issues a token of an opt-in.
    pub(crate) fn issue(&mut self, opt_in: u8) -> u8 {
        let free = self.tokens.iter().position(|token| token.opt_in == 0).expect("room for a token");
        self.tokens[free] = Token { opt_in, state: TokenState::Alive, ..Token::default() };
        u8::try_from(free).expect("few tokens") + 1
    }

    /// A request continues without its sender. If there is no room, the oldest is dropped.
    pub(crate) fn haunt(&mut self, ghost: Ghost) {
        let free = self.ghosts.iter().position(Option::is_none).unwrap_or(0);
        self.ghosts[free] = Some(ghost);
        self.ghosts.sort_unstable();
    }
}
