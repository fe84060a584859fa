//! The console over its routes: login, sessions, forms and headers.

use super::browser::{Browser, PASSWORD, console_config, form_token, password_hash};
use super::setup::{APPS, Setup, config, read_config, until};

async fn setup() -> Setup {
    Setup::new(&console_config("")).await
}

#[tokio::test]
async fn page_without_session_leads_to_the_login_and_back() {
    let setup = setup().await;
    let mut browser = Browser::new(&setup);
    assert_eq!(browser.get("/").await.location(), "/login");
    let login = browser.get("/outbox?state=queued&app=wx1").await;
    assert_eq!(login.location(), "/login?next=/outbox%3Fstate%3Dqueued%26app%3Dwx1");
    let page = browser.get(login.location()).await;
    assert!(page.text.contains("name=\"next\" value=\"/outbox?state=queued&amp;app=wx1\""), "{page:?}");
    let token = form_token(&page);
    for (next, target) in [("/outbox?x=1", "/outbox?x=1"), ("//evil.example", "/"), ("", "/")] {
        let fields = [("token", token.as_str()), ("name", "ops"), ("password", PASSWORD), ("next", next)];
        let mut browser = Browser { cookies: browser.cookies.clone(), ..Browser::new(&setup) };
        assert_eq!(browser.post("/login", &fields).await.location(), target);
    }
}

#[tokio::test]
async fn right_password_begins_a_session_with_a_new_cookie() {
    let setup = setup().await;
    let mut browser = Browser::new(&setup);
    browser.get("/login").await;
    let before = browser.cookies["wxsub_console"].clone();
    let response = browser.log_in("ops", PASSWORD).await;
    assert_eq!(response.location(), "/");
    let cookie = response.headers["set-cookie"].to_str().unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains("Max-Age"), "{cookie}");
    assert_ne!(browser.cookies["wxsub_console"], before);
    let page = browser.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<bdi>ops</bdi>") && page.text.contains("wx1"), "{page:?}");

    // The cookie of the login page is no session, and the session's cookie works elsewhere only as long as it lives.
    let mut stolen = Browser { cookies: browser.cookies.clone(), ..Browser::new(&setup) };
    assert_eq!(stolen.get("/").await.status, 200);
    assert_eq!(browser.submit("/", "/logout", &[]).await.location(), "/login");
    assert!(!browser.cookies.contains_key("wxsub_console"));
    assert_eq!(stolen.get("/").await.status, 303);
}

#[tokio::test]
async fn wrong_password_and_unknown_name_get_the_same_answer() {
    let setup = setup().await;
    let mut texts = Vec::new();
    let long = "x".repeat(2000);
    for (name, password) in
        [("ops", "wrong"), ("unknown", PASSWORD), ("", ""), ("OPS", PASSWORD), ("ops", &long)]
    {
        let mut browser = Browser::new(&setup);
        let response = browser.log_in(name, password).await;
        assert_eq!(response.status, 403, "{name}");
        assert_eq!(browser.get("/").await.status, 303);
        let token = form_token(&response);
        texts.push(response.text.replace(&token, ""));
    }
    assert!(texts[0].contains("Name or password is wrong."), "{}", texts[0]);
    assert!(texts.iter().all(|text| *text == texts[0]));
}

/// Many addresses guess the password of one name. The operator logs in from a browser in which that was done before.
#[tokio::test]
async fn guesses_at_one_name_are_slowed_and_do_not_lock_its_operator_out() {
    let setup = setup().await;
    let mut operator = Browser::logged_in(&setup, "ops").await;
    assert_eq!(operator.submit("/", "/logout", &[]).await.status, 303);
    let guesser = |number: u8| Browser { address: [192, 0, 2, number], ..Browser::new(&setup) };
    for number in 0..20 {
        assert_eq!(guesser(number).log_in("ops", "a guess of a password").await.status, 403);
    }
    let slowed = guesser(20).log_in("ops", "a guess of a password").await;
    assert_eq!((slowed.status, slowed.retry_after()), (429, 10));
    assert!(slowed.text.contains("Try again in 10 s."), "{slowed:?}");
    // Another name is not slowed, and the limit says nothing about which names exist.
    assert_eq!(guesser(20).log_in("ann", PASSWORD).await.status, 303);
    for number in 0..20 {
        guesser(100 + number).log_in("unknown", "a guess of a password").await;
    }
    assert_eq!(guesser(200).log_in("unknown", "a guess of a password").await.status, 429);
    // Even from the address of the guesses.
    operator.address = [192, 0, 2, 20];
    assert_eq!(operator.log_in("ops", PASSWORD).await.location(), "/");
    operator.submit("/", "/logout", &[]).await;
    for _ in 0..5 {
        assert_eq!(operator.log_in("ops", "wrong").await.status, 403);
    }
    assert_eq!(operator.log_in("ops", PASSWORD).await.status, 429, "a known browser has a limit, too");
    // The cookie is worth nothing for another user, forged, or after a change of the password.
    setup.pass(10).await;
    let cookie = operator.cookies["wxsub_console_browser"].clone();
    let forged = cookie.replace(&cookie[..2], "00");
    for cookie in [forged.as_str(), "", ".", &cookie[..40]] {
        let mut browser = guesser(201);
        browser.cookies.insert("wxsub_console_browser".to_owned(), cookie.to_owned());
        for _ in 0..6 {
            browser.log_in("ops", "wrong").await;
        }
        assert_eq!(browser.log_in("ops", PASSWORD).await.status, 429, "{cookie}");
    }
}

