//! What the traits say, of their implementations in a database.

use std::time::Duration;

use batchsuite_auth::{ActorId, CompanyId, clock::Timestamp};
use batchsuite_tests::postgres::keyring;
use company_manager::{
    database::Database,
    demo,
    directory::{CompanyName, Directory, Newcomer, Role, Settings, SqlDirectory, StoredAccessKey},
    sessions::{ABSOLUTE_TIMEOUT, Flash, IDLE_TIMEOUT, Message, SessionId, Sessions, SqlSessions},
};

use crate::stage::Stage;

const SECOND: Duration = Duration::from_secs(1);

struct World {
    stage: Stage,
    database: Database,
    directory: SqlDirectory,
    admin: ActorId,
}

impl World {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let database = stage.database().await;
        let directory = SqlDirectory::new(database.clone(), keyring().await);
        let newcomer = Newcomer {
            sign_in_name: "An.Admin",
            role: Role::CompanyAdmin,
            password: Some(&"password".into()),
            companies: vec![],
        };
        directory.welcome(&[newcomer]).await.unwrap();
        let admin = directory.sign_in("an.admin").await.unwrap().unwrap().0.id;
        Self { stage, database, directory, admin }
    }
}

#[tokio::test]
async fn a_company_that_cannot_be_read_hides_no_other() {
    let World { directory, admin, stage, .. } = World::new().await;
    let mut ids = Vec::new();
    for name in ["Alder", "Birch", "Cedar"] {
        ids.push(directory.add_company(CompanyName::new(name).unwrap(), &admin).await.unwrap());
    }
    stage.execute("UPDATE company_manager.companies SET name = 'Bi\n\u{202e}rch' WHERE name = 'Birch'").await;
    // A name is shown without what shows nothing.
    let shown = directory.companies(&ids).await.unwrap();
    assert_eq!(shown.iter().map(|company| company.name.as_str()).collect::<Vec<_>>(), ["Alder", "Birch", "Cedar"]);

    let damage = "UPDATE company_manager.companies SET pod_retention_years = -1 WHERE name LIKE 'Bi%'";
    stage.execute_without_checks(damage).await;

    assert_eq!(directory.companies(&ids).await.unwrap().len(), 2);
    let page = directory.companies_of(&admin, None, 2).await.unwrap();
    assert_eq!((page.items.len(), page.next.as_ref()), (1, Some(&ids[1])), "the cursor goes past it");
    let page = directory.companies_of(&admin, page.next.as_ref(), 2).await.unwrap();
    assert_eq!((page.items[0].name.as_str(), page.next), ("Cedar", None));
}

