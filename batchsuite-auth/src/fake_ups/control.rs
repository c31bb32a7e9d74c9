//! The paths under `/__fake/`: a page for people, and the same controls for programs.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use chrono::TimeDelta;
use http::{Method, Request, Response};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use super::{
    FakeUpsState,
    error_response::method_not_allowed,
    faults::{Fault, Times, lenient_number, optional_lenient_number},
    pages::{self, Escaped},
    person::Browser,
    reply::Reply,
    requests::Endpoint,
    response::{json_response, redirect, typed},
    rs384,
    state::AccessTokens,
};
use crate::clock::Timestamp;

/// The answer to a control request; `None` if the path does not exist.
pub(super) fn respond(ups: &FakeUpsState, request: &Request<Vec<u8>>) -> Option<Reply> {
    let path = request.uri().path();
    let change: Change = match path {
        "/__fake/password" => password,
        "/__fake/revoke" => revoke,
        "/__fake/faults" => fault,
        "/__fake/clock" => clock,
        "/__fake/client" => client,
        "/__fake/consent" => consent,
        RESET => reset,
        _ => return look(ups, request, path).map(Reply::from),
    };
    if *request.method() != Method::POST {
        return Some(method_not_allowed("POST").into());
    }
    // A page of another site must not change a demo's settings behind its viewer's back.
    if !ups.is_from_own_page(request) {
        return Some(json_response(403, json!({"error": "not from another site"}).to_string().into_bytes()).into());
    }
    let (input, from_page) = match read(request) {
        Ok(read) => read,
        Err(mistake) => return Some(refuse(&mistake, false).into()),
    };
    Some(match change(ups, input) {
        Ok(_) if from_page => redirect(303, PAGE).into(),
        Ok(Done { told, delay }) => Reply::from(json_response(200, told.to_string().into_bytes())).late(delay),
        Err(mistake) => refuse(&mistake, from_page).into(),
    })
}

/// The answer to a request that changes nothing.
fn look(ups: &FakeUpsState, request: &Request<Vec<u8>>, path: &str) -> Option<Response<Vec<u8>>> {
    if !matches!(path, "/__fake" | PAGE | "/__fake/requests" | "/__fake/keys") {
        return None;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(method_not_allowed("GET, HEAD"));
    }
    Some(match path {
        "/__fake" => redirect(302, PAGE),
        PAGE => people(ups),
        "/__fake/keys" => typed(200, "application/json", json!({"keys": [rs384::jwk()]}).to_string()),
        _ => requests(ups),
    })
}

/// Applies `input`; returns a report of the change, or a description of the mistake.
type Change = fn(&FakeUpsState, Value) -> Result<Done, String>;

/// The answer to a change, and its delay.
struct Done {
    told: Value,
    delay: Duration,
}

impl<T: Into<String>> From<T> for Done {
    fn from(words: T) -> Self {
        Self { told: json!({"done": words.into()}), delay: Duration::ZERO }
    }
}

const PAGE: &str = "/__fake/";
const RESET: &str = "/__fake/reset";

fn password(ups: &FakeUpsState, input: Value) -> Result<Done, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        user: String,
        password: String,
        /// The default follows a UPS employee's statement.
        #[serde(default = "yes")]
        kill_access_tokens: bool,
    }
    let Input { user, password, kill_access_tokens } = parse(input)?;
    if password.is_empty() {
        return Err("\"password\" must not be empty".to_owned());
    }
    let access_tokens = if kill_access_tokens { AccessTokens::Die } else { AccessTokens::LiveOn };
    ups.set_password(&user, &password, access_tokens).map_err(|error| error.to_string())?;
    Ok("password changed; the opt-ins of this user have ended".into())
}

fn yes() -> bool {
    true
}

fn revoke(ups: &FakeUpsState, input: Value) -> Result<Done, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        user: String,
    }
    let Input { user } = parse(input)?;
    ups.try_revoke(&user).map_err(|error| error.to_string())?;
    Ok("the opt-ins and access tokens of this user have ended".into())
}

