//! The effect of [`Store::save`] on the tokens.

use super::case::*;

async fn replaced(case: &Case, row: &Row, tokens: Tokens) -> Row {
    case.saved(Swap { tokens: TokenChange::Replace(tokens), ..replacing(row) }).await
}

pub(super) async fn replaces_both(case: Case) {
    let first = case.opted_in(&acme()).await;

    let second = replaced(&case, &first, pair("new")).await;

    assert_eq!(secrets(&second), Some(secrets_of(&pair("new"))));
}

pub(super) async fn replacing_erases_the_one_that_is_missing(case: Case) {
    let mut row = case.opted_in(&acme()).await;
    for round in 0..2 {
        let access_alone = Tokens { refresh: None, ..pair(round) };
        row = replaced(&case, &row, access_alone.clone()).await;
        assert_eq!(secrets(&row), Some(secrets_of(&access_alone)));

        let refresh_alone = Tokens { access: None, ..pair(round) };
        row = replaced(&case, &row, refresh_alone.clone()).await;
        assert_eq!(secrets(&row), Some(secrets_of(&refresh_alone)));
    }
}

pub(super) async fn replacing_by_none_leaves_none(case: Case) {
    let row = case.opted_in(&acme()).await;

    let row = replaced(&case, &row, Tokens::default()).await;

    assert_eq!(secrets(&row), None);
}

pub(super) async fn keeps_them(case: Case) {
    let whole = case.opted_in(&acme()).await;
    let half = replaced(&case, &case.load(&company("half")).await, Tokens { access: None, ..pair("half") }).await;
    let none = case.load(&company("none")).await;

    for before in [whole, half, none] {
        let kept = case.saved(Swap { document: Document::new(r#"{"step": 2}"#), ..swap(&before) }).await;
        assert_eq!(secrets(&kept), secrets(&before));
    }
}

pub(super) async fn erases_both_and_those_of_no_other_row(case: Case) {
    let others = case.others_than_acme().await;
    let row = case.opted_in(&acme()).await;
    let revision = Revision { epoch: 2, version: 0 };

    let erased = case.saved(Swap { tokens: TokenChange::Erase, revision, ..swap(&row) }).await;

    assert_eq!((secrets(&erased), erased.revision), (None, revision));
    case.unchanged(others).await;
}

pub(super) async fn a_token_of_16_kib_is_stored_whole(case: Case) {
    let long = |name: &str| format!("{name}{}", "0123456789abcdef".repeat(1024));
    let tokens =
        Tokens { access: Some(AccessTokenSecret::new(long("a"))), refresh: Some(RefreshToken::new(long("r"))) };

    let row = replaced(&case, &case.load(&acme()).await, tokens.clone()).await;

    assert!(secrets(&row) == Some(secrets_of(&tokens)), "a long token came back changed");
}