/// At the time that the page names, the login is possible.
#[tokio::test]
async fn wait_after_failed_logins_is_rounded_up() {
    let setup = setup().await;
    let mut browser = Browser::new(&setup);
    for _ in 0..5 {
        assert_eq!(browser.log_in("ops", "wrong").await.status, 403);
    }
    setup.clock.advance(std::time::Duration::from_millis(500));
    let slowed = browser.log_in("ops", PASSWORD).await;
    assert_eq!((slowed.status, slowed.retry_after()), (429, 10));
    slowed.shows(&["Try again in 10 s."]);
}

#[tokio::test]
async fn session_ends_after_30_idle_minutes_and_after_12_hours() {
    let setup = setup().await;
    let mut browser = Browser::logged_in(&setup, "ops").await;
    setup.pass(30 * 60 - 1).await;
    assert_eq!(browser.get("/").await.status, 200);
    setup.pass(30 * 60).await;
    assert_eq!(browser.get("/").await.status, 303);

    let mut browser = Browser::logged_in(&setup, "ops").await;
    let token = form_token(&browser.get("/").await);
    for _ in 0..24 {
        assert_eq!(browser.get("/").await.status, 200);
        setup.pass(30 * 60 - 1).await;
    }
    setup.pass(24).await;
    let response = browser.post("/logout", &[("token", &token)]).await;
    assert_eq!(response.location(), "/login?ended");
    let page = browser.get("/login?ended").await;
    assert!(page.text.contains("Your session has ended, and nothing was done."), "{page:?}");
}

#[tokio::test]
async fn session_ends_when_the_configuration_changes_its_user() {
    let setup = setup().await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let mut eve = Browser::logged_in(&setup, "eve").await;
    let changed = console_config("").replacen("role = \"operator\"", "role = \"viewer\"", 1);
    setup.server.reload(&config(&changed)).unwrap();
    // It does not come back with the old configuration.
    setup.server.reload(&config(&console_config(""))).unwrap();
    assert_eq!((ops.get("/").await.status, eve.get("/").await.status), (303, 200));
    let moved = console_config("public_url = \"https://ops.example/x\"");
    let error = setup.server.reload(&config(&moved)).unwrap_err();
    assert!(error.to_string().starts_with("console: "), "{error}");
}

