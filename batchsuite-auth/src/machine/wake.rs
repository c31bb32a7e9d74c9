//! Time as a queue: when a grant next needs attention, and what is to be done then.
//!
//! | what is due | when |
//! |---|---|
//! | a refresh of a company that is used | the beginning of the early window; at once if the access token cannot be used |
//! | a refresh of an idle one | *keep-alive* before the refresh token ends, though not before three quarters of its life; that long after it was obtained if its end is unknown |
//! | a probe after an unanswered attempt | the end of its lease and its pause, used or not |
//! | a warning | each window before the refresh token's end, if a person is needed: nothing renews it, its tokens cannot be read, or its renewal was tried in vain for half a day |
//! | a second opinion | the end of a refused refresh token's quarantine, and of a pause or a lease |
//! | the erasure | the same time, if UPS has been asked often enough |
//! | the end | the refresh token's end, or the access token's if nothing can renew it |
//! | a look | a day later, at the latest; an hour later if the grant cannot be read, or its tokens cannot and something is to be sent |

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
    /// When; `None`: never.
    pub at: Option<Timestamp>,
    /// To when a use of its tokens brings that forward; `None`: a use changes nothing.
    pub if_used: Option<Timestamp>,
}

/// The name that a company is listed under whose grant cannot be read. It is shown as authenticated, too: there may be an opt-in, and an
/// operator must look.
pub(crate) const DAMAGED_LISTED_AS: ListedAs = ListedAs::Authenticated;

impl Wake {
    /// When a row wakes whose grant or tokens cannot be read: so late that the row does not come first again and again. A use of its
    /// tokens is none.
    pub(crate) fn of_unreadable(now: Timestamp) -> Self {
        Self { at: Some(later(now, LOOK_AGAIN_UNREADABLE)), if_used: None }
    }
}

/// The configuration, as far as the machine depends on it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The client that is configured now.
    pub client_id: String,
    /// A company that was used within this is kept fresh.
    pub fresh_if_used_within: Duration,
    /// An idle company's refresh token is renewed this long before it ends; zero: never.
    pub keep_alive_before_end: Duration,
    /// How long before a refresh token ends people are warned.
    pub warnings: Vec<Duration>,
    /// The pauses after attempts that brought no usable pair.
    pub pauses: Pauses,
}

/// What a grant that has woken needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// A refresh, or a probe.
    Refresh,
    /// People are to be told.
    Notify(Notice),
    /// A refused refresh token is to be erased.
    Erase,
    /// Nothing now. To save it says when it wakes next.
    Look,
    /// Nothing, until an operator has repaired the row. To save it says that the row wakes again in a while.
    Postpone,
    /// Nothing, and it need not be saved: an attempt is under way, whose end says when it wakes next; or it is tried again soon.
    Leave,
}

/// Why a refresh cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing may be sent to UPS for any company.
    Blocked,
    /// The tokens cannot be read.
    Unreadable,
    /// The grant itself cannot be read: nothing is known of it.
    Damaged,
}

/// Whether a renewal can spare people a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    /// It is to come.
    Ahead,
    /// It was tried, or none can be sent for the time being.
    InVain,
    /// There can be none: people can opt in again, and an operator may repair the row before.
    Impossible,
}

