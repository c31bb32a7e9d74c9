//! The operator's overview.

use batchsuite_auth::{Environment, store::StoreError};

use super::{PostgresStore, connection::Parameter, row::Columns};
use crate::overview::Overview;

impl PostgresStore {
    /// Counts the companies by status, in one statement over an index.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn overview(&self, environment: Environment) -> Result<Overview, StoreError> {
        let parameters: &[Parameter<'_>] = &[&environment.name()];
        let row = self.0.one(&self.0.statements.overview, parameters).await?;
        let mut columns = Columns::of(&row);
        let all = columns.number()?;
        let (names, counts): (Vec<String>, Vec<i64>) = (columns.next()?, columns.next()?);
        let companies = Overview::counted(all, names.into_iter().zip(counts.into_iter().map(i64::unsigned_abs)));
        let companies_due = columns.number()?;
        // A time out of range counts as none.
        let oldest_wake = columns.next().unwrap_or_default();
        let (consents_pending, as_of) = (columns.number()?, columns.next()?);
        Ok(Overview { companies, companies_due, oldest_wake, consents_pending, as_of })
    }
}
