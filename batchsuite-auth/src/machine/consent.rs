//! Whether a callback may take a consent.

use crate::{clock::Timestamp, ids::ActorId, secret::SecretHash};

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

impl ConsentRefusal {
    /// Whether the consent is gone afterwards.
    pub fn consumes(self) -> bool {
        matches!(self, Self::Expired | Self::RemovedSince)
    }
}

/// Judges a callback whose state was found. `removals` is the company's present count, `now` the store's time.
///
/// # Errors
/// [`ConsentRefusal`]. The browser is judged first, so that a stranger learns nothing and ends nothing.
pub fn judge(
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
