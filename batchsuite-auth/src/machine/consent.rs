//! Whether a callback may take a consent.

use std::time::Duration;

use super::{
    grant::{Grant, Standing},
    limits::USED_CONSENT_KNOWN,
};
use crate::{
    clock::{Timestamp, later},
    ids::{ActorId, ConsentId},
    secret::SecretHash,
};

/// What is stored of a pending consent, as far as it decides who may take it.
#[derive(Clone, Copy, Debug)]
pub struct ConsentFacts<'a> {
    /// Who began it.
    pub actor: &'a ActorId,
    /// The browser that began it.
    pub browser: SecretHash,
    /// Until when it can be taken.
    pub expires_at: Timestamp,
    /// How often the company's authorization had been removed when it began.
    pub removals: u64,
}

/// What came with the callback.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Who is signed in now.
    pub actor: &'a ActorId,
    /// The browser that came.
    pub browser: SecretHash,
}

/// Why a consent is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentRefusal {
    /// Another browser began it. It is *not* consumed: the rightful browser still completes.
    OtherBrowser,
    /// Another person began it. It is *not* consumed.
    OtherActor,
    /// It is too old. Consumed.
    Expired,
    /// The authorization was removed after it had begun. Consumed.
    RemovedSince,
}

/// Judges a callback whose state was found. `removals` is the company's present count, `now` the store's time.
///
/// # Errors
/// [`ConsentRefusal`]. The browser is judged first, so that a stranger learns nothing and ends nothing.
pub(crate) fn judge(
    consent: ConsentFacts<'_>,
    presented: Presented<'_>,
    removals: u64,
    now: Timestamp,
) -> Result<(), ConsentRefusal> {
    if consent.browser != presented.browser {
        Err(ConsentRefusal::OtherBrowser)
    } else if consent.actor != presented.actor {
        Err(ConsentRefusal::OtherActor)
    } else if consent.expires_at <= now {
        Err(ConsentRefusal::Expired)
    } else if consent.removals != removals {
        Err(ConsentRefusal::RemovedSince)
    } else {
        Ok(())
    }
}

/// The stored facts of a used consent that decide who may learn of it.
#[derive(Clone, Copy, Debug)]
pub struct UsedFacts<'a> {
    /// Who used it.
    pub actor: &'a ActorId,
    /// The browser that it was used in.
    pub browser: SecretHash,
    /// When.
    pub used_at: Timestamp,
}

/// Whether a callback whose state was used is the same callback again: of the same person and browser, within
/// [`USED_CONSENT_KNOWN`]. To anybody else the state is an unknown one.
pub(crate) fn is_repeated(used: UsedFacts<'_>, presented: Presented<'_>, now: Timestamp) -> bool {
    used.browser == presented.browser && used.actor == presented.actor && later(used.used_at, USED_CONSENT_KNOWN) > now
}

/// The outcome of a consent that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsentOutcome {
    /// It led to an opt-in, or a later one did; that opt-in stands.
    Authenticated,
    /// The company's page tells more: the exchange may be under way, or the opt-in that it led to has ended.
    AskTheCompany,
    /// The authorization was removed after it had begun.
    RemovedSince,
    /// It led to nothing.
    Failed,
}

/// The outcome of a consent that was used, read from the company's grant. An exchange takes at most `longest`.
pub(crate) fn consent_outcome(
    (id, removals, used_at): (ConsentId, u64, Timestamp),
    grant: &Grant,
    longest: Duration,
    now: Timestamp,
) -> ConsentOutcome {
    if grant.removals != removals {
        return ConsentOutcome::RemovedSince;
    }
    // Of two consents at once the grant that was issued later stays: this one's pair may have been superseded.
    let led_to_an_opt_in = grant.opt_in == Some(id) || grant.authenticated_at.is_some_and(|at| at > used_at);
    match (led_to_an_opt_in, grant.standing) {
        (true, Standing::Authenticated) => ConsentOutcome::Authenticated,
        (true, _) => ConsentOutcome::AskTheCompany,
        (false, _) if later(used_at, longest) > now => ConsentOutcome::AskTheCompany,
        (false, _) => ConsentOutcome::Failed,
    }
}
