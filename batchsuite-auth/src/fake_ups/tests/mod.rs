//! The fake UPS, called through its one function and over the wire.

mod control;
mod faults;
mod oauth;
mod pages;
mod shapes;
mod wire;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, Response};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::*;

const CALLBACK: &str = "http://localhost:3000/callback";
const SECRET: &str = "s+p %&=:ü";
const USER: &str = "demo@example.com";

/// A UPS whose secret contains every character that is encoded in `Authorization: Basic`.
async fn start() -> FakeUps {
    FakeUps::builder().client("client", SECRET).redirect_uri(CALLBACK).allow_host("ups.example").start().await
}

fn authorize_url(more: &[(&str, &str)]) -> Url {
    let asked = [("client_id", "client"), ("redirect_uri", CALLBACK), ("response_type", "code"), ("state", "st&te")];
    let asked = asked.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    let query = asked.chain(more.iter().copied().filter(|(_, value)| *value != "-"));
    Url::parse_with_params("http://ups.example/security/v1/oauth/authorize", query).unwrap()
}

fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}

fn get(ups: &FakeUpsState, target: &str) -> Response<Vec<u8>> {
    ups.respond(&Request::get(target).body(Vec::new()).unwrap()).response
}

fn post(ups: &FakeUpsState, path: &str, authorization: Option<&str>, form: &[(&str, &str)]) -> Reply {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    ups.respond(&request.body(body.into_bytes()).unwrap())
}

fn exchange(ups: &FakeUpsState, code: &str) -> Response<Vec<u8>> {
    let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
    post(ups, "/security/v1/oauth/token", Some(&basic("client", SECRET)), &form).response
}

fn refresh_reply(ups: &FakeUpsState, refresh_token: &str) -> Reply {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    post(ups, "/security/v1/oauth/refresh", Some(&basic("client", SECRET)), &form)
}

fn refresh(ups: &FakeUpsState, refresh_token: &str) -> Response<Vec<u8>> {
    refresh_reply(ups, refresh_token).response
}

fn track(ups: &FakeUpsState, access_token: &str) -> Response<Vec<u8>> {
    let request = Request::get("/api/track/v1/details/1Z999AA10123456784")
        .header("authorization", format!("Bearer {access_token}"))
        .header("transId", "t-1")
        .header("transactionSrc", "test")
        .body(Vec::new());
    ups.respond(&request.unwrap()).response
}

async fn code(ups: &FakeUps, more: &[(&str, &str)]) -> String {
    let query = ups.consent(&authorize_url(more), USER).await;
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code").unwrap().1.into_owned()
}

/// The first pair of a new opt-in.
async fn opt_in(ups: &FakeUps) -> Value {
    let code = code(ups, &[]).await;
    json(&exchange(ups, &code))
}

fn json(response: &Response<Vec<u8>>) -> Value {
    let text = String::from_utf8_lossy(response.body());
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{} {text}", response.status()))
}

fn field<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("{name} in {json}"))
}

fn header<'a>(response: &'a Response<Vec<u8>>, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// Status, code and message of an answer in UPS's error envelope.
fn error(response: &Response<Vec<u8>>) -> (u16, String, String) {
    let json = json(response);
    let error = &json["response"]["errors"][0];
    (response.status().as_u16(), field(error, "code").to_owned(), field(error, "message").to_owned())
}

#[track_caller]
fn assert_error(response: &Response<Vec<u8>>, status: u16, code: &str, message: &str) {
    assert_eq!(error(response), (status, code.to_owned(), message.to_owned()));
}
