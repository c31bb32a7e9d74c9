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
    time::{Instant, sleep, timeout},
};

/// More than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// It is killed when this is dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    orders: tokio::sync::Mutex<ChildStdin>,
    waiting: Waiting,
    places: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    last: AtomicU64,
}

/// What a process will say.
#[derive(Debug)]
pub struct Reply(oneshot::Receiver<Value>);

impl Reply {
    /// Whether it has said it.
    pub fn is_told(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    /// Waits for it.
    pub async fn wait(self) -> Value {
        timeout(PATIENCE, self.0).await.expect("an answer in time").expect("the process lives")
    }
}

impl Worker {
    /// Starts a process of `program`, the binary `worker`, and waits until it is ready.
    pub async fn start(program: &str, arguments: &[&str]) -> Self {
        Self::try_start(program, arguments).await.expect("it gets ready")
    }

    /// The same; `None`: it does not get ready, because its database is not there.
    pub async fn try_start(program: &str, arguments: &[&str]) -> Option<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            // Of its own: if the group of the tests loses its parent while a process in it is stopped, the kernel ends the group.
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

    /// Gives an order to a process that may be stopped or may end: what it says within `patience`.
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

    /// Gives an order.
    pub async fn begin(&self, mut order: Value) -> Reply {
        let (_, receiver) = self.expect(&mut order);
        self.write(&order).await.expect("the process listens");
        Reply(receiver)
    }

    /// Gives the order its number, and a place for its answer.
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

    /// Gives an order and waits for its end.
    pub async fn ask(&self, order: Value) -> Value {
        self.begin(order).await.wait().await
    }

    /// A caller that the test does not wait for yet.
    pub async fn call(&self, company: &str) -> Reply {
        self.begin(json!({"do": "token", "company": company})).await
    }

    /// What a caller gets.
    pub async fn token(&self, company: &str) -> Value {
        self.call(company).await.wait().await
    }

    /// What a caller for each company of `prefix` gets, who asks again while there is only no token at the moment: on a busy
    /// machine many at once outlast the time of a caller.
    pub async fn each(&self, prefix: &str, companies: usize) -> Value {
        let begun = Instant::now();
        while begun.elapsed() < 4 * PATIENCE {
            let told = self.ask(json!({"do": "each", "company": prefix, "companies": companies})).await;
            if !told["errors"].as_object().expect("a map").keys().any(|error| error.contains("transient")) {
                return told;
            }
            // A company that pauses is refused at once.
            sleep(Duration::from_millis(100)).await;
        }
        panic!("there is no token of {prefix} at any moment");
    }

    /// The next refresh stops at `point`, until [`go`](Self::go).
    pub async fn stop_at(&self, point: &str) {
        assert_eq!(self.ask(json!({"do": "stop_at", "point": point})).await["error"], Value::Null);
    }

    /// Waits until it has come to `place`.
    pub async fn is_at(&self, place: &str) {
        let next = timeout(PATIENCE, async { self.places.lock().await.recv().await });
        assert_eq!(next.await.expect("it gets there in time").as_deref(), Some(place));
    }

    /// Whoever stopped goes on.
    pub async fn go(&self) {
        self.ask(json!({"do": "go"})).await;
    }

    /// Waits until a keeper has seen to all that had woken when this was called.
    pub async fn has_been_round(&self) {
        for _ in 0..2 {
            self.stop_at("after_due").await;
            self.is_at("after_due").await;
            self.go().await;
        }
    }

    /// SIGKILL: it is gone when this returns.
    pub async fn kill(mut self) {
        self.child.start_kill().expect("a signal");
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("its end");
    }

    /// SIGKILL, while others still hold it.
    pub fn shoot(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGSTOP: not one more instruction of it.
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

/// Hands answers to those who wait for them, and tells places.
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
    // Whoever still waits is told by the end of its channel.
    waiting.lock().expect("no test panicked here").clear();
}
