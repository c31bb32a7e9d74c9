//! The company page: its settings, its access key, and its authorization at UPS.com.

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use batchsuite_auth::{
    Diagnosis,
    status::{CompanyStatus, Status},
};
use http::{Method, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    authenticate, connect_link, connection,
    layout::{Section, badge, csrf_field, page, standing, time},
    refusal::Refusal,
};
use crate::{
    access::{Form, Id, SignedIn},
    app::App,
    directory::{AccessKey, Company, Settings, StoredAccessKey},
    sessions::Message,
    text::shown,
};

/// Maximum number of characters shown of a rejected field.
const MOST_TYPED: usize = 20;

/// Shows the page.
pub(crate) async fn show(
    State(app): State<App>,
    signed_in: SignedIn,
    Id(id): Id,
    method: Method,
) -> Result<Markup, Refusal> {
    let (company, status) = signed_in.company(&app, &id).await?;
    // A HEAD shows nothing, so it must not consume the message.
    let message = if method == Method::GET { signed_in.take(&app, &company.id).await? } else { None };
    let form = SettingsForm::from(company.settings);
    Ok(view(&app, &signed_in, &company, &status, &form, &[], message.as_ref()).await)
}

/// Saves the settings, or reports the invalid fields.
pub(crate) async fn save_settings(
    State(app): State<App>,
    signed_in: SignedIn,
    Id(id): Id,
    Form(form): Form<SettingsForm>,
) -> Result<Response, Refusal> {
    let (company, status) = signed_in.company(&app, &id).await?;
    match form.check() {
        Ok(settings) => {
            app.directory.save_settings(&company.id, settings).await?;
            signed_in.leave(&app, company.id.clone(), Message::SettingsSaved).await?;
            Ok(Redirect::to(&format!("/companies/{}", company.id)).into_response())
        }
        Err(errors) => {
            let page = view(&app, &signed_in, &company, &status, &form, &errors, None).await;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct AccessKeyForm {
    access_key: String,
}

/// Replaces the access key, which is never shown again.
pub(crate) async fn save_access_key(
    State(app): State<App>,
    signed_in: SignedIn,
    Id(id): Id,
    Form(form): Form<AccessKeyForm>,
) -> Result<Response, Refusal> {
    let (company, status) = signed_in.administered_company(&app, &id).await?;
    let Some(key) = AccessKey::new(&form.access_key) else {
        let errors = [FieldError { field: "access_key", words: "Access key: 8 to 64 letters and digits." }];
        let form = SettingsForm::from(company.settings);
        let page = view(&app, &signed_in, &company, &status, &form, &errors, None).await;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    };
    app.directory.save_access_key(&company.id, key).await?;
    signed_in.leave(&app, company.id.clone(), Message::AccessKeySaved).await?;
    Ok(Redirect::to(&format!("/companies/{}", company.id)).into_response())
}

/// The settings as typed. A browser does not send an unticked box.
#[derive(Debug, Deserialize)]
pub(crate) struct SettingsForm {
    pod_retention_years: String,
    #[serde(default)]
    batch_track: String,
    #[serde(default)]
    custom_billing: String,
    #[serde(default)]
    batch_rate: String,
    minimum_quality_score: String,
}

/// The problem with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    field: &'static str,
    words: &'static str,
}

const TICKED: &str = "yes";

impl From<Settings> for SettingsForm {
    fn from(settings: Settings) -> Self {
        let tick = |is_on| if is_on { TICKED } else { "" }.to_owned();
        Self {
            pod_retention_years: settings.pod_retention_years.to_string(),
            batch_track: tick(settings.batch_track),
            custom_billing: tick(settings.custom_billing),
            batch_rate: tick(settings.batch_rate),
            minimum_quality_score: settings.minimum_quality_score.to_string(),
        }
    }
}

impl SettingsForm {
    fn check(&self) -> Result<Settings, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut number = |field, typed: &str, most, words| {
            let number = typed.trim().parse::<u8>().ok().filter(|number| *number <= most);
            if number.is_none() {
                errors.push(FieldError { field, words });
            }
            number.unwrap_or_default()
        };
        let settings = Settings {
            pod_retention_years: number(
                "pod_retention_years",
                &self.pod_retention_years,
                Settings::MOST_RETENTION_YEARS,
                "POD Retention (Years): a whole number from 0 to 10.",
            ),
            batch_track: self.batch_track == TICKED,
            custom_billing: self.custom_billing == TICKED,
            batch_rate: self.batch_rate == TICKED,
            minimum_quality_score: number(
                "minimum_quality_score",
                &self.minimum_quality_score,
                Settings::MOST_QUALITY_SCORE,
                "Minimum Quality Score: a whole number from 0 to 100.",
            ),
        };
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

async fn view(
    app: &App,
    signed_in: &SignedIn,
    company: &Company,
    status: &CompanyStatus,
    form: &SettingsForm,
    errors: &[FieldError],
    message: Option<&Message>,
) -> Markup {
    let diagnosis = app.auth.diagnose(&company.id).await;
    let is_in_trouble = matches!(status.status, Status::ReauthRequired(_)) || status.tokens_unreadable;
    let content = html! {
        p.path { a href="/companies" { "Company manager" } }
        div.heading {
            h1 { (company.name) " " (badge(status)) }
            a.button.secondary href={ "/companies/" (company.id) "/history" } { "History" }
        }
        @if let Some(message) = message { (told(message, company)) }
        @if !errors.is_empty() {
            div.notice.bad role="alert" {
                h2 { "Nothing was saved" }
                ul { @for error in errors { li { a href={ "#" (error.field) } { (error.words) } } } }
            }
        }
        div.columns {
            @let settings = settings(signed_in, company, form, errors);
            // Whatever needs attention comes first, also in a single column.
            @if !is_in_trouble { (settings) }
            div {
                (oauth(app, signed_in, company, status, &diagnosis))
                (access_key(signed_in, company, errors))
            }
            @if is_in_trouble { (settings) }
        }
    };
    page(&signed_in.visitor, Section::MyCompany, company.name.as_str(), content)
}

/// The message for an action just done.
fn told(message: &Message, company: &Company) -> Markup {
    let is_bad = matches!(message, Message::ConnectionChecked { token_expires_at: None });
    html! {
        div.notice.good[!is_bad].bad[is_bad] role="status" {
            @match message {
                Message::Authenticated { refresh_expires_at } => {
                    h2 { (company.name) " is authenticated" }
                    p {
                        "UPS.com confirmed the authorization. "
                        @match refresh_expires_at {
                            Some(at) => { "The token expiration date is " strong.date { (time(*at)) " UTC" } "; it moves on whenever the token is renewed." },
                            None => "UPS gave no token expiration date.",
                        }
                    }
                },
                Message::CameBackAgain => p {
                    "You came back from UPS.com with this before. Where the company stands is shown below; if the \
                     authorization is just being stored, it shows in a minute."
                },
                Message::AuthRemoved => p {
                    "The authorization was removed. Nothing is asked of UPS for this company any more."
                },
                Message::SettingsSaved => p { "The changes are saved." },
                Message::AccessKeySaved => p { "The API access is updated." },
                Message::CompanyAdded => p { "The company is added. Authenticate it next." },
                Message::ConnectionChecked { token_expires_at: Some(at) } => p {
                    "The connection was checked: programs get an access token. It ends at " (time(*at)) " UTC; until it is \
                     renewed, UPS is not asked about it."
                },
                Message::ConnectionChecked { token_expires_at: None } => p {
                    "The connection was checked: no access token can be had now. The reason is shown below."
                },
            }
        }
    }
}

fn settings(signed_in: &SignedIn, company: &Company, form: &SettingsForm, errors: &[FieldError]) -> Markup {
    let tick = |name: &str, label: &str, value: &str| {
        html! {
            div.tick {
                input id=(name) name=(name) type="checkbox" value=(TICKED) checked[value == TICKED];
                label for=(name) { (label) }
            }
        }
    };
    let number = |name: &str, label: &str, value: &str, most: u8| {
        html! {
            div.field {
                label for=(name) { (label) }
                input id=(name) name=(name) type="number" inputmode="numeric" min="0" max=(most) step="1" required
                    value=(shown(value, MOST_TYPED)) aria-invalid=[errors.iter().any(|error| error.field == name).then_some("true")];
            }
        }
    };
    html! {
        section.card aria-labelledby="settings" {
            h2 #settings { "Settings" }
            form method="post" action={ "/companies/" (company.id) "/settings" } {
                (csrf_field(&signed_in.visitor))
                fieldset {
                    legend { "SigView" }
                    (number("pod_retention_years", "POD Retention (Years)", &form.pod_retention_years, Settings::MOST_RETENTION_YEARS))
                }
                fieldset {
                    legend { "Tools" }
                    (tick("batch_track", "Batch Track", &form.batch_track))
                    (tick("custom_billing", "Custom Billing", &form.custom_billing))
                    (tick("batch_rate", "Batch Rate", &form.batch_rate))
                }
                fieldset {
                    legend { "Address Validation" }
                    (number("minimum_quality_score", "Minimum Quality Score", &form.minimum_quality_score, Settings::MOST_QUALITY_SCORE))
                }
                button type="submit" { "SAVE CHANGES" }
            }
        }
    }
}

fn oauth(app: &App, signed_in: &SignedIn, company: &Company, status: &CompanyStatus, diagnosis: &Diagnosis) -> Markup {
    let is_authenticated = matches!(status.status, Status::Authenticated { .. });
    let is_empty = matches!(status.status, Status::Unauthenticated);
    html! {
        section.card aria-labelledby="oauth" {
            h2 #oauth { "OAuth Configuration" }
            (standing(status, app.clock.now()))
            (connection::findings(diagnosis))
            @if signed_in.administers(company) {
                (authenticate::before_you_go())
                div.actions {
                    (authenticate::button(&signed_in.visitor, company, is_authenticated))
                    (connect_link::button(&signed_in.visitor, company))
                    @if !is_empty {
                        (connection::button(&signed_in.visitor, company))
                        form method="post" action={ "/companies/" (company.id) "/remove-auth" } {
                            (csrf_field(&signed_in.visitor))
                            button.danger type="submit" { "REMOVE AUTH" }
                        }
                    }
                }
            }
        }
    }
}

fn access_key(signed_in: &SignedIn, company: &Company, errors: &[FieldError]) -> Markup {
    let is_wrong = errors.iter().any(|error| error.field == "access_key");
    html! {
        section.card aria-labelledby="access" {
            h2 #access { "Access Key Configuration" }
            p {
                @match company.access_key {
                    StoredAccessKey::Absent => span.badge { "NOT CONFIGURED" },
                    StoredAccessKey::Configured => span.badge.good { "CONFIGURED" },
                    StoredAccessKey::Unreadable => span.badge.bad { "CANNOT BE READ: ENTER IT AGAIN" },
                }
            }
            @if signed_in.administers(company) {
                form method="post" action={ "/companies/" (company.id) "/access-key" } {
                    (csrf_field(&signed_in.visitor))
                    div.field {
                        label for="access_key" { "New access key" }
                        input #access_key name="access_key" type="password" autocomplete="off" spellcheck="false" required
                            aria-describedby="access-key-hint" aria-invalid=[is_wrong.then_some("true")];
                        p.hint #access-key-hint { "8 to 64 letters and digits. It replaces the present one and is never shown again." }
                    }
                    button.secondary type="submit" { "UPDATE API ACCESS" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(years: &str, score: &str) -> SettingsForm {
        SettingsForm {
            pod_retention_years: years.into(),
            batch_track: TICKED.into(),
            custom_billing: String::new(),
            batch_rate: "no".into(),
            minimum_quality_score: score.into(),
        }
    }

    #[test]
    fn settings_are_whole_numbers_in_their_range() {
        for (years, score, wrong) in [
            ("0", "0", &[][..]),
            (" 10 ", "100", &[]),
            ("11", "50", &["pod_retention_years"]),
            ("-1", "50", &["pod_retention_years"]),
            ("2", "101", &["minimum_quality_score"]),
            ("2", "256", &["minimum_quality_score"]),
            ("", "8.5", &["pod_retention_years", "minimum_quality_score"]),
        ] {
            let fields: Vec<_> =
                form(years, score).check().err().unwrap_or_default().iter().map(|error| error.field).collect();
            assert_eq!(fields, wrong, "{years} {score}");
        }
    }

    #[test]
    fn only_a_ticked_box_is_on() {
        let settings = form("1", "1").check().unwrap();

        assert!(settings.batch_track);
        assert!(!settings.custom_billing);
        assert!(!settings.batch_rate);
    }
}
