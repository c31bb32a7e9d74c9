//! Calls a UPS API with a company's token, and answers its 401 rightly.
//!
//! ```sh
//! cargo run -p call-ups-api
//! ```
//! A 401 does not say whether the token is at fault: the API may not be enabled for the application, or UPS may have an
//! outage. So the token is reported once, the request is sent once more with what comes back, and a second 401 is the API's
//! answer. Never a loop: each refresh spends a single-use token.

use std::error::Error;

use batchsuite_auth::{
    AccessToken, ActorId, BatchSuiteAuth, CompanyId,
    fake_ups::FakeUps,
    http::{HttpClient, ReqwestClient},
};
use batchsuite_store::MemoryStore;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use url::Url;

/// UPS's tracking API, for one company after another.
#[derive(Debug)]
struct Tracking {
    auth: BatchSuiteAuth,
    http: ReqwestClient,
    base_url: Url,
}

impl Tracking {
    async fn details(&self, company: &CompanyId, number: &str) -> Result<Response<Vec<u8>>, Box<dyn Error>> {
        let token = self.auth.access_token(company).await?;
        let answer = self.ask(number, &token).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = self.auth.report_rejected(company, &token).await?;
        self.ask(number, &token).await
    }

    async fn ask(&self, number: &str, token: &AccessToken) -> Result<Response<Vec<u8>>, Box<dyn Error>> {
        let mut url = self.base_url.join("api/track/v1/details/")?;
        url.path_segments_mut().map_err(|()| "the base URL has no path")?.pop_if_empty().push(number);
        let request = Request::get(url.as_str())
            .header(AUTHORIZATION, token.header().clone())
            .header("transId", "example-1")
            .header("transactionSrc", "example")
            .body(Vec::new())?;
        Ok(self.http.send(request).await?)
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
    let http = ReqwestClient::builder().allow_loopback_http().build()?;
    Ok((Tracking { auth, http, base_url: ups.base_url() }, company))
}

#[cfg(test)]
mod tests {
    use batchsuite_auth::fake_ups::{Answer, Endpoint, Outcome, Times};

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