impl Grant {
    /// What the grant needs at `now`. `clocks_agree`: the keeper's own clock agrees with the store's; what is derived from a wrong
    /// clock is told to nobody.
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
        // A refresh may make it needless to tell anybody.
        if refresh_is_due && obstacle.is_none() && !self.has_failed() {
            return Chore::Refresh;
        }
        let renewal = match obstacle {
            Some(Obstacle::Unreadable) => Renewal::Impossible,
            Some(_) if refresh_is_due => Renewal::InVain,
            _ if self.has_failed() => Renewal::InVain,
            _ => Renewal::Ahead,
        };
        match self.notice(settings, renewal, now).filter(|_| clocks_agree) {
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

    /// The name of its status.
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

    /// When UPS is to be asked again about a refused refresh token, or it is to be erased; `None`: not with this client id, or never.
    fn second_opinion_due(&self, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
        let is_own = self.client_id.as_deref() == Some(&settings.client_id);
        self.quarantined_until(now).filter(|_| is_own).map(|until| until.max(self.blocked_until(now)))
    }

    /// When the refresh token is to be sent next; `None`: not by the keeper, or not at all.
    fn refresh_due(&self, used_at: Option<Timestamp>, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
        let tokens = self.tokens.filter(|tokens| tokens.refresh_token_end != RefreshTokenEnd::Absent)?;
        if self.standing != Standing::Authenticated || self.cause(&settings.client_id, now).is_some() {
            return None;
        }
        let is_in_doubt = self.unanswered.is_some() || !matches!(self.phase, Phase::Idle);
        // A use of later than now was dated by a clock that has been set back since.
        let (since, until) = (earlier(now, settings.fresh_if_used_within), later(now, CLOCK_TOLERANCE));
        let is_used = used_at.is_some_and(|used_at| since < used_at && used_at <= until);
        let for_use = is_used.then(|| tokens.early_window(now));
        let due = match is_in_doubt {
            true => Some(now),
            false => for_use.into_iter().chain(tokens.keep_alive_at(settings, now)).min(),
        };
        due.map(|due| due.max(self.blocked_until(now)))
    }

    /// Until when nothing can be sent for it.
    fn blocked_until(&self, now: Timestamp) -> Timestamp {
        self.leased_until(now).max(self.paused_until(now)).unwrap_or(now)
    }

    /// What people must be told now, if they were not told it already.
    fn notice(&self, settings: &Settings, renewal: Renewal, now: Timestamp) -> Option<Notice> {
        let tokens = self.tokens?;
        let told = self.notified.filter(|told| told.is_of(&tokens)).map(|told| told.notice);
        match self.cause(&settings.client_id, now) {
            // One event for the whole client tells of it.
            Some(CauseKind::ClientChanged) => None,
            Some(cause @ (CauseKind::RefreshExpired | CauseKind::NoRefreshToken)) => {
                Some(Notice::Ended(cause)).filter(|notice| told != Some(*notice))
            }
            // What is recorded was told with its record.
            Some(CauseKind::OptInInvalidated | CauseKind::RotationLost) => None,
            None => {
                let window = self.warning(settings, renewal, now)?;
                let is_smaller = match told {
                    Some(Notice::ExpiringSoon { within }) => window.as_secs() < within,
                    Some(Notice::Ended(_)) | None => true,
                };
                is_smaller.then_some(Notice::ExpiringSoon { within: window.as_secs() })
            }
        }
    }

    /// The smallest warning window that has begun, if a person is needed.
    fn warning(&self, settings: &Settings, renewal: Renewal, now: Timestamp) -> Option<Duration> {
        let end = self.warned_end(settings, renewal, now)?;
        settings.warnings.iter().copied().filter(|window| earlier(end, *window) <= now).min()
    }

    /// The end of which people are to be warned: nothing renews the opt-in before it, or the renewal has failed.
    fn warned_end(&self, settings: &Settings, renewal: Renewal, now: Timestamp) -> Option<Timestamp> {
        let tokens = self.tokens?;
        let end = tokens.refresh_end()?;
        let Some(keep_alive_at) = tokens.keep_alive_at(settings, now) else { return Some(end) };
        let is_warned = match renewal {
            // Late alone is no failure: it may be tried for the first time, after a wrong client id or with another keep-alive.
            Renewal::Ahead => false,
            Renewal::InVain => later(keep_alive_at, KEEP_ALIVE_TRIES.min(remaining(end, keep_alive_at) / 2)) <= now,
            Renewal::Impossible => true,
        };
        is_warned.then_some(end)
    }

    /// Whether the last attempt brought no usable pair.
    fn has_failed(&self) -> bool {
        self.failures > 0 || self.unanswered.is_some()
    }

    /// When people may have to be told next, or the name of its status changes.
    fn next_notice(&self, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
        let tokens = self.tokens?;
        let end = tokens.refresh_end();
        let access_end = tokens.access_token_end.filter(|_| tokens.refresh_token_end == RefreshTokenEnd::Absent);
        let windows = settings.warnings.iter().filter_map(|window| Some(earlier(end?, *window)));
        windows.chain(end).chain(access_end).filter(|at| *at > now).min()
    }

    /// The note of what people were told, as long as it holds. Clocks that differ a little do not drop it.
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

    /// When an idle opt-in is renewed.
    fn keep_alive_at(&self, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
        if settings.keep_alive_before_end.is_zero() {
            return None;
        }
        // It was dated by a clock that has been set back since: its end says nothing.
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
    /// The same without the note of what people were told, if that no longer holds.
    pub fn with_notice_that_holds(mut self, settings: &Settings, now: Timestamp) -> Self {
        self.grant.notified = self.grant.notified_still(settings, now);
        self
    }

    /// When the grant wakes after the step; `None`: when it did before, which was `wake_at`.
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
        // A holder that dies is noticed when its lease ends.
        let lease_until = self.grant.leased_until(now)?;
        let is_late = wake_at.is_none_or(|at| at > lease_until);
        is_late.then_some(Wake { at: Some(lease_until), if_used: Some(lease_until) })
    }
}
