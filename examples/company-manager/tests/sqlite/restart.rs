//! What a restart finds.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use batchsuite_auth::{
    CompanyId, Environment,
    fake_ups::Endpoint,
    store::{RowKey, Store, StoredTokens},
};
use batchsuite_store::{Keyring, SqliteStore, keyring::FileKeySource};
use company_manager::demo::COMPANY_ADMIN;
use http::StatusCode;

use crate::{
    instance::{Browser, Instance, PASSWORD, Site, companies_on},
    process::command,
    sharing::authenticate,
};

const TRACKING_NUMBER: &str = "1Z999AA10123456784";
const ACCESS_KEY: &str = "CANARYKEY0123456";

/// An administrator, and a company that has everything it can have.
async fn all_set(site: &Site, instance: &Instance) -> (Browser, String) {
    let browser = site.signed_in(instance, COMPANY_ADMIN).await;
    let company = companies_on(&browser.get(instance, "/companies").await.body).remove(0);
    let settings = [("pod_retention_years", "7"), ("minimum_quality_score", "55"), ("batch_track", "yes")];
    browser.post(instance, &format!("{company}/settings"), &settings).await;
    browser.post(instance, &format!("{company}/access-key"), &[("access_key", ACCESS_KEY)]).await;
    authenticate(site, &browser, &company, instance, instance).await;
    (browser, company)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_killed_program_finds_everything_in_the_default_place_when_it_starts_again() {
    let site = Site::new().await;
    let unset = [("DATABASE_URL", "")];
    let first = site.start_in(site.stage.directory(), &unset).await;
    let (browser, company) = all_set(&site, &first).await;

    first.kill().await;
    let again = site.start_in(site.stage.directory(), &unset).await;

    // The session, the settings, the access key and the opt-in; and its token is at work, without another consent or refresh.
    let page = browser.get(&again, &company).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.location);
    for expected in ["Refresh expires", ">CONFIGURED<", "value=\"55\""] {
        assert!(page.body.contains(expected), "{expected}: {}", page.body);
    }
    browser.post(&again, &format!("{company}/track"), &[("number", TRACKING_NUMBER)]).await;
    let asked = site.ups.requests();
    let of = |endpoint| asked.total(endpoint);
    assert_eq!((of(Endpoint::Token), of(Endpoint::Refresh), of(Endpoint::Track)), (1, 0, 1));
    assert_eq!(companies_on(&browser.get(&again, "/companies").await.body).len(), 3, "nothing was added again");
    again.end().await;
}

#[tokio::test]
async fn the_first_start_creates_the_files_closed_to_others_and_says_what_to_back_up() {
    let site = Site::new().await;
    let first = site.start().await;
    let key_file = site.stage.key_file();
    let keys = fs::read_to_string(&key_file).unwrap();

    for said in [
        &format!("Kept in     {}\n", site.stage.path().display()),
        &format!("Keys        {}, created by this first start\n", key_file.display()),
        &format!("sqlite3 \"{}\" \".backup COPY\"", site.stage.path().display()),
    ] {
        assert!(first.said.contains(said), "{said}: {}", first.said);
    }
    let (_, key) = keys.trim().split_once(':').unwrap();
    assert!(!first.said.contains("canary") && !first.said.contains(key), "{}", first.said);
    assert_eq!(mode(site.stage.path().parent().unwrap()), 0o700);
    let entries = fs::read_dir(site.stage.path().parent().unwrap()).unwrap();
    let modes: Vec<_> = entries.map(|entry| mode(&entry.unwrap().path())).collect();
    assert_eq!(modes, [0o600; 4], "the database, its log, the index of that, and the keys");

    first.end().await;
    let second = site.start().await;
    assert!(!second.said.contains("created"), "{}", second.said);
    assert_eq!(fs::read_to_string(&key_file).unwrap(), keys);
    second.end().await;
}

#[tokio::test]
async fn instances_that_start_for_the_first_time_at_once_agree_on_the_keys() {
    let site = Site::new().await;

    let (one, two, three, four) = tokio::join!(site.start(), site.start(), site.start(), site.start());

    let (browser, company) = all_set(&site, &one).await;
    for instance in [&two, &three, &four] {
        let page = browser.get(instance, &company).await.body;
        assert!(page.contains("Refresh expires") && page.contains(">CONFIGURED<"), "{page}");
    }
}

