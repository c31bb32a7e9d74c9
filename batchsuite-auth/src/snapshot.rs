//! A company's row, parsed: its grant and what is stored with it.

use crate::{
    clock::Timestamp,
    error::chain,
    events::EventId,
    ids::{CompanyId, ConsentId, Revision},
    machine::{CauseKind, Grant, Obstacle, Pauses, RefreshTokenEnd, Settings, Standing, TokenTimes},
    secret::{AccessToken, RefreshToken},
    status::{Cause, CompanyStatus, Status},
    store::{
        Document, PendingConsent, Row, RowKey, RowNumber, StoreError, StoreErrorKind, StoredTokens, TokenChange, Tokens,
    },
};

/// A company's row at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) company: CompanyId,
    pub(crate) number: RowNumber,
    pub(crate) grant: Grant,
    pub(crate) tokens: StoredTokens,
    /// Why the document cannot be read, and the document. Only the grant's revision is valid then.
    pub(crate) damage: Option<(StoreError, Document)>,
    pub(crate) change: EventId,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) used_at: Option<Timestamp>,
    pub(crate) consents: Vec<PendingConsent>,
    pub(crate) as_of: Timestamp,
}

impl Snapshot {
    /// Parses the row of `company`.
    pub(crate) fn of(row: Row, company: CompanyId) -> Self {
        let (grant, damage) = match Grant::of_document(row.document.as_str(), row.revision) {
            Ok(grant) => (grant, None),
            Err(error) => {
                let error = StoreError::new(StoreErrorKind::Corrupt).with_source(error);
                (Grant::damaged(row.revision), Some((error, row.document)))
            }
        };
        Self {
            company,
            number: row.number,
            tokens: complete(row.tokens, &grant),
            grant,
            damage,
            change: row.change,
            wake_at: row.wake_at,
            used_at: row.used_at,
            consents: row.consents,
            as_of: row.as_of,
        }
    }

    /// Parses a row from a list of companies. `None`: the client row, which no list contains.
    pub(crate) fn listed(row: Row) -> Option<Self> {
        let RowKey { company, .. } = &row.key;
        let company = company.clone()?;
        let snapshot = Self::of(row, company);
        if let Some((error, _)) = &snapshot.damage {
            tracing::error!(company = %snapshot.company, error = %chain(error), "a company's row cannot be read");
        }
        Some(snapshot)
    }

    pub(crate) fn revision(&self) -> Revision {
        self.grant.revision
    }

    /// Why its tokens cannot be read, if so.
    pub(crate) fn unreadable(&self) -> Option<&StoreError> {
        match (&self.damage, &self.tokens) {
            (Some((error, _)), _) | (None, StoredTokens::Unreadable(error)) => Some(error),
            _ => None,
        }
    }

    /// Why nothing can be sent for the company, as far as the row tells.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        match (&self.damage, self.unreadable()) {
            (Some(_), _) => Some(Obstacle::Damaged),
            (None, Some(_)) => Some(Obstacle::Unreadable),
            (None, None) => None,
        }
    }

    /// Its refresh token, if readable.
    pub(crate) fn refresh_token(&self) -> Option<&RefreshToken> {
        match &self.tokens {
            StoredTokens::Readable(tokens) => tokens.refresh.as_ref(),
            _ => None,
        }
    }

    /// The change that keeps only `kept` of its tokens. Unreadable tokens cannot be sealed again, so all of them stay;
    /// the grant says which ones count.
    pub(crate) fn keeping(&self, kept: impl FnOnce(Tokens) -> Tokens) -> TokenChange {
        match &self.tokens {
            StoredTokens::Readable(tokens) => TokenChange::Replace(kept(tokens.clone())),
            _ => TokenChange::Keep,
        }
    }

    /// Its access token, ready to send; `None` if it cannot be used.
    pub(crate) fn access_token(&self) -> Option<AccessToken> {
        let StoredTokens::Readable(tokens) = &self.tokens else { return None };
        let end = self.grant.tokens?.access_token_end?;
        AccessToken::new(tokens.access.as_ref()?, end, self.revision())
    }

    /// The cause `kind` with its details.
    pub(crate) fn cause_of(&self, kind: CauseKind, pauses: &Pauses) -> Cause {
        let (at, evidence) = self.grant.cause_since(kind);
        let asked_again_at = self.grant.second_opinion_at(pauses, self.as_of);
        Cause { at, evidence, asked_again_at, ..Cause::new(kind) }
    }

    /// The company's status.
    pub(crate) fn status(&self, settings: &Settings) -> CompanyStatus {
        let (grant, now) = (&self.grant, self.as_of);
        let status = match grant.cause(&settings.client_id, now) {
            Some(kind) => Status::ReauthRequired(self.cause_of(kind, &settings.pauses)),
            None if grant.standing == Standing::Unauthenticated && self.damage.is_none() => Status::Unauthenticated,
            None => Status::Authenticated {
                refresh_expires_at: grant.tokens.and_then(|times| times.refresh_end()),
                expiring_soon: grant.expires_soon(settings, now),
                refreshable: grant.tokens.is_none_or(|times| times.refresh_token_end != RefreshTokenEnd::Absent),
            },
        };
        CompanyStatus {
            company: self.company.clone(),
            status,
            actor: grant.actor.clone(),
            authenticated_at: grant.authenticated_at,
            consent_pending_until: self.pending_until(|id| !id.is_of_connect_link()),
            connect_link_until: self.pending_until(ConsentId::is_of_connect_link),
            revision: self.revision(),
            tokens_unreadable: self.unreadable().is_some(),
        }
    }

    /// Until when one of these can be used that a removal has not ended.
    fn pending_until(&self, is_one: impl Fn(ConsentId) -> bool) -> Option<Timestamp> {
        let is_valid = |consent: &&PendingConsent| {
            is_one(consent.id) && consent.removals == self.grant.removals && consent.expires_at > self.as_of
        };
        self.consents.iter().filter(is_valid).map(|consent| consent.expires_at).max()
    }
}

/// The tokens of a row. If the grant says that there is another one, somebody has deleted it, and they count as
/// damaged.
fn complete(tokens: StoredTokens, grant: &Grant) -> StoredTokens {
    let (has_access, has_refresh) = match &tokens {
        StoredTokens::None => (false, false),
        StoredTokens::Readable(tokens) => (tokens.access.is_some(), tokens.refresh.is_some()),
        StoredTokens::Unreadable(_) | StoredTokens::Sealed { .. } => return tokens,
    };
    let lacks_one = |times: TokenTimes| {
        (times.access_token_end.is_some() && !has_access)
            || (times.refresh_token_end != RefreshTokenEnd::Absent && !has_refresh)
    };
    match grant.tokens.is_some_and(lacks_one) {
        true => StoredTokens::Unreadable(StoreError::new(StoreErrorKind::Corrupt).with_source(MissingToken)),
        false => tokens,
    }
}

/// For an operator.
#[derive(Debug, thiserror::Error)]
#[error("the row says that there is a token, but it is missing; restore the data, or authenticate the company again")]
struct MissingToken;
