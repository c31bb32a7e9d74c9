//! The requests that carry secrets to UPS.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use batchsuite_auth::{
    Client, ClientAuthentication,
    http::{HttpClient, HttpError},
    test_util::ups::Requests,
};
use http::{Request, Response, header};
use url::{Url, form_urlencoded};

use crate::input::texts;

/// Input: a client's id, its secret, a token, a redirect URI.
///
/// - The header is HTTP Basic (RFC 7617): padded base64 of id, colon, secret, in UTF-8, confirmed by an independent
///   reader that takes everything before the first colon as the id. An id with a colon cannot be encoded, so no request
///   is made.
/// - The header is marked sensitive, and no `Debug` output of the request shows it.
/// - The form, read by `form_urlencoded`, contains the grant type, the token or code, and the redirect URI, each
///   exactly once and unchanged, and never the client's secret.
pub fn basic_header(data: &[u8]) {
    let Some([id, secret, token, redirect_uri]) = texts::<4>(data) else { return };
    let client = Client::new(id, secret).with_authentication(ClientAuthentication::PkceWithSecret);
    let Some(requests) = Requests::of(client, NoHttp) else {
        return assert!(id.contains(':'), "no request for {id:?}");
    };
    assert!(!id.contains(':'), "{id:?} has a colon");
    let redirect_uri = Url::parse(redirect_uri).unwrap_or_else(|_| own_page());
    let exchange =
        requests.exchange(token, &redirect_uri, Some("verifier-of-the-trip")).unwrap_or_else(|| panic!("no exchange"));
    let refresh = requests.refresh(token).unwrap_or_else(|| panic!("no refresh"));
    for request in [&exchange, &refresh] {
        is_basic(request, id, secret);
    }
    let expected = [
        ("client_id", id),
        ("code", token),
        ("code_verifier", "verifier-of-the-trip"),
        ("grant_type", "authorization_code"),
        ("redirect_uri", redirect_uri.as_str()),
    ];
    is_the_form(form(&exchange), &expected);
    is_the_form(form(&refresh), &[("grant_type", "refresh_token"), ("refresh_token", token)]);
}

fn own_page() -> Url {
    Url::parse("https://host.example/back").unwrap_or_else(|error| panic!("{error}"))
}

fn is_basic(request: &Request<Vec<u8>>, id: &str, secret: &str) {
    let value = request.headers().get_all(header::AUTHORIZATION).iter().collect::<Vec<_>>();
    let [value] = value[..] else { panic!("{} headers", value.len()) };
    assert!(value.is_sensitive());
    let text = value.to_str().unwrap_or_else(|error| panic!("{error}"));
    let encoded = text.strip_prefix("Basic ").unwrap_or_else(|| panic!("not the scheme Basic"));
    let credentials = STANDARD.decode(encoded).unwrap_or_else(|error| panic!("{error}"));
    let colon = credentials.iter().position(|byte| *byte == b':').unwrap_or_else(|| panic!("no colon"));
    assert_eq!((&credentials[..colon], &credentials[colon + 1..]), (id.as_bytes(), secret.as_bytes()));
    assert!(!format!("{:?}", request.headers()).contains(encoded), "Debug shows the credentials");
}

fn form(request: &Request<Vec<u8>>) -> Vec<(String, String)> {
    assert!(request.body().is_ascii());
    form_urlencoded::parse(request.body()).into_owned().collect()
}

fn is_the_form(mut form: Vec<(String, String)>, expected: &[(&str, &str)]) {
    form.sort();
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(form, expected);
}

#[derive(Debug)]
struct NoHttp;

#[async_trait]
impl HttpClient for NoHttp {
    async fn send(&self, _: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        Err(HttpError::not_sent())
    }
}
