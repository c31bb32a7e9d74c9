//! The verbs of a grant.

use batchsuite_auth::{
    ActorId, Environment,
    clock::{Timestamp, earlier},
    events::EventKind,
    ids::Revision,
    machine::{Event, Refusal, Verdict},
    store::{
        ClaimRefresh, Claimed, CommitRefresh, Committed, Connect, Connected, GiveBack, GrantKey, NewPair,
        SettleRefresh, Snapshot, StoreError, Written,
    },
};

use tokio_postgres::Row;

use super::{
    PostgresStore,
    database::Parameter,
    events::Told,
    failure,
    row::{self, Columns, seconds, signed},
};

/// How often a first pair is sealed for another epoch before its caller is asked to try again: each one more means that
/// another opt-in or a removal came between.
const CONNECT_TRIES: usize = 64;
/// Before any date that a database keeps.
const BEGINNING: i64 = -62_135_596_800;

impl PostgresStore {
    pub(super) async fn snapshot(&self, key: &GrantKey) -> Result<Snapshot, StoreError> {
        self.0.compare_keys().await?;
        self.opened(&self.read(key).await?, key)
    }

    async fn read(&self, key: &GrantKey) -> Result<Row, StoreError> {
        let parameters: &[Parameter<'_>] = &[&key.environment.name(), &key.company.as_str()];
        self.0.database.one(&self.0.statements.load, parameters).await
    }

    fn opened(&self, row: &Row, key: &GrantKey) -> Result<Snapshot, StoreError> {
        row::snapshot(row, key, Some(&self.0.vault))
    }

    pub(super) async fn connect_grant(&self, connect: Connect) -> Result<Connected, StoreError> {
        let Connect { key, consent, removals, pair, .. } = &connect;
        // The tokens are sealed for their epoch, and the epoch is decided inside the statement. So it is foreseen and
        // compared: with a first opt-in it is right at once, else what the refusing row says is right the second time.
        let mut epoch = removals + 1;
        for _ in 0..CONNECT_TRIES {
            if let Some(grant) = self.connect_at(&connect, epoch).await? {
                return Ok(Connected::Stored(Box::new(grant)));
            }
            // Judged without its tokens: a new opt-in must replace one whose tokens nobody can read any more.
            let row = self.read(key).await?;
            let stored = row::snapshot(&row, key, None)?;
            let issued_at = connect.issued_at.unwrap_or_else(|| earlier(stored.as_of, pair.age));
            let turn = connect.turn(&stored);
            let event = Event::Connect { consent: *consent, removals: *removals, issued_at, turn };
            let opened = || self.opened(&row, key).map(Box::new);
            match stored.opt_in.on(&event, stored.as_of) {
                Ok(transition) => epoch = transition.to.revision.epoch,
                Err(Refusal::RemovedSince) => return Ok(Connected::RemovedSince),
                Err(Refusal::AlreadyConnected) => return opened().map(Connected::AlreadyStored),
                Err(_) => return opened().map(Connected::Superseded),
            }
        }
        Err(failure::unavailable("the company's opt-in changed again and again meanwhile"))
    }

    async fn connect_at(&self, connect: &Connect, epoch: u64) -> Result<Option<Snapshot>, StoreError> {
        let Connect { key, consent, removals, actor, client_id, used_at, issued_at, retry, pair, failures } = connect;
        self.0.ready_to_seal().await?;
        let sealed = self.sealed(key, Revision { epoch, version: 1 }, pair)?;
        let beginning = Timestamp::from_timestamp(BEGINNING, 0);
        let row = self
            .0
            .database
            .row_of_a_pair(
                &self.0.statements.connect,
                &[
                    &key.environment.name(),
                    &key.company.as_str(),
                    &signed(epoch),
                    &row::uuid_of_consent(*consent),
                    &signed(*removals),
                    &(*issued_at).map(|at| beginning.map_or(at, |beginning| at.max(beginning))),
                    client_id,
                    &actor.as_str(),
                    &sealed.access_token,
                    &sealed.refresh_token,
                    &sealed.age,
                    &sealed.refresh_after,
                    &sealed.access_lifetime,
                    &sealed.refresh_lifetime,
                    &i64::from(*failures),
                    used_at,
                    retry,
                ],
            )
            .await?;
        self.changed(row, key)
    }

    pub(super) async fn claim(&self, claim: ClaimRefresh) -> Result<Claimed, StoreError> {
        let ClaimRefresh { key, revision, attempt, lease } = claim;
        let row = self
            .0
            .database
            .row(
                &self.0.statements.claim_refresh,
                &[
                    &key.environment.name(),
                    &key.company.as_str(),
                    &signed(revision.epoch),
                    &signed(revision.version),
                    &row::uuid_of_attempt(attempt),
                    &seconds(lease),
                ],
            )
            .await?;
        Ok(if row.is_some() { Claimed::Yes } else { Claimed::Lost })
    }

    pub(super) async fn end_attempt(&self, give_back: GiveBack) -> Result<Written, StoreError> {
        let GiveBack { key, revision, attempt, retry_in, event } = give_back;
        let told = Told::of(event.as_ref().map(|(_, evidence)| evidence));
        let row = self
            .0
            .database
            .row(
                &self.0.statements.give_back,
                &[
                    &key.environment.name(),
                    &key.company.as_str(),
                    &signed(revision.epoch),
                    &signed(revision.version),
                    &row::uuid_of_attempt(attempt),
                    &seconds(retry_in),
                    &event.as_ref().map(|(kind, _)| kind.name()),
                    &told.status,
                    &told.code,
                    &told.message,
                    &told.attempt,
                ],
            )
            .await?;
        Ok(written(row.is_some()))
    }

    pub(super) async fn commit(&self, commit: CommitRefresh) -> Result<Committed, StoreError> {
        let CommitRefresh { key, revision, attempt, pair, failures, retry_in } = commit;
        self.0.ready_to_seal().await?;
        let next = Revision { version: revision.version + 1, ..revision };
        let sealed = self.sealed(&key, next, &pair)?;
        let row = self
            .0
            .database
            .row_of_a_pair(
                &self.0.statements.commit_refresh,
                &[
                    &key.environment.name(),
                    &key.company.as_str(),
                    &signed(revision.epoch),
                    &signed(revision.version),
                    &sealed.access_token,
                    &sealed.refresh_token,
                    &sealed.age,
                    &sealed.refresh_after,
                    &sealed.access_lifetime,
                    &sealed.refresh_lifetime,
                    &i64::from(failures),
                    &retry_in.map(seconds),
                    &row::uuid_of_attempt(attempt),
                    &pair.keeps_refresh_token(),
                ],
            )
            .await?;
        if let Some(grant) = self.changed(row, &key)? {
            return Ok(Committed::Stored(Box::new(grant)));
        }
        // What refused it is read by the next statement: beside the write it could be older than the write.
        let row = self.read(&key).await?;
        if row::snapshot(&row, &key, None)?.opt_in.revision.epoch != revision.epoch {
            return Ok(Committed::Moved);
        }
        let stored = self.opened(&row, &key)?;
        let holds = stored.tokens.as_ref().is_some_and(|tokens| tokens.is_pair(&pair));
        Ok(if holds { Committed::AlreadyStored(Box::new(stored)) } else { Committed::Moved })
    }

    pub(super) async fn settle(&self, settle: SettleRefresh) -> Result<Written, StoreError> {
        let SettleRefresh { key, revision, attempt, verdict, evidence, retry_in } = settle;
        let kind = match verdict {
            Verdict::Refused => EventKind::Invalidated,
            Verdict::Unanswered => EventKind::RefreshUnanswered,
        };
        let told = Told::of(Some(&evidence));
        let row = self
            .0
            .database
            .row(
                &self.0.statements.settle_refresh,
                &[
                    &key.environment.name(),
                    &key.company.as_str(),
                    &signed(revision.epoch),
                    &signed(revision.version),
                    &row::uuid_of_attempt(attempt),
                    &(verdict == Verdict::Refused),
                    &seconds(retry_in),
                    &kind.name(),
                    &told.status,
                    &told.code,
                    &told.message,
                    &told.attempt,
                ],
            )
            .await?;
        let settled = row.is_some();
        if settled {
            self.0.feed.announce();
        }
        Ok(written(settled))
    }

    pub(super) async fn remove_grant(&self, key: &GrantKey, actor: &ActorId) -> Result<Snapshot, StoreError> {
        let row = self
            .0
            .database
            .one(&self.0.statements.remove, &[&key.environment.name(), &key.company.as_str(), &actor.as_str()])
            .await?;
        self.0.feed.announce();
        self.opened(&row, key)
    }

    pub(super) async fn mark(&self, environment: Environment) -> Result<u64, StoreError> {
        let parameters: &[Parameter<'_>] = &[&environment.name()];
        let rows = self.0.database.rows_without_time_limit(&self.0.statements.mark_unanswered, parameters).await?;
        rows.first().map_or(Ok(0), |row| Columns::of(row).number())
    }

    /// The grant that a statement changed, if it did. What was stored is announced even if it cannot be read.
    fn changed(&self, row: Option<Row>, key: &GrantKey) -> Result<Option<Snapshot>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        self.0.feed.announce();
        self.opened(&row, key).map(Some)
    }

    fn sealed(&self, key: &GrantKey, revision: Revision, pair: &NewPair) -> Result<Sealed, StoreError> {
        let vault = &self.0.vault;
        let access = pair.access_token.as_ref().map(|token| vault.seal_access_token(key, revision, token));
        let refresh = pair.refresh_token.as_ref().map(|token| vault.seal_refresh_token(key, revision, token));
        Ok(Sealed {
            access_token: access.transpose()?,
            refresh_lifetime: refresh.as_ref().and(pair.refresh_lifetime).map(seconds),
            refresh_token: refresh.transpose()?,
            age: seconds(pair.age),
            refresh_after: seconds(pair.refresh_after),
            access_lifetime: seconds(pair.access_lifetime),
        })
    }
}

/// A pair as it reaches the database; times in seconds.
struct Sealed {
    access_token: Option<Vec<u8>>,
    refresh_token: Option<Vec<u8>>,
    age: f64,
    refresh_after: f64,
    access_lifetime: f64,
    refresh_lifetime: Option<f64>,
}

fn written(is_written: bool) -> Written {
    if is_written { Written::Yes } else { Written::No }
}
