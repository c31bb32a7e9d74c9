//! The protocol's rules that can be left out, one at a time. Each must be missed: a search without it ends with a
//! violation.

/// A rule of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    RowCompare,
    CommitComparesVersion,
    CommitComparesOptIn,
    CommitIgnoresLease,
    CommitIgnoresStanding,
    VerdictCompare,
    ReleaseCompare,
    UnknownClaimFenced,
    FenceSaves,
    UnansweredInherited,
    UnansweredKept,
    DoubtWakes,
    Lease,
    Grace,
    PairKept,
    SpawnedTask,
    ShutdownWaits,
    PublishAfterCommit,
    AnswerBeatsDeadline,
    ElapsedCheck,
    SuspendedClock,
    AgeCheck,
    RemovalRaisesEpoch,
    RemovalsCompare,
    RetryOfConnect,
    ConnectResets,
    Suspect,
    SuspectWindow,
    SuspectEnds,
    SuspectKept,
    ImportSuspect,
    SetBackCommitMark,
    SecondOpinion,
    RestoreMark,
    SetBackMark,
    WithdrawnNotServed,
    WaveStops,
    OpinionsDoNotCount,
}

impl Rule {
    /// All rules, each with its clause and the behaviour without it.
    pub(crate) const ALL: [(Self, &str, &str); 38] = [
        (Self::RowCompare, "the row compare", "a save does not compare the row's number"),
        (Self::CommitComparesVersion, "opt-in and version at commit", "a commit is saved over a later version"),
        (Self::CommitComparesOptIn, "opt-in and version at commit", "a commit is saved over another opt-in"),
        (Self::CommitIgnoresLease, "nothing else at commit", "a commit needs its lease"),
        (Self::CommitIgnoresStanding, "nothing else at commit", "a commit is refused over a row that was given up"),
        (Self::VerdictCompare, "the fenced verdict", "a verdict ends whichever attempt holds the row"),
        (Self::ReleaseCompare, "the fenced release", "a release ends whichever attempt holds the row"),
        (Self::UnknownClaimFenced, "the release after an unknown claim", "a claim of unknown outcome is left alone"),
        (
            Self::FenceSaves,
            "the release after an unknown claim",
            "a claim of unknown outcome is released if it shows, and not fenced if it does not",
        ),
        (
            Self::UnansweredInherited,
            "unanswered, inherited by the next claim",
            "a claim over a silent attempt leaves no doubt",
        ),
        (Self::UnansweredKept, "unanswered, kept by a release", "a release clears the doubt about an earlier attempt"),
        (Self::DoubtWakes, "unanswered, probed", "an attempt in doubt wakes nobody"),
        (Self::Lease, "the lease", "a claim has no lease"),
        (
            Self::Grace,
            "the grace after an outage",
            "a silent attempt is taken over without the time that its holder gets",
        ),
        (Self::PairKept, "the pair kept through an outage", "a pair is dropped when the store fails"),
        (Self::SpawnedTask, "the spawned task", "a flight ends with its caller"),
        (Self::ShutdownWaits, "the shutdown waits", "a shutdown does not wait for what is in hand"),
        (Self::PublishAfterCommit, "publish after commit", "a pair is published before its commit"),
        (Self::AnswerBeatsDeadline, "an answer beats the deadline", "a deadline beats an answer that has arrived"),
        (
            Self::ElapsedCheck,
            "the second check of the elapsed time",
            "a request is sent however long ago the row was read",
        ),
        (
            Self::SuspendedClock,
            "the second check of the elapsed time",
            "elapsed time is measured by a clock that stands still with the machine",
        ),
        (Self::AgeCheck, "the staleness check", "a decision of any age is saved"),
        (Self::RemovalRaisesEpoch, "the raised epoch of a removal", "a removal leaves the epoch"),
        (Self::RemovalsCompare, "the refusal of older consents", "a consent that began before a removal is stored"),
        (Self::RetryOfConnect, "the retry of a connect", "a repeated connect is taken for a first one"),
        (Self::ConnectResets, "reset marks at connect", "a connect keeps the phase and the marks"),
        (Self::Suspect, "suspect", "a commit leaves no mark"),
        (Self::SuspectWindow, "suspect, its window", "the mark ends with the next rotation, before the last echo"),
        (Self::SuspectEnds, "suspect, its clean rotation", "the mark never ends"),
        (Self::SuspectKept, "suspect, a kept refresh token", "a pair without a refresh token leaves no mark"),
        (Self::ImportSuspect, "suspect, imports", "an import leaves no mark"),
        (
            Self::SetBackCommitMark,
            "suspect, over a row that was set back",
            "a pair that is stored over a row that was set back is not marked",
        ),
        (Self::SecondOpinion, "the second opinion", "a refused token is erased at once"),
        (Self::RestoreMark, "after_restore", "a restored backup is not marked"),
        (
            Self::SetBackMark,
            "a row below the cached one",
            "a process does not mark a row below the one that it has cached",
        ),
        (Self::WithdrawnNotServed, "what is served", "the access token of a withdrawn opt-in is served"),
        (Self::WaveStops, "the breaker, waves", "refusals of several companies are each company's own"),
        (Self::OpinionsDoNotCount, "the breaker, second opinions", "second opinions count towards a wave"),
    ];

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().map(|(rule, ..)| rule).find(|rule| format!("{rule:?}").eq_ignore_ascii_case(name))
    }
}
