//! Writes and reads the rows of a database, in the same way for every ledger.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as DeError;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, ErrCode, Message, OpenId, Remedy, Scene, TemplateId};

use crate::app::{DailyQuotaPause, OperatorPause, Pauses, TokenPause};
use crate::audit::{AuditEntry, StoredAudit};
use crate::grant::{StoredGrant, Subject};
use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::{Fingerprint, IdempotencyKey, KeyScope, StoredKey};
use crate::ledger::{InboxBacklog, StoredWorker};
use crate::message::{DecisionRecord, Detail, StoredEvent, StoredMessage};
use crate::state::{
    AuditAction, AuditOutcome, Decision, EventKind, GrantState, MessageState, Mode, Priority, Reason, Stage,
    WebhookEvent,
};
use crate::webhook::{DeliveryId, EndpointStatus, StoredDelivery, StoredEndpoint};

/// One column of a row, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A text.
    Text(Cow<'a, str>),
    /// A number or a boolean.
    Integer(i64),
    /// An id or a digest.
    Bytes(&'a [u8]),
    /// Who caused an event.
    Actor(&'a str),
}

/// What is written as a row of so many columns.
pub trait ToColumns<const N: usize> {
    /// Its columns, in the order in which [`FromColumns`] reads them.
    fn to_columns(&self) -> [Value<'_>; N];
}

/// A time as it is stored.
#[must_use]
pub fn millis(at: UnixMillis) -> i64 {
    i64::try_from(at.get()).unwrap_or(i64::MAX)
}

/// The first and the last time, as they are stored, since when this delay is not over.
#[must_use]
pub fn delaying(delay: Duration, now: UnixMillis) -> [i64; 2] {
    [millis(now.before(delay)).saturating_add(1), millis(now + delay)]
}

/// A limit as a statement takes it.
#[must_use]
pub fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

macro_rules! values {
    ($($from:ty: $value:ident => $column:expr;)+) => { $(
        impl<'a> From<$from> for Value<'a> {
            fn from($value: $from) -> Self {
                $column
            }
        }
    )+ };
}

values! {
    &'a str: text => Self::Text(text.into());
    String: text => Self::Text(text.into());
    i64: number => Self::Integer(number);
    u32: number => Self::Integer(number.into());
    bool: flag => Self::Integer(flag.into());
    UnixMillis: at => Self::Integer(millis(at));
    Scene: scene => Self::Integer(scene.get().into());
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, T::into)
    }
}

/// The columns of a row, each from its value.
macro_rules! columns {
    ($($value:expr),+ $(,)?) => {
        [$(Value::from($value)),+]
    };
}

macro_rules! ids {
    ($($id:ident),+) => { $(
        impl ToColumns<1> for $id {
            fn to_columns(&self) -> [Value<'_>; 1] {
                columns![self.as_bytes()]
            }
        }
    )+ };
}

ids!(MessageId, GrantId, WorkerId);

impl ToColumns<1> for AppId {
    fn to_columns(&self) -> [Value<'_>; 1] {
        columns![self.as_str()]
    }
}

/// A nonce.
impl ToColumns<1> for [u8; 16] {
    fn to_columns(&self) -> [Value<'_>; 1] {
        columns![self]
    }
}

/// The id, and what changes of a message.
impl ToColumns<21> for StoredMessage {
    fn to_columns(&self) -> [Value<'_>; 21] {
        let Detail { stage, errcode, errmsg, rid, remedy } = &self.detail;
        let decision = self.decision.as_ref();
        columns![
            self.id.as_bytes(),
            self.state.as_str(),
            self.reason.map(Reason::as_str),
            self.attempt,
            self.failures,
            self.version,
            self.due_at,
            self.attempted_at,
            self.settled_at,
            self.worker.as_ref().map(WorkerId::as_bytes),
            stage.map(Stage::as_str),
            errcode.map(ErrCode::get),
            errmsg.as_deref(),
            rid.as_deref(),
            remedy.map(Remedy::as_str),
            decision.map(|decided| decided.decision.as_str()),
            decision.map(|decided| decided.by.as_str()),
            decision.map(|decided| decided.note.as_str()),
            decision.map(|decided| decided.at),
            decision.and_then(|decided| decided.child.as_ref()).map(MessageId::as_bytes),
            self.restored_at,
        ]
    }
}

impl StoredMessage {
    /// The columns that never change. The body, which is only deleted, is not among them.
    #[must_use]
    pub fn fixed_columns(&self) -> [Value<'_>; 12] {
        columns![
            self.appid.as_str(),
            self.mode.as_str(),
            self.touser.as_ref().map(OpenId::as_str),
            self.template_id.as_ref().map(TemplateId::as_str),
            self.scene,
            self.priority.as_str(),
            self.created_at,
            self.send_at,
            self.expires_at,
            self.idempotency_key.as_ref().map(IdempotencyKey::as_str),
            self.grant.as_ref().map(GrantId::as_bytes),
            self.parent_id.as_ref().map(MessageId::as_bytes),
        ]
    }
}

impl ToColumns<7> for StoredEvent {
    fn to_columns(&self) -> [Value<'_>; 7] {
        let actor = self.actor.as_deref().map_or(Value::Null, Value::Actor);
        let Self { message, version, at, kind, attempt, detail, .. } = self;
        columns![message.as_bytes(), *version, *at, kind.as_str(), *attempt, actor, detail.as_deref()]
    }
}

impl ToColumns<4> for Subject {
    fn to_columns(&self) -> [Value<'_>; 4] {
        columns![self.appid.as_str(), self.openid.as_str(), self.template_id.as_str(), self.scene]
    }
}

impl ToColumns<8> for StoredGrant {
    fn to_columns(&self) -> [Value<'_>; 8] {
        let [appid, openid, template_id, scene] = self.subject.to_columns();
        let (id, state) = (self.id.as_bytes(), self.state.as_str());
        columns![id, appid, openid, template_id, scene, state, self.consented_at, self.callback_expires_at]
    }
}

impl ToColumns<3> for KeyScope {
    fn to_columns(&self) -> [Value<'_>; 3] {
        columns![self.appid.as_str(), self.client.as_str(), self.key.as_str()]
    }
}

impl ToColumns<6> for StoredKey {
    fn to_columns(&self) -> [Value<'_>; 6] {
        let [appid, client, key] = self.scope.to_columns();
        columns![appid, client, key, self.fingerprint.as_bytes(), self.message.as_bytes(), self.check_at]
    }
}

/// Without its number, which the ledger gives it.
impl ToColumns<8> for StoredAudit {
    fn to_columns(&self) -> [Value<'_>; 8] {
        let AuditEntry { actor, address, action, appid, subject, detail } = &self.entry;
        columns![
            self.at,
            actor.as_str(),
            address.as_str(),
            action.as_str(),
            appid.as_ref().map(AppId::as_str),
            subject.as_str(),
            detail.as_str(),
            self.outcome.as_str(),
        ]
    }
}

impl ToColumns<3> for StoredWorker {
    fn to_columns(&self) -> [Value<'_>; 3] {
        columns![self.id.as_bytes(), self.beat_at, self.gone_at]
    }
}

impl ToColumns<6> for StoredEndpoint {
    fn to_columns(&self) -> [Value<'_>; 6] {
        let Self { name, url_sha256, with_openid, disabled_at, .. } = self;
        let (apps, events) = (self.app_names(), self.event_names());
        columns![name.as_str(), url_sha256, apps, events, *with_openid, *disabled_at]
    }
}

impl ToColumns<3> for DeliveryId {
    fn to_columns(&self) -> [Value<'_>; 3] {
        columns![self.endpoint.as_str(), self.message.as_bytes(), self.sequence]
    }
}

impl ToColumns<9> for StoredDelivery {
    fn to_columns(&self) -> [Value<'_>; 9] {
        let [endpoint, message, sequence] = self.id.to_columns();
        columns![
            endpoint,
            message,
            sequence,
            self.event.as_str(),
            self.body.as_str(),
            self.created_at,
            self.attempt,
            self.due_at,
            self.error.as_deref(),
        ]
    }
}

impl ToColumns<9> for Pauses {
    fn to_columns(&self) -> [Value<'_>; 9] {
        let (operator, daily_quota) = (self.operator.as_ref(), self.daily_quota.as_ref());
        columns![
            operator.map(|pause| pause.by.as_str()),
            operator.map(|pause| pause.note.as_str()),
            operator.map(|pause| pause.since),
            self.minute_quota_until,
            daily_quota.map(|pause| pause.until),
            daily_quota.map(|pause| pause.next_probe_at),
            daily_quota.and_then(|pause| pause.probe.as_ref()).map(MessageId::as_bytes),
            self.token.map(|pause| pause.until),
            self.token.map(|pause| pause.failures),
        ]
    }
}

/// A row, whose columns are read one after the other. A column without a value is `None`.
pub trait Columns {
    /// Why a column cannot be read.
    type Error;

    /// The next column, a text.
    ///
    /// # Errors
    /// If it has another type.
    fn text(&mut self) -> Result<Option<&str>, Self::Error>;

    /// The next column, a number or a boolean.
    ///
    /// # Errors
    /// If it has another type.
    fn integer(&mut self) -> Result<Option<i64>, Self::Error>;

    /// The next column, an id or a digest.
    ///
    /// # Errors
    /// If it has another type or length.
    fn bytes<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Self::Error>;

    /// The next column, who caused an event.
    ///
    /// # Errors
    /// If it has another type.
    fn actor(&mut self) -> Result<Option<String>, Self::Error>;

    /// The error that the column read last has this problem.
    fn unreadable(&self, problem: String) -> Self::Error;
}

/// What is read from a row. The columns are in the order in which the implementation reads them.
pub trait FromColumns: Sized {
    /// Reads it from the next columns.
    ///
    /// # Errors
    /// If a column cannot be read.
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error>;
}

/// What is read from one column.
trait Column: Sized {
    /// Reads it from the next column; `None` if that has no value.
    fn read<C: Columns>(columns: &mut C) -> Result<Option<Self>, C::Error>;
}

impl<T: Column> FromColumns for Option<T> {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        T::read(columns)
    }
}

