//! Why a company works or does not: findings about its grant, its log and the process, worst first.

use serde::{Serialize, Serializer};

use super::{
    access::{Access, Demand},
    cause::CauseKind,
    grant::{Grant, Phase, RefreshTokenEnd, Standing, Unanswered},
    health::{Health, KeeperHealth, UpsTroubleKind},
    limits::{CLOCK_TOLERANCE, ECHO, OVERDUE},
    wake::{Obstacle, Settings},
};
use crate::{
    clock::{Timestamp, earlier, later},
    events::{Event, EventKind, Evidence},
};

/// One reason why a company works or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) kind: FindingKind,
    pub(crate) severity: Severity,
    /// Since when, if known.
    pub(crate) since: Option<Timestamp>,
    /// What UPS said, or the store.
    pub(crate) evidence: Option<Evidence>,
    /// What happens next by itself.
    pub(crate) next: Option<NextStep>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Callers get no token now, or one that does not work.
    NoToken,
    /// Callers get a token, but will not for long if this lasts.
    AtRisk,
    /// Worth knowing.
    Notice,
}

/// What happens next by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NextStep {
    /// The step.
    pub kind: NextStepKind,
    /// When; `None`: as soon as the trouble is over.
    pub at: Option<Timestamp>,
}

/// A step that happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NextStepKind {
    /// UPS is asked about the refused refresh token once more. If UPS accepts it, the company is authenticated again.
    SecondOpinion,
    /// The refresh is tried again, with the same refresh token.
    Retry,
    /// An API that rejects the company's token again has it refreshed.
    RefreshOnRejection,
    /// The token is refreshed.
    Refresh,
    /// The refresh under way ends, or another process takes it over.
    TakeOver,
    /// One company's request is sent as a trial; if it succeeds, the others follow.
    Trial,
    /// The row is looked at again.
    Look,
    /// The opt-in ends.
    End,
    /// The pending consent or link expires.
    Expiry,
    /// The doubt ends.
    Clearance,
    /// It is repeated until it succeeds.
    Repetition,
    /// No company waits for a keeper any more, if the lag goes on shrinking as it does.
    CaughtUp,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// Nobody has opted in, or the authorization was removed.
    NotAuthenticated,
    /// A new opt-in is needed.
    ReauthRequired(CauseKind),
    /// The company's row cannot be read.
    RowDamaged,
    /// The company's tokens cannot be read.
    TokensUnreadable,
    /// UPS sent no refresh token with this opt-in: it ends with its access token.
    NotRenewable,
    /// The refresh token ends soon.
    ExpiringSoon,
    /// A refresh is under way.
    RefreshUnderWay,
    /// A refresh has not ended within its lease: its process has died, or is cut off from the store.
    RefreshAbandoned,
    /// UPS did not answer a refresh.
    RefreshUnanswered,
    /// The last refresh was not sent: UPS could not be reached.
    RefreshNotSent,
    /// UPS refused the last refresh for a reason other than the refresh token.
    RefreshRejected,
    /// UPS issues tokens that cannot be used.
    TokensUnusable,
    /// Nothing is sent for the company for a while.
    Paused,
    /// The company has needed attention for minutes, and no keeper has given it: none runs, or it is behind.
    Overdue,
    /// A refusal would prove nothing now: an earlier request was lost, a backup was restored, or another system may have
    /// used the token.
    Doubtful,
    /// The tokens are from the future: this store's clock, or the one at their time, is wrong.
    ClockSetBack,
    /// Somebody was sent to UPS.com and has not come back.
    ConsentPending,
    /// A connect link waits to be followed.
    ConnectLinkPending,
    /// An API rejected an access token, which was refreshed.
    TokenRejected,
    /// An API rejected an access token that had just been refreshed.
    FreshTokenRejected,
    /// The trouble concerns all companies.
    Ups(UpsTroubleKind),
    /// The store fails.
    StoreFails,
    /// The change feed cannot be read.
    FeedStale,
    /// The keeper of this process gives no sign of life.
    KeeperSilent,
    /// The keeper is behind.
    KeeperBehind,
    /// New pairs could not be stored yet.
    PairsNotStored,
    /// This process is stopping.
    Stopping,
}

