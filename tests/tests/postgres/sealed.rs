//! Ciphertexts that were moved, damaged, or sealed under another key.

use batchsuite_auth::{
    ids::AttemptId,
    store::{Committed, Connect, DueQuery, NewPair, Store, StoreErrorKind},
};
use batchsuite_store::{
    PostgresStore,
    keyring::{KeySet, Keyring, StaticKeySource},
};
use batchsuite_tests::HOUR;

use crate::stage::{Stage, commit, company, connect, due, pair, server, stored};

pub(crate) const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const NEW: &str = "new:HxABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=";

pub(crate) async fn keys(text: &str) -> Keyring {
    Keyring::load(StaticKeySource::new(KeySet::parse(text).unwrap())).await.unwrap()
}

pub(crate) async fn store(stage: &Stage, text: &str) -> PostgresStore {
    PostgresStore::at(server().url(), keys(text).await).schema(stage.schema.name()).build().unwrap()
}

#[tokio::test]
async fn what_was_moved_or_damaged_by_hand_is_an_operators_error() {
    for damage in [
        "UPDATE {schema}.tokens t SET access_token = o.access_token FROM {schema}.tokens o
         WHERE t.company = 'acme' AND o.company = 'other'",
        "UPDATE {schema}.tokens SET access_token = refresh_token WHERE company = 'acme'",
        "UPDATE {schema}.tokens SET refresh_version = refresh_version + 1 WHERE company = 'acme'",
        "UPDATE {schema}.grants SET version = version + 1 WHERE company = 'acme'",
        "UPDATE {schema}.grants SET epoch = epoch + 1 WHERE company = 'acme'",
        "UPDATE {schema}.tokens SET refresh_token = substring(refresh_token FOR 20) WHERE company = 'acme'",
        "UPDATE {schema}.tokens SET refresh_token = NULL WHERE company = 'acme'",
        "UPDATE {schema}.tokens SET access_token = set_byte(access_token, 30, 255 - get_byte(access_token, 30))
         WHERE company = 'acme'",
        "DELETE FROM {schema}.tokens WHERE company = 'acme'",
    ] {
        let stage = Stage::new().await;
        stage.authenticated(&company("acme")).await;
        stage.authenticated(&company("other")).await;
        let damage = damage.replace("{schema}", stage.schema.name());
        server().client().await.batch_execute(&damage).await.unwrap();

        let grant = stage.store.load(&company("acme")).await.unwrap();

        assert!(grant.tokens.is_none(), "{damage}");
        assert_eq!(grant.unreadable.expect("a reason").reason.kind(), StoreErrorKind::Corrupt, "{damage}");
        assert!(stage.store.load(&company("other")).await.unwrap().tokens.is_some());
        // A person can repair it.
        stored(stage.store.connect(connect(&company("acme"))).await.unwrap());
        let repaired = stage.store.load(&company("acme")).await.unwrap();
        assert!(repaired.tokens.is_some() && repaired.unreadable.is_none(), "{damage}");
    }
}

#[tokio::test]
async fn a_refresh_token_that_outlives_its_version_still_opens() {
    let stage = Stage::new().await;
    let mut grant = stage.authenticated(&company("acme")).await;
    for number in 2..4 {
        let lone = NewPair { refresh_token: None, refresh_lifetime: None, ..pair(&number.to_string()) };
        let committed = stage.store.commit_refresh(commit(&grant, AttemptId::random(), lone)).await.unwrap();
        let Committed::Stored(next) = committed else { panic!("{committed:?}") };
        grant = *next;
    }

    let tokens = stage.store.load(&company("acme")).await.unwrap().tokens.unwrap();

    assert!(tokens.refresh_token.unwrap().matches(&pair("1").refresh_token.unwrap()));
    assert!(tokens.access_token.unwrap().matches(&pair("3").access_token.unwrap()));
}

#[tokio::test]
async fn a_key_that_is_missing_is_an_operators_error_and_repairs_itself() {
    let stage = Stage::new().await;
    let both = store(&stage, &format!("{NEW},{OLD}")).await;
    stored(both.connect(connect(&company("acme"))).await.unwrap());

    let without = store(&stage, OLD).await.load(&company("acme")).await.unwrap();

    assert_eq!(without.unreadable.expect("a reason").reason.kind(), StoreErrorKind::Corrupt);
    assert!(both.load(&company("acme")).await.unwrap().tokens.is_some());
}

