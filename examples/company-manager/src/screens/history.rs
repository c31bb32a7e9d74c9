//! The history of a company's authorization, newest first.

use std::collections::HashMap;

use axum::extract::{Query, State};
use batchsuite_auth::{
    ActorId, EventFilter,
    events::{Event, EventId, EventKind},
    machine::CauseKind,
    store::EventOrder,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    layout::{Section, moment, page, time},
    refusal::Refusal,
};
use crate::{
    access::{Id, SignedIn},
    app::App,
};

const MOST_ON_A_PAGE: usize = 25;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Show {
    before: Option<u64>,
}

/// Shows the history, one page at a time.
pub(crate) async fn show(
    State(app): State<App>,
    signed_in: SignedIn,
    Id(id): Id,
    query: Result<Query<Show>, axum::extract::rejection::QueryRejection>,
) -> Result<Markup, Refusal> {
    let (company, _) = signed_in.company(&app, &id).await?;
    let after = query.unwrap_or_default().0.before.map(EventId::new);
    let filter = EventFilter::new().with_company(company.id.clone()).with_order(EventOrder::NewestFirst);
    let filter = filter.with_after(after).with_limit(MOST_ON_A_PAGE);
    let events = app.auth.events(filter).await?;
    let names = names(&app, &events.items).await?;
    let here = format!("/companies/{}", company.id);
    let content = html! {
        p.path { a href="/companies" { "Company manager" } " / " a href=(here) { (company.name) } }
        h1 { "History of " (company.name) }
        @if events.items.is_empty() {
            p { "Nothing has happened yet." }
        } @else {
            table {
                caption { "The newest first; times are UTC" }
                thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Who" } } }
                tbody {
                    @for event in &events.items {
                        tr {
                            td.when { time datetime=(event.at.to_rfc3339()) { (moment(&time(event.at))) } }
                            td {
                                (told(event.kind, event.cause))
                                @if let Some(evidence) = &event.evidence {
                                    @let said = evidence.to_string();
                                    @if !said.is_empty() { span.evidence { (said) } }
                                }
                            }
                            td { (event.actor.as_ref().and_then(|actor| names.get(actor)).map_or("–", String::as_str)) }
                        }
                    }
                }
            }
        }
        div.actions {
            @if after.is_some() { a.button.secondary href={ (here) "/history" } { "Newest" } }
            @if let Some(last) = events.items.get(MOST_ON_A_PAGE - 1) {
                a.button.secondary href={ (here) "/history?before=" (last.id.number()) } { "Older" }
            }
        }
    };
    Ok(page(&signed_in.visitor, Section::MyCompany, &format!("History of {}", company.name), content))
}

async fn names(app: &App, events: &[Event]) -> Result<HashMap<ActorId, String>, Refusal> {
    let mut names = HashMap::new();
    for actor in events.iter().filter_map(|event| event.actor.as_ref()) {
        if !names.contains_key(actor) {
            let name =
                app.directory.person(actor).await?.map_or("somebody who left".into(), |person| person.sign_in_name);
            names.insert(actor.clone(), name);
        }
    }
    Ok(names)
}

/// An authorization can end for several causes, each with its own text.
fn told(kind: EventKind, cause: Option<CauseKind>) -> String {
    cause.map_or_else(|| words(kind).to_owned(), |cause| cause.to_string())
}

fn words(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Started => "Went to UPS.com to authenticate.",
        EventKind::LinkIssued => "Made a connect link.",
        EventKind::LinkFollowed => "Somebody followed the connect link.",
        EventKind::Declined => "Declined at UPS.com.",
        EventKind::Failed => "Came back from UPS.com, but the company could not be authenticated.",
        EventKind::Authenticated => "Authenticated the company.",
        EventKind::Refreshed => "The token was renewed.",
        EventKind::RefreshFailed => "The token could not be renewed; it is tried again.",
        EventKind::RefreshUnanswered => "UPS did not answer a renewal; UPS is asked again.",
        EventKind::ExpiringSoon => "The authorization ends soon.",
        EventKind::Expired => "The authorization has expired.",
        EventKind::Invalidated => "UPS ended the authorization. A company administrator has to authenticate again.",
        EventKind::Removed => "Removed the authorization.",
        EventKind::Misconfigured => "UPS refuses this application’s configuration; an operator must look.",
        EventKind::Recovered => "UPS accepts the authorization after all; the company is authenticated again.",
        EventKind::OddAnswer => "UPS’s answer was unusual; the tokens were kept.",
        EventKind::Restored => "The data was restored from a backup; UPS is asked again.",
        EventKind::ClientChanged => {
            "The application was given another client id; every company has to authenticate again."
        }
        EventKind::OutOfReach => "UPS cannot be reached; single requests are sent as trials.",
        EventKind::InReach => "UPS answers again.",
        _ => "Something happened that this page has no words for.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_words_of_its_own() {
        let all: std::collections::HashSet<_> = EventKind::ALL.iter().copied().map(words).collect();

        assert_eq!(all.len(), EventKind::ALL.len());
        assert!(all.iter().all(|words| !words.contains("no words for")));
    }

    #[test]
    fn an_end_is_told_with_its_cause() {
        assert_eq!(told(EventKind::Expired, None), words(EventKind::Expired));
        let changed = told(EventKind::Expired, Some(CauseKind::ClientChanged));
        assert!(changed.contains("client id") && !changed.contains("expired"), "{changed}");
    }
}
