//! What an operator asks for.

use std::time::Duration;

use batchsuite_auth::{
    Environment,
    clock::Timestamp,
    ids::Revision,
    store::{GrantKey, StoreError},
};

use super::{
    PostgresStore,
    database::Parameter,
    row::{Columns, LeftOut, limit, seconds, unsigned},
};

/// How many events one statement deletes.
const PRUNED_AT_ONCE: i64 = 5000;

/// How the companies of an environment stand, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// Companies without an opt-in.
    pub unauthenticated: u64,
    /// Companies with one, those whose refresh token has ended included.
    pub authenticated: u64,
    /// Authenticated ones whose refresh token has ended.
    pub refresh_expired: u64,
    /// Companies whose opt-in UPS ended.
    pub opt_in_invalidated: u64,
    /// Companies whose rotation was lost.
    pub rotation_lost: u64,
    /// Authenticated ones of which some request may have reached UPS without an answer that reached us.
    pub unanswered: u64,
    /// Flights under way, or that may be.
    pub leases: u64,
    /// Since when the used company that waits longest has wanted a refresh; `None`: none waits.
    pub oldest_due: Option<Timestamp>,
    /// Persons who are at UPS.com.
    pub consents_pending: u64,
    /// The database's time of the reading.
    pub as_of: Timestamp,
}

#[cfg(feature = "metrics")]
impl Overview {
    /// Sets gauges of the [`metrics`] facade, labelled with `environment`: `batchsuite_companies` by `standing`,
    /// `batchsuite_unanswered`, `batchsuite_leases`, `batchsuite_consents_pending`, and `batchsuite_oldest_due_seconds` (0 if
    /// nobody waits). To be called now and then, in one process.
    pub fn record_metrics(&self, environment: Environment) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let float = |number: u64| number as f64;
        let environment = environment.name();
        for (standing, companies) in [
            ("unauthenticated", self.unauthenticated),
            ("authenticated", self.authenticated.saturating_sub(self.refresh_expired)),
            ("refresh_expired", self.refresh_expired),
            ("opt_in_invalidated", self.opt_in_invalidated),
            ("rotation_lost", self.rotation_lost),
        ] {
            metrics::gauge!("batchsuite_companies", "environment" => environment, "standing" => standing)
                .set(float(companies));
        }
        for (name, value) in [
            ("batchsuite_unanswered", self.unanswered),
            ("batchsuite_leases", self.leases),
            ("batchsuite_consents_pending", self.consents_pending),
        ] {
            metrics::gauge!(name, "environment" => environment).set(float(value));
        }
        let waiting = self.oldest_due.and_then(|since| (self.as_of - since).to_std().ok()).unwrap_or_default();
        metrics::gauge!("batchsuite_oldest_due_seconds", "environment" => environment).set(waiting.as_secs_f64());
    }
}

/// What one step of a re-encryption did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reencrypted {
    /// How many were sealed anew.
    pub grants: u64,
    /// Which cannot be read: a key is missing, or the data is damaged. They stay as they are.
    pub unreadable: Vec<GrantKey>,
    /// Where to go on; `None`: that was all.
    pub next: Option<GrantKey>,
}

