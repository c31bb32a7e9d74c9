//! You have a service that keeps UPS refresh tokens. Here is how to bring them in, so that no company has to authenticate again.
//!
//! # 1. Stop the other system
//! UPS's refresh tokens are single-use: who uses one gets the next one, and the one that was used is refused from then on. So two
//! systems cannot share an opt-in. If the other system goes on, then with its next refresh
//! - either it wins, and the token that you imported is spent: the company has to authenticate again;
//! - or it sends a token that this library has used before. Whether UPS then only refuses that token, or ends the whole opt-in, is
//!   not known. If UPS ends the opt-in after this library has refreshed it once, the refusal looks exactly like a password change, and
//!   is reported as one. No client can tell the difference.
//!
//! So stop it for good, *before* its tokens are exported: its timers, too, and its standby. Wait until its last refresh has been
//! answered and stored. It cannot be started again later: from the first refresh here its tokens are spent.
//!
//! Use the same client id: a refresh token is bound to the client that it was issued to (RFC 6749 §6). Tokens of one environment
//! (CIE, production) are refused by the other.
//!
//! # 2. Hand over all that it knows
//! | of UPS's answer | here | if it is left out |
//! |---|---|---|
//! | `refresh_token` | [`ImportedTokens::new`](crate::ImportedTokens::new) | – |
//! | `refresh_token_issued_at`, in milliseconds since 1970 | [`with_issued_at`](crate::ImportedTokens::with_issued_at) | a company that is authenticated already, or whose token UPS has refused and is to be asked about again, is left alone |
//! | `refresh_token_expires_in`, in seconds from then | [`with_refresh_expires_at`](crate::ImportedTokens::with_refresh_expires_at) | nobody is warned before the end; from the first refresh on UPS's answer counts |
//! | `access_token`, and the rest of its life | [`with_access_token`](crate::ImportedTokens::with_access_token) | the first caller waits for a refresh |
//!
//! Each refresh token belongs to one company. If two companies get the same one, the one that refreshes later needs a new opt-in.
//!
//! # 3. Import them
//! Without a line of code: export a JSON object for each company, one a line, and give the file to `batchsuite`
//! ([Operating](super::operating) says how to install it and which settings it needs).
//!
//! ```text
//! {"company":"acme","refresh_token":"…","issued_at":1706710138962,"refresh_token_expires_in":5183999}
//! {"company":"globex","refresh_token":"…","issued_at":"2026-11-20T08:00:00Z","access_token":"…","expires_in":"14399"}
//! ```
//! UPS's own answer with a `company` in it is such a line, too; `batchsuite help import` lists the fields. `batchsuite import FILE` says
//! what would happen and stores nothing; `batchsuite import --yes FILE` imports. Interrupted, run it again: what is stored already stays, and
//! so do later opt-ins and removals. A line that cannot be imported is told by its number, and the rest goes on. The program
//! asks UPS nothing, so a spent token shows at the first refresh (section 5).
//!
//! # 4. Or import them in a loop
//! One company after the other, so that UPS is asked for one refresh at a time. This function can be interrupted anywhere, and
//! the loop over all five hundred companies started again from the first:
//! ```
//! # use std::{error::Error, time::Duration};
//! # use batchsuite_auth::{ActorId, BatchSuiteAuth, CompanyId, ImportedTokens, TokenError, fake_ups::{FakeUps, KeptTokens}};
//! # use batchsuite_auth::{error::ImportError, status::Status};
//! # use batchsuite_store::MemoryStore;
//! async fn move_in(auth: &BatchSuiteAuth, company: &CompanyId, tokens: ImportedTokens) -> Result<(), Box<dyn Error>> {
//!     let before = auth.status(company).await?;
//!     if before.status == Status::Unauthenticated && before.revision.epoch > 0 {
//!         return Ok(()); // the authorization was removed here: it stays so
//!     }
//!     let actor = ActorId::new("import-2026-11")?; // for the event log
//!     loop {
//!         match auth.import(company, &actor, tokens.clone()).await {
//!             Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_secs(1)).await,
//!             Err(ImportError::NewerOptIn) => break, // it has an opt-in; whether that works shows below
//!             imported => {
//!                 imported?;
//!                 break;
//!             }
//!         }
//!     }
//!     match auth.access_token(company).await {
//!         Err(error) if error.is_transient() => Ok(()), // UPS cannot be asked now: it is asked at the next use
//!         token => Ok(token.map(drop)?),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn Error>> {
//! # let ups = FakeUps::start().await;
//! # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
//! # let tokens = |kept: &KeptTokens| ImportedTokens::new(kept.refresh_token.clone());
//! # let (acme, globex, initech) = (CompanyId::new("acme")?, CompanyId::new("globex")?, CompanyId::new("initech")?);
//! # let kept = ups.opt_in_elsewhere(FakeUps::USER);
//! # move_in(&auth, &initech, tokens(&kept)?.with_refresh_expires_at(kept.refresh_expires_at)).await?;
//! # ups.clock().advance(Duration::from_secs(61 * 86_400));
//! # let kept = ups.opt_in_elsewhere(FakeUps::USER);
//! # let error = move_in(&auth, &initech, tokens(&kept)?).await.expect_err("undated, it does not replace the opt-in that has expired");
//! # assert!(matches!(error.downcast_ref(), Some(TokenError::ReauthRequired(_))), "{error:?}");
//! # move_in(&auth, &initech, tokens(&kept)?.with_issued_at(kept.issued_at)).await?;
//! # let (kept, spent) = (ups.opt_in_elsewhere(FakeUps::USER), ups.opt_in_elsewhere(FakeUps::USER));
//! # ups.refresh_elsewhere(&spent.refresh_token);
//! # for _ in 0..2 {
//! #     move_in(&auth, &acme, tokens(&kept)?).await?;
//! #     let error = move_in(&auth, &globex, tokens(&spent)?).await.unwrap_err();
//! #     assert!(matches!(error.downcast_ref(), Some(TokenError::ReauthRequired(_))), "{error:?}");
//! # }
//! # auth.remove_auth(&acme, &ActorId::new("ada")?).await?;
//! # move_in(&auth, &acme, tokens(&kept)?).await?;
//! # assert_eq!(auth.status(&acme).await?.status, Status::Unauthenticated);
//! # Ok(())
//! # }
//! ```
//! `examples/import` is a whole program around it.
//!
//! | outcome | what it means | what to do |
//! |---|---|---|
//! | [`Stored`](crate::Imported::Stored) | the company is authenticated; the event log says who imported | – |
//! | [`AlreadyStored`](crate::Imported::AlreadyStored) | this refresh token was imported last, whatever became of it since | – |
//! | [`NewerOptIn`](crate::ImportError::NewerOptIn) | the company has an opt-in that UPS issued later or has renewed here since, or that UPS has refused and is to be asked about again | ask it for a token, as above: if it has expired, belongs to another client id or was refused, date the tokens ([`with_issued_at`](crate::ImportedTokens::with_issued_at)), or remove the authorization and import again |
//! | [`ChangedSince`](crate::ImportError::ChangedSince) | somebody removed or authenticated the company during the import | look at the company |
//! | [`Ended`](crate::ImportError::Ended) | the refresh token's end has passed | an administrator authenticates the company |
//! | [`Implausible`](crate::ImportError::Implausible) | a blank, a line's end, both columns the same, a time in the future or of 1970 (seconds for milliseconds) | correct the export |
//! | [`Store`](crate::ImportError::Store), transient | not stored yet, or not known to be. It goes on in this process | repeat the call. Do not start the other system again while this process runs |
//! | [`Store`](crate::ImportError::Store), any other | nothing is stored | an operator looks at the store |
//!
//! An import is a connect: it runs in a task of its own, so a dropped caller loses nothing, and a shutdown waits for it. What happens
//! to the company while it is under way stays: a removal or a new opt-in is never undone by it.
//!
//! # 5. How a spent token is reported
//! `import` asks UPS nothing. Whether the other system has used the token shows at the first refresh, so the loop above asks for an
//! access token at once. A spent token is refused in the words that are expected after a password change, too. Until its first clean rotation an
//! imported opt-in is therefore marked as *suspect*: a refusal is [`RotationLost`](crate::CauseKind::RotationLost), whose words name
//! another system, and never [`OptInInvalidated`](crate::CauseKind::OptInInvalidated). It does not count towards a wave of
//! refusals, so a bad export does not stop the companies that work.
//!
//! An access token that came with it is served until it ends. UPS is asked again after 15 minutes, an hour and a day, in case it
//! refused by mistake ([`Policy::second_opinions`](crate::Policy::second_opinions)). After that only an administrator can help, by
//! authenticating the company.
//!
//! After the first clean rotation the opt-in is like any other, and a password change is reported as one.
//!
//! # 6. Test it
//! The fake UPS plays the other system:
//! [`opt_in_elsewhere`](crate::fake_ups::FakeUpsState::opt_in_elsewhere) gives the tokens that it keeps, and
//! [`refresh_elsewhere`](crate::fake_ups::FakeUpsState::refresh_elsewhere) spends one.
