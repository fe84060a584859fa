//! Rows as columns, in the order of the statements: what is written, and what is read back.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as DeError;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSqlOwned, ToSql};
use uuid::Uuid;
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::LedgerError;
use wxsub_outbox::app::{DailyQuotaPause, OperatorPause, Pauses, TokenPause};
use wxsub_outbox::audit::{AuditEntry, StoredAudit};
use wxsub_outbox::grant::{StoredGrant, Subject};
use wxsub_outbox::id::{GrantId, MessageId, WorkerId};
use wxsub_outbox::idempotency::{Fingerprint, KeyScope, StoredKey};
use wxsub_outbox::inbox::InboxRow;
use wxsub_outbox::ledger::StoredWorker;
use wxsub_outbox::message::{DecisionRecord, Detail, StoredEvent, StoredMessage};
use wxsub_outbox::webhook::{DeliveryId, EndpointStatus, StoredDelivery, StoredEndpoint};
use wxsub_proto::{AppId, ErrCode, Scene};

/// One parameter of a statement.
pub(crate) type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// A time as it is stored.
pub(crate) fn millis(at: UnixMillis) -> i64 {
    i64::try_from(at.get()).unwrap_or(i64::MAX)
}

/// A time that was stored.
pub(crate) fn time(millis: i64) -> UnixMillis {
    UnixMillis::new(u64::try_from(millis).unwrap_or(0))
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// One column of many rows, as an array.
pub(crate) fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Param<'a>
where
    T: ToSql + Sync + Send + 'a,
{
    Box::new(rows.iter().map(value).collect::<Vec<T>>())
}

macro_rules! uuids {
    ($($id:ident),+) => { $(
        impl AsUuid for $id {
            fn uuid(&self) -> Uuid {
                Uuid::from_bytes(*self.as_bytes())
            }
        }
    )+ };
}

/// An id as it is stored.
pub(crate) trait AsUuid {
    fn uuid(&self) -> Uuid;
}

uuids!(MessageId, GrantId, WorkerId);

/// The columns of new messages.
pub(crate) fn new_messages<'a>(rows: &'a [&'a StoredMessage]) -> Vec<Param<'a>> {
    let mut params = vec![
        column(rows, |message| message.id.uuid()),
        column(rows, |message| message.appid.as_str()),
        column(rows, |message| message.mode.as_str()),
        column(rows, |message| message.touser.as_ref().map(|user| user.as_str())),
        column(rows, |message| message.template_id.as_ref().map(|template| template.as_str())),
        column(rows, |message| message.scene.map(|scene| i32::from(scene.get()))),
        column(rows, |message| message.priority.as_str()),
        column(rows, |message| millis(message.created_at)),
        column(rows, |message| millis(message.send_at)),
        column(rows, |message| millis(message.expires_at)),
        column(rows, |message| message.idempotency_key.as_ref().map(|key| key.as_str())),
        column(rows, |message| message.grant.map(|id| id.uuid())),
        column(rows, |message| message.parent_id.map(|id| id.uuid())),
    ];
    params.extend(state_columns(rows));
    params.push(column(rows, |message| {
        message.body.as_ref().map(|body| String::from_utf8_lossy(&body.to_json()).into_owned())
    }));
    params
}

/// The columns of messages that are stored already.
pub(crate) fn changed_messages<'a>(rows: &'a [&'a StoredMessage]) -> Vec<Param<'a>> {
    let mut params = vec![column(rows, |message| message.id.uuid())];
    params.extend(state_columns(rows));
    params.push(column(rows, |message| message.body.is_some()));
    params
}

/// The columns that change.
fn state_columns<'a>(rows: &'a [&'a StoredMessage]) -> [Param<'a>; 20] {
    let decision = |message: &'a StoredMessage| message.decision.as_ref();
    [
        column(rows, |message| message.state.as_str()),
        column(rows, |message| message.reason.map(|reason| reason.as_str())),
        column(rows, |message| number(message.attempt)),
        column(rows, |message| number(message.failures)),
        column(rows, |message| number(message.version)),
        column(rows, |message| millis(message.due_at)),
        column(rows, |message| message.attempted_at.map(millis)),
        column(rows, |message| message.settled_at.map(millis)),
        column(rows, |message| message.worker.map(|id| id.uuid())),
        column(rows, |message| message.detail.stage.map(|stage| stage.as_str())),
        column(rows, |message| message.detail.errcode.map(ErrCode::get)),
        column(rows, |message| message.detail.errmsg.as_deref().map(storable)),
        column(rows, |message| message.detail.rid.as_deref().map(storable)),
        column(rows, |message| message.detail.remedy.map(|remedy| remedy.to_string())),
        column(rows, move |message| decision(message).map(|decided| decided.decision.as_str())),
        column(rows, move |message| decision(message).map(|decided| storable(&decided.by))),
        column(rows, move |message| decision(message).map(|decided| storable(&decided.note))),
        column(rows, move |message| decision(message).map(|decided| millis(decided.at))),
        column(rows, move |message| decision(message).and_then(|decided| decided.child).map(|id| id.uuid())),
        column(rows, |message| message.restored_at.map(millis)),
    ]
}

/// A text without NUL, which PostgreSQL cannot store.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The columns of events.
pub(crate) fn events(rows: &[StoredEvent]) -> Vec<Param<'_>> {
    vec![
        column(rows, |event| event.message.uuid()),
        column(rows, |event| number(event.version)),
        column(rows, |event| millis(event.at)),
        column(rows, |event| event.kind.as_str()),
        column(rows, |event| number(event.attempt)),
        column(rows, |event| event.actor.as_deref().map(storable)),
        column(rows, |event| event.detail.as_deref().map(storable)),
    ]
}

/// The columns of lines of the audit.
pub(crate) fn audit(rows: &[StoredAudit]) -> Vec<Param<'_>> {
    vec![
        column(rows, |line| millis(line.at)),
        column(rows, |line| storable(&line.entry.actor)),
        column(rows, |line| storable(&line.entry.address)),
        column(rows, |line| line.entry.action.as_str()),
        column(rows, |line| line.entry.appid.as_ref().map(AppId::as_str)),
        column(rows, |line| storable(&line.entry.subject)),
        column(rows, |line| storable(&line.entry.detail)),
        column(rows, |line| line.outcome.as_str()),
    ]
}

/// The columns of new grants.
pub(crate) fn new_grants<'a>(rows: &'a [&'a StoredGrant]) -> Vec<Param<'a>> {
    vec![
        column(rows, |grant| grant.id.uuid()),
        column(rows, |grant| grant.subject.appid.as_str()),
        column(rows, |grant| grant.subject.openid.as_str()),
        column(rows, |grant| grant.subject.template_id.as_str()),
        column(rows, |grant| i32::from(grant.subject.scene.get())),
        column(rows, |grant| grant.state.as_str()),
        column(rows, |grant| millis(grant.consented_at)),
        column(rows, |grant| millis(grant.callback_expires_at)),
    ]
}

/// The columns of grants that are stored already.
pub(crate) fn changed_grants<'a>(rows: &'a [&'a StoredGrant]) -> Vec<Param<'a>> {
    vec![
        column(rows, |grant| grant.id.uuid()),
        column(rows, |grant| grant.state.as_str()),
        column(rows, |grant| millis(grant.callback_expires_at)),
    ]
}

/// The columns of subjects, in the order of the statements.
pub(crate) fn subjects<'a>(rows: &'a [&'a Subject]) -> Vec<Param<'a>> {
    vec![
        column(rows, |subject| subject.openid.as_str()),
        column(rows, |subject| subject.appid.as_str()),
        column(rows, |subject| subject.template_id.as_str()),
        column(rows, |subject| i32::from(subject.scene.get())),
    ]
}

/// The columns by which keys are found.
pub(crate) fn scopes<'a>(rows: &'a [&'a KeyScope]) -> Vec<Param<'a>> {
    vec![
        column(rows, |scope| scope.appid.as_str()),
        column(rows, |scope| storable(&scope.client)),
        column(rows, |scope| scope.key.as_str()),
    ]
}

/// The columns of keys.
pub(crate) fn keys<'a>(rows: &'a [&'a StoredKey]) -> Vec<Param<'a>> {
    vec![
        column(rows, |key| key.scope.appid.as_str()),
        column(rows, |key| storable(&key.scope.client)),
        column(rows, |key| key.scope.key.as_str()),
        column(rows, |key| key.fingerprint.as_bytes().as_slice()),
        column(rows, |key| key.message.uuid()),
        column(rows, |key| millis(key.check_at)),
    ]
}

/// The columns of workers.
pub(crate) fn workers(rows: &[StoredWorker]) -> Vec<Param<'_>> {
    vec![
        column(rows, |worker| worker.id.uuid()),
        column(rows, |worker| millis(worker.beat_at)),
        column(rows, |worker| worker.gone_at.map(millis)),
    ]
}

/// The columns of endpoints.
pub(crate) fn endpoints(rows: &[StoredEndpoint]) -> Vec<Param<'_>> {
    vec![
        column(rows, |endpoint| storable(&endpoint.name)),
        column(rows, |endpoint| endpoint.url_sha256.as_slice()),
        column(rows, StoredEndpoint::app_names),
        column(rows, StoredEndpoint::event_names),
        column(rows, |endpoint| endpoint.with_openid),
        column(rows, |endpoint| endpoint.disabled_at.map(millis)),
    ]
}

/// The columns by which deliveries are found.
pub(crate) fn delivery_ids<'a>(rows: &'a [&'a DeliveryId]) -> Vec<Param<'a>> {
    vec![
        column(rows, |id| storable(&id.endpoint)),
        column(rows, |id| id.message.uuid()),
        column(rows, |id| number(id.sequence)),
    ]
}

/// The columns of deliveries.
pub(crate) fn deliveries<'a>(rows: &'a [&'a StoredDelivery]) -> Vec<Param<'a>> {
    vec![
        column(rows, |delivery| storable(&delivery.id.endpoint)),
        column(rows, |delivery| delivery.id.message.uuid()),
        column(rows, |delivery| number(delivery.id.sequence)),
        column(rows, |delivery| delivery.event.as_str()),
        column(rows, |delivery| storable(&delivery.body)),
        column(rows, |delivery| millis(delivery.created_at)),
        column(rows, |delivery| number(delivery.attempt)),
        column(rows, |delivery| delivery.due_at.map(millis)),
        column(rows, |delivery| delivery.error.as_deref().map(storable)),
    ]
}

/// The columns of the pauses of an app, and its id.
pub(crate) fn pauses<'a>(appid: &'a AppId, pauses: &'a Pauses) -> Vec<Param<'a>> {
    let Pauses { operator, minute_quota_until, daily_quota, token } = pauses;
    let operator = operator.as_ref();
    vec![
        Box::new(operator.map(|pause| storable(&pause.by))),
        Box::new(operator.map(|pause| storable(&pause.note))),
        Box::new(operator.map(|pause| millis(pause.since))),
        Box::new(minute_quota_until.map(millis)),
        Box::new(daily_quota.map(|pause| millis(pause.until))),
        Box::new(daily_quota.map(|pause| millis(pause.next_probe_at))),
        Box::new(daily_quota.and_then(|pause| pause.probe).map(|id| id.uuid())),
        Box::new(token.map(|pause| millis(pause.until))),
        Box::new(token.map(|pause| number(pause.failures))),
        Box::new(appid.as_str()),
    ]
}

/// A row whose columns are read one after the other.
struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

type Result<T> = std::result::Result<T, LedgerError>;

impl<'a> Columns<'a> {
    fn new(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    fn get<T: FromSqlOwned>(&mut self) -> Result<T> {
        let value = self.row.try_get(self.next).map_err(|error| self.unreadable(error));
        self.next += 1;
        value
    }

    fn text<T>(&mut self, read: impl FnOnce(&str) -> std::result::Result<T, String>) -> Result<Option<T>> {
        let text: Option<&str> = self.row.try_get(self.next).map_err(|error| self.unreadable(error))?;
        let value = text.map(read).transpose().map_err(|error| self.unreadable(error));
        self.next += 1;
        value
    }

    /// Names the row by its first column, which is its id.
    fn unreadable(&self, error: impl fmt::Display) -> LedgerError {
        let column = self.row.columns().get(self.next).map_or("", |column| column.name());
        let id: std::result::Result<Uuid, _> = self.row.try_get(0);
        let id = id.map_or_else(|_| String::new(), |id| format!(" {id}"));
        LedgerError::Inconsistent(format!("row{id}, column {column}: {error}"))
    }

    fn missing(&self) -> LedgerError {
        Self { row: self.row, next: self.next.saturating_sub(1) }.unreadable("is empty")
    }

    fn parse_optional<T: FromStr<Err: fmt::Display>>(&mut self) -> Result<Option<T>> {
        self.text(|text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self) -> Result<T> {
        self.parse_optional()?.ok_or_else(|| self.missing())
    }

    /// A name that only serde can read.
    fn named<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>> {
        self.text(|text| T::deserialize(text.into_deserializer()).map_err(|error: DeError| error.to_string()))
    }

    fn time(&mut self) -> Result<UnixMillis> {
        self.get().map(time)
    }

    fn optional_time(&mut self) -> Result<Option<UnixMillis>> {
        Ok(self.get::<Option<i64>>()?.map(time))
    }

    fn number(&mut self) -> Result<u32> {
        let number: i32 = self.get()?;
        Ok(u32::try_from(number).unwrap_or(0))
    }

    /// Names that are separated by spaces.
    fn words<T: FromStr<Err: fmt::Display> + Ord>(&mut self) -> Result<Option<BTreeSet<T>>> {
        let word = |word: &str| word.parse().map_err(|error: T::Err| error.to_string());
        self.text(|text| text.split_whitespace().map(word).collect())
    }

    fn optional_scene(&mut self) -> Result<Option<Scene>> {
        let number: Option<i32> = self.get()?;
        let scene = |number| u16::try_from(number).ok().and_then(|number| Scene::new(number).ok());
        number.map(|number| scene(number).ok_or_else(|| self.missing())).transpose()
    }

    fn id<T>(&mut self, id: impl FnOnce([u8; 16]) -> T) -> Result<Option<T>> {
        Ok(self.get::<Option<Uuid>>()?.map(|uuid| id(uuid.into_bytes())))
    }
}

pub(crate) fn read_message(row: &Row) -> Result<StoredMessage> {
    let mut columns = Columns::new(row);
    let columns = &mut columns;
    Ok(StoredMessage {
        id: columns.id(MessageId::from_bytes)?.ok_or_else(|| columns.missing())?,
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
        grant: columns.id(GrantId::from_bytes)?,
        parent_id: columns.id(MessageId::from_bytes)?,
        state: columns.parse()?,
        reason: columns.parse_optional()?,
        attempt: columns.number()?,
        failures: columns.number()?,
        version: columns.number()?,
        due_at: columns.time()?,
        attempted_at: columns.optional_time()?,
        settled_at: columns.optional_time()?,
        worker: columns.id(WorkerId::from_bytes)?,
        detail: Detail {
            stage: columns.parse_optional()?,
            errcode: columns.get::<Option<_>>()?.map(ErrCode::new),
            errmsg: columns.get()?,
            rid: columns.get()?,
            remedy: columns.named()?,
        },
        decision: read_decision(columns)?,
        restored_at: columns.optional_time()?,
        body: columns.text(|text| serde_json::from_str(text).map_err(|error| error.to_string()))?,
    })
}

fn read_decision(columns: &mut Columns<'_>) -> Result<Option<DecisionRecord>> {
    let decision = columns.parse_optional()?;
    let (by, note): (Option<String>, Option<String>) = (columns.get()?, columns.get()?);
    let at = columns.optional_time()?;
    let child = columns.id(MessageId::from_bytes)?;
    Ok(decision.map(|decision| DecisionRecord {
        decision,
        by: by.unwrap_or_default(),
        note: note.unwrap_or_default(),
        at: at.unwrap_or_default(),
        child,
    }))
}

pub(crate) fn read_grant(row: &Row) -> Result<StoredGrant> {
    let mut columns = Columns::new(row);
    Ok(StoredGrant {
        id: columns.id(GrantId::from_bytes)?.ok_or_else(|| columns.missing())?,
        subject: Subject {
            appid: columns.parse()?,
            openid: columns.parse()?,
            template_id: columns.parse()?,
            scene: columns.optional_scene()?.ok_or_else(|| columns.missing())?,
        },
        state: columns.parse()?,
        consented_at: columns.time()?,
        callback_expires_at: columns.time()?,
    })
}

pub(crate) fn read_event(row: &Row) -> Result<StoredEvent> {
    let mut columns = Columns::new(row);
    Ok(StoredEvent {
        message: columns.id(MessageId::from_bytes)?.ok_or_else(|| columns.missing())?,
        version: columns.number()?,
        at: columns.time()?,
        kind: columns.parse()?,
        attempt: columns.number()?,
        actor: columns.get()?,
        detail: columns.get()?,
    })
}

pub(crate) fn read_key(row: &Row) -> Result<StoredKey> {
    let mut columns = Columns::new(row);
    let scope = KeyScope { appid: columns.parse()?, client: columns.get()?, key: columns.parse()? };
    let fingerprint: Vec<u8> = columns.get()?;
    let fingerprint = <[u8; 32]>::try_from(fingerprint).map_err(|_| columns.missing())?;
    Ok(StoredKey {
        scope,
        fingerprint: Fingerprint::from_bytes(fingerprint),
        message: columns.id(MessageId::from_bytes)?.ok_or_else(|| columns.missing())?,
        check_at: columns.time()?,
    })
}

pub(crate) fn read_audit(row: &Row) -> Result<StoredAudit> {
    let mut columns = Columns::new(row);
    let seq: i64 = columns.get()?;
    Ok(StoredAudit {
        seq: u64::try_from(seq).unwrap_or(0),
        at: columns.time()?,
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

/// The endpoint, and the next column. `None` if the row has none.
fn endpoint<'a>(row: &'a Row) -> Result<Option<(StoredEndpoint, Columns<'a>)>> {
    let mut columns = Columns::new(row);
    let Some(name) = columns.get()? else { return Ok(None) };
    let digest: Vec<u8> = columns.get()?;
    let url_sha256 = <[u8; 32]>::try_from(digest).map_err(|_| columns.missing())?;
    let apps = columns.words()?;
    let events = columns.words()?.unwrap_or_default();
    let with_openid = columns.get()?;
    let disabled_at = columns.optional_time()?;
    Ok(Some((StoredEndpoint { name, url_sha256, apps, events, with_openid, disabled_at }, columns)))
}

pub(crate) fn read_endpoint(row: &Row) -> Result<Option<StoredEndpoint>> {
    Ok(endpoint(row)?.map(|(endpoint, _)| endpoint))
}

pub(crate) fn read_endpoint_status(row: &Row) -> Result<EndpointStatus> {
    let (endpoint, mut columns) = endpoint(row)?.ok_or_else(|| Columns::new(row).missing())?;
    let is_due = columns.get()?;
    let mut count = || Ok(u64::try_from(columns.get::<i64>()?).unwrap_or(0));
    Ok(EndpointStatus { endpoint, is_due, pending: count()?, dead: count()? })
}

pub(crate) fn read_delivery(row: &Row) -> Result<StoredDelivery> {
    let mut columns = Columns::new(row);
    Ok(StoredDelivery {
        id: DeliveryId {
            endpoint: columns.get()?,
            message: columns.id(MessageId::from_bytes)?.ok_or_else(|| columns.missing())?,
            sequence: columns.number()?,
        },
        event: columns.parse()?,
        body: columns.get()?,
        created_at: columns.time()?,
        attempt: columns.number()?,
        due_at: columns.optional_time()?,
        error: columns.get()?,
    })
}

pub(crate) fn read_worker(row: &Row) -> Result<StoredWorker> {
    let mut columns = Columns::new(row);
    Ok(StoredWorker {
        id: columns.id(WorkerId::from_bytes)?.ok_or_else(|| columns.missing())?,
        beat_at: columns.time()?,
        gone_at: columns.optional_time()?,
    })
}

/// A nonce, and its grant.
pub(crate) fn read_nonce(row: &Row) -> Result<([u8; 16], GrantId)> {
    let mut columns = Columns::new(row);
    let nonce = columns.id(|bytes| bytes)?.ok_or_else(|| columns.missing())?;
    Ok((nonce, columns.id(GrantId::from_bytes)?.ok_or_else(|| columns.missing())?))
}

pub(crate) fn read_appid(row: &Row) -> Result<AppId> {
    Columns::new(row).parse()
}

/// An app with a due message, if its pauses allow a claim.
pub(crate) fn read_due_app(row: &Row) -> Result<Option<AppId>> {
    let mut columns = Columns::new(row);
    let (appid, pauses) = pauses_of(&mut columns)?;
    let now = columns.optional_time()?.unwrap_or_default();
    Ok((pauses.claimable(1, now) > 0).then_some(appid))
}

/// When the first queued message of an app is due, from that of each priority.
pub(crate) fn read_first_due(row: &Row) -> Result<Option<UnixMillis>> {
    let mut columns = Columns::new(row);
    let of_priorities = [columns.optional_time()?, columns.optional_time()?, columns.optional_time()?];
    Ok(of_priorities.into_iter().flatten().min())
}

pub(crate) fn read_pauses(row: &Row) -> Result<(AppId, Pauses)> {
    pauses_of(&mut Columns::new(row))
}

/// An app, and why it waits.
fn pauses_of(columns: &mut Columns<'_>) -> Result<(AppId, Pauses)> {
    let (by, note): (Option<String>, Option<String>) = (columns.get()?, columns.get()?);
    let since = columns.optional_time()?;
    let minute_quota_until = columns.optional_time()?;
    let (until, next_probe_at) = (columns.optional_time()?, columns.optional_time()?);
    let probe = columns.id(MessageId::from_bytes)?;
    let token_until = columns.optional_time()?;
    let failures: Option<i32> = columns.get()?;
    let failures = failures.and_then(|failures| u32::try_from(failures).ok()).unwrap_or_default();
    let pauses = Pauses {
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
        token: token_until.map(|until| TokenPause { until, failures }),
    };
    Ok((columns.parse()?, pauses))
}

/// The first columns of a row of an inbox: id, appid, message, times and priority.
pub(crate) fn read_inbox_row(row: &Row) -> std::result::Result<InboxRow, tokio_postgres::Error> {
    Ok(InboxRow {
        id: row.try_get(0)?,
        appid: row.try_get(1)?,
        message: row.try_get(2)?,
        send_at_ms: row.try_get(3)?,
        expires_at_ms: row.try_get(4)?,
        priority: row.try_get(5)?,
    })
}
