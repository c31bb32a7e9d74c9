//! Batch Track uses a company's token: it tracks one number with UPS's tracking API.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use batchsuite_auth::{
    BatchSuiteAuth, CompanyId,
    adapters::{RequestError, tower::AccessTokenLayer},
    error::{Responsible, TokenError, chain},
    http::HttpClient,
    store::StoreErrorKind,
};
use http::{StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn, util::BoxCloneSyncService};

use super::{
    companies::{MOST_ON_A_PAGE, visible},
    layout::{Section, csrf_field, moment, page},
    refusal::Refusal,
};
use crate::{
    access::{Form, Id, SignedIn, is_authenticated},
    app::App,
    directory::Company,
    text::shown,
};

/// UPS's limits for the length of a tracking number, in characters.
const NUMBER_LENGTH: std::ops::RangeInclusive<usize> = 7..=34;
/// Maximum number of shown steps of a shipment.
const MOST_STEPS: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Show {
    company: Option<String>,
}

/// Shows the form for the chosen company, or for the first one.
pub(crate) async fn show(
    State(app): State<App>,
    signed_in: SignedIn,
    query: Result<Query<Show>, axum::extract::rejection::QueryRejection>,
) -> Result<Markup, Refusal> {
    let companies = authenticated(&app, &signed_in).await?;
    let chosen = match query.unwrap_or_default().0.company {
        Some(id) => Some(signed_in.company(&app, &id).await?.0),
        None => companies.first().cloned(),
    };
    Ok(view(&signed_in, &companies, chosen.as_ref(), "", None))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Track {
    number: String,
}

/// Tracks a number with the company's token.
pub(crate) async fn track(
    State(app): State<App>,
    signed_in: SignedIn,
    Id(id): Id,
    Form(Track { number }): Form<Track>,
) -> Result<Response, Refusal> {
    let (company, _) = signed_in.company(&app, &id).await?;
    let companies = authenticated(&app, &signed_in).await?;
    let number = number.trim().to_ascii_uppercase();
    let outcome = if !company.settings.batch_track {
        Err(Problem::new(StatusCode::FORBIDDEN, "Batch Track is switched off in this company’s settings."))
    } else if !NUMBER_LENGTH.contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let words = "Tracking number: 7 to 34 letters and digits.";
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, words))
    } else {
        details(&app, &company.id, &number).await
    };
    let status = outcome.as_ref().err().map_or(StatusCode::OK, |problem| problem.status);
    let typed = shown(&number, *NUMBER_LENGTH.end());
    Ok((status, view(&signed_in, &companies, Some(&company), &typed, Some(&outcome))).into_response())
}

async fn authenticated(app: &App, signed_in: &SignedIn) -> Result<Vec<Company>, Refusal> {
    let companies = visible(app, signed_in, None, None, MOST_ON_A_PAGE).await?.items;
    Ok(companies
        .into_iter()
        .filter(|(_, status)| is_authenticated(&status.status))
        .map(|(company, _)| company)
        .collect())
}

/// Why there is no result.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    words: String,
    needs_reauthorization: bool,
}

impl Problem {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into(), needs_reauthorization: false }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        tracing::warn!(error = %chain(&error), "no token to track with");
        let words = match &error {
            TokenError::NotAuthenticated => "The company is not authenticated.".to_owned(),
            TokenError::ReauthRequired(cause) => cause.to_string(),
            TokenError::Unavailable { reason, .. } => {
                format!("There is no token at this moment: {reason}. Try again later.")
            }
            TokenError::Misconfigured { .. } => {
                "UPS refuses this application’s own configuration. An operator must look.".to_owned()
            }
            TokenError::Store(error) if error.kind() == StoreErrorKind::Corrupt => {
                "The stored tokens of this company cannot be read. An operator must look, or a company admin \
                 authenticates again."
                    .to_owned()
            }
            error if error.responsible() == Responsible::Operator => {
                "There is no token: what is stored cannot be used. An operator must look.".to_owned()
            }
            _ => "There is no token at this moment. Try again later.".to_owned(),
        };
        let status = if error.needs_reauthorization() { StatusCode::CONFLICT } else { StatusCode::SERVICE_UNAVAILABLE };
        Self { needs_reauthorization: error.needs_reauthorization(), ..Self::new(status, words) }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Token(error) => error.into(),
            error => {
                tracing::warn!(error = %chain(&error), "UPS's tracking API did not answer");
                Self::new(StatusCode::BAD_GATEWAY, "UPS’s tracking did not answer. Try again later.")
            }
        }
    }
}

