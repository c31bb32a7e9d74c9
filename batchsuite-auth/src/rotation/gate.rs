//! A simulated process: its tasks run, freeze or die together.

use std::{
    cell::RefCell,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

thread_local! {
    static ENTERED: RefCell<Option<Gate>> = const { RefCell::new(None) };
}

/// The gate that every task of a simulated process passes when it is polled. Clones share the gate.
///
/// An authenticator built [within](Self::within) the gate runs all its tasks behind it.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stands: Stands,
    /// The tasks to poll once the process is thawed.
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stands {
    #[default]
    Running,
    Frozen,
    Dead,
}

impl Gate {
    /// Runs `build`; an authenticator that it builds runs behind this gate.
    pub fn within<T>(&self, build: impl FnOnce() -> T) -> T {
        ENTERED.set(Some(self.clone()));
        let built = build();
        ENTERED.set(None);
        built
    }

    /// The gate that this thread has entered.
    pub(super) fn entered() -> Option<Self> {
        ENTERED.with_borrow(Clone::clone)
    }

    /// Puts `task` behind this gate.
    pub fn pass<F: Future>(&self, task: F) -> Gated<F> {
        Gated { gate: Some(self.clone()), task: Some(Box::pin(task)) }
    }

    /// Like SIGSTOP: tasks stop, and time goes on.
    pub fn freeze(&self) {
        self.state().stands = Stands::Frozen;
    }

    /// Like SIGCONT: tasks go on.
    pub fn thaw(&self) {
        let waiting = {
            let mut state = self.state();
            state.stands = Stands::Running;
            mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Like SIGKILL: no task runs again; each is dropped where it waits.
    pub fn kill(&self) {
        let waiting = {
            let mut state = self.state();
            state.stands = Stands::Dead;
            mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether the process was killed.
    pub fn is_dead(&self) -> bool {
        self.state().stands == Stands::Dead
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.state().stands).finish()
    }
}

/// A task behind a gate, if there is one. A killed process's task never ends.
#[must_use = "a task does nothing until it is polled"]
pub struct Gated<F> {
    gate: Option<Gate>,
    task: Option<Pin<Box<F>>>,
}

impl<F> Gated<F> {
    pub(super) fn behind(gate: Option<&Gate>, task: F) -> Self {
        Self { gate: gate.cloned(), task: Some(Box::pin(task)) }
    }
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let stands = self.gate.as_ref().map_or(Stands::Running, |gate| {
            let mut state = gate.state();
            if state.stands == Stands::Frozen {
                state.waiting.push(context.waker().clone());
            }
            state.stands
        });
        match (stands, &mut self.task) {
            (Stands::Running, Some(task)) => task.as_mut().poll(context),
            (Stands::Dead, task) => {
                *task = None;
                Poll::Pending
            }
            (Stands::Frozen | Stands::Running, _) => Poll::Pending,
        }
    }
}

impl<F> fmt::Debug for Gated<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated").field("gate", &self.gate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        sync::oneshot,
        time::{advance, timeout},
    };

    use super::*;

    const MOMENT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_frozen_process_goes_on_where_it_stood() {
        let gate = Gate::default();
        let (send, receive) = oneshot::channel();
        let task = tokio::spawn(gate.pass(receive));
        gate.freeze();
        send.send(7).unwrap();
        advance(MOMENT).await;
        assert!(!task.is_finished());

        gate.thaw();

        assert_eq!(timeout(MOMENT, task).await.unwrap().unwrap(), Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_process_drops_what_it_held() {
        let gate = Gate::default();
        let (held, mut dropped) = oneshot::channel::<()>();
        let (send, receive) = oneshot::channel::<()>();
        let task = tokio::spawn(gate.pass(async move {
            let _held = held;
            let _ = receive.await;
        }));
        tokio::task::yield_now().await;
        assert!(!gate.is_dead());

        gate.kill();
        send.send(()).unwrap();
        advance(MOMENT).await;

        assert!(dropped.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        assert!(!task.is_finished() && gate.is_dead());
    }

    #[test]
    fn a_gate_and_its_tasks_show_how_it_stands() {
        let gate = Gate::default();
        gate.freeze();

        assert_eq!(format!("{gate:?}"), "Gate(Frozen)");
        assert_eq!(format!("{:?}", gate.pass(async {})), "Gated { gate: Some(Gate(Frozen)), .. }");
    }

    #[test]
    fn whatever_is_built_within_a_gate_shares_it_and_nothing_else_has_one() {
        let gate = Gate::default();

        let entered = gate.within(Gate::entered).unwrap();
        gate.kill();

        assert!(entered.is_dead());
        assert!(Gate::entered().is_none());
    }
}
