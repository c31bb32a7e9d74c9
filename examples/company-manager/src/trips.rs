//! Which trip to UPS.com is for which company, so that the right to authenticate it is judged again *before* anything is sent to UPS.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use batchsuite_auth::{CompanyId, Trip, clock::Timestamp, secret::SecretHash};
use url::{Url, form_urlencoded};

const MOST_TRIPS: usize = 10_000;

/// Remembers trips by the hash of their state, until they expire; bounded.
#[derive(Default)]
pub(crate) struct Trips(Mutex<HashMap<SecretHash, (CompanyId, Timestamp)>>);

impl Trips {
    pub(crate) fn begin(&self, trip: &Trip, company: CompanyId, now: Timestamp) {
        let Some(state) = state_of_url(&trip.url) else { return };
        let mut trips = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if trips.len() >= MOST_TRIPS {
            trips.retain(|_, (_, expires_at)| *expires_at > now);
        }
        if trips.len() >= MOST_TRIPS {
            let oldest = trips.iter().min_by_key(|(_, (_, expires_at))| *expires_at).map(|(state, _)| *state);
            oldest.map(|state| trips.remove(&state));
        }
        trips.insert(state, (company, trip.expires_at));
    }

    /// The company that the callback with this query is about, if it is remembered.
    pub(crate) fn company(&self, query: &str) -> Option<CompanyId> {
        let state = state_of_query(query)?;
        let trips = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trips.get(&state).map(|(company, _)| company.clone())
    }
}

fn state_of_url(url: &Url) -> Option<SecretHash> {
    state_of_query(url.query()?)
}

fn state_of_query(query: &str) -> Option<SecretHash> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").map(|(_, state)| SecretHash::of(&state))
}

impl fmt::Debug for Trips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trips").finish_non_exhaustive()
    }
}