fn fault(ups: &FakeUpsState, input: Value) -> Result<Done, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        endpoint: Endpoint,
        fault: Option<Fault>,
        times: Option<Value>,
    }
    let Input { endpoint, fault, times } = parse(input)?;
    let times = match times {
        None | Some(Value::Null) => Times::Once,
        Some(Value::String(word)) if word == UNTIL_CLEARED => Times::UntilCleared,
        Some(number) => lenient_number::<_, u64>(&number)
            .ok()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number > 0)
            .map(Times::Exactly)
            .ok_or_else(|| format!("\"times\" is a number from 1 or {UNTIL_CLEARED:?}, not {number}"))?,
    };
    match fault {
        None => {
            ups.clear_faults(endpoint);
            Ok(format!("no more faults at {endpoint}").into())
        }
        Some(fault) => {
            ups.faults.push(endpoint, fault, times)?;
            Ok(format!("fault set at {endpoint}").into())
        }
    }
}

const UNTIL_CLEARED: &str = "until_cleared";

fn clock(ups: &FakeUpsState, input: Value) -> Result<Done, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        /// Negative values move the clock back.
        #[serde(default, deserialize_with = "optional_lenient_number")]
        advance_seconds: Option<i64>,
        /// In RFC 3339 format.
        now: Option<Timestamp>,
    }
    match parse(input)? {
        Input { advance_seconds: Some(seconds), now: None } => {
            let distance = TimeDelta::try_seconds(seconds);
            let to = distance.and_then(|distance| ups.now().checked_add_signed(distance));
            let to = to.ok_or("the time is out of range")?;
            match u64::try_from(seconds) {
                Ok(ahead) => ups.advance(Duration::from_secs(ahead)),
                Err(_) => ups.set_time(to),
            }
        }
        Input { advance_seconds: None, now: Some(now) } => ups.set_time(now),
        _ => return Err("either \"advance_seconds\" or \"now\" is needed".to_owned()),
    }
    Ok(format!("it is {} now", ups.now().format("%Y-%m-%d %H:%M:%S UTC")).into())
}

fn client(ups: &FakeUpsState, input: Value) -> Result<Done, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        blocked: bool,
    }
    let Input { blocked } = parse(input)?;
    if blocked {
        ups.block_client()
    } else {
        ups.unblock_client()
    }
    Ok(if blocked { "blocked" } else { "not blocked" }.into())
}

/// Signs in and agrees on behalf of a person with a browser.
fn consent(ups: &FakeUpsState, input: Value) -> Result<Done, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        authorize_url: Url,
        user: String,
        /// Defaults to the right one.
        password: Option<String>,
    }
    let Input { authorize_url, user, password } = parse(input)?;
    let right_password = ups.try_password(&user).map_err(|error| error.to_string())?;
    let mut browser = Browser::new(ups);
    let callback = browser.consent(&authorize_url, &user, &password.unwrap_or(right_password))?;
    Ok(Done { told: json!({"callback": callback}), delay: browser.delay })
}

fn reset(ups: &FakeUpsState, input: Value) -> Result<Done, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        /// Sent by the page's form, which has no other field.
        #[serde(rename = "from")]
        _from: Option<String>,
    }
    let Input { _from } = parse(input)?;
    ups.reset();
    Ok("everything is reset".into())
}

fn parse<T: DeserializeOwned>(input: Value) -> Result<T, String> {
    serde_json::from_value(input).map_err(|error| error.to_string())
}

/// The input as JSON, and whether it came from the page. JSON is accepted under any content type, since `curl -d`
/// declares a form.
fn read(request: &Request<Vec<u8>>) -> Result<(Value, bool), String> {
    let body = request.body();
    if body.trim_ascii_start().starts_with(b"{") {
        return serde_json::from_slice(body).map(|input| (input, false)).map_err(|error| format!("not JSON: {error}"));
    }
    let mut input = Map::new();
    for (name, text) in form_urlencoded::parse(body) {
        let value = match &*name {
            "kill_access_tokens" | "blocked" => Value::Bool(text == "yes"),
            "fault" if text.trim().is_empty() => Value::Null,
            "fault" if text.trim().starts_with('{') => {
                serde_json::from_str(&text).map_err(|error| format!("the fault is not JSON: {error}"))?
            }
            _ => json!(text),
        };
        input.insert(name.into_owned(), value);
    }
    if input.is_empty() && request.uri().path() == RESET {
        return Ok((Value::Object(input), false));
    }
    if input.is_empty() {
        return Err("a JSON object is needed".to_owned());
    }
    Ok((Value::Object(input), true))
}