impl FindingKind {
    /// Every kind, for a legend or a filter.
    pub const ALL: &'static [Self] = &[
        Self::NotAuthenticated,
        Self::ReauthRequired(CauseKind::OptInInvalidated),
        Self::ReauthRequired(CauseKind::RotationLost),
        Self::ReauthRequired(CauseKind::RefreshExpired),
        Self::ReauthRequired(CauseKind::ClientChanged),
        Self::ReauthRequired(CauseKind::NoRefreshToken),
        Self::RowDamaged,
        Self::TokensUnreadable,
        Self::NotRenewable,
        Self::ExpiringSoon,
        Self::RefreshUnderWay,
        Self::RefreshAbandoned,
        Self::RefreshUnanswered,
        Self::RefreshNotSent,
        Self::RefreshRejected,
        Self::TokensUnusable,
        Self::Paused,
        Self::Overdue,
        Self::Doubtful,
        Self::ClockSetBack,
        Self::ConsentPending,
        Self::ConnectLinkPending,
        Self::TokenRejected,
        Self::FreshTokenRejected,
        Self::Ups(UpsTroubleKind::ClientMisconfigured),
        Self::Ups(UpsTroubleKind::ClientBlocked),
        Self::Ups(UpsTroubleKind::UnknownAnswer),
        Self::Ups(UpsTroubleKind::RefusalWave),
        Self::Ups(UpsTroubleKind::RateLimited),
        Self::Ups(UpsTroubleKind::OutOfReach),
        Self::StoreFails,
        Self::FeedStale,
        Self::KeeperSilent,
        Self::KeeperBehind,
        Self::PairsNotStored,
        Self::Stopping,
    ];

    /// A stable name for programs, such as `rotation_lost` or `store_fails`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAuthenticated => "not_authenticated",
            Self::ReauthRequired(cause) => cause.name(),
            Self::RowDamaged => "row_damaged",
            Self::TokensUnreadable => "tokens_unreadable",
            Self::NotRenewable => "not_renewable",
            Self::ExpiringSoon => "expiring_soon",
            Self::RefreshUnderWay => "refresh_under_way",
            Self::RefreshAbandoned => "refresh_abandoned",
            Self::RefreshUnanswered => "refresh_unanswered",
            Self::RefreshNotSent => "refresh_not_sent",
            Self::RefreshRejected => "refresh_rejected",
            Self::TokensUnusable => "tokens_unusable",
            Self::Paused => "paused",
            Self::Overdue => "overdue",
            Self::Doubtful => "doubtful",
            Self::ClockSetBack => "clock_set_back",
            Self::ConsentPending => "consent_pending",
            Self::ConnectLinkPending => "connect_link_pending",
            Self::TokenRejected => "token_rejected",
            Self::FreshTokenRejected => "fresh_token_rejected",
            Self::Ups(trouble) => trouble.name(),
            Self::StoreFails => "store_fails",
            Self::FeedStale => "feed_stale",
            Self::KeeperSilent => "keeper_silent",
            Self::KeeperBehind => "keeper_behind",
            Self::PairsNotStored => "pairs_not_stored",
            Self::Stopping => "stopping",
        }
    }
}

impl Serialize for FindingKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What was read about one company.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompanyFacts<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) used_at: Option<Timestamp>,
    /// When the row wakes.
    pub(crate) wake_at: Option<Timestamp>,
    /// Why its tokens cannot be used, if they cannot be read.
    pub(crate) obstacle: Option<Obstacle>,
    pub(crate) consent_until: Option<Timestamp>,
    pub(crate) link_until: Option<Timestamp>,
    /// Its latest events, the newest first.
    pub(crate) events: &'a [Event],
    pub(crate) settings: &'a Settings,
}

/// What a process remembers about a company's access token that an API rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RejectedToken {
    /// When it was replaced.
    pub(crate) since: Timestamp,
    /// Until when the new one is not replaced.
    pub(crate) until: Timestamp,
    /// Whether the new one was rejected as well.
    pub(crate) is_fresh: bool,
}

