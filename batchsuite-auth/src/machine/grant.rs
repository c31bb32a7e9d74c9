//! One company's grant: everything that is stored about it except its secrets, and all its steps.
//!
//! | event | what it does | why it may be refused |
//! |---|---|---|
//! | connect | a new opt-in, with a fresh epoch | the authorization was removed since; a grant that UPS issued later is stored |
//! | import | the same, from another system's tokens; a refusal of them proves nothing until the first clean rotation | the epoch changed since; a grant that UPS issued later is stored |
//! | claim | one attempt holds the row for a lease; one that it finds unrecorded is in doubt from now on | a lease or a pause is running |
//! | release | the attempt sent nothing that counts; a pause | the row is not this attempt's |
//! | commit | the next version with its pair, over whatever the row says of attempts; recovers a row that was given up | another opt-in, or a later version, is stored |
//! | unanswered | the attempt is in doubt; a pause from the end of its lease on | the row is not this attempt's |
//! | refused | the opt-in has ended; the cause comes from the row | the row is not this attempt's |
//! | remove | no tokens, no opt-in; ends attempts and consents under way | – |
//! | restore | a pair from before that time may be spent: in doubt | the pair is newer |
//! | notify | a note of what people were told | they were |
//! | erase | a refused refresh token is erased | UPS is to be asked again |
//! | look, fence | nothing but a save | – |

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
    /// What `event` does at `now`, the store's own time.
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
            GrantEvent::Unanswered { claim, evidence, jitter } => {
                self.unanswered(claim, evidence, pauses, *jitter, now)
            }
            GrantEvent::Refused { claim, evidence } => self.refused(claim, evidence, pauses, now),
            GrantEvent::Remove { actor } => Ok(self.remove(actor)),
            GrantEvent::Restore { at } => self.restore(*at, now),
            GrantEvent::Notify(notice) => self.notify(*notice),
            GrantEvent::Erase => self.erase(pauses, now),
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
        // What was obtained later than now was dated by a wrong clock, and may be older.
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
