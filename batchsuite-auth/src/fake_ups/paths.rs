//! UPS's paths and their methods.

use http::Method;

use super::requests::Endpoint;

const AUTHORIZE: &str = "/security/v1/oauth/authorize";
pub(super) const SIGN_IN: &str = "/lasso/signin";
/// The decline link; UPS.com has none.
pub(super) const DECLINE: &str = "/__fake/decline";
/// Where UPS redirects browsers during an outage. Clients compare the complete URL.
pub(super) const ERROR_PAGE: &str = "https://www.ups.com/error.page";
pub(super) const ERROR_PAGE_PATH: &str = "/error.page";
/// Followed by the tracking number.
pub(super) const TRACK: &str = "/api/track/v1/details/";

/// The endpoint at a path.
pub(super) fn endpoint(path: &str) -> Option<Endpoint> {
    Some(match path {
        "/security/v1/oauth/refresh" => Endpoint::Refresh,
        "/security/v1/oauth/token" => Endpoint::Token,
        AUTHORIZE => Endpoint::Authorize,
        "/security/v1/oauth/validate-client" => Endpoint::ValidateClient,
        SIGN_IN => Endpoint::SignIn,
        _ if path.strip_prefix(TRACK).is_some_and(|number| !number.is_empty() && !number.contains('/')) => {
            Endpoint::Track
        }
        _ => return None,
    })
}

/// Whether the endpoint supports this method; if not, the methods it supports.
pub(super) fn allowed(endpoint: Endpoint, method: &Method) -> Result<(), &'static str> {
    let (methods, allow): (&[Method], _) = match endpoint {
        Endpoint::Token | Endpoint::Refresh => (&[Method::POST], "POST"),
        Endpoint::SignIn => (&[Method::GET, Method::HEAD, Method::POST], "GET, HEAD, POST"),
        _ => (&[Method::GET, Method::HEAD], "GET, HEAD"),
    };
    if methods.contains(method) { Ok(()) } else { Err(allow) }
}
