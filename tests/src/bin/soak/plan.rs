//! The faults and their times: every fault once in each round, in the seed's order.

use std::{
    fs::{File, remove_file},
    io::{ErrorKind, Write as _},
    ops::Range,
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

use crate::stage::{Slot, Stage};

macro_rules! faults {
    ($($fault:ident $name:literal)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($fault),+ }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$fault),+];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),+ }
            }
        }
    };
}

faults! {
    Kill "kill -9 of a worker"
    KillHolder "kill -9 of a worker that waits with a pair for the store"
    KillAll "kill -9 of all workers at once"
    Stop "SIGSTOP past the lease"
    UpsLate "UPS: requests and answers late"
    UpsCutsRequests "UPS: requests cut off"
    UpsCutsAnswers "UPS: answers cut off"
    UpsHalfCloses "UPS: connections half-closed"
    UpsSilent "UPS: connections silent"
    UpsUnavailable "UPS: 503"
    StoreLate "store: statements and results late"
    StoreCutsRequests "store: statements cut off"
    StoreCutsAnswers "store: results cut off"
    StoreHalfCloses "store: connections half-closed"
    StoreSilent "store: connections silent"
    Restart "store: server restarted (fast)"
    Crash "store: server restarted (immediate)"
    ReadOnly "store: a standby (read-only), and back"
    Locked "store: the file locked"
    FullDisk "store: disk full"
}

impl Fault {
    /// Why this fault cannot be produced with this database.
    pub(crate) fn not_done(self, backend: Backend) -> Option<&'static str> {
        match backend {
            Backend::Sqlite if self.is_of_store() && !matches!(self, Self::Locked | Self::FullDisk) => {
                Some("not done: a file has no server")
            }
            Backend::Postgres if self == Self::Locked => Some("not done: a server locks rows, not all of itself"),
            _ => None,
        }
    }

    fn is_of_store(self) -> bool {
        self.name().starts_with("store")
    }

    fn trouble(self, random: &mut StdRng) -> Trouble {
        match self {
            Self::UpsCutsRequests | Self::StoreCutsRequests => Trouble::CutRequests,
            Self::UpsCutsAnswers | Self::StoreCutsAnswers => Trouble::CutAnswers,
            Self::UpsHalfCloses | Self::StoreHalfCloses => Trouble::HalfClose,
            Self::UpsSilent => Trouble::Silence,
            _ => Trouble::Delay(Duration::from_millis(random.random_range(50..3000))),
        }
    }
}

/// Runs rounds of all faults until `until`. When this returns, every fault has ended.
pub(crate) async fn run(stage: &Arc<Stage>, seed: u64, until: Instant, pause: Duration) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut under_way = JoinSet::new();
    let mut round: Vec<_> = Fault::ALL.iter().filter(|fault| fault.not_done(stage.backend).is_none()).collect();
    for is_first in std::iter::once(true).chain(std::iter::repeat(false)) {
        round.shuffle(&mut random);
        // First, because it takes longest, and so that the other faults meet a stopped process.
        round.sort_by_key(|fault| **fault != Fault::Stop);
        for fault in &round {
            sleep(pause.mul_f64(random.random_range(0.5..1.5))).await;
            if !is_first && Instant::now() >= until {
                under_way.join_all().await;
                return;
            }
            tracing::info!("{:?}: {}", stage.backend, fault.name());
            *stage.ledger.book().faults.entry(fault.name()).or_default() += 1;
            let (stage, random) = (Arc::clone(stage), StdRng::seed_from_u64(random.random()));
            match fault {
                Fault::Stop | Fault::UpsSilent => drop(under_way.spawn(happens(**fault, stage, random))),
                _ => happens(**fault, stage, random).await,
            }
        }
    }
}

