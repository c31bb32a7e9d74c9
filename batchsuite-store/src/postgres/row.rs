//! Rows as what they mean.

use std::{fmt, time::Duration};

use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    clock::Timestamp,
    error::chain,
    events::{Event, EventId, EventKind, Evidence},
    ids::{AttemptId, ConsentId, Revision},
    machine::{OptIn, Phase, RecordedCause, RefreshTokenEnd, Standing, TokenTimes},
    secret::{AccessTokenSecret, RefreshToken},
    store::{GrantKey, Snapshot, StoreError, Tokens, UnreadableTokens},
};
use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

use super::{failure, seal::Vault};

/// Reads the columns of a row from left to right: an order that the statement and its reader agree on costs no search by
/// name.
pub(super) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn next<T: FromSql<'a>>(&mut self) -> Result<T, StoreError> {
        let column = self.next;
        self.next += 1;
        self.row.try_get(column).map_err(|_| {
            let name = self.row.columns().get(column).map_or("that is missing", |column| column.name());
            failure::corrupt(format!("the column {name} holds what it must not"))
        })
    }

    /// A number that is never negative.
    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        unsigned(self.next()?)
    }

    /// The same of a row that is damaged: the number that statements go on from, see [`Schema::write`](super::schema::Schema::write).
    fn counted(&mut self) -> Result<u64, StoreError> {
        self.next().and_then(|number| unsigned(number).or(unsigned(ANEW)))
    }

    pub(super) fn revision(&mut self) -> Result<Revision, StoreError> {
        let (epoch, version) = (self.number(), self.number());
        Ok(Revision { epoch: epoch?, version: version? })
    }

    pub(super) fn company(&mut self) -> Result<CompanyId, StoreError> {
        company(self.next()?)
    }

    pub(super) fn actor(&mut self) -> Result<Option<ActorId>, StoreError> {
        self.next::<Option<&str>>()?.map(actor).transpose()
    }

    pub(super) fn attempt(&mut self) -> Result<Option<AttemptId>, StoreError> {
        Ok(self.next::<Option<Uuid>>()?.map(|id| AttemptId::from_bits(id.as_u128())))
    }

    pub(super) fn consent(&mut self) -> Result<Option<ConsentId>, StoreError> {
        Ok(self.next::<Option<Uuid>>()?.map(|id| ConsentId::from_bits(id.as_u128())))
    }

    pub(super) fn evidence(&mut self) -> Result<Option<Evidence>, StoreError> {
        let mut evidence = Evidence::default();
        let status: Option<i32> = self.next()?;
        evidence.status = status.and_then(|status| u16::try_from(status).ok());
        evidence.code = self.next()?;
        evidence.message = self.next()?;
        evidence.attempt = self.attempt()?;
        Ok((evidence != Evidence::default()).then_some(evidence))
    }
}

/// The columns of `sql/fragments/grant.sql`, and those of the tokens after them if `vault` is given. Without it, tokens are
/// there as far as they decide anything, and empty. The row may be that of a company that was never seen.
///
/// A grant that is damaged comes as unreadable, as long as its numbers are there: it can be replaced and removed.
pub(super) fn snapshot(row: &Row, key: &GrantKey, vault: Option<&Vault>) -> Result<Snapshot, StoreError> {
    readable(row, key, vault).or_else(|reason| damaged(row, key, reason))
}

fn damaged(row: &Row, key: &GrantKey, reason: StoreError) -> Result<Snapshot, StoreError> {
    let mut columns = Columns { row, next: 1 };
    let (Ok(epoch), Ok(version), Ok(removals)) = (columns.counted(), columns.counted(), columns.counted()) else {
        return Err(reason);
    };
    let revision = Revision { epoch, version };
    let (Ok(as_of), Ok(change)) = (row.try_get("as_of"), row.try_get::<_, i64>("change")) else { return Err(reason) };
    let change = unsigned(change).unwrap_or_default();
    // The state is unknown, but there was an opt-in.
    let opt_in = OptIn { revision, removals, standing: Standing::Authenticated, ..OptIn::default() };
    let unreadable = Some(UnreadableTokens { reason, times: None });
    Ok(Snapshot { opt_in, unreadable, change: EventId::new(change), ..Snapshot::empty(key.clone(), as_of) })
}

