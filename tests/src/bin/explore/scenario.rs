//! The scenarios: each is a small world that is searched completely.

use crate::{
    row::{ACCESS_LIFETIME, Row, Standing, Ticks, Times},
    truth::Label,
    world::{GHOSTS, Left, PROCESSES, Process, TOKENS, Token, Truth, World},
};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process dies, and another one replaces it.
    Kill,
    /// A process is stopped; its timers continue.
    Stop,
    /// A process is suspended with its machine; its timers stop.
    Suspend,
    /// A save fails, or its answer is lost.
    Save,
    /// A save lands after its process has given it up.
    LateSave,
    /// The store is unavailable for a while.
    Outage,
    /// A request or an answer is delayed or lost.
    Network,
    /// A request is duplicated on its way.
    Doubled,
    /// UPS refuses a token that it should accept.
    Mistake,
    /// UPS answers with an unusable access token, or without a refresh token.
    Odd,
    /// UPS cannot be reached, or refuses the client.
    Answers,
    /// The store fails over to a standby without its last commits.
    SetBack,
    /// A backup is restored, as operators are told to do it.
    Restore,
}

/// What callers do, once per process and step of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    None,
    /// They ask for a token that is not cached.
    Ask,
    /// They also report that an API rejected it.
    Reject,
}

/// A small world.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) processes: usize,
    /// Whether UPS ends a whole family of tokens when a spent one is reused.
    pub(crate) ends_families: bool,
    /// The number of faults together, of these kinds.
    pub(crate) faults: u8,
    pub(crate) faults_of: &'static [Fault],
    /// What people do.
    pub(crate) events: Left,
    /// When UPS is asked again about a refused token.
    pub(crate) second_opinions: &'static [Ticks],
    /// Who asks for tokens besides the keeper.
    pub(crate) callers: Callers,
    /// The labels that no client can tell apart and that must occur.
    pub(crate) expects: &'static [Label],
}

const QUIET: Left = Left {
    faults: 0,
    passwords: 0,
    consents: 0,
    removals: 0,
    imports: 0,
    spent_imports: 0,
    backups: 0,
    stops: 0,
    others: 0,
};
const PASSWORD: Left = Left { passwords: 1, ..QUIET };
const BACKUP: Left = Left { backups: 1, ..PASSWORD };
const STOP: Left = Left { stops: 1, ..PASSWORD };
const IMPORT: Left = Left { imports: 1, ..PASSWORD };

const NETWORK: &[Fault] = &[Fault::Network, Fault::Kill];
const DOUBLED: &[Fault] = &[Fault::Network, Fault::Kill, Fault::Doubled];
const STANDSTILL: &[Fault] = &[Fault::Stop, Fault::Suspend, Fault::Kill];
const STORE: &[Fault] = &[Fault::Save, Fault::LateSave, Fault::Outage, Fault::Kill];
const COMMON: &[Fault] = &[Fault::Network, Fault::Kill, Fault::Stop, Fault::Save];
const LOSSES: &[Fault] = &[Fault::SetBack, Fault::Network, Fault::Save];
const FEW: &[Fault] = &[Fault::Network, Fault::Stop];
const MISTAKES: &[Fault] = &[Fault::Mistake, Fault::Network, Fault::Stop, Fault::Save];
const ODD: &[Fault] = &[Fault::Odd, Fault::Network];
const ANY: &[Fault] = &[
    Fault::Kill,
    Fault::Stop,
    Fault::Suspend,
    Fault::Save,
    Fault::LateSave,
    Fault::Outage,
    Fault::Network,
    Fault::Doubled,
];

const LOST: &[Label] = &[Label::PasswordLooksLikeALostAnswer];
const LOST_OR_COPIED: &[Label] = &[Label::PasswordLooksLikeALostAnswer, Label::CopyLooksLikeAPassword];
const LOST_OR_STOPPED: &[Label] = &[Label::PasswordLooksLikeALostAnswer, Label::OwnRequestLooksLikeAPassword];
const EACH: &[Label] = &Label::ALL;

