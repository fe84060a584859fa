//! Rows as columns, in the order of the statements: what is written, and what is read back.

use rusqlite::types::{FromSql, ToSqlOutput, Type, Value, ValueRef};
use rusqlite::{Result, Row};
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::app::Pauses;
use wxsub_outbox::id::WorkerId;
use wxsub_outbox::ledger::{Columns, FromColumns};
use wxsub_outbox::message::{Detail, StoredEvent, StoredMessage};
use wxsub_outbox::webhook::{StoredDelivery, StoredEndpoint};

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
struct RowColumns<'a, 'row> {
    row: &'a Row<'row>,
    next: usize,
}

/// Reads a row.
pub(crate) fn read<T: FromColumns>(row: &Row<'_>) -> Result<T> {
    T::from_columns(&mut RowColumns { row, next: 0 })
}

impl RowColumns<'_, '_> {
    fn get<T: FromSql>(&mut self) -> Result<T> {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }
}

impl Columns for RowColumns<'_, '_> {
    type Error = rusqlite::Error;

    /// Without a copy of the text.
    fn text(&mut self) -> Result<Option<&str>> {
        let value = self.row.get_ref(self.next)?;
        self.next += 1;
        Ok(value.as_str_or_null()?)
    }

    fn integer(&mut self) -> Result<Option<i64>> {
        self.get()
    }

    fn bytes<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        self.get()
    }

    fn actor(&mut self) -> Result<Option<String>> {
        Ok(match self.get()? {
            Value::Null => None,
            Value::Blob(bytes) => {
                let worker =
                    bytes.try_into().map_err(|_| self.unreadable("a worker's id has 16 bytes".to_owned()))?;
                Some(WorkerId::from_bytes(worker).to_string())
            }
            name => Some(FromSql::column_result((&name).into())?),
        })
    }

    fn unreadable(&self, problem: String) -> rusqlite::Error {
        let column = self.next.saturating_sub(1);
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, problem.into())
    }
}
