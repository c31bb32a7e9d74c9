//! Keys: the right ones, wrong ones, others that take their place; and databases that are not there.

use std::{io::Write, os::unix::fs::OpenOptionsExt};

use batchsuite_auth::{CompanyId, Environment, store::GrantKey};
use batchsuite_store::{
    Keyring,
    keyring::{Binding, HostField},
};
use company_manager::demo::COMPANY_ADMIN;

use crate::instance::{KEYS, Site, companies_on, keyring};

const NEW: &str = "2026-12:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const ACCESS_KEY: &str = "CANARYKEY0123456";

/// The one access key in the table.
async fn access_key(site: &Site) -> (CompanyId, Vec<u8>) {
    let query = "SELECT id, access_key FROM company_manager.companies WHERE access_key IS NOT NULL";
    let row = site.stage.server.client().await.query_one(query, &[]).await.unwrap();
    (CompanyId::new(row.get::<_, &str>(0)).unwrap(), row.get(1))
}

fn open(keys: &Keyring, company: CompanyId, ciphertext: &[u8]) -> String {
    let place = GrantKey { environment: Environment::Production, company };
    let binding = Binding::host(&place, HostField::from_static("access_key"));
    keys.open(&binding, ciphertext).unwrap().into_text().unwrap()
}

#[tokio::test]
async fn an_access_key_is_encrypted_for_its_company_and_follows_the_keys() {
    let site = Site::new().await;
    let instance = site.start().await;
    let browser = site.signed_in(&instance, COMPANY_ADMIN).await;
    let company = companies_on(&browser.get(&instance, "/companies").await.body).remove(0);

    browser.post(&instance, &format!("{company}/access-key"), &[("access_key", ACCESS_KEY)]).await;

    let (id, ciphertext) = access_key(&site).await;
    assert_eq!(company, format!("/companies/{id}"));
    assert_eq!(open(&keyring(KEYS).await, id, &ciphertext), ACCESS_KEY);
    instance.end().await;

    // The new key in front: what was stored is under it when the instance is up, and the old one can go.
    site.start_with(&[("BATCHSUITE_KEYS", &format!("{NEW},{KEYS}"))]).await.end().await;

    let (id, ciphertext) = access_key(&site).await;
    assert_eq!(open(&keyring(NEW).await, id, &ciphertext), ACCESS_KEY);
    site.start_with(&[("BATCHSUITE_KEYS", NEW)]).await.end().await;
}

#[tokio::test]
async fn keys_may_be_in_a_file() {
    let site = Site::new().await;
    let file = std::env::temp_dir().join(format!("company-manager-keys-{:08x}", rand::random::<u32>()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(&file).unwrap().write_all(KEYS.as_bytes()).unwrap();

    let instance = site.start_with(&[("BATCHSUITE_KEYS", ""), ("BATCHSUITE_KEYS_FILE", file.to_str().unwrap())]).await;

    std::fs::remove_file(file).unwrap();
    instance.end().await;
}

/// A pipe, a device, a directory, a file without an end: the program must not hang, nor read for ever.
#[tokio::test]
async fn what_is_no_key_file_ends_it_with_one_clear_line() {
    let site = Site::new().await;
    let directory = std::env::temp_dir().join(format!("company-manager-keys-{:08x}", rand::random::<u32>()));
    std::fs::create_dir(&directory).unwrap();
    let (pipe, huge) = (directory.join("pipe"), directory.join("huge"));
    assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(&huge).unwrap().set_len(1 << 40).unwrap();

    for (path, expected) in [
        (pipe.as_path(), "not a regular file"),
        (&directory, "not a regular file"),
        ("/dev/zero".as_ref(), "not a regular file"),
        (&huge, "larger than 64 KiB"),
        (&directory.join("missing"), "cannot be read"),
    ] {
        let stderr = site.refusal(&[("BATCHSUITE_KEYS", ""), ("BATCHSUITE_KEYS_FILE", path.to_str().unwrap())]).await;
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{path:?}: {stderr}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn wrong_keys_and_databases_that_are_not_there_end_it_with_one_clear_line() {
    let site = Site::new().await;
    site.start().await.end().await;
    let namesake = NEW.replace("2026-12", "2026-11");
    let missing = site.stage.server.url().replace("dbname=postgres", "dbname=missing");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("BATCHSUITE_KEYS", "")], "BATCHSUITE_KEYS is missing"),
        (&[("BATCHSUITE_KEYS", "canary")], "the keys that encrypt what is kept cannot be used"),
        (&[("BATCHSUITE_KEYS", NEW)], "the keys are not those of this database: there is no key named 2026-11"),
        (&[("BATCHSUITE_KEYS", &namesake)], "the key named 2026-11 is another one here"),
        (&[("DATABASE_URL", "postgres://app:canary@localhost:port/x")], "DATABASE_URL cannot be read"),
        (&[("DATABASE_URL", "postgres://app:canary@localhost/x?unheard_of=canary")], "not known: unheard_of"),
        (&[("DATABASE_URL", "postgres://app:canary@127.0.0.1:9/x")], "the database of DATABASE_URL cannot be reached"),
        (
            &[("DATABASE_URL", "postgres://app:canary@nowhere.invalid/x")],
            "the database of DATABASE_URL cannot be reached",
        ),
        (&[("DATABASE_URL", &missing)], "\"missing\" does not exist"),
    ];
    for (variables, expected) in cases {
        let stderr = site.refusal(variables).await;

        assert!(stderr.starts_with("company-manager: ") && stderr.contains(expected), "{expected}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!stderr.contains("canary") && !stderr.contains("ICEi"), "{stderr}");
    }
    site.start().await.end().await;
}
