//! Build your own store, step by step: a small one that keeps opt-ins in a file.
//!
//! [`Store`](crate::store::Store) is the trait, and its documentation is the contract, clause by clause. This chapter
//! shows one way to implement it and explains the reason for each clause. The code below is complete: it compiles, and
//! at the end it passes the contract.
//!
//! # What a store is
//! A store keeps rows, swaps them, and finds the rows that it is asked for. It knows no rules. The library's
//! [`machine`](crate::machine) computes a row's next state from a recent read; the store saves it if the row has not
//! changed since. So a new rule in the library changes no store.
//!
//! | a store keeps | and does this with it |
//! |---|---|
//! | a company's *document*: its state, as JSON | returns it unchanged and never looks inside, so that a newer release may add fields |
//! | the two tokens | encrypts them, bound to the revision that they are saved with |
//! | a few columns: number, change, wake times, last use, `listed_as` | compares them and finds rows by them |
//! | consents, the event log, cursors into it | stores them in the same way |
//!
//! One more row, the *client row*, belongs to no company. It holds the state that concerns all companies.
//!
//! # The file
//! Every verb that writes is **atomic**: a row and its events are stored together or not at all. An event without its
//! change would send somebody a mail about nothing. And a write is **durable** when the verb returns: UPS's refresh
//! tokens are single-use, so if a crash undid a claim, another process could send a token that is already spent.
//!
//! So one write is one line of a file, ended by a line break and followed by `fsync`. A line without a line break is a
//! write whose verb never returned. When the store opens the file, it writes a new file beside the old one and moves it
//! into place with one atomic rename.
//! ```no_run
#![doc = include_str!("../../docs/writing-a-store/file.rs")]
//! # fn main() {}
//! ```
//!
//! After a failed write nobody knows the content of the disk. The caller gets an error, which by contract leaves open
//! whether the write was saved; but the *next* verb must know. It reads the file again.
//!
//! # A verb
//! Five promises hold for every verb, so they are implemented in one place:
//! - **One clock.** Every *now* is the store's. Processes whose clocks differ must agree on when a lease ends. (The
//!   clock is a parameter, so that tests can move it.)
//! - **Isolation.** A verb never sees part of another verb's writes. Here a mutex ensures that. The time is read under
//!   the mutex, because a decision's age at its save includes the wait for the lock.
//! - **Cancellation.** A caller may be dropped at any moment. The verb runs to its end on a thread that may block on
//!   the disk.
//! - **No waiting, no retries.** An error is returned at once. The library decides whether to retry, and stops waiting
//!   after [`Policy::store_deadline`](crate::Policy::store_deadline). (A networked store has its own deadline and drops
//!   a connection in doubt.)
//! - **Errors say what a caller can do**: [`StoreErrorKind`](crate::store::StoreErrorKind). Their sources contain no
//!   secret.
//! ```no_run
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
#![doc = include_str!("../../docs/writing-a-store/verb.rs")]
//! # fn main() {}
//! ```
//!
//! This store is for one process. Two processes would each have their own records in memory, and both would win the
//! same swap. A store shared by several processes must compare and write in one atomic step of the shared resource, as
//! a database does.
//!
//! # Rows
//! - [`save`](crate::store::Store::save) is the only write of a row. It compares the **number**: of two processes that
//!   read the same row, one gets [`Conflict`](crate::store::Saved::Conflict) and reads again. The number also follows
//!   the clock ([`RowNumber::next`](crate::store::RowNumber::next)), so that it is never repeated after a restored
//!   backup. And it compares the **time**: a claim decided six seconds ago may take effect after its lease.
//! - A **use** is recorded without a new number, because it must not turn a concurrent save into a conflict. A save
//!   computed without that use accounts for it: in either order, the row wakes as a used company's.
//! - [`wake`](crate::store::Store::wake) hands each row to one caller and hides it for two minutes. If that process
//!   dies, the row is handed out again; nothing is lost, because hiding does not change the wake time.
//! - [`list`](crate::store::Store::list) decrypts no tokens and reads at most 1,000 rows per call.
//! - **Tokens** are encrypted with environment, company, field, epoch and version as associated data, so that a
//!   ciphertext moved elsewhere does not open. A row whose tokens do not open is still returned, as
//!   [`Unreadable`](crate::store::StoredTokens::Unreadable): one damaged row must not end a list, and it is no reason
//!   to ask a person for a new opt-in.
//! ```no_run
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/verb.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/consents.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/log.rs"));
#![doc = include_str!("../../docs/writing-a-store/rows.rs")]
//! # fn main() {}
//! ```
//!
//! With more than a few thousand companies, `wake` and `list` need an index on `wake_at`; here they scan every row.
//!
//! # Consents
//! A consent is one trip of a browser to UPS.com and back. It is *used* once: of any number of callbacks, exactly one
//! may send the code, and its event is part of the same write. The use erases the verifier. A consent that has ended is
//! remembered for an hour, so that a person who comes back late or twice is told what happened.
//! ```no_run
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/verb.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/rows.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/log.rs"));
#![doc = include_str!("../../docs/writing-a-store/consents.rs")]
//! # fn main() {}
//! ```
//!
//! # The log, the feed, deliveries
//! - **Events** are read by cursor, and none is missed: a number is assigned under the lock, so a later event never
//!   appears before an earlier one. (In a database it can: a number is drawn before its transaction commits.)
//! - An event that **cannot be read** (a later release may know more kinds) hides no other, and the page names it: a
//!   delivery tells its handler of it.
//! - A **pruned** event never leaves a silent gap. A reader whose cursor lies below it gets an error that says where to
//!   continue. So events are pruned by their place in the log. Their dates only say how far: one date may be wrong.
//! - The **feed** reports the rows that were announced after a cursor. Through it, every process drops tokens that must
//!   no longer be served.
//! - A **delivery** is a cursor with a lease, so that only one process at a time sends the mails.
//! ```no_run
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/verb.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/rows.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/consents.rs"));
#![doc = include_str!("../../docs/writing-a-store/log.rs")]
//! # fn main() {}
//! ```
//!
//! # The trait
//! Verbs run one at a time. Only [`changes`](crate::store::Store::changes) waits, and it subscribes before it reads:
//! otherwise it would sleep through a write between the two.
//! ```no_run
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/verb.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/rows.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/consents.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/log.rs"));
#![doc = include_str!("../../docs/writing-a-store/store.rs")]
//! # fn main() {}
//! ```
//!
//! # The contract
//! [`store_contract`](crate::test_util::store_contract) has one test per clause, races included. Each needs an empty
//! store and control of its clock. Where data can be damaged, the suite damages some (here, by swapping a row's two
//! ciphertexts):
//! ```no_run
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/verb.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/rows.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/consents.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/log.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/store.rs"));
#![doc = include_str!("../../docs/writing-a-store/contract.rs")]
//! # fn main() {}
//! ```
//!
//! A crate's own tests turn every clause into a `#[test]` with one line:
//! [`store_contract_tests!(InDirectory::new(), damage)`](crate::store_contract_tests). Here is the same as a program.
//! The suite cannot test a restart, so the second half does: saved data are there, and a partial line is not.
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/verb.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/rows.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/consents.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/log.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/store.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/contract.rs"));
//! use batchsuite_auth::events::EventKind;
//!
//! #[tokio::main]
//! async fn main() {
//!     let clauses = store_contract::CLAUSES.iter().chain(store_contract::DAMAGE);
//!     let run = |clause: &Clause| tokio::spawn(store_contract::run(clause.verb, clause.name, InDirectory::new()));
//!     for (clause, test) in clauses.map(|clause| (clause, run(clause))).collect::<Vec<_>>() {
//!         assert!(test.await.is_ok(), "{}: {}", clause.verb, clause.name);
//!     }
//!
//!     let place = InDirectory::new();
//!     let key = RowKey::company(Environment::Cie, CompanyId::new("acme").unwrap());
//!     let store = place.store().await;
//!     let swap = Swap {
//!         key: key.clone(),
//!         expected: RowNumber::NEVER_SAVED,
//!         decided_at: None,
//!         step: "example",
//!         document: Document::new(r#"{"a field of a newer release": 1}"#),
//!         revision: Revision { epoch: 1, version: 0 },
//!         listed_as: ListedAs::Authenticated,
//!         tokens: TokenChange::Replace(Tokens { access: None, refresh: Some(RefreshToken::new("a refresh token")) }),
//!         wake: None,
//!         used_at: None,
//!         events: vec![EventContent::new(EventKind::Authenticated)],
//!         announce: true,
//!     };
//!     assert!(matches!(store.save(swap).await, Ok(Saved::Yes { .. })));
//!     let saved = store.load(&key).await.unwrap();
//!     drop(store);
//!
//!     let path = place.directory.join("opt-ins.jsonl");
//!     assert!(!fs::read_to_string(&path).unwrap().contains("a refresh token"), "sealed");
//!     let mut file = File::options().append(true).open(&path).unwrap();
//!     file.write_all(br#"[["cie/row/acme",null],["cie/ro"#).unwrap();
//!
//!     let found = place.store().await.load(&key).await.unwrap();
//!     assert_eq!((found.number, found.change), (saved.number, saved.change));
//!     assert_eq!(found.document, saved.document);
//!     assert!(matches!(found.tokens, StoredTokens::Readable(_)));
//! }
//! ```
//!
//! # Before you use it
//! - If another connection can hold a row's lock, run the group `locks`, too.
//! - Test a full disk, a read-only one, and a process killed in the middle of a write.
//! - Document how to back it up, and that [`after_restore`](crate::BatchSuiteAuth::after_restore) must follow a
//!   restore. That verb, the keeper and [`reencrypt`](crate::BatchSuiteAuth::reencrypt) are library code on top of
//!   these verbs, so this store supports them, too.
