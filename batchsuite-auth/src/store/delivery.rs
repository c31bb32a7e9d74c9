//! Deliveries: durable cursors into the event log.

use std::time::Duration;

use uuid::Uuid;

use super::LONGEST_DELIVERY_LEASE;

/// One process's part in a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose cursor, e.g. `billing-mails`.
    pub consumer: String,
    /// The process that holds it, or wants to.
    pub holder: Uuid,
}

/// What becomes of the lease when a cursor has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// It is renewed, for so long.
    Renew(Duration),
    /// It ends: another process may take the delivery.
    End,
}

impl DeliveryEnd {
    /// For how long the lease goes on: [`LONGEST_DELIVERY_LEASE`] at most.
    pub fn lease(self) -> Duration {
        match self {
            Self::Renew(lease) => lease.min(LONGEST_DELIVERY_LEASE),
            Self::End => Duration::ZERO,
        }
    }
}
