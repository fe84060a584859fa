//! Rows as columns, in the order of the statements: what is written, and what is read back.

use std::collections::BTreeSet;
use std::error::Error;
use std::str::FromStr;

use rusqlite::types::{FromSql, ToSqlOutput, Type, Value, ValueRef};
use rusqlite::{Result, Row};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as DeError;
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::app::{DailyQuotaPause, OperatorPause, Pauses, TokenPause};
use wxsub_outbox::audit::{AuditEntry, StoredAudit};
use wxsub_outbox::grant::{StoredGrant, Subject};
use wxsub_outbox::id::{GrantId, MessageId, WorkerId};
use wxsub_outbox::idempotency::{Fingerprint, KeyScope, StoredKey};
use wxsub_outbox::ledger::StoredWorker;
use wxsub_outbox::message::{DecisionRecord, Detail, StoredEvent, StoredMessage};
use wxsub_outbox::webhook::{DeliveryId, EndpointStatus, StoredDelivery, StoredEndpoint};
use wxsub_proto::{AppId, ErrCode, Scene};

/// A time as it is stored.
pub(crate) fn millis(at: UnixMillis) -> i64 {
    i64::try_from(at.get()).unwrap_or(i64::MAX)
}

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

fn optional<'a, T>(value: Option<T>, write: impl FnOnce(T) -> ToSqlOutput<'a>) -> ToSqlOutput<'a> {
    value.map_or(ToSqlOutput::Borrowed(ValueRef::Null), write)
}

fn integer<'a>(number: impl Into<i64>) -> ToSqlOutput<'a> {
    ToSqlOutput::Borrowed(ValueRef::Integer(number.into()))
}

fn time<'a>(at: UnixMillis) -> ToSqlOutput<'a> {
    integer(millis(at))
}

fn blob(bytes: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Blob(bytes))
}

/// What changes of a message, without its body, and its id.
pub(crate) fn message_values(message: &StoredMessage) -> [ToSqlOutput<'_>; 21] {
    let Detail { stage, errcode, errmsg, rid, remedy } = &message.detail;
    let decision = message.decision.as_ref();
    [
        blob(message.id.as_bytes()),
        text(message.state.as_str()),
        optional(message.reason, |reason| text(reason.as_str())),
        integer(message.attempt),
        integer(message.failures),
        integer(message.version),
        time(message.due_at),
        optional(message.attempted_at, time),
        optional(message.settled_at, time),
        optional(message.worker.as_ref(), |id| blob(id.as_bytes())),
        optional(*stage, |stage| text(stage.as_str())),
        optional(*errcode, |code| integer(code.get())),
        optional(errmsg.as_deref(), text),
        optional(rid.as_deref(), text),
        optional(*remedy, |remedy| text(remedy.as_str())),
        optional(decision, |decided| text(decided.decision.as_str())),
        optional(decision, |decided| text(&decided.by)),
        optional(decision, |decided| text(&decided.note)),
        optional(decision, |decided| time(decided.at)),
        optional(decision.and_then(|decided| decided.child.as_ref()), |id| blob(id.as_bytes())),
        optional(message.restored_at, time),
    ]
}

/// What never changes of a message.
pub(crate) fn fixed_values(message: &StoredMessage) -> [ToSqlOutput<'_>; 12] {
    [
        text(message.appid.as_str()),
        text(message.mode.as_str()),
        optional(message.touser.as_ref(), |touser| text(touser.as_str())),
        optional(message.template_id.as_ref(), |id| text(id.as_str())),
        optional(message.scene, |scene| integer(scene.get())),
        text(message.priority.as_str()),
        time(message.created_at),
        time(message.send_at),
        time(message.expires_at),
        optional(message.idempotency_key.as_ref(), |key| text(key.as_str())),
        optional(message.grant.as_ref(), |id| blob(id.as_bytes())),
        optional(message.parent_id.as_ref(), |id| blob(id.as_bytes())),
    ]
}

