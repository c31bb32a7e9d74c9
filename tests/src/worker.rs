//! A process of the service, from the side of the test that started it.

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
    time::{Instant, sleep, timeout},
};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// Killed on drop.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    orders: tokio::sync::Mutex<ChildStdin>,
    waiting: Waiting,
    places: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    last: AtomicU64,
}

/// A process's future answer.
#[derive(Debug)]
pub struct Reply(oneshot::Receiver<Value>);

impl Reply {
    /// Whether the answer has arrived.
    pub fn is_told(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    /// Waits for the answer.
    pub async fn wait(self) -> Value {
        timeout(PATIENCE, self.0).await.expect("an answer in time").expect("the process lives")
    }
}

impl Worker {
    /// Starts a process of `program`, the binary `worker`, and waits until it is ready.
    pub async fn start(program: &str, arguments: &[&str]) -> Self {
        Self::try_start(program, arguments).await.expect("the worker gets ready")
    }

    /// Like [`start`](Self::start); `None`: the process does not get ready, because its database is unavailable.
    pub async fn try_start(program: &str, arguments: &[&str]) -> Option<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            // A separate process group: if the tests' group is orphaned while a process in it is stopped, the kernel
            // ends the group.
            .process_group(0)
            .spawn()
            .expect("the worker starts");
        let orders = child.stdin.take().expect("a pipe").into();
        let waiting = Waiting::default();
        let (place, places) = mpsc::unbounded_channel();
        tokio::spawn(listen(child.stdout.take().expect("a pipe"), waiting.clone(), place));
        let worker = Self { child, orders, waiting, places: places.into(), last: AtomicU64::new(0) };
        let ready = timeout(PATIENCE, async { worker.places.lock().await.recv().await }).await;
        (ready.ok().flatten().as_deref() == Some("ready")).then_some(worker)
    }

    /// Sends an order to a process that may be stopped or may end; returns its answer within `patience`.
    pub async fn try_ask(&self, mut order: Value, patience: Duration) -> Option<Value> {
        let ask = async {
            let (id, receiver) = self.expect(&mut order);
            self.write(&order).await.ok()?;
            let answer = receiver.await.ok();
            self.waiting.lock().expect("no test panicked here").remove(&id);
            answer
        };
        timeout(patience, ask).await.ok().flatten()
    }

    /// Sends an order.
    pub async fn begin(&self, mut order: Value) -> Reply {
        let (_, receiver) = self.expect(&mut order);
        self.write(&order).await.expect("the process listens");
        Reply(receiver)
    }

    /// Numbers the order and registers a receiver for its answer.
    fn expect(&self, order: &mut Value) -> (u64, oneshot::Receiver<Value>) {
        let id = self.last.fetch_add(1, Ordering::SeqCst);
        order["id"] = json!(id);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().expect("no test panicked here").insert(id, sender);
        (id, receiver)
    }

    async fn write(&self, order: &Value) -> std::io::Result<()> {
        self.orders.lock().await.write_all(format!("{order}\n").as_bytes()).await
    }

    /// Sends an order and waits for its completion.
    pub async fn ask(&self, order: Value) -> Value {
        self.begin(order).await.wait().await
    }

    /// A caller that the test does not wait for yet.
    pub async fn call(&self, company: &str) -> Reply {
        self.begin(json!({"do": "token", "company": company})).await
    }

    /// A caller's result.
    pub async fn token(&self, company: &str) -> Value {
        self.call(company).await.wait().await
    }

    /// The result of a caller for each company of `prefix`. Callers retry transient errors: on a busy machine, many
    /// concurrent calls exceed a caller's maximum wait.
    pub async fn each(&self, prefix: &str, companies: usize) -> Value {
        let begun = Instant::now();
        while begun.elapsed() < 4 * PATIENCE {
            let told = self.ask(json!({"do": "each", "company": prefix, "companies": companies})).await;
            if !told["errors"].as_object().expect("a map").keys().any(|error| error.contains("transient")) {
                return told;
            }
            // A pausing company is refused at once.
            sleep(Duration::from_millis(100)).await;
        }
        panic!("the callers of {prefix} never all got tokens");
    }

    /// The next refresh stops at `point`, until [`go`](Self::go).
    pub async fn stop_at(&self, point: &str) {
        assert_eq!(self.ask(json!({"do": "stop_at", "point": point})).await["error"], Value::Null);
    }

    /// Waits until the process has reached `place`.
    pub async fn is_at(&self, place: &str) {
        let next = timeout(PATIENCE, async { self.places.lock().await.recv().await });
        assert_eq!(next.await.expect("the worker reaches the place in time").as_deref(), Some(place));
    }

    /// Lets the stopped call continue.
    pub async fn go(&self) {
        self.ask(json!({"do": "go"})).await;
    }

    /// Waits until a keeper has handled everything that had woken when this was called.
    pub async fn has_been_round(&self) {
        for _ in 0..2 {
            self.stop_at("after_due").await;
            self.is_at("after_due").await;
            self.go().await;
        }
    }

    /// SIGKILL; the process has ended when this returns.
    pub async fn kill(mut self) {
        self.child.start_kill().expect("a signal");
        timeout(PATIENCE, self.child.wait()).await.expect("the worker ends in time").expect("an exit status");
    }

    /// SIGKILL, while others still hold the worker.
    pub fn shoot(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGSTOP: the process executes nothing more.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("a living process");
        kill_process(pid, signal).expect("a signal");
    }
}

/// Delivers answers to their receivers, and reports places reached.
async fn listen(output: ChildStdout, waiting: Waiting, place: mpsc::UnboundedSender<String>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let said: Value = serde_json::from_str(&line).expect("a line of JSON");
        if let Some(name) = said["at"].as_str() {
            let _ = place.send(name.to_owned());
        } else if let Some(answer) =
            said["id"].as_u64().and_then(|id| waiting.lock().expect("no test panicked here").remove(&id))
        {
            let _ = answer.send(said);
        }
    }
    // The end of its channel tells every remaining receiver.
    waiting.lock().expect("no test panicked here").clear();
}
