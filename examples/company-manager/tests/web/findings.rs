//! Every finding on the company's page, in words. The findings and how they are produced are the kit's.

use batchsuite_auth::{
    Finding, FindingKind, Responsible,
    clock::Timestamp,
    machine::{CauseKind, NextStepKind},
};
use batchsuite_tests::{Secrets, findings::Scenario};
use http::StatusCode;

use crate::{second_opinion::words, world::World};

#[tokio::test]
async fn every_finding_is_told_on_the_companys_page() {
    for scenario in Scenario::all() {
        let mut world = World::new().await;
        let company = world.companies().await.remove(0);
        let process = scenario.produce(&world.scene(company.clone())).await;
        world.runs(&process);
        let diagnosis = process.auth.diagnose(&company).await;
        let finding = scenario.compared(&diagnosis.findings);

        let browser = world.company_admin().await;
        let page = browser.get(&format!("/companies/{company}")).await;

        let name = scenario.kind.name();
        assert_eq!(page.status, StatusCode::OK, "{name}: {}", page.body);
        let shown = words(&page.body);
        for expected in told(finding) {
            assert!(shown.contains(&expected), "{name}: {expected:?} is not on the page: {shown}");
        }
        let items = diagnosis.findings.iter().filter(|finding| !is_in_the_status(finding.kind)).count();
        assert_eq!(page.body.matches("<li class=\"hint").count(), items, "{name}: {}", page.body);
        let codes = FindingKind::ALL.iter().map(|kind| kind.name()).filter(|name| name.contains('_'));
        for code in codes.chain(["Some(", "Fact", "UtcTime", "no_token"]) {
            assert!(!shown.contains(code), "{name}: {code} is not for people: {shown}");
        }
        let secrets = Secrets::default();
        process.http.secrets().into_iter().for_each(|secret| secrets.add("exchanged", &secret));
        assert!(secrets.seen_in(&page.body).is_empty(), "{name} shows {:?}", secrets.seen_in(&page.body));
    }
}

/// Whether the lines about the company's status tell it.
fn is_in_the_status(kind: FindingKind) -> bool {
    use FindingKind::{ConnectLinkPending, ConsentPending, NotAuthenticated, ReauthRequired};
    matches!(kind, NotAuthenticated | ReauthRequired(_) | ConsentPending | ConnectLinkPending)
}

/// What the page has to say: what, since when, what UPS said, what happens next, and who must act.
fn told(finding: &Finding) -> Vec<String> {
    let next = finding.next.and_then(|next| next.at).map(time);
    let until = || next.clone().unwrap();
    match finding.kind {
        FindingKind::NotAuthenticated => vec![
            "This company is not authenticated at UPS.com. A company administrator has to authenticate it.".to_owned(),
        ],
        FindingKind::ReauthRequired(cause) => ended(cause, finding),
        FindingKind::ConsentPending => {
            vec![format!("Waiting for UPS.com: somebody went there and can come back until {} UTC.", until())]
        }
        FindingKind::ConnectLinkPending => {
            vec![format!("A connect link was made: it can be followed until {} UTC.", until())]
        }
        _ => vec![item(finding)],
    }
}

fn ended(cause: CauseKind, finding: &Finding) -> Vec<String> {
    let mut told = vec![cause.to_string()];
    told.extend(finding.since.map(|since| format!("Since {} UTC.", time(since))));
    let said = finding.evidence.as_ref().and_then(|evidence| evidence.message.as_ref());
    told.extend(said.map(|said| format!("UPS.com says “{said}”.")));
    told.extend(finding.next.map(|next| format!("We ask again at {} UTC", time(next.at.unwrap()))));
    let who = match finding.responsible {
        Responsible::Operator => "An operator has to",
        _ => "A company administrator has to authenticate again.",
    };
    told.push(who.to_owned());
    told
}

/// An item of the list, as one text.
fn item(finding: &Finding) -> String {
    let mut item = finding.kind.to_string();
    if finding.kind == FindingKind::KeeperBehind {
        // When it will have caught up may be known only when the page is read.
        return item;
    }
    if let Some(since) = finding.since {
        item += &format!(" Since {} UTC.", time(since));
    }
    let evidence = finding.evidence.as_ref().filter(|evidence| evidence.status.is_some());
    if let Some(said) = evidence.and_then(|evidence| evidence.message.as_ref()) {
        item += &format!(" UPS says “{said}”.");
    }
    if let Some(next) = finding.next {
        let step = match next.kind {
            NextStepKind::Retry => "UPS is asked again",
            NextStepKind::RefreshOnRejection => "another rejection has the token refreshed",
            NextStepKind::Refresh => "the tokens are renewed",
            NextStepKind::TakeOver => "the refresh ends, or is taken over",
            NextStepKind::Trial => "one request is sent as a trial",
            NextStepKind::Look => "it is looked at again",
            NextStepKind::End => "the opt-in ends",
            NextStepKind::Clearance => "the doubt ends with the next rotation",
            NextStepKind::Repetition => "it is repeated until it succeeds",
            other => panic!("{other:?} is not expected in the list"),
        };
        item += &format!(" Next: {step}");
        item += &match (next.kind, next.at.map(time)) {
            (_, None) => ".".to_owned(),
            (NextStepKind::Clearance, Some(at)) => format!(" after {at} UTC."),
            (NextStepKind::TakeOver, Some(at)) => format!(" by {at} UTC."),
            (NextStepKind::RefreshOnRejection, Some(at)) => format!(", from {at} UTC."),
            (_, Some(at)) => format!(" at {at} UTC."),
        };
    }
    let who = match finding.responsible {
        Responsible::CompanyAdministrator => "A company administrator has to act.",
        Responsible::Operator => "Whoever operates this service has to act.",
        Responsible::Ups => "Nobody here has to act: it is up to UPS.",
        _ => "Nobody has to act.",
    };
    format!("{item} {who}")
}

fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// What only this process knows is also in the answer to the readiness probe.
#[tokio::test]
async fn what_the_process_knows_about_itself_is_in_the_probes_answer() {
    for scenario in Scenario::all().filter(|scenario| scenario.own.is_some()) {
        let mut world = World::new().await;
        let company = world.companies().await.remove(0);
        let process = scenario.produce(&world.scene(company)).await;
        world.runs(&process);

        let probe = world.browser().get("/readyz").await;

        // A rejected token is one company's, and the failure of one verb is over with the next answer to another.
        let is_told = !matches!(
            scenario.kind,
            FindingKind::TokenRejected | FindingKind::FreshTokenRejected | FindingKind::StoreFails
        );
        let is_ready =
            !matches!(scenario.kind, FindingKind::FeedStale | FindingKind::PairsNotStored | FindingKind::Stopping);
        assert_eq!(probe.status == StatusCode::OK, is_ready, "{}: {}", scenario.kind.name(), probe.body);
        assert_eq!(probe.body.contains(scenario.kind.name()), is_told, "{}: {}", scenario.kind.name(), probe.body);
    }
}
