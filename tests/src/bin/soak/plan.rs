//! What goes wrong, and when: every fault once in each round, in the order of the seed.

use std::{
    fs::{File, remove_file},
    io::{ErrorKind, Write as _},
    sync::Arc,
    time::Duration,
};

use batchsuite_tests::{
    Backend, Database,
    postgres::Server,
    proxy::{Proxy, Trouble},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde_json::json;
use tokio::{
    task::{JoinSet, block_in_place},
    time::{Instant, sleep, timeout},
};

use crate::stage::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    KillAll,
    Stop,
    UpsLate,
    UpsCutsRequests,
    UpsCutsAnswers,
    UpsHalfCloses,
    UpsSilent,
    UpsUnavailable,
    StoreLate,
    StoreCutsRequests,
    StoreCutsAnswers,
    StoreHalfCloses,
    StoreSilent,
    Restart,
    Crash,
    ReadOnly,
    Locked,
    FullDisk,
}

impl Fault {
    pub(crate) const ALL: [Self; 19] = [
        Self::Kill,
        Self::KillAll,
        Self::Stop,
        Self::UpsLate,
        Self::UpsCutsRequests,
        Self::UpsCutsAnswers,
        Self::UpsHalfCloses,
        Self::UpsSilent,
        Self::UpsUnavailable,
        Self::StoreLate,
        Self::StoreCutsRequests,
        Self::StoreCutsAnswers,
        Self::StoreHalfCloses,
        Self::StoreSilent,
        Self::Restart,
        Self::Crash,
        Self::ReadOnly,
        Self::Locked,
        Self::FullDisk,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9 of a worker",
            Self::KillAll => "kill -9 of all workers at once",
            Self::Stop => "SIGSTOP past the lease",
            Self::UpsLate => "UPS: requests and answers late",
            Self::UpsCutsRequests => "UPS: requests cut off",
            Self::UpsCutsAnswers => "UPS: answers cut off",
            Self::UpsHalfCloses => "UPS: connections half-closed",
            Self::UpsSilent => "UPS: connections silent",
            Self::UpsUnavailable => "UPS: 503",
            Self::StoreLate => "store: statements and results late",
            Self::StoreCutsRequests => "store: statements cut off",
            Self::StoreCutsAnswers => "store: results cut off",
            Self::StoreHalfCloses => "store: connections half-closed",
            Self::StoreSilent => "store: connections silent",
            Self::Restart => "store: server restarted (fast)",
            Self::Crash => "store: server restarted (immediate)",
            Self::ReadOnly => "store: a standby (read-only), and back",
            Self::Locked => "store: the file locked",
            Self::FullDisk => "store: disk full",
        }
    }

    /// Why it cannot be done to this database.
    pub(crate) fn not_done(self, backend: Backend) -> Option<&'static str> {
        let is_of_server = matches!(
            self,
            Self::StoreLate
                | Self::StoreCutsRequests
                | Self::StoreCutsAnswers
                | Self::StoreHalfCloses
                | Self::StoreSilent
                | Self::Restart
                | Self::Crash
                | Self::ReadOnly
        );
        match backend {
            Backend::Sqlite if is_of_server => Some("not done: a file has no server"),
            Backend::Postgres if self == Self::Locked => Some("not done: a server locks rows, not all of itself"),
            _ => None,
        }
    }

    fn trouble(self, random: &mut StdRng) -> Option<Trouble> {
        Some(match self {
            Self::UpsLate | Self::StoreLate => Trouble::Delay(Duration::from_millis(random.random_range(50..3000))),
            Self::UpsCutsRequests | Self::StoreCutsRequests => Trouble::CutRequests,
            Self::UpsCutsAnswers | Self::StoreCutsAnswers => Trouble::CutAnswers,
            Self::UpsHalfCloses | Self::StoreHalfCloses => Trouble::HalfClose,
            Self::UpsSilent | Self::StoreSilent => Trouble::Silence,
            _ => return None,
        })
    }
}

/// Goes through the faults until then. When this returns, nothing is wrong any more.
pub(crate) async fn run(stage: &Arc<Stage>, seed: u64, until: Instant, pause: Duration) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut under_way = JoinSet::new();
    'rounds: loop {
        let mut round: Vec<_> =
            Fault::ALL.into_iter().filter(|fault| fault.not_done(stage.backend).is_none()).collect();
        round.shuffle(&mut random);
        // It takes longest, and what comes meanwhile meets a process that is stopped.
        round.sort_by_key(|fault| *fault != Fault::Stop);
        for fault in round {
            sleep(pause.mul_f64(random.random_range(0.5..1.5))).await;
            if Instant::now() >= until {
                break 'rounds;
            }
            tracing::info!("{}", fault.name());
            *stage.ledger.book().faults.entry(fault.name()).or_default() += 1;
            let (stage, random) = (Arc::clone(stage), StdRng::seed_from_u64(random.random()));
            match fault {
                Fault::Stop | Fault::UpsSilent => drop(under_way.spawn(happens(fault, stage, random))),
                _ => happens(fault, stage, random).await,
            }
        }
    }
    under_way.join_all().await;
}

