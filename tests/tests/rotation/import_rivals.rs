//! Imports beside another opt-in: which of the two stays.

use batchsuite_auth::{
    Imported,
    error::ImportError,
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    test_util::machine::Standing,
};
use batchsuite_tests::{DAY, acme, seconds};

use crate::{
    import::{bare, dated, import, imported, whole},
    stage::Stage,
};

impl Stage {
    /// UPS refuses acme's refresh token again and again, until a keeper erases it.
    async fn is_refused_for_good(&self) {
        while self.tokens_of(&acme()).await.is_some() {
            self.ups.clock().advance(DAY);
            self.live(seconds(30)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_never_replaces_an_authenticated_opt_in_unless_ups_issued_it_later() {
    let stage = Stage::new().await;
    let process = stage.process();
    let earlier = stage.elsewhere();
    stage.ups.clock().advance(seconds(60));
    stage.opt_in(&process, &acme()).await;
    let same = stage.elsewhere();
    let token = process.token(&acme()).await;
    let before = stage.row(&acme()).await;

    for tokens in [whole(&earlier), dated(&same), bare(&same)] {
        let refused = import(&process, &acme(), tokens).await;
        assert!(matches!(refused, Err(ImportError::NewerOptIn)), "{refused:?}");
    }
    assert_eq!(stage.row(&acme()).await.number, before.number, "nothing is written");
    assert_eq!(process.token(&acme()).await.revision(), token.revision());

    stage.ups.clock().advance(seconds(60));
    let later = stage.elsewhere();
    imported(&process, &acme(), whole(&later)).await;
    assert_eq!(process.token(&acme()).await.expose_secret(), later.access_token.expose_secret());
    assert_eq!(stage.grant_of(&acme()).await.revision.epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn an_import_never_replaces_an_opt_in_that_has_rotated_here_since_its_tokens_were_issued() {
    for is_import in [true, false] {
        let stage = Stage::new().await;
        let process = stage.process();
        let older = stage.spent();
        stage.ups.clock().advance(DAY);
        match is_import {
            true => imported(&process, &acme(), bare(&stage.elsewhere())).await,
            false => stage.opt_in(&process, &acme()).await,
        }
        let between = stage.spent();
        stage.ups.clock().advance(DAY);
        process.token(&acme()).await;
        let before = stage.row(&acme()).await;

        for tokens in [dated(&older), dated(&between)] {
            let refused = import(&process, &acme(), tokens).await;
            assert!(matches!(refused, Err(ImportError::NewerOptIn)), "{refused:?}");
        }

        assert_eq!(stage.row(&acme()).await.number, before.number, "nothing is written");
        stage.access_tokens_end();
        process.token(&acme()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_import_over_an_opt_in_that_ups_has_refused_waits_for_the_second_opinions() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder);
    let older = stage.elsewhere();
    stage.ups.clock().advance(seconds(600));
    stage.opt_in(&process, &acme()).await;
    let issued_at = stage.grant_of(&acme()).await.issued_at.unwrap();
    stage.ups.change_password(FakeUps::USER);
    stage.access_tokens_end();
    process.auth.access_token(&acme()).await.unwrap_err();

    for tokens in [dated(&older), bare(&older)] {
        let refused = import(&process, &acme(), tokens).await;
        assert!(matches!(refused, Err(ImportError::NewerOptIn)), "{refused:?}");
    }

    stage.is_refused_for_good().await;
    imported(&process, &acme(), dated(&older)).await;

    let grant = stage.grant_of(&acme()).await;
    assert_eq!((grant.standing, grant.issued_at), (Standing::Authenticated, Some(issued_at)));
    assert!(issued_at > older.issued_at);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_were_imported_before_a_later_opt_in_are_not_stored_again() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder);
    let kept = stage.elsewhere();
    imported(&process, &acme(), bare(&kept)).await;
    process.token(&acme()).await;
    stage.ups.clock().advance(DAY);
    stage.opt_in(&process, &acme()).await;
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    stage.access_tokens_end();
    process.auth.access_token(&acme()).await.unwrap_err();

    for tokens in [bare(&kept), dated(&kept)] {
        let refused = import(&process, &acme(), tokens).await;
        assert!(matches!(refused, Err(ImportError::NewerOptIn)), "{refused:?}");
    }
    stage.ups.change_password(FakeUps::USER);
    stage.is_refused_for_good().await;

    assert_eq!(import(&process, &acme(), dated(&kept)).await.unwrap(), Imported::AlreadyStored);
    assert!(matches!(stage.grant_of(&acme()).await.standing, Standing::ReauthRequired(_)));
}
