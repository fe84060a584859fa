//! What is known of a message that may have been sent, and what each decision leads to, for the person who decides.

use wxsub_proto::LocalizedText;

use crate::state::{Decision, GrantState, Reason};
use crate::view::{GrantView, MessageView};

/// A message with the grants that a decision about it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// The message.
    pub message: MessageView,
    /// The grant that it uses.
    pub grant: Option<GrantView>,
    /// A later grant of the same user, template and scene: recorded after that of the message; after the message, if it has none.
    pub newer_grant: Option<GrantView>,
}

impl Evidence {
    /// The evidence about this message, with the grants of its user in the order of their recording.
    #[must_use]
    pub fn new(message: MessageView, mut grants: Vec<GrantView>) -> Self {
        grants.retain(|grant| {
            Some(&grant.template_id) == message.template_id.as_ref() && Some(grant.scene) == message.scene
        });
        let newest = grants.pop();
        let is_own = |grant: &GrantView| Some(grant.id) == message.grant;
        let (grant, newer_grant) = match newest {
            Some(newest) if is_own(&newest) => (Some(newest), None),
            newest => match grants.into_iter().find(is_own) {
                Some(own) => (Some(own), newest),
                None => (None, newest.filter(|newest| newest.consented_at > message.created_at)),
            },
        };
        Self { message, grant, newer_grant }
    }

    /// How the message became one that may have been sent. `None` if it is no such message.
    #[must_use]
    pub fn cause(&self) -> Option<LocalizedText> {
        Some(match self.message.reason? {
            Reason::WorkerLost => LocalizedText::new(
                "the process that was sending it ended before it recorded a response",
                "发送它的进程在记下响应之前就结束了",
            ),
            Reason::ResponseLost => LocalizedText::new(
                "it was posted, and the response is lost",
                "请求已发出，但没有收到微信的响应",
            ),
            Reason::Restored => LocalizedText::new(
                "a backup was restored in which it was not final; what happened since is unknown",
                "它来自恢复的备份，备份时尚未结束；备份之后是否发送过未知",
            ),
            _ => return None,
        })
    }

    /// What this decision does.
    #[must_use]
    pub fn consequence(&self, decision: Decision) -> LocalizedText {
        let newer_open = self.newer_grant.as_ref().is_some_and(|newer| newer.state == GrantState::Open);
        match (decision, self.grant.is_some()) {
            (Decision::AssumeSent, true) => LocalizedText::new(
                "it counts as sent and is not sent again; its grant is used",
                "视为已发出，不再发送；授权记为已使用",
            ),
            (Decision::AssumeSent, false) => {
                LocalizedText::new("it counts as sent and is not sent again", "视为已发出，不再发送")
            }
            (Decision::GiveUp, true) => LocalizedText::new(
                "it is not sent again, whether it arrived or not; its grant is void",
                "无论是否送达，都不再发送；授权作废",
            ),
            (Decision::GiveUp, false) => LocalizedText::new(
                "it is not sent again, whether it arrived or not",
                "无论是否送达，都不再发送",
            ),
            (Decision::SendAgain, _) if newer_open => LocalizedText::new(
                "a new message is queued in its place, with the newer consent; if the first one arrived, the user gets two \
                 messages",
                "加入一条新消息代替它，使用更新的授权；如果第一条已送达，用户会收到两条",
            ),
            (Decision::SendAgain, true) => LocalizedText::new(
                "a new message is queued in its place, with the same consent; if the first one arrived, Weixin refuses it \
                 (43101), or the user gets two messages",
                "加入一条新消息代替它，使用同一授权；如果第一条已送达，微信会以 43101 拒绝第二条，或者用户收到两条",
            ),
            (Decision::SendAgain, false) => LocalizedText::new(
                "a new message is queued in its place; if the first one arrived, the user gets two messages",
                "加入一条新消息代替它；如果第一条已送达，用户会收到两条",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The time and the ids count up.
    fn grant(number: u8) -> GrantView {
        let id = format!("0190c2a0-0000-7000-8000-00000000000{number}");
        let consented_at = format!("2026-05-0{number}T00:00:00Z");
        let grant = json!({"id": id, "appid": "wx1", "openid": "o", "template_id": "T", "scene": "7", "state": "open",
            "consented_at": consented_at});
        serde_json::from_value(grant).unwrap()
    }

    /// Recorded between the second and the third.
    fn message(grant: Option<&GrantView>) -> MessageView {
        let at = "2026-05-02T12:00:00Z";
        let message = json!({"id": "0190c2a0-0000-7000-8000-00000000000f", "appid": "wx1", "state": "maybe_sent",
            "template_id": "T", "scene": "7", "attempt": 1, "failures": 0, "version": 3, "created_at": at, "send_at": at,
            "expires_at": at, "grant": grant.map(|grant| grant.id)});
        serde_json::from_value(message).unwrap()
    }

    #[test]
    fn newer_consent_is_after_that_of_the_message_or_after_the_message() {
        let all = [1, 2, 3].map(grant);
        let newer = |own: Option<usize>, count: usize| {
            let message = message(own.map(|own| &all[own]));
            let evidence = Evidence::new(message, all[..count].to_vec());
            assert_eq!(evidence.grant.as_ref(), own.map(|own| &all[own]));
            evidence.newer_grant.map(|newer| newer.id)
        };
        assert_eq!([newer(None, 0), newer(None, 1), newer(None, 2)], [None; 3]);
        assert_eq!(newer(None, 3), Some(all[2].id));
        assert_eq!([newer(Some(0), 1), newer(Some(1), 2), newer(Some(2), 3)], [None; 3]);
        assert_eq!(newer(Some(0), 2), Some(all[1].id));
    }

    #[test]
    fn grants_of_other_scenes_are_no_evidence() {
        let other = GrantView { scene: "8".parse().unwrap(), ..grant(3) };
        let evidence = Evidence::new(message(None), vec![other]);
        assert_eq!((evidence.grant, evidence.newer_grant), (None, None));
    }
}