async fn happens(fault: Fault, stage: Arc<Stage>, mut random: StdRng) {
    let number = random.random_range(0..stage.slots.len());
    let slot = &stage.slots[number];
    let trouble = fault.trouble(&mut random);
    let mut seconds = |from: f64, to: f64| Duration::from_secs_f64(random.random_range(from..to));
    match fault {
        Fault::Kill => killed(&stage, number..number + 1, seconds(0.1, 5.0)).await,
        Fault::KillAll => killed(&stage, 0..stage.slots.len(), seconds(0.1, 5.0)).await,
        Fault::KillHolder => {
            // Answers arrive while the store hangs, so their pairs wait.
            slot.ups.trouble(Trouble::Delay(Duration::from_millis(700)));
            sleep(Duration::from_secs(3)).await;
            let outage = stage.ledger.book().outage_begins();
            store_hangs(&stage, slot, Trouble::CutRequests, async {
                sleep(Duration::from_secs(2)).await;
                stage.kill(number);
            })
            .await;
            stage.ledger.book().outage_ends(outage);
            slot.ups.trouble(Trouble::None);
            killed(&stage, number..number + 1, seconds(0.1, 5.0)).await;
        }
        Fault::Stop => stage.stop_for(number, seconds(65.0, 75.0)).await,
        Fault::UpsUnavailable => {
            let (endpoint, lasts) = ("refresh", seconds(0.5, 3.0));
            let fault = json!({"endpoint": endpoint, "fault": "unavailable", "times": "until_cleared"});
            stage.control("faults", fault).await;
            sleep(lasts).await;
            stage.control("faults", json!({"endpoint": endpoint})).await;
        }
        Fault::UpsLate | Fault::UpsSilent => lasting(&slot.ups, trouble, seconds(5.0, 25.0)).await,
        // Each answer cut off costs an opt-in.
        Fault::UpsCutsRequests | Fault::UpsCutsAnswers | Fault::UpsHalfCloses => {
            lasting(&slot.ups, trouble, seconds(2.0, 6.0)).await;
        }
        _ => {
            let outage = stage.ledger.book().outage_begins();
            of_store(fault, &stage, slot, trouble, seconds(1.0, 15.0)).await;
            stage.ledger.book().outage_ends(outage);
        }
    }
}

/// Kills the workers of these slots and starts new ones.
async fn killed(stage: &Stage, slots: Range<usize>, away: Duration) {
    slots.clone().for_each(|slot| stage.kill(slot));
    sleep(away).await;
    for slot in slots {
        stage.start(slot).await;
    }
}

async fn lasting(proxy: &Proxy, trouble: Trouble, time: Duration) {
    proxy.trouble(trouble);
    sleep(time).await;
    proxy.trouble(Trouble::None);
}

/// The store hangs during `during`: with a server, only for this slot's worker; otherwise for all.
async fn store_hangs(stage: &Stage, slot: &Slot, trouble: Trouble, during: impl Future<Output = ()>) {
    match (&stage.database, &slot.database) {
        (Database::Sqlite(file), _) => {
            let connection = file.connection();
            while let Err(busy) = block_in_place(|| connection.execute_batch("BEGIN IMMEDIATE")) {
                tracing::info!("{busy}");
            }
            during.await;
            connection.execute_batch("ROLLBACK").expect("the lock ends");
        }
        (_, Some(proxy)) => {
            proxy.trouble(trouble);
            during.await;
            proxy.trouble(Trouble::None);
        }
        (_, None) => unreachable!("a server is behind a proxy"),
    }
}

async fn of_store(fault: Fault, stage: &Stage, slot: &Slot, trouble: Trouble, lasts: Duration) {
    match (fault, stage.database.server(), &slot.database) {
        (Fault::StoreSilent | Fault::Locked, ..) => store_hangs(stage, slot, Trouble::Silence, sleep(lasts)).await,
        (Fault::FullDisk, server, _) => {
            full_disk(stage, lasts).await;
            if let Some(server) = server {
                comes_back(server).await;
            }
        }
        (Fault::Restart | Fault::Crash | Fault::ReadOnly, Some(server), _) => restart(fault, server, lasts).await,
        (_, _, Some(proxy)) => lasting(proxy, trouble, lasts).await,
        _ => unreachable!("{fault:?} is not done here"),
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

/// A server that met a full disk may have stopped.
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

/// Fills the database's disk to the last byte for a while, including the free room in the database's own files.
async fn full_disk(stage: &Stage, lasts: Duration) {
    let reader = match &stage.database {
        Database::Postgres(_) => {
            stage.database.execute("VACUUM FULL {schema}.grants").await;
            stage.database.execute("VACUUM FULL {schema}.events").await;
            None
        }
        Database::Sqlite(file) => {
            // While there is a reader, the log is not restarted and must grow.
            let reader = file.connection();
            let begin = "PRAGMA wal_checkpoint(TRUNCATE); BEGIN; SELECT count(*) FROM grants";
            block_in_place(|| reader.execute_batch(begin)).expect("the file can be read");
            Some(reader)
        }
    };
    let ballast = stage.disk.join("ballast");
    let mut file = File::create(&ballast).expect("a file");
    let until = Instant::now() + lasts + Duration::from_secs(5);
    while Instant::now() < until {
        // Others may free space meanwhile.
        let full = loop {
            if let Err(full) = file.write_all(&[0; 4096]) {
                break full.kind();
            }
        };
        assert_eq!(full, ErrorKind::StorageFull, "the disk does not become full");
        sleep(Duration::from_millis(100)).await;
    }
    remove_file(&ballast).expect("the ballast goes");
    drop(reader);
}
