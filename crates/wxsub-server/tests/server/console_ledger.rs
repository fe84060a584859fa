//! The pages of the console that read and change the ledger.

use serde_json::json;
use wxsub_outbox::Ledger;
use wxsub_outbox::state::{AuditAction, AuditOutcome};

use super::browser::{Browser, console_config, form_token};
use super::outbox::{enqueue, ledger_config, post};
use super::setup::{Setup, config, message, until};
use super::test_ledger::{Fault, TestLedger};

const OPENID: &str = "oABCDEFGHIJKLMNOPQRSTUVWXY12";
const MASKED: &str = "<code>oAB…12</code>";

async fn setup() -> (Setup, std::sync::Arc<TestLedger>) {
    Setup::with_ledger_and(config(&(ledger_config() + &console_config("")))).await
}

/// Actor, action, subject, detail and whether it was done, of each line, oldest first. Logins are left out.
async fn audit(ledger: &TestLedger) -> Vec<(String, AuditAction, String, String, bool)> {
    let lines = ledger.audit(None, 100).await.unwrap().into_iter().rev();
    let lines = lines.filter(|line| line.entry.action != AuditAction::Login);
    let line = |line: wxsub_outbox::audit::StoredAudit| {
        assert_eq!(line.entry.address, "10.1.2.3");
        let is_done = line.outcome == AuditOutcome::Done;
        (line.entry.actor, line.entry.action, line.entry.subject, line.entry.detail, is_done)
    };
    lines.map(line).collect()
}

/// A message that waits, because the app is paused.
async fn queued(setup: &Setup, body: String) -> String {
    post(setup, "outbox/pause", &[], String::new()).await;
    enqueue(setup, &[("Idempotency-Key", "<script>")], body).await.has(202, &json!({})).id()
}

/// A grant of this user, recorded by its openid.
async fn grant(setup: &Setup, scene: u16) {
    let body = json!({"openid": OPENID, "template_id": "T", "scene": scene}).to_string();
    assert_eq!(post(setup, "grants", &[("Idempotency-Key", "g")], body).await.status, 201);
}

#[tokio::test]
async fn list_filters_messages_and_masks_openids() {
    let (setup, _ledger) = setup().await;
    let id = queued(&setup, message(OPENID, 7)).await;
    let mut eve = Browser::logged_in(&setup, "eve").await;
    for (query, is_listed) in [
        ("", true),
        ("?app=wx1&state=queued&openid=&from=", true),
        ("?state=sent", false),
        ("?app=wx2", false),
        (&format!("?openid={OPENID}"), true),
        ("?openid=oOther", false),
        ("?from=2000-01-01T00:00", true),
        ("?from=2099-01-01T00:00", false),
    ] {
        let page = eve.get(&format!("/outbox{query}")).await;
        assert_eq!((page.status, page.text.contains(&id)), (200, is_listed), "{query}: {page:?}");
        if is_listed {
            page.shows(&[MASKED, "paused by an operator"]);
        }
        if !query.contains(OPENID) {
            assert!(!page.text.contains(OPENID), "{page:?}");
        }
    }
    for (wrong, text) in [
        ("?state=x", "There is no such state"),
        ("?openid=%3Cb%3E", "This is no openid"),
        ("?from=yesterday", "Enter a time like"),
        ("?after=x", "There is no such page"),
    ] {
        let page = eve.get(&format!("/outbox{wrong}")).await;
        assert_eq!(page.status, 400, "{wrong}");
        page.shows(&[text]);
    }
    for wrong in ["/audit?before=x", "/outbox/%FF"] {
        let page = eve.get(wrong).await;
        assert!(page.status == 400 && page.text.contains("Open the page again."), "{page:?}");
    }
    assert_eq!(eve.get("/outbox?app=wx9").await.status, 404);
    assert_eq!(eve.get(&format!("/outbox/find?id=+{id}+")).await.location(), format!("/outbox/{id}"));
    assert_eq!(eve.get("/outbox/find?id=x").await.status, 404);
    assert_eq!(eve.get("/outbox/x").await.status, 404);
}

