//! Calls a UPS API with a company's token, and answers its 401 rightly.
//!
//! ```sh
//! cargo run -p call-ups-api
//! ```
//! A 401 does not say whether the token is at fault: the API may not be enabled for the application, or UPS may have an
//! outage. So the layer reports the token once and sends the request once more with another one, and a second 401 is the API's
//! answer. Never a loop: each refresh spends a single-use token.

use std::error::Error;

use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId,
    adapters::{
        RequestError,
        tower::{AccessTokenLayer, AccessTokenService},
    },
    fake_ups::FakeUps,
    http::ReqwestClient,
};
use batchsuite_store::MemoryStore;
use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _};

/// UPS's tracking API, for one company after another.
#[derive(Debug)]
struct Tracking {
    auth: BatchSuiteAuth,
    client: AccessTokenService<ReqwestClient, Vec<u8>>,
}

impl Tracking {
    async fn details(&self, company: &CompanyId, number: &str) -> Result<Response<Vec<u8>>, Box<dyn Error>> {
        let mut url = self.auth.base_url().join("api/track/v1/details/")?;
        url.path_segments_mut().map_err(|()| "the base URL has no path")?.pop_if_empty().push(number);
        let request = Request::get(url.as_str())
            .extension(company.clone())
            .header("transId", "example-1")
            .header("transactionSrc", "example")
            .body(Vec::new())?;
        self.client.clone().oneshot(request).await.map_err(|error| match error {
            // It says who has to act: `needs_reauthorization`, `is_transient`, `retry_after`.
            RequestError::Token(error) => error.into(),
            error => error.into(),
        })
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ups = FakeUps::start().await;
    let (tracking, company) = arrange(&ups).await?;
    let answer = tracking.details(&company, "1Z999AA10123456784").await?;
    println!("{}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
    tracking.auth.shutdown().await;
    Ok(())
}

/// A company that has opted in, and the API.
async fn arrange(ups: &FakeUps) -> Result<(Tracking, CompanyId), Box<dyn Error>> {
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    let (company, administrator) = (CompanyId::new("acme")?, ActorId::new("ada")?);
    let trip = auth.authenticate(&company, &administrator).await?;
    let query = ups.consent(&trip.url, FakeUps::USER).await;
    auth.callback(&administrator, &query, &trip.browser_secret).await?;
    let client = ReqwestClient::builder().allow_loopback_http().build()?;
    let client = AccessTokenLayer::new(auth.clone()).layer(client);
    Ok((Tracking { auth, client }, company))
}

#[cfg(test)]
mod tests {
    use batchsuite_auth::fake_ups::{Answer, Endpoint, Outcome, Times};
    use http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_good_token_is_used_at_once() {
        let ups = FakeUps::start().await;
        let (tracking, company) = arrange(&ups).await.unwrap();

        let answer = tracking.details(&company, "1Z999AA10123456784").await.unwrap();

        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(ups.requests().total(Endpoint::Refresh), 0);
    }

    #[tokio::test]
    async fn a_401_is_followed_by_one_refresh_and_one_more_request() {
        let ups = FakeUps::start().await;
        let (tracking, company) = arrange(&ups).await.unwrap();
        ups.fault(Endpoint::Track, Answer::status(401), Times::UntilCleared);

        for _ in 0..3 {
            let _ = tracking.details(&company, "1Z999AA10123456784").await;
        }

        assert_eq!(ups.requests().count(Endpoint::Refresh, Outcome::Ok), 1, "never a loop");
    }

    #[tokio::test]
    async fn a_changed_password_is_told_as_such() {
        let ups = FakeUps::start().await;
        let (tracking, company) = arrange(&ups).await.unwrap();
        ups.change_password(FakeUps::USER);

        let error = tracking.details(&company, "1Z999AA10123456784").await.unwrap_err();

        assert!(error.to_string().contains("password was changed"), "{error}");
    }
}
