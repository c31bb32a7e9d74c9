//! The pages on which a user signs in at UPS.com and agrees. They keep no server-side state: each page carries the
//! authorization request on, so a user may have several trips open, and an abandoned one leaves nothing behind.

use std::fmt::Write as _;

use http::{HeaderValue, Method, Request, Response, header};
use url::form_urlencoded;

use super::{
    FakeUpsState,
    accounts::UserConsent,
    error_response::ErrorResponse,
    oauth::AuthorizationRequest,
    params::Params,
    paths::{DECLINE, ERROR_PAGE_PATH, SIGN_IN},
    requests::Outcome,
    response::{redirect, typed},
};

/// The sign-in: name and agreement first, then the password, then back to the application with a code.
pub(super) fn sign_in(
    ups: &FakeUpsState,
    request: &Request<Vec<u8>>,
    params: &Params<'_>,
) -> (Outcome, Response<Vec<u8>>) {
    let asked = match AuthorizationRequest::read(ups, params) {
        Ok(asked) => asked,
        Err(error) => return (error.outcome, wrong_request(error)),
    };
    if *request.method() != Method::POST {
        return (Outcome::Ok, log_in_page(ups, &asked, "", false, None));
    }
    let username = params.get("username").unwrap_or_default().trim();
    let agreed = params.get("agree") == Some("yes");
    if username.is_empty() {
        let page = log_in_page(ups, &asked, "", agreed, Some(("username", "Enter your email or username.")));
        return (Outcome::WrongPassword, page);
    }
    if !agreed {
        let words = "To continue, tick the box to agree to the UPS Technology Agreement.";
        return (Outcome::AgreementMissing, log_in_page(ups, &asked, username, false, Some(("agree", words))));
    }
    let Some(password) = params.get("password") else {
        return (Outcome::Ok, password_page(&asked, username, None));
    };
    let Some(user) = ups.sign_in(username, password) else {
        let words = "The username or the password is not right. Try again.";
        return (Outcome::WrongPassword, password_page(&asked, username, Some(words)));
    };
    let code = ups.issue_code(UserConsent {
        client: asked.client,
        user,
        opt_ins_ended: ups.opt_ins_ended(user),
        redirect_uri: asked.redirect_uri.to_owned(),
        code_challenge: asked.code_challenge.map(str::to_owned),
    });
    // As recorded from UPS: the code's '=' is not escaped, and the code has no other character that needs escaping.
    let scope: String = form_urlencoded::byte_serialize(asked.scope.unwrap_or("read").as_bytes()).collect();
    (Outcome::Consented, redirect(302, &asked.back(&format!("code={code}&scope={scope}"))))
}

/// Back to the application with `access_denied` (RFC 6749 §4.1.2.1). UPS documents no such answer; people who decline
/// there close the window.
pub(super) fn decline(ups: &FakeUpsState, params: &Params<'_>) -> (Outcome, Response<Vec<u8>>) {
    match AuthorizationRequest::read(ups, params) {
        Ok(asked) => {
            let answer = "error=access_denied&error_description=The+user+declined";
            (Outcome::Declined, redirect(302, &asked.back(answer)))
        }
        Err(error) => (error.outcome, wrong_request(error)),
    }
}

fn log_in_page(
    ups: &FakeUpsState,
    asked: &AuthorizationRequest<'_>,
    username: &str,
    agreed: bool,
    error: Option<(&str, &str)>,
) -> Response<Vec<u8>> {
    let told = |field: &str| error.filter(|(at, _)| *at == field).map(|(_, words)| words);
    let app = Escaped(&ups.settings.application_name);
    let body = format!(
        r#"<h1>Log In</h1>
<form method="post" action="{SIGN_IN}">
{hidden}{username_error}<label for="username">Email or Username</label>
<input id="username" name="username" type="text" value="{username}" autocomplete="username" autocapitalize="none" spellcheck="false"{username_mark}>
{agree_error}<div class="check">
<input id="agree" name="agree" type="checkbox" value="yes"{checked}{agree_mark}>
<label for="agree">By continuing, I agree to the <a href="/lasso/agreement">UPS Technology Agreement</a> and authorize {app} to access data associated with my UPS.com username listed above, including UPS shipping account numbers, contact information, rates, and package tracking status.</label>
</div>
<button type="submit">Continue</button>
</form>
<ul class="links">
<li><a href="/lasso/signup">Sign up</a></li>
<li><a href="/lasso/forgot">Forgot Username/Password</a></li>
<li><a href="{DECLINE}?{query}">No thanks, back to {app}</a> <small>(only this fake has this link: at UPS.com one closes the window)</small></li>
</ul>"#,
        hidden = hidden_fields(asked),
        username = Escaped(username),
        username_error = error_note("username", told("username")),
        username_mark =
            if error.is_none() { " autofocus".to_owned() } else { error_mark("username", told("username")) },
        agree_error = error_note("agree", told("agree")),
        agree_mark = error_mark("agree", told("agree")),
        checked = if agreed { " checked" } else { "" },
        query = Escaped(&query(asked)),
    );
    page(200, "Log In", error.is_some(), &body)
}