#[tokio::test]
async fn pages_of_the_list_hold_every_message_once() {
    let (setup, _ledger) = setup().await;
    post(&setup, "outbox/pause", &[], String::new()).await;
    for number in 0..60 {
        assert_eq!(enqueue(&setup, &[], message(&format!("oUser{number:03}"), 1)).await.status, 202);
    }
    let mut browser = Browser::logged_in(&setup, "eve").await;
    let listed = |page: &str| {
        let links = page.split("class=\"id\" href=\"/outbox/").skip(1);
        links.map(|rest| rest[..36].to_owned()).collect::<Vec<_>>()
    };
    let newest = browser.get("/outbox?state=queued").await.text;
    let mut link = async |page: &str, name: &str| {
        let (before, _) = page.split_once(&format!("\">{name}</a>")).unwrap();
        let target = before.rsplit_once("href=\"").unwrap().1.replace("&amp;", "&");
        browser.get(&target).await.text
    };
    let older = link(&newest, "Next page").await;
    let oldest = link(&newest, "Show the oldest first").await;
    let newer = link(&oldest, "Next page").await;
    assert_eq!([&newest, &older, &oldest, &newer].map(|page| listed(page).len()), [50, 10, 50, 10]);
    assert!(!older.contains("Next page") && !newer.contains("Next page"));
    let [mut falling, rising] =
        [[newest, older], [oldest, newer]].map(|pages| pages.map(|page| listed(&page)).concat());
    assert!(rising.is_sorted());
    falling.reverse();
    assert_eq!(falling, rising);
}

/// An application may put the openid into anything. A user who may not see it does not see it there either.
#[tokio::test]
async fn openid_is_masked_wherever_it_stands_until_it_is_revealed() {
    let (setup, ledger) = setup().await;
    post(&setup, "outbox/pause", &[], String::new()).await;
    let body = message(OPENID, 7).replace("It is here.", &format!("For {OPENID}"));
    let body = body.replacen('{', &format!("{{\"url\":\"https://shop.example/{OPENID}?u={OPENID}\","), 1);
    let queued = enqueue(&setup, &[("Idempotency-Key", &format!("order-{OPENID}"))], body).await;
    let path = format!("/outbox/{}", queued.has(202, &json!({})).id());
    for name in ["eve", "ops"] {
        let mut browser = Browser::logged_in(&setup, name).await;
        for page in [path.as_str(), "/outbox", "/"] {
            let page = browser.get(page).await;
            assert!(page.status == 200 && !page.text.contains(OPENID), "{name}: {page:?}");
        }
        let texts = ["order-oAB…12", "For oAB…12", "https://shop.example/oAB…12?u=oAB…12"];
        browser.get(&path).await.shows(&texts);
    }
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let page = ops.submit(&path, &format!("{path}/reveal"), &[]).await;
    assert!(page.text.contains(&format!("order-{OPENID}")) && !page.text.contains("oAB…12"), "{page:?}");
    assert_eq!(audit(&ledger).await.len(), 1);
}

#[tokio::test]
async fn openid_is_revealed_to_operators_only_and_that_is_in_the_audit() {
    let (setup, ledger) = setup().await;
    let id = queued(&setup, message(OPENID, 7)).await;
    let path = format!("/outbox/{id}");
    let mut eve = Browser::logged_in(&setup, "eve").await;
    let page = eve.get(&path).await;
    assert!(page.text.contains(MASKED) && !page.text.contains("Reveal"), "{page:?}");
    assert!(!page.text.contains(OPENID), "{page:?}");
    assert_eq!(eve.submit("/", &format!("{path}/reveal"), &[]).await.status, 403);
    assert_eq!(eve.submit("/", &format!("{path}/cancel"), &[]).await.status, 403);
    let denied = |action: &str| ("eve".to_owned(), AuditAction::Denied, id.clone(), action.to_owned(), true);
    assert_eq!(audit(&ledger).await, [denied("reveal"), denied("cancel")]);

    let mut ops = Browser::logged_in(&setup, "ops").await;
    assert_eq!(ops.get(&format!("{path}/reveal")).await.status, 405);
    let token = form_token(&ops.get(&path).await);
    ledger.fail(Fault::Away);
    let page = ops.post(&format!("{path}/reveal"), &[("token", &token)]).await;
    assert_eq!((page.status, page.text.contains(OPENID)), (503, false));
    ledger.fail(Fault::None);
    let page = ops.post(&format!("{path}/reveal"), &[("token", &token)]).await;
    assert_eq!((page.status, page.text.contains(OPENID)), (200, true));
    let line = ("ops".to_owned(), AuditAction::Reveal, id.clone(), String::new(), true);
    assert_eq!(audit(&ledger).await, [denied("reveal"), denied("cancel"), line]);
    assert!(!ops.get(&path).await.text.contains(OPENID));
    let denied = "was denied <code><bdi>reveal</bdi></code>";
    ops.get("/audit").await.shows(&[denied, "revealed an openid", &id, "logged in", "<bdi>10.1.2.3</bdi>"]);
}