const BASE: Scenario = Scenario {
    name: "",
    processes: 2,
    ends_families: false,
    faults: 2,
    faults_of: NETWORK,
    events: PASSWORD,
    second_opinions: &[],
    callers: Callers::None,
    expects: LOST,
};
const FAMILIES: Scenario = Scenario { ends_families: true, ..BASE };

/// The quick run.
pub(crate) const QUICK: &[Scenario] = &[
    Scenario { name: "no faults", faults: 0, faults_of: &[], callers: Callers::Ask, expects: &[], ..BASE },
    Scenario { name: "network", callers: Callers::Ask, ..BASE },
    Scenario { name: "network, families", callers: Callers::Ask, ..FAMILIES },
    Scenario { name: "doubled requests", faults_of: DOUBLED, expects: LOST_OR_COPIED, ..BASE },
    Scenario { name: "doubled requests, families", faults_of: DOUBLED, expects: LOST_OR_COPIED, ..FAMILIES },
    Scenario { name: "standstill", faults_of: STANDSTILL, ..BASE },
    Scenario { name: "standstill, families", faults: 1, faults_of: STANDSTILL, expects: LOST_OR_STOPPED, ..FAMILIES },
    Scenario { name: "store", faults_of: STORE, ..BASE },
    Scenario { name: "mistakes", faults_of: &[Fault::Mistake, Fault::Network], second_opinions: &[1, 2], ..BASE },
    Scenario { name: "no connection, or the client refused", faults_of: &[Fault::Answers, Fault::Network], ..BASE },
    Scenario {
        name: "a consent, a removal, a password",
        faults: 1,
        faults_of: &[Fault::Save],
        events: Left { consents: 1, removals: 1, ..PASSWORD },
        expects: &[],
        ..BASE
    },
    Scenario {
        name: "two consents",
        faults: 1,
        faults_of: &[Fault::Save],
        events: Left { consents: 2, ..QUIET },
        expects: &[],
        ..BASE
    },
    Scenario {
        name: "rejected tokens",
        faults: 1,
        faults_of: &[Fault::Save],
        events: QUIET,
        callers: Callers::Reject,
        expects: &[],
        ..BASE
    },
    Scenario { name: "import", faults: 1, events: IMPORT, ..BASE },
    Scenario {
        name: "import and removal",
        faults: 1,
        faults_of: &[Fault::Save],
        events: Left { imports: 1, removals: 1, ..QUIET },
        expects: &[],
        ..BASE
    },
    Scenario {
        name: "import of spent tokens",
        faults: 1,
        faults_of: &[Fault::Mistake, Fault::Network],
        events: Left { spent_imports: 1, ..QUIET },
        second_opinions: &[1, 2],
        expects: &[],
        ..BASE
    },
    Scenario { name: "odd pairs", faults_of: ODD, callers: Callers::Ask, ..BASE },
    Scenario { name: "shutdown", faults: 1, faults_of: &[Fault::Save, Fault::Outage], events: STOP, ..BASE },
    Scenario { name: "restored backup", faults_of: &[Fault::Restore, Fault::Kill], events: BACKUP, ..BASE },
    Scenario { name: "fail-over", faults: 1, faults_of: &[Fault::SetBack], events: BACKUP, ..BASE },
    Scenario {
        name: "fail-over, families",
        faults_of: &[Fault::SetBack, Fault::Network],
        events: Left { backups: 1, ..QUIET },
        expects: &[],
        ..FAMILIES
    },
    Scenario {
        name: "an outage of UPS",
        processes: 1,
        faults: 1,
        events: Left { others: 3, ..QUIET },
        expects: &[],
        ..BASE
    },
    Scenario {
        name: "waves",
        processes: 1,
        faults: 1,
        faults_of: &[Fault::Mistake],
        events: Left { others: 4, ..PASSWORD },
        second_opinions: &[1, 3],
        expects: &[],
        ..BASE
    },
];

