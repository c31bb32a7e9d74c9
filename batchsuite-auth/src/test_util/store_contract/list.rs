//! Clauses of [`Store::list`](crate::store::Store::list).

use super::case::*;
use crate::{
    machine::CauseKind,
    status::{CompanyStatus, Status},
    store::{Claimed, ListQuery, NewPair, Page, StatusFilter},
};

fn names(page: &Page<CompanyStatus, crate::ids::CompanyId>) -> Vec<&str> {
    page.items.iter().map(|status| status.company.as_str()).collect()
}

pub(super) async fn goes_by_id_from_page_to_page(case: Case) {
    for name in ["d", "b", "e", "a", "c"] {
        case.authenticated(&company(name)).await;
    }

    let mut query = ListQuery { limit: 2, ..list() };
    let mut seen = Vec::new();
    loop {
        let page = done(case.store.list(query.clone()).await);
        seen.push(names(&page).join(""));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }

    assert_eq!(seen, ["ab", "cd", "e"]);
}

pub(super) async fn there_is_a_next_page_if_and_only_if_there_is_more(case: Case) {
    for name in ["a", "b"] {
        case.authenticated(&company(name)).await;
    }

    for (limit, next) in [(1, Some(company("a").company)), (2, None), (3, None)] {
        let page = done(case.store.list(ListQuery { limit, ..list() }).await);
        assert_eq!(page.next, next, "limit {limit}");
    }
}

pub(super) async fn the_next_page_counts_only_what_the_filter_accepts(case: Case) {
    case.authenticated(&company("a")).await;
    case.begin(&consent(&company("b"), &actor("alice"))).await;
    let query = ListQuery { limit: 1, filter: Some(StatusFilter::Authenticated), ..list() };

    let page = done(case.store.list(query).await);

    assert_eq!((names(&page), &page.next), (vec!["a"], &None));
}

pub(super) async fn an_empty_store_lists_nothing(case: Case) {
    assert_eq!(done(case.store.list(list()).await), Page { items: Vec::new(), next: None });
}

pub(super) async fn only_companies_that_were_seen_are_listed(case: Case) {
    case.begin(&consent(&company("began"), &actor("alice"))).await;
    case.authenticated(&company("connected")).await;
    case.load(&company("asked")).await;
    assert_eq!(case.claim(claim(&case.load(&company("claimed")).await)).await, Claimed::Lost);

    assert_eq!(names(&done(case.store.list(list()).await)), ["began", "connected"]);
}

pub(super) async fn a_removed_company_stays_listed(case: Case) {
    case.authenticated(&acme()).await;
    case.remove(&acme()).await;

    let page = done(case.store.list(list()).await);

    assert_eq!((names(&page), &page.items[0].status), (vec!["acme"], &Status::Unauthenticated));
}

pub(super) async fn shows_what_the_grant_shows(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.begin(&consent(&acme(), &actor("bob"))).await;

    let page = done(case.store.list(list()).await);

    let [status] = &page.items[..] else { panic!("not one company: {page:?}") };
    assert_eq!(*status, case.load(&acme()).await.status(CLIENT, list().warning_window));
    assert_eq!((&status.actor, status.revision), (&Some(actor("alice")), grant.opt_in.revision));
    assert!(status.consent_pending_until.is_some());
    assert!(matches!(status.status, Status::Authenticated { refreshable: true, expiring_soon: false, .. }));
}

pub(super) async fn tells_what_expires_soon(case: Case) {
    let short = NewPair { refresh_lifetime: Some(10 * DAY), ..pair("1") };
    case.authenticated_with(&acme(), short).await;

    for (warning_window, expected) in [(9 * DAY, false), (11 * DAY, true)] {
        let page = done(case.store.list(ListQuery { warning_window, ..list() }).await);
        assert!(
            matches!(page.items[0].status, Status::Authenticated { expiring_soon, .. } if expiring_soon == expected)
        );
    }
}

pub(super) async fn a_filter_goes_by_what_is_recorded(case: Case) {
    case.authenticated(&company("authenticated")).await;
    case.begin(&consent(&company("began"), &actor("alice"))).await;
    case.invalidated(&company("invalidated")).await;
    case.rotation_lost(&company("lost")).await;
    case.authenticated(&company("removed")).await;
    case.remove(&company("removed")).await;

    for (filter, expected) in [
        (None, vec!["authenticated", "began", "invalidated", "lost", "removed"]),
        (Some(StatusFilter::Unauthenticated), vec!["began", "removed"]),
        (Some(StatusFilter::Authenticated), vec!["authenticated"]),
        (Some(StatusFilter::ReauthRequired), vec!["invalidated", "lost"]),
    ] {
        let page = done(case.store.list(ListQuery { filter, ..list() }).await);
        assert_eq!(names(&page), expected, "{filter:?}");
    }
}

pub(super) async fn a_filter_goes_by_what_is_derived(case: Case) {
    case.authenticated_with(&company("ended"), NewPair { refresh_lifetime: Some(HOUR), ..pair("1") }).await;
    let lone = NewPair { refresh_token: None, refresh_lifetime: None, ..pair("1") };
    case.authenticated_with(&company("lone"), lone).await;
    case.authenticated(&company("well")).await;
    case.advance(ACCESS_LIFETIME).await;
    let reauth = |client_id: &str| ListQuery {
        client_id: client_id.to_owned(),
        filter: Some(StatusFilter::ReauthRequired),
        ..list()
    };

    let page = done(case.store.list(reauth(CLIENT)).await);
    assert_eq!(names(&page), ["ended", "lone"]);
    let kinds = page.items.iter().map(|company| match &company.status {
        Status::ReauthRequired(cause) => Some(cause.kind),
        _ => None,
    });
    assert!(kinds.eq([Some(CauseKind::RefreshExpired), Some(CauseKind::NoRefreshToken)]));
    assert_eq!(names(&done(case.store.list(reauth("another-client")).await)), ["ended", "lone", "well"]);
    let authenticated = ListQuery { filter: Some(StatusFilter::Authenticated), ..list() };
    assert_eq!(names(&done(case.store.list(authenticated).await)), ["well"]);
}

pub(super) async fn environments_are_apart(case: Case) {
    case.authenticated(&acme()).await;

    let page = done(case.store.list(ListQuery { environment: elsewhere(&acme()).environment, ..list() }).await);

    assert!(page.items.is_empty());
}