#[tokio::test]
async fn queued_message_is_withdrawn_once() {
    let (setup, ledger) = setup().await;
    let id = queued(&setup, message(OPENID, 7)).await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let cancel = format!("/outbox/{id}/cancel");
    assert_eq!(ops.submit("/", &cancel, &[]).await.location(), format!("/outbox/{id}"));
    let page = ops.get(&format!("/outbox/{id}")).await;
    assert!(page.text.contains("badge quiet\">cancelled") && !page.text.contains("Withdraw"), "{page:?}");
    let again = ops.submit("/", &cancel, &[]).await;
    assert!(again.status == 409 && again.text.contains("it is final"), "{again:?}");
    let line = |is_done| ("ops".to_owned(), AuditAction::Cancel, id.clone(), String::new(), is_done);
    assert_eq!(audit(&ledger).await, [line(true), line(false)]);
}

#[tokio::test]
async fn of_two_operators_one_decides_a_message() {
    let (setup, ledger) = setup().await;
    let (id, version) = setup.undecided(OPENID).await;
    let version = version.trim_matches('"').to_owned();
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let mut ann = Browser::logged_in(&setup, "ann").await;
    let mut eve = Browser::logged_in(&setup, "eve").await;
    let choices = ["and the response is lost.", "it counts as sent and", "the user gets two messages"];
    ops.get("/decisions").await.shows(&[&[id.as_str(), MASKED], &choices[..]].concat());
    assert!(!eve.get("/decisions").await.text.contains("<button name=\"decision\""));
    let path = format!("/decisions/{id}");
    let fields = |version| [("decision", "assume_sent"), ("note", "he saw it"), ("version", version)];
    assert_eq!(eve.submit("/", &path, &fields(&version)).await.status, 403);
    assert_eq!(ops.submit("/", &path, &[("decision", "x"), ("version", &version)]).await.status, 400);
    let stale = ops.submit("/", &path, &fields("1")).await;
    assert!(stale.status == 409 && stale.text.contains("was not decided"), "{stale:?}");
    assert_eq!(ops.submit("/", &path, &fields(&version)).await.location(), "/decisions?decided");
    let late = ann.submit("/", &path, &fields(&version)).await;
    assert!(late.status == 409 && late.text.contains("was not decided"), "{late:?}");
    let page = ops.get("/decisions?decided").await;
    assert!(page.text.contains("The decision is recorded.") && !page.text.contains(&id), "{page:?}");
    ops.get(&format!("/outbox/{id}")).await.shows(&["<code>assume_sent</code> · <bdi>ops</bdi>"]);
    let line = |actor: &str, is_done| {
        (actor.to_owned(), AuditAction::Decide, id.clone(), "assume_sent".to_owned(), is_done)
    };
    let denied = ("eve".to_owned(), AuditAction::Denied, id.clone(), "decide".to_owned(), true);
    assert_eq!(audit(&ledger).await, [denied, line("ops", false), line("ops", true), line("ann", false)]);
}

/// A server may have thousands of apps.
#[tokio::test]
async fn pages_of_many_apps_read_the_undecided_ones_only_or_several_at_once() {
    let (setup, ledger) = setup().await;
    setup.undecided(OPENID).await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let before = ledger.message_lists();
    ops.get("/decisions").await.shows(&[MASKED]);
    assert_eq!(ledger.message_lists() - before, 1, "wx2 has no undecided message");
    ledger.fail(Fault::PairedApps);
    let page = setup.within_two_minutes(ops.get("/workers")).await;
    assert!(page.status == 200 && page.text.contains("wx2"), "{page:?}");
}

