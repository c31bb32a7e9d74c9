//! The store's verbs.

use std::time::Duration;

use async_trait::async_trait;
use batchsuite_auth::{
    CompanyId, Environment,
    clock::{Timestamp, earlier, later},
    events::EventId,
    ids::ConsentId,
    secret::SecretHash,
    status::ListedAs,
    store::{
        Changes, Consent, ConsentCaps, ConsentUse, Delivery, DeliveryEnd, EventOrder, EventPage, EventQuery,
        FoundConsent, LONGEST_DELIVERY_LEASE, ListQuery, MOST_AGE, MOST_LISTED, NewConsent, NewEvent, Page, Prune,
        Pruned, Row, RowKey, RowNumber, Saved, Store, Swap, TokenChange,
    },
};
use serde_json::json;
use url::Url;

use super::{
    PostgresStore,
    connection::Parameter,
    failure::{self, Result},
    row::{self, Columns, Shown, seconds, storable},
    statements::Statement,
};
use crate::{
    columns::{limit, signed},
    listed::NOT_INDEXED,
    seal::{self, Sealed},
};

/// How many companies one statement marks as used, so that no statement takes long.
const USED_AT_ONCE: usize = 5000;
/// How many events one statement deletes.
const PRUNED_AT_ONCE: u64 = 5000;

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, key: &RowKey) -> Result<Row> {
        self.0.compare_keys().await?;
        let parameters: &[Parameter<'_>] = &[&key.environment.name(), &key.name()];
        let loaded = self.0.one(&self.0.statements.load, parameters).await?;
        row::row(&loaded, key.clone(), &Shown::With(&self.0.keyring))
    }

    async fn save(&self, swap: Swap) -> Result<Saved> {
        swap.refuse_many_events()?;
        let Swap { key, revision, decided_at, events, .. } = &swap;
        let sealed = match &swap.tokens {
            TokenChange::Replace(tokens) => Some(Sealed::new(&*self.0.ready_to_seal().await?, key, *revision, tokens)?),
            TokenChange::Keep | TokenChange::Erase => None,
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
            &(!events.is_empty()).then(|| json!(events).to_string()),
            &sealed.as_ref().and_then(|sealed| sealed.access.as_deref()),
            &sealed.as_ref().and_then(|sealed| sealed.refresh.as_deref()),
        ];
        let saved = match sealed {
            None => self.0.row(self.saving(&swap), parameters).await?,
            Some(_) => self.0.row_of_a_pair(self.saving(&swap), parameters).await?,
        };
        let Some(saved) = saved else { return Ok(Saved::Conflict) };
        if !events.is_empty() {
            self.0.feed.announce();
        }
        let mut columns = Columns::of(&saved);
        let number = RowNumber::new(columns.next::<i64>()?.cast_unsigned());
        Ok(Saved::Yes { number, change: columns.event(), at: columns.next()? })
    }

    async fn put_consent(&self, new: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<()> {
        let NewConsent { consent, state, verifier, lifetime } = &new;
        let verifier = match verifier {
            Some(verifier) => Some(seal::seal_verifier(&*self.0.ready_to_seal().await?, consent, verifier)?),
            None => None,
        };
        let parameters: &[Parameter<'_>] = &[
            &consent.environment.name(),
            &row::uuid(consent.id),
            &consent.company.as_str(),
            &consent.actor.as_str(),
            &&state.as_bytes()[..],
            &&consent.browser.as_bytes()[..],
            &verifier,
            &consent.redirect_uri.as_str(),
            &consent.client_id,
            &consent.return_to,
            &signed(consent.removals),
            &seconds(*lifetime),
            &limit(caps.per_company),
            &limit(caps.per_actor),
            &ListedAs::default().name(),
            &event.company.as_ref().map(CompanyId::as_str),
            &json!(event.event).to_string(),
        ];
        self.0.rows(&self.0.statements.put_consent, parameters).await?;
        self.0.feed.announce();
        Ok(())
    }

    async fn find_consent(&self, environment: Environment, state: &SecretHash) -> Result<Option<FoundConsent>> {
        self.0.compare_keys().await?;
        let parameters: &[Parameter<'_>] = &[&environment.name(), &&state.as_bytes()[..]];
        let found = self.0.row(&self.0.statements.find_consent, parameters).await?;
        let Some(found) = found else { return Ok(None) };
        let mut columns = Columns::of(&found);
        let consent = Consent {
            environment,
            id: columns.consent()?,
            company: columns.company()?,
            actor: columns.actor()?,
            browser: columns.hash()?,
            redirect_uri: Url::parse(columns.next()?).map_err(|_| failure::corrupt("a redirect URI is not a URL"))?,
            client_id: columns.next()?,
            return_to: columns.next()?,
            removals: columns.number()?,
        };
        let expires_at = columns.next()?;
        let (used_at, with_event): (Option<Timestamp>, _) = (columns.next()?, columns.next()?);
        let used = used_at.map(|at| ConsentUse { at, with_event });
        let as_of = columns.next()?;
        let verifier = seal::open_verifier(&self.0.keyring, &consent, columns.next()?);
        Ok(Some(FoundConsent { consent, verifier, expires_at, used, as_of }))
    }

    async fn use_consent(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>> {
        let company = event.as_ref().and_then(|event| event.company.as_ref()).map(CompanyId::as_str);
        let content = event.as_ref().map(|event| json!(event.event).to_string());
        let parameters: &[Parameter<'_>] = &[&environment.name(), &row::uuid(id), &company, &content];
        let used = self.0.row(&self.0.statements.use_consent, parameters).await?;
        if used.is_some() && event.is_some() {
            self.0.feed.announce();
        }
        used.map(|used| Columns::of(&used).next()).transpose()
    }

    async fn wake(&self, environment: Environment, most: usize) -> Result<Vec<Row>> {
        self.0.compare_keys().await?;
        let begin = self.0.queue.begin(environment);
        let parameters: &[Parameter<'_>] = &[&environment.name(), &limit(most.min(MOST_LISTED)), &begin];
        let rows = self.0.rows(&self.0.statements.wake, parameters).await?;
        let reached = rows.first().and_then(|row| row.try_get("reached").ok().flatten());
        self.0.queue.ended(environment, begin, reached);
        Ok(row::rows("row that wakes", &rows, environment, &Shown::With(&self.0.keyring)))
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<()> {
        for companies in companies.chunks(USED_AT_ONCE) {
            let companies: Vec<&str> = companies.iter().map(CompanyId::as_str).collect();
            self.0.rows(&self.0.statements.record_use, &[&environment.name(), &companies]).await?;
        }
        Ok(())
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Row, CompanyId>> {
        let statements = &self.0.statements;
        let (environment, header) = (query.environment.name(), self.0.keyring.primary_header());
        let after = query.after.as_ref().map_or("", CompanyId::as_str);
        let most = query.limit.min(MOST_LISTED);
        // One row more than requested tells whether there are more.
        let wanted = limit(most + 1);
        let rows = match &query.listed_as {
            None => self.0.rows(&statements.list, &[&environment, &after, &wanted, &header]).await?,
            Some(listed) => {
                let names: Vec<&str> = listed.iter().map(|listed| listed.name()).collect();
                let reads_all = listed.contains(&NOT_INDEXED);
                let parameters: &[Parameter<'_>] = &[&environment, &after, &wanted, &header, &names, &reads_all];
                self.0.rows(&statements.list_some, parameters).await?
            }
        };
        let listed = rows.iter().take(most);
        // The page's end may be a row that cannot be read.
        let last = listed.clone().filter_map(|row| Columns::of(row).company().ok()).last().or(query.after);
        let items = row::rows("row of a list", listed, query.environment, &Shown::Sealed);
        // If the statement read rows that do not match, the next page begins after them.
        let read_up_to = rows.first().and_then(|row| row.try_get::<_, Option<&str>>("read_up_to").ok().flatten());
        let is_cut = rows.len() > most;
        let next = if is_cut { last } else { read_up_to.and_then(|company| CompanyId::new(company).ok()) };
        Ok(Page { items, next })
    }

    async fn events(&self, query: EventQuery) -> Result<EventPage> {
        let statements = &self.0.statements;
        let (environment, most) = (query.environment.name(), limit(query.limit));
        let company = query.company.as_ref().map(CompanyId::as_str);
        let rows = match query.order {
            EventOrder::OldestFirst => {
                // Only up to the settled point: a consumer must not pass a number that is still being written.
                let settled = self.horizon().await?.settled;
                let after = signed(query.after.unwrap_or_default().number());
                let statement = match company {
                    Some(_) => &statements.company_events_oldest_first,
                    None => &statements.events_oldest_first,
                };
                self.0.rows(statement, &[&environment, &company, &after, &signed(settled.number()), &most]).await?
            }
            EventOrder::NewestFirst => {
                let before = query.after.map_or(i64::MAX, |after| signed(after.number()));
                let statement = match company {
                    Some(_) => &statements.company_events_newest_first,
                    None => &statements.events_newest_first,
                };
                self.0.rows(statement, &[&environment, &company, &before, &most]).await?
            }
        };
        row::events(&rows, &query)
    }

    async fn append(&self, environment: Environment, event: NewEvent) -> Result<EventId> {
        let company = event.company.as_ref().map(CompanyId::as_str);
        let parameters: &[Parameter<'_>] = &[&environment.name(), &company, &json!(event.event).to_string()];
        let row = self.0.one(&self.0.statements.append, parameters).await?;
        self.0.feed.announce();
        Columns::of(&row).number().map(EventId::new)
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        let mut pruned = Pruned { events: 0, up_to: EventId::START };
        let limit = prune.limit as u64;
        loop {
            let most = PRUNED_AT_ONCE.min(limit - pruned.events);
            let parameters: &[Parameter<'_>] =
                &[&prune.environment.name(), &seconds(prune.older_than), &signed(most), &prune.undelivered];
            let row = self.0.one(&self.0.statements.prune, parameters).await?;
            let mut columns = Columns::of(&row);
            let piece = columns.number()?;
            pruned = Pruned { events: pruned.events + piece, up_to: columns.event() };
            if piece < most || pruned.events == limit {
                return Ok(pruned);
            }
        }
    }

    async fn changes(&self, environment: Environment, after: Option<EventId>, wait: Duration) -> Result<Changes> {
        self.read_changes(environment, after, wait).await
    }

    async fn take_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>> {
        let end = self.horizon().await?.settled;
        let lease = seconds(lease.min(LONGEST_DELIVERY_LEASE));
        let parameters: &[Parameter<'_>] =
            &[&environment.name(), &delivery.consumer, &delivery.holder, &lease, &signed(end.number())];
        let taken = self.0.row(&self.0.statements.take_delivery, parameters).await?;
        Ok(taken.map(|row| Columns::of(&row).event()))
    }

    async fn advance_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool> {
        let lease = seconds(then.lease());
        let parameters: &[Parameter<'_>] =
            &[&environment.name(), &delivery.consumer, &delivery.holder, &signed(cursor.number()), &lease];
        Ok(self.0.row(&self.0.statements.advance_delivery, parameters).await?.is_some())
    }
}

impl PostgresStore {
    fn saving(&self, swap: &Swap) -> &Statement {
        let statements = &self.0.statements;
        match &swap.tokens {
            _ if swap.expected == RowNumber::NEVER_SAVED => &statements.save_first,
            TokenChange::Keep if swap.events.is_empty() => &statements.save,
            TokenChange::Keep => &statements.save_with_events,
            TokenChange::Replace(_) => &statements.save_and_replace,
            TokenChange::Erase => &statements.save_and_erase,
        }
    }
}