#[tokio::test]
async fn form_is_refused_without_its_token_and_from_another_site() {
    let setup = setup().await;
    let mut browser = Browser::logged_in(&setup, "ops").await;
    let token = form_token(&browser.get("/").await);
    let other = form_token(&Browser::logged_in(&setup, "ann").await.get("/").await);
    for forged in ["", "0", &other, &token.to_uppercase()] {
        assert_eq!(browser.post("/logout", &[("token", forged)]).await.status, 403, "{forged}");
    }
    assert_eq!(browser.post("/logout", &[]).await.status, 403);
    for site in ["cross-site", "same-site", "none"] {
        let headers = vec![("Sec-Fetch-Site", site)];
        let mut foreign = Browser { cookies: browser.cookies.clone(), headers, ..Browser::new(&setup) };
        assert_eq!(foreign.post("/logout", &[("token", &token)]).await.status, 403, "{site}");
        assert_eq!(foreign.post("/language", &[("language", "zh")]).await.status, 403, "{site}");
        let fields = [("token", token.as_str()), ("name", "ops"), ("password", PASSWORD)];
        assert_eq!(foreign.post("/login", &fields).await.status, 403, "{site}");
    }
    let headers = vec![("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")];
    let mut twice = Browser { cookies: browser.cookies.clone(), headers, ..Browser::new(&setup) };
    assert_eq!(twice.post("/logout", &[("token", &token)]).await.status, 403);
    assert_eq!(browser.get("/").await.status, 200);
    // A browser that does not send the header says the origin.
    for origin in ["https://127.0.0.1:8462", "http://127.0.0.1", "http://evil.example", "null"] {
        browser.headers = vec![("Host", "127.0.0.1:8462"), ("Origin", origin)];
        assert_eq!(browser.post("/logout", &[("token", &token)]).await.status, 403, "{origin}");
    }
    browser.headers = vec![("Host", "127.0.0.1:8462"), ("Origin", "http://127.0.0.1:8462")];
    assert_eq!(browser.post("/language", &[("language", "en")]).await.status, 303);
    // If it says neither, it needs the token only.
    browser.headers.clear();
    assert_eq!(browser.post("/logout", &[("token", &token)]).await.status, 303);

    // The login form needs the token of its own cookie.
    let mut browser = Browser::new(&setup);
    browser.get("/login").await;
    let fields = [("token", token.as_str()), ("name", "ops"), ("password", PASSWORD)];
    assert_eq!(browser.post("/login", &fields).await.status, 403);
}

#[tokio::test]
async fn every_response_has_the_headers_and_get_changes_nothing() {
    let setup = setup().await;
    let mut browser = Browser::logged_in(&setup, "ops").await;
    for target in ["/", "/login", "/style.css", "/icon.svg", "/nothing", "/logout", "/language"] {
        let response = browser.get(target).await;
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(response.headers[name], value, "{target}");
        }
        assert!(!response.text.contains("<script") && !response.text.contains("style="), "{target}");
        assert!(!response.headers.contains_key("strict-transport-security"), "{target}");
    }
    assert_eq!(browser.get("/nothing").await.status, 404);
    assert_eq!(browser.get("/logout").await.status, 405);
    assert_eq!(browser.get("/").await.status, 200);
}

/// Each error is a page in the language of the browser, and says what to do.
#[tokio::test]
async fn error_is_a_page_that_says_what_to_do() {
    let setup = setup().await;
    let mut browser = Browser::logged_in(&setup, "ops").await;
    let long = "x".repeat(20_000);
    for (language, lang) in [("en", "en"), ("zh", "zh-CN")] {
        browser.post("/language", &[("language", language)]).await;
        let mut errors = vec![
            (404, browser.get("/nothing").await),
            (405, browser.get("/logout").await),
            (405, browser.post("/style.css", &[]).await),
            (413, browser.post("/logout", &[("token", &long)]).await),
            (431, browser.get(&format!("/?{long}")).await),
        ];
        let own = browser.headers.clone();
        browser.headers.push(("Host", "evil.example"));
        errors.push((421, browser.get("/login").await));
        browser.headers = own;
        for (status, page) in errors {
            assert_eq!(page.status, status, "{page:?}");
            assert!(page.text.contains("role=\"alert\"") && page.text.contains("<header>"), "{page:?}");
            assert!(page.text.contains(&format!("<html lang=\"{lang}\"")), "{page:?}");
            assert_eq!(page.headers.contains_key("allow"), status == 405, "{page:?}");
        }
    }
}

/// A page of another site may change the address of its name to that of this machine.
#[tokio::test]
async fn console_on_loopback_is_reached_by_no_other_name() {
    let setup = setup().await;
    for (host, status) in [
        ("127.0.0.1:8462", 200),
        ("[::1]:8462", 200),
        ("localhost", 200),
        ("wxsub.localhost:8462", 200),
        ("192.0.2.1", 200),
        ("evil.example:8462", 421),
        ("localhost.evil.example", 421),
    ] {
        let mut browser = Browser::new(&setup);
        browser.headers.push(("Host", host));
        let page = browser.get("/login").await;
        assert_eq!((page.status, page.text.contains("name=\"password\"")), (status, status == 200), "{host}");
    }
}

