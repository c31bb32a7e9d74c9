//! The rules of the protocol that can be left out, one at a time. Each must be missed: a search without it ends with a violation.

/// A rule of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    RowCompare,
    AgeCheck,
    Lease,
    Grace,
    ElapsedCheck,
    SuspendedClock,
    AnswerBeatsDeadline,
    UnknownClaimFenced,
    FenceSaves,
    UnansweredInherited,
    UnansweredKept,
    CommitIgnoresLease,
    CommitIgnoresStanding,
    CommitComparesVersion,
    CommitComparesOptIn,
    VerdictCompare,
    Suspect,
    SuspectWindow,
    SuspectEnds,
    SuspectAfterRefusal,
    PairKept,
    PublishAfterCommit,
    SecondOpinion,
    RemovalsCompare,
    RetryOfConnect,
    ConnectResets,
    ImportSuspect,
    RestoreMark,
    SetBackMark,
    SetBackCommitMark,
    WithdrawnNotServed,
    DoubtWakes,
}

impl Rule {
    /// All of them, each with what is done without it.
    pub(crate) const ALL: [(Self, &str); 32] = [
        (Self::RowCompare, "a save does not compare the row's number"),
        (Self::AgeCheck, "a decision of any age is saved"),
        (Self::Lease, "a claim has no lease"),
        (Self::Grace, "a silent attempt is taken over without the time that its holder gets"),
        (Self::ElapsedCheck, "a request is sent however long ago the row was read"),
        (Self::SuspendedClock, "elapsed time is measured by a clock that stands still with the machine"),
        (Self::AnswerBeatsDeadline, "a deadline beats an answer that has arrived"),
        (Self::UnknownClaimFenced, "a claim of unknown outcome is left alone"),
        (Self::FenceSaves, "a claim of unknown outcome is released if it shows, and not fenced if it does not"),
        (Self::UnansweredInherited, "a claim over a silent attempt leaves no doubt"),
        (Self::UnansweredKept, "a release clears the doubt about an earlier attempt"),
        (Self::CommitIgnoresLease, "a commit needs its lease"),
        (Self::CommitIgnoresStanding, "a commit is refused over a row that was given up"),
        (Self::CommitComparesVersion, "a commit is saved over a later version"),
        (Self::CommitComparesOptIn, "a commit is saved over another opt-in"),
        (Self::VerdictCompare, "a verdict or a release ends whichever attempt holds the row"),
        (Self::Suspect, "a commit leaves no mark"),
        (Self::SuspectWindow, "the mark ends with the next rotation, before the last echo"),
        (Self::SuspectEnds, "the mark never ends"),
        (Self::SuspectAfterRefusal, "a pair that is stored over another attempt's refusal is not marked"),
        (Self::PairKept, "a pair is dropped when the store fails"),
        (Self::PublishAfterCommit, "a pair is published before its commit"),
        (Self::SecondOpinion, "a refused token is erased at once"),
        (Self::RemovalsCompare, "a consent that began before a removal is stored"),
        (Self::RetryOfConnect, "a repeated connect is taken for a first one"),
        (Self::ConnectResets, "a connect keeps the phase and the marks"),
        (Self::ImportSuspect, "an import leaves no mark"),
        (Self::RestoreMark, "a restored backup is not marked"),
        (Self::SetBackMark, "a process does not mark a row below the one that it has cached"),
        (Self::SetBackCommitMark, "a pair that is stored over a row that was set back is not marked"),
        (Self::WithdrawnNotServed, "the access token of a withdrawn opt-in is served"),
        (Self::DoubtWakes, "an attempt in doubt wakes nobody"),
    ];

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().map(|(rule, _)| rule).find(|rule| format!("{rule:?}").eq_ignore_ascii_case(name))
    }
}
