//! Rows as columns, in the order of the statements: what is written, and what is read back.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use rusqlite::types::{Type, Value};
use rusqlite::{Result, Row};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as DeError;
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::app::{DailyQuotaPause, OperatorPause, Pauses, TokenPause};
use wxsub_outbox::grant::{StoredGrant, Subject};
use wxsub_outbox::id::{GrantId, MessageId, WorkerId};
use wxsub_outbox::idempotency::{Fingerprint, KeyScope, StoredKey};
use wxsub_outbox::ledger::StoredWorker;
use wxsub_outbox::message::{DecisionRecord, Detail, StoredEvent, StoredMessage};
use wxsub_proto::{ErrCode, Scene};

/// A time as it is stored.
pub(crate) fn millis(at: UnixMillis) -> i64 {
    i64::try_from(at.get()).unwrap_or(i64::MAX)
}

fn text(text: impl fmt::Display) -> Value {
    Value::Text(text.to_string())
}

fn optional<T>(value: Option<T>, write: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Null, write)
}

fn time(at: UnixMillis) -> Value {
    Value::Integer(millis(at))
}

fn blob(bytes: &[u8]) -> Value {
    Value::Blob(bytes.to_vec())
}

/// What a message is written as, without its body: one value for each column of the statements.
pub(crate) fn message_values(message: &StoredMessage) -> [Value; 33] {
    let Detail { stage, errcode, errmsg, rid, remedy } = &message.detail;
    let decision = message.decision.as_ref();
    [
        blob(message.id.as_bytes()),
        text(&message.appid),
        text(message.mode),
        optional(message.touser.as_ref(), text),
        optional(message.template_id.as_ref(), text),
        optional(message.scene, |scene| Value::Integer(scene.get().into())),
        text(message.priority),
        time(message.created_at),
        time(message.send_at),
        time(message.expires_at),
        optional(message.idempotency_key.as_ref(), text),
        optional(message.grant.as_ref(), |id| blob(id.as_bytes())),
        optional(message.parent_id.as_ref(), |id| blob(id.as_bytes())),
        text(message.state),
        optional(message.reason, text),
        Value::Integer(message.attempt.into()),
        Value::Integer(message.failures.into()),
        Value::Integer(message.version.into()),
        time(message.due_at),
        optional(message.attempted_at, time),
        optional(message.settled_at, time),
        optional(message.worker.as_ref(), |id| blob(id.as_bytes())),
        optional(*stage, text),
        optional(*errcode, |code| Value::Integer(code.get())),
        optional(errmsg.as_ref(), text),
        optional(rid.as_ref(), text),
        optional(*remedy, text),
        optional(decision, |decided| text(decided.decision)),
        optional(decision, |decided| text(&decided.by)),
        optional(decision, |decided| text(&decided.note)),
        optional(decision, |decided| time(decided.at)),
        optional(decision.and_then(|decided| decided.child.as_ref()), |id| blob(id.as_bytes())),
        optional(message.restored_at, time),
    ]
}

/// What the pauses of an app are written as.
pub(crate) fn pauses_values(pauses: &Pauses) -> [Value; 9] {
    let Pauses { operator, minute_quota_until, daily_quota, token } = pauses;
    [
        optional(operator.as_ref(), |pause| text(&pause.by)),
        optional(operator.as_ref(), |pause| text(&pause.note)),
        optional(operator.as_ref(), |pause| time(pause.since)),
        optional(*minute_quota_until, time),
        optional(*daily_quota, |pause| time(pause.until)),
        optional(*daily_quota, |pause| time(pause.next_probe_at)),
        optional(daily_quota.and_then(|pause| pause.probe), |id| blob(id.as_bytes())),
        optional(*token, |pause| time(pause.until)),
        optional(*token, |pause| Value::Integer(pause.failures.into())),
    ]
}

/// A row whose columns are read one after the other.
struct Columns<'a, 'row> {
    row: &'a Row<'row>,
    next: usize,
}

impl<'a, 'row> Columns<'a, 'row> {
    fn new(row: &'a Row<'row>) -> Self {
        Self { row, next: 0 }
    }

    fn get<T: rusqlite::types::FromSql>(&mut self) -> Result<T> {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }

    fn unreadable(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(self.next.saturating_sub(1), Type::Text, error.into())
    }

    fn parse<T: FromStr<Err: Error + Send + Sync + 'static>>(&mut self) -> Result<T> {
        let text: String = self.get()?;
        text.parse().map_err(|error: T::Err| self.unreadable(error))
    }

    fn parse_optional<T: FromStr<Err: Error + Send + Sync + 'static>>(&mut self) -> Result<Option<T>> {
        let text: Option<String> = self.get()?;
        text.map(|text| text.parse().map_err(|error: T::Err| self.unreadable(error))).transpose()
    }

    /// A name that only serde can read.
    fn named<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>> {
        let text: Option<String> = self.get()?;
        let read = |text: String| {
            T::deserialize(text.into_deserializer()).map_err(|error: DeError| self.unreadable(error))
        };
        text.map(read).transpose()
    }

    fn time(&mut self) -> Result<UnixMillis> {
        self.get().map(|millis: i64| UnixMillis::new(u64::try_from(millis).unwrap_or(0)))
    }

    fn optional_time(&mut self) -> Result<Option<UnixMillis>> {
        let millis: Option<i64> = self.get()?;
        Ok(millis.map(|millis| UnixMillis::new(u64::try_from(millis).unwrap_or(0))))
    }

    fn optional_scene(&mut self) -> Result<Option<Scene>> {
        let number: Option<u16> = self.get()?;
        number.map(|number| Scene::new(number).map_err(|error| self.unreadable(error))).transpose()
    }

    fn scene(&mut self) -> Result<Scene> {
        let number = self.get()?;
        Scene::new(number).map_err(|error| self.unreadable(error))
    }
}

