//! The verbs of the keeper, and the list for people.

use std::error::Error;

use batchsuite_auth::{
    CompanyId, Environment,
    status::CompanyStatus,
    store::{DueQuery, GrantKey, ListQuery, Page, Snapshot, StatusFilter, StoreError, WarnExpiring},
};

use super::{
    PostgresStore, failure,
    row::{self, Columns, limit, seconds},
};

/// How many companies one statement marks as used, so that none takes long.
const USED_AT_ONCE: usize = 5000;
/// How many companies one statement hands out at most. (`sql/due.sql` says why.)
const DUE_AT_ONCE: usize = 1000;

impl PostgresStore {
    pub(super) async fn reserve_due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        let rows = self
            .0
            .database
            .rows(
                &self.0.statements.due,
                &[
                    &query.environment.name(),
                    &query.client_id,
                    &seconds(query.used_within),
                    &seconds(query.keep_alive),
                    &seconds(query.reserve_for),
                    &limit(query.limit.min(DUE_AT_ONCE)),
                ],
            )
            .await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let key = GrantKey { environment: query.environment, company: Columns::of(row).company()? };
            match row::snapshot(row, &key, Some(&self.0.vault)) {
                Ok(snapshot) => due.push(snapshot),
                // One damaged row, or a key that this process does not have, must not keep the others from their refresh.
                Err(error) => {
                    let (company, cause) = (&key.company, error.source().map(tracing::field::display));
                    tracing::error!(%company, %error, cause, "a grant that is due cannot be read; it is not refreshed");
                }
            }
        }
        Ok(due)
    }

    pub(super) async fn use_of(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        for companies in companies.chunks(USED_AT_ONCE) {
            let companies: Vec<&str> = companies.iter().map(CompanyId::as_str).collect();
            self.0.database.rows(&self.0.statements.record_use, &[&environment.name(), &companies]).await?;
        }
        Ok(())
    }

    pub(super) async fn raise_warnings(&self, query: WarnExpiring) -> Result<u64, StoreError> {
        let windows: Vec<f64> = query.windows.iter().copied().map(seconds).collect();
        let row = self
            .0
            .database
            .one(
                &self.0.statements.warn_expiring,
                &[&query.environment.name(), &query.client_id, &windows, &limit(query.limit)],
            )
            .await?;
        Columns::of(&row).number()
    }

    pub(super) async fn list_companies(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        let filter = query.filter.map(filter_name).transpose()?;
        // One more than asked for tells whether there are more.
        let rows = self
            .0
            .database
            .rows(
                &self.0.statements.list,
                &[
                    &query.environment.name(),
                    &query.client_id,
                    &filter,
                    &query.after.as_ref().map(CompanyId::as_str),
                    &limit(query.limit.saturating_add(1)),
                ],
            )
            .await?;
        let status = |row| {
            let key = GrantKey { environment: query.environment, company: Columns::of(row).company()? };
            let snapshot = row::snapshot(row, &key, None)?;
            Ok(snapshot.status(&query.client_id, query.warning_window))
        };
        let items = rows.iter().take(query.limit).map(status).collect::<Result<Vec<_>, StoreError>>()?;
        let more = rows.len() > query.limit;
        let next = items.last().filter(|_| more).map(|status| status.company.clone());
        Ok(Page { items, next })
    }
}

fn filter_name(filter: StatusFilter) -> Result<&'static str, StoreError> {
    match filter {
        StatusFilter::Unauthenticated => Ok("unauthenticated"),
        StatusFilter::Authenticated => Ok("authenticated"),
        StatusFilter::ReauthRequired => Ok("reauth_required"),
        _ => Err(failure::misconfigured("this store does not know the filter; use releases that fit each other")),
    }
}