impl CompanyFacts<'_> {
    /// The findings about the company at `now`, the store's time.
    pub(crate) fn findings(&self, now: Timestamp) -> Vec<Fact> {
        let mut found = Vec::new();
        found.extend(self.obstacle_found());
        if self.obstacle != Some(Obstacle::Damaged) {
            found.extend(self.opt_in_found(now));
        }
        if self.grant.standing == Standing::Authenticated && self.obstacle.is_none() {
            found.extend(self.attempt_found(now));
            found.extend(self.pause_found(now));
            found.extend(self.doubt_found(now));
            found.extend(self.clock_found(now));
        }
        found.extend(self.overdue_found(now));
        let pending = |kind, until: Option<Timestamp>| {
            let next = NextStep { kind: NextStepKind::Expiry, at: Some(until?) };
            Some(Fact { next: Some(next), ..Fact::new(kind, Severity::Notice) })
        };
        found.extend(pending(FindingKind::ConsentPending, self.consent_until));
        found.extend(pending(FindingKind::ConnectLinkPending, self.link_until));
        found
    }

    /// The severity of a trouble that keeps the token from being refreshed.
    fn acute(&self, now: Timestamp) -> Severity {
        if self.is_served(now) { Severity::AtRisk } else { Severity::NoToken }
    }

    /// The severity of a trouble that keeps every company's tokens from being refreshed. A company without an opt-in needs
    /// one first.
    pub(crate) fn acute_for_all(&self, now: Timestamp) -> Severity {
        if self.grant.standing == Standing::Authenticated { self.acute(now) } else { Severity::AtRisk }
    }

    fn is_served(&self, now: Timestamp) -> bool {
        let access = self.grant.access(&self.settings.client_id, Demand::Token, now);
        self.obstacle.is_none() && matches!(access, Access::Serve | Access::ServeAndRefresh)
    }

    fn obstacle_found(&self) -> Option<Fact> {
        let kind = match self.obstacle? {
            Obstacle::Damaged => FindingKind::RowDamaged,
            Obstacle::Unreadable => FindingKind::TokensUnreadable,
            Obstacle::Blocked => return None,
        };
        let look = self.wake_at.map(|at| NextStep { kind: NextStepKind::Look, at: Some(at) });
        Some(Fact { next: look, ..Fact::new(kind, Severity::NoToken) })
    }

    /// Whether there is an opt-in, and for how long.
    fn opt_in_found(&self, now: Timestamp) -> Option<Fact> {
        let (grant, settings) = (self.grant, self.settings);
        if grant.standing == Standing::Unauthenticated {
            let since = self.events.iter().find(|event| event.kind == EventKind::Removed).map(|event| event.at);
            return Some(Fact { since, ..Fact::new(FindingKind::NotAuthenticated, Severity::NoToken) });
        }
        if let Some(cause) = grant.cause(&settings.client_id, now) {
            let (since, evidence) = grant.cause_since(cause);
            let second =
                grant.second_opinion_at(&settings.pauses, now).map(|at| NextStep::at(NextStepKind::SecondOpinion, at));
            let kind = FindingKind::ReauthRequired(cause);
            return Some(Fact { since, evidence, next: second, ..Fact::new(kind, self.acute(now)) });
        }
        let tokens = grant.tokens?;
        if tokens.refresh_token_end == RefreshTokenEnd::Absent {
            let end = tokens.access_token_end.map(|at| NextStep::at(NextStepKind::End, at));
            let since = Some(tokens.obtained_at);
            return Some(Fact { since, next: end, ..Fact::new(FindingKind::NotRenewable, Severity::AtRisk) });
        }
        if !grant.expires_soon(settings, now) {
            return None;
        }
        let renewal = grant.refresh_due(self.used_at, settings, now).filter(|due| tokens.refresh_end() > Some(*due));
        let end = tokens.refresh_end().map(|at| NextStep::at(NextStepKind::End, at));
        let (severity, next) = match renewal {
            Some(at) => (Severity::Notice, Some(NextStep::at(NextStepKind::Refresh, at))),
            None => (Severity::AtRisk, end),
        };
        Some(Fact { next, ..Fact::new(FindingKind::ExpiringSoon, severity) })
    }

    /// A refresh under way, or one whose outcome is unknown.
    fn attempt_found(&self, now: Timestamp) -> Option<Fact> {
        let (grant, acute) = (self.grant, self.acute(now));
        match grant.phase {
            Phase::Claimed { at, .. } => Some(match grant.leased_until(now) {
                Some(until) => {
                    let severity = if acute == Severity::AtRisk { Severity::Notice } else { acute };
                    let next = Some(NextStep::at(NextStepKind::TakeOver, until));
                    Fact { since: Some(at), next, ..Fact::new(FindingKind::RefreshUnderWay, severity) }
                }
                None => {
                    let next = Some(NextStep::at(NextStepKind::TakeOver, self.wake_at.map_or(now, |at| at.max(now))));
                    Fact { since: Some(at), next, ..Fact::new(FindingKind::RefreshAbandoned, acute) }
                }
            }),
            Phase::Idle | Phase::InDoubt { .. } => {
                let unanswered = grant.unanswered.filter(|_| self.restored().is_none())?;
                let (since, evidence) = self.failing().unwrap_or((earlier(unanswered.echo_until, ECHO), None));
                let kind = FindingKind::RefreshUnanswered;
                Some(Fact { since: Some(since), evidence, next: self.retry(now), ..Fact::new(kind, acute) })
            }
        }
    }

    /// Why nothing is sent for the company at the moment.
    fn pause_found(&self, now: Timestamp) -> Option<Fact> {
        let grant = self.grant;
        let is_failing = grant.failures > 0 || grant.paused_until(now).is_some();
        if !is_failing || grant.unanswered.is_some() || grant.phase.claimed_by().is_some() {
            return None;
        }
        let is_unusable = grant.tokens.is_some_and(|tokens| tokens.access_token_end.is_none());
        let kind = match self.events.iter().find(|event| is_of_refresh(event.kind)).map(|event| event.kind) {
            _ if is_unusable && grant.failures > 0 => FindingKind::TokensUnusable,
            Some(EventKind::RefreshFailed) => FindingKind::RefreshNotSent,
            Some(EventKind::Misconfigured) => FindingKind::RefreshRejected,
            _ => FindingKind::Paused,
        };
        let (since, evidence) = self.failing().unzip();
        let evidence = evidence.flatten();
        Some(Fact { since, evidence, next: self.retry(now), ..Fact::new(kind, self.acute(now)) })
    }

    /// When UPS is asked again, if the company is in use; no time if that is due already.
    fn retry(&self, now: Timestamp) -> Option<NextStep> {
        let at = self.grant.refresh_due(Some(now), self.settings, now).filter(|at| *at > now);
        Some(NextStep { kind: NextStepKind::Retry, at })
    }

    /// The row has waited for a keeper for long.
    fn overdue_found(&self, now: Timestamp) -> Option<Fact> {
        let since = self.wake_at.filter(|at| later(*at, OVERDUE) <= now)?;
        Some(Fact { since: Some(since), ..Fact::new(FindingKind::Overdue, self.acute(now)) })
    }

    fn doubt_found(&self, now: Timestamp) -> Option<Fact> {
        let echo_until = self.restored().map(|unanswered| unanswered.echo_until);
        let until = self.grant.suspect_until.max(echo_until)?;
        let next = Some(NextStep::at(NextStepKind::Clearance, until.max(now)));
        let since = echo_until.map(|until| earlier(until, ECHO));
        Some(Fact { since, next, ..Fact::new(FindingKind::Doubtful, Severity::Notice) })
    }

    /// The mark of a row that was set back, by a restored backup or a fail-over: no attempt has failed since the stored
    /// pair.
    fn restored(&self) -> Option<Unanswered> {
        let is_idle = self.grant.phase == Phase::Idle;
        self.grant.unanswered.filter(|unanswered| is_idle && unanswered.attempt.is_none() && self.failing().is_none())
    }

    fn clock_found(&self, now: Timestamp) -> Option<Fact> {
        let obtained_at = self.grant.tokens?.obtained_at;
        (obtained_at > later(now, CLOCK_TOLERANCE)).then(|| Fact::new(FindingKind::ClockSetBack, self.acute(now)))
    }

    /// Since when refreshes fail, and what UPS said last.
    fn failing(&self) -> Option<(Timestamp, Option<Evidence>)> {
        let mut failures =
            self.events.iter().filter(|event| is_of_refresh(event.kind)).take_while(|event| !is_success(event.kind));
        let last = failures.next()?;
        // Another kind of failure before it is another trouble.
        let first = failures.take_while(|event| event.kind == last.kind).last().unwrap_or(last);
        Some((first.at, last.evidence.clone()))
    }
}

