//! Conflicts: a step was not saved because the row has changed or the decision was too old.

use std::time::Duration;

use tokio::time::sleep;

use super::{ReadRow, Rotation};
use crate::{machine::Backoff, random::random, store::StoreError};

/// The pause before reading again; it grows to give the other writers time.
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

    /// Reads the row again after a pause. If its number is unchanged, the decision was too old.
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
