//! The page of webhooks, and what the overview says of them and of the last 24 hours.

use std::sync::Arc;

use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::{Change, Gone};
use wxsub_outbox::state::{AuditAction, AuditOutcome};
use wxsub_proto::ErrCode;
use wxsub_sandbox::Fault;

use super::browser::{Browser, console_config};
use super::outbox::ledger_config;
use super::setup::{SEND, Setup, TOKEN, config, message};
use super::test_ledger::{self, TestLedger};
use super::webhook_receivers::Answer;
use super::webhooks::endpoint;

const HOST: &str = "shop.example";

async fn setup() -> (Setup, Arc<TestLedger>) {
    let text = ledger_config() + &endpoint(HOST, "") + &console_config("");
    Setup::with_ledger_and(config(&text)).await
}

/// Subject and outcome of each redelivery in the audit, oldest first.
async fn redeliveries(ledger: &TestLedger) -> Vec<(String, AuditOutcome)> {
    let lines = ledger.audit(None, 100).await.unwrap().into_iter().rev();
    let lines = lines.filter(|line| line.entry.action == AuditAction::Redeliver);
    lines.map(|line| (line.entry.subject, line.outcome)).collect()
}

#[tokio::test]
async fn failed_webhook_is_a_problem_until_an_operator_delivers_it_again() {
    let (setup, ledger) = setup().await;
    setup.receivers.answer(HOST, &[Answer::Status(503)]);
    let mut ops = Browser::logged_in(&setup, "ops").await;
    let mut eve = Browser::logged_in(&setup, "eve").await;
    assert!(ops.get("/").await.text.contains("No problem is known."));
    ops.get("/webhooks").await.shows(&["<bdi>shop.example</bdi> <span class=\"badge good\">ok"]);
    setup.sent("oUser").await;
    setup.until_arrived(HOST, 1).await;
    setup.clock.advance_and_run(std::time::Duration::from_millis(1)).await;
    for page in ["/", "/webhooks"] {
        let page = eve.get(page).await;
        page.shows(&["shop.example", "failing", "status 503", "look at the endpoint and its log"]);
        for text in ["Deliver again", "No problem is known.", "oUser", "https://"] {
            assert!(!page.text.contains(text), "{text}: {page:?}");
        }
    }
    let fields = [("endpoint", HOST)];
    assert_eq!(eve.submit("/", "/webhooks/redeliver", &fields).await.status, 403);
    assert_eq!(ops.submit("/", "/webhooks/redeliver", &[("endpoint", "x")]).await.status, 404);
    assert_eq!(ops.get("/webhooks/redeliver").await.status, 405);
    assert_eq!(redeliveries(&ledger).await, []);
    let denied = ledger.audit(None, 1).await.unwrap().remove(0).entry;
    let denied = (denied.actor.as_str(), denied.action, denied.subject.as_str(), denied.detail.as_str());
    assert_eq!(denied, ("eve", AuditAction::Denied, HOST, "redeliver"));
    ledger.fail(test_ledger::Fault::Away);
    assert_eq!(ops.submit("/", "/webhooks/redeliver", &fields).await.status, 503);
    ledger.fail(test_ledger::Fault::None);
    let redelivered = ops.submit("/webhooks", "/webhooks/redeliver", &fields).await;
    assert_eq!(redelivered.location(), "/webhooks?redelivered");
    assert_eq!(redeliveries(&ledger).await, [(HOST.to_owned(), AuditOutcome::Done)]);
    let link = "href=\"/webhooks#endpoint-shop.example\"><bdi>shop.example</bdi>";
    ops.get("/audit").await.shows(&["delivered webhooks again", link]);
    setup.until_arrived(HOST, 2).await;
    ops.get("/webhooks?redelivered").await.shows(&["The failed webhooks are due now.", ">ok<"]);
}

