//! No `Debug` output of a store's values shows a secret.

use std::fmt::Debug;

use super::case::*;

#[track_caller]
fn assert_hides(shown: impl Debug) {
    for shown in [format!("{shown:?}"), format!("{shown:#?}")] {
        assert!(!shown.contains(CANARY), "a secret is shown in {shown}");
    }
}

/// An overdue row with tokens, and a pending consent of its company.
async fn filled(case: &Case) -> NewConsent {
    let row = case.opted_in(&acme()).await;
    let row = case.waking(&acme(), earlier(row.as_of, HOUR)).await;
    assert!(secrets(&row).is_some_and(|(access, _)| access.is_some_and(|access| access.contains(CANARY))));
    let put = consent(&acme(), &actor("alice"));
    case.put(&put).await;
    put
}

pub(super) async fn neither_the_store_nor_what_it_hands_out_shows_one(case: Case) {
    let put = filled(&case).await;

    assert_hides(&case.store);
    let row = case.load(&acme()).await;
    assert_hides(&row);
    assert_hides(case.find(&put).await.expect("the consent is there"));
    assert_hides(case.listed(list()).await);
    let woken = case.woken().await;
    assert_eq!(woken.len(), 1);
    assert_hides(woken);
    assert_hides(case.save(replacing(&row)).await);
    assert_hides(case.use_up(&put).await.expect("the consent is used"));
    assert_hides(case.log(Environment::Cie).await);
    assert_hides(case.changes(EventId::START, Duration::ZERO).await);
}