impl PostgresStore {
    /// Deletes events that are older than `older_than`; returns how many. The change feed does not need them. A reader of the
    /// log whose cursor lies below a deleted event gets
    /// [`Pruned`](batchsuite_auth::store::StoreErrorKind::Pruned).
    ///
    /// # Errors
    /// [`StoreError`]; some may be deleted.
    ///
    /// # Cancellation
    /// Some may be deleted.
    pub async fn prune_events(&self, older_than: Duration) -> Result<u64, StoreError> {
        let mut pruned = 0;
        loop {
            let parameters: &[Parameter<'_>] = &[&seconds(older_than), &PRUNED_AT_ONCE];
            let row = self.0.database.one(&self.0.statements.prune_events, parameters).await?;
            let piece = Columns::of(&row).number()?;
            pruned += piece;
            if piece < PRUNED_AT_ONCE.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }

    /// How the companies stand: one statement, which reads all of them. A company counts as used for
    /// [`oldest_due`](Overview::oldest_due) if it was within `used_within`.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn overview(&self, environment: Environment, used_within: Duration) -> Result<Overview, StoreError> {
        let parameters: &[Parameter<'_>] = &[&environment.name(), &seconds(used_within)];
        let row = self.0.database.one(&self.0.statements.overview, parameters).await?;
        let mut columns = Columns::of(&row);
        Ok(Overview {
            unauthenticated: columns.number()?,
            authenticated: columns.number()?,
            refresh_expired: columns.number()?,
            opt_in_invalidated: columns.number()?,
            rotation_lost: columns.number()?,
            unanswered: columns.number()?,
            leases: columns.number()?,
            oldest_due: columns.next()?,
            consents_pending: columns.number()?,
            as_of: columns.next()?,
        })
    }

    /// Looks at `grants` companies, those after `after`, and seals anew what is not under the keyring's primary key. To be
    /// called with [`Reencrypted::next`] until that is `None`. It can be broken off at any time and begun again, and hinders
    /// no refresh: what a rotation has meanwhile replaced is left alone.
    ///
    /// The verifier of a pending consent is not sealed anew: it is gone within minutes. The old key must stay that long.
    ///
    /// # Errors
    /// [`StoreError`]; some are done.
    ///
    /// # Cancellation
    /// Some are done.
    pub async fn reencrypt(
        &self,
        environment: Environment,
        after: Option<&GrantKey>,
        grants: usize,
    ) -> Result<Reencrypted, StoreError> {
        let (database, statements) = (&self.0.database, &self.0.statements);
        self.0.ready_to_seal().await?;
        let header = self.0.vault.primary_header()?;
        let company = after.map(|key| key.company.as_str());
        let parameters: &[Parameter<'_>] = &[&environment.name(), &company, &header, &limit(grants)];
        let rows = database.rows(&statements.sealed_otherwise, parameters).await?;
        let mut left_out = LeftOut::of("tokens");
        let mut done = Reencrypted { grants: 0, unreadable: Vec::new(), next: None };
        for row in &rows {
            let mut columns = Columns::of(row);
            let company = match columns.company() {
                Ok(company) => company,
                Err(error) => {
                    left_out.add(&"of a company", &error);
                    continue;
                }
            };
            let key = GrantKey { environment, company };
            done.next = Some(key.clone());
            if !columns.next()? {
                continue;
            }
            let revision = columns.revision();
            let (access, refresh): (Option<&[u8]>, Option<&[u8]>) = (columns.next()?, columns.next()?);
            let refresh_version = columns.next::<Option<i64>>()?;
            let vault = &self.0.vault;
            let anew = || {
                let revision = revision?;
                let version = refresh_version.map(unsigned).transpose()?;
                let of_refresh = Revision { version: version.unwrap_or(revision.version), ..revision };
                let access = access.map(|sealed| {
                    vault.seal_access_token(&key, revision, &vault.open_access_token(&key, revision, sealed)?)
                });
                let refresh = refresh.map(|sealed| {
                    vault.seal_refresh_token(&key, of_refresh, &vault.open_refresh_token(&key, of_refresh, sealed)?)
                });
                Ok::<_, StoreError>((access.transpose()?, refresh.transpose()?))
            };
            match anew() {
                Ok((new_access, new_refresh)) => {
                    let parameters: &[Parameter<'_>] =
                        &[&environment.name(), &key.company.as_str(), &access, &refresh, &new_access, &new_refresh];
                    let written = database.row(&statements.seal_anew, parameters).await?;
                    done.grants += u64::from(written.is_some());
                }
                Err(error) => {
                    left_out.add(&key.company, &error);
                    done.unreadable.push(key);
                }
            }
        }
        if rows.len() < grants {
            done.next = None;
        }
        Ok(done)
    }
}
