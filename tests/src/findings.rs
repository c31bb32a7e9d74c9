//! Every finding, produced once: the one list that the tests of the library, of the program and of the page read.
//!
//! Each test produces a finding, reads it in its own place, and compares it with the scenario: the kind, since when, what
//! UPS or the store said, the next step, and what else is found beside it.

mod produce;
mod scene;

use std::time::Duration;

use batchsuite_auth::{
    Finding, FindingKind,
    fake_ups::Fault,
    machine::{CauseKind, NextStepKind, UpsTroubleKind},
};

pub use self::scene::Scene;
use crate::{CAUSE, DAY, HOUR, Process, eventually, seconds};

/// How a finding is produced, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The finding.
    pub kind: FindingKind,
    /// Whether it says since when.
    pub has_since: bool,
    /// What UPS or the store said.
    pub said: Option<&'static str>,
    /// What happens next by itself.
    pub next: Option<NextStepKind>,
    /// Other findings beside it.
    pub beside: &'static [FindingKind],
    /// More of them, that only this process knows.
    pub beside_here: &'static [FindingKind],
    /// Why no other process can find it: only this process knows.
    pub own: Option<&'static str>,
    /// How far the clocks are moved.
    moves: Moves,
}

#[derive(Clone, Copy, Debug)]
enum Moves {
    Ahead(Duration),
    Back(Duration),
}

/// UPS's message about a refresh token that it refuses.
const REFUSED: &str = "Invalid Refresh Token";

const OF_THE_API: &str = "it is remembered where the API's 401 was reported";
const OF_THE_CLIENT: &str = "each process has a breaker of its own";
const OF_THE_STORE: &str = "it is about this process's connection to the store";
const OF_THE_KEEPER: &str = "it is about this process's keeper";
const OF_THE_PROCESS: &str = "it is about this process";

impl Scenario {
    /// One for each finding.
    pub fn all() -> impl Iterator<Item = Self> {
        FindingKind::ALL.iter().map(|kind| Self::of(*kind))
    }

    /// The scenario of this finding.
    ///
    /// # Panics
    /// If it has none.
    pub fn of(kind: FindingKind) -> Self {
        let scenario = Self {
            kind,
            has_since: false,
            said: None,
            next: None,
            beside: &[],
            beside_here: &[],
            own: None,
            moves: Moves::Ahead(Duration::ZERO),
        };
        scenario
            .of_an_opt_in()
            .or_else(|| scenario.of_a_refresh())
            .or_else(|| scenario.of_a_process())
            .unwrap_or_else(|| panic!("{} has no scenario: say how it is produced, and what it tells", kind.name()))
    }

    fn of_an_opt_in(self) -> Option<Self> {
        use FindingKind::{
            ClockSetBack, ConnectLinkPending, ConsentPending, Doubtful, ExpiringSoon, NotAuthenticated, NotRenewable,
            Overdue, ReauthRequired, RowDamaged, TokensUnreadable,
        };
        use NextStepKind::{Clearance, End, Expiry, Look, Refresh, SecondOpinion};
        Some(match self.kind {
            NotAuthenticated | ReauthRequired(CauseKind::ClientChanged) => self,
            ReauthRequired(CauseKind::OptInInvalidated) => self.since().after(HOUR).saying(REFUSED).then(SecondOpinion),
            ReauthRequired(CauseKind::RotationLost) => {
                self.since().after(HOUR + seconds(120)).saying(REFUSED).then(SecondOpinion)
            }
            ReauthRequired(CauseKind::RefreshExpired) => self.since().after(61 * DAY).beside(&[Overdue]),
            ReauthRequired(CauseKind::NoRefreshToken) => self.since().after(HOUR),
            RowDamaged | TokensUnreadable => self.then(Look),
            NotRenewable => self.since().then(End),
            ExpiringSoon => self.then(Refresh),
            Overdue => self.since().after(25 * HOUR),
            Doubtful => self.then(Clearance),
            ClockSetBack => Self { moves: Moves::Back(HOUR), ..self },
            ConsentPending | ConnectLinkPending => self.then(Expiry),
            _ => return None,
        })
    }