#[tokio::test]
async fn message_cannot_be_decided_while_a_stopped_worker_may_post_it() {
    let (setup, _ledger) = setup().await;
    setup.token().await;
    setup.sandbox.add_fault(super::setup::SEND, 1, wxsub_sandbox::Fault::ResetAfterApply);
    setup.meanwhile(setup.send(message(OPENID, 1))).await.is(504, "maybe_sent");
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let page = ops.get("/decisions").await;
    assert!(page.text.contains("It cannot be decided yet"), "{page:?}");
    assert!(!page.text.contains("name=\"decision\""), "{page:?}");
    assert!(ops.get("/").await.text.contains("Undecided messages: 1"));
}

#[tokio::test]
async fn app_is_paused_and_resumed() {
    let (setup, ledger) = setup().await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    ops.get("/workers").await.shows(&["alive", "wx2"]);
    let fields = [("app", "wx1"), ("note", "wrong text")];
    assert_eq!(ops.submit("/workers", "/workers/pause", &fields).await.location(), "/workers");
    for page in ["/workers", "/"] {
        ops.get(page).await.shows(&["paused by an operator", "wrong text"]);
    }
    assert_eq!(ops.submit("/workers", "/workers/resume", &[("app", "wx1")]).await.location(), "/workers");
    assert!(!ops.get("/").await.text.contains("paused by"));
    assert_eq!(ops.submit("/workers", "/workers/pause", &[("app", "wx9")]).await.status, 404);
    let actions: Vec<_> = audit(&ledger).await.into_iter().map(|(_, action, ..)| action).collect();
    assert_eq!(actions, [AuditAction::Pause, AuditAction::Resume]);
}

#[tokio::test]
async fn grant_of_a_user_is_listed_and_voided() {
    let (setup, ledger) = setup().await;
    grant(&setup, 3).await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    assert!(ops.get("/grants").await.text.contains("Enter the openid"));
    assert!(ops.get("/grants?app=wx1&openid=oOther").await.text.contains("This user has no grants."));
    let list = format!("/grants?app=wx1&openid={OPENID}");
    let page = ops.get(&list).await;
    let (_, id) = page.text.split_once("action=\"/grants/").unwrap();
    let id = id.split_once('/').unwrap().0.to_owned();
    let (path, fields) = (format!("/grants/{id}/void"), [("app", "wx1"), ("openid", OPENID)]);
    assert_eq!(ops.submit(&list, &path, &fields).await.location(), list);
    assert_eq!(ops.submit(&list, &path, &fields).await.status, 409);
    assert!(ops.get(&list).await.text.contains("void"));
    let done: Vec<_> = audit(&ledger).await.into_iter().map(|(.., is_done)| is_done).collect();
    assert_eq!(done, [true, false]);
}

