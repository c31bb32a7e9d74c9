//! Which indexes the statements use, and which statements there are.

use batchsuite_auth::clock::Timestamp;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::stage::{CLIENT, Stage, server};

type Typed<'a> = (&'a (dyn ToSql + Sync), Type);

/// A stage with many companies: each was used lately, and no access token ends soon.
async fn crowded() -> Stage {
    let stage = Stage::new().await;
    let fill = "INSERT INTO {schema}.grants (environment, company, epoch, version, standing, client_id, has_access_token,
            has_refresh_token, obtained_at, refresh_at, access_expires_at, refresh_expires_at, used_at, used_hour, change)
        SELECT 'cie', 'company-' || n, 1, 1, 'authenticated', 'our-client', true,
            true, now(), now() + interval '3 hours', now() + interval '4 hours', now() + interval '60 days',
            now() - n * interval '1 second', date_trunc('hour', now() - n * interval '1 second'), n
        FROM generate_series(1, 20000) AS n;
        INSERT INTO {schema}.tokens SELECT environment, company, 'a', 'r', 1 FROM {schema}.grants;
        INSERT INTO {schema}.events SELECT n, now(), 'cie', 'company-' || n, NULL, 'refreshed', 1, 1
        FROM generate_series(1, 20000) AS n;
        SELECT setval('{schema}.event_number', 20000);
        VACUUM ANALYZE {schema}.grants; VACUUM ANALYZE {schema}.tokens; VACUUM ANALYZE {schema}.events";
    let client = server().client().await;
    for statement in fill.replace("{schema}", stage.schema.name()).split(';') {
        client.batch_execute(statement).await.unwrap();
    }
    stage
}

