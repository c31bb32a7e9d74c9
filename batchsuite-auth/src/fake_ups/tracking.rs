//! The one protected API, `GET /api/track/v1/details/{number}`, for trying access tokens.

use http::{Request, Response, header};
use serde_json::json;

use super::{FakeUpsState, error_response::ErrorResponse, paths::TRACK, requests::Outcome, response::json_response};

pub(super) fn track(ups: &FakeUpsState, request: &Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ErrorResponse> {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(ErrorResponse::BAD_ACCESS_TOKEN)?;
    ups.check_access_token(token).map_err(|outcome| match outcome {
        Outcome::ExpiredAccessToken => ErrorResponse::EXPIRED_ACCESS_TOKEN,
        Outcome::OptInEnded => ErrorResponse::ENDED_ACCESS_TOKEN,
        _ => ErrorResponse::BAD_ACCESS_TOKEN,
    })?;
    let is_sent = |name: &str| request.headers().get(name).is_some_and(|value| !value.is_empty());
    if !is_sent("transid") {
        return Err(ErrorResponse::MISSING_TRANSACTION_ID);
    }
    if !is_sent("transactionsrc") {
        return Err(ErrorResponse::MISSING_TRANSACTION_SOURCE);
    }
    let number = percent_decoded(request.uri().path().strip_prefix(TRACK).unwrap_or_default());
    if !(7..=34).contains(&number.chars().count()) {
        return Err(ErrorResponse::BAD_TRACKING_NUMBER);
    }
    let now = ups.now();
    let body = json!({
        "trackResponse": {"shipment": [{
            "inquiryNumber": number,
            "package": [{
                "trackingNumber": number,
                "currentStatus": {"code": "005", "description": "On the Way"},
                "activity": [{
                    "location": {"address": {"city": "LOUISVILLE", "stateProvince": "KY", "countryCode": "US"}},
                    "status": {"type": "I", "description": "Departed from Facility", "code": "DP"},
                    "date": now.format("%Y%m%d").to_string(),
                    "time": now.format("%H%M%S").to_string(),
                }],
            }],
        }]},
    });
    Ok(json_response(200, body.to_string().into_bytes()))
}

fn percent_decoded(segment: &str) -> String {
    // A '+' in a path segment is literal; a form decoder would read it as a space.
    let form = segment.replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
    url::form_urlencoded::parse(form.as_bytes()).map(|(name, _)| name.into_owned()).next().unwrap_or_default()
}
