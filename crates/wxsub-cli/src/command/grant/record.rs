//! `wxsub grant record`: records a consent.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;
use wxsub_api::NewGrant;
use wxsub_client::ControlServer;
use wxsub_core::ConsentVerifier;
use wxsub_core::consent::{Nonce, RejectReason, VerifiedConsent};
use wxsub_outbox::grant::{Subject, nonce_of_name};
use wxsub_outbox::id::IdGenerator;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::ledger::{Change, NewConsent};
use wxsub_outbox::view::{ConsentOutcome, ConsentView};
use wxsub_proto::{AppId, Grant, LocalizedText, OpenId, Scene, TemplateId};

use super::super::consent::{parse_callback, read_signing_key, rejected};
use crate::console;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::localized;
use crate::ledger_file::{check_name, commit, now, open_or_create};
use crate::outbox_access::{OutboxFlags, OutboxPlace, change_with_key_error, needs_ledger};
use crate::output::print;

/// Record a consent, and print the id of its grant.
///
/// With --callback, the callback is verified first: with --signing-key-file, or by the control server with its own key. Without it,
/// the caller has verified the consent.
#[derive(Debug, Args)]
pub(crate) struct Record {
    #[command(flatten)]
    outbox: OutboxFlags,
    /// OpenID of the user
    #[arg(long, value_name = "OPENID", allow_hyphen_values = true)]
    to: Option<String>,
    /// Template of the consent
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    template: Option<String>,
    /// Scene of the consent: 0 to 10000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    scene: Option<String>,
    /// Your name for this consent: recorded again under it within a year, it makes no second grant
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Callback to verify: a URL, a query string, JSON or key:value lines
    #[arg(long, value_name = "TEXT", requires = "session", conflicts_with_all = SUBJECT)]
    callback: Option<String>,
    /// Session of the user for which the consent was requested
    #[arg(long, value_name = "S", requires = "callback", conflicts_with_all = SUBJECT)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    session: Option<String>,
    /// File with the signing key of the request
    #[arg(long, value_name = "FILE", requires = "callback", conflicts_with_all = SUBJECT)]
    signing_key_file: Option<PathBuf>,
    /// File with another signing key to accept, during a rotation: first the next key, then the previous one
    #[arg(long, value_name = "FILE", requires = "callback", conflicts_with_all = SUBJECT)]
    previous_key_file: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// The flags of a consent that the caller has verified.
const SUBJECT: [&str; 4] = ["to", "template", "scene", "key"];

impl Record {
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let appid = self.outbox.appid()?;
        let view = match self.outbox.place()? {
            OutboxPlace::Ledger(path) => self.record_in_ledger(path, appid).await?,
            OutboxPlace::Server(server) => self.record_on_server(&server, &appid).await?,
        };
        let text = match view.outcome {
            ConsentOutcome::Recorded => localized!("recorded", "已登记"),
            ConsentOutcome::AlreadyRecorded => {
                localized!("recorded before; nothing new was recorded", "之前已登记；没有重复登记")
            }
            ConsentOutcome::Absorbed => {
                localized!("adds nothing: the grant is not used yet", "没有增加授权：已有的授权尚未使用")
            }
            ConsentOutcome::Declined => {
                console::note(localized!(
                    "the user cancelled; nothing was recorded",
                    "用户取消了授权；没有登记"
                ));
                return Ok(ExitStatus::Refused);
            }
        };
        Ok(print(self.json, &view, |output| {
            console::note(text);
            view.grant.iter().for_each(|grant| output.line(grant));
        }))
    }

    async fn record_in_ledger(&self, ledger: &Path, appid: AppId) -> Result<ConsentView, CliError> {
        // A consent that was declined makes no ledger.
        let Some((grant, nonce)) = self.consent(&appid)? else { return Ok(ConsentView::from(None)) };
        let id = IdGenerator::new(None).grant(now()).map_err(CliError::unexpected)?;
        let subject = Subject::new(appid, &grant);
        let consent = NewConsent { grant: id, subject: subject.clone(), nonce };
        let ledger = open_or_create(ledger).await?;
        let consent = commit(&*ledger, Change::RecordConsent(Box::new(consent))).await?;
        check_name(&*ledger, &subject, &consent, "--key").await?;
        Ok(ConsentView::from(Some(consent)))
    }