/// A worker is written as its bytes: most events have one.
fn actor(actor: &str) -> ToSqlOutput<'_> {
    match actor.parse::<WorkerId>() {
        Ok(worker) if worker.to_string() == actor => {
            ToSqlOutput::Owned(Value::Blob(worker.as_bytes().to_vec()))
        }
        _ => text(actor),
    }
}

/// What an event is written as.
pub(crate) fn event_values(event: &StoredEvent) -> [ToSqlOutput<'_>; 7] {
    [
        blob(event.message.as_bytes()),
        integer(event.version),
        time(event.at),
        text(event.kind.as_str()),
        integer(event.attempt),
        optional(event.actor.as_deref(), actor),
        optional(event.detail.as_deref(), text),
    ]
}

/// What an endpoint is written as, without the texts of its apps and events.
pub(crate) fn endpoint_values<'a>(
    endpoint: &'a StoredEndpoint,
    apps: Option<&'a str>,
    events: &'a str,
) -> [ToSqlOutput<'a>; 6] {
    [
        text(&endpoint.name),
        blob(&endpoint.url_sha256),
        optional(apps, text),
        text(events),
        integer(endpoint.with_openid),
        optional(endpoint.disabled_at, time),
    ]
}

/// What a delivery is written as.
pub(crate) fn delivery_values(delivery: &StoredDelivery) -> [ToSqlOutput<'_>; 9] {
    [
        text(&delivery.id.endpoint),
        blob(delivery.id.message.as_bytes()),
        integer(delivery.id.sequence),
        text(delivery.event.as_str()),
        text(&delivery.body),
        time(delivery.created_at),
        integer(delivery.attempt),
        optional(delivery.due_at, time),
        optional(delivery.error.as_deref(), text),
    ]
}

/// What the pauses of an app are written as.
pub(crate) fn pauses_values(pauses: &Pauses) -> [ToSqlOutput<'_>; 9] {
    let Pauses { operator, minute_quota_until, daily_quota, token } = pauses;
    let daily_quota = daily_quota.as_ref();
    [
        optional(operator.as_ref(), |pause| text(&pause.by)),
        optional(operator.as_ref(), |pause| text(&pause.note)),
        optional(operator.as_ref(), |pause| time(pause.since)),
        optional(*minute_quota_until, time),
        optional(daily_quota, |pause| time(pause.until)),
        optional(daily_quota, |pause| time(pause.next_probe_at)),
        optional(daily_quota.and_then(|pause| pause.probe.as_ref()), |id| blob(id.as_bytes())),
        optional(*token, |pause| time(pause.until)),
        optional(*token, |pause| integer(pause.failures)),
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

    fn get<T: FromSql>(&mut self) -> Result<T> {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }

    fn unreadable(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(self.next.saturating_sub(1), Type::Text, error.into())
    }

    /// Without a copy of the text.
    fn text(&mut self) -> Result<Option<&'a str>> {
        let value = self.row.get_ref(self.next)?;
        self.next += 1;
        Ok(value.as_str_or_null()?)
    }

    fn parse<T: FromStr<Err: Error + Send + Sync + 'static>>(&mut self) -> Result<T> {
        let value = self.row.get_ref(self.next)?;
        self.next += 1;
        value.as_str()?.parse().map_err(|error: T::Err| self.unreadable(error))
    }

    fn parse_optional<T: FromStr<Err: Error + Send + Sync + 'static>>(&mut self) -> Result<Option<T>> {
        self.text()?.map(|text| text.parse().map_err(|error: T::Err| self.unreadable(error))).transpose()
    }

    /// A name that only serde can read.
    fn named<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>> {
        let text: Option<String> = self.get()?;
        let read = |text: String| {
            T::deserialize(text.into_deserializer()).map_err(|error: DeError| self.unreadable(error))
        };
        text.map(read).transpose()
    }

    fn actor(&mut self) -> Result<Option<String>> {
        Ok(match self.get()? {
            Value::Null => None,
            Value::Blob(bytes) => {
                let worker = bytes.try_into().map_err(|_| self.unreadable("a worker's id has 16 bytes"))?;
                Some(WorkerId::from_bytes(worker).to_string())
            }
            name => Some(FromSql::column_result((&name).into())?),
        })
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

    /// Names that are separated by spaces.
    fn words<T: FromStr + Ord>(&mut self) -> Result<Option<BTreeSet<T>>>
    where
        T::Err: Error + Send + Sync + 'static,
    {
        let Some(text) = self.text()? else { return Ok(None) };
        let words = text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>();
        words.map(Some).map_err(|error| self.unreadable(error))
    }

    fn scene(&mut self) -> Result<Scene> {
        let number = self.get()?;
        Scene::new(number).map_err(|error| self.unreadable(error))
    }
}

