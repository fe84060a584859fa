//! Planted secrets are found nowhere: not in logs at TRACE level, not in errors, not in `Debug`.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests may panic")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use wxsub_core::token::{Evidence, TokenSource};
use wxsub_core::transport::Limits;
use wxsub_sandbox::{AppSettings, Fault};
use wxsub_tests::{Route, SECRET, SEND, Stage, TOKEN, app};

/// Everything that is logged, by anybody.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn planted_secrets_are_found_nowhere() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone())
        .init();
    let mut shown = String::new();
    let mut tokens = Vec::new();
    for route in [Route::InProcess, Route::Reqwest, Route::Hyper] {
        tell_everything(route, &mut shown, &mut tokens).await;
    }
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    // The log is a real one: the keeper and the HTTP library have spoken.
    assert!(logged.contains("a new access token is held") && logged.contains("somebody else is fetching"));
    assert!(logged.contains("hyper"), "the HTTP library is not heard");
    assert!(tokens.len() >= 8);
    for (place, text) in [("log", &logged), ("errors and Debug", &shown)] {
        assert!(!text.contains(SECRET), "the AppSecret is in the {place}");
        for token in &tokens {
            assert!(!text.contains(token.as_str()), "a token is in the {place}");
        }
    }
}

/// Success and every failure, with all that is shown on the way.
async fn tell_everything(route: Route, shown: &mut String, tokens: &mut Vec<String>) {
    for path in [TOKEN, SEND] {
        for fault in [
            Fault::ErrCode(wxsub_core::proto::ErrCode::INVALID_APPSECRET),
            Fault::ErrCode(wxsub_core::proto::ErrCode::INVALID_CREDENTIAL),
            Fault::Status(502),
            Fault::Status(307),
            Fault::ResetBeforeApply,
            Fault::ResetAfterApply,
            Fault::Truncate,
            Fault::Html,
            Fault::Hang,
        ] {
            let limits = Limits::default().total(Duration::from_millis(300));
            let stage = Stage::with(route, AppSettings::default(), limits).await;
            stage.sandbox.add_fault(path, 3, fault);
            let message = stage.message("oUser", 1);
            let sending = tokio::spawn({
                let client = stage.client.clone();
                async move { client.send(&message).await }
            });
            if route == Route::InProcess {
                stage.pass(Duration::from_secs(60)).await;
            }
            while !sending.is_finished() {
                // Over sockets the keeper's pauses are virtual, and the transport's limit is real.
                stage.clock.pass(Duration::from_millis(50)).await;
            }
            if let Err(error) = sending.await.unwrap() {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                shown.push_str(&format!("{error} {error:?} {source:?}\n"));
            }
            shown.push_str(&format!("{stage:?} {:?} {:?}\n", stage.keeper.status(), stage.sandbox.journal()));
            tokens.extend(stage.keeper.current().issued().map(|issued| issued.token().expose().to_owned()));
        }
    }
    let stage = Stage::new(route).await;
    let first = stage.keeper.token().await.unwrap();
    stage.sandbox.invalidate_tokens(&app()).unwrap();
    stage.client.send(&stage.message("oUser", 1)).await.unwrap();
    let second = stage.keeper.refresh(first.generation(), Evidence::Seen).await.unwrap();
    for issued in [first, second] {
        shown.push_str(&format!(
            "{issued:?} {:?} {:?}",
            issued.token(),
            wxsub_core::store::StoredToken::from(&*issued)
        ));
        tokens.push(issued.token().expose().to_owned());
    }
}
