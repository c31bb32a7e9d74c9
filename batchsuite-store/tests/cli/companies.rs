//! `list`, `why` and `overview`.

use std::collections::BTreeSet;

use batchsuite_auth::{ActorId, ImportedTokens, fake_ups::FakeUps, secret::RefreshToken};
use batchsuite_tests::{Backend, ada, companies, company, on_each_backend};
use futures_util::{StreamExt as _, stream};

use crate::{
    program::Running,
    stage::{Stage, in_hours},
};

on_each_backend!(
    a_list_shows_who_works_and_who_does_not,
    three_thousand_companies_are_listed_page_by_page_and_a_closed_pipe_ends_the_list,
    why_tells_in_words_and_as_json_what_is_found_and_who_has_to_act,
    the_overview_counts_companies_by_status,
    an_outage_of_ups_is_in_the_overview,
    without_a_company_a_list_says_so,
);

/// One company of each status.
async fn one_of_each(stage: &Stage) {
    let service = stage.service().await;
    stage.opt_in(&service, &company("works"), FakeUps::USER).await;
    stage.opt_in_and_end(&service, &company("ended")).await;
    stage.opt_in(&service, &company("removed"), FakeUps::USER).await;
    service.remove_auth(&company("removed"), &ada()).await.unwrap();
    service.authenticate(&company("waiting"), &ada()).await.unwrap();
    let fields = format!(r#","issued_at":{},"refresh_expires_at":{}"#, in_hours(-1), in_hours(24));
    stage.run_on(&stage.line("ending", &fields), &["import", "--yes", "-"]).await.ended(0);
}

async fn a_list_shows_who_works_and_who_does_not(backend: Backend) {
    let stage = Stage::new(backend).await;
    one_of_each(&stage).await;

    let all = stage.run(&["list"]).await.ended(0);
    let lines: Vec<Vec<&str>> = all.stdout.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(
        lines,
        [
            ["COMPANY", "STATUS"],
            ["ended", "reauth_required"],
            ["ending", "expiring_soon"],
            ["removed", "unauthenticated"],
            ["waiting", "unauthenticated"],
            ["works", "authenticated"],
        ]
    );
    let all = all.says("opt_in_invalidated").says("somebody is at UPS.com");
    drop(all);
    for (arguments, expected) in [
        (&["--status", "reauth_required"][..], &["ended"][..]),
        (&["--status", "unauthenticated"], &["removed", "waiting"]),
        (&["--status", "authenticated"], &["ending", "works"]),
        (&["--status", "expiring_soon"], &["ending"]),
        (&["--expiring"], &["ending"]),
    ] {
        let listed = stage.run(&[&["list", "--json"], arguments].concat()).await.ended(0).objects();
        let names: Vec<_> = listed.iter().map(|company| company["company"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{arguments:?}");
    }
    let ended = stage.run(&["list", "--json", "--status", "reauth_required"]).await.ended(0).object();
    assert_eq!((&ended["status"], &ended["cause"]["kind"]), (&"reauth_required".into(), &"opt_in_invalidated".into()));
    stage.run(&["list", "--status", "unknown"]).await.ended(2).complains("it must be unauthenticated");
    stage.run(&["list", "--expiring", "--status", "authenticated"]).await.ended(2).complains("cannot be used with");
}

async fn three_thousand_companies_are_listed_page_by_page_and_a_closed_pipe_ends_the_list(backend: Backend) {
    let stage = Stage::new(backend).await;
    let (service, actor) = (stage.service().await, ActorId::new("import").unwrap());
    let all = companies(0..3000);
    let import = stream::iter(&all).map(async |company| {
        let tokens = ImportedTokens::new(RefreshToken::new(format!("refresh-of-{company}"))).unwrap();
        service.import(company, &actor, tokens).await.unwrap();
    });
    import.buffer_unordered(64).collect::<Vec<_>>().await;

    let listed = stage.run(&["list", "--json"]).await.ended(0).objects();
    let names: Vec<_> = listed.iter().map(|company| company["company"].as_str().unwrap()).collect();
    assert!(names.is_sorted());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3000);
    let table = stage.run(&["list"]).await.ended(0).stdout;
    assert_eq!((table.lines().count(), table.matches("COMPANY").count()), (3001, 1));

    for arguments in [&["list"][..], &["list", "--json"], &["events", "--last", "3000", "--json"]] {
        let mut running = Running::start(stage.command(arguments), &stage.said);
        running.line().await.expect("a first line");
        running.unread().await.ended(0);
    }
}

async fn why_tells_in_words_and_as_json_what_is_found_and_who_has_to_act(backend: Backend) {
    let stage = Stage::new(backend).await;
    one_of_each(&stage).await;
    let sent = format!("{:?}", stage.ups.requests());

    stage
        .run(&["why", "works"])
        .await
        .ended(0)
        .says("works: authenticated")
        .says("Authenticated by ada")
        .says("It works.");
    let ended = stage.run(&["why", "ended"]).await.ended(1).says("ended: it must authenticate again");
    let ended = ended.says("The UPS.com password was changed").says("Since 20").says("400 10400");
    ended
        .says("Next: UPS is asked about the refresh token once more")
        .says("Who has to act: an administrator of the company.");
    stage.run(&["why", "ending"]).await.ended(0).says("The authorization at UPS.com ends soon.");
    stage.run(&["why", "removed"]).await.ended(1).says("removed: not authenticated");
    stage.run(&["why", "waiting"]).await.ended(1).says("has not come back");
    stage.run(&["why", "unheard-of"]).await.ended(1).says("is this how the service spells its id?");
    let why = stage.run(&["why", "--json", "ended"]).await.ended(1).object();
    assert_eq!(why["works"], false);
    assert_eq!(why["findings"][0]["responsible"], "company_administrator");
    assert_eq!(why["status"]["status"], "reauth_required");
    assert_eq!(stage.run(&["why", "--json", "works"]).await.ended(0).object()["works"], true);
    stage.run(&["why", ""]).await.ended(2).complains("1 to 128 bytes");

    assert_eq!(format!("{:?}", stage.ups.requests()), sent, "something was sent to UPS");
}

async fn the_overview_counts_companies_by_status(backend: Backend) {
    let stage = Stage::new(backend).await;
    one_of_each(&stage).await;

    let overview = stage.run(&["overview", "--json"]).await.ended(0).object();
    let expected =
        serde_json::json!({ "unauthenticated": 2, "authenticated": 1, "expiring_soon": 1, "reauth_required": 1 });
    assert_eq!((&overview["companies"], &overview["total"]), (&expected, &5.into()));
    assert_eq!((&overview["environment"], &overview["consents_pending"]), (&"cie".into(), &1.into()));
    let words = stage.run(&["overview"]).await.ended(0).says("reauth_required  1").says("1 person is at UPS.com.");
    words.says("all              5");
    // Every row has waited since 1970.
    stage
        .database
        .execute(&match backend {
            Backend::Postgres => {
                "UPDATE {schema}.grants SET wake_at = to_timestamp(3600) WHERE company = 'works'".to_owned()
            }
            Backend::Sqlite => "UPDATE {schema}.grants SET wake_at = 3600000000 WHERE company = 'works'".to_owned(),
        })
        .await;
    stage
        .run(&["overview"])
        .await
        .ended(0)
        .says("1 company waits for a keeper, the longest for ")
        .says("seconds, since 1970-01-01 01:00:00.");
    stage.run(&["overview", "--watch", "1s"]).await.ended(0).says("Their number does not fall.");
    let overview = stage.run(&["overview", "--json"]).await.ended(0).object();
    assert_eq!((&overview["companies_due"], &overview["oldest_wake"]), (&1.into(), &"1970-01-01T01:00:00Z".into()));
    assert_eq!(overview["caught_up_in_seconds"], serde_json::Value::Null);
    assert_eq!(overview["ups_out_of_reach_since"], serde_json::Value::Null);
    assert!(overview["oldest_wake_seconds"].as_i64().unwrap() > 1_000_000_000);
}

async fn an_outage_of_ups_is_in_the_overview(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.announce().await;

    stage.database.set_field("", "out_of_reach_since", &serde_json::json!(3_600_000_000_i64)).await;

    stage.run(&["overview"]).await.ended(0).says("UPS is out of reach, since 1970-01-01 01:00:00.");
    let overview = stage.run(&["overview", "--json"]).await.ended(0).object();
    assert_eq!(overview["ups_out_of_reach_since"], "1970-01-01T01:00:00Z");
}

async fn without_a_company_a_list_says_so(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.service().await;

    stage.run(&["list"]).await.ended(0).says("No company.");
    assert!(stage.run(&["list", "--json"]).await.ended(0).objects().is_empty());
    stage.run(&["events"]).await.ended(0).says("No event.");
}
