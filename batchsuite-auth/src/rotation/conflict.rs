//! Conflicts: a step was not saved, because the row is another by now, or because the decision was too old.

use std::time::Duration;

use tokio::time::sleep;

use super::{ReadRow, Rotation};
use crate::{machine::Backoff, random::random, store::StoreError};

/// Before the row is read again, with a rest that grows: the others need time, too.
const REST: Backoff = Backoff { first: Duration::from_millis(5), most: Duration::from_secs(1) };

/// The conflicts of one step.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    met: u32,
}

impl Conflicts {
    /// How many there were.
    pub(super) fn met(&self) -> u32 {
        self.met
    }

    /// The row as it is now, after a rest. A row that nobody has saved since says that the decision came too late.
    pub(super) async fn read_again(&mut self, rotation: &Rotation, before: &ReadRow) -> Result<ReadRow, StoreError> {
        self.met += 1;
        sleep(REST.after(self.met, random())).await;
        let company = &before.snapshot.company;
        let row = rotation.read(company).await?;
        if row.snapshot.number == before.snapshot.number {
            tracing::warn!(%company, tries = self.met, "a decision came to the store too late to be saved; the row is read again");
        }
        Ok(row)
    }
}
