//! `why` about every finding, in words and as JSON. The findings and how they are produced are the kit's.

use std::time::Duration;

use batchsuite_auth::{
    Finding, Severity,
    clock::{Clock as _, SystemClock, Timestamp},
    error::Responsible,
    machine::UpsTroubleKind,
};
use batchsuite_tests::{
    Backend, acme,
    findings::{Scenario, Scene},
    on_each_backend,
};
use serde_json::Value;

use crate::{program::Ran, stage::Stage};

on_each_backend!(every_finding_is_told_in_words_and_as_json);

/// What the program says where it finds little.
const FEW_FINDINGS: [&str; 2] = ["It works.", "This is as the database has it."];

async fn every_finding_is_told_in_words_and_as_json(backend: Backend) {
    for scenario in Scenario::all() {
        let stage = Stage::new(backend).await;
        stage.ups.clock().set(SystemClock.now());
        let store = stage.database.store(stage.ups.clock()).await;
        let scene = Scene::new(&stage.ups, store, Some(&stage.database), acme());
        let process = scenario.produce(&scene).await;
        let sent = format!("{:?}", stage.ups.requests());
        process.http.secrets().into_iter().for_each(|secret| stage.secrets.add("exchanged", &secret));
        let client_id = scenario.client_id().unwrap_or(stage.ups.client_id());

        let words = stage.run_with(&["why", "acme"], &[("UPS_CLIENT_ID", client_id)]).await;
        let json = stage.run_with(&["why", "acme", "--json"], &[("UPS_CLIENT_ID", client_id)]).await;

        if scenario.own.is_none() {
            // A process with a keeper sends by itself.
            let name = scenario.kind.name();
            assert_eq!(format!("{:?}", stage.ups.requests()), sent, "{name}: the program sent something to UPS");
        }
        let told = json.object();
        assert_eq!(names(&told), scenario.found_elsewhere(), "{told:#}");
        assert_eq!(words.status, json.status);
        let diagnosis = process.auth.diagnose(&acme()).await;
        match scenario.own {
            Some(_) => claims_nothing_of_it(scenario, &words, &told),
            None => tells(scenario.compared(&diagnosis.findings), &words, &told),
        }
        process.auth.shutdown_within(Duration::ZERO).await;
    }
}

fn names(told: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        told["findings"].as_array().unwrap().iter().map(|told| told["kind"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The program tells the finding as the process itself has it.
fn tells(finding: &Finding, words: &Ran, told: &Value) {
    let (name, shown) = (finding.kind.name(), &words.stdout);
    let line = shown.lines().find(|line| line.contains(&finding.message)).unwrap_or_else(|| panic!("{shown}"));
    let same = told["findings"].as_array().unwrap().iter().find(|told| told["kind"] == name).unwrap();
    assert_eq!(same["message"], finding.message, "{told:#}");
    assert_eq!(same["severity"], serde_json::to_value(finding.severity).unwrap(), "{told:#}");
    assert_eq!(same["responsible"], serde_json::to_value(finding.responsible).unwrap(), "{told:#}");
    assert_eq!(same["next"]["kind"], serde_json::to_value(finding.next.map(|next| next.kind)).unwrap(), "{told:#}");
    if let Some(since) = finding.since {
        let since = about(since, &same["since"]);
        assert!(line.contains(&format!("Since {since}.")), "{since}: {line}");
    }
    if let Some(evidence) = &finding.evidence {
        assert!(line.contains(&format!("({evidence})")), "{evidence}: {line}");
        assert_eq!(same["evidence"]["message"].as_str(), evidence.message.as_deref(), "{told:#}");
    }
    assert_eq!(line.contains(" Next: "), finding.next.is_some(), "{line}");
    let who = shown.lines().skip_while(|other| *other != line).nth(1).unwrap_or_default();
    let who = who.strip_prefix("  Who has to act: ").unwrap_or("nobody.");
    assert_eq!(who, who_acts(finding.responsible), "{told:#}");
    let is_over = told["status"]["status"] == "reauth_required" || finding.severity == Severity::NoToken;
    assert_eq!(words.status, Some(i32::from(is_over)), "{shown}");
    let is_code = |word: &str| word.contains('_') || word.contains('{') || word.contains("Some(");
    assert!(!shown.split_whitespace().any(is_code), "this is not for people: {shown}");
}

/// What only the process knows, the program neither says nor denies.
fn claims_nothing_of_it(scenario: Scenario, words: &Ran, told: &Value) {
    let shown = &words.stdout;
    assert!(!shown.contains(&scenario.kind.to_string()), "{shown}");
    let is_out_of_reach = scenario.kind == batchsuite_auth::FindingKind::Ups(UpsTroubleKind::OutOfReach);
    assert_eq!(shown.contains("UPS is out of reach, since 20"), is_out_of_reach, "{shown}");
    assert_eq!(told["ups_out_of_reach_since"].is_string(), is_out_of_reach, "{told:#}");
    if scenario.beside.is_empty() {
        assert_eq!((words.status, &told["works"]), (Some(0), &Value::Bool(true)), "{shown}");
        assert_eq!(shown.contains(FEW_FINDINGS[0]), !is_out_of_reach, "{shown}");
        assert!(shown.contains(FEW_FINDINGS[1]), "{shown}");
    }
}

/// The time in the JSON as people read it. The database's clock goes on between two reads of a time that depends on it.
fn about(expected: Timestamp, told: &Value) -> String {
    let told: Timestamp = told.as_str().unwrap().parse().unwrap();
    assert!((told - expected).abs().num_seconds() < 60, "{told} instead of {expected}");
    told.format("%F %T").to_string()
}

fn who_acts(responsible: Responsible) -> &'static str {
    match responsible {
        Responsible::CompanyAdministrator => "an administrator of the company.",
        Responsible::Operator => "an operator.",
        Responsible::Ups => "UPS.",
        _ => "nobody.",
    }
}
