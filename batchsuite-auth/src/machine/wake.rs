//! Time as a queue: when a grant next needs attention, and what it needs then.
//!
//! | what is due | when |
//! |---|---|
//! | a refresh for a company in use | at the beginning of the early window; at once if the access token cannot be used |
//! | a refresh for an idle company | *keep-alive* before the refresh token ends, but not before three quarters of its life; if its end is unknown, *keep-alive* after it was obtained |
//! | a probe after an unanswered attempt | at the end of the lease and the pause, whether in use or idle |
//! | a warning | at each window before the refresh token's end, if a person is needed: nothing renews the token, the tokens cannot be read, or the renewal has failed for half a day |
//! | a second opinion | at the end of the refused token's quarantine, and of any pause or lease |
//! | the erasure | the same, once UPS has been asked often enough |
//! | the end | when the refresh token ends; if there is none, when the access token ends |
//! | a look | after a day at the latest; after an hour if the grant cannot be read, or if its tokens cannot be read and a request is due |

use std::time::Duration;

use super::{
    access::Freshness,
    cause::CauseKind,
    grant::{Grant, Notice, Notified, Pauses, Phase, RefreshTokenEnd, Standing, Step, TokenTimes},
    limits::{CLOCK_TOLERANCE, KEEP_ALIVE_NOT_BEFORE, KEEP_ALIVE_TRIES, LOOK_AGAIN, LOOK_AGAIN_UNREADABLE},
};
use crate::{
    clock::{Timestamp, earlier, later, remaining},
    status::ListedAs,
};

/// When a row wakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// The time; `None`: never.
    pub at: Option<Timestamp>,
    /// The earlier time that applies once the company's tokens are used; `None`: a use changes nothing.
    pub if_used: Option<Timestamp>,
}

/// The status under which a company with an unreadable grant is listed. Its status is shown as authenticated as well:
/// an opt-in may exist, and an operator must look.
pub(crate) const DAMAGED_LISTED_AS: ListedAs = ListedAs::Authenticated;

impl Wake {
    /// The wake time of a row whose grant or tokens cannot be read, late enough that the row does not come first every
    /// time. A use of its tokens changes nothing.
    pub(crate) fn of_unreadable(now: Timestamp) -> Self {
        Self { at: Some(later(now, LOOK_AGAIN_UNREADABLE)), if_used: None }
    }
}

/// The configuration that the machine needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configured client id.
    pub client_id: String,
    /// How recently a company must have been used for the keeper to keep its access token fresh.
    pub fresh_if_used_within: Duration,
    /// How long before its end an idle company's refresh token is renewed; zero: never.
    pub keep_alive_before_end: Duration,
    /// How long before a refresh token's end people are warned.
    pub warnings: Vec<Duration>,
    /// The pauses after attempts that brought no usable pair.
    pub pauses: Pauses,
}

/// What a grant that has woken needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// A refresh, or a probe.
    Refresh,
    /// A notice to people.
    Notify(Notice),
    /// The erasure of a refused refresh token.
    Erase,
    /// Nothing now. Saving the row sets its next wake time.
    Look,
    /// Nothing until an operator has repaired the row. Saving it sets a later wake time.
    Postpone,
    /// Nothing, not even a save: the end of the attempt under way sets the next wake time, or the keeper soon tries
    /// again.
    Leave,
}

/// Why a refresh cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing may be sent to UPS for any company.
    Blocked,
    /// The tokens cannot be read.
    Unreadable,
    /// The grant itself cannot be read.
    Damaged,
}

impl Grant {
    /// What the grant needs at `now`. `clocks_agree`: the keeper's clock agrees with the store's. If it does not,
    /// nobody is notified, because the notice may come from a wrong clock.
    pub fn chore(
        &self,
        used_at: Option<Timestamp>,
        obstacle: Option<Obstacle>,
        settings: &Settings,
        clocks_agree: bool,
        now: Timestamp,
    ) -> Chore {
        if obstacle == Some(Obstacle::Damaged) {
            return Chore::Postpone;
        }
        if self.leased_until(now).is_some() {
            return Chore::Leave;
        }
        let refresh = match obstacle {
            None => Chore::Refresh,
            Some(Obstacle::Blocked) => Chore::Leave,
            Some(Obstacle::Unreadable | Obstacle::Damaged) => Chore::Postpone,
        };
        if let Standing::ReauthRequired(_) = self.standing {
            return match self.second_opinion_due(settings, now) {
                Some(at) if at > now => Chore::Look,
                Some(_) if self.asks_again(&settings.pauses) => refresh,
                Some(_) => Chore::Erase,
                None => Chore::Look,
            };
        }
        let refresh_is_due = self.refresh_due(used_at, settings, now).is_some_and(|at| at <= now);
        // A successful refresh makes the notice unnecessary.
        if refresh_is_due && obstacle.is_none() && !self.has_failed() {
            return Chore::Refresh;
        }
        match self.notice(settings, obstacle, now).filter(|_| clocks_agree) {
            Some(notice) => Chore::Notify(notice),
            None if refresh_is_due => refresh,
            None => Chore::Look,
        }
    }

