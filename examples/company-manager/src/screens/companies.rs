//! The company manager: the companies that this person may see, with their status.

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use batchsuite_auth::{
    CompanyId, CompanyQuery,
    status::{CompanyStatus, Status, StatusFilter},
    store::Page,
};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    authenticate,
    layout::{Section, badge, csrf_field, page, standing},
    refusal::Refusal,
};
use crate::{
    access::{Form, SignedIn},
    app::App,
    directory::{Company, CompanyName, Role},
    sessions::Message,
    text::shown,
};

pub(crate) const MOST_ON_A_PAGE: usize = 50;

/// The companies that this person may see and `filter` selects, one page at a time: of a company admin's own companies,
/// or, for an admin user, of the authenticated ones. A filtered page may be short and still have a next one.
pub(crate) async fn visible(
    app: &App,
    signed_in: &SignedIn,
    filter: Option<StatusFilter>,
    after: Option<CompanyId>,
    limit: usize,
) -> Result<Page<(Company, CompanyStatus), CompanyId>, Refusal> {
    match signed_in.person.role {
        Role::CompanyAdmin => {
            let page = app.directory.companies_of(&signed_in.person.id, after.as_ref(), limit).await?;
            let mut items = Vec::with_capacity(page.items.len());
            for company in page.items {
                let status = app.auth.status(&company.id).await?;
                if filter.is_none_or(|filter| filter.accepts(&status.status)) {
                    items.push((company, status));
                }
            }
            Ok(Page { items, next: page.next })
        }
        Role::AdminUser => {
            let filter = filter.unwrap_or(StatusFilter::Authenticated);
            let page =
                app.auth.companies(CompanyQuery::new().with_filter(filter).with_after(after).with_limit(limit)).await?;
            let ids: Vec<_> = page.items.iter().map(|status| status.company.clone()).collect();
            let companies = app.directory.companies(&ids).await?;
            let status_of = |company: &Company| page.items.iter().find(|status| status.company == company.id).cloned();
            let items = companies.into_iter().filter_map(|company| status_of(&company).map(|status| (company, status)));
            Ok(Page { items: items.collect(), next: page.next })
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct List {
    after: Option<String>,
    status: Option<String>,
}

/// A filter of the list: its name in the query, and its label.
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    status: StatusFilter,
    name: &'static str,
    label: &'static str,
}

const FILTERS: [Filter; 2] = [
    Filter { status: StatusFilter::ExpiringSoon, name: "expiring_soon", label: "Expiring soon" },
    Filter { status: StatusFilter::ReauthRequired, name: "reauth_required", label: "Authenticate again" },
];

/// The filters for this person. An admin user sees authenticated companies only.
fn filters(role: Role) -> impl Iterator<Item = &'static Filter> {
    FILTERS.iter().filter(move |filter| role == Role::CompanyAdmin || filter.status == StatusFilter::ExpiringSoon)
}

/// Shows the list.
pub(crate) async fn list(
    State(app): State<App>,
    signed_in: SignedIn,
    query: Result<Query<List>, axum::extract::rejection::QueryRejection>,
) -> Result<Markup, Refusal> {
    let query = query.unwrap_or_default().0;
    let after = query.after.and_then(|id| CompanyId::new(id).ok());
    let role = signed_in.person.role;
    let chosen = filters(role).find(|filter| query.status.as_deref() == Some(filter.name));
    let filter = chosen.map(|filter| filter.status);
    let companies = visible(&app, &signed_in, filter, after, MOST_ON_A_PAGE).await?;
    let may_add = signed_in.person.role == Role::CompanyAdmin;
    let content = html! {
        div.heading {
            h1 { "Company manager" }
            @if may_add { a.button.secondary href="/companies/new" { "Add a company" } }
        }
        nav.filters aria-label="Filter" {
            a href="/companies" aria-current=[chosen.is_none().then_some("page")] { "All" }
            @for filter in filters(role) {
                @let is_current = chosen == Some(filter);
                a href={ "/companies?status=" (filter.name) } aria-current=[is_current.then_some("page")] { (filter.label) }
            }
        }
        @if companies.items.is_empty() {
            p {
                @if chosen.is_some() { "No such company" @if companies.next.is_some() { " on this page" } "." }
                @else if may_add { "No company is yours yet." }
                @else { "No company is authenticated at present." }
            }
        } @else {
            ul.companies {
                @for (company, status) in &companies.items { (entry(&app, &signed_in, company, status)) }
            }
        }
        @if let Some(next) = &companies.next {
            @let status = chosen.map(|filter| format!("&status={}", filter.name)).unwrap_or_default();
            p { a.button.secondary href={ "/companies?after=" (next) (status) } { "More companies" } }
        }
    };
    Ok(page(&signed_in.visitor, Section::MyCompany, "Company manager", content))
}

fn entry(app: &App, signed_in: &SignedIn, company: &Company, status: &CompanyStatus) -> Markup {
    let is_well = matches!(status.status, Status::Authenticated { expiring_soon: false, refreshable: true, .. });
    let is_urgent = !is_well || status.tokens_unreadable;
    html! {
        li.card {
            div.what {
                h2 { a href={ "/companies/" (company.id) } { (company.name) } " " (badge(status)) }
                (standing(status, app.clock.now()))
            }
            @if is_urgent && signed_in.administers(company) {
                (authenticate::button(&signed_in.visitor, company, false))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct NewCompany {
    name: String,
}

/// Shows the form for a new company.
pub(crate) async fn new(signed_in: SignedIn) -> Result<Markup, Refusal> {
    may_add(&signed_in)?;
    Ok(new_form(&signed_in, "", None))
}

/// Adds a company; the person who adds it becomes its company admin.
pub(crate) async fn add(
    State(app): State<App>,
    signed_in: SignedIn,
    Form(NewCompany { name: typed }): Form<NewCompany>,
) -> Result<Response, Refusal> {
    may_add(&signed_in)?;
    let Some(name) = CompanyName::new(&typed) else {
        let most = CompanyName::MOST_CHARACTERS;
        let error = format!("Company name: 1 to {most} characters on one line, none of them invisible.");
        let typed = shown(&typed, most);
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, new_form(&signed_in, &typed, Some(&error))).into_response());
    };
    let id = app.directory.add_company(name, &signed_in.person.id).await?;
    signed_in.leave(&app, id.clone(), Message::CompanyAdded).await?;
    Ok(Redirect::to(&format!("/companies/{id}")).into_response())
}

fn may_add(signed_in: &SignedIn) -> Result<(), Refusal> {
    match signed_in.person.role {
        Role::CompanyAdmin => Ok(()),
        Role::AdminUser => Err(Refusal::company_admins_only()),
    }
}

fn new_form(signed_in: &SignedIn, name: &str, error: Option<&str>) -> Markup {
    let content = html! {
        div.narrow {
            h1 { "Add a company" }
            @if let Some(error) = error {
                div.notice.bad role="alert" { p { a href="#name" { (error) } } }
            }
            form.card method="post" action="/companies/new" {
                (csrf_field(&signed_in.visitor))
                div.field {
                    label for="name" { "Company name" }
                    input #name name="name" value=(name) maxlength=(CompanyName::MOST_CHARACTERS) required
                        autocomplete="organization" aria-invalid=[error.map(|_| "true")];
                }
                button type="submit" { "ADD COMPANY" }
            }
            p { a href="/companies" { "Back to the company manager" } }
        }
    };
    page(&signed_in.visitor, Section::MyCompany, "Add a company", content)
}