#[tokio::test]
async fn disabled_endpoint_names_its_remedy() {
    let (setup, _ledger) = setup().await;
    setup.receivers.answer(HOST, &[Answer::Status(410)]);
    let mut ops = Browser::logged_in(&setup, "ops").await;
    setup.sent("oUser").await;
    setup.until_arrived(HOST, 1).await;
    setup.clock.advance_and_run(std::time::Duration::from_millis(1)).await;
    for page in ["/", "/webhooks"] {
        let texts = ["disabled", "It responded with 410", "Since: ", "remove it from [[webhooks]]"];
        ops.get(page).await.shows(&texts);
    }
    ops.post("/language", &[("language", "zh")]).await;
    ops.get("/webhooks").await.shows(&["已停用", "重新投递", "它返回了 410"]);
}

/// The totals below the plots.
fn totals(page: &str) -> Vec<&str> {
    let descriptions = page.split("<desc").skip(1).map(|rest| rest.split_once('>').unwrap().1);
    descriptions.map(|rest| rest.split_once('<').unwrap().0).collect()
}

#[tokio::test]
async fn overview_shows_sends_and_fetches_of_the_last_day() {
    let (with_ledger, _ledger) = setup().await;
    for setup in [with_ledger, Setup::new(&(super::setup::usual() + &console_config(""))).await] {
        let mut ops = Browser::logged_in(&setup, "ops").await;
        let nothing = ["sent 0 · maybe sent 0 · refused 0 · not sent 0", "fetched 0 · failed 0"];
        let page = ops.get("/").await;
        assert_eq!(totals(&page.text), nothing);
        assert!(!page.text.contains("<rect"), "{page:?}");
        setup.sandbox.add_fault(TOKEN, 1, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
        assert_eq!(setup.meanwhile(setup.send(message("oUser", 1))).await.status, 503);
        setup.pass(60).await;
        setup.sent("oUser").await;
        assert_eq!(setup.meanwhile(setup.send(message("oUser", 1))).await.status, 422);
        setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
        assert_eq!(setup.meanwhile(setup.send(message("oLost", 1))).await.status, 504);
        // Another task counts what the ledger has.
        setup.pass(1).await;
        let page = ops.get("/").await;
        let [sends, fetches] = totals(&page.text)[..] else { panic!("{page:?}") };
        assert_eq!(sends, "sent 1 · maybe sent 1 · refused 1 · not sent 1");
        assert!(fetches.starts_with("fetched 1 · failed ") && !fetches.ends_with(" 0"), "{fetches}");
        page.shows(&["<rect class=\"sent\" x=\"322\"", "Counted by this server in memory"]);
    }
}

#[tokio::test]
async fn overview_without_live_worker_says_that_messages_wait() {
    let (setup, ledger) = setup().await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    ops.get("/").await.shows(&["Live workers</a> 1"]);
    ledger.commit(vec![Change::MarkGone(Gone::All)]).await.unwrap();
    ops.get("/").await.shows(&["No worker is alive"]);
}

/// Commits work, and reading does not: the page knows less than it shows.
#[tokio::test]
async fn overview_without_an_answer_of_the_ledger_does_not_say_that_all_is_well() {
    let (setup, ledger) = setup().await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    setup.token().await;
    assert!(ops.get("/").await.text.contains("No problem is known."));
    ledger.fail(test_ledger::Fault::SilentWorkers);
    let page = setup.meanwhile(ops.get("/")).await;
    assert!(page.text.contains("The ledger did not respond within 2 s"), "{page:?}");
    assert!(!page.text.contains("No problem is known.") && !page.text.contains("Live workers"), "{page:?}");
}

/// The same threshold as that of the alert.
#[tokio::test]
async fn message_that_is_overdue_without_a_pause_is_a_problem() {
    let (setup, ledger) = setup().await;
    let mut ops = Browser::logged_in(&setup, "ops").await;
    // No worker claims it.
    ledger.commit(vec![Change::MarkGone(Gone::All)]).await.unwrap();
    assert_eq!(super::outbox::enqueue(&setup, &[], message("oUser", 1)).await.status, 202);
    setup.clock.advance(std::time::Duration::from_secs(300));
    assert!(!ops.get("/").await.text.contains("messages are overdue"));
    setup.clock.advance(std::time::Duration::from_secs(1));
    let page = ops.get("/").await;
    assert!(page.text.contains("messages are overdue") && !page.text.contains("No problem"), "{page:?}");
}
