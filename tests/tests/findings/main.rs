//! Every finding, produced once and read from `auth.diagnose` and in its JSON, on every store: in the process that has
//! it, and in another one. The tests of the program and of the company manager read the same scenarios.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    Diagnosis, Severity,
    clock::{Clock as _, SystemClock, Timestamp},
    error::Responsible,
    fake_ups::FakeUps,
    test_util::ManualClock,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{
    Backend, Database, Process, Secrets, acme,
    findings::{Scenario, Scene},
    on_each_backend,
};
use serde_json::Value;

on_each_backend!(every_finding_is_produced_and_read);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_finding_is_produced_and_read_in_memory() {
    for scenario in Scenario::all() {
        let ups = FakeUps::start().await;
        let store = MemoryStore::with_clock(ups.clock());
        read(scenario, &Scene::new(&ups, Arc::new(store), None, acme())).await;
    }
}

async fn every_finding_is_produced_and_read(backend: Backend) {
    for scenario in Scenario::all() {
        let ups = FakeUps::builder().manual_clock(ManualClock::at(SystemClock.now())).start().await;
        let database = Database::new(backend).await;
        let store = database.store(ups.clock()).await;
        read(scenario, &Scene::new(&ups, store, Some(&database), acme())).await;
    }
}

async fn read(scenario: Scenario, scene: &Scene<'_>) {
    let process = scenario.produce(scene).await;

    let here = process.auth.diagnose(&acme()).await;
    let elsewhere = another(scenario, scene).auth.diagnose(&acme()).await;

    let name = scenario.kind.name();
    assert_eq!(names(&here), scenario.found_here(), "{name}: {here}");
    assert_eq!(names(&elsewhere), scenario.found_elsewhere(), "{name}, in another process: {elsewhere}");
    let finding = scenario.compared(&here.findings);
    assert_eq!(finding.message, scenario.kind.to_string());
    assert!(here.findings.is_sorted_by_key(|finding| finding.severity), "{here}");
    assert_eq!(here.works(), here.findings[0].severity != Severity::NoToken);

    let json = serde_json::to_value(&here).unwrap();
    let told = json["findings"].as_array().unwrap().iter().find(|told| told["kind"] == name).unwrap();
    assert_eq!(told["message"], scenario.kind.to_string());
    assert_eq!(told["severity"], severity(finding.severity));
    assert_eq!(told["responsible"], responsible(finding.responsible));
    assert_eq!(time(&told["since"]), finding.since, "{told:#}");
    assert_eq!(time(&told["next"]["at"]), finding.next.and_then(|next| next.at), "{told:#}");
    assert_eq!(told["next"].is_null(), finding.next.is_none(), "{told:#}");
    let message = finding.evidence.as_ref().and_then(|evidence| evidence.message.as_deref());
    assert_eq!(told["evidence"]["message"].as_str(), message, "{told:#}");

    let secrets = Secrets::default();
    process.http.secrets().into_iter().for_each(|secret| secrets.add("exchanged", &secret));
    let shown = format!("{here}\n{here:?}\n{json:#}");
    assert!(secrets.seen_in(&shown).is_empty(), "{name} shows {:?}", secrets.seen_in(&shown));
    // Its flights and its keeper would go on beside the next scenario.
    process.auth.shutdown_within(Duration::ZERO).await;
}

/// Another process, that is configured as the one with the finding is.
fn another(scenario: Scenario, scene: &Scene<'_>) -> Process {
    match scenario.client_id() {
        Some(id) => scene.process_of(id),
        None => scene.process(),
    }
}

fn names(diagnosis: &Diagnosis) -> Vec<&'static str> {
    let mut names: Vec<_> = diagnosis.findings.iter().map(|finding| finding.kind.name()).collect();
    names.sort_unstable();
    names
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::NoToken => "no_token",
        Severity::AtRisk => "at_risk",
        _ => "notice",
    }
}

fn responsible(responsible: Responsible) -> &'static str {
    match responsible {
        Responsible::CompanyAdministrator => "company_administrator",
        Responsible::Operator => "operator",
        Responsible::Ups => "ups",
        _ => "nobody",
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    Some(value.as_str()?.parse().unwrap())
}