/// Of a batch for the keeper, one row cannot be opened: the others go on, and it does not come first again and again.
#[tokio::test]
async fn what_cannot_be_opened_spoils_no_other_refresh() {
    for damage in [
        "UPDATE {schema}.tokens SET refresh_token = substring(refresh_token FOR 20) WHERE company = 'acme'",
        "DELETE FROM {schema}.tokens WHERE company = 'acme'",
        // Due longer than the others.
        "UPDATE {schema}.grants SET epoch = epoch + 1, refresh_at = refresh_at - interval '1 hour' WHERE company = 'acme'",
    ] {
        let stage = Stage::new().await;
        let companies = ["acme", "one", "other"].map(company);
        for key in &companies {
            stage.authenticated(key).await;
        }
        stage.schema.advance(4 * HOUR).await;
        let used: Vec<_> = companies.iter().map(|key| key.company.clone()).collect();
        stage.store.record_use(companies[0].environment, &used).await.unwrap();
        let damage = damage.replace("{schema}", stage.schema.name());
        server().client().await.batch_execute(&damage).await.unwrap();

        let mut handed_out = stage.store.due(DueQuery { limit: 2, ..due() }).await.unwrap();
        handed_out.extend(stage.store.due(DueQuery { limit: 2, ..due() }).await.unwrap());

        let mut handed_out: Vec<_> = handed_out.into_iter().map(|grant| grant.key).collect();
        handed_out.sort_unstable();
        assert_eq!(handed_out, companies[1..], "{damage}");
    }
}

/// However many there are before them: the keeper must not starve the companies that are well.
#[tokio::test]
async fn what_can_be_opened_is_handed_out_behind_any_number_that_cannot() {
    let stage = Stage::new().await;
    let companies: Vec<_> = (0..30).map(|number| company(&format!("company-{number:02}"))).collect();
    for key in &companies {
        stage.authenticated(key).await;
    }
    let damage =
        "UPDATE {schema}.tokens SET access_token = substring(access_token FOR 20) WHERE company < 'company-28';
        UPDATE {schema}.grants SET refresh_at = refresh_at - interval '1 hour' WHERE company < 'company-28'";
    server().client().await.batch_execute(&damage.replace("{schema}", stage.schema.name())).await.unwrap();
    stage.schema.advance(4 * HOUR).await;
    let used: Vec<_> = companies.iter().map(|key| key.company.clone()).collect();
    stage.store.record_use(companies[0].environment, &used).await.unwrap();

    let handed_out = stage.store.due(DueQuery { limit: 2, ..due() }).await.unwrap();

    let handed_out: Vec<_> = handed_out.into_iter().map(|grant| grant.key).collect();
    assert_eq!(handed_out, companies[28..]);
}

/// What the docs of `Binding` say, and no more: nothing outside the database knows which of two whole states is the later.
#[tokio::test]
async fn a_whole_older_state_that_is_put_back_opens_and_older_tokens_alone_do_not() {
    for (tables, opens) in [(&["tokens"][..], false), (&["grants", "tokens"], true)] {
        let stage = Stage::new().await;
        let grant = stage.authenticated(&company("acme")).await;
        let (schema, client) = (stage.schema.name(), server().client().await);
        for table in ["grants", "tokens"] {
            client
                .batch_execute(&format!("CREATE TABLE {schema}.old_{table} AS TABLE {schema}.{table}"))
                .await
                .unwrap();
        }
        stage.store.commit_refresh(commit(&grant, AttemptId::random(), pair("2"))).await.unwrap();

        for table in tables {
            let columns = match *table {
                "tokens" => "access_token, refresh_token, refresh_version",
                _ => "epoch, version",
            };
            let put_back =
                format!("UPDATE {schema}.{table} SET ({columns}) = (SELECT {columns} FROM {schema}.old_{table})");
            client.batch_execute(&put_back).await.unwrap();
        }

        let grant = stage.store.load(&company("acme")).await.unwrap();
        assert_eq!((grant.tokens.is_some(), grant.unreadable.is_none()), (opens, opens), "{tables:?}");
    }
}

#[tokio::test]
async fn a_re_encryption_leaves_nothing_under_the_old_key_and_can_be_broken_off() {
    let stage = Stage::new().await;
    let old = store(&stage, OLD).await;
    for number in 0..7 {
        let key = company(&format!("company-{number}"));
        let pair = NewPair { access_token: pair("1").access_token.filter(|_| number % 2 == 0), ..pair("1") };
        stored(old.connect(Connect { pair, ..connect(&key) }).await.unwrap());
    }
    let both = store(&stage, &format!("{NEW},{OLD}")).await;
    let environment = company("any").environment;

    // Broken off after the first step, begun again from the start.
    assert_eq!(both.reencrypt(environment, None, 3).await.unwrap().grants, 3);
    let (mut after, mut sealed) = (None, 0);
    loop {
        let step = both.reencrypt(environment, after.as_ref(), 3).await.unwrap();
        sealed += step.grants;
        assert!(step.unreadable.is_empty());
        match step.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }

    assert_eq!(sealed, 4);
    let new = store(&stage, NEW).await;
    for number in 0..7 {
        let tokens = new.load(&company(&format!("company-{number}"))).await.unwrap().tokens.unwrap();
        assert!(tokens.refresh_token.unwrap().matches(&pair("1").refresh_token.unwrap()));
    }
}

#[tokio::test]
async fn a_re_encryption_passes_what_it_cannot_read_and_names_it() {
    let stage = Stage::new().await;
    let (old, new) = (store(&stage, OLD).await, store(&stage, NEW).await);
    stored(old.connect(connect(&company("acme"))).await.unwrap());

    let step = new.reencrypt(company("acme").environment, None, 10).await.unwrap();

    assert_eq!((step.grants, step.unreadable), (0, vec![company("acme")]));
    old.load(&company("acme")).await.unwrap();
}
