//! How does each request of a tower client carry its company's token?
//!
//! ```sh
//! cargo run -p example-tower
//! ```
//! The layer takes the company from the request's extensions. After a 401 it reports the token and sends the request once more:
//! a `Full` can be cloned. The token goes to UPS's own host alone.

use std::error::Error;

use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId,
    adapters::tower::{AccessTokenLayer, AccessTokenService},
    fake_ups::FakeUps,
};
use batchsuite_store::MemoryStore;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{ServiceBuilder, ServiceExt as _};

type UpsClient = AccessTokenService<Client<HttpConnector, Full<Bytes>>, Full<Bytes>>;

/// The fake is plain http on this machine; for UPS itself, build the client with the `HttpsConnector` of hyper-rustls.
fn ups_client(auth: &BatchSuiteAuth) -> UpsClient {
    let http = Client::builder(TokioExecutor::new()).build_http();
    ServiceBuilder::new().layer(AccessTokenLayer::new(auth.clone())).service(http)
}

/// Where the shipment is, as UPS's JSON.
async fn track(auth: &BatchSuiteAuth, client: UpsClient, company: &CompanyId) -> Result<Bytes, Box<dyn Error>> {
    let url = auth.base_url().join("api/track/v1/details/1Z999AA10123456784")?;
    let request = Request::get(url.as_str()).extension(company.clone());
    let request = request.header("transId", "example-1").header("transactionSrc", "example").body(Full::default())?;
    let answer = client.oneshot(request).await?;
    Ok(answer.into_body().collect().await?.to_bytes())
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (auth, company, _ups) = arrange().await?;
    println!("{}", String::from_utf8_lossy(&track(&auth, ups_client(&auth), &company).await?));
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
async fn a_token_that_is_rejected_is_replaced_once() {
    use batchsuite_auth::fake_ups::{Answer, Endpoint, Times};
    let (auth, company, ups) = arrange().await.unwrap();
    ups.fault(Endpoint::Track, Answer::status(401), Times::Once);

    let answer = track(&auth, ups_client(&auth), &company).await.unwrap();

    assert!(answer.starts_with(b"{\"trackResponse\""), "{answer:?}");
    assert_eq!((ups.requests().total(Endpoint::Track), ups.requests().total(Endpoint::Refresh)), (2, 1));
}