#[tokio::test]
async fn texts_from_outside_stay_text_on_every_page() {
    let (setup, _ledger) = setup().await;
    let hostile = format!("<script>alert(1)</script>\u{202e}\u{2066}{}", "😀".repeat(200));
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let (undecided, version) = setup.undecided("oUndecided1234567").await;
    let title = "<img src=x>\u{202e}😀";
    let id = queued(&setup, message(OPENID, 7).replace("Parcel", title)).await;
    ops.submit("/workers", "/workers/pause", &[("app", "wx1"), ("note", &hostile)]).await;
    let queries = [
        "/grants?openid=%3Cscript%3E%E2%80%AE",
        "/login?next=%22%3E%3Cscript%3E",
        "/login?next=/%E2%80%AE",
        "/outbox?from=2000-01-01T00:00%E2%80%AE%3Cscript%3E",
    ];
    for page in ["/", "/outbox", "/workers", "/decisions", "/audit"].into_iter().chain(queries) {
        let page = ops.get(page).await;
        assert!(page.text.contains('<') && !page.text.contains(['\u{202e}', '\u{2066}']), "{page:?}");
        assert!(!page.text.contains("<script") && !page.text.contains("<img"), "{page:?}");
    }
    assert!(ops.get("/").await.text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let page = ops.get(&format!("/outbox/{id}")).await;
    assert!(page.text.contains("&lt;img src=x&gt; 😀") && !page.text.contains("<img"), "{page:?}");
    assert!(!page.text.contains('\u{202e}') && !page.text.contains(OPENID), "{page:?}");
    let version = version.trim_matches('"').to_owned();
    let fields = [("decision", "give_up"), ("note", hostile.as_str()), ("version", version.as_str())];
    ops.submit("/", &format!("/decisions/{undecided}"), &fields).await;
    let page = ops.get(&format!("/outbox/{undecided}")).await;
    assert!(page.text.contains("give_up") && !page.text.contains("<script"), "{page:?}");
}

#[tokio::test]
async fn server_without_ledger_shows_the_overview_only() {
    let setup = Setup::new(&console_config("")).await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let page = ops.get("/").await;
    assert!(page.text.contains("wx1") && !page.text.contains("href=\"/outbox\""), "{page:?}");
    for page in ["/outbox", "/outbox/x", "/decisions", "/grants", "/webhooks", "/workers", "/audit"] {
        let page = ops.get(page).await;
        assert!(page.status == 404 && page.text.contains("This server has no ledger"), "{page:?}");
    }
    assert_eq!(ops.submit("/", "/workers/pause", &[("app", "wx1")]).await.status, 404);
}

#[tokio::test]
async fn unavailable_ledger_is_the_first_problem() {
    let (setup, ledger) = setup().await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    ledger.fail(Fault::Away);
    let paused = ops.submit("/workers", "/workers/pause", &[("app", "wx1")]).await;
    assert!(paused.status == 503 && paused.text.contains("the disk is full"), "{paused:?}");
    let page = ops.get("/").await;
    assert!(page.text.contains("the last commit to the ledger failed"), "{page:?}");
}

/// The console is needed most when the ledger does not respond.
#[tokio::test]
async fn login_and_logout_do_not_wait_for_a_ledger_that_does_not_respond() {
    let (setup, ledger) = setup().await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let mut ann = Browser::new(&setup);
    ledger.fail(Fault::Silent);
    {
        let mut login = std::pin::pin!(ann.log_in("ann", super::browser::PASSWORD));
        let two_seconds_of_waiting = async {
            until(async || ledger.is_silent()).await;
            setup.pass(2).await;
        };
        let response = tokio::select! {
            biased;
            () = two_seconds_of_waiting => setup.meanwhile(login).await,
            response = &mut login => response,
        };
        assert_eq!(response.location(), "/");
    }
    assert_eq!(ann.get("/").await.status, 200);
    let stolen = ops.cookies.clone();
    let response = setup.meanwhile(ops.submit("/audit", "/logout", &[])).await;
    assert_eq!(response.location(), "/login");
    ops.cookies = stolen;
    assert_eq!(ops.get("/").await.status, 303, "the session has ended");
}

#[tokio::test]
async fn note_that_a_ledger_cannot_store_is_refused() {
    let (setup, _ledger) = setup().await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let long = "x".repeat(1_001);
    for (note, rule) in
        [("a\0b", "has the control character U+0000"), (&long, "must have at most 1000 bytes")]
    {
        let response =
            post(&setup, "outbox/pause", &[], json!({"note": note}).to_string()).await.is(422, "invalid");
        let problem = &response.json()["problems"][0];
        assert!(
            problem["field"] == "note" && problem["rule"].as_str().unwrap().starts_with(rule),
            "{problem}"
        );
        let page = ops.submit("/workers", "/workers/pause", &[("app", "wx1"), ("note", note)]).await;
        assert!(page.status == 400 && page.text.contains(rule), "{page:?}");
    }
    assert_eq!(post(&setup, "outbox/pause", &[], json!({"note": "a\nb"}).to_string()).await.status, 200);
}

#[tokio::test]
async fn decision_about_a_message_without_grant_names_no_grant() {
    let (setup, _ledger) = setup().await;
    grant(&setup, 1).await;
    setup.allow(OPENID, 1);
    assert_eq!(setup.send(message(OPENID, 1)).await.status, 200);
    setup.pass(60).await;
    let (id, _) = setup.undecided(OPENID).await;
    let page = Browser::logged_in(&setup, "ops").await.get("/decisions").await;
    assert!(page.text.contains(&id), "{page:?}");
    for text in ["Newer consent", "Its grant", "the same grant"] {
        assert!(!page.text.contains(text), "{text}: {page:?}");
    }
}
