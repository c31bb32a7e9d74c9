//! A state of the search: the store, UPS, the processes, and what is left of the budget for faults and events.
//!
//! Everything is small and copied. Times count from now, and ids are small numbers, so that [`fold`](crate::fold) can give equal names
//! to states that differ in names alone.

use crate::{
    breaker::Breaker,
    row::{Row, Ticks},
};

/// The most processes of a scenario.
pub(crate) const PROCESSES: usize = 3;
/// The most tokens that anything can refer to at once.
pub(crate) const TOKENS: usize = 12;
/// The most requests that travel without a sender.
pub(crate) const GHOSTS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct World {
    pub(crate) row: Row,
    /// A keeper took the row, so the others do not see that it has woken.
    pub(crate) is_hidden: bool,
    /// The store has been away since then.
    pub(crate) away_since: Option<Ticks>,
    /// A save that has not been done yet.
    pub(crate) late: Option<Late>,
    /// A copy of the row as it was: a backup, or what a standby knows.
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
    /// The opt-in that it belongs to; zero: there is no such token.
    pub(crate) opt_in: u8,
    pub(crate) state: TokenState,
    /// Another system has it, too.
    pub(crate) is_shared: bool,
    /// Why another process may have used the spent token before it, if the process that has it in hand could not store it in time.
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
    /// A spent token of its family was used again.
    FamilyEnded(By),
}

/// Whose request it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum By {
    /// A client's own.
    #[default]
    Client,
    /// A client's own, while another process had the family's living token in hand, and had stood still past its lease with it.
    AfterStop,
    /// The same, but the store was away past the lease, and away again in the time that the holder got after it.
    AfterOutages,
    /// An intermediary's copy of a request.
    Copy,
    /// Another system's, which kept the token before an import.
    OtherSystem,
}

/// A request whose sender does not wait for it any more, or a copy of one.
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
    /// When the request was sent that brought the token that it stores; `None`: it brings none.
    pub(crate) brought: Option<Ticks>,
    /// The pair has no refresh token of its own.
    pub(crate) is_kept: bool,
    /// Why UPS refused, if it is a verdict that says so.
    pub(crate) refused: Option<TokenState>,
}

/// A save whose sender got no answer, or stands still.
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
    /// Its process was stopped before it left.
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
    /// The latest rotation that it has cached.
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

/// A process, or its whole machine, stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Halt {
    pub(crate) since: Ticks,
    /// Its monotonic clock stands still, too.
    pub(crate) is_suspended: bool,
}

/// What a process is doing. Each is one await.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Task {
    #[default]
    Idle,
    /// A flight reads the row.
    Load(Trip),
    /// A flight waits, or until the row's number is another than this one.
    Wait { trip: Trip, until: Ticks, number: u8 },
    /// A flight saves its claim.
    Claim { trip: Trip, row: Row, asked_at: Ticks },
    /// The claim is saved; the request is about to be sent.
    Send { trip: Trip, held: Held, asked_at: Ticks },
    /// The request is sent.
    Sent { trip: Trip, held: Held, sent_at: Ticks, call: Call, deadline: Ticks },
    /// The outcome is being saved.
    Settle { trip: Trip, held: Held, outcome: Outcome, row: Option<Row> },
    /// A row that was set back is being marked.
    Mark { trip: Trip, row: Row },
    /// The keeper saves a step.
    Chore { row: Option<Row>, erases: bool },
    /// A callback's code is exchanged.
    Exchange(Consent),
    /// A first pair is being stored.
    Connect { coming: Coming, row: Option<Row> },
    /// The authorization is being removed.
    Remove { row: Option<Row> },
    /// Another system's tokens are being stored.
    Import { opt_in: u8, epoch: u8, removals: u8, token: u8, row: Option<Row> },
}

/// A first pair on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Coming {
    pub(crate) consent: Consent,
    pub(crate) used_at: Ticks,
    pub(crate) token: u8,
    pub(crate) is_retry: bool,
}

/// What a flight knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Trip {
    /// The rotation that is to be replaced, for the keeper or because an API rejected it; `None`: a caller asks.
    pub(crate) renews: Option<(u8, u8)>,
    pub(crate) began_at: Ticks,
    /// The attempt whose holder got its time.
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

/// A claim that is saved.
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
    /// Refused; and what the token really was.
    Refused(TokenState),
    Misconfigured,
}

/// What UPS's answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Pair {
    Whole,
    /// Its access token cannot be used.
    NoAccess,
    /// It has no refresh token.
    NoRefresh,
}

/// What an attempt writes at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Pair { token: u8, sent_at: Ticks, kind: Pair },
    Refused(TokenState),
    Unanswered,
    NotSent,
    Late,
    Misconfigured,
}

/// What makes sure that a claim of unknown outcome holds up nobody.
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

/// What may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Left {
    pub(crate) faults: u8,
    pub(crate) passwords: u8,
    pub(crate) consents: u8,
    pub(crate) removals: u8,
    pub(crate) imports: u8,
    pub(crate) backups: u8,
    pub(crate) stops: u8,
    /// Requests for other companies of the same client.
    pub(crate) others: u8,
}

/// What really happened, which nobody in the world can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Truth {
    /// Until when something speaks for a lost answer, and whether a rotation came home since.
    pub(crate) doubt: Option<(Ticks, bool)>,
    /// How often UPS refused by mistake.
    pub(crate) mistakes: u8,
    /// The store lost what it had saved.
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

    /// A request goes on without its sender. Beyond the room for them, the oldest is dropped.
    pub(crate) fn haunt(&mut self, ghost: Ghost) {
        let free = self.ghosts.iter().position(Option::is_none).unwrap_or(0);
        self.ghosts[free] = Some(ghost);
        self.ghosts.sort_unstable();
    }
}