fn refuse(mistake: &str, from_page: bool) -> Response<Vec<u8>> {
    if !from_page {
        return json_response(400, json!({"error": mistake}).to_string().into_bytes());
    }
    let body = format!("<h1>Invalid input</h1>\n<p>{}</p>\n<p><a href=\"{PAGE}\">Back</a></p>", Escaped(mistake));
    pages::page(400, "Invalid input", true, &body)
}

fn requests(ups: &FakeUpsState) -> Response<Vec<u8>> {
    let mut counts: BTreeMap<&str, BTreeMap<&str, u64>> =
        Endpoint::ALL.iter().map(|endpoint| (endpoint.name(), BTreeMap::new())).collect();
    for (endpoint, outcome, count) in ups.requests().iter() {
        counts.entry(endpoint.name()).or_default().insert(outcome.name(), count);
    }
    typed(200, "application/json", json!(counts).to_string())
}

fn people(ups: &FakeUpsState) -> Response<Vec<u8>> {
    let (user_rows, user_options) = users(ups);
    let endpoint_options: String = Endpoint::ALL
        .iter()
        .map(|endpoint| {
            let selected = if *endpoint == Endpoint::Refresh { " selected" } else { "" };
            format!("<option{selected}>{endpoint}</option>\n")
        })
        .collect();
    let fault_options: String = Fault::NAMES.iter().map(|name| format!("<option value=\"{name}\">\n")).collect();
    let fault_names: Vec<String> = Fault::NAMES.iter().map(|name| format!("<code>{name}</code>")).collect();
    let (blocked, block_value, block_words) = match ups.is_blocked() {
        true => ("The client is <strong>blocked</strong>: all its requests get 403.", "no", "Unblock the client"),
        false => ("The client is not blocked.", "yes", "Block the client"),
    };
    let body = format!(
        include_str!("assets/control.html"),
        user_rows = user_rows,
        user_options = user_options,
        fault_rows = fault_rows(ups),
        fault_options = fault_options,
        fault_names = fault_names.join(", "),
        endpoint_options = endpoint_options,
        blocked = blocked,
        block_value = block_value,
        block_words = block_words,
        now = ups.now().format("%Y-%m-%d %H:%M:%S UTC"),
        request_rows = request_rows(ups),
    );
    let page = pages::page(200, "Users, passwords and faults", false, &body);
    let (parts, html) = page.into_parts();
    let html = String::from_utf8(html).unwrap_or_default().replacen("<main>", "<main class=\"wide\">", 1);
    Response::from_parts(parts, html.into_bytes())
}

/// The users as table rows and as options.
fn users(ups: &FakeUpsState) -> (String, String) {
    let (mut rows, mut options) = (String::new(), String::new());
    for (name, password) in ups.users() {
        let name = Escaped(&name);
        let _ = writeln!(rows, "<tr><td>{name}</td><td><code>{}</code></td></tr>", Escaped(&password));
        let _ = writeln!(options, "<option>{name}</option>");
    }
    (rows, options)
}

fn fault_rows(ups: &FakeUpsState) -> String {
    let mut rows = String::new();
    for (endpoint, fault, times) in ups.faults.list() {
        let times = match times {
            Times::Once => "1".to_owned(),
            Times::Exactly(times) => times.to_string(),
            Times::UntilCleared => "until cleared".to_owned(),
        };
        let mut fault = json!(fault).to_string();
        if fault.chars().count() > 300 {
            fault = fault.chars().take(300).chain(['…']).collect();
        }
        let fault = Escaped(&fault);
        let _ = writeln!(rows, "<tr><td>{endpoint}</td><td><code>{fault}</code></td><td>{times}</td></tr>");
    }
    if rows.is_empty() { "<tr><td colspan=\"3\">None.</td></tr>".to_owned() } else { rows }
}

fn request_rows(ups: &FakeUpsState) -> String {
    let mut rows = String::new();
    for (endpoint, outcome, count) in ups.requests().iter() {
        let _ = writeln!(rows, "<tr><td>{endpoint}</td><td>{outcome}</td><td>{count}</td></tr>");
    }
    if rows.is_empty() { "<tr><td colspan=\"3\">None yet.</td></tr>".to_owned() } else { rows }
}