/// Types that are read from one column, each with the function that does it.
macro_rules! one_column {
    ($($read:ident: $($of:ty),+;)+) => { $($(
        impl Column for $of {
            fn read<C: Columns>(columns: &mut C) -> Result<Option<Self>, C::Error> {
                $read(columns)
            }
        }

        impl FromColumns for $of {
            fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
                Self::read(columns)?.ok_or_else(|| columns.unreadable("is empty".to_owned()))
            }
        }
    )+)+ };
}

one_column! {
    parsed: String, AppId, OpenId, TemplateId, IdempotencyKey, MessageState, Mode, GrantState, Decision, Priority, EventKind,
        AuditAction, AuditOutcome;
    known: Reason, Stage, Remedy;
    json: Message;
    words: BTreeSet<AppId>;
    known_words: BTreeSet<WebhookEvent>;
    number: i64, u32, u64;
    flag: bool;
    time: UnixMillis;
    code: ErrCode;
    scene: Scene;
    bytes: [u8; 16], [u8; 32], MessageId, GrantId, WorkerId;
    fingerprint: Fingerprint;
}

fn text<T, C: Columns>(
    columns: &mut C,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, C::Error> {
    let value = columns.text()?.map(read).transpose();
    value.map_err(|problem| columns.unreadable(problem))
}

fn parsed<T: FromStr<Err: Display>, C: Columns>(columns: &mut C) -> Result<Option<T>, C::Error> {
    text(columns, |text| text.parse().map_err(|error: T::Err| error.to_string()))
}

/// A name. No value if only a newer version knows it: it tells people about a message, and decides nothing.
fn known<T: for<'de> Deserialize<'de>, C: Columns>(columns: &mut C) -> Result<Option<T>, C::Error> {
    let read = |text: &str| T::deserialize(IntoDeserializer::<DeError>::into_deserializer(text)).ok();
    Ok(columns.text()?.and_then(read))
}

fn json<T: for<'de> Deserialize<'de>, C: Columns>(columns: &mut C) -> Result<Option<T>, C::Error> {
    text(columns, |text| serde_json::from_str(text).map_err(|error| error.to_string()))
}

/// Names that are separated by spaces.
fn words<T: FromStr<Err: Display> + Ord, C: Columns>(
    columns: &mut C,
) -> Result<Option<BTreeSet<T>>, C::Error> {
    let word = |word: &str| word.parse().map_err(|error: T::Err| error.to_string());
    text(columns, |text| text.split_whitespace().map(word).collect())
}

/// Names that are separated by spaces, without those that only a newer version knows: nothing here causes such an event.
fn known_words<T: FromStr + Ord, C: Columns>(columns: &mut C) -> Result<Option<BTreeSet<T>>, C::Error> {
    let read = |text: &str| text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    Ok(columns.text()?.map(read))
}

fn number<T: TryFrom<i64>, C: Columns>(columns: &mut C) -> Result<Option<T>, C::Error> {
    let Some(number) = columns.integer()? else { return Ok(None) };
    T::try_from(number).map(Some).map_err(|_| columns.unreadable(format!("{number} is out of range")))
}

fn flag<C: Columns>(columns: &mut C) -> Result<Option<bool>, C::Error> {
    Ok(columns.integer()?.map(|number| number != 0))
}

fn time<C: Columns>(columns: &mut C) -> Result<Option<UnixMillis>, C::Error> {
    Ok(columns.integer()?.map(|millis| UnixMillis::new(u64::try_from(millis).unwrap_or(0))))
}

fn code<C: Columns>(columns: &mut C) -> Result<Option<ErrCode>, C::Error> {
    Ok(columns.integer()?.map(ErrCode::new))
}

fn scene<C: Columns>(columns: &mut C) -> Result<Option<Scene>, C::Error> {
    let scene = number(columns)?.map(Scene::new).transpose();
    scene.map_err(|error| columns.unreadable(error.to_string()))
}

fn bytes<const N: usize, T: From<[u8; N]>, C: Columns>(columns: &mut C) -> Result<Option<T>, C::Error> {
    Ok(columns.bytes()?.map(T::from))
}

fn fingerprint<C: Columns>(columns: &mut C) -> Result<Option<Fingerprint>, C::Error> {
    Ok(columns.bytes()?.map(Fingerprint::from_bytes))
}

/// Rows, each with its columns in their order.
macro_rules! rows {
    ($($row:ident { $($column:ident),+ $(,)? })+) => { $(
        impl FromColumns for $row {
            fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
                Ok(Self { $($column: FromColumns::from_columns(columns)?),+ })
            }
        }
    )+ };
}

