//! Clauses of [`Store::load`](crate::store::Store::load).

use super::case::*;
use crate::{
    events::EventId,
    machine::{OptIn, Phase},
};

pub(super) async fn a_company_that_was_never_seen_is_empty(case: Case) {
    let grant = case.load(&acme()).await;

    assert_eq!((grant.key, grant.opt_in, grant.change), (acme(), OptIn::default(), EventId::START));
    assert!(grant.tokens.is_none() && grant.client_id.is_none() && grant.actor.is_none() && grant.cause.is_none());
    assert!(grant.authenticated_at.is_none() && grant.retry_at.is_none() && grant.consent_pending_until.is_none());
    assert_eq!(grant.failures, 0);
}

pub(super) async fn shows_every_write_that_returned_before(case: Case) {
    let grant = case.authenticated(&acme()).await;
    assert_unchanged(&grant, &case.load(&acme()).await);

    let attempt = case.claimed(&grant).await;
    assert!(matches!(case.load(&acme()).await.opt_in.phase, Phase::Sent { attempt: holder, .. } if holder == attempt));

    let rotated = committed(case.commit(commit(&grant, attempt, pair("2"))).await);
    assert_unchanged(&rotated, &case.load(&acme()).await);

    let removed = case.remove(&acme()).await;
    assert_unchanged(&removed, &case.load(&acme()).await);
}

pub(super) async fn tells_the_time_of_the_reading(case: Case) {
    let before = case.load(&acme()).await.as_of;

    case.advance(HOUR).await;

    assert_about(case.load(&acme()).await.as_of, before + HOUR);
}
