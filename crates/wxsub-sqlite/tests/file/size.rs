//! How much of the disk a message takes.

use std::fs;

use wxsub_core::clock::UnixMillis;
use wxsub_outbox::Ledger;
use wxsub_outbox::grant::Subject;
use wxsub_outbox::ledger::{Applied, Change, NewConsent, NewMessage};
use wxsub_outbox::message::Settlement;
use wxsub_proto::{AppId, Grant, Message};

use super::fixture::Fixture;

const MESSAGES: u64 = 1024;
const BATCH: u64 = 128;

#[tokio::test]
async fn a_sent_message_takes_less_than_a_kilobyte() {
    let fixture = Fixture::new();
    let appid: AppId = "wx0123456789abcdef".parse().unwrap();
    let ledger = fixture.open().await;
    let (worker, _) = fixture.claim(&ledger).await;
    drop(ledger);
    let before = fs::metadata(fixture.path()).unwrap().len();
    // Opened again, its worker would be gone.
    let ledger = fixture.open().await;
    ledger.commit(vec![Change::Register(worker)]).await.unwrap();
    for batch in 0..MESSAGES / BATCH {
        let mut changes = Vec::new();
        for number in batch * BATCH..(batch + 1) * BATCH {
            // As long as those of Weixin.
            let template_id = "uBGNlYZ0MBFRtcdI-9VTGL4c6gD1WHUNQSpGH_AbCdE";
            let weixin =
                Grant::assume_verified(format!("oABCDEFGHIJKLMNOPQRST{number:07}"), template_id, 7).unwrap();
            let grant = fixture.ids.grant(UnixMillis::new(1)).unwrap();
            let subject = Subject::new(appid.clone(), &weixin);
            changes.push(Change::RecordConsent(Box::new(NewConsent { grant, subject, nonce: None })));
            let body = Message::builder(weixin).title("Title").content("c".repeat(100)).build().unwrap();
            let new = NewMessage { appid: appid.clone(), body, ..fixture.new_message("o") };
            changes.push(Change::Enqueue(Box::new(new)));
        }
        ledger.commit(changes).await.unwrap();
        let limit = usize::try_from(BATCH).unwrap();
        let claim = Change::Claim { worker, appid: appid.clone(), limit };
        let claimed = ledger.commit(vec![claim]).await.unwrap().remove(0);
        let Ok(Applied::Messages(claimed)) = claimed else { panic!("{claimed:?}") };
        assert_eq!(claimed.len(), limit);
        let settle = claimed.iter().map(|message| Change::Settle {
            message: message.id,
            worker,
            attempt: message.attempt,
            settlement: Settlement::Sent,
            max_failures: 20,
        });
        ledger.commit(settle.collect()).await.unwrap();
    }
    drop(ledger);
    let bytes = (fs::metadata(fixture.path()).unwrap().len() - before) / MESSAGES;
    assert!((500..1024).contains(&bytes), "{bytes} bytes a message");
}