fn readable(row: &Row, key: &GrantKey, vault: Option<&Vault>) -> Result<Snapshot, StoreError> {
    let mut columns = Columns::of(row);
    if columns.next::<Option<&str>>()?.is_none() {
        let as_of = row.try_get("as_of").map_err(|error| failure::of_database(&error))?;
        return Ok(Snapshot::empty(key.clone(), as_of));
    }
    let revision = columns.revision()?;
    let removals = columns.number()?;
    let standing = standing(columns.next()?)?;
    let phase = match (columns.attempt()?, columns.next()?) {
        (_, None) => Phase::Idle,
        (Some(attempt), Some(lease_until)) => Phase::Sent { attempt, lease_until },
        (None, Some(lease_until)) => Phase::Travelling { lease_until },
    };
    let opt_in = OptIn {
        revision,
        standing,
        phase,
        unanswered: columns.next()?,
        suspect: columns.next()?,
        removals,
        consent: columns.consent()?,
        issued_at: columns.next()?,
    };
    let (client_id, actor, authenticated_at) = (columns.next()?, columns.actor()?, columns.next()?);
    let times = Times::of(&mut columns)?;
    let cause_at: Option<Timestamp> = columns.next()?;
    let cause = columns.evidence()?;
    let failures = u32::try_from(columns.number()?).unwrap_or(u32::MAX);
    let retry_at = columns.next()?;
    let change = EventId::new(columns.number()?);
    let as_of = columns.next()?;
    // A damaged date of a consent does not make the grant unreadable.
    let consent_pending_until = columns.next().unwrap_or_default();
    let tokens = match vault {
        Some(vault) => {
            let sealed = Sealed::of(&mut columns)?;
            times.open(&sealed, key, revision, vault)
        }
        None => times.with(AccessTokenSecret::new(""), RefreshToken::new("")),
    };
    let (tokens, unreadable) = match tokens {
        Ok(tokens) => (tokens, None),
        Err(reason) => (None, Some(UnreadableTokens { reason, times: times.as_facts() })),
    };
    Ok(Snapshot {
        cause: cause_at.map(|at| (at, cause.unwrap_or_default())),
        key: key.clone(),
        opt_in,
        tokens,
        unreadable,
        client_id,
        actor,
        authenticated_at,
        failures,
        retry_at,
        consent_pending_until,
        change,
        as_of,
    })
}

/// What is known of the tokens without them.
struct Times {
    has_access_token: bool,
    has_refresh_token: bool,
    obtained_at: Option<Timestamp>,
    refresh_at: Option<Timestamp>,
    access_expires_at: Option<Timestamp>,
    refresh_expires_at: Option<Timestamp>,
}

impl Times {
    fn of(columns: &mut Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            has_access_token: columns.next()?,
            has_refresh_token: columns.next()?,
            obtained_at: columns.next()?,
            refresh_at: columns.next()?,
            access_expires_at: columns.next()?,
            refresh_expires_at: columns.next()?,
        })
    }

    /// The tokens. What cannot be read of them makes all of them unreadable.
    fn open(
        &self,
        sealed: &Sealed<'_>,
        key: &GrantKey,
        revision: Revision,
        vault: &Vault,
    ) -> Result<Option<Tokens>, StoreError> {
        let missing = || failure::corrupt("a token is missing");
        let access_token = match self.has_access_token {
            true => Some(vault.open_access_token(key, revision, sealed.access_token.ok_or_else(missing)?)?),
            false => None,
        };
        let refresh_token = match self.has_refresh_token {
            true => {
                let version = unsigned(sealed.refresh_version.ok_or_else(missing)?)?;
                let revision = Revision { version, ..revision };
                Some(vault.open_refresh_token(key, revision, sealed.refresh_token.ok_or_else(missing)?)?)
            }
            false => None,
        };
        self.some(access_token, refresh_token)
    }

    fn with(&self, access_token: AccessTokenSecret, refresh_token: RefreshToken) -> Result<Option<Tokens>, StoreError> {
        let access_token = self.has_access_token.then_some(access_token);
        let refresh_token = self.has_refresh_token.then_some(refresh_token);
        self.some(access_token, refresh_token)
    }

    fn some(
        &self,
        access_token: Option<AccessTokenSecret>,
        refresh_token: Option<RefreshToken>,
    ) -> Result<Option<Tokens>, StoreError> {
        match (self.access_expires_at, self.refresh_at, self.obtained_at) {
            (Some(access_expires_at), Some(refresh_at), Some(obtained_at)) => Ok(Some(Tokens {
                access_token,
                access_expires_at,
                refresh_at,
                refresh_token,
                refresh_expires_at: self.refresh_expires_at,
                obtained_at,
            })),
            _ if access_token.is_none() && refresh_token.is_none() => Ok(None),
            _ => Err(failure::corrupt("a time of the tokens is missing")),
        }
    }

    /// The same as far as it decides anything.
    fn as_facts(&self) -> Option<TokenTimes> {
        Some(TokenTimes {
            obtained_at: self.obtained_at?,
            refresh_at: self.refresh_at?,
            access_token_end: self.access_expires_at.filter(|_| self.has_access_token),
            refresh_token_end: match (self.has_refresh_token, self.refresh_expires_at) {
                (false, _) => RefreshTokenEnd::Absent,
                (true, None) => RefreshTokenEnd::Unknown,
                (true, Some(end)) => RefreshTokenEnd::At(end),
            },
        })
    }
}

