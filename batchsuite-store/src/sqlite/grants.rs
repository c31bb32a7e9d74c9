//! The verbs of rows.

use std::{collections::BTreeSet, sync::Arc};

use batchsuite_auth::{
    CompanyId, Environment,
    clock::later,
    events::EventId,
    ids::{ConsentId, Revision},
    store::{
        Document, FURTHEST_WAKE, HIDDEN_FOR, ListQuery, ListedAs, MOST_LISTED, Page, PendingConsent, Row, RowKey,
        RowNumber, Saved, StoredTokens, Swap, TokenChange, USE_RECORDED_WITHIN,
    },
};

use super::{
    Session, bits,
    failure::{self, Failure, Result},
    micros, revision, time,
};
use crate::{
    columns::{limit, signed},
    keyring::Keyring,
    left_out::readable,
    listed::NOT_INDEXED,
    overview::Overview,
    seal::Sealed,
};

/// How a row's tokens are read: [`Sealed::open`] or [`Sealed::look`].
type ShowTokens = fn(&Sealed, &Keyring, &RowKey, Revision) -> StoredTokens;

impl Session<'_> {
    pub(super) fn load(&mut self, key: RowKey) -> Result<Row> {
        self.read(key, Sealed::open)
    }

    fn read(&mut self, key: RowKey, show: ShowTokens) -> Result<Row> {
        let (as_of, shared) = (self.now(), Arc::clone(&self.shared));
        let place = (key.environment.name(), key.name());
        // A document that is not text does not make its row unreadable: the machine decides about it.
        let stored = "SELECT number, epoch, version, change, wake_at, used_at, CAST(document AS BLOB) AS document,
                access_token, refresh_token
            FROM grants LEFT JOIN tokens USING (id)
            WHERE environment = ?1 AND company = ?2";
        let stored = self.row(stored, place, |row| {
            let sealed = Sealed { access: row.get("access_token")?, refresh: row.get("refresh_token")? };
            let revision = revision(row)?;
            Ok(Row {
                number: RowNumber::new(row.get("number")?),
                revision,
                document: Document::new(String::from_utf8_lossy(&row.get::<_, Vec<u8>>("document")?)),
                tokens: show(&sealed, &shared.keyring, &key, revision),
                change: EventId::new(row.get("change")?),
                wake_at: time(row, "wake_at")?,
                used_at: time(row, "used_at")?,
                ..Row::empty(key.clone(), as_of)
            })
        })?;
        let pending = "SELECT id, removals, expires_at FROM consents
            WHERE environment = ?1 AND company = ?2 AND used_at IS NULL AND expires_at > ?3 ORDER BY number";
        let consents = self.rows(pending, (place.0, place.1, micros(as_of)), |row| {
            let id = ConsentId::from_bits(bits(row, "id")?);
            let expires_at = time(row, "expires_at")?.unwrap_or(as_of);
            Ok(PendingConsent { id, removals: row.get("removals")?, expires_at })
        })?;
        let stored = stored.unwrap_or_else(|| Row::empty(key.clone(), as_of));
        Ok(Row { consents, ..stored })
    }

    /// The rows of these companies. An unreadable row does not affect the others.
    fn read_all(&mut self, environment: Environment, companies: Vec<String>, show: ShowTokens) -> Vec<Row> {
        let read = companies.into_iter().map(|name| {
            let key = CompanyId::new(name.as_str()).map(|company| RowKey::company(environment, company));
            let row = key.map_err(Failure::from).and_then(|key| self.read(key, show));
            (name, row.map_err(failure::judge))
        });
        readable("row", read)
    }

    pub(super) fn save(&mut self, swap: Swap) -> Result<Saved> {
        swap.refuse_many_events()?;
        let (now, environment, name) = (self.now(), swap.key.environment.name(), swap.key.name());
        let stored = "SELECT number, change, used_at FROM grants WHERE environment = ?1 AND company = ?2";
        let stored = self.row(stored, (environment, name), |row| {
            Ok((RowNumber::new(row.get("number")?), EventId::new(row.get("change")?), time(row, "used_at")?))
        })?;
        let (number, mut change, used_at) = stored.unwrap_or_default();
        if number != swap.expected || !swap.is_in_time(now) {
            return Ok(Saved::Conflict);
        }
        let number = number.next(now);
        let replace = "INSERT INTO grants (environment, company, number, epoch, version, document, listed_as)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (environment, company) DO UPDATE SET number = excluded.number, epoch = excluded.epoch,
                version = excluded.version, document = excluded.document, listed_as = excluded.listed_as
            RETURNING id";
        let Revision { epoch, version } = swap.revision;
        let (document, listed_as) = (swap.document.as_str(), swap.listed_as.name());
        let row = (environment, name, number.number(), signed(epoch), signed(version), document, listed_as);
        let id = self.row(replace, row, |row| Ok(row.get::<_, i64>("id")?))?.unwrap_or_default();
        for event in &swap.events {
            let event = self.write_event(&swap.key, swap.revision, event)?;
            change = if swap.announce { event } else { change };
        }
        // Separate statements, so that unchanged columns cause no index writes.
        if swap.announce {
            self.run("UPDATE grants SET change = ?2 WHERE id = ?1", (id, change.number()))?;
        }
        if let Some(wake) = swap.wake_over(used_at) {
            let set = "UPDATE grants SET wake_at = ?2, wake_if_used = ?3, hidden_until = NULL WHERE id = ?1";
            self.run(set, (id, wake.at.map(micros), wake.if_used.map(micros)))?;
        }
        self.save_tokens(id, &swap)?;
        Ok(Saved::Yes { number, change, at: now })
    }

    fn save_tokens(&mut self, id: i64, swap: &Swap) -> Result<()> {
        let sealed = match &swap.tokens {
            TokenChange::Keep => return Ok(()),
            TokenChange::Replace(tokens) => Sealed::new(&*self.sealing_keys()?, &swap.key, swap.revision, tokens)?,
            TokenChange::Erase => Sealed::default(),
        };
        if sealed.is_empty() {
            return self.run("DELETE FROM tokens WHERE id = ?1", [id]);
        }
        let replace = "INSERT INTO tokens (id, access_token, refresh_token) VALUES (?1, ?2, ?3)
            ON CONFLICT (id) DO UPDATE SET access_token = excluded.access_token, refresh_token = excluded.refresh_token";
        self.run(replace, (id, sealed.access, sealed.refresh))
    }

    pub(super) fn wake(&mut self, environment: Environment, most: usize) -> Result<Vec<Row>> {
        let (now, hidden_until) = (micros(self.now()), micros(later(self.now(), HIDDEN_FOR)));
        let waking = "SELECT id, company FROM grants INDEXED BY grants_waking
            WHERE environment = ?1 AND company <> '' AND wake_at > ?2 AND wake_at <= ?3
              AND (hidden_until IS NULL OR hidden_until <= ?4 OR hidden_until > ?5)
            ORDER BY wake_at LIMIT ?6";
        let mut woken = Vec::new();
        // Rows that are due, then rows that a wrong clock has put off.
        for (after, until) in [(i64::MIN, now), (micros(later(self.now(), FURTHEST_WAKE)), i64::MAX)] {
            let range = (environment.name(), after, until, now, hidden_until, limit(most.saturating_sub(woken.len())));
            let found = self.rows(waking, range, |row| Ok((row.get::<_, i64>("id")?, row.get("company")?)))?;
            for (id, company) in found {
                self.run("UPDATE grants SET hidden_until = ?2 WHERE id = ?1", (id, hidden_until))?;
                woken.push(company);
            }
        }
        Ok(self.read_all(environment, woken, Sealed::open))
    }

    pub(super) fn record_use(&mut self, environment: Environment, companies: &[CompanyId]) -> Result<()> {
        let (now, recent) = (micros(self.now()), USE_RECORDED_WITHIN.as_micros() as i64);
        let used = "UPDATE grants
            SET used_at = ?3, wake_at = min(ifnull(wake_at, wake_if_used), ifnull(wake_if_used, wake_at))
            WHERE environment = ?1 AND company = ?2
              AND (used_at IS NULL OR abs(?3 - used_at) >= ?4 OR wake_if_used < ifnull(wake_at, wake_if_used + 1))";
        let record = |company: &CompanyId| self.run(used, (environment.name(), company.as_str(), now, recent));
        companies.iter().try_for_each(record)
    }

    pub(super) fn list(&mut self, query: &ListQuery) -> Result<Page<Row, CompanyId>> {
        let (environment, now) = (query.environment.name(), micros(self.now()));
        let (after, most) = (query.after.as_ref().map_or("", CompanyId::as_str), query.limit.min(MOST_LISTED));
        let name = |row: &rusqlite::Row<'_>| Ok(row.get::<_, String>(0)?);
        let statuses = query.listed_as.as_ref().filter(|statuses| !statuses.contains(&NOT_INDEXED));
        let statuses = if statuses.is_some() && self.is_much_overdue(query.environment)? { None } else { statuses };
        let (mut found, read_up_to) = match statuses {
            // Rows of these statuses come from the status index, overdue rows from the wake-time index.
            Some(statuses) => {
                let overdue = "SELECT company FROM grants INDEXED BY grants_waking
                    WHERE environment = ?1 AND wake_at <= ?2 AND company > ?3";
                let mut found = BTreeSet::from_iter(self.rows(overdue, (environment, now, after), name)?);
                let listed = "SELECT company FROM grants INDEXED BY grants_listed
                    WHERE environment = ?1 AND listed_as = ?2 AND listed_as <> 'authenticated' AND company > ?3
                    ORDER BY company LIMIT ?4";
                for status in statuses {
                    found.extend(self.rows(listed, (environment, status.name(), after, most), name)?);
                }
                (found.into_iter().collect(), None)
            }
            None => self.following(query)?,
        };
        found.truncate(most);
        let next = if found.len() == most { found.last().cloned() } else { read_up_to };
        let next = next.map(CompanyId::new).transpose()?;
        Ok(Page { items: self.read_all(query.environment, found, Sealed::look), next })
    }

    pub(super) fn overview(&mut self, environment: Environment) -> Result<Overview> {
        let (environment, as_of) = (environment.name(), self.now());
        let now = micros(as_of);
        let number = |row: &rusqlite::Row<'_>| Ok(row.get::<_, u64>(0)?);
        // All companies are counted by the unique index, and those of certain statuses by their partial index.
        let all = "SELECT count(*) FROM grants WHERE environment = ?1 AND company <> ''";
        let listed = "SELECT listed_as, count(*) FROM grants INDEXED BY grants_listed
            WHERE environment = ?1 AND company <> '' AND listed_as <> 'authenticated' GROUP BY listed_as";
        let listed = self.rows(listed, [environment], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let due = "SELECT count(*) FROM grants INDEXED BY grants_waking
            WHERE environment = ?1 AND company <> '' AND wake_at <= ?2";
        let oldest = "SELECT wake_at FROM grants INDEXED BY grants_waking
            WHERE environment = ?1 AND company <> '' AND wake_at <= ?2 ORDER BY wake_at LIMIT 1";
        let pending = "SELECT count(*) FROM consents WHERE environment = ?1 AND used_at IS NULL AND expires_at > ?2";
        Ok(Overview {
            companies: Overview::counted(self.row(all, [environment], number)?.unwrap_or_default(), listed),
            companies_due: self.row(due, (environment, now), number)?.unwrap_or_default(),
            oldest_wake: self.row(oldest, (environment, now), |row| time(row, "wake_at"))?.flatten(),
            consents_pending: self.row(pending, (environment, now), number)?.unwrap_or_default(),
            as_of,
        })
    }

    /// Whether more rows are overdue than one call reads. An index-only count.
    fn is_much_overdue(&mut self, environment: Environment) -> Result<bool> {
        let more = "SELECT 1 FROM grants INDEXED BY grants_waking WHERE environment = ?1 AND wake_at <= ?2
            LIMIT 1 OFFSET ?3";
        let more = self.row(more, (environment.name(), micros(self.now()), MOST_LISTED), |_| Ok(()))?;
        Ok(more.is_some())
    }

    /// The next rows that match the query and, unless they are the last, the end of the rows read.
    fn following(&mut self, query: &ListQuery) -> Result<(Vec<String>, Option<String>)> {
        let (environment, now) = (query.environment.name(), micros(self.now()));
        let after = query.after.as_ref().map_or("", CompanyId::as_str);
        let most = if query.listed_as.is_some() { MOST_LISTED } else { query.limit.min(MOST_LISTED) };
        let next = "SELECT company, listed_as, ifnull(wake_at <= ?4, 0) FROM grants
            WHERE environment = ?1 AND company > ?2 ORDER BY company LIMIT ?3";
        let mut read_up_to = None;
        let read = self.rows(next, (environment, after, most, now), |row| {
            let (company, listed_as, is_overdue) = (row.get(0)?, row.get::<_, String>(1)?, row.get(2)?);
            let is_shown = |statuses: &Vec<ListedAs>| is_overdue || statuses.iter().any(|s| s.name() == listed_as);
            Ok((company, query.listed_as.as_ref().is_none_or(is_shown)))
        })?;
        if read.len() == most {
            read_up_to = read.last().map(|(company, _): &(String, _)| company.clone());
        }
        Ok((read.into_iter().filter(|(_, is_shown)| *is_shown).map(|(company, _)| company).collect(), read_up_to))
    }
}
