//! Tables of many companies, filled without the way through the store, with tokens that it can open.

use std::{ops::Range, pin::pin, time::Duration};

use batchsuite_auth::{CompanyId, Environment, ids::Revision, store::GrantKey};
use batchsuite_benches::{companies::text_of, life::Life, measure::now, report};
use batchsuite_store::{PostgresStore, keyring::Binding};
use batchsuite_tests::postgres::{self, Server};
use tokio_postgres::{binary_copy::BinaryCopyInWriter, types::Type};

use super::rounds::{CLIENTS, FIRST, ROW, Verb, WOKEN_AT_ONCE, Work};

/// The lengths of the tokens.
pub(super) const ACCESS_LENGTH: usize = 2048;
pub(super) const REFRESH_LENGTH: usize = 256;

/// One schema with its companies. The first three quarters wake, and are loaded, claimed and handed out; the rest are
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
        let life = Life::begun_ago(AGE).await;
        let grants = [
            ("schema", schema),
            ("document", life.step("connect").document.as_str()),
            ("listed_as", life.step("connect").listed_as.name()),
            ("first", &FIRST.to_string()),
            ("row", &ROW.to_string()),
            ("companies", &companies.to_string()),
            ("kept", &kept.to_string()),
        ];
        client.batch_execute(&filled_in(GRANTS, &grants)).await.expect("grants");

        let copy = "(environment, company, access_token, refresh_token) FROM STDIN BINARY";
        let sink = client.copy_in(&format!("COPY {schema}.tokens {copy}")).await.expect("a copy");
        let types = [Type::TEXT, Type::TEXT, Type::BYTEA, Type::BYTEA];
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        let revision = Revision { epoch: 1, version: 1 };
        for number in 0..companies {
            let company = (FIRST + number).to_string();
            let key =
                GrantKey { environment: Environment::Cie, company: CompanyId::new(&*company).expect("a valid name") };
            let seal = |binding, length| keyring.seal(&binding, text_of(length).as_bytes()).expect("a ciphertext");
            let access = seal(Binding::access_token(&key, revision), ACCESS_LENGTH);
            let refresh = seal(Binding::refresh_token(&key, revision), REFRESH_LENGTH);
            writer.as_mut().write(&[&"cie", &company, &access, &refresh]).await.expect("a row");
        }
        writer.finish().await.expect("the copy ends");
        client.batch_execute(&format!("VACUUM ANALYZE {schema}.grants")).await.expect("a vacuum");
        client.batch_execute(&format!("VACUUM ANALYZE {schema}.tokens")).await.expect("a vacuum");
        // A bulk load leaves nothing in the server's memory.
        client
            .batch_execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
            .await
            .expect("a part of the server's package");
        client.batch_execute(&filled_in(WARM, &[("schema", schema)])).await.expect("the table can be read");
        client.batch_execute("CHECKPOINT").await.expect("a checkpoint");
        report::note(format_args!("store: {companies} companies filled in {:.0} s", start.elapsed().as_secs_f64()));
        Self { schema, kept: 0..kept, committed: kept..companies, turns: [0, 0], version: 1 }
    }

    /// A round's work on companies that are as they were filled, the next ones in turn.
    pub(super) async fn next(&mut self, server: &Server, verb: Verb, share: u64) -> Work {
        let operations = share * CLIENTS;
        // Whoever was left over would stay a version behind: rounds of commits are of one length.
        if verb == Verb::Commit && self.turns[1] + operations > self.committed.end - self.committed.start {
            self.turns[1] = 0;
            self.version += 1;
        }
        let client = server.client().await;
        let reset = filled_in(RESET, &[("schema", self.schema), ("row", &ROW.to_string())]);
        client.batch_execute(&reset).await.expect("a reset");
        client.batch_execute(&format!("VACUUM {}.grants", self.schema)).await.expect("a vacuum");
        let (turn, companies, version) = match verb {
            Verb::Commit => (&mut self.turns[1], self.committed.clone(), self.version),
            _ => (&mut self.turns[0], self.kept.clone(), 1),
        };
        let work = Work { verb, share, companies, turn: *turn, version };
        *turn += operations;
        work
    }

    /// How much of its work a round has done: all of it, except where companies wake. There another connection may just hold all
    /// that one finds, and it goes away with fewer than it asked for.
    ///
    /// # Panics
    /// If it is `checked`, and it was not all.
    pub(super) async fn done(&self, server: &Server, work: &Work, checked: bool) -> f64 {
        let count = match work.verb {
            Verb::Claim | Verb::Commit if checked => "SELECT count(*) FROM {schema}.grants WHERE number <> {row}",
            Verb::Wake => "SELECT count(*) FROM {schema}.grants WHERE hidden_until IS NOT NULL",
            _ => return 1.0,
        };
        let count = filled_in(count, &[("schema", self.schema), ("row", &ROW.to_string())]);
        let client = server.client().await;
        let row = client.query_one(&count, &[]).await.expect("a count");
        let (count, operations): (i64, _) = (row.get(0), work.share * CLIENTS);
        if work.verb == Verb::Wake {
            return count as f64 / (operations * WOKEN_AT_ONCE) as f64;
        }
        assert_eq!(count.unsigned_abs(), operations, "{work:?} was not done");
        1.0
    }
}

/// How long ago everybody opted in: the access token ends soon.
const AGE: Duration = Duration::from_secs(3 * 3600);

/// As connect leaves them, with another time to wake each. Most wake in the last hours; the rest tomorrow.
const GRANTS: &str = "
    INSERT INTO {schema}.grants (
        environment, company, number, epoch, version, state, listed_as, change, wake_at, wake_if_used, used_at
    )
    SELECT 'cie', ({first} + number)::text, {row}, 1, 1, '{document}', '{listed_as}', number + 1,
           CASE WHEN number < {kept} THEN now() - random() * interval '6 hours' ELSE now() + interval '1 day' END,
           now() + interval '30 minutes', now() - random() * interval '6 hours' + 0 * number * interval '1 second'
    FROM generate_series(0, {companies} - 1) AS number;
    SELECT setval('{schema}.event_number', 3 * ({companies} + 1))";

const WARM: &str = "
    SELECT pg_prewarm(c.oid) FROM pg_class c
    WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'i') AND c.relpages > 0";

/// What a row holds otherwise after a claim or a commit is nobody's business but the library's.
const RESET: &str = "
    UPDATE {schema}.grants SET number = {row}, hidden_until = NULL WHERE number <> {row} OR hidden_until IS NOT NULL";

/// SQL with the texts for what stands in braces.
fn filled_in(sql: &str, texts: &[(&str, &str)]) -> String {
    texts.iter().fold(sql.to_owned(), |sql, (name, text)| sql.replace(&format!("{{{name}}}"), text))
}