    fn of_a_refresh(self) -> Option<Self> {
        use FindingKind::{
            ConsentPending, Paused, RefreshAbandoned, RefreshNotSent, RefreshRejected, RefreshUnanswered,
            RefreshUnderWay, TokensUnusable,
        };
        use NextStepKind::{Retry, TakeOver};
        let begun = self.since().after(HOUR);
        Some(match self.kind {
            RefreshUnderWay => begun.then(TakeOver),
            RefreshAbandoned => begun.after(HOUR + seconds(90)).then(TakeOver),
            RefreshUnanswered => begun.saying("503").then(Retry),
            RefreshNotSent => begun.saying("no connection").then(Retry),
            RefreshRejected => begun.saying("On holiday").then(Retry),
            TokensUnusable => self.after(HOUR).then(Retry),
            Paused => self.after(HOUR).then(Retry).beside(&[ConsentPending]),
            _ => return None,
        })
    }

    fn of_a_process(self) -> Option<Self> {
        use FindingKind::{
            FeedStale, FreshTokenRejected, KeeperBehind, KeeperSilent, PairsNotStored, RefreshUnderWay, Stopping,
            StoreFails, TokenRejected, Ups,
        };
        use NextStepKind::{RefreshOnRejection, Repetition, Retry, Trial};
        Some(match self.kind {
            TokenRejected | FreshTokenRejected => self.since().then(RefreshOnRejection).known_here(OF_THE_API),
            Ups(UpsTroubleKind::OutOfReach | UpsTroubleKind::RateLimited) => {
                self.since().after(HOUR).then(Retry).known_here(OF_THE_CLIENT)
            }
            Ups(_) => self.since().after(HOUR).then(Trial).known_here(OF_THE_CLIENT),
            StoreFails => self.since().saying(CAUSE).then(Repetition).known_here(OF_THE_STORE),
            FeedStale => self.after(produce::FEED_LOST).then(Repetition).known_here(OF_THE_STORE),
            KeeperSilent => self.since().known_here(OF_THE_KEEPER),
            KeeperBehind => self.after(46 * DAY).known_here(OF_THE_KEEPER),
            PairsNotStored => {
                let scenario = self.after(HOUR).then(Repetition).beside(&[RefreshUnderWay]).known_here(OF_THE_PROCESS);
                Self { beside_here: &[StoreFails], ..scenario }
            }
            Stopping => self.known_here(OF_THE_PROCESS),
            _ => return None,
        })
    }

    fn since(self) -> Self {
        Self { has_since: true, ..self }
    }

    fn saying(self, said: &'static str) -> Self {
        Self { said: Some(said), ..self }
    }

    fn then(self, next: NextStepKind) -> Self {
        Self { next: Some(next), ..self }
    }

    fn beside(self, beside: &'static [FindingKind]) -> Self {
        Self { beside, ..self }
    }

    fn known_here(self, why: &'static str) -> Self {
        Self { own: Some(why), ..self }
    }

    fn after(self, time: Duration) -> Self {
        Self { moves: Moves::Ahead(time), ..self }
    }

    /// Makes it happen; the clocks end where they are now. Returns the process that has the finding.
    pub async fn produce(&self, scene: &Scene<'_>) -> Process {
        match self.moves {
            Moves::Ahead(time) => scene.set_back(time).await,
            Moves::Back(time) => scene.advance(time).await,
        }
        let process = match self.kind {
            FindingKind::ReauthRequired(cause) => self.end(cause, scene).await,
            FindingKind::Ups(trouble) => self.trouble(trouble, scene).await,
            kind => self.happen(kind, scene).await,
        };
        if self.kind != FindingKind::FeedStale {
            // Its age by the wall clock, which was moved, is over with the next read.
            eventually("the feed is read again", async || !process.auth.health().feed_is_stale).await;
        }
        process
    }

    async fn end(&self, cause: CauseKind, scene: &Scene<'_>) -> Process {
        match cause {
            CauseKind::OptInInvalidated => produce::opt_in_invalidated(scene).await,
            CauseKind::RotationLost => produce::rotation_lost(scene).await,
            CauseKind::RefreshExpired => produce::refresh_expired(scene).await,
            CauseKind::ClientChanged => produce::client_changed(scene).await,
            CauseKind::NoRefreshToken => produce::no_refresh_token(scene).await,
            _ => self.cannot_be_produced(),
        }
    }

    async fn trouble(&self, trouble: UpsTroubleKind, scene: &Scene<'_>) -> Process {
        match trouble {
            UpsTroubleKind::ClientMisconfigured => produce::ups(scene, 2, Fault::InvalidClient).await,
            UpsTroubleKind::ClientBlocked => produce::ups(scene, 2, Fault::Blocked).await,
            UpsTroubleKind::UnknownAnswer => produce::ups(scene, 3, produce::unknown_refusal()).await,
            UpsTroubleKind::RefusalWave => produce::ups(scene, 3, Fault::InvalidRefreshToken).await,
            UpsTroubleKind::RateLimited => produce::ups(scene, 1, Fault::TooManyRequests { retry_after: None }).await,
            UpsTroubleKind::OutOfReach => produce::out_of_reach(scene).await,
            _ => self.cannot_be_produced(),
        }
    }

