//! Deliver.

use std::sync::Arc;

use super::BatchSuiteAuth;
use crate::{
    deliveries::{self, DeliveryHandle, EventHandler},
    ids::{CompanyId, InvalidId},
};

impl BatchSuiteAuth {
    /// Gives every event of all processes to `handler`: at least once, in order, in one process at a time, from a
    /// cursor that the store keeps under the name `consumer`. Call it in each process at its start;
    /// [`deliveries`] says what happens when.
    ///
    /// A new consumer begins with the events that are written once it has a cursor: see [`DeliveryHandle::begun`]. A
    /// handler that fails is given the same event again, after a pause of 1 s to 5 minutes, and delays nothing but its
    /// own delivery. After a crash, another process takes over within one and a half of
    /// [`Policy::lease`](crate::Policy::lease); after [`quiesce`](Self::quiesce), which gives the lease back, within half
    /// of it, and sooner if something happens. [`shutdown`](Self::shutdown) waits for the event in progress.
    ///
    /// A handler that owns a [`BatchSuiteAuth`] keeps it alive until the delivery ends.
    ///
    /// ```
    /// # use batchsuite_auth::{ActorId, CompanyId, Event, fake_ups::FakeUps};
    /// # use batchsuite_store::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ups = FakeUps::start().await;
    /// # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    /// # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("ada")?);
    /// let (told, mut events) = tokio::sync::mpsc::unbounded_channel();
    /// let delivery = auth.deliver("billing-mails", move |event: Event| {
    ///     let told = told.clone();
    ///     async move { Ok(told.send(event)?) }
    /// })?;
    /// # delivery.begun().await;
    /// auth.authenticate(&company, &actor).await?;
    ///
    /// let event = events.recv().await.expect("the delivery lives");
    /// assert_eq!(event.company, Some(company));
    /// auth.shutdown().await; // ends the delivery; `delivery.stop()` ends it alone
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidId`] if the name is empty, longer than 128 bytes, or contains a control character.
    pub fn deliver(&self, consumer: &str, handler: impl EventHandler) -> Result<DeliveryHandle, InvalidId> {
        // The same rule as for the host's other names.
        CompanyId::new(consumer)?;
        Ok(deliveries::begin(&self.engine, consumer, Arc::new(handler)))
    }
}
