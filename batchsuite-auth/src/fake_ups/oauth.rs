//! UPS's four OAuth endpoints.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderValue, Request, Response, header};
use serde::Serialize;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::{
    FakeUpsState,
    error_response::ErrorResponse,
    hosts::origin,
    params::Params,
    paths::SIGN_IN,
    requests::Outcome,
    response::{json_response, redirect},
    state::IssuedPair,
};

/// A valid authorization request, ready for the user (RFC 6749 §4.1.1).
pub(super) struct AuthorizationRequest<'a> {
    pub(super) client: usize,
    pub(super) client_id: &'a str,
    pub(super) redirect_uri: &'a str,
    pub(super) scope: Option<&'a str>,
    pub(super) state: Option<&'a str>,
    pub(super) code_challenge: Option<&'a str>,
}

impl<'a> AuthorizationRequest<'a> {
    pub(super) fn read(ups: &FakeUpsState, params: &'a Params<'_>) -> Result<Self, ErrorResponse> {
        let (Some(client_id), Some(response_type)) = (params.filled("client_id"), params.filled("response_type"))
        else {
            return Err(ErrorResponse::INCOMPLETE_AUTHORIZATION_REQUEST);
        };
        let client = ups.client(client_id).ok_or(ErrorResponse::BAD_CLIENT)?;
        if ups.is_blocked() {
            return Err(ErrorResponse::BLOCKED_CLIENT);
        }
        let redirect_uri = params
            .get("redirect_uri")
            .filter(|uri| ups.settings.redirect_uris.iter().any(|registered| registered == uri))
            .ok_or(ErrorResponse::BAD_REDIRECT_URI)?;
        if response_type != "code" {
            return Err(ErrorResponse::BAD_RESPONSE_TYPE);
        }
        let code_challenge = params.filled("code_challenge");
        // A SHA-256 challenge has 43 characters; UPS supports no other method (RFC 7636 §4.2).
        if code_challenge.is_some_and(|challenge| challenge.len() != 43)
            || params.get("code_challenge_method").is_some_and(|method| method != "S256")
        {
            return Err(ErrorResponse::BAD_CODE_CHALLENGE);
        }
        Ok(Self {
            client,
            client_id,
            redirect_uri,
            scope: params.filled("scope"),
            state: params.get("state"),
            code_challenge,
        })
    }

    /// The parameters that the sign-in page carries on.
    pub(super) fn pairs(&self) -> Vec<(&'static str, &'a str)> {
        let mut pairs =
            vec![("client_id", self.client_id), ("redirect_uri", self.redirect_uri), ("response_type", "code")];
        pairs.extend(self.scope.map(|scope| ("scope", scope)));
        pairs.extend(self.state.map(|state| ("state", state)));
        pairs.extend(self.code_challenge.map(|challenge| ("code_challenge", challenge)));
        pairs.push(("type", "ups_com_api"));
        pairs
    }

    /// The application's address with `answer` and the state.
    pub(super) fn back(&self, answer: &str) -> String {
        let separator = if self.redirect_uri.contains('?') { '&' } else { '?' };
        let mut back = format!("{}{separator}{answer}", self.redirect_uri);
        if let Some(state) = self.state {
            back.push_str("&state=");
            back.extend(form_urlencoded::byte_serialize(state.as_bytes()));
        }
        back
    }
}

pub(super) fn authorize(
    ups: &FakeUpsState,
    request: &Request<Vec<u8>>,
    params: &Params<'_>,
) -> Result<Response<Vec<u8>>, ErrorResponse> {
    let asked = AuthorizationRequest::read(ups, params)?;
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(asked.pairs()).finish();
    let mut response = redirect(302, &format!("{}{SIGN_IN}?{query}", sign_in_origin(ups, request)));
    // The builder has validated the name as a header value.
    if let Ok(name) = HeaderValue::from_str(&ups.settings.application_name) {
        response.headers_mut().insert("appname", name.clone());
        response.headers_mut().insert("displayname", name);
    }
    Ok(response)
}

/// Browsers sign in at another host than the API's; so also here, where this UPS replaces those hosts.
fn sign_in_origin(ups: &FakeUpsState, request: &Request<Vec<u8>>) -> String {
    const SIGN_IN_HOST: &str = "www.ups.com";
    let origin = origin(request);
    let is_api_host = matches!(origin.as_str(), "https://onlinetools.ups.com" | "https://wwwcie.ups.com");
    if is_api_host && ups.settings.allowed_hosts.iter().any(|host| host == SIGN_IN_HOST) {
        return format!("https://{SIGN_IN_HOST}");
    }
    origin
}

pub(super) fn validate_client(
    ups: &FakeUpsState,
    request: &Request<Vec<u8>>,
    params: &Params<'_>,
) -> Result<Response<Vec<u8>>, ErrorResponse> {
    params.get("client_id").and_then(|id| ups.client(id)).ok_or(ErrorResponse::BAD_CLIENT)?;
    if ups.is_blocked() {
        return Err(ErrorResponse::BLOCKED_CLIENT);
    }
    params
        .get("redirect_uri")
        .filter(|uri| ups.settings.redirect_uris.iter().any(|registered| registered == uri))
        .ok_or(ErrorResponse::BAD_REDIRECT_URI)?;
    let body = serde_json::json!({
        "result": "success",
        "type": "ups_com_api",
        "LassoRedirectURL": format!("{}{SIGN_IN}", sign_in_origin(ups, request)),
    });
    Ok(json_response(200, body.to_string().into_bytes()))
}