/// The tokens as they are stored.
struct Sealed<'a> {
    access_token: Option<&'a [u8]>,
    refresh_token: Option<&'a [u8]>,
    refresh_version: Option<i64>,
}

impl<'a> Sealed<'a> {
    fn of(columns: &mut Columns<'a>) -> Result<Self, StoreError> {
        Ok(Self { access_token: columns.next()?, refresh_token: columns.next()?, refresh_version: columns.next()? })
    }
}

/// The columns of an event.
pub(super) fn event(row: &Row, environment: Environment) -> Result<Event, StoreError> {
    let mut columns = Columns::of(row);
    Ok(Event {
        id: EventId::new(columns.number()?),
        at: columns.next()?,
        environment,
        company: columns.next::<Option<&str>>()?.map(company).transpose()?,
        actor: columns.actor()?,
        kind: kind(columns.next()?)?,
        revision: columns.revision()?,
        evidence: columns.evidence()?,
        cause: None,
    })
}

/// Items that cannot be read and are left out, so that the others go on. The log names the first ones and counts the
/// rest: without a lost key, that may be every company.
pub(super) struct LeftOut {
    what: &'static str,
    items: usize,
}

/// How many are told by name.
const NAMED: usize = 10;

impl LeftOut {
    pub(super) fn of(what: &'static str) -> Self {
        Self { what, items: 0 }
    }

    /// A row whose first column is a company.
    pub(super) fn add_row(&mut self, row: &Row, error: &StoreError) {
        let company: &str = Columns::of(row).next().unwrap_or_default();
        self.add(&company, error);
    }

    pub(super) fn add(&mut self, name: &dyn fmt::Display, error: &StoreError) {
        self.items += 1;
        if self.items <= NAMED {
            tracing::error!(what = self.what, %name, error = %chain(error), "an item cannot be read; it is left out");
        }
        #[cfg(feature = "metrics")]
        metrics::counter!("batchsuite_unreadable_total", "what" => self.what).increment(1);
    }
}

impl Drop for LeftOut {
    fn drop(&mut self) {
        if self.items > NAMED {
            tracing::error!(
                what = self.what,
                items = self.items - NAMED,
                "as many more cannot be read and are left out"
            );
        }
    }
}

fn company(text: &str) -> Result<CompanyId, StoreError> {
    CompanyId::new(text).map_err(|_| failure::corrupt("a company id is none"))
}

pub(super) fn actor(text: &str) -> Result<ActorId, StoreError> {
    ActorId::new(text).map_err(|_| failure::corrupt("an actor id is none"))
}

/// No number is counted up to this.
pub(super) const MOST_COUNTED: i64 = 1 << 62;
/// Where counting goes on after a damaged number: above all earlier numbers, because none of them may come again.
pub(super) const ANEW: i64 = 1 << 61;

pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    match u64::try_from(number) {
        Ok(counted) if number <= MOST_COUNTED => Ok(counted),
        _ => Err(failure::corrupt("a number is negative, or too large")),
    }
}

fn standing(name: &str) -> Result<Standing, StoreError> {
    Ok(match name {
        "unauthenticated" => Standing::Unauthenticated,
        "authenticated" => Standing::Authenticated,
        "opt_in_invalidated" => Standing::ReauthRequired(RecordedCause::OptInInvalidated),
        "rotation_lost" => Standing::ReauthRequired(RecordedCause::RotationLost),
        _ => return Err(failure::corrupt("a standing is unknown")),
    })
}

fn kind(name: &str) -> Result<EventKind, StoreError> {
    let kind = EventKind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| failure::corrupt("a kind of event is unknown; was it written by a later release?"))
}

/// A number for a column. None of them gets near the end.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As many rows as were asked for.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The end of time, as far as the database's arithmetic goes: no lifetime from outside is longer.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 86_400);

pub(super) fn seconds(duration: Duration) -> f64 {
    duration.min(LONGEST).as_secs_f64()
}

pub(super) fn uuid_of_attempt(attempt: AttemptId) -> Uuid {
    Uuid::from_u128(attempt.to_bits())
}

pub(super) fn uuid_of_consent(consent: ConsentId) -> Uuid {
    Uuid::from_u128(consent.to_bits())
}
