//! Values that cannot be read and are skipped.

use std::fmt::Display;

use batchsuite_auth::{
    Event,
    error::chain,
    events::EventId,
    store::{EventPage, EventQuery, StoreError},
};

/// How many skipped items a log record names.
const NAMED: usize = 10;

/// A page of the events that were found, readable or not.
pub(crate) fn event_page(found: Vec<(EventId, Result<Event, StoreError>)>, query: &EventQuery) -> EventPage {
    let next = found.last().map(|(id, _)| *id).or(query.after);
    let unreadable = found.iter().filter(|(_, event)| event.is_err()).map(|(id, _)| *id).collect();
    let found = found.into_iter().map(|(id, event)| (id.number(), event));
    EventPage { items: readable("event", found), unreadable, next }
}

/// The readable items. Unreadable ones are skipped, so that the others are still handled. The log names the first ones
/// and counts the rest, because it may be every company.
pub(crate) fn readable<T>(
    what: &'static str,
    items: impl IntoIterator<Item = (impl Display, Result<T, StoreError>)>,
) -> Vec<T> {
    let mut left_out = 0;
    let mut read = Vec::new();
    for (name, item) in items {
        match item {
            Ok(item) => read.push(item),
            Err(error) => {
                left_out += 1;
                if left_out <= NAMED {
                    tracing::error!(what, %name, error = %chain(&error), "an item cannot be read and is skipped");
                }
                #[cfg(feature = "metrics")]
                metrics::counter!("batchsuite_unreadable_total", "what" => what).increment(1);
            }
        }
    }
    if left_out > NAMED {
        tracing::error!(what, items = left_out - NAMED, "this many more cannot be read and are skipped");
    }
    read
}