#[tokio::test]
async fn https_at_a_sub_path_has_its_own_cookie_and_links() {
    let setup = Setup::new(&console_config("public_url = \"https://ops.example/wxsub/\"")).await;
    // The proxy may keep the path, or remove it.
    for kept in ["/wxsub", ""] {
        let mut browser = Browser::new(&setup);
        assert_eq!(browser.get(&format!("{kept}/")).await.location(), "/wxsub/login");
        let page = browser.get(&format!("{kept}/login")).await;
        let cookie = page.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.starts_with("__Host-wxsub=") && cookie.contains("Secure"), "{cookie}");
        assert_eq!(page.headers["strict-transport-security"], "max-age=31536000");
        assert!(
            page.text.contains("action=\"/wxsub/login\"") && page.text.contains("href=\"/wxsub/style.css\"")
        );
        let token = form_token(&page);
        let fields = [("token", token.as_str()), ("name", "ops"), ("password", PASSWORD)];
        // The proxy sends a host of its own.
        for (origin, status) in [("https://evil.example", 403), ("https://ops.example", 303)] {
            browser.headers = vec![("Host", "console"), ("Origin", origin)];
            assert_eq!(browser.post("/language", &[("language", "en")]).await.status, status, "{origin}");
        }
        assert_eq!(browser.post(&format!("{kept}/login"), &fields).await.location(), "/wxsub/");
        for target in ["", "/", "/?x=1"] {
            let target = format!("{kept}{target}");
            if !target.is_empty() {
                assert_eq!(browser.get(&target).await.status, 200, "{target}");
            }
        }
    }
    assert_eq!(Browser::new(&setup).get("/wxsubby").await.location(), "/wxsub/login?next=/wxsubby");
}

#[tokio::test]
async fn language_is_chosen_by_the_browser_or_by_a_form() {
    let setup = setup().await;
    let mut browser = Browser::new(&setup);
    browser.headers = vec![("Accept-Language", "zh-CN,zh;q=0.9")];
    let page = browser.get("/login").await;
    assert!(page.text.contains("lang=\"zh-CN\"") && page.text.contains("密码"), "{page:?}");
    assert_eq!(browser.post("/language", &[("language", "en")]).await.location(), "/");
    let page = browser.get("/login").await;
    assert!(page.text.contains("<html lang=\"en\"") && page.text.contains("Password"), "{page:?}");
    browser.post("/language", &[("language", "<b>")]).await;
    assert!(browser.get("/login").await.text.contains("Password"));
}

/// The words of `wxsub explain`, with the address to allow.
#[tokio::test]
async fn overview_names_cause_address_and_remedy_of_a_failing_app() {
    let setup = setup().await;
    setup.configure(|settings| settings.allowed_ips = Some(vec!["192.0.2.1".parse().unwrap()]));
    let mut browser = Browser::logged_in(&setup, "eve").await;
    setup.server.prefetch_tokens();
    until(async || browser.get("/").await.text.contains("40164")).await;
    let page = browser.get("/").await;
    page.shows(&["down", "wx1", "Address to allow: ", "IP allow-list", "Since: "]);
    browser.post("/language", &[("language", "zh")]).await;
    browser.get("/").await.shows(&["不可用", "需要加入白名单的 IP：", "IP 白名单"]);
}

#[test]
fn configuration_of_the_console_is_checked() {
    let problems =
        |console: &str| read_config(&format!("audit = \"off\"\n{console}\n{APPS}")).err().unwrap_or_default();
    let users = |hash: &str, role: &str| {
        format!("[[console.users]]\nname = \"ops\"\npassword_hash = \"{hash}\"\nrole = \"{role}\"\n")
    };
    let hash = password_hash();
    assert_eq!(problems(&console_config("")), "");
    let (loopback, anywhere) =
        ("[console]\nlisten = \"127.0.0.1:1\"\n", "[console]\nlisten = \"0.0.0.0:1\"\n");
    for (text, problem) in [
        (loopback.to_owned(), "console.users: is empty"),
        (format!("[console]\n{}", users(hash, "operator")), "console.listen: is missing"),
        (
            format!("{anywhere}{}", users(hash, "operator")),
            "console.listen: is reachable from other machines, but passwords would travel unencrypted",
        ),
        (
            format!("plaintext = true\n{anywhere}{}", users(hash, "viewer")),
            "console.public_url: must begin with https://",
        ),
        (
            format!("{loopback}{}", users("secret", "viewer")),
            "console.users[0].password_hash: must be an argon2id hash; make one with wxsub console password",
        ),
        (format!("{loopback}{}", users(hash, "root")), "console.users[0].role: must be viewer or operator"),
        (format!("{loopback}{0}{0}", users(hash, "viewer")), "console.users[1]: name ops is used twice"),
    ] {
        let found = problems(&text);
        assert!(found.contains(problem), "{problem}: {found}");
        assert!(!found.contains("argon2id$"), "{found}");
    }
}
