//! Companies that move here from another system: the tokens that it kept, their import, and what it does with them all the same.

use std::sync::Arc;

use batchsuite_auth::{Imported, ImportedTokens, clock::Timestamp, error::ImportError, fake_ups::KeptTokens};

use batchsuite_tests::virtual_time::micros;

use crate::{
    faults::Fault,
    people::{administrator, answered},
    process::Name,
    world::{World, user_name},
};

/// The tokens of one company at another system, and what its operator tells of them.
#[derive(Clone)]
struct Moving {
    company: usize,
    kept: KeptTokens,
    is_dated: bool,
    knows_the_end: bool,
    has_access_token: bool,
}

impl Moving {
    fn refresh_token(&self) -> &str {
        self.kept.refresh_token.expose_secret()
    }

    /// What is handed over at this time.
    fn tokens(&self, now: Timestamp) -> ImportedTokens {
        let KeptTokens { refresh_token, access_token, issued_at, expires_in, refresh_expires_at, .. } =
            self.kept.clone();
        let mut tokens = ImportedTokens::new(refresh_token).unwrap_or_else(|error| panic!("{error}"));
        if self.is_dated {
            tokens = tokens.with_issued_at(issued_at);
        }
        if self.knows_the_end {
            tokens = tokens.with_refresh_expires_at(refresh_expires_at);
        }
        if self.has_access_token {
            let remaining = (issued_at + expires_in - now).to_std().unwrap_or_default();
            tokens = tokens.with_access_token(access_token, remaining).unwrap_or_else(|error| panic!("{error}"));
        }
        tokens
    }
}

impl World {
    /// An operator imports what another system kept of a company, and repeats that until it is done. The other system may have used
    /// the refresh token before, or uses it afterwards.
    pub(crate) async fn import(self: Arc<Self>, company: usize) {
        let moving = self.opts_in_elsewhere(company);
        let (rest, spends_before, spends_after) = {
            let mut dice = self.dice();
            (dice.milliseconds(0..900_000), dice.chance(0.15), dice.chance(0.15))
        };
        self.pause(rest).await;
        if spends_before {
            self.spends_elsewhere(&moving);
        }
        for _ in 0..4 {
            let slot = self.dice().below(self.plan.processes);
            let imported = self.imports_once(slot, &moving).await;
            let is_told = !matches!(imported, None | Some(Err(ImportError::Store(_) | ImportError::ShutDown)));
            if is_told && self.dice().chance(0.7) {
                break;
            }
            let rest = self.dice().milliseconds(500..30_000);
            self.pause(rest).await;
        }
        if spends_after {
            let rest = self.dice().milliseconds(0..900_000);
            self.pause(rest).await;
            self.spends_elsewhere(&moving);
        }
    }

    fn opts_in_elsewhere(&self, company: usize) -> Moving {
        self.ups_clock.set(self.clocks.now());
        let user = user_name(self.ledger(|ledger| ledger.companies[company].user));
        let kept = self.ups.opt_in_elsewhere(&user);
        let (is_dated, knows_the_end, has_access_token) = {
            let mut dice = self.dice();
            (dice.chance(0.7), dice.chance(0.5), dice.chance(0.6))
        };
        let (times, store_set) = (self.times_of(&kept), self.clocks.store_set());
        let tokens = (kept.access_token.expose_secret(), kept.refresh_token.expose_secret());
        self.ledger(|ledger| ledger.opted_in_elsewhere(company, tokens, times, store_set, is_dated));
        Moving { company, kept, is_dated, knows_the_end, has_access_token }
    }

    /// Calls the import in one process. The caller may go away; `None`: it has no answer.
    async fn imports_once(self: &Arc<Self>, slot: usize, moving: &Moving) -> Option<Result<Imported, ImportError>> {
        let (incarnation, gate, auth) = self.process(slot)?;
        let company = moving.company;
        self.suffers(Fault::Imported, Name(slot, incarnation));
        let (goes_after, is_removed_after) = {
            let mut dice = self.dice();
            let goes_after = dice.chance(0.2).then(|| dice.milliseconds(0..40));
            (goes_after, dice.chance(0.1).then(|| dice.milliseconds(0..20)))
        };
        if let Some(after) = is_removed_after {
            let world = Arc::clone(self);
            tokio::spawn(async move {
                world.pause(after).await;
                world.remove(slot, company).await;
            });
        }
        let (world, moving) = (Arc::clone(self), moving.clone());
        let importing = gate.pass(async move {
            let (id, actor, called_at) = (world.companies[company].clone(), administrator(company), world.now());
            world.ledger(|ledger| ledger.import_called(incarnation, moving.refresh_token(), called_at));
            let imported = auth.import(&id, &actor, moving.tokens(world.clocks.now())).await;
            world.ledger(|ledger| ledger.import_answered(moving.refresh_token(), called_at, &imported));
            imported
        });
        let imported = match goes_after {
            None => answered(importing).await,
            Some(after) => {
                let imported = tokio::time::timeout(after, importing).await.ok();
                if imported.is_none() {
                    self.suffers(Fault::CallerDropped, Name(slot, incarnation));
                }
                imported
            }
        };
        self.note(Name(slot, incarnation), format_args!("c{company} imported: {}", words(imported.as_ref())));
        imported
    }

    /// The other system refreshes, although its tokens were handed over.
    fn spends_elsewhere(&self, moving: &Moving) {
        // Not so late that nobody here could notice before the end.
        if self.weather().is_calm || !self.ledger(|ledger| ledger.is_good_elsewhere(moving.refresh_token())) {
            return;
        }
        self.ups_clock.set(self.clocks.now());
        let Some(next) = self.ups.refresh_elsewhere(&moving.kept.refresh_token) else { return };
        self.suffers(Fault::SpentElsewhere, format_args!("c{}", moving.company));
        let (times, store_set) = (self.times_of(&next), self.clocks.store_set());
        let tokens = (next.access_token.expose_secret(), next.refresh_token.expose_secret());
        self.ledger(|ledger| ledger.spent_elsewhere(moving.refresh_token(), tokens, times, store_set));
    }

    /// When UPS issued them, which is now, and the end of the access token.
    fn times_of(&self, kept: &KeptTokens) -> (u64, u64) {
        let now = self.now();
        (now, now + micros(kept.expires_in))
    }
}

fn words(imported: Option<&Result<Imported, ImportError>>) -> String {
    match imported {
        Some(Ok(imported)) => format!("{imported:?}"),
        Some(Err(error)) => error.to_string(),
        None => "no answer".to_owned(),
    }
}
