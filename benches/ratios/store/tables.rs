//! Tables of many companies, filled without the way through the store, with tokens that it can open.

use std::{ops::Range, pin::pin};

use batchsuite_auth::{CompanyId, Environment, ids::Revision, store::GrantKey};
use batchsuite_benches::{
    companies::{CLIENT_ID, text_of},
    measure::now,
    report,
};
use batchsuite_store::{PostgresStore, keyring::Binding};
use batchsuite_tests::postgres::{self, Server};
use tokio_postgres::{binary_copy::BinaryCopyInWriter, types::Type};

use super::rounds::{CLIENTS, DUE_AT_ONCE, FIRST, Verb, Work};

/// The lengths of the tokens.
pub(super) const ACCESS_LENGTH: usize = 2048;
pub(super) const REFRESH_LENGTH: usize = 256;

/// One schema with its companies. The first three quarters are due, and are loaded, claimed and reserved; the rest are
/// committed: a commit of pgbench leaves tokens that nobody can open.
pub(super) struct Table {
    schema: &'static str,
    kept: Range<u64>,
    committed: Range<u64>,
    /// The next turn of the ones and of the others.
    turns: [u64; 2],
    /// The version of the others.
    version: u64,
}

impl Table {
    /// Of so many companies.
    pub(super) async fn filled(server: &Server, schema: &'static str, companies: u64) -> Self {
        let start = now();
        let keyring = postgres::keyring().await;
        let store = PostgresStore::at(server.url(), keyring.clone()).schema(schema).build().expect("a store");
        store.migrate().await.expect("the schema can be made");
        let client = server.client().await;
        let kept = companies / 4 * 3;
        let grants = GRANTS.replace("{schema}", schema).replace("{client}", CLIENT_ID);
        let grants = grants.replace("{first}", &FIRST.to_string()).replace("{companies}", &companies.to_string());
        client.batch_execute(&grants.replace("{kept}", &kept.to_string())).await.expect("grants");

        let copy = "(environment, company, access_token, refresh_token, refresh_version) FROM STDIN BINARY";
        let sink = client.copy_in(&format!("COPY {schema}.tokens {copy}")).await.expect("a copy");
        let types = [Type::TEXT, Type::TEXT, Type::BYTEA, Type::BYTEA, Type::INT8];
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        let revision = Revision { epoch: 1, version: 1 };
        for number in 0..companies {
            let company = (FIRST + number).to_string();
            let key =
                GrantKey { environment: Environment::Cie, company: CompanyId::new(&*company).expect("a valid name") };
            let seal = |binding, length| keyring.seal(&binding, text_of(length).as_bytes()).expect("a ciphertext");
            let access = seal(Binding::access_token(&key, revision), ACCESS_LENGTH);
            let refresh = seal(Binding::refresh_token(&key, revision), REFRESH_LENGTH);
            writer.as_mut().write(&[&"cie", &company, &access, &refresh, &1_i64]).await.expect("a row");
        }
        writer.finish().await.expect("the copy ends");
        client.batch_execute(&format!("VACUUM ANALYZE {schema}.grants")).await.expect("a vacuum");
        client.batch_execute(&format!("VACUUM ANALYZE {schema}.tokens")).await.expect("a vacuum");
        // A bulk load leaves nothing in the server's memory.
        client
            .batch_execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
            .await
            .expect("a part of the server's package");
        client.batch_execute(&WARM.replace("{schema}", schema)).await.expect("the table can be read");
        client.batch_execute("CHECKPOINT").await.expect("a checkpoint");
        report::note(format_args!("store: {companies} companies filled in {:.0} s", start.elapsed().as_secs_f64()));
        Self { schema, kept: 0..kept, committed: kept..companies, turns: [0, 0], version: 1 }
    }

    /// A round's work on companies that are as they were filled, the next ones in turn.
    pub(super) async fn next(&mut self, server: &Server, verb: Verb, share: u64) -> Work {
        let operations = share * CLIENTS;
        if verb == Verb::Commit {
            // Whoever was left over would stay a version behind: rounds of commits are of one length.
            if self.turns[1] + operations > self.committed.end - self.committed.start {
                self.turns[1] = 0;
                self.version += 1;
            }
        } else {
            let reset = RESET.replace("{schema}", self.schema);
            let client = server.client().await;
            client.batch_execute(&reset).await.expect("a reset");
            client.batch_execute(&format!("VACUUM {}.grants", self.schema)).await.expect("a vacuum");
        }
        let (turn, companies, version) = match verb {
            Verb::Commit => (&mut self.turns[1], self.committed.clone(), self.version),
            _ => (&mut self.turns[0], self.kept.clone(), 1),
        };
        let work = Work { verb, share, companies, turn: *turn, version };
        *turn += operations;
        work
    }

    /// How much of its work a round has done: all of it, except where companies are due. There another connection may just be
    /// reserving all that one finds, and it goes away with fewer than it asked for.
    ///
    /// # Panics
    /// If it is `checked`, and it was not all.
    pub(super) async fn done(&self, server: &Server, work: &Work, checked: bool) -> f64 {
        let count = match work.verb {
            Verb::Claim if checked => "SELECT count(*) FROM {schema}.grants WHERE attempt IS NOT NULL",
            Verb::Commit if checked => {
                "WITH counted AS (DELETE FROM {schema}.events RETURNING 1) SELECT count(*) FROM counted"
            }
            Verb::Due => "SELECT count(*) FROM {schema}.grants WHERE reserved_until IS NOT NULL",
            _ => return 1.0,
        };
        let client = server.client().await;
        let row = client.query_one(&count.replace("{schema}", self.schema), &[]).await.expect("a count");
        let (count, operations): (i64, _) = (row.get(0), work.share * CLIENTS);
        if work.verb == Verb::Due {
            return count as f64 / (operations * DUE_AT_ONCE) as f64;
        }
        assert_eq!(count.unsigned_abs(), operations, "{work:?} was not done");
        1.0
    }
}

/// As connect leaves them. Who is due was used in the last hours.
const GRANTS: &str = "
    INSERT INTO {schema}.grants (
        environment, company, epoch, version, standing, consent, issued_at, client_id, actor, authenticated_at,
        has_access_token, has_refresh_token, obtained_at, refresh_at, access_expires_at, refresh_expires_at,
        used_at, used_hour, change, change_kind
    )
    SELECT 'cie', ({first} + number)::text, 1, 1, 'authenticated', gen_random_uuid(), obtained, '{client}', 'bench',
           obtained, true, true, obtained, obtained + interval '3 hours', obtained + interval '4 hours',
           obtained + interval '90 days', used, date_trunc('hour', used), number + 1, 'authenticated'
    FROM generate_series(0, {companies} - 1) AS number
    CROSS JOIN LATERAL (
        SELECT now() - CASE WHEN number < {kept} THEN interval '3 hours' + random() * interval '50 minutes'
                            ELSE interval '0' END AS obtained,
               now() - random() * interval '6 hours' + 0 * number * interval '1 second' AS used
    ) AS times;
    SELECT setval('{schema}.event_number', {companies} + 1)";

const WARM: &str = "
    SELECT pg_prewarm(c.oid) FROM pg_class c
    WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'i') AND c.relpages > 0";

const RESET: &str = "
    UPDATE {schema}.grants SET attempt = NULL, lease_until = NULL, unanswered = false, reserved_until = NULL
    WHERE lease_until IS NOT NULL OR reserved_until IS NOT NULL";
