//! The rotation protocol: how a single-use refresh token is spent by many processes without losing it.
//!
//! UPS's refresh tokens rotate: a refresh spends the token and returns the next one. Two requests with one token, an answer that is lost,
//! or a crash between the answer and the commit end the opt-in. No lock can prevent that: a lock ends with its holder's connection and leaves
//! no note that the token was sent.
//!
//! # One write
//! Every write is one compare-and-swap: read the row, let the machine compute the step, save it if the row's number is still the one that
//! was read. A step that depends on the time is saved only if it was decided within five seconds, by the store's clock. On a conflict the
//! row is read again and the machine is asked again. So no decision is saved over a state that it did not see.
//!
//! # One refresh
//! ```text
//!  caller         process                          store                     UPS
//!    │ token?        │                               │                        │
//!    ├──────────────►│ load ────────────────────────►│                        │
//!    │               │ save: claimed, attempt a, ───►│ durable                │
//!    │               │       lease until t           │                        │
//!    │               │ refresh ─────────────────────────────────────────────►│ spends the token
//!    │               │◄───────────────────────────────────────────── new pair │
//!    │               │ save: new pair, version + 1 ─►│ durable                │
//!    │◄──────────────┤ token                         │                        │
//! ```
//! 1. **The request is built first**, so that nothing can fail between the claim and the send.
//! 2. **The claim** is saved before the token is sent: it is the note that outlives the process. While its lease runs, nobody else sends. If
//!    it is unknown whether the claim was saved, nothing is sent.
//! 3. **Not too late**: a process that was stopped or suspended between the claim and the send notices that and sends nothing.
//! 4. **The commit** stores the pair if the opt-in is still the claim's and no later version is stored. It needs no lease: a slow
//!    holder of a valid pair wins. It is repeated for as long as the store is away.
//! 5. **Nobody uses the pair before it is stored**: neither callers nor caches.
//! 6. **An unanswered attempt** is written down as such. After its lease UPS is asked again with the same token, one request at a time. A pair
//!    settles it; a refusal is then [`RotationLost`](crate::CauseKind::RotationLost).
//! 7. **A refusal** is [`OptInInvalidated`](crate::CauseKind::OptInInvalidated) only if every attempt since the last pair was answered cleanly.
//! 8. **Everything else** that UPS says (a wrong secret, a blocked client, a rate limit, an answer that nobody has described) keeps the
//!    tokens and pauses the company or the client.
//!
//! All of it runs in a task of its own: callers wait for it, and a caller that goes away changes nothing.
//!
//! # What a crash leaves
//! | the process dies | the row says | what follows |
//! |---|---|---|
//! | before the claim | as before | the next caller refreshes |
//! | between claim and send | claimed | after the lease UPS is asked with the same token: a pair |
//! | while UPS works | claimed | the same; if UPS had rotated, its refusal is told as `RotationLost` |
//! | between UPS's answer and the commit | claimed | the pair is gone with the process: `RotationLost` |
//! | after the commit | the new pair | nothing |
//!
//! The file `rotation/mod.rs` has the protocol clause by clause, each with the functions that keep it and the tests that prove it;
//! [How this is tested](super::how_this_is_tested) tells how each clause was left out once, and what noticed it.