fn password_page(asked: &AuthorizationRequest<'_>, username: &str, error: Option<&str>) -> Response<Vec<u8>> {
    let body = format!(
        r#"<h1>Password</h1>
<p>Welcome back, <strong>{username}</strong></p>
<form method="post" action="{SIGN_IN}">
{hidden}<input type="hidden" name="agree" value="yes">
<input type="hidden" name="username" value="{username}" autocomplete="username">
{note}<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password"{mark}>
<button type="submit">Log In</button>
</form>
<ul class="links">
<li><a href="{SIGN_IN}?{query}">Use another username</a></li>
<li><a href="/lasso/forgot">Forgot Username/Password</a></li>
</ul>"#,
        username = Escaped(username),
        hidden = hidden_fields(asked),
        note = error_note("password", error),
        mark = if error.is_none() { " autofocus".to_owned() } else { error_mark("password", error) },
        query = Escaped(&query(asked)),
    );
    page(200, "Password", error.is_some(), &body)
}

fn wrong_request(error: ErrorResponse) -> Response<Vec<u8>> {
    let body = format!(
        "<h1>This request cannot continue</h1>\n<p>The application sent you here with an invalid request: \
         <strong>{}</strong>.</p>\n<p>Go back to the application and start again.</p>",
        Escaped(error.message())
    );
    page(400, "This request cannot continue", true, &body)
}

/// The other pages and the style sheet; `None` if the path does not exist.
pub(super) fn stand_in(path: &str) -> Option<Response<Vec<u8>>> {
    let (title, words) = match path {
        STYLE => {
            let mut response = typed(200, "text/css;charset=utf-8", include_str!("assets/style.css"));
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
            return Some(response);
        }
        "/lasso/signup" => (
            "Sign up",
            "At UPS.com you would create an account here. This fake has only the users it was started with.",
        ),
        "/lasso/forgot" => (
            "Forgot Username/Password",
            "At UPS.com you would get help here. This fake lists its users and changes their passwords on its own page.",
        ),
        "/lasso/agreement" => (
            "UPS Technology Agreement",
            "At UPS.com this page shows the agreement. This fake omits its text, and ticking the box agrees to nothing.",
        ),
        ERROR_PAGE_PATH => (
            "Something went wrong",
            "UPS.com sends browsers to a page like this one during an outage. Try again later.",
        ),
        _ => return None,
    };
    let body = format!("<h1>{}</h1>\n<p>{}</p>", Escaped(title), Escaped(words));
    Some(page(200, title, false, &body))
}

const STYLE: &str = "/lasso/style.css";

/// A complete page around `body`, which is HTML.
pub(super) fn page(status: u16, title: &str, is_error: bool, body: &str) -> Response<Vec<u8>> {
    let html = format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{error}{title} - Fake UPS</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{STYLE}">
</head>
<body>
<header><strong>Fake UPS</strong> <span>for tests and demos</span></header>
<main>
{body}
</main>
<footer><p>This is not UPS.com but a stand-in for tests and demos. Do not enter a real password here. <a href="/__fake/">Users, passwords and faults of this fake</a></p></footer>
</body>
</html>
"#,
        error = if is_error { "Error: " } else { "" },
        title = Escaped(title),
    );
    let mut response = typed(status, "text/html;charset=utf-8", html);
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        // No form-action: browsers also apply it to the redirect back to the application.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
        ),
        // Not no-referrer: with it, browsers send `Origin: null` with the page's own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn hidden_fields(asked: &AuthorizationRequest<'_>) -> String {
    let mut fields = String::new();
    for (name, value) in asked.pairs() {
        let _ = writeln!(fields, r#"<input type="hidden" name="{name}" value="{}">"#, Escaped(value));
    }
    fields
}

fn query(asked: &AuthorizationRequest<'_>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(asked.pairs()).finish()
}

fn error_note(field: &str, words: Option<&str>) -> String {
    words.map_or_else(String::new, |words| {
        format!("<p class=\"error\" id=\"{field}-error\" role=\"alert\">{}</p>\n", Escaped(words))
    })
}

fn error_mark(field: &str, words: Option<&str>) -> String {
    words.map_or_else(String::new, |_| format!(r#" aria-invalid="true" aria-describedby="{field}-error" autofocus"#))
}

/// Text escaped for HTML, including quoted attributes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}