rows! {
    StoredMessage {
        id, state, reason, attempt, failures, version, due_at, attempted_at, settled_at, worker, detail, decision,
        restored_at, appid, mode, touser, template_id, scene, priority, created_at, send_at, expires_at, idempotency_key,
        grant, parent_id, body,
    }
    Detail { stage, errcode, errmsg, rid, remedy }
    StoredGrant { id, subject, state, consented_at, callback_expires_at }
    Subject { appid, openid, template_id, scene }
    StoredKey { scope, fingerprint, message, check_at }
    KeyScope { appid, client, key }
    StoredAudit { seq, at, entry, outcome }
    AuditEntry { actor, address, action, appid, subject, detail }
    StoredWorker { id, beat_at, gone_at }
    StoredEndpoint { name, url_sha256, apps, events, with_openid, disabled_at }
    EndpointStatus { endpoint, due_since, pending, dead }
    InboxBacklog { has_rows, foreign_rows }
    DeliveryId { endpoint, message, sequence }
    StoredDelivery { id, event, body, created_at, attempt, due_at, error }
}

impl FromColumns for Option<DecisionRecord> {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        let (decision, by, note) = (Column::read(columns)?, String::read(columns)?, String::read(columns)?);
        let (at, child) = (UnixMillis::read(columns)?, Column::read(columns)?);
        Ok(decision.map(|decision| DecisionRecord {
            decision,
            by: by.unwrap_or_default(),
            note: note.unwrap_or_default(),
            at: at.unwrap_or_default(),
            child,
        }))
    }
}

