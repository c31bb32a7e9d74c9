//! Import: another system's tokens become an opt-in. Nothing is sent to UPS; the first refresh shows whether they are
//! spent.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::{
    clock::{Stopwatch, Timestamp, remaining},
    error::{ImplausibleTokens, ImportError},
    ids::{ActorId, CompanyId, ConsentId},
    import::{Imported, ImportedTokens},
    machine::{Grant, GrantEvent, Import, StepRefusal},
    rotation::{Engine, ReadRow, Rotation, Taken, no_answer, sent_at},
    store::{StoreError, Tokens},
    ups::{LONGEST_LIFETIME, Pair},
};

/// Tokens to be stored.
struct Incoming {
    company: CompanyId,
    actor: ActorId,
    tokens: ImportedTokens,
    /// Started at the call, from which the access token's remaining lifetime counts.
    called: Stopwatch,
    /// The id of the imported opt-in, and the epoch that it replaces. Both are taken from the first row read, so that
    /// no later attempt overwrites changes made since.
    began: OnceLock<(ConsentId, u64)>,
}

/// The outcome, and the resulting row.
type Stored = Result<(Imported, Box<ReadRow>), ImportError>;

impl Engine {
    /// Stores the tokens in a separate task: a cancelled caller loses nothing.
    #[tracing::instrument(name = "import", skip_all, fields(%company, %actor))]
    pub(crate) async fn import(
        self: &Arc<Self>,
        company: &CompanyId,
        actor: &ActorId,
        tokens: ImportedTokens,
    ) -> Result<Imported, ImportError> {
        let admitted = self.tasks.admit().ok_or(ImportError::ShutDown)?;
        let incoming = Incoming::new(company, actor, tokens);
        let engine = Arc::clone(self);
        let imported = self.tasks.finish(async move { engine.bring_in(&incoming).await });
        drop(admitted);
        match timeout(self.rotation.policy.max_wait, imported).await {
            Ok(imported) => imported.unwrap_or(Err(ImportError::ShutDown)),
            Err(_) => Err(no_answer().into()),
        }
    }

    /// The outcome of an import now; nothing is stored.
    pub(crate) async fn try_import(
        &self,
        company: &CompanyId,
        actor: &ActorId,
        tokens: ImportedTokens,
    ) -> Result<Imported, ImportError> {
        let rotation = &self.rotation;
        let incoming = Incoming::new(company, actor, tokens);
        let row = rotation.read_for_caller(rotation.read(company)).await?;
        if let Some((error, _)) = row.snapshot.damage {
            return Err(error.into());
        }
        let (event, _) = incoming.event(rotation, &row)?;
        match row.snapshot.grant.on(&event, &rotation.settings.pauses, row.now()) {
            Ok(_) => Ok(Imported::Stored),
            Err(refusal) => refused(refusal),
        }
    }

    async fn bring_in(&self, incoming: &Incoming) -> Result<Imported, ImportError> {
        let guard = self.tokens.cache.begin_read(&incoming.company);
        let stored = self.persist("an import", || async {
            match self.store_import(incoming).await {
                // The other system still has the tokens, so an error that needs an operator is returned at once.
                Err(error) if !error.is_transient() => Ok(Err(ImportError::Store(error))),
                stored => stored,
            }
        });
        let (imported, row) = stored.await?;
        let snapshot = &row.snapshot;
        self.tokens.cache.changed(&[(incoming.company.clone(), snapshot.change)]);
        if imported == Imported::Stored {
            if let (Some(token), Some(times)) = (snapshot.access_token(), snapshot.grant.tokens) {
                let _ = guard.insert(&token, snapshot.change, times.refresh_at, snapshot.as_of);
            }
            tracing::info!("the company's tokens are imported");
        }
        Ok(imported)
    }

    async fn store_import(&self, incoming: &Incoming) -> Result<Stored, StoreError> {
        let rotation = &self.rotation;
        loop {
            let row = rotation.read(&incoming.company).await?;
            if let Some((error, _)) = row.snapshot.damage {
                // The damaged row may contain a later opt-in that an operator can still restore.
                return Err(error);
            }
            let (event, tokens) = match incoming.event(rotation, &row) {
                Ok(event) => event,
                Err(error) => return Ok(Err(error)),
            };
            return Ok(match rotation.take(&row, &event, Some(&tokens)).await? {
                Taken::Saved(row) => Ok((Imported::Stored, row)),
                Taken::Refused(refusal) => refused(refusal).map(|imported| (imported, Box::new(row))),
                Taken::Conflict => continue,
            });
        }
    }
}