    /// When the grant wakes next.
    pub fn wake(&self, used_at: Option<Timestamp>, settings: &Settings, now: Timestamp) -> Wake {
        let look = later(now, LOOK_AGAIN);
        match self.standing {
            Standing::Unauthenticated => return Wake::default(),
            Standing::ReauthRequired(_) => {
                let at =
                    self.quarantine.map(|_| self.second_opinion_due(settings, now).map_or(look, |at| at.min(look)));
                return Wake { at, if_used: None };
            }
            Standing::Authenticated => {}
        }
        let due = [self.refresh_due(used_at, settings, now), self.next_notice(settings, now)];
        let at = due.into_iter().flatten().fold(look, Timestamp::min);
        let if_used = self.refresh_due(Some(now), settings, now).map(|due| due.min(at).max(self.blocked_until(now)));
        Wake { at: Some(at.max(now)), if_used }
    }

    /// The status under which the company is listed.
    pub fn listed_as(&self, settings: &Settings, now: Timestamp) -> ListedAs {
        match (self.standing, self.cause(&settings.client_id, now)) {
            (_, Some(_)) => ListedAs::ReauthRequired,
            (Standing::Unauthenticated, None) => ListedAs::Unauthenticated,
            (_, None) if self.expires_soon(settings, now) => ListedAs::ExpiringSoon,
            (_, None) => ListedAs::Authenticated,
        }
    }

    /// Whether its refresh token ends within the widest warning window.
    pub fn expires_soon(&self, settings: &Settings, now: Timestamp) -> bool {
        let end = self.tokens.and_then(|tokens| tokens.refresh_end());
        end.zip(settings.warnings.iter().max()).is_some_and(|(end, widest)| earlier(end, *widest) <= now)
    }

    /// When to ask UPS again about a refused refresh token, or to erase it; `None`: never, or not while another client
    /// id is configured.
    fn second_opinion_due(&self, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
        let is_own = self.client_id.as_deref() == Some(&settings.client_id);
        self.quarantined_until(now).filter(|_| is_own).map(|until| until.max(self.blocked_until(now)))
    }

    /// When the keeper sends the refresh token next; `None`: it does not.
    pub(super) fn refresh_due(
        &self,
        used_at: Option<Timestamp>,
        settings: &Settings,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let tokens = self.tokens.filter(|tokens| tokens.refresh_token_end != RefreshTokenEnd::Absent)?;
        if self.standing != Standing::Authenticated || self.cause(&settings.client_id, now).is_some() {
            return None;
        }
        let is_in_doubt = self.unanswered.is_some() || !matches!(self.phase, Phase::Idle);
        // A use dated later than now was dated by a clock that has since been set back.
        let (since, until) = (earlier(now, settings.fresh_if_used_within), later(now, CLOCK_TOLERANCE));
        let is_used = used_at.is_some_and(|used_at| since < used_at && used_at <= until);
        let for_use = is_used.then(|| tokens.early_window(now));
        let due = match is_in_doubt {
            true => Some(now),
            false => for_use.into_iter().chain(tokens.keep_alive_at(settings, now)).min(),
        };
        due.map(|due| due.max(self.blocked_until(now)))
    }

    /// Until when nothing can be sent for the company; `now` if something can.
    pub(super) fn blocked_until(&self, now: Timestamp) -> Timestamp {
        self.leased_until(now).max(self.paused_until(now)).unwrap_or(now)
    }

    /// The notice that is due now and has not been given yet.
    fn notice(&self, settings: &Settings, obstacle: Option<Obstacle>, now: Timestamp) -> Option<Notice> {
        let tokens = self.tokens?;
        let told = self.notified.filter(|told| told.is_of(&tokens)).map(|told| told.notice);
        match self.cause(&settings.client_id, now) {
            // One event for the whole client reports it.
            Some(CauseKind::ClientChanged) => None,
            Some(cause @ (CauseKind::RefreshExpired | CauseKind::NoRefreshToken)) => {
                Some(Notice::Ended(cause)).filter(|notice| told != Some(*notice))
            }
            // The event of the recorded refusal reported it.
            Some(CauseKind::OptInInvalidated | CauseKind::RotationLost) => None,
            None => {
                let window = self.warning(settings, obstacle, now)?;
                let is_smaller = match told {
                    Some(Notice::ExpiringSoon { within }) => window.as_secs() < within,
                    Some(Notice::Ended(_)) | None => true,
                };
                is_smaller.then_some(Notice::ExpiringSoon { within: window.as_secs() })
            }
        }
    }

