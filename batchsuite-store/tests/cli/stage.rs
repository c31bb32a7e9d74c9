//! A service's database with companies in it, a fake UPS, and the program.

use std::{fmt::Write as _, sync::Arc};

use batchsuite_auth::{
    BatchSuiteAuth, CompanyId, Environment,
    clock::{Clock as _, SystemClock},
    fake_ups::FakeUps,
    store::Store,
    test_util::ManualClock,
};
use batchsuite_tests::{Backend, Database, Secrets, ada, eventually};
use tokio::process::Command;

use crate::program::{self, Ran, Running, Said};

/// The key of the kit's keyring, as a service has it in its environment.
pub(crate) const KEY: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Another key.
pub(crate) const NEW_KEY: &str = "new:8PHy8/T19vf4+fr7/P3+/wABAgMEBQYHCAkKCwwNDg8=";
/// The password of the database's user. The test's server asks for none.
pub(crate) const PASSWORD: &str = "database-password-canary-7d1f";
/// A person at UPS.com beside the fake's own.
pub(crate) const OTHER: &str = "other@example.com";

pub(crate) struct Stage {
    pub(crate) ups: FakeUps,
    pub(crate) database: Database,
    pub(crate) secrets: Secrets,
    pub(crate) said: Said,
}

impl Stage {
    pub(crate) async fn new(backend: Backend) -> Self {
        let stage = Self::over(Database::new(backend).await).await;
        // A file is created by the first process that opens it.
        stage.store().await;
        stage
    }

    pub(crate) async fn over(database: Database) -> Self {
        let clock = ManualClock::at(SystemClock.now());
        let ups = FakeUps::builder().manual_clock(clock).user(FakeUps::USER, "password-1").user(OTHER, "password-2");
        let stage = Self { ups: ups.start().await, database, secrets: Secrets::default(), said: Said::default() };
        for key in [KEY, NEW_KEY] {
            stage.secrets.add("key", key.split_once(':').unwrap().1);
        }
        stage.secrets.add("password", PASSWORD);
        stage
    }

    /// A process of the service, without a keeper.
    pub(crate) async fn service(&self) -> BatchSuiteAuth {
        self.ups.authenticator().clock(SystemClock).store(self.store().await).without_keeper().build().unwrap()
    }

    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        self.database.store(SystemClock).await
    }

    /// A service has run, and has announced its client id.
    pub(crate) async fn announce(&self) {
        let (store, builder) = (self.store().await, self.ups.authenticator().clock(SystemClock));
        let service = builder.store(Arc::clone(&store)).build().unwrap();
        eventually("the client id is announced", async || {
            BatchSuiteAuth::client_state(&*store, Environment::Cie).await.unwrap().client_id.is_some()
        })
        .await;
        service.shutdown().await;
    }

    /// The company opts in as a person at UPS.com.
    pub(crate) async fn opt_in(&self, service: &BatchSuiteAuth, company: &CompanyId, person: &str) {
        let trip = service.authenticate(company, &ada()).await.unwrap();
        self.secrets.add("browser secret", trip.browser_secret.expose_secret());
        let query = self.ups.consent(&trip.url, person).await;
        service.callback(&ada(), &query, &trip.browser_secret).await.unwrap();
        let token = service.access_token(company).await.unwrap();
        self.secrets.add("access token", token.header().to_str().unwrap().trim_start_matches("Bearer "));
    }

    /// The company opts in, and then the person's password is changed.
    pub(crate) async fn opt_in_and_end(&self, service: &BatchSuiteAuth, company: &CompanyId) {
        self.opt_in(service, company, OTHER).await;
        let token = service.access_token(company).await.unwrap();
        self.ups.change_password(OTHER);
        service.report_rejected(company, &token).await.unwrap_err();
    }

    /// A refresh token of another system, in a line for an import with these fields beside it.
    pub(crate) fn line(&self, company: &str, fields: &str) -> String {
        let token = format!("refresh-canary-{company}-{:016x}", rand(company));
        self.secrets.add("refresh token", &token);
        format!(r#"{{"company":"{company}","refresh_token":"{token}"{fields}}}"#)
    }

    /// The program's settings.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let [database, _] = self.database.place();
        let url = match &self.database {
            Database::Postgres(_) => format!("{database} password={PASSWORD}"),
            Database::Sqlite(_) => database,
        };
        let client_id = self.ups.client_id().to_owned();
        [("DATABASE_URL", url), ("BATCHSUITE_KEYS", KEY.to_owned()), ("UPS_CLIENT_ID", client_id)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// The program with these arguments and with changed settings; an empty value removes one.
    pub(crate) fn command_with(&self, arguments: &[&str], changed: &[(&str, &str)]) -> Command {
        let mut variables = self.variables();
        for (name, value) in changed {
            variables.retain(|(known, _)| known != name);
            if !value.is_empty() {
                variables.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let mut all = match arguments.contains(&"--environment") {
            true => Vec::new(),
            false => vec!["--environment".to_owned(), "cie".to_owned()],
        };
        if let Database::Postgres(schema) = &self.database {
            all.extend(["--schema".to_owned(), schema.name().to_owned()]);
        }
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        program::command(&all, &variables)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_with(arguments, &[])
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[]).await
    }

    pub(crate) async fn run_with(&self, arguments: &[&str], changed: &[(&str, &str)]) -> Ran {
        program::run(self.command_with(arguments, changed), None, &self.said).await
    }

    /// Runs the program to its end, with this input.
    pub(crate) async fn run_on(&self, input: &str, arguments: &[&str]) -> Ran {
        program::run(self.command(arguments), Some(input), &self.said).await
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments), &self.said)
    }
}

impl Drop for Stage {
    /// Every test ends with the search of all that was printed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let said = self.said.text();
        let seen = self.secrets.seen_in(&said);
        assert!(
            seen.is_empty(),
            "{}",
            seen.iter().fold(String::new(), |mut all, line| {
                let _ = writeln!(all, "{line}");
                all
            })
        );
    }
}

/// A number that no other test's line has.
fn rand(company: &str) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(company)
}

/// Milliseconds since 1970, in this many hours.
pub(crate) fn in_hours(hours: i64) -> i64 {
    SystemClock.now().timestamp_millis() + hours * 3_600_000
}
