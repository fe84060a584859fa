//! Writes and reads the rows of a database, in the same way for every ledger.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as DeError;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, ErrCode, OpenId, Remedy, Scene, TemplateId};

use crate::app::{DailyQuotaPause, OperatorPause, Pauses, TokenPause};
use crate::audit::{AuditEntry, StoredAudit};
use crate::grant::{StoredGrant, Subject};
use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::{Fingerprint, IdempotencyKey, KeyScope, StoredKey};
use crate::ledger::{InboxBacklog, StoredWorker};
use crate::message::{DecisionRecord, Detail, StoredEvent, StoredMessage};
use crate::state::{Reason, Stage};
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

        impl FromColumns for $id {
            fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
                columns.required_bytes().map(Self::from_bytes)
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
    /// The columns that never change. The body, which only goes, is not among them.
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

/// The types of columns.
trait Values: Columns {
    fn required<T>(&self, value: Option<T>) -> Result<T, Self::Error> {
        value.ok_or_else(|| self.unreadable("is empty".to_owned()))
    }

    fn read_text<T>(
        &mut self,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Self::Error> {
        let value = self.text()?.map(read).transpose();
        value.map_err(|problem| self.unreadable(problem))
    }

    fn parse_optional<T: FromStr<Err: Display>>(&mut self) -> Result<Option<T>, Self::Error> {
        self.read_text(|text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    fn parse<T: FromStr<Err: Display>>(&mut self) -> Result<T, Self::Error> {
        let value = self.parse_optional()?;
        self.required(value)
    }

    /// A name that only serde can read.
    fn named<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, Self::Error> {
        self.read_text(|text| {
            T::deserialize(text.into_deserializer()).map_err(|error: DeError| error.to_string())
        })
    }

    /// Names that are separated by spaces.
    fn words<T: FromStr<Err: Display> + Ord>(&mut self) -> Result<Option<BTreeSet<T>>, Self::Error> {
        let word = |word: &str| word.parse().map_err(|error: T::Err| error.to_string());
        self.read_text(|text| text.split_whitespace().map(word).collect())
    }

    fn optional_number<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, Self::Error> {
        let Some(number) = self.integer()? else { return Ok(None) };
        let converted = T::try_from(number).map_err(|_| self.unreadable(format!("{number} is out of range")));
        converted.map(Some)
    }

    fn number<T: TryFrom<i64>>(&mut self) -> Result<T, Self::Error> {
        let number = self.optional_number()?;
        self.required(number)
    }

    fn optional_time(&mut self) -> Result<Option<UnixMillis>, Self::Error> {
        Ok(self.integer()?.map(|millis| UnixMillis::new(u64::try_from(millis).unwrap_or(0))))
    }

    fn time(&mut self) -> Result<UnixMillis, Self::Error> {
        let time = self.optional_time()?;
        self.required(time)
    }

    fn optional_scene(&mut self) -> Result<Option<Scene>, Self::Error> {
        let Some(number) = self.optional_number::<u16>()? else { return Ok(None) };
        Scene::new(number).map(Some).map_err(|error| self.unreadable(error.to_string()))
    }

    fn required_bytes<const N: usize>(&mut self) -> Result<[u8; N], Self::Error> {
        let bytes = self.bytes()?;
        self.required(bytes)
    }
}

impl<C: Columns> Values for C {}

impl FromColumns for StoredMessage {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            id: MessageId::from_columns(columns)?,
            state: columns.parse()?,
            reason: columns.parse_optional()?,
            attempt: columns.number()?,
            failures: columns.number()?,
            version: columns.number()?,
            due_at: columns.time()?,
            attempted_at: columns.optional_time()?,
            settled_at: columns.optional_time()?,
            worker: columns.bytes()?.map(WorkerId::from_bytes),
            detail: Detail {
                stage: columns.parse_optional()?,
                errcode: columns.integer()?.map(ErrCode::new),
                errmsg: columns.parse_optional()?,
                rid: columns.parse_optional()?,
                remedy: columns.named()?,
            },
            decision: decision(columns)?,
            restored_at: columns.optional_time()?,
            appid: columns.parse()?,
            mode: columns.parse()?,
            touser: columns.parse_optional()?,
            template_id: columns.parse_optional()?,
            scene: columns.optional_scene()?,
            priority: columns.parse()?,
            created_at: columns.time()?,
            send_at: columns.time()?,
            expires_at: columns.time()?,
            idempotency_key: columns.parse_optional()?,
            grant: columns.bytes()?.map(GrantId::from_bytes),
            parent_id: columns.bytes()?.map(MessageId::from_bytes),
            body: columns.read_text(|text| serde_json::from_str(text).map_err(|error| error.to_string()))?,
        })
    }
}

fn decision<C: Columns>(columns: &mut C) -> Result<Option<DecisionRecord>, C::Error> {
    let decision = columns.parse_optional()?;
    let (by, note) = (columns.parse_optional()?, columns.parse_optional()?);
    let (at, child) = (columns.optional_time()?, columns.bytes()?.map(MessageId::from_bytes));
    Ok(decision.map(|decision| DecisionRecord {
        decision,
        by: by.unwrap_or_default(),
        note: note.unwrap_or_default(),
        at: at.unwrap_or_default(),
        child,
    }))
}

impl FromColumns for StoredEvent {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            message: MessageId::from_columns(columns)?,
            version: columns.number()?,
            at: columns.time()?,
            kind: columns.parse()?,
            attempt: columns.number()?,
            actor: columns.actor()?,
            detail: columns.parse_optional()?,
        })
    }
}