#[tokio::test]
async fn no_file_but_the_key_file_shows_a_secret() {
    let site = Site::new().await;
    let instance = site.start().await;
    let (browser, company) = all_set(&site, &instance).await;
    let keyring = Keyring::load(FileKeySource::new(site.stage.key_file())).await.unwrap();
    let store = SqliteStore::open(site.stage.path(), keyring).await.unwrap();
    let id = company.strip_prefix("/companies/").unwrap();
    let key = RowKey::company(Environment::Cie, CompanyId::new(id).unwrap());
    let StoredTokens::Readable(tokens) = store.load(&key).await.unwrap().tokens else { panic!("tokens") };
    let secrets = [
        ACCESS_KEY.to_owned(),
        PASSWORD.to_owned(),
        site.ups.client_secret().to_owned(),
        browser.cookie("session"),
        browser.cookie("ups-trip"),
        tokens.access.unwrap().expose_secret().to_owned(),
        tokens.refresh.unwrap().expose_secret().to_owned(),
    ];

    let entries = fs::read_dir(site.stage.path().parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| *path != site.stage.key_file());
    let seen = files.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect::<String>();

    assert!(
        seen.contains("Alder Creek Outfitters") && seen.contains("$argon2id$") && seen.contains(id),
        "rows are there"
    );
    for secret in secrets {
        assert!(secret.len() >= 12, "{secret:?}");
        assert!(!seen.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn a_copy_of_the_one_file_is_a_backup_once_the_program_has_ended() {
    let site = Site::new().await;
    let first = site.start().await;
    let (browser, company) = all_set(&site, &first).await;
    first.end().await;
    let backup = fs::read(site.stage.path()).unwrap();
    for entry in fs::read_dir(site.stage.path().parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path != site.stage.key_file() {
            fs::remove_file(path).unwrap();
        }
    }

    fs::write(site.stage.path(), backup).unwrap();

    let again = site.start().await;
    assert!(browser.get(&again, &company).await.body.contains("Refresh expires"));
    again.end().await;
}

#[tokio::test]
async fn a_backup_that_was_put_back_is_marked_before_the_next_start() {
    let site = Site::new().await;
    let first = site.start().await;
    let (browser, company) = all_set(&site, &first).await;
    let copy = site.stage.directory().join("copy.db");
    site.stage.execute(&format!("VACUUM INTO '{}'", copy.display())).await;
    first.end().await;
    fs::rename(copy, site.stage.path()).unwrap();
    // As most tools leave a copy.
    fs::set_permissions(site.stage.path(), Permissions::from_mode(0o644)).unwrap();
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", site.stage.path().display()));
    }

    let output = command(&[]).arg("after-restore").envs(site.variables(&[])).output().await.unwrap();

    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.trim().ends_with(": 1 authorizations"), "{said}");
    assert!(said.contains(site.stage.path().to_str().unwrap()), "which file was marked: {said}");
    assert_eq!(fs::metadata(site.stage.path()).unwrap().permissions().mode() & 0o777, 0o600, "closed to others again");
    let again = site.start().await;
    assert!(browser.get(&again, &company).await.body.contains("Refresh expires"));
    again.end().await;
}

#[tokio::test]
async fn where_no_backup_was_put_back_nothing_is_marked_and_nothing_is_created() {
    let site = Site::new().await;

    let output = command(&[]).arg("after-restore").envs(site.variables(&[])).output().await.unwrap();

    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("put the copy there first"), "{said}");
    assert!(!site.stage.path().exists() && !site.stage.key_file().exists());
}

#[tokio::test]
async fn a_database_may_be_named_without_its_directory() {
    let site = Site::new().await;
    fs::write(site.stage.directory().join("batch.db"), "").unwrap();
    let variables = site.variables(&[("DATABASE_URL", "sqlite:batch.db"), ("BATCHSUITE_KEYS", crate::instance::KEYS)]);

    let output =
        command(&[]).current_dir(site.stage.directory()).arg("after-restore").envs(variables).output().await.unwrap();

    let (said, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && said.trim().ends_with("batch.db: 0 authorizations"), "{said}{error}");
}