    /// Records the consent at a control server, which verifies the callback if there is one.
    async fn record_on_server(&self, server: &ControlServer, appid: &AppId) -> Result<ConsentView, CliError> {
        if self.signing_key_file.is_some() || self.previous_key_file.is_some() {
            return Err(needs_ledger("--signing-key-file, --previous-key-file"));
        }
        let (grant, key) = match (&self.callback, &self.session) {
            (Some(callback), Some(session)) => {
                let callback = Value::String(callback.clone());
                (NewGrant::Callback { callback, session: session.clone() }, None)
            }
            _ => {
                let (openid, template_id, scene) = self.subject()?;
                (NewGrant::Verified { openid, template_id, scene }, Some(self.request_key()?))
            }
        };
        let recorded = server.record_grant(appid, &grant, key.as_ref()).await;
        recorded.map_err(|error| match self.key {
            Some(_) => change_with_key_error(&error),
            None => error.into(),
        })
    }

    /// The idempotency key of the request. Without --key, each command records a consent of its own.
    fn request_key(&self) -> Result<IdempotencyKey, CliError> {
        let key = match &self.key {
            Some(key) => key.clone(),
            None => IdGenerator::new(None).grant(now()).map_err(CliError::unexpected)?.to_string(),
        };
        IdempotencyKey::new(key).map_err(|_| {
            CliError::usage(localized!(
                "--key: must have 1 to 255 visible ASCII characters; choose another key",
                "--key：必须是 1 到 255 个可见的 ASCII 字符；请换一个"
            ))
        })
    }

    /// What the user consented to; `None` if the user cancelled.
    fn consent(&self, appid: &AppId) -> Result<Option<(Grant, Option<Nonce>)>, CliError> {
        let (Some(callback), Some(session)) = (&self.callback, &self.session) else {
            return self.verified_elsewhere(appid).map(Some);
        };
        let Some(key) = &self.signing_key_file else {
            let text = localized!(
                "--signing-key-file: is missing; name the file with the key that signed the request",
                "--signing-key-file：未填写；请指定为授权请求签名的密钥文件"
            );
            return Err(CliError::usage(text));
        };
        let mut verifier = ConsentVerifier::new(appid.clone(), read_signing_key("--signing-key-file", key)?);
        if let Some(previous) = &self.previous_key_file {
            verifier = verifier.with_previous_key(read_signing_key("--previous-key-file", previous)?);
        }
        let callback = parse_callback(callback)?;
        match verifier.verify(&callback, session).map_err(|error| rejected(&explain(error.reason())))? {
            VerifiedConsent::Granted { grant, nonce } => Ok(Some((grant, Some(nonce)))),
            VerifiedConsent::Declined { .. } => Ok(None),
        }
    }

    fn verified_elsewhere(&self, appid: &AppId) -> Result<(Grant, Option<Nonce>), CliError> {
        let (openid, template, scene) = self.subject()?;
        let grant = Grant::assume_verified(openid, template, scene).map_err(CliError::unexpected)?;
        let nonce = self.key.as_ref().map(|key| nonce_of_name(appid, &format!("key:{key}"), now()));
        Ok((grant, nonce))
    }

    fn subject(&self) -> Result<(OpenId, TemplateId, Scene), CliError> {
        UsageErrors::check(|usage| {
            let openid = usage.required("--to", self.to.as_deref());
            let template = usage.required("--template", self.template.as_deref());
            let scene = usage.required("--scene", self.scene.as_deref());
            Some((openid?, template?, scene?))
        })
    }
}

/// Why a callback is rejected and what to do, for the operator.
fn explain(reason: RejectReason) -> LocalizedText<String> {
    let (en, zh) = match reason {
        RejectReason::Absent => (
            "it has no reserved value; make the request with `wxsub consent url --session`",
            "其中没有 reserved；请用 `wxsub consent url --session` 生成授权请求",
        ),
        RejectReason::UnknownKey => (
            "its request was signed with another key; give that key with --signing-key-file, or during a rotation with \
             --previous-key-file",
            "授权请求是用另一个密钥签名的；请用 --signing-key-file 指定该密钥，轮换期间用 --previous-key-file 指定",
        ),
        RejectReason::WrongMac => (
            "its request was for another session, app, template or scene, or it is forged; check --session and the AppID",
            "授权请求属于另一个会话、应用、模板或 scene，或回调是伪造的；请检查 --session 和 AppID",
        ),
        RejectReason::Expired => (
            "its request has expired after 10 minutes; ask the user again",
            "授权请求已超过 10 分钟有效期；请让用户重新授权",
        ),
        _ => (
            "its reserved value is not one that wxsub signed; record the callback as it came",
            "其中的 reserved 不是 wxsub 签名的值；请原样传入收到的回调",
        ),
    };
    LocalizedText::new(en.to_owned(), zh.to_owned())
}