#[tokio::test]
async fn people_and_companies_are_found_as_the_directory_says() {
    let World { directory, admin, stage: _running, .. } = World::new().await;
    let mut ids = Vec::new();
    for name in ["Cedar", "alder", "Birch", "Birch"] {
        ids.push(directory.add_company(CompanyName::new(name).unwrap(), &admin).await.unwrap());
    }

    // By name, a name that is there twice included; in pages.
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = directory.companies_of(&admin, after.as_ref(), 1).await.unwrap();
        names.extend(page.items.iter().map(|company| company.name.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["Birch", "Birch", "Cedar", "alder"]);
    assert!(directory.companies_of(&ActorId::new("nobody").unwrap(), None, 9).await.unwrap().items.is_empty());
    let unknown = CompanyId::new("unknown").unwrap();
    let found = directory.companies(&[ids[0].clone(), unknown.clone(), ids[1].clone()]).await.unwrap();
    assert_eq!(found.iter().map(|company| company.name.as_str()).collect::<Vec<_>>(), ["Cedar", "alder"]);

    // A new one as every new one; settings are replaced as a whole.
    let company = directory.company(&ids[0]).await.unwrap().unwrap();
    assert_eq!((company.settings, company.access_key), (Settings::default(), StoredAccessKey::Absent));
    assert_eq!(company.admins, [admin.clone()].into());
    let settings =
        Settings { pod_retention_years: 10, batch_rate: true, minimum_quality_score: 0, ..Settings::default() };
    directory.save_settings(&ids[0], settings).await.unwrap();
    assert_eq!(directory.company(&ids[0]).await.unwrap().unwrap().settings, settings);
    directory.save_settings(&unknown, settings).await.unwrap();
    assert!(directory.company(&unknown).await.unwrap().is_none());

    // A sign-in name in any case; one that nobody can have.
    let (person, hash) = directory.sign_in("AN.ADMIN").await.unwrap().unwrap();
    assert_eq!((person.sign_in_name.as_str(), person.role), ("An.Admin", Role::CompanyAdmin));
    assert!(hash.starts_with("$argon2id$"));
    assert_eq!(directory.person(&admin).await.unwrap().unwrap().id, admin);
    for nobody in ["an", "an.admi_", "an.admin\0", "%"] {
        assert!(directory.sign_in(nobody).await.unwrap().is_none(), "{nobody:?}");
    }
}

#[tokio::test]
async fn instances_that_start_at_once_all_come_up_and_add_everything_once() {
    let stage = Stage::new().await;
    let start = async || {
        let directory = SqlDirectory::new(stage.database().await, keyring().await);
        demo::welcome(&directory, &"password".into()).await.unwrap();
    };

    tokio::join!(start(), start(), start(), start(), start(), start(), start(), start());

    assert_eq!((stage.count("people").await, stage.count("companies").await), (3, 5));
}

#[tokio::test]
async fn whoever_has_no_password_cannot_sign_in() {
    let World { directory, stage: _running, .. } = World::new().await;

    demo::welcome(&directory, &"password".into()).await.unwrap();

    assert!(directory.sign_in(demo::ADMIN_USER).await.unwrap().is_some());
    assert!(directory.sign_in("somebody.else").await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_ends_when_idle_and_at_the_latest_after_12_hours_and_is_deleted_then() {
    let World { stage, database, admin, .. } = World::new().await;
    let sessions = SqlSessions::new(database);
    let start = Timestamp::UNIX_EPOCH;
    let id = SessionId::random().hash();

    sessions.begin(id, admin.clone(), start).await.unwrap();
    assert_eq!(sessions.resume(id, start + IDLE_TIMEOUT - SECOND).await.unwrap(), Some(admin.clone()));
    // The clock of another instance is behind: that takes no idle time away.
    assert!(sessions.resume(id, start).await.unwrap().is_some());
    let idle = start + 2 * IDLE_TIMEOUT - SECOND;
    assert!(sessions.resume(id, idle - SECOND).await.unwrap().is_some());
    assert!(sessions.resume(id, idle - SECOND + IDLE_TIMEOUT).await.unwrap().is_none(), "idle");

    let long = SessionId::random().hash();
    sessions.begin(long, admin.clone(), start).await.unwrap();
    let mut now = start;
    while now + SECOND * 600 < start + ABSOLUTE_TIMEOUT {
        now += SECOND * 600;
        assert!(sessions.resume(long, now).await.unwrap().is_some());
    }
    assert!(sessions.resume(long, start + ABSOLUTE_TIMEOUT).await.unwrap().is_none(), "absolute");

    let last = SessionId::random().hash();
    sessions.begin(last, admin, now + IDLE_TIMEOUT).await.unwrap();
    assert_eq!(stage.count("sessions").await, 1, "what has ended was deleted");
    sessions.end(last).await.unwrap();
    assert!(sessions.resume(last, now + IDLE_TIMEOUT).await.unwrap().is_none(), "signed out");
}

#[tokio::test]
async fn a_flash_is_told_once_the_latest_one_and_on_its_company_s_page_only() {
    let World { database, admin, stage: _running, .. } = World::new().await;
    let sessions = SqlSessions::new(database);
    let id = SessionId::random().hash();
    let [company, other] = ["c", "d"].map(|id| CompanyId::new(id).unwrap());
    let flash = |message| Flash { company: company.clone(), message };
    sessions.leave_flash(id, flash(Message::AuthRemoved)).await.unwrap();
    assert_eq!(sessions.take_flash(id, &company).await.unwrap(), None, "there was no such session");
    sessions.begin(id, admin, Timestamp::UNIX_EPOCH).await.unwrap();
    let authenticated = Message::Authenticated { refresh_expires_at: Some(Timestamp::UNIX_EPOCH) };

    sessions.leave_flash(id, flash(Message::SettingsSaved)).await.unwrap();
    sessions.leave_flash(id, flash(authenticated.clone())).await.unwrap();

    assert_eq!(sessions.take_flash(id, &other).await.unwrap(), None);
    let (one, another) = tokio::join!(sessions.take_flash(id, &company), sessions.take_flash(id, &company));
    let told: Vec<_> = [one.unwrap(), another.unwrap()].into_iter().flatten().collect();
    assert_eq!(told, [authenticated]);
}
