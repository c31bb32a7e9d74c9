//! Durable cursors into the log of one environment.

use std::collections::BTreeMap;

use batchsuite_auth::{
    clock::{Timestamp, later},
    events::EventId,
    store2::{Delivery, DeliveryEnd},
};
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Deliveries(BTreeMap<String, Cursor>);

struct Cursor {
    at: EventId,
    lease: Option<Lease>,
}

struct Lease {
    holder: Uuid,
    ends_at: Timestamp,
}

impl Deliveries {
    /// Leases the cursor of a consumer until `ends_at`, unless another holder has it. A new consumer's is `newest`.
    pub(super) fn take(
        &mut self,
        delivery: &Delivery,
        ends_at: Timestamp,
        newest: EventId,
        now: Timestamp,
    ) -> Option<EventId> {
        let cursor = self.0.entry(delivery.consumer.clone()).or_insert(Cursor { at: newest, lease: None });
        if cursor.holder(now).is_some_and(|holder| holder != delivery.holder) {
            return None;
        }
        cursor.lease = Some(Lease { holder: delivery.holder, ends_at });
        Some(cursor.at)
    }

    /// Moves the cursor of a consumer, if this holder has it; whether it has.
    pub(super) fn advance(&mut self, delivery: &Delivery, to: EventId, then: DeliveryEnd, now: Timestamp) -> bool {
        let held = |cursor: &&mut Cursor| cursor.holder(now) == Some(delivery.holder);
        let Some(cursor) = self.0.get_mut(&delivery.consumer).filter(held) else { return false };
        cursor.at = cursor.at.max(to);
        cursor.lease = match then {
            DeliveryEnd::Renew(lease) => Some(Lease { holder: delivery.holder, ends_at: later(now, lease) }),
            DeliveryEnd::End => None,
        };
        true
    }

    /// The event up to which every consumer has read.
    pub(super) fn passed(&self) -> Option<EventId> {
        self.0.values().map(|cursor| cursor.at).min()
    }
}

impl Cursor {
    fn holder(&self, now: Timestamp) -> Option<Uuid> {
        self.lease.as_ref().filter(|lease| lease.ends_at > now).map(|lease| lease.holder)
    }
}
