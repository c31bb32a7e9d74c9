use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use batchsuite_auth::{
    CompanyId,
    clock::later,
    events::EventId,
    ids::Revision,
    secret::{AccessTokenSecret, RefreshToken},
    store::{
        Document, FURTHEST_WAKE, GrantKey, HIDDEN_FOR, ListQuery, ListedAs, MOST_LISTED, Page, PendingConsent, Row,
        RowKey, RowNumber, Saved, StoredTokens, Swap, TokenChange, Tokens,
    },
};
use batchsuite_store::keyring::Binding;
use serde::Deserialize;

/// A stored row.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct StoredRow {
    number: u64,
    revision: Revision,
    /// Unchanged, including fields that only a newer release knows.
    document: Option<String>,
    /// Encrypted, bound to the revision.
    access_token: Option<String>,
    refresh_token: Option<String>,
    listed_as: String,
    change: u64,
    wake_at: Option<Timestamp>,
    wake_if_used: Option<Timestamp>,
    used_at: Option<Timestamp>,
    hidden_until: Option<Timestamp>,
}

impl Verb<'_> {
    fn row(&self, key: &RowKey) -> Result<StoredRow> {
        Ok(self.find("row", key.name())?.unwrap_or_default())
    }

    /// The companies' rows, ordered by id. The client row has no name and is not included.
    fn companies(&self) -> impl Iterator<Item = (CompanyId, StoredRow)> {
        self.all("row").filter_map(|(name, row)| Some((CompanyId::new(name).ok()?, row)))
    }

    fn load(&self, key: RowKey) -> Result<Row> {
        let row = self.row(&key)?;
        let tokens = self.opened(&key, &row);
        Ok(self.shown(key, row, tokens))
    }

    fn save(&mut self, swap: Swap) -> Result<Saved> {
        swap.refuse_many_events()?;
        let mut row = self.row(&swap.key)?;
        if row.number != swap.expected.number() || !swap.is_in_time(self.now) {
            return Ok(Saved::Conflict);
        }
        let wake = swap.wake_over(row.used_at);
        match swap.tokens {
            TokenChange::Keep => {}
            TokenChange::Replace(tokens) => self.seal(&swap.key, swap.revision, &tokens, &mut row)?,
            TokenChange::Erase => (row.access_token, row.refresh_token) = (None, None),
        }
        if let Some(wake) = wake {
            row.wake_at = wake.at;
            row.wake_if_used = wake.if_used;
            row.hidden_until = None;
        }
        let number = swap.expected.next(self.now);
        row.number = number.number();
        row.revision = swap.revision;
        row.document = Some(swap.document.as_str().to_owned());
        row.listed_as = swap.listed_as.name().to_owned();
        for event in swap.events {
            let id = self.write_event(swap.key.company.clone(), event, swap.revision)?;
            row.change = if swap.announce { id.number() } else { row.change };
        }
        self.put("row", swap.key.name(), &row)?;
        Ok(Saved::Yes { number, change: EventId::new(row.change), at: self.now })
    }

    fn wake(&mut self, limit: usize) -> Result<Vec<Row>> {
        let mut woken: Vec<_> = self.companies().filter(|(_, row)| row.wakes(self.now)).collect();
        woken.sort_by_key(|(_, row)| row.wake_at);
        woken.truncate(limit);
        let mut rows = Vec::new();
        for (company, mut row) in woken {
            row.hidden_until = Some(later(self.now, HIDDEN_FOR));
            self.put("row", company.as_str(), &row)?;
            let key = RowKey::company(self.environment, company);
            let tokens = self.opened(&key, &row);
            rows.push(self.shown(key, row, tokens));
        }
        Ok(rows)
    }

    fn record_use(&mut self, companies: &[CompanyId]) -> Result<()> {
        for company in companies {
            let Some(mut row) = self.find::<StoredRow>("row", company.as_str())? else { continue };
            row.wake_at = earliest(row.wake_at, row.wake_if_used);
            row.used_at = Some(self.now);
            self.put("row", company.as_str(), &row)?;
        }
        Ok(())
    }

    fn list(&self, query: &ListQuery) -> Page<Row, CompanyId> {
        let (mut items, mut last) = (Vec::new(), None);
        let after = |company: &CompanyId| query.after.as_ref().is_none_or(|after| company > after);
        for (read, (company, row)) in self.companies().filter(|(company, _)| after(company)).enumerate() {
            if read == MOST_LISTED || items.len() == query.limit {
                return Page { items, next: last };
            }
            last = Some(company.clone());
            // The caller re-evaluates rows whose status may have changed with time.
            let wakes = row.wake_at.is_some_and(|at| at <= self.now);
            let listed_as = ListedAs::of_name(&row.listed_as).unwrap_or_default();
            if query.listed_as.as_ref().is_none_or(|wanted| wakes || wanted.contains(&listed_as)) {
                let tokens = self.sealed(&row);
                items.push(self.shown(RowKey::company(self.environment, company), row, tokens));
            }
        }
        Page { items, next: None }
    }

    fn shown(&self, key: RowKey, row: StoredRow, tokens: StoredTokens) -> Row {
        let consents = key.company.as_ref().map(|company| self.pending(company)).unwrap_or_default();
        Row {
            number: RowNumber::new(row.number),
            revision: row.revision,
            document: row.document.map_or_else(Document::default, Document::new),
            tokens,
            change: EventId::new(row.change),
            wake_at: row.wake_at,
            used_at: row.used_at,
            consents,
            as_of: self.now,
            key,
        }
    }

    /// Encrypts both tokens into the row. (The client row has none.)
    fn seal(&self, key: &RowKey, revision: Revision, tokens: &Tokens, row: &mut StoredRow) -> Result<()> {
        let Some(grant) = grant(key) else { return Ok(()) };
        let seal = |binding: Binding<'_>, secret: &str| -> Result<String> {
            Ok(BASE64.encode(self.keyring.seal(&binding, secret.as_bytes())?))
        };
        let (access, refresh) = (tokens.access.as_ref(), tokens.refresh.as_ref());
        let access = access.map(|token| seal(Binding::access_token(&grant, revision), token.expose_secret()));
        let refresh = refresh.map(|token| seal(Binding::refresh_token(&grant, revision), token.expose_secret()));
        (row.access_token, row.refresh_token) = (access.transpose()?, refresh.transpose()?);
        Ok(())
    }

    fn opened(&self, key: &RowKey, row: &StoredRow) -> StoredTokens {
        let (Some(grant), false) = (grant(key), row.has_no_tokens()) else { return StoredTokens::None };
        let access = row.access_token.as_ref();
        let access = access.map(|sealed| self.open(&Binding::access_token(&grant, row.revision), sealed));
        let refresh = row.refresh_token.as_ref();
        let refresh = refresh.map(|sealed| self.open(&Binding::refresh_token(&grant, row.revision), sealed));
        match (access.transpose(), refresh.transpose()) {
            (Ok(access), Ok(refresh)) => StoredTokens::Readable(Tokens {
                access: access.map(AccessTokenSecret::new),
                refresh: refresh.map(RefreshToken::new),
            }),
            (Err(error), _) | (_, Err(error)) => StoredTokens::Unreadable(error),
        }
    }

    fn sealed(&self, row: &StoredRow) -> StoredTokens {
        let mut sealed = row.access_token.iter().chain(&row.refresh_token);
        let is_older = |sealed: &String| BASE64.decode(sealed).is_ok_and(|it| self.keyring.needs_reencryption(&it));
        match row.has_no_tokens() {
            true => StoredTokens::None,
            false => StoredTokens::Sealed { with_older_key: sealed.any(is_older) },
        }
    }

    fn open(&self, binding: &Binding<'_>, sealed: &str) -> Result<String> {
        let sealed = BASE64.decode(sealed).map_err(|_| StoreError::new(StoreErrorKind::Corrupt))?;
        Ok(self.keyring.open(binding, &sealed)?.into_text()?)
    }
}

impl StoredRow {
    /// A time absurdly far ahead was set by a wrong clock. It neither hides nor delays the row.
    fn wakes(&self, now: Timestamp) -> bool {
        let hides = |until| until > now && until <= later(now, HIDDEN_FOR);
        let wakes = |at| at <= now || at > later(now, FURTHEST_WAKE);
        !self.hidden_until.is_some_and(hides) && self.wake_at.is_some_and(wakes)
    }

    fn has_no_tokens(&self) -> bool {
        self.access_token.is_none() && self.refresh_token.is_none()
    }
}

fn grant(key: &RowKey) -> Option<GrantKey> {
    Some(GrantKey { environment: key.environment, company: key.company.clone()? })
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
