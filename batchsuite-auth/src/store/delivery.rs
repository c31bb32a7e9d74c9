//! Deliveries: durable cursors into the event log.

use std::time::Duration;

use uuid::Uuid;

use super::LONGEST_DELIVERY_LEASE;

/// A process's claim on a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The consumer that owns the cursor, such as `billing-mails`.
    pub consumer: String,
    /// The process that holds the delivery, or wants to.
    pub holder: Uuid,
}

/// What happens to the lease when the cursor has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// It is renewed for this long.
    Renew(Duration),
    /// It ends: another process may take the delivery.
    End,
}

impl DeliveryEnd {
    /// How long the lease continues, at most [`LONGEST_DELIVERY_LEASE`].
    pub fn lease(self) -> Duration {
        match self {
            Self::Renew(lease) => lease.min(LONGEST_DELIVERY_LEASE),
            Self::End => Duration::ZERO,
        }
    }
}