/// The additional scenarios of the full run.
pub(crate) const FULL: &[Scenario] = &[
    Scenario {
        name: "two consents and rejected tokens",
        faults: 1,
        faults_of: &[Fault::Save],
        events: Left { consents: 2, ..QUIET },
        callers: Callers::Reject,
        expects: &[],
        ..BASE
    },
    Scenario {
        name: "a consent, a removal, a password, a stop",
        faults: 1,
        faults_of: &[Fault::Save, Fault::Stop],
        events: Left { consents: 1, removals: 1, ..PASSWORD },
        ..BASE
    },
    Scenario {
        name: "3 of network",
        faults: 3,
        callers: Callers::Ask,
        faults_of: DOUBLED,
        expects: LOST_OR_COPIED,
        ..BASE
    },
    Scenario {
        name: "3 of network, families",
        faults: 3,
        callers: Callers::Ask,
        faults_of: DOUBLED,
        expects: LOST_OR_COPIED,
        ..FAMILIES
    },
    Scenario { name: "3 of standstill", faults: 3, faults_of: STANDSTILL, ..BASE },
    Scenario { name: "3 of store", faults: 3, faults_of: STORE, ..BASE },
    Scenario { name: "3 of the common ones", faults: 3, faults_of: COMMON, ..BASE },
    Scenario {
        name: "3 of the common ones, families",
        faults: 3,
        faults_of: COMMON,
        expects: LOST_OR_STOPPED,
        ..FAMILIES
    },
    Scenario { name: "2 of any kind", faults_of: ANY, expects: LOST_OR_COPIED, ..BASE },
    Scenario { name: "2 of any kind, families", faults_of: ANY, expects: EACH, ..FAMILIES },
    Scenario { name: "3 processes, 2 of any kind", processes: 3, faults_of: ANY, expects: LOST_OR_COPIED, ..BASE },
    Scenario { name: "3 processes, 2 of any kind, families", processes: 3, faults_of: ANY, expects: EACH, ..FAMILIES },
    Scenario { name: "3 processes and callers, families", processes: 3, callers: Callers::Ask, ..FAMILIES },
    Scenario {
        name: "3 processes, 3 of network",
        processes: 3,
        faults: 3,
        faults_of: DOUBLED,
        expects: LOST_OR_COPIED,
        ..FAMILIES
    },
    Scenario {
        name: "3 processes, 3 of a few kinds",
        processes: 3,
        faults: 3,
        faults_of: FEW,
        expects: LOST_OR_STOPPED,
        ..FAMILIES
    },
    Scenario { name: "3 of mistakes", faults: 3, faults_of: MISTAKES, second_opinions: &[1, 2], ..BASE },
    Scenario {
        name: "2 of mistakes, families",
        faults_of: MISTAKES,
        second_opinions: &[1, 3],
        expects: LOST_OR_STOPPED,
        ..FAMILIES
    },
    Scenario {
        name: "2 consents, a removal, a password",
        faults: 1,
        faults_of: &[Fault::Save, Fault::Stop],
        events: Left { consents: 2, removals: 1, ..PASSWORD },
        ..BASE
    },
    Scenario {
        name: "2 consents, families",
        faults_of: COMMON,
        events: Left { consents: 2, ..QUIET },
        expects: &[Label::OwnRequestLooksLikeAPassword],
        ..FAMILIES
    },
    Scenario {
        name: "import, families",
        faults_of: &[Fault::Network, Fault::Save, Fault::Stop],
        events: IMPORT,
        expects: LOST_OR_STOPPED,
        ..FAMILIES
    },
    Scenario {
        name: "restored backup and 2 more",
        faults: 3,
        faults_of: &[Fault::Restore, Fault::Network, Fault::Save],
        events: BACKUP,
        ..BASE
    },
    Scenario {
        name: "restored backup, families",
        faults_of: &[Fault::Restore, Fault::Network, Fault::Stop],
        events: BACKUP,
        expects: LOST_OR_STOPPED,
        ..FAMILIES
    },
    Scenario {
        name: "second opinions and a consent, families",
        faults_of: &[Fault::Mistake, Fault::Network, Fault::Stop],
        events: Left { consents: 1, removals: 1, ..PASSWORD },
        second_opinions: &[1],
        expects: LOST_OR_STOPPED,
        ..FAMILIES
    },
    Scenario {
        name: "an import and a consent, families",
        faults: 1,
        faults_of: &[Fault::Network, Fault::Save, Fault::Stop],
        events: Left { consents: 1, removals: 1, ..IMPORT },
        expects: LOST_OR_STOPPED,
        ..FAMILIES
    },
    Scenario {
        name: "3 odd pairs, families",
        faults: 3,
        faults_of: &[Fault::Odd, Fault::Network, Fault::Save],
        callers: Callers::Ask,
        ..FAMILIES
    },
    Scenario {
        name: "shutdown and 2 more",
        faults_of: &[Fault::Network, Fault::Save, Fault::Outage],
        events: STOP,
        ..BASE
    },
    Scenario {
        name: "shutdown, callers, a standstill",
        faults: 1,
        faults_of: &[Fault::Network, Fault::Stop],
        events: STOP,
        callers: Callers::Ask,
        expects: LOST_OR_STOPPED,
        ..FAMILIES
    },
    Scenario {
        name: "an import, a consent, a removal",
        faults_of: &[Fault::Network, Fault::Save],
        events: Left { consents: 1, removals: 1, ..IMPORT },
        ..BASE
    },
    Scenario {
        name: "spent tokens, a consent, a removal",
        faults: 1,
        faults_of: &[Fault::Mistake, Fault::Network, Fault::Save, Fault::Stop],
        events: Left { spent_imports: 1, consents: 1, removals: 1, ..PASSWORD },
        second_opinions: &[1, 2],
        ..BASE
    },
    Scenario {
        name: "spent tokens twice, an import",
        faults_of: &[Fault::Mistake, Fault::Network, Fault::Save],
        events: Left { spent_imports: 2, imports: 1, ..QUIET },
        second_opinions: &[1, 2],
        expects: &[],
        ..FAMILIES
    },
    Scenario { name: "fail-over, 2 losses, families", faults_of: LOSSES, events: BACKUP, ..FAMILIES },
    Scenario {
        name: "an outage of UPS, 2 processes",
        faults: 1,
        events: Left { others: 3, ..QUIET },
        expects: &[],
        ..BASE
    },
    Scenario {
        name: "an outage of UPS, a password, no connection",
        processes: 1,
        faults_of: &[Fault::Network, Fault::Answers],
        events: Left { others: 3, ..PASSWORD },
        ..BASE
    },
    Scenario {
        name: "an outage of UPS, a stop, families",
        processes: 1,
        faults_of: FEW,
        events: Left { others: 3, ..QUIET },
        expects: &[],
        ..FAMILIES
    },
    Scenario {
        name: "waves, 2 processes",
        faults: 1,
        faults_of: &[Fault::Mistake],
        events: Left { others: 3, ..QUIET },
        second_opinions: &[1, 3],
        expects: &[],
        ..BASE
    },
    Scenario {
        name: "waves and 2 more",
        processes: 1,
        faults_of: &[Fault::Mistake, Fault::Network],
        events: Left { others: 4, ..QUIET },
        second_opinions: &[1, 3],
        expects: &[],
        ..BASE
    },
    Scenario { name: "fail-over and a stop", faults_of: &[Fault::SetBack, Fault::Stop], events: BACKUP, ..BASE },
];

impl Scenario {
    /// The initial state: an opt-in whose refresh is due.
    pub(crate) fn beginning(&self) -> World {
        let row = Row {
            number: 1,
            epoch: 1,
            version: 1,
            standing: Standing::Authenticated,
            opt_in: 1,
            issued_at: Some(-1),
            authenticated_at: Some(-1),
            times: Some(Times { obtained_at: 1 - ACCESS_LIFETIME, has_access_token: true }),
            token: 1,
            wake_at: Some(0),
            ..Row::default()
        };
        let mut tokens = [Token::default(); TOKENS];
        tokens[0].opt_in = 1;
        World {
            row,
            is_hidden: false,
            away_since: None,
            late: None,
            backup: None,
            tokens,
            ghosts: [None; GHOSTS],
            processes: [Process::default(); PROCESSES],
            consent: None,
            left: Left { faults: self.faults, ..self.events },
            truth: Truth::default(),
        }
    }
}