/// Where a shipment is, and its steps so far.
#[derive(Debug, PartialEq, Eq)]
struct Shipment {
    status: String,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
struct Step {
    when: String,
    place: String,
    what: String,
}

/// Queries UPS's tracking API.
async fn details(app: &App, company: &CompanyId, number: &str) -> Result<Shipment, Problem> {
    let answer = send(app, company, number).await?;
    match answer.status() {
        StatusCode::OK => shipment(answer.body()).ok_or_else(|| {
            Problem::new(StatusCode::BAD_GATEWAY, "UPS answered, but with nothing that can be shown for this number.")
        }),
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
            Err(Problem::new(StatusCode::NOT_FOUND, "UPS knows no such tracking number."))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "UPS’s tracking refuses the company’s token. Is the tracking API enabled for this application?",
        )),
        StatusCode::TOO_MANY_REQUESTS => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "UPS limits the rate. Try again in a while."))
        }
        status => {
            tracing::warn!(status = status.as_u16(), "UPS's tracking API failed");
            Err(Problem::new(StatusCode::BAD_GATEWAY, "UPS’s tracking does not work at this moment. Try again later."))
        }
    }
}

async fn send(app: &App, company: &CompanyId, number: &str) -> Result<http::Response<Vec<u8>>, Problem> {
    let mut url = app.auth.base_url().clone();
    url.set_path(&format!("/api/track/v1/details/{number}"));
    let request = http::Request::get(url.as_str())
        .extension(company.clone())
        .header(header::ACCEPT, "application/json")
        .header("transId", format!("{:032x}", rand::random::<u128>()))
        .header("transactionSrc", "company-manager")
        .body(Vec::new())
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The request to UPS could not be made."))?;
    Ok(app.ups.clone().oneshot(request).await?)
}

/// Calls UPS's APIs with a company's token, which it manages.
pub(crate) type UpsClient = BoxCloneSyncService<http::Request<Vec<u8>>, http::Response<Vec<u8>>, RequestError>;

pub(crate) fn ups_client(auth: BatchSuiteAuth, http: Arc<dyn HttpClient>) -> UpsClient {
    let http = service_fn(move |request| {
        let http = Arc::clone(&http);
        async move { http.send(request).await }
    });
    BoxCloneSyncService::new(AccessTokenLayer::new(auth).layer(http))
}

/// Parses the tracking API's response; missing fields are omitted.
fn shipment(body: &[u8]) -> Option<Shipment> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let package = answer.pointer("/trackResponse/shipment/0/package/0")?;
    let text = |value: &Value, pointer: &str| -> String {
        shown(value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().trim(), 200)
    };
    let steps: Vec<_> =
        package.get("activity").and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter().collect();
    let steps: Vec<_> = steps
        .into_iter()
        .take(MOST_STEPS)
        .map(|step| {
            let place =
                ["city", "stateProvince", "countryCode"].map(|part| text(step, &format!("/location/address/{part}")));
            Step {
                when: format!("{} {}", date(&text(step, "/date")), hour(&text(step, "/time"))).trim().to_owned(),
                place: place.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "),
                what: text(step, "/status/description"),
            }
        })
        .collect();
    let status = text(package, "/currentStatus/description");
    let status = if status.is_empty() { steps.first().map(|step| step.what.clone())? } else { status };
    Some(Shipment { status, steps })
}

/// Formats UPS's `yyyymmdd`; other text is unchanged.
fn date(text: &str) -> String {
    match (text.get(..4), text.get(4..6), text.get(6..8)) {
        (Some(year), Some(month), Some(day)) if text.len() == 8 => format!("{year}-{month}-{day}"),
        _ => text.to_owned(),
    }
}

/// Formats UPS's `hhmmss`; other text is unchanged.
fn hour(text: &str) -> String {
    match (text.get(..2), text.get(2..4), text.get(4..6)) {
        (Some(hour), Some(minute), Some(second)) if text.len() == 6 => format!("{hour}:{minute}:{second}"),
        _ => text.to_owned(),
    }
}

