//! REMOVE AUTH: asks for confirmation, then removes.

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use maud::html;
use serde::Deserialize;

use super::{
    layout::{Section, csrf_field, page, standing},
    refusal::Refusal,
};
use crate::{
    access::{Form, Id, SignedIn},
    app::App,
    sessions::Message,
};

#[derive(Debug, Deserialize)]
pub(crate) struct Removal {
    #[serde(default)]
    confirm: String,
}

/// Without `confirm=yes`, asks for confirmation; with it, removes the authorization.
pub(crate) async fn remove_auth(
    State(app): State<App>,
    signed_in: SignedIn,
    Id(id): Id,
    Form(Removal { confirm }): Form<Removal>,
) -> Result<Response, Refusal> {
    let (company, status) = signed_in.administered_company(&app, &id).await?;
    let company_page = format!("/companies/{}", company.id);
    if confirm == "yes" {
        app.auth.remove_auth(&company.id, &signed_in.person.id).await?;
        signed_in.leave(&app, company.id, Message::AuthRemoved).await?;
        return Ok(Redirect::to(&company_page).into_response());
    }
    let content = html! {
        div.narrow {
            h1 { "Remove the authorization of " (company.name) "?" }
            div.card {
                (standing(&status, app.clock.now()))
                h2 { "What this does" }
                ul {
                    li { "The company’s UPS tokens are erased here, and its tools stop working for it." }
                    li { "A trip to UPS.com that is under way for it is not accepted any more." }
                    li { "Its history and its settings stay. It can be authenticated again at any time." }
                }
                h2 { "What this cannot do" }
                ul {
                    li {
                        "UPS offers no way to withdraw an authorization from here: at UPS.com it stays until it expires. \
                         To end it there too, the UPS.com user who agreed changes the password."
                    }
                }
                div.actions {
                    form method="post" action={ (company_page) "/remove-auth" } {
                        (csrf_field(&signed_in.visitor))
                        input type="hidden" name="confirm" value="yes";
                        button.danger type="submit" { "REMOVE AUTH" }
                    }
                    a.button.secondary href=(company_page) { "Keep it" }
                }
            }
        }
    };
    Ok(page(&signed_in.visitor, Section::MyCompany, "Remove the authorization", content).into_response())
}