impl FromColumns for StoredEvent {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            message: FromColumns::from_columns(columns)?,
            version: FromColumns::from_columns(columns)?,
            at: FromColumns::from_columns(columns)?,
            kind: FromColumns::from_columns(columns)?,
            attempt: FromColumns::from_columns(columns)?,
            actor: columns.actor()?,
            detail: Column::read(columns)?,
        })
    }
}

impl FromColumns for Pauses {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        let (by, note, since) = (Column::read(columns)?, String::read(columns)?, UnixMillis::read(columns)?);
        let operator = by.map(|by| OperatorPause {
            by,
            note: note.unwrap_or_default(),
            since: since.unwrap_or_default(),
        });
        let minute_quota_until = Column::read(columns)?;
        let (until, next_probe_at) = (Column::read(columns)?, UnixMillis::read(columns)?.unwrap_or_default());
        let probe = Column::read(columns)?;
        let daily_quota = until.map(|until| DailyQuotaPause { until, next_probe_at, probe });
        let (until, failures) = (Column::read(columns)?, u32::read(columns)?.unwrap_or_default());
        let token = until.map(|until| TokenPause { until, failures });
        Ok(Self { operator, minute_quota_until, daily_quota, token })
    }
}

impl<A: FromColumns, B: FromColumns> FromColumns for (A, B) {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok((A::from_columns(columns)?, B::from_columns(columns)?))
    }
}
