//! Ciphertexts that were moved, damaged, or encrypted with another key.

use batchsuite_auth::store::{Row, Store, StoreErrorKind, StoredTokens, Swap, TokenChange, Tokens};
use batchsuite_store::{
    PostgresStore,
    keyring::{KeySet, Keyring, StaticKeySource},
};
use batchsuite_tests::Gate;

use crate::stage::{CIE, Stage, all, are_tokens, company, new_pair, paired, rotation, saved, server, tokens};

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
        "UPDATE {schema}.grants SET version = version + 1 WHERE company = 'acme'",
        "UPDATE {schema}.grants SET epoch = epoch + 1 WHERE company = 'acme'",
        "UPDATE {schema}.tokens SET refresh_token = substring(refresh_token FOR 20) WHERE company = 'acme'",
        "UPDATE {schema}.tokens SET access_token = set_byte(access_token, 30, 255 - get_byte(access_token, 30))
         WHERE company = 'acme'",
    ] {
        let stage = Stage::new().await;
        stage.paired(&company("acme")).await;
        stage.paired(&company("other")).await;
        stage.execute(damage).await;

        let row = stage.store.load(&company("acme")).await.unwrap();

        assert_unreadable(&row, damage);
        assert!(are_tokens(&stage.store.load(&company("other")).await.unwrap().tokens, "1"), "{damage}");
        // A person can repair it.
        assert!(are_tokens(&saved(&stage.store, rotation(&row, "2")).await.tokens, "2"), "{damage}");
    }
}

#[track_caller]
fn assert_unreadable(row: &Row, damage: &str) {
    let StoredTokens::Unreadable(reason) = &row.tokens else { panic!("{damage}: {row:?}") };
    assert_eq!(reason.kind(), StoreErrorKind::Corrupt, "{damage}");
}

#[tokio::test]
async fn a_key_that_is_missing_is_an_operators_error_and_repairs_itself() {
    let stage = Stage::new().await;
    let both = store(&stage, &format!("{NEW},{OLD}")).await;
    paired(&both, &company("acme")).await;

    let without = store(&stage, OLD).await.load(&company("acme")).await.unwrap();

    assert_unreadable(&without, "a missing key");
    assert!(are_tokens(&both.load(&company("acme")).await.unwrap().tokens, "1"));
}

/// A due row that cannot be decrypted is reported as such, does not affect the others, and does not come first every
/// time.
#[tokio::test]
async fn a_row_that_cannot_be_opened_spoils_no_other_that_wakes() {
    for damage in [
        "UPDATE {schema}.tokens SET refresh_token = substring(refresh_token FOR 20) WHERE company = 'acme'",
        // This row has been due longer than the others.
        "UPDATE {schema}.grants SET epoch = epoch + 1, wake_at = wake_at - interval '1 hour' WHERE company = 'acme'",
    ] {
        let stage = Stage::new().await;
        for name in ["acme", "one", "other"] {
            stage.paired(&company(name)).await;
        }
        stage.execute(damage).await;

        let mut woken = stage.store.wake(CIE, 2).await.unwrap();
        woken.extend(stage.store.wake(CIE, 2).await.unwrap());

        let (damaged, well): (Vec<_>, Vec<_>) = woken.iter().partition(|row| row.key == company("acme"));
        assert_eq!((damaged.len(), well.len()), (1, 2), "{damage}");
        assert_unreadable(damaged[0], damage);
        assert!(well.iter().all(|row| are_tokens(&row.tokens, "1")), "{damage}");
    }
}

/// Exactly what the documentation of `Binding` promises: without data outside the database, the later of two complete
/// states is unknown.
#[tokio::test]
async fn a_whole_older_state_that_is_put_back_opens_and_older_tokens_alone_do_not() {
    for (tables, opens) in [(&["tokens"][..], false), (&["grants", "tokens"], true)] {
        let stage = Stage::new().await;
        let row = stage.paired(&company("acme")).await;
        let (schema, client) = (stage.schema.name(), server().client().await);
        for table in ["grants", "tokens"] {
            client
                .batch_execute(&format!("CREATE TABLE {schema}.old_{table} AS TABLE {schema}.{table}"))
                .await
                .unwrap();
        }
        saved(&stage.store, rotation(&row, "2")).await;

        for table in tables {
            let columns = match *table {
                "tokens" => "access_token, refresh_token",
                _ => "epoch, version",
            };
            let put_back =
                format!("UPDATE {schema}.{table} SET ({columns}) = (SELECT {columns} FROM {schema}.old_{table})");
            client.batch_execute(&put_back).await.unwrap();
        }

        let row = stage.store.load(&company("acme")).await.unwrap();
        assert_eq!(are_tokens(&row.tokens, "1"), opens, "{tables:?}");
        assert!(opens || matches!(row.tokens, StoredTokens::Unreadable(_)), "{tables:?}");
    }
}

/// The rows in the list that are encrypted with a key older than this store's newest one.
async fn under_an_older_key(store: &PostgresStore) -> Vec<String> {
    let rows = store.list(all()).await.unwrap().items.into_iter();
    let older = rows.filter(|row| matches!(row.tokens, StoredTokens::Sealed { with_older_key: true }));
    older.map(|row| row.key.name().to_owned()).collect()
}

#[tokio::test]
async fn a_list_tells_which_tokens_are_under_an_older_key() {
    let stage = Stage::new().await;
    let old = store(&stage, OLD).await;
    let both = store(&stage, &format!("{NEW},{OLD}")).await;
    let with = |change: fn(&mut Tokens)| {
        let mut tokens = tokens("1");
        change(&mut tokens);
        TokenChange::Replace(tokens)
    };
    for (name, tokens) in [
        ("access", with(|tokens| tokens.refresh = None)),
        ("both", with(|_| ())),
        ("none", TokenChange::Erase),
        ("refresh", with(|tokens| tokens.access = None)),
    ] {
        let row = old.load(&company(name)).await.unwrap();
        saved(&old, Swap { tokens, ..rotation(&row, "1") }).await;
    }
    paired(&both, &company("new")).await;

    assert_eq!(under_an_older_key(&both).await, ["access", "both", "refresh"]);
    assert_eq!(under_an_older_key(&old).await, ["new"]);
}

#[tokio::test]
async fn a_re_encryption_leaves_nothing_under_the_old_key_and_names_what_it_cannot_read() {
    let stage = Stage::new().await;
    let companies = stage.opted_in("company", 3).await;
    // The key of [`Stage`], and a newer key before it.
    let test = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let both = store(&stage, &format!("{NEW},{test}")).await;
    stage.execute("UPDATE {schema}.tokens SET access_token = refresh_token WHERE company = 'company-1'").await;
    let process = Stage { schema: stage.schema, store: both };
    let auth = process.process(Gate::answering(|_| new_pair())).without_keeper().build().unwrap();

    let done = auth.reencrypt().await.unwrap();

    assert_eq!((done.companies, done.unreadable), (2, vec![companies[1].clone()]));
    assert_eq!(under_an_older_key(&process.store).await, ["company-1"]);
    let new = store(&process, NEW).await;
    for name in ["company-0", "company-2"] {
        let row = new.load(&company(name)).await.unwrap();
        assert!(matches!(row.tokens, StoredTokens::Readable(_)), "{row:?}");
    }
}
