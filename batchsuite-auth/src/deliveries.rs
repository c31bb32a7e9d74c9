//! Deliveries: a named consumer is told of every event, at least once, in order, by one process at a time.
//!
//! [`BatchSuiteAuth::deliver`](crate::BatchSuiteAuth::deliver) begins one in each process. The store keeps a cursor for
//! each consumer, under a lease: the process that holds the lease reads the events of all processes after the cursor,
//! gives each to the consumer's [`EventHandler`], and moves the cursor once the handler has succeeded. The others wait
//! until the lease ends.
//!
//! | what happens | what the consumer sees |
//! |---|---|
//! | the process ends after the handler and before the cursor moves | the same event again, in another process |
//! | the handler fails or panics | the same event again, after a pause; no later event before it |
//! | the handler takes longer than the lease | nothing: the lease is renewed while the handler works |
//! | the process is stopped past its lease | the event again, in another process, perhaps at the same time |
//! | the store is away | nothing; deliveries continue afterwards |
//! | events were pruned that the consumer has not seen | [`EventHandler::missed`], with the numbers of those events |
//! | events cannot be read: they are damaged, or of a kind that a later release has added | the same |
//!
//! A handler therefore recognizes repetitions where they matter, by [`Event::stable_id`](crate::Event::stable_id).
//!
//! Each delivery runs in a task of its own: a slow or failing handler delays neither a refresh nor another consumer.

mod handle;
mod handler;
mod lease;
mod run;
mod trouble;

pub(crate) use self::run::begin;
pub use self::{
    handle::{DeliveryEnded, DeliveryHandle, DeliveryHealth},
    handler::{EventHandler, Gap, HandlerError},
};
