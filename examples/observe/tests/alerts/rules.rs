//! Each fault fires its alert and no other, as Prometheus evaluates the rules.

use std::collections::BTreeSet;

use batchsuite_auth::fake_ups::Fault;

use crate::{
    database,
    faults::{self, Case},
    promtool::file,
    world::{BEFORE, World, policy},
};
use example_observe::metrics::recorder;

/// Runs a healthy service, then the fault. Fails unless nothing fires before, and exactly the fault's alert at its end.
async fn fires(case: Case) -> Result<(), String> {
    let recorder = recorder().unwrap();
    let _here = metrics::set_default_local_recorder(&recorder);
    let mut policy = policy();
    (case.policy)(&mut policy);
    let mut world = World::new(case.companies, policy, recorder.handle()).await;
    world.live(std::time::Duration::from_secs(BEFORE)).await;
    let healthy = world.scrapes.seconds();
    (case.set)(&mut world).await;
    world.live(case.time).await;
    world.scrapes.expect(&[(healthy, &[]), (world.scrapes.seconds(), case.alert.as_slice())])
}

#[test]
fn each_fault_fires_its_alert_and_no_other() {
    let mut wrong = Vec::new();
    for case in faults::all() {
        let what = case.what.clone();
        // A runtime each: what a service still has to do after a fault would go on, and be counted.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        if let Err(error) = runtime.block_on(fires(case)) {
            wrong.push(format!("{what}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rules as they are written: one line `- alert: NAME`, and what follows it.
fn rules() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(file("alerts.yml")).unwrap();
    let rules = text.split("- alert: ").skip(1);
    let rules = rules.map(|rule| rule.split_once('\n').unwrap()).map(|(name, rule)| (name.to_owned(), rule.to_owned()));
    rules.collect()
}

#[test]
fn each_alert_has_a_fault() {
    let with_a_fault: BTreeSet<_> =
        faults::all().iter().filter_map(|case| case.alert).chain(database::ALERTS).collect();
    let rules = rules();
    let all: BTreeSet<_> = rules.iter().map(|(name, _)| name.as_str()).collect();

    assert_eq!(all, with_a_fault);
    assert_eq!(rules.len(), all.len(), "a name of its own each");
}

#[test]
fn each_fault_of_the_fake_is_set() {
    let set: BTreeSet<_> = faults::of_ups().iter().filter_map(|(fault, _)| Some(fault.as_str()?.to_owned())).collect();
    // Only at the sign-in pages.
    let elsewhere = "access_denied";

    for name in Fault::NAMES.into_iter().filter(|name| *name != elsewhere) {
        assert!(set.contains(name), "{name}");
    }
}

#[test]
fn each_alert_says_what_is_wrong_what_to_do_and_how_urgent_it_is() {
    for (name, rule) in rules() {
        let value = |key: &str| {
            let line = rule.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("{name} has no {key}")).trim().to_owned()
        };
        assert!(["critical", "warning", "info"].contains(&value("severity:").as_str()), "{name}");
        for key in ["summary:", "action:"] {
            assert!(value(key).len() > 20, "{name}: {key}");
        }
    }
}
