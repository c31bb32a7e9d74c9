//! Signing in and out.

use axum::{
    extract::{FromRequest, Query, Request, State},
    response::{IntoResponse, Redirect, Response},
};
use batchsuite_auth::BrowserSecret;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    layout::{Section, csrf_field, page},
    refusal::Refusal,
};
use crate::{
    access::{Form, Visitor},
    app::App,
    passwords::Busy,
    sessions::SessionId,
    text::shown,
    throttle::Who,
};

/// The maximum length of a name and of a password, in bytes.
const MOST_FIELD: usize = 1024;

/// Why the person is on the sign-in page.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// They opened the page themselves.
    #[default]
    Signin,
    /// They returned from UPS.com after being signed out.
    StartAgain,
    /// They signed out.
    SignedOut,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Show {
    #[serde(default)]
    why: Why,
    #[serde(default)]
    next: String,
}

/// The sign-in form.
pub(crate) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    query: Result<Query<Show>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Query(Show { why, next }) = query.unwrap_or_default();
    let next = own_path(&next);
    if visitor.person().is_some() {
        return Redirect::to(&next).into_response();
    }
    // A browser without a session gets an id that no store knows, because the form needs a CSRF token.
    let (visitor, cookie) = match visitor.session() {
        Some(_) => (visitor, None),
        None => {
            let session = SessionId::random();
            let cookie = app.cookies.set_session(&session);
            (Visitor::new(Some(session), None), cookie)
        }
    };
    let notice = match why {
        Why::Signin => None,
        Why::StartAgain => Some(
            "You were signed out before you came back from UPS.com, so nothing was changed. Sign in, then start \
             again with Authenticate.",
        ),
        Why::SignedOut => Some("You are signed out."),
    };
    with_cookie(form(&visitor, &app, &next, "", notice, None).into_response(), cookie)
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    sign_in_name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// Checks name and password, and begins a session with a new id.
pub(crate) async fn sign_in(State(app): State<App>, visitor: Visitor, request: Request) -> Result<Response, Refusal> {
    let client = app.client(&request);
    let trip_secrets = app.auth.trip_cookie().secrets(request.headers());
    let Form(SignIn { sign_in_name, password, next }) = Form::from_request(request, &()).await?;
    let (name, next, now) = (sign_in_name.trim(), own_path(&next), app.clock.now());
    let refuse = |status: StatusCode, words: &str| {
        (status, form(&visitor, &app, &next, &shown(name, 128), None, Some(words))).into_response()
    };
    let wrong = "The Sign In name or the Password is wrong.";
    if name.is_empty() || name.len() > MOST_FIELD || password.len() > MOST_FIELD {
        return Ok(refuse(StatusCode::UNPROCESSABLE_ENTITY, wrong));
    }
    let browser = trip_secrets.first().map(BrowserSecret::hash);
    let counted = match app.throttle.try_now(Who { sign_in_name: name, client, browser }, now) {
        Ok(counted) => counted,
        Err(wait) => {
            let mut response =
                refuse(StatusCode::TOO_MANY_REQUESTS, "Too many failed tries. Wait five minutes, then try again.");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            return Ok(response);
        }
    };
    let (person, hash) = app.directory.sign_in(name).await?.unzip();
    match (app.verifier.verify(counted.lane(), password.into(), hash).await, person) {
        (Ok(true), Some(person)) => {
            counted.succeeded();
            // From now on the browser has its own secret, for its trips to UPS.com and so that nobody else can lock its
            // person out.
            let secret = trip_secrets.first().cloned().unwrap_or_else(BrowserSecret::random);
            app.throttle.know(Who { sign_in_name: name, client, browser: Some(secret.hash()) }, now);
            if let Some(before) = visitor.session() {
                app.sessions.end(before.hash()).await?;
            }
            let session = SessionId::random();
            app.sessions.begin(session.hash(), person.id, now).await?;
            let response = with_cookie(Redirect::to(&next).into_response(), app.cookies.set_session(&session));
            Ok(with_cookie(response, Some(app.auth.trip_cookie().header(&secret))))
        }
        (Ok(_), _) => {
            counted.failed();
            Ok(refuse(StatusCode::UNPROCESSABLE_ENTITY, wrong))
        }
        // Turned away before the password was checked, so it does not count as a failed attempt.
        (Err(Busy), _) => {
            let words = "Too many people are signing in at this moment. Try again.";
            let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, words);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
            Ok(response)
        }
    }
}

/// Ends the session.
pub(crate) async fn sign_out(State(app): State<App>, visitor: Visitor) -> Result<Response, Refusal> {
    if let Some(session) = visitor.session() {
        app.sessions.end(session.hash()).await?;
    }
    let response = Redirect::to("/login?why=signed-out").into_response();
    Ok(with_cookie(response, app.cookies.clear_session()))
}

fn form(visitor: &Visitor, app: &App, next: &str, name: &str, notice: Option<&str>, error: Option<&str>) -> Markup {
    let described = error.map(|_| "error");
    let content = html! {
        div.narrow {
            h1 { "Sign in" }
            @if let Some(notice) = notice { div.notice role="status" { p { (notice) } } }
            @if let Some(error) = error { div.notice.bad #error role="alert" { p { (error) } } }
            form.card method="post" action="/login" {
                (csrf_field(visitor))
                input type="hidden" name="next" value=(next);
                div.field {
                    label for="sign_in_name" { "Sign In name" }
                    input #sign_in_name name="sign_in_name" value=(name) autocomplete="username" autocapitalize="none"
                        spellcheck="false" required autofocus[name.is_empty()] aria-describedby=[described];
                }
                div.field {
                    label for="password" { "Password" }
                    input #password name="password" type="password" autocomplete="current-password" required
                        autofocus[!name.is_empty()] aria-describedby=[described];
                }
                button type="submit" { "Sign in" }
            }
            @if app.site.demo_ups.is_some() {
                p.hint { "This is a demo. The sign-ins are shown in the terminal in which it runs." }
            }
        }
    };
    page(visitor, Section::None, "Sign in", content)
}

/// `next` if it is a path of this application, otherwise the first page; never another site.
fn own_path(next: &str) -> String {
    let is_plain = next.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_'));
    let is_own = is_plain && next.starts_with('/') && !next.starts_with("//") && next.len() <= 256;
    // Signing in must not lead to signing out, back to the sign-in page, or to the callback.
    let leads_on = is_own && !["/login", "/logout", crate::app::CALLBACK_PATH].contains(&next);
    if leads_on { next.to_owned() } else { "/".to_owned() }
}

fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        let headers: &mut HeaderMap = response.headers_mut();
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_application_is_gone_to_after_signing_in() {
        for (next, gone_to) in [
            ("/companies", "/companies"),
            ("/companies/0b0e/history", "/companies/0b0e/history"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/companies?after=1", "/"),
            ("/x\r\nset-cookie:a", "/"),
            ("/login", "/"),
            ("/oauth/ups/callback", "/"),
        ] {
            assert_eq!(own_path(next), gone_to, "{next:?}");
        }
    }
}