fn view(
    signed_in: &SignedIn,
    companies: &[Company],
    chosen: Option<&Company>,
    number: &str,
    outcome: Option<&Result<Shipment, Problem>>,
) -> Markup {
    let content = html! {
        h1 { "BATCH TRACK" }
        p.lead { "Where a shipment is, asked at UPS with a company’s authorization." }
        @match chosen {
            None => {
                div.notice { p { "No company is authenticated at UPS.com at present." } }
                p { a.button href="/companies" { "To the company manager" } }
            },
            Some(chosen) => {
                @if companies.iter().any(|company| company.id != chosen.id) { (choose(companies, chosen)) }
                @if !chosen.settings.batch_track {
                    div.notice {
                        p { "Batch Track is switched off for " a href={ "/companies/" (chosen.id) } { (chosen.name) } "." }
                    }
                } @else {
                    (form(signed_in, chosen, number, matches!(outcome, Some(Err(_)))))
                }
                @if let Some(outcome) = outcome { (result(signed_in, chosen, number, outcome)) }
            },
        }
    };
    page(&signed_in.visitor, Section::BatchTrack, "BATCH TRACK", content)
}

fn choose(companies: &[Company], chosen: &Company) -> Markup {
    html! {
        form.row method="get" action="/batch-track" {
            div.field {
                label for="company" { "Company" }
                select #company name="company" {
                    @for company in companies {
                        option value=(company.id) selected[company.id == chosen.id] { (company.name) }
                    }
                }
            }
            button.secondary type="submit" { "Choose" }
        }
    }
}

fn form(signed_in: &SignedIn, company: &Company, number: &str, is_wrong: bool) -> Markup {
    html! {
        form.card method="post" action={ "/companies/" (company.id) "/track" } {
            (csrf_field(&signed_in.visitor))
            div.field {
                label for="number" { "Tracking number, for " (company.name) }
                input #number name="number" value=(number) required minlength=(NUMBER_LENGTH.start())
                    maxlength=(NUMBER_LENGTH.end()) autocapitalize="characters" autocomplete="off" spellcheck="false"
                    placeholder="1Z999AA10123456784" aria-describedby=[is_wrong.then_some("problem")];
            }
            button type="submit" { "TRACK" }
        }
    }
}

fn result(signed_in: &SignedIn, company: &Company, number: &str, outcome: &Result<Shipment, Problem>) -> Markup {
    html! {
        @match outcome {
            Err(problem) => div.notice.bad #problem role="alert" {
                p { (problem.words) }
                // Other people no longer see the company now.
                @if problem.needs_reauthorization && signed_in.administers(company) {
                    p { a href={ "/companies/" (company.id) } { "To " (company.name) } }
                }
            },
            Ok(shipment) => section aria-labelledby="result" {
                h2 #result { (number) ": " (shipment.status) }
                @if !shipment.steps.is_empty() {
                    table {
                        caption { "The newest first; local times" }
                        thead { tr { th scope="col" { "When" } th scope="col" { "Where" } th scope="col" { "What" } } }
                        tbody {
                            @for step in &shipment.steps {
                                tr { td.when { (moment(&step.when)) } td { (step.place) } td { (step.what) } }
                            }
                        }
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracking_api_s_answer_is_read() {
        let body = br#"{"trackResponse":{"shipment":[{"package":[{"trackingNumber":"1Z","activity":[
            {"location":{"address":{"city":"BALTIMORE","stateProvince":"MD","countryCode":"US"}},
             "status":{"type":"D","description":"DELIVERED ","code":"KM"},"date":"20260210","time":"194500"},
            {"status":{"description":"Out for Delivery"},"date":"soon"}]}]}]}}"#;

        let shipment = shipment(body).unwrap();

        assert_eq!(shipment.status, "DELIVERED");
        assert_eq!(
            shipment.steps[0],
            Step { when: "2026-02-10 19:45:00".into(), place: "BALTIMORE, MD, US".into(), what: "DELIVERED".into() }
        );
        assert_eq!(
            shipment.steps[1],
            Step { when: "soon".into(), place: String::new(), what: "Out for Delivery".into() }
        );
    }

    #[test]
    fn an_answer_without_a_package_shows_nothing() {
        for body in [&b""[..], b"{}", b"<html>", br#"{"trackResponse":{"shipment":[{"package":[{}]}]}}"#] {
            assert_eq!(shipment(body), None, "{}", String::from_utf8_lossy(body));
        }
    }
}
