//! Errors of the handle as responses of a host's handlers.

use std::time::Duration;

use axum::{
    body::to_bytes,
    response::{IntoResponse, Response},
};
use batchsuite_auth::{
    error::{AuthenticateError, CallbackError, LinkError, OptInRefused, TokenError, Unavailable},
    events::Evidence,
    store::{StoreError, StoreErrorKind},
};
use http::header;

async fn seen(response: Response) -> (u16, String, String) {
    let (parts, body) = response.into_parts();
    let retry_after = parts.headers.get(header::RETRY_AFTER).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_eq!(parts.headers[header::CACHE_CONTROL], "no-store");
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    (parts.status.as_u16(), retry_after, body)
}

fn store(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind)
}

#[tokio::test]
async fn an_error_of_a_token_is_a_status_and_says_when_to_try_again() {
    let wait = Duration::from_millis(6001);
    let evidence = || Box::new(Evidence::message("canary"));
    for (error, status, retry_after) in [
        (TokenError::NotAuthenticated, 409, ""),
        (TokenError::Unavailable { reason: Unavailable::Paused, retry_after: wait }, 503, "7"),
        (TokenError::Unavailable { reason: Unavailable::Paused, retry_after: Duration::ZERO }, 503, "1"),
        (TokenError::Misconfigured { evidence: evidence(), retry_after: wait }, 502, "7"),
        (TokenError::Store(store(StoreErrorKind::Unavailable)), 503, "1"),
        (TokenError::Store(store(StoreErrorKind::Corrupt)), 500, ""),
        (TokenError::ShutDown, 503, ""),
    ] {
        let words = error.to_string();
        if let TokenError::Store(error) = &error {
            assert_eq!(seen(error.clone().into_response()).await.0, status);
        }
        assert_eq!(seen((&error).into_response()).await.0, status);
        let (seen_status, seen_retry_after, body) = seen(error.into_response()).await;
        assert_eq!((seen_status, seen_retry_after.as_str(), &body), (status, retry_after, &words));
        assert!(!body.contains("canary"), "{body}");
    }
}

#[tokio::test]
async fn an_error_of_a_trip_is_a_page_with_its_status() {
    let wait = Duration::from_secs(7);
    let evidence = || Evidence::message("canary");
    for (error, status, retry_after) in [
        (CallbackError::UnknownState, 400, ""),
        (CallbackError::Declined, 400, ""),
        (CallbackError::SignInFailed(evidence()), 400, ""),
        (CallbackError::CodeRefused(evidence()), 400, ""),
        (CallbackError::RefusedByHost(OptInRefused::new("<b>not yours</b>")), 403, ""),
        (CallbackError::Unanswered(evidence()), 502, ""),
        (CallbackError::Misconfigured(evidence()), 502, ""),
        (CallbackError::Unavailable { retry_after: wait }, 503, "7"),
        (CallbackError::Store(store(StoreErrorKind::Unavailable)), 503, "1"),
        (CallbackError::Store(store(StoreErrorKind::Corrupt)), 400, ""),
        (CallbackError::Store(store(StoreErrorKind::Misconfigured)), 500, ""),
        (CallbackError::ShutDown, 503, ""),
    ] {
        let shown = format!("{error:?}");
        let (seen_status, seen_retry_after, body) = seen(error.into_response()).await;
        assert_eq!((seen_status, seen_retry_after.as_str()), (status, retry_after), "{shown}");
        assert!(!body.contains("canary") && !body.contains("<b>"), "{body}");
        assert_eq!(body.contains("&lt;b&gt;not yours&lt;/b&gt;"), status == 403, "{body}");
    }
    for (response, expected) in [
        (AuthenticateError::Store(store(StoreErrorKind::Unavailable)).into_response(), (503, "1")),
        (AuthenticateError::InvalidReturnTo.into_response(), (500, "")),
        (AuthenticateError::ShutDown.into_response(), (503, "")),
        (LinkError::Unknown.into_response(), (404, "")),
        (LinkError::Used.into_response(), (410, "")),
        (LinkError::Expired.into_response(), (410, "")),
        (LinkError::RemovedSince.into_response(), (410, "")),
        (LinkError::RefusedByHost(OptInRefused::new("canary")).into_response(), (403, "")),
        (LinkError::Store(store(StoreErrorKind::Unavailable)).into_response(), (503, "1")),
        (LinkError::ShutDown.into_response(), (503, "")),
    ] {
        let (status, retry_after, body) = seen(response).await;
        assert_eq!((status, retry_after.as_str()), expected, "{body}");
        assert!(!body.contains("canary"), "{body}");
    }
}