    async fn happen(&self, kind: FindingKind, scene: &Scene<'_>) -> Process {
        match kind {
            FindingKind::NotAuthenticated => scene.process(),
            FindingKind::RowDamaged => produce::row_damaged(scene).await,
            FindingKind::TokensUnreadable => produce::tokens_unreadable(scene).await,
            FindingKind::NotRenewable => produce::not_renewable(scene).await,
            FindingKind::ExpiringSoon => produce::expiring_soon(scene).await,
            FindingKind::RefreshUnderWay => produce::refresh_under_way(scene).await,
            FindingKind::RefreshAbandoned => produce::refresh_abandoned(scene).await,
            FindingKind::RefreshUnanswered => produce::refresh_unanswered(scene).await,
            FindingKind::RefreshNotSent => produce::refresh_not_sent(scene).await,
            FindingKind::RefreshRejected => produce::refresh_rejected(scene).await,
            FindingKind::TokensUnusable => produce::tokens_unusable(scene).await,
            FindingKind::Paused => produce::paused(scene).await,
            FindingKind::Overdue => produce::overdue(scene).await,
            FindingKind::Doubtful => produce::doubtful(scene).await,
            FindingKind::ClockSetBack => produce::clock_set_back(scene).await,
            FindingKind::ConsentPending => produce::consent_pending(scene).await,
            FindingKind::ConnectLinkPending => produce::connect_link_pending(scene).await,
            FindingKind::TokenRejected => produce::token_rejected(scene).await,
            FindingKind::FreshTokenRejected => produce::fresh_token_rejected(scene).await,
            FindingKind::StoreFails => produce::store_fails(scene).await,
            FindingKind::FeedStale => produce::feed_stale(scene).await,
            FindingKind::KeeperSilent => produce::keeper_silent(scene).await,
            FindingKind::KeeperBehind => produce::keeper_behind(scene).await,
            FindingKind::PairsNotStored => produce::pairs_not_stored(scene).await,
            FindingKind::Stopping => produce::stopping(scene).await,
            _ => self.cannot_be_produced(),
        }
    }

    fn cannot_be_produced(&self) -> ! {
        panic!("nothing produces {}", self.kind.name())
    }

    /// The client id with which the finding's process is configured, if it is another one than the opt-ins belong to.
    pub fn client_id(&self) -> Option<&'static str> {
        (self.kind == FindingKind::ReauthRequired(CauseKind::ClientChanged)).then_some(scene::ANOTHER_CLIENT)
    }

    /// The names of what this process finds, in alphabetical order.
    pub fn found_here(&self) -> Vec<&'static str> {
        names(self.beside.iter().chain(self.beside_here).copied().chain([self.kind]))
    }

    /// The names of what every other process finds, in alphabetical order.
    pub fn found_elsewhere(&self) -> Vec<&'static str> {
        names(self.beside.iter().copied().chain(self.own.is_none().then_some(self.kind)))
    }

    /// The finding among these, after a comparison with the scenario.
    ///
    /// # Panics
    /// If it is not there, or says something else.
    pub fn compared<'a>(&self, findings: &'a [Finding]) -> &'a Finding {
        let name = self.kind.name();
        let finding = findings.iter().find(|finding| finding.kind == self.kind);
        let finding = finding.unwrap_or_else(|| panic!("{name} is not in {findings:#?}"));
        assert_eq!(finding.since.is_some(), self.has_since, "since when: {finding:#?}");
        let next = finding.next.map(|next| next.kind);
        // When the keeper will have caught up is known once its lag has shrunk.
        let is_caught_up = self.kind == FindingKind::KeeperBehind && next == Some(NextStepKind::CaughtUp);
        assert!(next == self.next || is_caught_up, "what happens next: {finding:#?}");
        let said = finding.evidence.as_ref().map(ToString::to_string);
        match self.said {
            Some(words) => assert!(said.as_ref().is_some_and(|said| said.contains(words)), "{words}: {finding:#?}"),
            None => assert_eq!(said, None, "what was said: {finding:#?}"),
        }
        finding
    }
}

fn names(kinds: impl Iterator<Item = FindingKind>) -> Vec<&'static str> {
    let mut names: Vec<_> = kinds.map(FindingKind::name).collect();
    names.sort_unstable();
    names
}
