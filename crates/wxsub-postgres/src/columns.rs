//! Rows as columns, in the order of the statements: what is written, and what is read back.

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type, accepts};
use uuid::Uuid;
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::app::Pauses;
use wxsub_outbox::audit::StoredAudit;
use wxsub_outbox::grant::{StoredGrant, Subject};
use wxsub_outbox::id::{GrantId, MessageId, WorkerId};
use wxsub_outbox::idempotency::{KeyScope, StoredKey};
use wxsub_outbox::inbox::InboxRow;
use wxsub_outbox::ledger::{Columns, FromColumns, StoredWorker};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::webhook::{DeliveryId, StoredDelivery, StoredEndpoint};
use wxsub_outbox::{LedgerError, LedgerResult};
use wxsub_proto::{AppId, ErrCode};

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
    let mut params = vec![column(rows, |message| message.id.uuid())];
    params.extend(state_columns(rows));
    params.extend([
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
        column(rows, |message| {
            message.body.as_ref().map(|body| String::from_utf8_lossy(&body.to_json()).into_owned())
        }),
    ]);
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
struct RowColumns<'a> {
    row: &'a Row,
    next: usize,
}

/// Reads a row.
pub(crate) fn read<T: FromColumns>(row: &Row) -> LedgerResult<T> {
    T::from_columns(&mut RowColumns { row, next: 0 })
}

impl<'a> RowColumns<'a> {
    fn get<T: FromSql<'a>>(&mut self) -> LedgerResult<Option<T>> {
        let value = self.row.try_get(self.next);
        self.next += 1;
        value.map_err(|error| self.unreadable(error.to_string()))
    }
}

impl Columns for RowColumns<'_> {
    type Error = LedgerError;

    fn text(&mut self) -> LedgerResult<Option<&str>> {
        self.get()
    }

    fn integer(&mut self) -> LedgerResult<Option<i64>> {
        Ok(self.get()?.map(|Integer(integer)| integer))
    }

    fn bytes<const N: usize>(&mut self) -> LedgerResult<Option<[u8; N]>> {
        let Some(Bytes(bytes)) = self.get()? else { return Ok(None) };
        bytes.try_into().map(Some).map_err(|_| self.unreadable(format!("has not {N} bytes")))
    }

    fn actor(&mut self) -> LedgerResult<Option<String>> {
        self.get()
    }

    /// Names the row by its first column, which is its id.
    fn unreadable(&self, problem: String) -> LedgerError {
        let column = self.row.columns().get(self.next.saturating_sub(1)).map_or("", |column| column.name());
        let id: Result<Uuid, _> = self.row.try_get(0);
        let id = id.map_or_else(|_| String::new(), |id| format!(" {id}"));
        LedgerError::Inconsistent(format!("row{id}, column {column}: {problem}"))
    }
}

type AnyError = Box<dyn std::error::Error + Sync + Send>;

/// A number or a boolean.
struct Integer(i64);

impl<'a> FromSql<'a> for Integer {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        Ok(Self(match *kind {
            Type::BOOL => bool::from_sql(kind, raw)?.into(),
            Type::INT4 => i32::from_sql(kind, raw)?.into(),
            _ => i64::from_sql(kind, raw)?,
        }))
    }

    accepts!(BOOL, INT4, INT8);
}

/// An id or a digest.
struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        Ok(Self(raw))
    }

    accepts!(UUID, BYTEA);
}

/// The endpoint of a row that may have none.
pub(crate) fn read_endpoint(row: &Row) -> LedgerResult<Option<StoredEndpoint>> {
    row.get::<_, Option<&str>>(0).map(|_| read(row)).transpose()
}

/// A nonce, and its grant.
pub(crate) fn read_nonce(row: &Row) -> ([u8; 16], GrantId) {
    let (nonce, grant): (Uuid, Uuid) = (row.get(0), row.get(1));
    (nonce.into_bytes(), GrantId::from_bytes(grant.into_bytes()))
}

/// An app with a due message, if its pauses allow a claim.
pub(crate) fn read_due_app(row: &Row) -> LedgerResult<Option<AppId>> {
    let (pauses, (appid, now)): (Pauses, (AppId, Option<UnixMillis>)) = read(row)?;
    Ok((pauses.claimable(1, now.unwrap_or_default()) > 0).then_some(appid))
}

/// When the first queued message of an app is due, from that of each priority.
pub(crate) fn read_first_due(row: &Row) -> LedgerResult<Option<UnixMillis>> {
    let (high, (normal, low)): (Option<UnixMillis>, (_, _)) = read(row)?;
    Ok([high, normal, low].into_iter().flatten().min())
}

/// The first columns of a row of an inbox: id, appid, message, times and priority.
pub(crate) fn read_inbox_row(row: &Row) -> Result<InboxRow, tokio_postgres::Error> {
    Ok(InboxRow {
        id: row.try_get(0)?,
        appid: row.try_get(1)?,
        message: row.try_get(2)?,
        send_at_ms: row.try_get(3)?,
        expires_at_ms: row.try_get(4)?,
        priority: row.try_get(5)?,
    })
}