/// The outcome of an import that the machine refuses.
fn refused(refusal: StepRefusal) -> Result<Imported, ImportError> {
    match refusal {
        StepRefusal::AlreadyStored => Ok(Imported::AlreadyStored),
        StepRefusal::Superseded => Err(ImportError::NewerOptIn),
        StepRefusal::IssuedAhead => Err(ImplausibleTokens::IssuedAhead.into()),
        StepRefusal::Ended => Err(ImportError::Ended),
        _ => Err(ImportError::ChangedSince),
    }
}

impl Incoming {
    /// Begins the access token's remaining lifetime.
    fn new(company: &CompanyId, actor: &ActorId, tokens: ImportedTokens) -> Self {
        let (company, actor) = (company.clone(), actor.clone());
        Self { company, actor, tokens, called: Stopwatch::start(), began: OnceLock::new() }
    }

    /// The event of the import into this row, with the tokens to store.
    fn event(&self, rotation: &Rotation, row: &ReadRow) -> Result<(GrantEvent, Tokens), ImportError> {
        let client_id = &rotation.settings.client_id;
        let (id, epoch) =
            *self.began.get_or_init(|| (self.id(client_id, &row.snapshot.grant), row.snapshot.grant.revision.epoch));
        let called_at = sent_at(row.now(), &self.called);
        if self.is_of_long_ago(called_at) {
            return Err(ImplausibleTokens::IssuedLongAgo.into());
        }
        let (times, tokens) = rotation.dated(&self.pair(called_at), called_at, &row.snapshot);
        let event = GrantEvent::Import(Box::new(Import {
            id,
            epoch,
            actor: self.actor.clone(),
            client_id: client_id.clone(),
            issued_at: self.tokens.issued_at,
            pair: times,
        }));
        Ok((event, tokens))
    }

    /// The id of the opt-in: the same tokens give the same id in every process, so that a repeated import finds its own
    /// opt-in. A removal changes the id, so that work begun before the removal has no effect. The id reveals nothing,
    /// because UPS's tokens cannot be guessed.
    fn id(&self, client_id: &str, grant: &Grant) -> ConsentId {
        let mut hash = Sha256::new();
        for part in ["import", client_id, &grant.removals.to_string(), self.tokens.refresh_token.expose_secret()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let bits = hash.finalize().iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        ConsentId::from_bits(bits)
    }

    /// Whether a time is so long ago that it was misread, e.g. from seconds instead of milliseconds.
    fn is_of_long_ago(&self, called_at: Timestamp) -> bool {
        let times = [self.tokens.issued_at, self.tokens.refresh_expires_at];
        times.into_iter().flatten().any(|time| remaining(called_at, time) > LONGEST_LIFETIME)
    }

    /// The tokens as a token response of UPS at the time of the call.
    fn pair(&self, called_at: Timestamp) -> Pair {
        let ImportedTokens { refresh_token, access_token, refresh_expires_at, issued_at } = &self.tokens;
        let (access_token, access_lifetime) = access_token.clone().unzip();
        Pair {
            access_token,
            access_lifetime: access_lifetime.unwrap_or_default().min(LONGEST_LIFETIME),
            refresh_token: Some(refresh_token.clone()),
            erases_refresh_token: false,
            refresh_lifetime: refresh_expires_at
                .map(|end| remaining(end, called_at))
                .filter(|lifetime| *lifetime <= LONGEST_LIFETIME),
            issued_at: *issued_at,
            oddities: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::secret::RefreshToken;

    fn id(number: usize) -> ConsentId {
        let tokens = ImportedTokens::new(RefreshToken::new(format!("refresh-token-{number}"))).unwrap();
        let (company, actor) = (CompanyId::new("acme").unwrap(), ActorId::new("ada").unwrap());
        Incoming::new(&company, &actor, tokens).id("client", &Grant::default())
    }

    #[test]
    fn the_same_tokens_have_the_same_id_and_no_others() {
        let ids: HashSet<_> = (0..1_000).map(id).collect();

        assert_eq!(ids.len(), 1_000);
        assert!((0..1_000).map(id).all(|again| ids.contains(&again)));
    }
}
