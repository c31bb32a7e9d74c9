//! Tables of many companies, inserted directly and not through the store, with tokens that the store can decrypt.

use std::{ops::Range, pin::pin, time::Duration};

use batchsuite_auth::{CompanyId, Environment, ids::Revision, store::GrantKey};
use batchsuite_benches::{
    companies::{ACCESS_LENGTH, CLIENT_ID, REFRESH_LENGTH, text_of},
    life::Life,
    measure::now,
    report,
};
use batchsuite_store::{PostgresStore, keyring::Binding};
use batchsuite_tests::postgres::{self, Server};
use tokio_postgres::{binary_copy::BinaryCopyInWriter, types::Type};

use super::rounds::{CLIENTS, FIRST, ROW, Verb, WOKEN_AT_ONCE, Work};

/// A schema and its companies. The first three quarters wake once they [fall due](Table::fall_due), and are loaded,
/// claimed and woken. The rest are only committed, because a commit by pgbench leaves tokens that cannot be decrypted.
pub(super) struct Table {
    schema: &'static str,
    kept: Range<u64>,
    committed: Range<u64>,
    /// The next turn of the kept companies and of the committed ones.
    turns: [u64; 2],
    /// The version of the committed companies.
    version: u64,
}

impl Table {
    /// Creates and fills a schema.
    pub(super) async fn filled(server: &Server, schema: &'static str, companies: u64) -> Self {
        let start = now();
        let keyring = postgres::keyring().await;
        let store = PostgresStore::at(server.url(), keyring.clone()).schema(schema).build().expect("a store");
        store.migrate().await.expect("the schema can be made");
        let client = server.client().await;
        let kept = companies / 4 * 3;
        let life = Life::begun_ago(AGE).await;
        let expired = Life::begun_ago(EXPIRED).await;
        let grants = [
            ("schema", schema),
            ("document", life.step("connect").document.as_str()),
            ("expired", expired.step("connect").document.as_str()),
            ("client_id", CLIENT_ID),
            ("listed_as", life.step("connect").listed_as.name()),
            ("first", &FIRST.to_string()),
            ("row", &ROW.to_string()),
            ("companies", &companies.to_string()),
            ("kept", &kept.to_string()),
            ("again", &TO_OPT_IN_AGAIN.to_string()),
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

    /// Makes the first three quarters due.
    pub(super) async fn fall_due(&self, server: &Server) {
        let kept = [("schema", self.schema), ("first", &FIRST.to_string()), ("kept", &self.kept.end.to_string())];
        let client = server.client().await;
        client.batch_execute(&filled_in(FALL_DUE, &kept)).await.expect("the companies fall due");
        client.batch_execute(&format!("VACUUM ANALYZE {}.grants", self.schema)).await.expect("a vacuum");
    }

    /// The number of companies.
    pub(super) fn companies(&self) -> u64 {
        self.committed.end
    }

    /// The work of the next round, on the companies whose turn it is. Their rows are reset first.
    pub(super) async fn next(&mut self, server: &Server, verb: Verb, share: u64) -> Work {
        let operations = share * CLIENTS;
        // Companies left over would stay a version behind, so all rounds of commits have the same length.
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

    /// The part of its work that a round has done: all of it, except for `wake`. There, other connections may hold all
    /// rows that one connection finds, so that it gets fewer than it asked for.
    ///
    /// # Panics
    /// If `checked`, and work is left.
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
        assert_eq!(count.unsigned_abs(), operations, "{work:?} is incomplete");
        1.0
    }
}

/// The time since the companies' opt-ins: their access tokens expire soon.
pub(super) const AGE: Duration = Duration::from_secs(3 * 3600);

/// The time since the opt-ins of companies that must opt in again: their refresh tokens have expired.
const EXPIRED: Duration = Duration::from_secs(91 * 86_400);

/// The number of companies that must opt in again.
pub(super) const TO_OPT_IN_AGAIN: u64 = 12;

/// Rows as `connect` leaves them, and a client announced three days ago. All rows wake within a day.
const GRANTS: &str = "
    INSERT INTO {schema}.grants (
        environment, company, number, epoch, version, state, listed_as, change, wake_at, wake_if_used, used_at
    )
    SELECT 'cie', ({first} + number)::text, {row}, 1, 1, '{document}', '{listed_as}', number + 1,
           now() + interval '1 hour' + random() * interval '23 hours', now() + interval '30 minutes',
           now() - random() * interval '6 hours' + 0 * number * interval '1 second'
    FROM generate_series(0, {companies} - 1) AS number;
    UPDATE {schema}.grants SET state = '{expired}', listed_as = 'reauth_required'
    WHERE environment = 'cie'
      AND company = ANY (SELECT ({first} + {kept} + number)::text FROM generate_series(0, {again} - 1) AS number);
    INSERT INTO {schema}.grants (environment, company, number, state, listed_as)
    VALUES ('cie', '', {row},
            jsonb_build_object('client_id', '{client_id}', 'announced_at', now() - interval '3 days'), 'unauthenticated');
    SELECT setval('{schema}.event_number', 3 * ({companies} + 1))";

/// Lets the kept companies be due since some time in the last six hours.
const FALL_DUE: &str = "
    UPDATE {schema}.grants SET wake_at = now() - random() * interval '6 hours'
    WHERE environment = 'cie' AND company < ({first} + {kept})::text COLLATE \"C\" AND company <> ''";

const WARM: &str = "
    SELECT pg_prewarm(c.oid) FROM pg_class c
    WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'i') AND c.relpages > 0";

/// Resets the columns that the store compares. Only the library reads the rest of a row.
const RESET: &str = "
    UPDATE {schema}.grants SET number = {row}, hidden_until = NULL WHERE number <> {row} OR hidden_until IS NOT NULL";

/// Fills in the placeholders in braces.
fn filled_in(sql: &str, texts: &[(&str, &str)]) -> String {
    texts.iter().fold(sql.to_owned(), |sql, (name, text)| sql.replace(&format!("{{{name}}}"), text))
}
