//! Operating: keys, backups, databases, what to watch, how to stop.
//!
//! # Which store
//! | store | processes | survives |
//! |---|---|---|
//! | `MemoryStore` | one | nothing: tests and demonstrations |
//! | `SqliteStore` | any number on one machine, one file | a crash, a loss of power |
//! | `PostgresStore` | any number | what your Postgres survives |
//!
//! One store (a file, a schema) serves one UPS client id. A store of your own is the chapter [Writing a store](super::writing_a_store).
//!
//! # The program `batchsuite`
//! Each step of an operator is one of its commands. It works on Postgres and SQLite, beside services that run, asks UPS nothing and
//! shows no secret. `cargo install --path batchsuite-store --features cli` installs it; `batchsuite help COMMAND` explains a command.
//!
//! ```sh
//! export DATABASE_URL="postgres://batchsuite@db/batchsuite?sslmode=verify-full" # or sqlite:PATH, as the service has it
//! export BATCHSUITE_KEYS_FILE=/run/secrets/batchsuite.keys                       # or BATCHSUITE_KEYS: the service's keys
//! export UPS_ENVIRONMENT=production
//! batchsuite check
//! ```
//!
//! | when | command | exit status 1 |
//! |---|---|---|
//! | before a new release serves, and for a new database | `batchsuite migrate` | |
//! | after a deployment, and daily: schema, rights, server, keys, the environment, an unfinished restore; opens each company's tokens | `batchsuite check` | something is not in order |
//! | a company does not work | `batchsuite why COMPANY` | it does not work, or must authenticate again |
//! | who must authenticate again, who will soon | `batchsuite list --status reauth_required`, `batchsuite list --expiring` | |
//! | how many companies, how far behind the keepers are, whether UPS is out of reach | `batchsuite overview` | |
//! | what happened, what happens | `batchsuite events --company COMPANY`, `batchsuite events --follow` | |
//! | another system's tokens: [Moving from another system](super::moving_from_another_system) | `batchsuite import FILE`, then with `--yes` | a line was refused |
//! | a new first key | `batchsuite reencrypt` | some tokens cannot be read |
//! | monthly: the event log grows | `batchsuite prune --older-than 400d` | |
//! | a restored backup, before any process serves | `batchsuite after-restore` | |
//!
//! `--json` prints objects, one a line. Exit status 2: the command could not do its work. Every command can be interrupted and run again.
//! The client id is the one that the service announced last; before a service has run, set `UPS_CLIENT_ID`.
//!
//! # Why a company does not work
//! `batchsuite why COMPANY`, or in your service [`diagnose`](crate::BatchSuiteAuth::diagnose), reads a company's row and its latest
//! events and asks UPS nothing. It says what was found, the worst first: since when, UPS's words, who must act, and what happens next by itself.
//! [`check`](crate::BatchSuiteAuth::check) does the same after one try to get a token.
//!
//! The command knows what the database knows. That UPS refuses or limits the client, that an API rejects a token, and how a process
//! does, only the process knows that has noticed it: its own `diagnose` and its readiness probe say so.
//!
//! | severity | means |
//! |---|---|
//! | [`NoToken`](crate::Severity::NoToken) | callers get no token now, or one that does not work |
//! | [`AtRisk`](crate::Severity::AtRisk) | callers get a token, but not for long if this lasts |
//! | [`Notice`](crate::Severity::Notice) | worth knowing |
//!
//! | who must act | findings |
//! |---|---|
//! | company administrator | `not_authenticated`, `opt_in_invalidated`, `rotation_lost`, `refresh_expired`, `no_refresh_token`, `not_renewable`, `expiring_soon` |
//! | operator | `client_changed`, `client_misconfigured`, `client_blocked`, `refresh_rejected`, `fresh_token_rejected`, `tokens_unreadable`, `row_damaged`, `clock_set_back`, `overdue`, `store_fails`, `feed_stale`, `keeper_silent`, `keeper_behind`, `pairs_not_stored` |
//! | UPS | `out_of_reach`, `refresh_unanswered`, `refresh_not_sent`, `rate_limited`, `unknown_answer`, `refusal_wave`, `tokens_unusable` |
//! | nobody | `refresh_under_way`, `refresh_abandoned`, `paused`, `doubtful`, `token_rejected`, `consent_pending`, `connect_link_pending`, `stopping` |
//!
//! `fresh_token_rejected` means that an API answers 401 even to a token that UPS has just issued. UPS says 250002 then;
//! either the API is not enabled for the application in UPS's developer portal, or UPS has an outage.
//!
//! # Health of a process
//! [`health`](crate::BatchSuiteAuth::health) asks nothing and costs microseconds. [`is_ready`](crate::Health::is_ready) is for
//! a readiness probe (`adapters::axum::readyz` answers one): the store answers, changes of other processes are seen in time, and
//! the process is not stopping. An outage at UPS does not make a process unready: cached tokens work, and no other process would
//! do better. [`is_healthy`](crate::Health::is_healthy) is for an alert: also the keeper keeps up, UPS accepts requests, and each new pair is
//! stored. A liveness probe needs nothing of this: answer 200.
//!
//! Where only writes fail (another program holds the file's lock, the server has become read-only), the process is not ready until a write
//! succeeds; the keeper tries one in each round. A store that an operator must mend is asked less often, every 30 s in the end.
//!
//! # What to alert on
//! | sign | means | who acts |
//! |---|---|---|
//! | [`is_healthy`](crate::Health::is_healthy) is false for minutes | its [findings](crate::Health::findings) say what | see above |
//! | event [`Misconfigured`](crate::EventKind::Misconfigured) | UPS refuses the client's id, secret or redirect URI, or blocks it: concerns every company | operator |
//! | event [`ClientChanged`](crate::EventKind::ClientChanged) | another client id is configured than the opt-ins belong to | operator |
//! | event [`OutOfReach`](crate::EventKind::OutOfReach) without an [`InReach`](crate::EventKind::InReach) after it | requests do not reach UPS, or get no answer; concerns every company | look at your network, or wait for UPS |
//! | event [`OddAnswer`](crate::EventKind::OddAnswer) | UPS answers differently than described; the tokens were stored | operator: tell the maintainers |
//! | events whose kind [`needs_reauthorization`](crate::EventKind::needs_reauthorization) | one company must authenticate again | company administrator |
//! | event [`ExpiringSoon`](crate::EventKind::ExpiringSoon) | the same is near | company administrator |
//! | `batchsuite_unreadable_total` rises | tokens or rows cannot be read: a key is missing, or data is damaged | operator |
//! | `batchsuite_store_retries_total` rises | the store does not take writes | operator |
//! | `batchsuite_oldest_wake_seconds` stays above a minute | no keeper runs, or its rate is too low | operator |
//! | `batchsuite_refreshes_total` by `outcome` other than `pair` | UPS has an outage, limits the rate, or refuses | look, wait |
//! | `batchsuite_events_total` by `kind` | the events above, as counts | see there |
//!
//! Log lines are `tracing` events, which need a subscriber: one when a trouble begins, one when it is over. No log line, error or metric holds a
//! secret or names a company's token.
//!
//! # Metrics and alerts
//! `examples/observe` is a service with Prometheus and OpenTelemetry. Its `alerts.yml` has a rule for each trouble above, with what to do and how
//! urgent it is; `dashboard.json` shows every metric in Grafana. Take both as they are. They need the label `instance`, which Prometheus adds.
//!
//! With the feature `metrics` of both crates, before each scrape:
//!
//! | call | sets |
//! |---|---|
//! | [`Health::record_metrics`](crate::Health::record_metrics), in each process | `batchsuite_ready`, `batchsuite_healthy`, `batchsuite_store_failing`, `batchsuite_feed_age_seconds`, `batchsuite_feed_stale`, `batchsuite_keeper_lag_seconds`, `batchsuite_keeper_caught_up_timestamp_seconds`, `batchsuite_keeper_silent`, `batchsuite_ups_trouble` by `kind`, `batchsuite_refresh_rate`, `batchsuite_refreshes_waiting`, `batchsuite_pairs_not_stored` |
//! | [`DeliveryHandle::record_metrics`](crate::DeliveryHandle::record_metrics), in each process | `batchsuite_delivery_here`, `batchsuite_delivery_lag_seconds`, `batchsuite_delivery_failing`, by `consumer` |
//! | the store's `overview` and its `record_metrics`, in one process | `batchsuite_companies` by `status`, `batchsuite_companies_due`, `batchsuite_consents_pending`, `batchsuite_oldest_wake_seconds` |
//!
//! Counters count without a call: `batchsuite_refreshes_total` and `batchsuite_exchanges_total` by `outcome`, `batchsuite_events_total` by `kind`,
//! `batchsuite_store_retries_total` and `batchsuite_unreadable_total` by `what`; `batchsuite_refresh_seconds` is a histogram. Install the recorder before
//! the service starts, with buckets for that histogram (`examples/observe/src/metrics.rs`, `metrics-exporter-prometheus` 0.18): without buckets this exporter
//! makes quantiles of it, which the dashboard does not read.
//!
//! Traces are the spans of `tracing`. A caller whose token is not cached is in `access_token`; the refresh is in `flight`, a child of the first
//! caller's span; each request to UPS is in `ups_request`, with `endpoint`, `status` and `outcome`. Another caller of the same flight follows from it, which
//! OpenTelemetry shows as a link. The first caller's span lasts as long as the flight, also if that caller has gone. What the keeper
//! refreshes is a trace of its own.
//!
//! # Being told
//! [`deliver`](crate::BatchSuiteAuth::deliver) gives each event to a handler of yours. Call it in each process; one of them does the work, and the
//! cursor is in the store, so nothing is lost when a process ends. [`deliveries`](crate::deliveries) says what happens when.
//!
//! - **Mails**: `examples/mail` and `company-manager` mail a company's administrators when the authorization expires soon, when they must authenticate
//!   again (and why), and when it works again.
//! - **A webhook**: with the feature `webhook`, `adapters::webhook::Webhook` posts each event as JSON, signed. `webhook-id` is the same in each
//!   repetition, so the receiver drops those.
//! - **A handler that fails** holds up its own delivery and nothing else: *a handler fails* in the log, then *the handler works again*. A receiver that
//!   answers 410 ends the delivery in that process, with an error line; start the process again once it is wanted again.
//! - **A new consumer** begins with what happens next. **A consumer that is no longer begun anywhere** keeps its events from being pruned, until they are
//!   pruned with `batchsuite prune --undelivered`
//!   ([`prune_undelivered_events`](crate::BatchSuiteAuth::prune_undelivered_events)). A consumer that has not seen them is then told of the gap
//!   ([`EventHandler::missed`](crate::EventHandler::missed)), and the log has an error line with the numbers.
//! - **An event that cannot be read** is such a gap, too. A later release may write events that an earlier one does not know. So while both run,
//!   begin a delivery that must miss none in processes of the later release alone.
//! - **After a crash** another process takes over within one and a half leases (90 s), and repeats one event at most.
//! - Deliver to each consumer under a name of its own. A changed name is a new consumer.
//!
//! # Keys
//! `BATCHSUITE_KEYS="2026-11:$(openssl rand -base64 32)"`, a file, or a `KeySource` of your own in front of a key management service. The
//! first key encrypts, all decrypt.
//! - **Rotate**: add the new key as the *last* one in every process; then make it the first in every process; then run
//!   `batchsuite reencrypt` with the same keys (or call [`reencrypt`](crate::BatchSuiteAuth::reencrypt)) and wait `consent_lifetime`
//!   (10 minutes) for trips that are under way; then drop the old key, after `batchsuite check` without it. Everything goes on meanwhile.
//!   Interrupted, run it again.
//!   A database requires the key that encrypted last. A command that only reads changes nothing, whatever key is first.
//! - **A missing key** is an operator's error and never "authenticate again": put it back, and everything opens.
//! - **A lost key** is declared after a new first key: `2026-12:<base64>,2026-11:lost`. Each company that was under it authenticates again;
//!   everything else works.
//! - **A name stands for one key for ever.** The store keeps each key's check value and refuses another key of that name.
//!
//! # Backups
//! A restored backup, or a fail-over that lost commits, holds refresh tokens that were spent since. Run
//! `batchsuite after-restore` once, *before any process serves* (or call [`after_restore`](crate::BatchSuiteAuth::after_restore)): those tokens are then reported as lost and not
//! as password changes. Their companies need a new opt-in; all others go on. Keep keys and backups apart: together they open everything.
//!
//! # Damage
//! A company whose row or tokens cannot be read is reported as such ([`CompanyStatus::tokens_unreadable`](crate::CompanyStatus),
//! [`TokenError::Store`](crate::TokenError::Store)), and `batchsuite check` names each. Lists, the keeper and all other companies go on. Authenticating again, or removing the
//! authorization, repairs it.
//!
//! # When something is away
//! - **The store**: cached tokens are served; a pair in hand is kept and stored when the store is back. No caller waits longer than
//!   [`Policy::max_wait`](crate::Policy::max_wait). To refuse cached tokens instead, set [`FeedLost::Refuse`](crate::FeedLost::Refuse).
//! - **UPS**: nothing is lost. After three requests in a row without an answer, a process sends one request at a time as a trial, with pauses of
//!   2 to 10 s, and everybody else waits for it. One event tells the beginning, one the end, for all processes together. The first answer
//!   ends the pauses of all companies. A code that a person brings back from UPS.com is sent all the same.
//! - **A process** that was killed: the next caller waits for its lease (60 s), then UPS is asked again.
//!
//! # How many processes
//! Each company in use takes one refresh in the fourth quarter of an access token's lifetime, somewhere in its first half so that companies which opted in together
//! do not stay in step: every 45 to 52 minutes for tokens of one hour, at most 0.37 a second for 1,000 companies. An idle one takes one in 53 days. A process sends at most
//! [`Policy::refresh_rate`](crate::Policy::refresh_rate) refreshes a second (default 100), callers first, then companies in use, then idle ones. It
//! begins with a quarter of that, grows by about a tenth each second while refreshes wait and UPS answers within two seconds, and halves
//! when UPS asks for a pause or gives no answer.
//!
//! | companies in use | refreshes a second | processes at 100 | after an outage that let all tokens end, all are fresh again in |
//! |---|---|---|---|
//! | 10,000 | 3.7 | 1 | 2 min (simulated: 120 s) |
//! | 100,000 | 37 | 1 | 19 min (simulated: 18.6 min) |
//! | 100,000 of 1,000,000 | 37 | 4 | 4.6 min (simulated: 4.8 min) |
//! | 1,000,000 | 370 | 5 | 37 min |
//!
//! The times are computed as `companies / (processes × 0.9 × rate)`: while many wait, nine tenths of the rate follow each other evenly, and
//! one tenth may be sent at once. "Simulated" is the whole library in virtual time, UPS away for 4 hours (`tests/outage simulated`, 2026-11-26): half a
//! minute more than computed at most; the fullest second brought UPS 98 refreshes at a maximum of 100, and 373 at 400. Measured with four real
//! processes, Postgres and 1,500 companies after five minutes of refused connections (`tests/outage measured`): half served after 12 s, nine tenths
//! after 15 s, all after 16 s; ten events in all. After a *silence* the rate begins lower, because
//! the first silences halve it: after five minutes of it half were served within 30 s, all within 53 s, and UPS had held 363 connections at
//! most (of 400).
//! [`health`](crate::BatchSuiteAuth::health) tells the present rate, how many refreshes wait, and the keeper's lag with the time at which it
//! will have caught up. `batchsuite overview --watch 10s` tells the same of all processes. A lag that grows while the rate is at its
//! maximum means more processes, or a higher maximum.
//!
//! # Stopping
//! At SIGTERM and SIGINT: without a handler, SIGTERM ends the process at once, and a refresh under way is lost with it. Call [`quiesce`](crate::BatchSuiteAuth::quiesce) at the order to stop, finish your requests, then
//! [`shutdown`](crate::BatchSuiteAuth::shutdown). Give the process [`Policy::shutdown_limit`](crate::Policy::shutdown_limit) (30 s) and some
//! seconds more before it is killed: `docker stop -t 45`, `terminationGracePeriodSeconds: 45`, `TimeoutStopSec=45`.
//!
//! # The event log
//! `batchsuite prune`, or [`prune_events`](crate::BatchSuiteAuth::prune_events), deletes old events. A reader whose cursor lies below gets
//! [`StoreErrorKind::Pruned`](crate::StoreErrorKind::Pruned) with the number after which to read on: there is never a silent gap.
//! The beginning of the log is deleted, up to the last event that is old enough and before the first one that is not. An event that a wrong clock has
//! dated ahead holds up nothing: its place in the log tells its age.
//! `batchsuite why` explains what it finds with recent events, so the command asks before it deletes events of the last 30 days; `--yes` answers.
//!
//! # On SQLite
//! - **The file** has mode 0600; beside it SQLite keeps `-wal` and `-shm`. It lies on a local disk: a network file system is refused, and so
//!   is a file of another program, of a later release, or damaged. (A file above 64 MiB is not checked from end to end: run
//!   `PRAGMA quick_check` from time to time.)
//! - **Back up** with `sqlite3 batchsuite.db ".backup copy.db"` at any time. Never copy the file alone while a process has it open. When none
//!   has, copy it, and `-wal` if there is one (`store.close().await` leaves none).
//! - **Restore**: end every process, remove the file, `-wal` and `-shm`, put the copy there with mode 0600 (`install -m 600`), run
//!   `batchsuite after-restore`.
//! - **Hands off while it is open**: a process that uses the file must not open it by itself as well (closing it drops its locks), and
//!   nobody may replace, rename or remove it or its `-wal`: later writes would be lost.
//! - **Several processes** share the file; each sees within a second what the others changed.
//!
//! # On Postgres
//! - **Migrations**: the deployment runs `batchsuite migrate` (or calls `migrate()`), as the role that owns the schema (`batchsuite` unless you choose another) or may create
//!   it. Any number of processes may call it at once. Migrate with the new release first: migrations only add, so the release before goes
//!   on beside it. `batchsuite check`, or `check()`, says whether the schema fits.
//! - **Rights of the serving role**: `USAGE` on the schema; `SELECT`, `INSERT`, `UPDATE`, `DELETE` on its tables (of `migrations`, `SELECT`
//!   alone); `SELECT`, `USAGE` on its sequences; `EXECUTE` on its functions, if that was revoked from `PUBLIC`. `check()` names each
//!   missing right with its object.
//! - **Server**: Postgres 13 or later, UTF-8, `fsync` on, not a standby. `synchronous_commit` may be off: each write turns it on for itself,
//!   also behind a pooler.
//! - **TLS**: `sslmode=prefer`, libpq's default, encrypts if the server offers it and *checks no certificate*. Use `sslmode=verify-full`,
//!   with `sslrootcert` for a private authority, on any network that is not yours; `channel_binding=require` works, too.
//! - **URL**: libpq's parameters as `PostgresPool` lists them; any other is refused by its name, and so is one that is given twice. Several
//!   hosts work; `target_session_attrs=read-write` is the default.
//! - **Pool**: eight connections (`connections(n)`), and one more that listens for changes. A cached token asks no database; a caller's
//!   refresh asks it three times, the keeper's twice, and holds no connection while UPS is asked. `PostgresPool::connect(url)` makes a
//!   pool that your own statements share.
//! - **A database that hangs**: a statement without an answer ends after 8 s (`deadline(…)`) by this process's clock, above the server's
//!   limits that are set for each session (5 s a statement, 4 s a lock). Its connection is closed, and so are the idle ones. Connections
//!   of a server that became read-only or shuts down are closed as well.
//! - **PgBouncer** in session mode needs no setting. In transaction mode: `pgbouncer=true` in the URL (or `unnamed_statements()`). Nothing is
//!   set for a session then, so set it for the role: `ALTER ROLE … SET statement_timeout = '5s'`, `lock_timeout = '4s'`,
//!   `idle_in_transaction_session_timeout = '8s'`, and for single statements of your own `synchronous_commit = on`. Changes are read every
//!   second, unless `listens_on(url)` names a way to Postgres itself.
//! - **Looking in**: the view `companies` shows each row's columns and its state, and no secret. Times inside the state are microseconds since
//!   1970: `to_timestamp((state ->> 'retry_at')::bigint / 1e6)`.