impl FromColumns for StoredGrant {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            id: GrantId::from_columns(columns)?,
            subject: Subject {
                appid: columns.parse()?,
                openid: columns.parse()?,
                template_id: columns.parse()?,
                scene: {
                    let scene = columns.optional_scene()?;
                    columns.required(scene)?
                },
            },
            state: columns.parse()?,
            consented_at: columns.time()?,
            callback_expires_at: columns.time()?,
        })
    }
}

impl FromColumns for StoredKey {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            scope: KeyScope { appid: columns.parse()?, client: columns.parse()?, key: columns.parse()? },
            fingerprint: Fingerprint::from_bytes(columns.required_bytes()?),
            message: MessageId::from_columns(columns)?,
            check_at: columns.time()?,
        })
    }
}

impl FromColumns for StoredAudit {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            seq: columns.number()?,
            at: columns.time()?,
            entry: AuditEntry {
                actor: columns.parse()?,
                address: columns.parse()?,
                action: columns.parse()?,
                appid: columns.text()?.and_then(|appid| appid.parse().ok()),
                subject: columns.parse()?,
                detail: columns.parse()?,
            },
            outcome: columns.parse()?,
        })
    }
}

impl FromColumns for StoredWorker {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            id: WorkerId::from_columns(columns)?,
            beat_at: columns.time()?,
            gone_at: columns.optional_time()?,
        })
    }
}

impl FromColumns for StoredEndpoint {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            name: columns.parse()?,
            url_sha256: columns.required_bytes()?,
            apps: columns.words()?,
            events: columns.words()?.unwrap_or_default(),
            with_openid: columns.number::<i64>()? != 0,
            disabled_at: columns.optional_time()?,
        })
    }
}

impl FromColumns for EndpointStatus {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            endpoint: StoredEndpoint::from_columns(columns)?,
            due_since: columns.optional_time()?,
            pending: columns.number()?,
            dead: columns.number()?,
        })
    }
}

impl FromColumns for InboxBacklog {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self { has_rows: columns.number::<i64>()? != 0, foreign_rows: columns.number()? })
    }
}

impl FromColumns for DeliveryId {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            endpoint: columns.parse()?,
            message: MessageId::from_columns(columns)?,
            sequence: columns.number()?,
        })
    }
}

impl FromColumns for StoredDelivery {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok(Self {
            id: DeliveryId::from_columns(columns)?,
            event: columns.parse()?,
            body: columns.parse()?,
            created_at: columns.time()?,
            attempt: columns.number()?,
            due_at: columns.optional_time()?,
            error: columns.parse_optional()?,
        })
    }
}

impl FromColumns for Pauses {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        let (by, note) = (columns.parse_optional()?, columns.parse_optional()?);
        let since = columns.optional_time()?;
        let minute_quota_until = columns.optional_time()?;
        let (until, next_probe_at) = (columns.optional_time()?, columns.optional_time()?);
        let probe = columns.bytes()?.map(MessageId::from_bytes);
        let (token_until, failures) = (columns.optional_time()?, columns.optional_number()?);
        Ok(Self {
            operator: by.map(|by| OperatorPause {
                by,
                note: note.unwrap_or_default(),
                since: since.unwrap_or_default(),
            }),
            minute_quota_until,
            daily_quota: until.map(|until| DailyQuotaPause {
                until,
                next_probe_at: next_probe_at.unwrap_or_default(),
                probe,
            }),
            token: token_until.map(|until| TokenPause { until, failures: failures.unwrap_or_default() }),
        })
    }
}

impl FromColumns for AppId {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        columns.parse()
    }
}

impl FromColumns for String {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        columns.parse()
    }
}

/// A nonce.
impl FromColumns for [u8; 16] {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        columns.required_bytes()
    }
}

impl FromColumns for Option<UnixMillis> {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        columns.optional_time()
    }
}

impl<A: FromColumns, B: FromColumns> FromColumns for (A, B) {
    fn from_columns<C: Columns>(columns: &mut C) -> Result<Self, C::Error> {
        Ok((A::from_columns(columns)?, B::from_columns(columns)?))
    }
}
