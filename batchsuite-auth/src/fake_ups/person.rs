//! What a person with a browser does, without one.

use http::{Method, Request, Response, header};
use url::{Url, form_urlencoded};

use super::{
    FakeUpsState, pages,
    respond::{ERROR_PAGE, SIGN_IN},
};

impl FakeUpsState {
    /// Walks the whole trip: from `trip_url`, where the application sends the browser, over the sign-in pages, with the
    /// agreement ticked and the right password, back to the application. Returns the callback's query:
    /// `code=…&scope=read&state=…`.
    ///
    /// Every step goes through [`respond`](Self::respond) and is counted. It needs no network, whatever host the URL names.
    ///
    /// # Panics
    /// If the trip ends anywhere but at the callback with an answer; the message says where, and what was told there.
    pub async fn consent(&self, trip_url: &Url, user: &str) -> String {
        let password = self.password(user);
        self.consent_with_password(trip_url, user, &password).await
    }

    /// Like [`consent`](Self::consent), but with a password of your own, which may be wrong.
    ///
    /// # Panics
    /// If the trip ends anywhere but at the callback, e.g. at the password page with a wrong password.
    pub async fn consent_with_password(&self, trip_url: &Url, user: &str, password: &str) -> String {
        let (sign_in, request) = match self.start_trip(trip_url).await {
            Trip::AtSignIn { address, request } => (address, request),
            Trip::Back { query } => return query,
        };
        let shown = self.walk(Method::GET, sign_in.as_str(), "").await;
        expect_page(&shown, "the sign-in page");
        let mut form = form_urlencoded::Serializer::new(request);
        form.append_pair("username", user).append_pair("agree", "yes");
        let form = form.finish();
        let shown = self.walk(Method::POST, sign_in.as_str(), &form).await;
        expect_page(&shown, "the password page");
        let form = form_urlencoded::Serializer::new(form).append_pair("password", password).finish();
        query_of(&self.walk(Method::POST, sign_in.as_str(), &form).await, "the password page")
    }

    /// Walks to the sign-in page and declines there. Returns the callback's query: `error=access_denied&…&state=…`.
    ///
    /// # Panics
    /// Like [`consent`](Self::consent).
    pub async fn decline(&self, trip_url: &Url) -> String {
        match self.start_trip(trip_url).await {
            Trip::Back { query } => query,
            Trip::AtSignIn { mut address, request } => {
                address.set_path(pages::DECLINE);
                address.set_query(Some(&request));
                query_of(&self.walk(Method::GET, address.as_str(), "").await, "the sign-in page")
            }
        }
    }

    async fn start_trip(&self, trip_url: &Url) -> Trip {
        let response = self.walk(Method::GET, trip_url.as_str(), "").await;
        let location = location(&response, "the authorization request");
        let address = trip_url.join(&location).unwrap_or_else(|error| panic!("no address: {location}: {error}"));
        let request = address.query().unwrap_or_default().to_owned();
        if address.path() == SIGN_IN {
            return Trip::AtSignIn { address, request };
        }
        assert!(address.path() != ERROR_PAGE, "the authorization request led to the error page");
        Trip::Back { query: request }
    }

    async fn walk(&self, method: Method, address: &str, form: &str) -> Response<Vec<u8>> {
        let request = Request::builder()
            .method(method)
            .uri(address)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.as_bytes().to_vec())
            .unwrap_or_else(|error| panic!("no address for a request: {error}"));
        let reply = self.respond(&request);
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        if let Some(fault) = reply.wire_fault {
            panic!("the browser saw no page but {fault:?}");
        }
        reply.response
    }
}

enum Trip {
    AtSignIn {
        address: Url,
        /// The authorization request as the page carries it on.
        request: String,
    },
    Back {
        query: String,
    },
}

fn expect_page(response: &Response<Vec<u8>>, place: &str) {
    assert_eq!(response.status(), 200, "at {place}: {}", words(response));
}

fn query_of(response: &Response<Vec<u8>>, place: &str) -> String {
    let location = location(response, place);
    location.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default()
}

fn location(response: &Response<Vec<u8>>, place: &str) -> String {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    location.unwrap_or_else(|| panic!("{place} led no further: {} {}", response.status(), words(response))).to_owned()
}

/// What the page tells, as far as it is short.
fn words(response: &Response<Vec<u8>>) -> String {
    let text = String::from_utf8_lossy(response.body());
    match text.split_once("role=\"alert\">").and_then(|(_, rest)| rest.split_once('<')) {
        Some((alert, _)) => alert.to_owned(),
        None => text.chars().take(300).collect(),
    }
}
