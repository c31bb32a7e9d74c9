//! One company's grant: everything stored about the company except its secrets, and every step of its life.
//!
//! | event | what it does | why it may be refused |
//! |---|---|---|
//! | connect | stores a new opt-in with a new epoch | the authorization was removed since; a grant that UPS issued later is stored |
//! | import | the same with another system's tokens; a refusal proves nothing until the first clean rotation | the epoch changed since; a grant that UPS issued later is stored; the tokens have ended, or are dated in the future |
//! | claim | gives one attempt the row for a lease; an earlier attempt with no recorded outcome becomes doubtful | a lease or a pause is running |
//! | release | ends an attempt that sent nothing UPS acted on; starts a pause | the row is not this attempt's |
//! | commit | stores the next version and its pair, whatever attempts the row records; recovers a grant that was given up | another opt-in, or a later version, is stored |
//! | unanswered | makes the attempt doubtful; starts a pause at the end of its lease | the row is not this attempt's |
//! | refused | ends the opt-in; derives the cause from the row | the row is not this attempt's |
//! | remove | erases the tokens and the opt-in; ends attempts and consents under way | – |
//! | restore | makes a pair older than the restore doubtful: it may be spent | the pair is newer |
//! | notify | records what people were told | they were told already |
//! | erase | erases a refused refresh token | UPS is to be asked again |
//! | resume | ends the pause, because UPS is in reach again | no pause is running |
//! | look, fence | only saves the row | – |

mod attempt;
mod event;
mod opt_in;
mod record;
mod step;

pub use self::{
    attempt::Pauses,
    event::{Claim, Connect, GrantEvent, Import, PairFacts, PairRefresh, PairTimes, Release},
    record::{
        Grant, Notice, Notified, Phase, Quarantine, RecordedCause, RecordedRefusal, RefreshTokenEnd, Standing,
        TokenTimes, Unanswered,
    },
    step::{Step, StepRefusal, TokensEffect},
};
use super::limits::{CLOCK_TOLERANCE, ECHO};
use crate::{
    clock::{Timestamp, later},
    events::{EventContent, EventKind},
};

impl Grant {
    /// Applies `event` at `now`, the store's time.
    ///
    /// # Errors
    /// [`StepRefusal`]: the event is not allowed; nothing changes.
    pub fn on(&self, event: &GrantEvent, pauses: &Pauses, now: Timestamp) -> Result<Step, StepRefusal> {
        match event {
            GrantEvent::Connect(connect) => self.connect(connect, now),
            GrantEvent::Import(import) => self.import(import, now),
            GrantEvent::Claim { attempt, lease } => self.claim(*attempt, *lease, now),
            GrantEvent::Release { claim, reason, jitter } => self.release(claim, reason, pauses, *jitter, now),
            GrantEvent::Commit { claim, pair, jitter } => self.commit(claim, pair, pauses, *jitter, now),
            GrantEvent::Unanswered { claim, evidence, is_outage, jitter } => {
                let evidence = (!is_outage).then_some(evidence);
                self.unanswered(claim, evidence, pauses, *jitter, now)
            }
            GrantEvent::Refused { claim, evidence } => self.refused(claim, evidence, pauses, now),
            GrantEvent::Remove { actor } => Ok(self.remove(actor)),
            GrantEvent::Restore { at } => self.restore(*at, now),
            GrantEvent::Notify(notice) => self.notify(*notice),
            GrantEvent::Erase => self.erase(pauses, now),
            GrantEvent::Resume => self.resume(now),
            GrantEvent::Look => Ok(Step::new("look", self.clone()).timed()),
            GrantEvent::Fence => Ok(Step::new("fence", self.clone()).keeping_wake()),
        }
    }

    pub(super) fn restore(&self, at: Timestamp, now: Timestamp) -> Result<Step, StepRefusal> {
        let Some(tokens) = &self.tokens else { return Err(StepRefusal::NotAuthenticated) };
        let echo_until = later(at, ECHO);
        let is_marked = self
            .unanswered
            .is_some_and(|unanswered| unanswered.attempt.is_none() && unanswered.echo_until >= echo_until);
        // A pair dated later than now got its date from a wrong clock, and may be older than the restore.
        let is_newer = at < tokens.obtained_at && tokens.obtained_at <= later(now, CLOCK_TOLERANCE);
        if is_newer || is_marked {
            return Err(StepRefusal::Unchanged);
        }
        let echo_until = self.unanswered.map_or(echo_until, |known| known.echo_until.max(echo_until));
        let unanswered = Some(Unanswered { attempt: None, echo_until });
        Ok(Step::new("restore", Self { unanswered, ..self.clone() }).keeping_wake())
    }

    fn notify(&self, notice: Notice) -> Result<Step, StepRefusal> {
        let Some(tokens) = self.tokens.filter(|_| self.standing == Standing::Authenticated) else {
            return Err(StepRefusal::NotAuthenticated);
        };
        let notified = Notified { refresh_end: tokens.refresh_end(), notice };
        if self.notified == Some(notified) {
            return Err(StepRefusal::Unchanged);
        }
        let event = match notice {
            Notice::ExpiringSoon { .. } => EventContent::new(EventKind::ExpiringSoon),
            Notice::Ended(cause) => EventContent::new(EventKind::Expired).with_cause(cause),
        };
        Ok(Step::new("notify", Self { notified: Some(notified), ..self.clone() }).timed().writing(vec![event]))
    }
}