async fn happens(fault: Fault, stage: Arc<Stage>, mut random: StdRng) {
    let slot = random.random_range(0..stage.slots.len());
    let mut seconds = |from: f64, to: f64| Duration::from_secs_f64(random.random_range(from..to));
    match fault {
        Fault::Kill => {
            let away = seconds(0.1, 5.0);
            stage.kill(slot);
            sleep(away).await;
            stage.start(slot).await;
        }
        Fault::KillAll => {
            let away = seconds(0.1, 3.0);
            (0..stage.slots.len()).for_each(|slot| stage.kill(slot));
            sleep(away).await;
            for slot in 0..stage.slots.len() {
                stage.start(slot).await;
            }
        }
        Fault::Stop => stage.stop_for(slot, seconds(65.0, 75.0)).await,
        Fault::UpsUnavailable => {
            let away = seconds(0.5, 3.0);
            stage
                .control("faults", json!({"endpoint": "refresh", "fault": "unavailable", "times": "until_cleared"}))
                .await;
            sleep(away).await;
            stage.control("faults", json!({"endpoint": "refresh"})).await;
        }
        Fault::UpsLate | Fault::UpsCutsRequests | Fault::UpsCutsAnswers | Fault::UpsHalfCloses | Fault::UpsSilent => {
            // What cuts answers off costs opt-ins: one worker at a time, and not for long.
            let lasts = match fault {
                Fault::UpsLate | Fault::UpsSilent => seconds(5.0, 25.0),
                _ => seconds(0.5, 4.0),
            };
            let trouble = fault.trouble(&mut random).unwrap_or_default();
            lasting(&stage.slots[slot].ups, trouble, lasts).await;
        }
        _ => {
            let number = {
                let mut book = stage.ledger.book();
                book.outages.push((Instant::now(), None));
                book.outages.len() - 1
            };
            of_store(fault, &stage, slot, &mut random).await;
            stage.ledger.book().outages[number].1 = Some(Instant::now());
        }
    }
}

async fn lasting(proxy: &Proxy, trouble: Trouble, time: Duration) {
    proxy.trouble(trouble);
    sleep(time).await;
    proxy.trouble(Trouble::None);
}

async fn of_store(fault: Fault, stage: &Stage, slot: usize, random: &mut StdRng) {
    let lasts = Duration::from_secs_f64(random.random_range(1.0..15.0));
    if let (Some(trouble), Some(proxy)) = (fault.trouble(random), &stage.slots[slot].database) {
        return lasting(proxy, trouble, lasts).await;
    }
    match (&stage.database, fault) {
        (Database::Postgres(schema), Fault::FullDisk) => {
            full_disk(stage, lasts).await;
            comes_back(schema.server()).await;
        }
        (Database::Postgres(schema), _) => restart(fault, schema.server(), lasts).await,
        (Database::Sqlite(_), Fault::FullDisk) => full_disk(stage, lasts).await,
        (Database::Sqlite(file), _) => {
            let connection = file.connection();
            while let Err(busy) = block_in_place(|| connection.execute_batch("BEGIN IMMEDIATE")) {
                tracing::info!("{busy}");
            }
            sleep(lasts).await;
            connection.execute_batch("ROLLBACK").expect("the lock ends");
        }
    }
}

async fn restart(fault: Fault, server: &'static Server, lasts: Duration) {
    block_in_place(|| if fault == Fault::Crash { server.crash() } else { server.stop() });
    if fault == Fault::ReadOnly {
        server.become_standby();
    } else {
        sleep(lasts / 3).await;
    }
    block_in_place(|| server.start_again());
    if fault == Fault::ReadOnly {
        sleep(lasts).await;
        let promoted = server.client().await.query_one("SELECT pg_promote()", &[]).await.expect("an answer");
        assert!(promoted.get::<_, bool>(0), "the standby is not promoted");
    }
}

/// A server that met a full disk may have ended.
async fn comes_back(server: &'static Server) {
    let answers = async {
        while tokio_postgres::connect(server.url(), tokio_postgres::NoTls).await.is_err() {
            sleep(Duration::from_millis(200)).await;
        }
    };
    if timeout(Duration::from_secs(10), answers).await.is_err() {
        block_in_place(|| server.start_again());
    }
}

/// Fills the database's disk to the last byte, for some time.
async fn full_disk(stage: &Stage, lasts: Duration) {
    let ballast = stage.disk.join("ballast");
    let mut file = File::create(&ballast).expect("a file");
    let fill = |file: &mut File| loop {
        match file.write_all(&[0; 4096]) {
            Ok(()) => {}
            Err(full) if full.kind() == ErrorKind::StorageFull => return,
            Err(other) => panic!("the disk does not become full: {other}"),
        }
    };
    let until = Instant::now() + lasts;
    // Somebody may give room back meanwhile.
    while Instant::now() < until {
        fill(&mut file);
        sleep(Duration::from_millis(100)).await;
    }
    remove_file(&ballast).expect("the ballast goes");
}
