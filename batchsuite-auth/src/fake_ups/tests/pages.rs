use super::*;

fn asked<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form =
        vec![("client_id", "client"), ("redirect_uri", CALLBACK), ("response_type", "code"), ("state", "\"><b>")];
    form.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    form.extend(more);
    form
}

fn sign_in(ups: &FakeUpsState, more: &[(&str, &str)]) -> Response<Vec<u8>> {
    post(ups, "/lasso/signin", None, &asked(more)).response
}

fn html(response: &Response<Vec<u8>>) -> String {
    String::from_utf8(response.body().clone()).unwrap()
}

#[tokio::test]
async fn the_first_page_asks_for_the_name_and_the_agreement_in_the_guides_words() {
    let ups = start().await;

    let response = get(&ups, &authorize_url(&[]).as_str().replace("/security/v1/oauth/authorize", "/lasso/signin"));

    let page = html(&response);
    for words in [
        "<h1>Log In</h1>",
        "<label for=\"username\">Email or Username</label>",
        "By continuing, I agree to the <a href=\"/lasso/agreement\">UPS Technology Agreement</a> and authorize Batch Suite to access \
         data associated with my UPS.com username listed above, including UPS shipping account numbers, contact information, \
         rates, and package tracking status.",
        "<button type=\"submit\">Continue</button>",
        ">Sign up</a>",
        ">Forgot Username/Password</a>",
        "This is not UPS.com",
        "<html lang=\"en\">",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
}

#[tokio::test]
async fn the_second_page_asks_for_the_password_and_the_third_stop_is_the_application() {
    let ups = start().await;

    let page = html(&sign_in(&ups, &[("username", USER), ("agree", "yes")]));
    for words in ["<h1>Password</h1>", "Welcome back, <strong>demo@example.com</strong>", ">Log In</button>"] {
        assert!(page.contains(words), "{words}\n{page}");
    }

    let back = sign_in(&ups, &[("username", USER), ("agree", "yes"), ("password", FakeUps::PASSWORD)]);
    assert_eq!(back.status(), 302);
    assert!(header(&back, "location").starts_with("http://localhost:3000/callback?code="));
    assert_eq!(ups.requests().count(Endpoint::SignIn, Outcome::Consented), 1);
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_told_at_its_field() {
    let ups = start().await;
    for (form, words, field) in [
        (vec![("username", " "), ("agree", "yes")], "Enter your email or username.", "username"),
        (vec![("username", USER)], "tick the box", "agree"),
        (vec![("username", USER), ("password", FakeUps::PASSWORD)], "tick the box", "agree"),
        (vec![("username", USER), ("agree", "yes"), ("password", "wrong")], "password is not right", "password"),
        (vec![("username", "nobody"), ("agree", "yes"), ("password", "x")], "password is not right", "password"),
    ] {
        let response = sign_in(&ups, &form);
        let page = html(&response);
        assert_eq!(response.status(), 200);
        assert!(page.contains("role=\"alert\"") && page.contains(words), "{page}");
        assert!(page.contains(&format!("aria-invalid=\"true\" aria-describedby=\"{field}-error\"")), "{page}");
        assert!(page.contains("<title>Error: "), "{page}");
    }
    assert_eq!(ups.requests().count(Endpoint::SignIn, Outcome::AgreementMissing), 2);
    assert_eq!(ups.requests().count(Endpoint::SignIn, Outcome::WrongPassword), 3);
}

#[tokio::test]
async fn what_was_sent_is_shown_escaped() {
    let ups = start().await;
    let script = "\"><script>alert('1')</script>&";
    for form in [vec![("username", script)], vec![("username", script), ("agree", "yes")]] {
        let page = html(&sign_in(&ups, &form));
        assert!(!page.contains("<script") && !page.contains("\"><b>"), "{page}");
        assert!(page.contains("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"), "{page}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_in_order_is_not_sent_anywhere() {
    let ups = start().await;
    for form in [
        asked(&[("redirect_uri", "https://evil.example/")]),
        asked(&[("client_id", "other")]),
        asked(&[("response_type", "token")]),
    ] {
        let mut form = form;
        form.extend([("username", USER), ("agree", "yes"), ("password", FakeUps::PASSWORD)]);
        let response = post(&ups, "/lasso/signin", None, &form).response;
        assert_eq!((response.status().as_u16(), header(&response, "location")), (400, ""));
    }
    let evil = "/__fake/decline?client_id=client&redirect_uri=https://evil.example/&response_type=code";
    assert_eq!(get(&ups, evil).status(), 400);
}

#[tokio::test]
async fn pages_are_guarded_and_their_forms_may_lead_back_to_the_application() {
    let ups = start().await;
    for target in ["/__fake/", "/lasso/signup", "/lasso/forgot", "/lasso/agreement", "/error.page"] {
        let response = get(&ups, target);
        assert_eq!(response.status(), 200, "{target}");
        let policy = header(&response, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("form-action"), "{policy}");
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert!(!html(&response).contains("<script"));
    }
    assert_eq!(header(&get(&ups, "/lasso/style.css"), "content-type"), "text/css;charset=utf-8");
}
