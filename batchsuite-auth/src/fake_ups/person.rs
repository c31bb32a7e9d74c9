//! A person with a browser, simulated without one.

use std::time::Duration;

use http::{Method, Request, Response, header};
use url::{Url, form_urlencoded};

use super::{
    FakeUpsState, endpoints,
    error_response::ErrorResponse,
    paths::{DECLINE, ERROR_PAGE_PATH, SIGN_IN},
    reply::Reply,
};

impl FakeUpsState {
    /// Makes the whole trip: from `trip_url`, where the application sends the browser, through the sign-in pages, with
    /// the agreement ticked and the right password, back to the application. Returns the callback's query:
    /// `code=…&scope=read&state=…`.
    ///
    /// Every step is counted and subject to the pending faults. It needs no network, whatever host the URL names.
    ///
    /// # Panics
    /// If the trip ends anywhere but at the callback with a code; the message says where, and quotes the page.
    pub async fn consent(&self, trip_url: &Url, user: &str) -> String {
        let password = self.password(user);
        self.consent_with_password(trip_url, user, &password).await
    }

    /// Like [`consent`](Self::consent), with the given password, which may be wrong.
    ///
    /// # Panics
    /// If the trip ends anywhere but at the callback, e.g. at the password page with a wrong password.
    pub async fn consent_with_password(&self, trip_url: &Url, user: &str, password: &str) -> String {
        let mut browser = Browser::new(self);
        let callback = browser.consent(trip_url, user, password);
        arrive(browser, callback).await
    }

    /// Goes to the sign-in page and declines. Returns the callback's query: `error=access_denied&…&state=…`.
    ///
    /// # Panics
    /// Like [`consent`](Self::consent).
    pub async fn decline(&self, trip_url: &Url) -> String {
        let mut browser = Browser::new(self);
        let callback = browser.decline(trip_url);
        arrive(browser, callback).await
    }
}

/// The query of the callback, after the delays of the answers on the way.
async fn arrive(browser: Browser<'_>, callback: Result<String, String>) -> String {
    if !browser.delay.is_zero() {
        tokio::time::sleep(browser.delay).await;
    }
    let callback = callback.unwrap_or_else(|words| panic!("{words}"));
    callback.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default()
}

/// A browser that does not wait for delayed answers but adds up their delays.
pub(super) struct Browser<'a> {
    ups: &'a FakeUpsState,
    /// The total delay of the answers so far.
    pub(super) delay: Duration,
}

/// Where the application's redirect led.
enum Reached {
    AtSignIn {
        address: Url,
        /// The authorization request as the page carries it on.
        request: String,
    },
    Back {
        callback: String,
    },
}

impl<'a> Browser<'a> {
    pub(super) fn new(ups: &'a FakeUpsState) -> Self {
        Self { ups, delay: Duration::ZERO }
    }

    /// Signs in and agrees; returns the callback's address, or where and why the trip ended.
    pub(super) fn consent(&mut self, trip_url: &Url, user: &str, password: &str) -> Result<String, String> {
        let (sign_in, request) = match self.start_trip(trip_url)? {
            Reached::AtSignIn { address, request } => (address, request),
            Reached::Back { callback } => return Ok(callback),
        };
        let shown = self.walk(Method::GET, sign_in.as_str(), "")?;
        expect_page(&shown, "the sign-in page")?;
        let mut form = form_urlencoded::Serializer::new(request);
        form.append_pair("username", user).append_pair("agree", "yes");
        let form = form.finish();
        let shown = self.walk(Method::POST, sign_in.as_str(), &form)?;
        expect_page(&shown, "the password page")?;
        let form = form_urlencoded::Serializer::new(form).append_pair("password", password).finish();
        location(&self.walk(Method::POST, sign_in.as_str(), &form)?, "the password page")
    }

    fn decline(&mut self, trip_url: &Url) -> Result<String, String> {
        match self.start_trip(trip_url)? {
            Reached::Back { callback } => Ok(callback),
            Reached::AtSignIn { mut address, request } => {
                address.set_path(DECLINE);
                address.set_query(Some(&request));
                location(&self.walk(Method::GET, address.as_str(), "")?, "the sign-in page")
            }
        }
    }

    fn start_trip(&mut self, trip_url: &Url) -> Result<Reached, String> {
        let mut address = trip_url.clone();
        // UPS's SDKs call the authorization endpoint themselves and hand over the address of the sign-in page.
        if address.path() != SIGN_IN {
            let response = self.walk(Method::GET, trip_url.as_str(), "")?;
            let location = location(&response, "the authorization request")?;
            address = trip_url.join(&location).map_err(|error| format!("no address: {location}: {error}"))?;
            if address.path() == ERROR_PAGE_PATH {
                return Err("the authorization request led to the error page".to_owned());
            }
            if address.path() != SIGN_IN {
                return Ok(Reached::Back { callback: location });
            }
        }
        let request = address.query().unwrap_or_default().to_owned();
        Ok(Reached::AtSignIn { address, request })
    }

    fn walk(&mut self, method: Method, address: &str, form: &str) -> Result<Response<Vec<u8>>, String> {
        let request = Request::builder()
            .method(method)
            .uri(address)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.as_bytes().to_vec())
            .map_err(|error| format!("no address for a request: {error}"))?;
        let reply =
            endpoints::respond(self.ups, &request).unwrap_or_else(|| Reply::from(ErrorResponse::NOT_FOUND.response()));
        self.delay += reply.delay;
        match reply.wire_fault {
            Some(fault) => Err(format!("the browser saw no page but {fault:?}")),
            None => Ok(reply.response),
        }
    }
}

fn expect_page(response: &Response<Vec<u8>>, place: &str) -> Result<(), String> {
    if response.status() == 200 {
        Ok(())
    } else {
        Err(format!("at {place}: {} {}", response.status(), words(response)))
    }
}

fn location(response: &Response<Vec<u8>>, place: &str) -> Result<String, String> {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.map(str::to_owned);
    location.ok_or_else(|| format!("{place} led no further: {} {}", response.status(), words(response)))
}

/// The page's text, if it is short.
fn words(response: &Response<Vec<u8>>) -> String {
    let text = String::from_utf8_lossy(response.body());
    match text.split_once("role=\"alert\">").and_then(|(_, rest)| rest.split_once('<')) {
        Some((alert, _)) => alert.to_owned(),
        None => text.chars().take(300).collect(),
    }
}
