//! How does a service on axum let its companies authenticate?
//!
//! ```sh
//! cargo run -p example-axum
//! ```
//! Then open the address that it shows. UPS is the fake one here; its user is `demo@example.com` with the password that is shown.

use std::error::Error;

use axum::{Router, extract, middleware::from_fn_with_state, response::Html, routing::get};
use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId, TokenError,
    adapters::axum::{Host, Permission, Routes, Visitor, trip_cookie},
    fake_ups::FakeUps,
};
use batchsuite_store::MemoryStore;
use http::request::Parts;
use tokio::net::TcpListener;

#[cfg(test)]
mod tests;

/// Who is signed in, and who may authenticate which company. A real host asks its sessions and its database.
struct Shop;

impl Host for Shop {
    async fn visitor(&self, _request: &mut Parts) -> Visitor {
        ActorId::new("ada").ok().into()
    }

    async fn may_authenticate(&self, actor: &ActorId, company: &CompanyId) -> Permission {
        (actor.as_str() == "ada" && company.as_str() == "acme").into()
    }

    fn company_page(&self, company: &CompanyId) -> Option<String> {
        Some(format!("/companies/{}", company.path_segment()))
    }
}

/// The company's page. Any other error of the token is a response, with its status and `Retry-After`.
async fn page(
    extract::State(auth): extract::State<BatchSuiteAuth>,
    extract::Path(company): extract::Path<CompanyId>,
) -> Result<Html<&'static str>, TokenError> {
    const BUTTONS: &str = "<form method='post' action='/companies/acme/authenticate'><button>Authenticate</button></form>\
        <form method='post' action='/companies/acme/connect-link'><button>Connect link</button></form>";
    match auth.access_token(&company).await {
        // Here a request to UPS's APIs would be sent, with `token.header()` as its `Authorization`.
        Ok(_token) => Ok(Html("acme is authenticated")),
        Err(error) if error.needs_reauthorization() => Ok(Html(BUTTONS)),
        Err(error) => Err(error),
    }
}

fn app(auth: &BatchSuiteAuth) -> Router {
    let routes = Routes::new(auth.clone(), Shop).connect_links("/companies/{company}/connect-link", "/connect");
    Router::new()
        .route("/companies/{company}", get(page))
        .layer(from_fn_with_state(auth.clone(), trip_cookie))
        .merge(routes.router())
        .with_state(auth.clone())
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let ups = FakeUps::builder().redirect_uri(format!("{url}/oauth/ups/callback")).start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    println!(
        "open {url}/companies/acme; the UPS.com user is {} with the password {}",
        FakeUps::USER,
        FakeUps::PASSWORD
    );
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app(&auth)).with_graceful_shutdown(stop).await?;
    auth.shutdown().await;
    Ok(())
}