async fn plan(stage: &Stage, name: &str, parameters: &[Typed<'_>]) -> String {
    let explain = format!("EXPLAIN {}", stage.statement(name));
    let rows = server().client().await.query_typed(&explain, parameters).await.unwrap();
    rows.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn each_statement_of_the_hot_paths_goes_by_an_index() {
    let stage = crowded().await;
    let (environment, acme): (Typed<'_>, Typed<'_>) = ((&"cie", Type::TEXT), (&"company-77", Type::TEXT));
    let one: Typed<'_> = (&1_i64, Type::INT8);
    let seconds: Typed<'_> = (&3600.0, Type::FLOAT8);
    let id: Typed<'_> = (&Uuid::nil(), Type::UUID);
    let (sealed, text): (Typed<'_>, Typed<'_>) = ((&&b"x"[..], Type::BYTEA), (&CLIENT, Type::TEXT));
    let number: Typed<'_> = (&Some(400_i32), Type::INT4);
    let at: Typed<'_> = (&None::<Timestamp>, Type::TIMESTAMPTZ);
    let key = [environment.clone(), acme.clone()];
    let windows = vec![14.0 * 86_400.0, 86_400.0];
    let companies = vec!["company-7", "company-8"];
    let cases: Vec<(&str, Vec<Typed<'_>>, &[&str])> = vec![
        ("load", key.to_vec(), &["grants_pkey", "tokens_pkey"]),
        (
            "claim_refresh",
            vec![environment.clone(), acme.clone(), one.clone(), one.clone(), id.clone(), seconds.clone()],
            &["grants_pkey"],
        ),
        (
            "commit_refresh",
            vec![
                environment.clone(),
                acme.clone(),
                one.clone(),
                one.clone(),
                sealed.clone(),
                sealed.clone(),
                seconds.clone(),
                seconds.clone(),
                seconds.clone(),
                seconds.clone(),
                one.clone(),
                seconds.clone(),
                id.clone(),
                (&false, Type::BOOL),
            ],
            &["grants_pkey"],
        ),
        (
            "settle_refresh",
            vec![
                environment.clone(),
                acme.clone(),
                one.clone(),
                one.clone(),
                id.clone(),
                (&true, Type::BOOL),
                seconds.clone(),
                text.clone(),
                number.clone(),
                text.clone(),
                text.clone(),
                id.clone(),
            ],
            &["grants_pkey"],
        ),
        (
            "used_consent",
            vec![environment.clone(), sealed.clone(), sealed.clone(), text.clone()],
            &["used_consents_pkey"],
        ),
        (
            "connect",
            vec![
                environment.clone(),
                acme.clone(),
                one.clone(),
                id.clone(),
                one.clone(),
                at.clone(),
                text.clone(),
                text.clone(),
                sealed.clone(),
                sealed.clone(),
                seconds.clone(),
                seconds.clone(),
                seconds.clone(),
                seconds.clone(),
                one.clone(),
                at.clone(),
                (&false, Type::BOOL),
            ],
            &["grants_pkey"],
        ),
        (
            "due",
            vec![
                environment.clone(),
                text.clone(),
                (&86_400.0, Type::FLOAT8),
                (&604_800.0, Type::FLOAT8),
                seconds.clone(),
                (&100_i64, Type::INT8),
            ],
            &["grants_used", "grants_obtained", "grants_ending", "grants_open_ended", "grants_pkey", "tokens_pkey"],
        ),
        (
            "warn_expiring",
            vec![environment.clone(), text.clone(), (&windows, Type::FLOAT8_ARRAY), (&100_i64, Type::INT8)],
            &["grants_warned", "grants_pkey"],
        ),
        ("record_use", vec![environment.clone(), (&companies, Type::TEXT_ARRAY)], &["grants_pkey"]),
        (
            "changes",
            vec![environment.clone(), (&19_990_i64, Type::INT8), (&20_000_i64, Type::INT8)],
            &["grants_changed"],
        ),
        (
            "events_oldest_first",
            vec![
                environment.clone(),
                (&None::<&str>, Type::TEXT),
                (&19_000_i64, Type::INT8),
                (&20_000_i64, Type::INT8),
                (&100_i64, Type::INT8),
            ],
            &["events_pkey"],
        ),
        (
            "company_events_newest_first",
            vec![environment.clone(), acme.clone(), (&20_000_i64, Type::INT8), (&100_i64, Type::INT8)],
            &["events_company"],
        ),
        (
            "list",
            vec![
                environment.clone(),
                text.clone(),
                (&None::<&str>, Type::TEXT),
                (&"company-5", Type::TEXT),
                (&100_i64, Type::INT8),
            ],
            &["grants_pkey"],
        ),
    ];
    for (name, parameters, indexes) in cases {
        let plan = plan(&stage, name, &parameters).await;
        for table in ["grants", "tokens", "events"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{name}:\n{plan}");
        }
        for index in indexes {
            assert!(plan.contains(index), "{name} does not use {index}:\n{plan}");
        }
    }
}

/// By the time of the moment, an index could not be searched.
#[tokio::test]
async fn what_is_due_is_searched_by_its_time() {
    let stage = crowded().await;
    let hour: Typed<'_> = (&3600.0, Type::FLOAT8);
    let parameters = [
        (&"cie" as _, Type::TEXT),
        (&CLIENT as _, Type::TEXT),
        hour.clone(),
        hour.clone(),
        hour,
        (&100_i64, Type::INT8),
    ];

    let plan = plan(&stage, "due", &parameters).await;

    for searched in ["due_at <= ", "refresh_expires_at <= ", "obtained_at <= ", "obtained_at > "] {
        let by_index = |line: &str| line.contains("Index Cond:") && line.contains(searched);
        assert!(plan.lines().any(by_index), "no index is searched for {searched}\n{plan}");
    }
    assert!(!plan.contains("Sort Key: grants.due_at"), "the longest due come from the index in order:\n{plan}");
}

/// To plan it takes as long as to run it.
#[tokio::test]
async fn the_plan_of_what_is_due_is_kept() {
    let stage = crowded().await;
    let client = server().client().await;
    // The more there are, the dearer looks a plan that knows no limit.
    let all_due = "UPDATE {schema}.grants SET refresh_at = now() - interval '1 minute'; ANALYZE {schema}.grants";
    client.batch_execute(&all_due.replace("{schema}", stage.schema.name())).await.unwrap();
    let types = [Type::TEXT, Type::TEXT, Type::FLOAT8, Type::FLOAT8, Type::FLOAT8, Type::INT8];
    let due = client.prepare_typed(&stage.statement("due"), &types).await.unwrap();
    let (day, week, minute) = (86_400.0, 7.0 * 86_400.0, 60.0);
    for _ in 0..10 {
        client.query(&due, &[&"cie", &CLIENT, &day, &week, &minute, &100_i64]).await.unwrap();
    }

    let kept = "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1";
    let kept = client.query_one(kept, &[&stage.statement("due")]).await.unwrap();

    // The first five are planned for their parameters, says Postgres.
    assert_eq!(kept.get::<_, i64>(0), 5);
}

/// Of each hour only some are read at first.
#[tokio::test]
async fn the_longest_due_come_first_also_if_all_were_used_in_one_hour_of_many() {
    let stage = crowded().await;
    let client = server().client().await;
    // The longest due: those of one hour. The next ones: those of the hour after it.
    let spread = "UPDATE {schema}.grants SET used_at = used, used_hour = date_trunc('hour', used, 'UTC'),
            refresh_at = now() - CASE hour WHEN 7 THEN interval '2 hours' WHEN 8 THEN interval '1 hour' ELSE interval '0' END
                         - change * interval '1 second'
        FROM (SELECT n, n % 23 AS hour, now() - (n % 23) * interval '1 hour' AS used FROM generate_series(1, 2300) AS n) AS at
        WHERE change = n";
    client.batch_execute(&spread.replace("{schema}", stage.schema.name())).await.unwrap();
    let types = [Type::TEXT, Type::TEXT, Type::FLOAT8, Type::FLOAT8, Type::FLOAT8, Type::INT8];
    let due = client.prepare_typed(&stage.statement("due"), &types).await.unwrap();
    let (day, week, minute) = (86_400.0, 7.0 * 86_400.0, 60.0);

    let mut handed_out = Vec::new();
    for _ in 0..3 {
        let rows = client.query(&due, &[&"cie", &CLIENT, &day, &week, &minute, &60_i64]).await.unwrap();
        handed_out.extend(rows.iter().map(|row| row.get::<_, String>("company")));
    }

    let of_hour = |hour: usize| (0..100).rev().map(move |n| format!("company-{}", n * 23 + hour));
    let expected: Vec<_> = of_hour(7).chain(of_hour(8)).take(180).collect();
    assert_eq!(handed_out, expected);
}

/// A statement that is not in the list could not be granted, explained or measured by an operator.
#[tokio::test]
async fn every_statement_is_listed_names_its_schema_and_notifies_nobody() {
    let stage = Stage::new().await;
    let listed: Vec<_> = stage.store.statements().map(|(name, _)| name).collect();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../batchsuite-store/src/postgres/sql");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());

    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "sql")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(listed.contains(&name), "{name} is not listed");
    }
    let schema = format!("\"{}\".", stage.schema.name());
    for (name, sql) in stage.store.statements() {
        assert!(!sql.contains('{') && !sql.to_lowercase().contains("notify"), "{name}");
        for table in ["grants", "tokens", "consents", "events"] {
            for (at, _) in sql.match_indices(&format!(" {table} ")) {
                let line = sql[..at].rsplit('\n').next().unwrap_or_default();
                assert!(line.trim_start().starts_with("--"), "{name} names {table} without its schema");
            }
        }
        assert!(sql.contains(&schema), "{name} names no schema");
    }
}
