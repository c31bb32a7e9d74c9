//! The verbs of a row, and the list of rows.

use super::{
    PostgresStore,
    database::Parameter,
    events::array,
    row::{self, Columns, Shown, limit, readable, signed, storable},
};
use batchsuite_auth::{
    CompanyId,
    clock::{earlier, later},
    store::{self, ListQuery, ListedAs, MOST_AGE, Page, RowKey, RowNumber, Saved, StoreError, Swap, TokenChange},
};

use crate::left_out::LeftOut;

/// How many rows one call lists at most.
const LISTED_AT_ONCE: usize = 1000;
/// The status that most companies have: the index of the others leaves it out.
pub(super) const NOT_INDEXED: ListedAs = ListedAs::Authenticated;

impl PostgresStore {
    pub(super) async fn load_row(&self, key: &RowKey) -> Result<store::Row, StoreError> {
        self.0.compare_keys().await?;
        let parameters: &[Parameter<'_>] = &[&key.environment.name(), &key.name()];
        let loaded = self.0.database.one(&self.0.statements.load, parameters).await?;
        row::row(&loaded, key.clone(), &Shown::With(&self.0.vault))
    }

    pub(super) async fn save_row(&self, swap: Swap) -> Result<Saved, StoreError> {
        let (database, statements) = (&self.0.database, &self.0.statements);
        let Swap { key, revision, decided_at, .. } = &swap;
        let sealed = match &swap.tokens {
            TokenChange::Replace(tokens) => {
                self.0.ready_to_seal().await?;
                Some(self.0.vault.seal_tokens(key, *revision, tokens)?)
            }
            TokenChange::Keep | TokenChange::Erase => None,
        };
        let statement = match &swap.tokens {
            _ if swap.expected == RowNumber::NEVER_SAVED => &statements.save_first,
            TokenChange::Keep if swap.events.is_empty() => &statements.save,
            TokenChange::Keep => &statements.save_and_tell,
            TokenChange::Replace(_) => &statements.save_and_replace,
            TokenChange::Erase => &statements.save_and_erase,
        };
        let wake = swap.wake.unwrap_or_default();
        let parameters: &[Parameter<'_>] = &[
            &key.environment.name(),
            &key.name(),
            &swap.expected.number().cast_signed(),
            &decided_at.map(|at| storable(earlier(at, MOST_AGE))),
            &decided_at.map(|at| storable(later(at, MOST_AGE))),
            &swap.document.as_str(),
            &signed(revision.epoch),
            &signed(revision.version),
            &swap.listed_as.name(),
            &swap.wake.is_some(),
            &wake.at.map(storable),
            &wake.if_used.map(storable),
            &swap.used_at.map(storable),
            &swap.announce,
            &array(&swap.events),
            &sealed.as_ref().and_then(|sealed| sealed.access.as_deref()),
            &sealed.as_ref().and_then(|sealed| sealed.refresh.as_deref()),
        ];
        let saved = match sealed {
            None => database.row(statement, parameters).await?,
            Some(_) => database.row_of_a_pair(statement, parameters).await?,
        };
        let Some(saved) = saved else { return Ok(Saved::Conflict) };
        if !swap.events.is_empty() {
            self.0.feed.announce();
        }
        let mut columns = Columns::of(&saved);
        Ok(Saved::Yes {
            number: RowNumber::new(columns.next::<i64>()?.cast_unsigned()),
            change: columns.event(),
            at: columns.next()?,
        })
    }

    pub(super) async fn list_rows(&self, query: ListQuery) -> Result<Page<store::Row, CompanyId>, StoreError> {
        let (database, statements) = (&self.0.database, &self.0.statements);
        let (environment, header) = (query.environment.name(), self.0.vault.primary_header());
        let after = query.after.as_ref().map_or("", CompanyId::as_str);
        let most = query.limit.min(LISTED_AT_ONCE);
        // One more than asked for tells whether there are more.
        let wanted = limit(most + 1);
        let rows = match &query.listed_as {
            None => database.rows(&statements.list, &[&environment, &after, &wanted, &header]).await?,
            Some(listed) => {
                let names: Vec<&str> = listed.iter().map(|listed| listed.name()).collect();
                let reads_all = listed.contains(&NOT_INDEXED);
                let parameters: &[Parameter<'_>] = &[&environment, &after, &wanted, &header, &names, &reads_all];
                database.rows(&statements.list_some, parameters).await?
            }
        };
        let (mut items, mut next) = (Vec::with_capacity(rows.len()), query.after);
        let mut left_out = LeftOut::of("row of a list");
        for row in rows.iter().take(most) {
            items.extend(readable(row, query.environment, &Shown::Sealed, &mut left_out));
            // Also behind a row that cannot be read.
            next = Columns::of(row).company().ok().or(next);
        }
        // Where rows were read that are not listed, the page goes on behind them.
        let read_up_to = rows.first().and_then(|row| row.try_get::<_, Option<&str>>("read_up_to").ok().flatten());
        let is_cut = rows.len() > most;
        let next = if is_cut { next } else { read_up_to.and_then(|company| CompanyId::new(company).ok()) };
        Ok(Page { items, next })
    }
}
