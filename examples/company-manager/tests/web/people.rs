//! The two kinds of people: what they see, and what they may do.

use batchsuite_auth::CompanyId;
use http::StatusCode;

use crate::world::World;

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn a_company_admin_sees_their_companies_in_every_state_and_no_others() {
    let world = World::new().await;
    let browser = world.company_admin().await;

    let page = browser.get("/companies").await.body;

    for name in ["Alder Creek Outfitters", "Harbor &amp; Hill Books", "Northgate Supply Co."] {
        assert!(page.contains(name), "{name}: {page}");
    }
    assert!(!page.contains("Lakeside Ceramics"));
    assert_eq!(page.matches(">Authenticate<").count(), 3);
}

#[tokio::test]
async fn an_unauthenticated_company_is_absent_for_an_admin_user() {
    let world = World::new().await;
    let (company_admin, admin) = (world.company_admin().await, world.admin_user().await);
    let companies = world.companies().await;
    assert!(admin.get("/companies").await.body.contains("No company is authenticated at present."));

    world.authenticate(&company_admin, &companies[0]).await;

    for path in ["/companies", "/batch-track", "/sigview", "/custom-billing", "/batch-rate"] {
        let page = admin.get(path).await.body;
        assert!(page.contains("Alder Creek Outfitters"), "{path}: {page}");
        for absent in ["Harbor", "Northgate", "Lakeside", companies[1].as_str()] {
            assert!(!page.contains(absent), "{path} shows {absent}");
        }
    }
}

#[tokio::test]
async fn what_one_must_not_know_of_is_the_same_404_as_what_does_not_exist() {
    let world = World::new().await;
    let (company_admin, admin) = (world.company_admin().await, world.admin_user().await);
    let hidden = world.companies().await.remove(1);
    let others = world.others_company().await;

    for (browser, company) in [(&admin, &hidden), (&admin, &others), (&company_admin, &others)] {
        for (is_post, path) in [
            (false, ""),
            (false, "/history"),
            (true, "/settings"),
            (true, "/access-key"),
            (true, "/authenticate"),
            (true, "/remove-auth"),
            (true, "/track"),
        ] {
            let ask = async |company: &str| {
                let path = format!("/companies/{company}{path}");
                let fields = [
                    ("number", "1Z999AA10123456784"),
                    ("access_key", "ABCDEF1234"),
                    ("pod_retention_years", "1"),
                    ("minimum_quality_score", "1"),
                ];
                if is_post { browser.post(&path, &fields).await } else { browser.get(&path).await }
            };
            let (one, other, no_id) = (ask(company.as_str()).await, ask(UNKNOWN).await, ask("%FF").await);
            for answer in [&one, &other, &no_id] {
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            }
            assert_eq!(one.body, other.body, "{path}");
            assert_eq!(one.body, no_id.body, "{path}");
            assert_eq!(one.headers, other.headers, "{path}");
        }
    }
    let chosen = admin.get(&format!("/batch-track?company={hidden}")).await;
    assert_eq!(chosen.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_admin_user_uses_an_authenticated_company_and_leaves_its_authorization_alone() {
    let world = World::new().await;
    let (company_admin, admin) = (world.company_admin().await, world.admin_user().await);
    let company = world.companies().await.remove(0);
    world.authenticate(&company_admin, &company).await;

    let page = admin.get(&format!("/companies/{company}")).await;

    assert_eq!(page.status, StatusCode::OK);
    let expires = format!("Refresh expires: {}", world.refresh_expires(&company).await);
    assert!(page.body.contains(&expires), "{}", page.body);
    for absent in [">Authenticate<", ">Authenticate again<", "REMOVE AUTH", "UPDATE API ACCESS"] {
        assert!(!page.body.contains(absent), "{absent}");
    }
    for (path, fields) in [
        ("authenticate", &[][..]),
        ("remove-auth", &[("confirm", "yes")]),
        ("access-key", &[("access_key", "ABCDEF1234")]),
    ] {
        let answer = admin.post(&format!("/companies/{company}/{path}"), fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(world.is_authenticated(&company).await);
    let saved = [("pod_retention_years", "3"), ("minimum_quality_score", "70"), ("batch_track", "yes")];
    let answer = admin.post(&format!("/companies/{company}/settings"), &saved).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_company_is_added_by_a_company_admin_only() {
    let world = World::new().await;
    let (company_admin, admin) = (world.company_admin().await, world.admin_user().await);

    let added = company_admin.post("/companies/new", &[("name", "  <b>Söhne & Co</b> ")]).await;

    assert_eq!(added.status, StatusCode::SEE_OTHER);
    let page = company_admin.get(added.location()).await.body;
    assert!(page.contains("&lt;b&gt;Söhne &amp; Co&lt;/b&gt;"), "{page}");
    assert!(!page.contains("<b>S"), "{page}");
    assert_eq!(company_admin.post("/companies/new", &[("name", " ")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(admin.get("/companies/new").await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.post("/companies/new", &[("name", "X")]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    for number in 0..60 {
        browser.post("/companies/new", &[("name", &format!("Zebra {number:02}"))]).await;
    }

    let first = browser.get("/companies").await.body;
    let next = first.split("/companies?after=").nth(1).unwrap().split('"').next().unwrap();
    let second = browser.get(&format!("/companies?after={next}")).await.body;

    assert_eq!(first.matches(">Authenticate<").count(), 50);
    assert_eq!(second.matches(">Authenticate<").count(), 13);
    assert!(second.contains("Zebra 59"));
    let _: CompanyId = next.parse().unwrap();
}

#[tokio::test]
async fn a_company_s_name_shows_what_it_is() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let before = world.companies().await;

    for hidden in
        ['\u{202e}', '\u{200b}', '\u{2066}', '\u{200f}', '\u{feff}', '\u{ad}', '\u{7}', '\u{2028}', '\u{e0041}']
    {
        let name = format!("Ald{hidden}er");
        let answer = browser.post("/companies/new", &[("name", &name)]).await;

        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{hidden:?}");
        assert!(
            answer.body.contains("value=\"Alder\"") && !answer.body.contains(hidden),
            "{hidden:?}: {}",
            answer.body
        );
        let refused = browser.post("/login", &[("sign_in_name", &name), ("password", "x")]).await;
        assert!(!refused.body.contains(hidden), "{hidden:?}");
    }
    assert_eq!(world.companies().await, before);
    let answer = browser.post("/companies/new", &[("name", "Größe & Söhne שלום 漢字")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
}
