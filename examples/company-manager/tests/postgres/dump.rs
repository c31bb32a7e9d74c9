//! Nothing in the database, and nothing in its server's log, shows a secret.

use batchsuite_auth::{
    CompanyId, Environment,
    store::{RowKey, Store, StoredTokens},
};
use batchsuite_store::PostgresStore;
use company_manager::demo::COMPANY_ADMIN;
use url::Url;

use crate::{
    instance::{KEYS, PASSWORD, Site, companies_on, keyring},
    sharing::authenticate,
};

#[tokio::test]
async fn neither_a_dump_nor_the_server_s_log_of_all_parameters_shows_a_secret() {
    const ACCESS_KEY: &str = "CANARYKEY0123456";
    let site = Site::new().await;
    let instance = site.start().await;
    let browser = site.signed_in(&instance, COMPANY_ADMIN).await;
    let company = companies_on(&browser.get(&instance, "/companies").await.body).remove(0);
    browser.post(&instance, &format!("{company}/access-key"), &[("access_key", ACCESS_KEY)]).await;
    // One trip that is still pending, and one that came back.
    let pending = Url::parse(&browser.post(&instance, &format!("{company}/authenticate"), &[]).await.location).unwrap();
    let (callback, _) = authenticate(&site, &browser, &company, &instance, &instance).await;

    let returned = site.public_url.join(&callback).unwrap();
    let parameters = pending.query_pairs().chain(returned.query_pairs());
    let trips = parameters.filter(|(name, _)| name == "state" || name == "code").map(|(_, value)| value.into_owned());
    let store = PostgresStore::at(site.stage.server.url(), keyring(KEYS).await).build().unwrap();
    let id = company.strip_prefix("/companies/").unwrap();
    let key = RowKey { environment: Environment::Cie, company: Some(CompanyId::new(id).unwrap()) };
    let StoredTokens::Readable(tokens) = store.load(&key).await.unwrap().tokens else { panic!("tokens") };
    let mut secrets = vec![
        ACCESS_KEY.to_owned(),
        PASSWORD.to_owned(),
        site.ups.client_secret().to_owned(),
        browser.cookie("session"),
        browser.cookie("ups-trip"),
        tokens.access.unwrap().expose_secret().to_owned(),
        tokens.refresh.unwrap().expose_secret().to_owned(),
    ];
    secrets.extend(trips);

    let seen = ["company_manager", "batchsuite"].map(|schema| site.stage.server.dump(schema)).concat()
        + &site.stage.server.log();
    let seen = seen.to_lowercase();
    assert!(
        seen.contains("alder creek outfitters") && seen.contains("$argon2id$") && seen.contains(id),
        "rows are there"
    );
    assert!(seen.contains("parameters: $1"), "parameters are there");
    assert_eq!(secrets.len(), 10);
    for secret in secrets {
        assert!(secret.len() >= 12, "{secret:?}");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!seen.contains(&secret.to_lowercase()), "{secret}");
        assert!(!seen.contains(&hex), "{secret}, as bytes");
    }
}
