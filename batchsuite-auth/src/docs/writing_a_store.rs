//! A store of your own, built step by step: a small one that keeps opt-ins in a file.
//!
//! [`Store`](crate::store::Store) is the trait, and its documentation is the contract, clause by clause. This chapter shows one way to
//! keep it, and says why each clause is there. The code below is whole: it compiles, and at the end it passes the contract.
//!
//! # What a store is
//! A store keeps rows, swaps them, and finds the rows that it is asked for. It knows no rule. What a row becomes is decided by the
//! library's [`machine`](crate::machine), from a row that was read a moment ago; the store puts it there if the row is still that
//! one. A new rule of the library therefore changes no store.
//!
//! | a store keeps | and does with it |
//! |---|---|
//! | the *document* of a company: its state, as JSON | hands it back. It never looks into it, so that a newer release may add fields |
//! | the two tokens | seals them, for the revision that they are saved with |
//! | a few columns: number, change, wake times, last use, `listed_as` | compares them and finds rows by them |
//! | consents, the event log, cursors into it | the same |
//!
//! One more row, the *client row*, has no company. It holds what concerns all of them.
//!
//! # The file
//! Every verb that writes is **atomic**: a row and its events are there together or not at all. An event without its change would be
//! mailed to somebody about nothing. And it is **durable** when it returns: UPS's refresh tokens are single-use, so a claim that a
//! crash takes back lets another process send a token that is already spent.
//!
//! So one write is one line of a file, with its end and `fsync` behind it. A line without an end is a write that never returned. When
//! the file is opened it is written anew beside the old one and moved into its place, by one atomic rename.
//! ```no_run
#![doc = include_str!("../../docs/writing-a-store/file.rs")]
//! # fn main() {}
//! ```
//!
//! After a failed write nobody knows what the disk holds. The caller gets an error, and by contract that leaves open whether it was
//! saved; but the *next* verb must know. It reads the file again.
//!
//! # A verb
//! Five promises are the same for every verb, so they are kept in one place:
//! - **One clock.** Every *now* is the store's. Processes whose clocks differ must agree on when a lease ends. (The clock is a
//!   parameter, so that the tests can move it.)
//! - **Isolation.** A verb sees no half of another. Here a mutex does that. The time is read behind it: how old a decision is when it
//!   is saved depends on how long the save waited.
//! - **Cancellation.** A caller may go away at any moment. The verb runs on a thread that may wait for the disk, to its end.
//! - **No waiting, no repeating.** An error is returned at once. The library decides what is worth another try, and stops waiting after
//!   [`Policy::store_deadline`](crate::Policy::store_deadline). (A store behind a network has a deadline of its own, and drops a
//!   connection in doubt.)
//! - **Errors say what a caller can do**: [`StoreErrorKind`](crate::store::StoreErrorKind). Their sources hold no secret.
//! ```no_run
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
#![doc = include_str!("../../docs/writing-a-store/verb.rs")]
//! # fn main() {}
//! ```
//!
//! This store is for one process. Two of them would each have records of their own in memory, and both would win the same swap. A
//! store that several processes share must compare and write in one step of the thing that they share, as a database does.
//!
//! # Rows
//! - [`save`](crate::store::Store::save) is the one write of a row. It compares the **number**: of two processes that read the same row,
//!   one gets [`Conflict`](crate::store::Saved::Conflict), and reads again. The number also goes up with the clock
//!   ([`RowNumber::next`](crate::store::RowNumber::next)), so that it never comes back after a restored backup. And it compares the
//!   **time**: a claim that was decided six seconds ago may come after its lease.
//! - A **use** is recorded without a new number, because it must not turn somebody's save into a conflict. A save that did not know of
//!   it therefore looks again: whichever comes first, the row wakes as that of a used company.
//! - [`wake`](crate::store::Store::wake) hands each row to one caller and hides it for two minutes. If that process dies, the row comes
//!   again; nothing is lost, because hiding leaves the wake time alone.
//! - [`list`](crate::store::Store::list) opens no tokens, and reads no more than 1,000 rows a call.
//! - **Tokens** are sealed for environment, company, field, epoch and version, so that a ciphertext that is moved elsewhere does not
//!   open. If it does not, the row comes all the same, as
//!   [`Unreadable`](crate::store::StoredTokens::Unreadable): one damaged row must not end a list, and is no reason to ask a person for
//!   a new opt-in.
//! ```no_run
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/file.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/verb.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/consents.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-store/log.rs"));
#![doc = include_str!("../../docs/writing-a-store/rows.rs")]
//! # fn main() {}
//! ```
//!
//! With more than a few thousand companies, `wake` and `list` need an index on `wake_at` each; here they look at every row.
//!
//! # Consents
//! A consent is one trip of a browser to UPS.com and back. It is *used* once: of any number of returns, exactly one may send the code,
//! and its event is in the same write. The verifier is erased with the use. A consent that ended stays known for an hour, so that a
//! person who comes back late or twice is told what happened.
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
//! - **Events** are read by cursor, and none is missed: a number is given under the lock, so a later one is never there before an
//!   earlier one. (In a database it can be: a number is drawn before its transaction commits.)
//! - A **pruned** event is never a silent gap. A reader whose cursor lies below gets an error that says where to read on.
//! - The **feed** tells which rows were announced after a cursor. By it, every process drops a token that must no longer be served.
//! - A **delivery** is a cursor with a lease, so that one process at a time sends the mails.
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
//! Each verb runs in its turn. Only [`changes`](crate::store::Store::changes) waits, and it listens before it looks: what is written
//! between the two would be slept through otherwise.
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
//! [`store_contract`](crate::test_util::store_contract) has one test for each clause, races included. For each it needs an empty store
//! and a hand on its clock. Where data can be damaged, it damages some (here, the two ciphertexts of a row change places):
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
//! A crate's own tests make every clause a `#[test]` with one line:
//! [`store_contract_tests!(InDirectory::new(), damage)`](crate::store_contract_tests). Here is the same as a program. What the suite cannot see is
//! what a restart finds, so the second half looks at that: what was saved is there, and half a line is not.
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
//! # Before it is used
//! - If another connection can hold a row's lock, run the group `locks`, too.
//! - Try a full disk, a read-only one, and a process that is killed in the middle of a write.
//! - Write down how to back it up, and that [`after_restore`](crate::BatchSuiteAuth::after_restore) comes after a restore. It, the
//!   keeper and [`reencrypt`](crate::BatchSuiteAuth::reencrypt) are loops of the library over these verbs, so this store has them, too.
