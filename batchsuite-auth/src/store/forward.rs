//! Forwarding: a shared store is a store, and a store that wraps another lists each verb only here.

use std::sync::Arc;

use super::{Delivery, EventQuery, ListQuery, NewConsent, NewEvent, Prune, RowKey, Store, Swap};
use crate::{
    events::EventId,
    ids::{CompanyId, ConsentId},
    secret::SecretHash,
};

/// A call of a store, as a wrapper sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Call<'a> {
    /// [`Store::load`]
    Load(&'a RowKey),
    /// [`Store::save`]
    Save(&'a Swap),
    /// [`Store::put_consent`]
    PutConsent(&'a NewConsent, &'a NewEvent),
    /// [`Store::find_consent`]
    FindConsent(&'a SecretHash),
    /// [`Store::use_consent`]
    UseConsent(ConsentId, Option<&'a NewEvent>),
    /// [`Store::wake`]
    Wake,
    /// [`Store::record_use`]
    RecordUse(&'a [CompanyId]),
    /// [`Store::list`]
    List(&'a ListQuery),
    /// [`Store::events`]
    Events(&'a EventQuery),
    /// [`Store::append`]
    Append(&'a NewEvent),
    /// [`Store::prune`]
    Prune(&'a Prune),
    /// [`Store::changes`]
    Changes(Option<EventId>),
    /// [`Store::take_delivery`]
    TakeDelivery(&'a Delivery),
    /// [`Store::advance_delivery`]
    AdvanceDelivery(&'a Delivery, EventId),
}

/// Implements [`Store`] for a type that forwards every verb to another store. Only this macro lists the verbs again.
///
/// ```
/// use batchsuite_auth::{forward_store, store::Call};
/// use batchsuite_store::MemoryStore;
///
/// /// Counts the saves.
/// #[derive(Debug)]
/// struct Counted {
///     store: MemoryStore,
///     saves: std::sync::atomic::AtomicUsize,
/// }
///
/// forward_store! {
///     impl [] Store for Counted;
///     // the store that does the work
///     |this| &this.store;
///     // runs before a call; its value is passed to the next closure
///     |this, call| matches!(call, Call::Save(_));
///     // the answer, which may be delayed or replaced
///     |this, is_save, answer| {
///         let answer = answer.await;
///         this.saves.fetch_add(usize::from(is_save), std::sync::atomic::Ordering::Relaxed);
///         answer
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward_store {
    (
        impl [$($generics:tt)*] Store for $type:ty;
        |$this:ident| $inner:expr;
        |$that:ident, $call:ident| $before:expr;
        |$it:ident, $seen:ident, $answer:ident| $around:expr $(;)?
    ) => {
        $crate::__forward_store! {
            [$($generics)*] [$type] [$this $inner] [$that $call $before] [$it $seen $answer $around]
            load(key: &$crate::store::RowKey) -> $crate::store::Row,
                $crate::store::Call::Load(key);
            save(swap: $crate::store::Swap) -> $crate::store::Saved,
                $crate::store::Call::Save(&swap);
            put_consent(
                consent: $crate::store::NewConsent, caps: $crate::store::ConsentCaps, event: $crate::store::NewEvent
            ) -> (), $crate::store::Call::PutConsent(&consent, &event);
            find_consent(environment: $crate::Environment, state: &$crate::secret::SecretHash)
                -> ::core::option::Option<$crate::store::FoundConsent>, $crate::store::Call::FindConsent(state);
            use_consent(
                environment: $crate::Environment, id: $crate::ids::ConsentId,
                event: ::core::option::Option<$crate::store::NewEvent>
            ) -> ::core::option::Option<$crate::clock::Timestamp>, $crate::store::Call::UseConsent(id, event.as_ref());
            wake(environment: $crate::Environment, limit: usize) -> ::std::vec::Vec<$crate::store::Row>,
                $crate::store::Call::Wake;
            record_use(environment: $crate::Environment, companies: &[$crate::CompanyId]) -> (),
                $crate::store::Call::RecordUse(companies);
            list(query: $crate::store::ListQuery) -> $crate::store::Page<$crate::store::Row, $crate::CompanyId>,
                $crate::store::Call::List(&query);
            events(query: $crate::store::EventQuery) -> $crate::store::EventPage,
                $crate::store::Call::Events(&query);
            append(environment: $crate::Environment, event: $crate::store::NewEvent) -> $crate::events::EventId,
                $crate::store::Call::Append(&event);
            prune(prune: $crate::store::Prune) -> $crate::store::Pruned,
                $crate::store::Call::Prune(&prune);
            changes(
                environment: $crate::Environment, after: ::core::option::Option<$crate::events::EventId>,
                wait: ::core::time::Duration
            ) -> $crate::store::Changes, $crate::store::Call::Changes(after);
            take_delivery(
                environment: $crate::Environment, delivery: &$crate::store::Delivery, lease: ::core::time::Duration
            ) -> ::core::option::Option<$crate::events::EventId>, $crate::store::Call::TakeDelivery(delivery);
            advance_delivery(
                environment: $crate::Environment, delivery: &$crate::store::Delivery,
                cursor: $crate::events::EventId, then: $crate::store::DeliveryEnd
            ) -> bool, $crate::store::Call::AdvanceDelivery(delivery, cursor);
        }
    };
}

/// Expands to one method for each verb of [`forward_store!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_store {
    (
        [$($generics:tt)*] [$type:ty] $inner:tt $before:tt $around:tt
        $($verb:ident($($argument:ident: $of:ty),*) -> $answer:ty, $call:expr;)*
    ) => {
        #[$crate::store::async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<$($generics)*> $crate::store::Store for $type {
            $(
                async fn $verb(&self, $($argument: $of),*) -> ::core::result::Result<$answer, $crate::store::StoreError> {
                    $crate::__forward_verb!(self, $verb($($argument),*), $call, $inner $before $around)
                }
            )*
        }
    };
}

/// The body of such a method.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_verb {
    (
        $self:ident, $verb:ident($($argument:ident),*), $call_value:expr,
        [$this:ident $inner:expr] [$that:ident $call:ident $before:expr] [$it:ident $seen:ident $answer:ident $around:expr]
    ) => {{
        let $seen = {
            let ($that, $call) = ($self, $call_value);
            let _ = (&$that, &$call);
            $before
        };
        let $answer = {
            let $this = $self;
            $crate::store::Store::$verb($inner, $($argument),*)
        };
        let $it = $self;
        let _ = (&$it, &$seen);
        $around
    }};
}

forward_store! {
    impl [S: Store + ?Sized] Store for Arc<S>;
    |this| &**this;
    |_this, _call| ();
    |_this, _seen, answer| answer.await
}