pub(crate) fn read_message(row: &Row<'_>) -> Result<StoredMessage> {
    let mut columns = Columns::new(row);
    let columns = &mut columns;
    Ok(StoredMessage {
        id: MessageId::from_bytes(columns.get()?),
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
        grant: columns.get::<Option<_>>()?.map(GrantId::from_bytes),
        parent_id: columns.get::<Option<_>>()?.map(MessageId::from_bytes),
        state: columns.parse()?,
        reason: columns.parse_optional()?,
        attempt: columns.get()?,
        failures: columns.get()?,
        version: columns.get()?,
        due_at: columns.time()?,
        attempted_at: columns.optional_time()?,
        settled_at: columns.optional_time()?,
        worker: columns.get::<Option<_>>()?.map(WorkerId::from_bytes),
        detail: Detail {
            stage: columns.parse_optional()?,
            errcode: columns.get::<Option<_>>()?.map(ErrCode::new),
            errmsg: columns.get()?,
            rid: columns.get()?,
            remedy: columns.named()?,
        },
        decision: read_decision(columns)?,
        restored_at: columns.optional_time()?,
        body: read_body(columns)?,
    })
}

fn read_body(columns: &mut Columns<'_, '_>) -> Result<Option<wxsub_proto::Message>> {
    let body: Option<String> = columns.get()?;
    let read = |body: String| serde_json::from_str(&body).map_err(|error| columns.unreadable(error));
    body.map(read).transpose()
}

fn read_decision(columns: &mut Columns<'_, '_>) -> Result<Option<DecisionRecord>> {
    let decision = columns.parse_optional()?;
    let (by, note): (Option<String>, Option<String>) = (columns.get()?, columns.get()?);
    let at = columns.optional_time()?;
    let child = columns.get::<Option<_>>()?.map(MessageId::from_bytes);
    Ok(decision.map(|decision| DecisionRecord {
        decision,
        by: by.unwrap_or_default(),
        note: note.unwrap_or_default(),
        at: at.unwrap_or_default(),
        child,
    }))
}

pub(crate) fn read_grant(row: &Row<'_>) -> Result<StoredGrant> {
    let mut columns = Columns::new(row);
    Ok(StoredGrant {
        id: GrantId::from_bytes(columns.get()?),
        subject: Subject {
            appid: columns.parse()?,
            openid: columns.parse()?,
            template_id: columns.parse()?,
            scene: columns.scene()?,
        },
        state: columns.parse()?,
        consented_at: columns.time()?,
        callback_expires_at: columns.time()?,
    })
}

pub(crate) fn read_event(row: &Row<'_>) -> Result<StoredEvent> {
    let mut columns = Columns::new(row);
    Ok(StoredEvent {
        message: MessageId::from_bytes(columns.get()?),
        version: columns.get()?,
        at: columns.time()?,
        kind: columns.parse()?,
        attempt: columns.get()?,
        actor: columns.get()?,
        detail: columns.get()?,
    })
}

pub(crate) fn read_key(row: &Row<'_>) -> Result<StoredKey> {
    let mut columns = Columns::new(row);
    Ok(StoredKey {
        scope: KeyScope { appid: columns.parse()?, client: columns.get()?, key: columns.parse()? },
        fingerprint: Fingerprint::from_bytes(columns.get()?),
        message: MessageId::from_bytes(columns.get()?),
        check_at: columns.time()?,
    })
}

pub(crate) fn read_worker(row: &Row<'_>) -> Result<StoredWorker> {
    let mut columns = Columns::new(row);
    Ok(StoredWorker {
        id: WorkerId::from_bytes(columns.get()?),
        beat_at: columns.time()?,
        gone_at: columns.optional_time()?,
    })
}

pub(crate) fn read_pauses(row: &Row<'_>) -> Result<Pauses> {
    let mut columns = Columns::new(row);
    let (by, note): (Option<String>, Option<String>) = (columns.get()?, columns.get()?);
    let since = columns.optional_time()?;
    let minute_quota_until = columns.optional_time()?;
    let (until, next_probe_at) = (columns.optional_time()?, columns.optional_time()?);
    let probe = columns.get::<Option<_>>()?.map(MessageId::from_bytes);
    let (token_until, failures): (_, Option<u32>) = (columns.optional_time()?, columns.get()?);
    Ok(Pauses {
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
