//! How does each request of reqwest carry its company's token?
//!
//! ```sh
//! cargo run -p example-reqwest-middleware
//! ```
//! The middleware takes the company from the request's extensions. After a 401 it reports the token and sends the request once
//! more. The token goes to UPS's own host alone, and no redirect takes it anywhere else.

use std::error::Error;

use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId,
    adapters::{reqwest_middleware::AccessTokenMiddleware, token_error},
    fake_ups::FakeUps,
};
use batchsuite_store::MemoryStore;
use reqwest_middleware::ClientWithMiddleware;

/// Settings of reqwest, such as time-outs, belong to its builder; further middlewares follow behind `client`.
fn ups_client(auth: &BatchSuiteAuth) -> reqwest::Result<ClientWithMiddleware> {
    Ok(AccessTokenMiddleware::new(auth.clone()).client(reqwest::Client::builder())?.build())
}

/// What the service tells its own caller.
async fn track(auth: &BatchSuiteAuth, client: &ClientWithMiddleware, company: &CompanyId) -> String {
    let Ok(url) = auth.base_url().join("api/track/v1/details/1Z999AA10123456784") else {
        return "the base URL has no path".to_owned();
    };
    let request = client.get(url).with_extension(company.clone());
    match request.header("transId", "example-1").header("transactionSrc", "example").send().await {
        Ok(answer) => format!("UPS answered {}", answer.status()),
        Err(error) => match token_error(&error) {
            Some(error) if error.needs_reauthorization() => format!("ask an administrator: {error}"),
            Some(error) if error.is_transient() => {
                format!("try again in {:?}", error.retry_after().unwrap_or_default())
            }
            Some(_) => "an operator must look".to_owned(),
            None => "UPS cannot be reached".to_owned(),
        },
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (auth, company, ups) = arrange().await?;
    let client = ups_client(&auth)?;
    println!("{}", track(&auth, &client, &company).await);
    ups.change_password(FakeUps::USER);
    println!("{}", track(&auth, &client, &company).await);
    auth.shutdown().await;
    Ok(())
}

/// A company that has opted in at the fake UPS.
async fn arrange() -> Result<(BatchSuiteAuth, CompanyId, FakeUps), Box<dyn Error>> {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    let (company, administrator) = (CompanyId::new("acme")?, ActorId::new("ada")?);
    let trip = auth.authenticate(&company, &administrator).await?;
    let query = ups.consent(&trip.url, FakeUps::USER).await;
    auth.callback(&administrator, &query, &trip.browser_secret).await?;
    Ok((auth, company, ups))
}

#[tokio::test]
async fn a_password_change_is_told_to_the_administrator() {
    let (auth, company, ups) = arrange().await.unwrap();
    let client = ups_client(&auth).unwrap();
    assert_eq!(track(&auth, &client, &company).await, "UPS answered 200 OK");
    ups.change_password(FakeUps::USER);

    let told = track(&auth, &client, &company).await;

    assert!(told.starts_with("ask an administrator") && told.contains("password was changed"), "{told}");
}