pub(crate) fn read_message(row: &Row<'_>) -> Result<StoredMessage> {
    let mut columns = Columns::new(row);
    let columns = &mut columns;
    // In the order of the columns.
    Ok(StoredMessage {
        id: MessageId::from_bytes(columns.get()?),
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
        body: read_body(columns)?,
    })
}

fn read_body(columns: &mut Columns<'_, '_>) -> Result<Option<wxsub_proto::Message>> {
    let body = columns.text()?;
    body.map(|body| serde_json::from_str(body).map_err(|error| columns.unreadable(error))).transpose()
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
        actor: columns.actor()?,
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

pub(crate) fn read_audit(row: &Row<'_>) -> Result<StoredAudit> {
    let mut columns = Columns::new(row);
    let (seq, at) = (columns.get::<i64>()?, columns.time()?);
    Ok(StoredAudit {
        seq: u64::try_from(seq).unwrap_or(0),
        at,
        entry: AuditEntry {
            actor: columns.get()?,
            address: columns.get()?,
            action: columns.parse()?,
            appid: columns.get::<Option<String>>()?.and_then(|appid| appid.parse().ok()),
            subject: columns.get()?,
            detail: columns.get()?,
        },
        outcome: columns.parse()?,
    })
}

pub(crate) fn read_endpoint(row: &Row<'_>) -> Result<StoredEndpoint> {
    let mut columns = Columns::new(row);
    Ok(StoredEndpoint {
        name: columns.get()?,
        url_sha256: columns.get()?,
        apps: columns.words()?,
        events: columns.words()?.unwrap_or_default(),
        with_openid: columns.get()?,
        disabled_at: columns.optional_time()?,
    })
}

pub(crate) fn read_endpoint_status(row: &Row<'_>) -> Result<EndpointStatus> {
    let endpoint = read_endpoint(row)?;
    Ok(EndpointStatus { endpoint, is_due: row.get(6)?, pending: row.get(7)?, dead: row.get(8)? })
}

pub(crate) fn read_delivery_id(row: &Row<'_>) -> Result<DeliveryId> {
    let mut columns = Columns::new(row);
    delivery_id(&mut columns)
}

fn delivery_id(columns: &mut Columns<'_, '_>) -> Result<DeliveryId> {
    Ok(DeliveryId {
        endpoint: columns.get()?,
        message: MessageId::from_bytes(columns.get()?),
        sequence: columns.get()?,
    })
}

pub(crate) fn read_delivery(row: &Row<'_>) -> Result<StoredDelivery> {
    let mut columns = Columns::new(row);
    Ok(StoredDelivery {
        id: delivery_id(&mut columns)?,
        event: columns.parse()?,
        body: columns.get()?,
        created_at: columns.time()?,
        attempt: columns.get()?,
        due_at: columns.optional_time()?,
        error: columns.get()?,
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

pub(crate) fn read_appid(row: &Row<'_>) -> Result<AppId> {
    Columns::new(row).parse()
}

/// The pauses of an app, and its id.
pub(crate) fn read_due_app(row: &Row<'_>) -> Result<(Pauses, AppId)> {
    let mut columns = Columns::new(row);
    Ok((pauses(&mut columns)?, columns.parse()?))
}

pub(crate) fn read_first_due(row: &Row<'_>) -> Result<Option<UnixMillis>> {
    Columns::new(row).optional_time()
}

pub(crate) fn read_pauses(row: &Row<'_>) -> Result<Pauses> {
    pauses(&mut Columns::new(row))
}

fn pauses(columns: &mut Columns<'_, '_>) -> Result<Pauses> {
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
