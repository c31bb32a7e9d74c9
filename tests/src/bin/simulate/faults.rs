//! The faults of a world and their counts.

use std::collections::BTreeMap;

macro_rules! faults {
    ($($name:ident = $words:literal,)*) => {
        /// A fault, or an intervention by people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $($name,)*
        }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

faults! {
    StoreDelay = "the store is slow",
    StoreFailsBefore = "the store fails, nothing is saved",
    StoreFailsAfter = "the store's answer is lost, it is saved",
    StoreSilentBefore = "the store is silent, nothing is saved",
    StoreSilentAfter = "the store is silent, it is saved",
    StoreLate = "a save lands after its caller gave up",
    StoreHeldCommit = "a save is judged, holds its row, and lands later",
    StoreOutage = "the store is away",
    NotSent = "a request is not sent",
    SlowConnection = "a connection takes seconds",
    SlowUps = "UPS answers late",
    LostAnswer = "UPS's answer is lost",
    LostRequest = "a request is lost",
    LateRequest = "a request reaches UPS after its lease",
    Doubled = "a request reaches UPS twice",
    Silence = "UPS is silent",
    CutAnswer = "an answer breaks off",
    CutBehindPair = "a connection breaks behind the pair",
    TooMany = "429",
    Unavailable = "503",
    WrongClient = "401 10401",
    Blocked = "403",
    SpuriousRefusal = "a refusal by mistake",
    ProcessClockSet = "a process's clock is set",
    StoreClockSet = "the store's clock is set",
    Suspended = "the machine is suspended",
    Frozen = "a process is stopped",
    FrozenPastLease = "a process is stopped past its lease",
    CallerDropped = "a caller is dropped",
    Killed = "a process is killed",
    KilledBeforeSave = "a process is killed before a save",
    KilledAfterSave = "a process is killed after a save",
    KilledBeforeSend = "a process is killed before a send",
    KilledAfterSend = "a process is killed after a send",
    HandlerFails = "a consumer fails",
    KilledWithPair = "a process is killed with a pair in hand",
    Restarted = "a process is shut down and started",
    BackupRestored = "a backup is restored",
    Removed = "an authorization is removed",
    Consented = "a company opts in again",
    Linked = "a connect link is followed",
    TwoConsents = "two consents at once",
    Imported = "another system's tokens are imported",
    SpentElsewhere = "another system uses a token that it has handed over",
    PasswordChanged = "a UPS.com password is changed",
    Rejected = "an API rejects a token",
}

/// How often each fault occurred.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<Fault, u64>);

impl Tally {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, times) in &other.0 {
            *self.0.entry(*fault).or_default() += times;
        }
    }
}
