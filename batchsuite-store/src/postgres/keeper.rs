//! The verbs of the keeper, and the list for people.

use batchsuite_auth::{
    CompanyId, Environment,
    status::CompanyStatus,
    store::{DueQuery, GrantKey, ListQuery, Page, Snapshot, StatusFilter, StoreError, WarnExpiring},
};

use tokio_postgres::Row;

use super::{
    PostgresStore, failure,
    row::{self, Columns, LeftOut, limit, seconds},
};

/// How many companies one statement marks as used, so that none takes long.
const USED_AT_ONCE: usize = 5000;
/// How many companies one statement hands out at most. (`sql/due.sql` says why.)
const DUE_AT_ONCE: usize = 1000;
/// How many statements one call sends at most to find, behind those that cannot be read, some that can.
const DUE_PIECES: usize = 100;

impl PostgresStore {
    pub(super) async fn reserve_due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        self.0.compare_keys().await?;
        let most = query.limit.min(DUE_AT_ONCE);
        let (mut due, mut left_out) = (Vec::new(), LeftOut::of("grant that is due"));
        for _ in 0..DUE_PIECES {
            let wanted = most - due.len();
            let found = self.reserve(&query, wanted, &mut due, &mut left_out).await?;
            // Rows that cannot be read do not count: behind them, others may be waiting.
            if found < wanted || due.len() >= most {
                break;
            }
        }
        Ok(due)
    }

    /// Reserves at most so many, and adds those that can be read; how many were reserved.
    async fn reserve(
        &self,
        query: &DueQuery,
        most: usize,
        due: &mut Vec<Snapshot>,
        left_out: &mut LeftOut,
    ) -> Result<usize, StoreError> {
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
                    &limit(most),
                ],
            )
            .await?;
        for row in &rows {
            let read = Columns::of(row).company().and_then(|company| {
                let key = GrantKey { environment: query.environment, company };
                row::snapshot(row, &key, Some(&self.0.vault))
            });
            // One damaged row, or a key that this process does not have, must not keep the others from their refresh.
            match read {
                Ok(snapshot) => match &snapshot.unreadable {
                    None => due.push(snapshot),
                    Some(unreadable) => left_out.add_row(row, &unreadable.reason),
                },
                Err(error) => left_out.add_row(row, &error),
            }
        }
        Ok(rows.len())
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
        let status = |row: &Row| {
            let key = GrantKey { environment: query.environment, company: Columns::of(row).company()? };
            let snapshot = row::snapshot(row, &key, None)?;
            Ok(snapshot.status(&query.client_id, query.warning_window))
        };
        let more = rows.len() > query.limit;
        let (mut items, mut next) = (Vec::with_capacity(rows.len()), None);
        let mut left_out = LeftOut::of("company");
        for row in rows.iter().take(query.limit) {
            match status(row) {
                Ok(status) => items.push(status),
                Err(error) => left_out.add_row(row, &error),
            }
            // Also behind a row that cannot be read.
            next = Columns::of(row).company().ok().or(next);
        }
        Ok(Page { items, next: next.filter(|_| more) })
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
