//! Whether a callback may use a consent.

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

/// The facts of a pending consent that decide who may use it.
#[derive(Clone, Copy, Debug)]
pub struct ConsentFacts<'a> {
    /// Who started it.
    pub actor: &'a ActorId,
    /// The browser that started it.
    pub browser: SecretHash,
    /// When it expires.
    pub expires_at: Timestamp,
    /// How often the company's authorization had been removed when the consent started.
    pub removals: u64,
}

/// What the callback presents.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Who is signed in now.
    pub actor: &'a ActorId,
    /// The browser that sent the callback.
    pub browser: SecretHash,
}

/// Why a callback may not use a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentRefusal {
    /// Another browser started it. It is *not* consumed: the right browser can still complete it.
    OtherBrowser,
    /// Another person started it. It is *not* consumed.
    OtherActor,
    /// It has expired. It is consumed.
    Expired,
    /// The authorization was removed after the consent started. It is consumed.
    RemovedSince,
}

/// Decides whether a callback with a known state may use its consent. `removals` is the company's current count, `now`
/// the store's time.
///
/// # Errors
/// [`ConsentRefusal`]. The browser is checked first: a stranger learns nothing and consumes nothing.
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

/// The facts of a used consent that decide who may learn about it.
#[derive(Clone, Copy, Debug)]
pub struct UsedFacts<'a> {
    /// Who used it.
    pub actor: &'a ActorId,
    /// The browser it was used in.
    pub browser: SecretHash,
    /// When it was used.
    pub used_at: Timestamp,
}

/// Whether a callback with a used state repeats an earlier callback: same person, same browser, within
/// [`USED_CONSENT_KNOWN`]. For anybody else the state is unknown.
pub(crate) fn is_repeated(used: UsedFacts<'_>, presented: Presented<'_>, now: Timestamp) -> bool {
    used.browser == presented.browser && used.actor == presented.actor && later(used.used_at, USED_CONSENT_KNOWN) > now
}

/// What is stored of a connect link, as far as it decides who may follow it.
#[derive(Clone, Copy, Debug)]
pub struct LinkFacts {
    /// Whether it was followed.
    pub is_used: bool,
    /// Until when it can be followed.
    pub expires_at: Timestamp,
    /// How often the company's authorization had been removed when it was made.
    pub removals: u64,
}

/// Why a connect link is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefusal {
    /// It was followed before.
    Used,
    /// It is too old.
    Expired,
    /// The authorization was removed after it had been made.
    RemovedSince,
}

/// Judges a connect link that was found. `removals` is the company's present count, `now` the store's time.
///
/// # Errors
/// [`LinkRefusal`]. It is not used up.
pub(crate) fn judge_link(link: LinkFacts, removals: u64, now: Timestamp) -> Result<(), LinkRefusal> {
    if link.is_used {
        Err(LinkRefusal::Used)
    } else if link.expires_at <= now {
        Err(LinkRefusal::Expired)
    } else if link.removals != removals {
        Err(LinkRefusal::RemovedSince)
    } else {
        Ok(())
    }
}

/// The outcome of a used consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsentOutcome {
    /// It led to an opt-in, or a later consent did, and the company is authenticated.
    Authenticated,
    /// Unclear; the company's page shows more. The exchange may be under way, or the opt-in has ended since.
    AskTheCompany,
    /// The authorization was removed after the consent started.
    RemovedSince,
    /// It did not lead to an opt-in.
    Failed,
}

/// The outcome of a used consent, derived from the company's grant. An exchange takes at most `longest`.
pub(crate) fn consent_outcome(
    (id, removals, used_at): (ConsentId, u64, Timestamp),
    grant: &Grant,
    longest: Duration,
    now: Timestamp,
) -> ConsentOutcome {
    if grant.removals != removals {
        return ConsentOutcome::RemovedSince;
    }
    // Of two concurrent consents the grant issued later wins, so a later opt-in may have replaced this one's pair.
    let led_to_an_opt_in = grant.opt_in == Some(id) || grant.authenticated_at.is_some_and(|at| at > used_at);
    match (led_to_an_opt_in, grant.standing) {
        (true, Standing::Authenticated) => ConsentOutcome::Authenticated,
        (true, _) => ConsentOutcome::AskTheCompany,
        (false, _) if later(used_at, longest) > now => ConsentOutcome::AskTheCompany,
        (false, _) => ConsentOutcome::Failed,
    }
}
