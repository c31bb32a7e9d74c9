//! A process of the service, as the test that started it sees it.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
    time::timeout,
};

/// More than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// It is killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    orders: tokio::sync::Mutex<ChildStdin>,
    waiting: Waiting,
    places: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    last: AtomicU64,
}

/// What a process will say.
pub(crate) struct Answer(oneshot::Receiver<Value>);

impl Answer {
    /// Whether it has said it.
    pub(crate) fn is_told(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    pub(crate) async fn wait(self) -> Value {
        timeout(PATIENCE, self.0).await.expect("an answer in time").expect("the process lives")
    }
}

impl Worker {
    /// Starts a process and waits until it is ready.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the worker starts");
        let orders = child.stdin.take().unwrap().into();
        let waiting = Waiting::default();
        let (place, places) = mpsc::unbounded_channel();
        tokio::spawn(listen(child.stdout.take().unwrap(), waiting.clone(), place));
        let worker = Self { child, orders, waiting, places: places.into(), last: AtomicU64::new(0) };
        worker.is_at("ready").await;
        worker
    }

    /// Gives an order.
    pub(crate) async fn begin(&self, mut order: Value) -> Answer {
        let id = self.last.fetch_add(1, Ordering::SeqCst);
        order["id"] = json!(id);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, sender);
        self.orders.lock().await.write_all(format!("{order}\n").as_bytes()).await.expect("the process listens");
        Answer(receiver)
    }

    /// Gives an order and waits for its end.
    pub(crate) async fn ask(&self, order: Value) -> Value {
        self.begin(order).await.wait().await
    }

    /// A caller that the test does not wait for yet.
    pub(crate) async fn call(&self, company: &str) -> Answer {
        self.begin(json!({"do": "token", "company": company})).await
    }

    /// What a caller gets.
    pub(crate) async fn token(&self, company: &str) -> Value {
        self.call(company).await.wait().await
    }

    /// What a caller for each company of `prefix` gets, who asks again while there is only no token at the moment: on a busy
    /// machine many at once outlast the time of a caller.
    pub(crate) async fn each(&self, prefix: &str, companies: usize) -> Value {
        for _ in 0..30 {
            let told = self.ask(json!({"do": "each", "company": prefix, "companies": companies})).await;
            if !told["errors"].as_object().unwrap().keys().any(|error| error.contains("transient")) {
                return told;
            }
        }
        panic!("there is no token of {prefix} at any moment");
    }

    /// The next refresh stops at `point`, until [`go`](Self::go).
    pub(crate) async fn stop_at(&self, point: &str) {
        assert_eq!(self.ask(json!({"do": "stop_at", "point": point})).await["error"], Value::Null);
    }

    /// Waits until it has come to `place`.
    pub(crate) async fn is_at(&self, place: &str) {
        let next = timeout(PATIENCE, async { self.places.lock().await.recv().await });
        assert_eq!(next.await.expect("it gets there in time").as_deref(), Some(place));
    }

    pub(crate) async fn go(&self) {
        self.ask(json!({"do": "go"})).await;
    }

    /// SIGKILL: it is gone when this returns.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().expect("a signal");
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("its end");
    }

    /// SIGSTOP: not one more instruction of it.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("a living process");
        kill_process(pid, signal).expect("a signal");
    }
}

/// Hands answers to those who wait for them, and tells places.
async fn listen(output: ChildStdout, waiting: Waiting, place: mpsc::UnboundedSender<String>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let said: Value = serde_json::from_str(&line).expect("a line of JSON");
        if let Some(name) = said["at"].as_str() {
            let _ = place.send(name.to_owned());
        } else if let Some(answer) = said["id"].as_u64().and_then(|id| waiting.lock().unwrap().remove(&id)) {
            let _ = answer.send(said);
        }
    }
    // Whoever still waits is told by the end of its channel.
    waiting.lock().unwrap().clear();
}