    /// The smallest warning window that has begun, if a person is needed.
    fn warning(&self, settings: &Settings, obstacle: Option<Obstacle>, now: Timestamp) -> Option<Duration> {
        let end = self.warned_end(settings, obstacle, now)?;
        settings.warnings.iter().copied().filter(|window| earlier(end, *window) <= now).min()
    }

    /// The refresh token's end, if people must be warned of it: nothing renews the opt-in before then, or the renewal
    /// has failed.
    fn warned_end(&self, settings: &Settings, obstacle: Option<Obstacle>, now: Timestamp) -> Option<Timestamp> {
        let tokens = self.tokens?;
        let end = tokens.refresh_end()?;
        let Some(keep_alive_at) = tokens.keep_alive_at(settings, now) else { return Some(end) };
        // Only an operator can repair unreadable tokens; people can opt in again.
        let is_impossible = obstacle == Some(Obstacle::Unreadable);
        // A refresh that is due and may succeed comes first, so an overdue one has failed or cannot be sent for now.
        let patience = KEEP_ALIVE_TRIES.min(remaining(end, keep_alive_at) / 2);
        let is_warned = is_impossible || later(keep_alive_at, patience) <= now;
        is_warned.then_some(end)
    }

    /// Whether the last attempt brought no usable pair.
    fn has_failed(&self) -> bool {
        self.failures > 0 || self.unanswered.is_some()
    }

    /// When the next notice may be due, or the listed status changes.
    fn next_notice(&self, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
        let tokens = self.tokens?;
        let end = tokens.refresh_end();
        let access_end = tokens.access_token_end.filter(|_| tokens.refresh_token_end == RefreshTokenEnd::Absent);
        let windows = settings.warnings.iter().filter_map(|window| Some(earlier(end?, *window)));
        windows.chain(end).chain(access_end).filter(|at| *at > now).min()
    }

    /// The notice already given, if it still holds; small clock differences don't drop it.
    fn notified_still(&self, settings: &Settings, now: Timestamp) -> Option<Notified> {
        let (tokens, soon) = (self.tokens?, later(now, CLOCK_TOLERANCE));
        let holds = |notice| match notice {
            Notice::Ended(cause) => self.cause(&settings.client_id, soon) == Some(cause),
            Notice::ExpiringSoon { within } => {
                tokens.refresh_end().is_some_and(|end| earlier(end, Duration::from_secs(within)) <= soon)
            }
        };
        self.notified.filter(|told| told.is_of(&tokens) && holds(told.notice))
    }
}

impl Notified {
    fn is_of(&self, tokens: &TokenTimes) -> bool {
        self.refresh_end == tokens.refresh_end()
    }
}

impl TokenTimes {
    /// The beginning of the early window; now, if the access token cannot be used.
    fn early_window(&self, now: Timestamp) -> Timestamp {
        match self.freshness(now) {
            Freshness::Ended => now,
            Freshness::Fresh | Freshness::Due => self.refresh_at.min(self.access_token_end.unwrap_or(now)),
        }
    }

    /// When an idle opt-in is renewed; `None`: never.
    fn keep_alive_at(&self, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
        if settings.keep_alive_before_end.is_zero() {
            return None;
        }
        // This pair was dated by a clock that has since been set back, so its end is unknown.
        if self.obtained_at > later(now, CLOCK_TOLERANCE) {
            return Some(now);
        }
        match self.refresh_token_end {
            RefreshTokenEnd::Absent => None,
            RefreshTokenEnd::Unknown => Some(later(self.obtained_at, settings.keep_alive_before_end)),
            RefreshTokenEnd::At(end) => {
                let life = remaining(end, self.obtained_at);
                let not_before = later(self.obtained_at, life.mul_f64(KEEP_ALIVE_NOT_BEFORE));
                Some(earlier(end, settings.keep_alive_before_end).max(not_before))
            }
        }
    }
}

impl Step {
    /// Drops the record of a notice that no longer holds.
    pub fn with_notice_that_holds(mut self, settings: &Settings, now: Timestamp) -> Self {
        self.grant.notified = self.grant.notified_still(settings, now);
        self
    }

    /// When the grant wakes after the step; `None`: it keeps its former time, `wake_at`.
    pub fn wake(
        &self,
        wake_at: Option<Timestamp>,
        used_at: Option<Timestamp>,
        settings: &Settings,
        now: Timestamp,
    ) -> Option<Wake> {
        if !self.keeps_wake {
            return Some(self.grant.wake(used_at, settings, now));
        }
        // If the holder dies, the keeper finds out when the lease ends.
        let lease_until = self.grant.leased_until(now)?;
        let is_late = wake_at.is_none_or(|at| at > lease_until);
        is_late.then_some(Wake { at: Some(lease_until), if_used: Some(lease_until) })
    }
}