pub(super) fn token(
    ups: &FakeUpsState,
    request: &Request<Vec<u8>>,
    params: &Params<'_>,
) -> Result<Response<Vec<u8>>, ErrorResponse> {
    // A presented code is used up whatever else is wrong: it may have leaked.
    let consent = params.filled("code").ok_or(Outcome::UnknownCode).and_then(|code| ups.take_code(code));
    let client = match ups.basic_client(request) {
        Some(client) => client?,
        // PKCE instead of the secret.
        None if params.filled("code_verifier").is_some() && !ups.settings.pkce_needs_secret => {
            params.get("client_id").and_then(|id| ups.client(id)).ok_or(ErrorResponse::BAD_CLIENT)?
        }
        None => return Err(ErrorResponse::BAD_AUTHORIZATION_HEADER),
    };
    if ups.is_blocked() {
        return Err(ErrorResponse::BLOCKED_CLIENT);
    }
    if params.get("grant_type") != Some("authorization_code") {
        return Err(ErrorResponse::BAD_GRANT_TYPE);
    }
    let consent = consent.map_err(|outcome| ErrorResponse::UNKNOWN_CODE.with_outcome(outcome))?;
    if consent.client != client {
        return Err(ErrorResponse::UNKNOWN_CODE);
    }
    if params.get("redirect_uri") != Some(&consent.redirect_uri) {
        return Err(ErrorResponse::BAD_REDIRECT_URI);
    }
    match (&consent.code_challenge, params.filled("code_verifier")) {
        (Some(challenge), Some(verifier)) if *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) => {}
        (None, None) => {}
        // A verifier without a challenge is refused too: an attacker may have removed the challenge (RFC 9700 §4.8.2).
        _ => return Err(ErrorResponse::BAD_VERIFIER),
    }
    Ok(ups.pair_response(client, ups.open_grant(client, consent.user, consent.opt_ins_ended)))
}

pub(super) fn refresh(
    ups: &FakeUpsState,
    request: &Request<Vec<u8>>,
    params: &Params<'_>,
    keep: bool,
) -> Result<Response<Vec<u8>>, ErrorResponse> {
    let client = ups.basic_client(request).ok_or(ErrorResponse::BAD_AUTHORIZATION_HEADER)??;
    if ups.is_blocked() {
        return Err(ErrorResponse::BLOCKED_CLIENT);
    }
    if params.get("grant_type") != Some("refresh_token") {
        return Err(ErrorResponse::BAD_GRANT_TYPE);
    }
    let refresh_token = params.filled("refresh_token").ok_or(ErrorResponse::MISSING_REFRESH_TOKEN)?;
    let pair = ups
        .rotate(client, refresh_token, keep)
        .map_err(|outcome| ErrorResponse::SPENT_REFRESH_TOKEN.with_outcome(outcome))?;
    Ok(ups.pair_response(client, pair))
}

impl FakeUpsState {
    fn client(&self, id: &str) -> Option<usize> {
        self.settings.clients.iter().position(|client| client.id == id)
    }

    /// The client named by `Authorization: Basic`, with id and secret either raw (RFC 7617, as UPS's SDKs send them) or
    /// form-encoded (RFC 6749 §2.3.1); `None` if there is no such header.
    fn basic_client(&self, request: &Request<Vec<u8>>) -> Option<Result<usize, ErrorResponse>> {
        let header = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
        let (id, secret) = decoded.split_once(':')?;
        let find = |id: &str, secret: &str| {
            self.settings.clients.iter().position(|client| client.id == id && client.secret == secret)
        };
        let client = find(id, secret).or_else(|| find(&form_decode(id), &form_decode(secret)));
        Some(client.ok_or(ErrorResponse::BAD_CLIENT))
    }

    fn pair_response(&self, client: usize, pair: IssuedPair) -> Response<Vec<u8>> {
        let issued_at = pair.issued_at.to_string();
        let answer = PairAnswer {
            refresh_token_expires_in: &self.settings.refresh_lifetime.as_secs().to_string(),
            refresh_token_status: "approved",
            token_type: "Bearer",
            issued_at: &issued_at,
            client_id: &self.settings.clients[client].id,
            access_token: &pair.access_token,
            refresh_token: &pair.refresh_token,
            scope: self.settings.twelve_fields.then_some(""),
            refresh_token_issued_at: &issued_at,
            expires_in: &self.settings.access_lifetime.as_secs().to_string(),
            refresh_count: self.settings.twelve_fields.then(|| pair.rotation.to_string()),
            status: "approved",
        };
        json_response(200, serde_json::to_vec(&answer).unwrap_or_default())
    }
}

/// UPS's answer with a pair, fields in UPS's order. Every value is a string, numbers included; `issued_at`s are in
/// milliseconds, `expires_in`s in seconds.
#[derive(Serialize)]
struct PairAnswer<'a> {
    refresh_token_expires_in: &'a str,
    refresh_token_status: &'a str,
    token_type: &'a str,
    issued_at: &'a str,
    client_id: &'a str,
    access_token: &'a str,
    refresh_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    refresh_token_issued_at: &'a str,
    expires_in: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_count: Option<String>,
    status: &'a str,
}

fn form_decode(text: &str) -> String {
    // Parsed as a form with a single name. Not every client encodes '&' and '=', so they are encoded first to keep it
    // single.
    let text = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes()).map(|(name, _)| name.into_owned()).next().unwrap_or_default()
}