/// What a process knows about itself and, if it has seen one, about an access token that an API rejected. A trouble that
/// keeps tokens from being refreshed is `acute` for the company.
pub(crate) fn process_findings(health: &Health, rejected: Option<RejectedToken>, acute: Severity) -> Vec<Fact> {
    let mut found = Vec::new();
    if let Some(rejected) = rejected {
        let (kind, severity) = match rejected.is_fresh {
            true => (FindingKind::FreshTokenRejected, Severity::NoToken),
            false => (FindingKind::TokenRejected, Severity::Notice),
        };
        let next = Some(NextStep::at(NextStepKind::RefreshOnRejection, rejected.until));
        found.push(Fact { since: Some(rejected.since), next, ..Fact::new(kind, severity) });
    }
    for trouble in &health.ups {
        let kind = match trouble.kind {
            UpsTroubleKind::OutOfReach | UpsTroubleKind::RateLimited => NextStepKind::Retry,
            _ => NextStepKind::Trial,
        };
        let next = Some(NextStep { kind, at: trouble.until });
        found.push(Fact { since: trouble.since, next, ..Fact::new(FindingKind::Ups(trouble.kind), acute) });
    }
    let repeated = Some(NextStep { kind: NextStepKind::Repetition, at: None });
    if health.store_fails_since.is_some() {
        let evidence = health.store_error.as_ref().map(Evidence::message);
        let fails = Fact::new(FindingKind::StoreFails, acute);
        found.push(Fact { since: health.store_fails_since, evidence, next: repeated, ..fails });
    }
    if health.feed_is_stale {
        found.push(Fact { next: repeated, ..Fact::new(FindingKind::FeedStale, Severity::AtRisk) });
    }
    if !health.keeper.keeps_up() {
        let (kind, since, caught_up_at) = match health.keeper {
            KeeperHealth::Silent { since } => (FindingKind::KeeperSilent, Some(since), None),
            KeeperHealth::Works { caught_up_at, .. } => (FindingKind::KeeperBehind, None, caught_up_at),
            KeeperHealth::Off => (FindingKind::KeeperBehind, None, None),
        };
        let next = caught_up_at.map(|at| NextStep::at(NextStepKind::CaughtUp, at));
        found.push(Fact { since, next, ..Fact::new(kind, Severity::AtRisk) });
    }
    if health.pairs_not_stored > 0 {
        found.push(Fact { next: repeated, ..Fact::new(FindingKind::PairsNotStored, Severity::AtRisk) });
    }
    if health.is_stopping {
        found.push(Fact::new(FindingKind::Stopping, Severity::Notice));
    }
    found
}

impl Health {
    /// What was found about the process, the worst first.
    pub fn findings(&self) -> Vec<FindingKind> {
        process_findings(self, None, Severity::AtRisk).into_iter().map(|fact| fact.kind).collect()
    }
}

impl Fact {
    fn new(kind: FindingKind, severity: Severity) -> Self {
        Self { kind, severity, since: None, evidence: None, next: None }
    }
}

impl NextStep {
    fn at(kind: NextStepKind, at: Timestamp) -> Self {
        Self { kind, at: Some(at) }
    }
}

/// Whether events of this kind tell how a refresh, or the opt-in before it, went.
fn is_of_refresh(kind: EventKind) -> bool {
    is_success(kind)
        || matches!(kind, EventKind::RefreshFailed | EventKind::RefreshUnanswered | EventKind::Misconfigured)
}

fn is_success(kind: EventKind) -> bool {
    matches!(kind, EventKind::Refreshed | EventKind::Authenticated | EventKind::Recovered)
}
