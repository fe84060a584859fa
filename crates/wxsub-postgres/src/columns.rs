//! Rows as columns, in the order of the statements: what is written, and what is read back.

use std::borrow::Cow;

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;
use wxsub_outbox::app::Pauses;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::inbox::InboxRow;
use wxsub_outbox::ledger::{Columns, FromColumns, ToColumns, Value, millis};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::webhook::StoredEndpoint;
use wxsub_outbox::{LedgerError, LedgerResult};
use wxsub_proto::AppId;

use crate::error::Failure;

/// One parameter of a statement.
pub(crate) type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// One column of many rows, as an array.
pub(crate) fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Param<'a>
where
    T: ToSql + Sync + Send + 'a,
{
    Box::new(rows.iter().map(value).collect::<Vec<T>>())
}

/// The columns of rows, each as an array.
pub(crate) fn columns<'a, const N: usize, R: ToColumns<N> + 'a>(
    rows: impl IntoIterator<Item = &'a R>,
) -> Vec<Param<'a>> {
    arrays(N, rows.into_iter().map(R::to_columns))
}

/// The columns of rows of two kinds.
pub(crate) fn both<'a, const N: usize, const M: usize, A: ToColumns<N> + 'a, B: ToColumns<M> + 'a>(
    one: impl IntoIterator<Item = &'a A>,
    other: impl IntoIterator<Item = &'a B>,
) -> Vec<Param<'a>> {
    columns(one).into_iter().chain(columns(other)).collect()
}

/// The columns of messages that are new, with those that never change and the body; or of messages that are stored already, and
/// whether they keep their body.
pub(crate) fn messages<'a>(rows: &[&'a StoredMessage], are_new: bool) -> Vec<Param<'a>> {
    let width = if are_new { 34 } else { 22 };
    let row = |message: &&'a StoredMessage| {
        let mut columns = Vec::from(message.to_columns());
        if are_new {
            let body = message.body.as_ref();
            columns.extend(message.fixed_columns());
            columns.push(body.map(|body| String::from_utf8_lossy(&body.to_json()).into_owned()).into());
        } else {
            columns.push(message.body.is_some().into());
        }
        columns
    };
    arrays(width, rows.iter().map(row))
}

fn arrays<'a>(
    width: usize,
    rows: impl Iterator<Item = impl IntoIterator<Item = Value<'a>>>,
) -> Vec<Param<'a>> {
    let mut arrays: Vec<Vec<Column<'a>>> = std::iter::repeat_with(Vec::new).take(width).collect();
    for row in rows {
        arrays.iter_mut().zip(row).for_each(|(array, value)| array.push(Column(value)));
    }
    arrays.into_iter().map(|array| Box::new(array) as Param<'_>).collect()
}

/// A column of a row, in the type that the statement has for it.
#[derive(Debug)]
pub(crate) struct Column<'a>(pub(crate) Value<'a>);

impl ToSql for Column<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        match &self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Text(text) => storable(text).to_sql(kind, out),
            Value::Actor(actor) => storable(actor).to_sql(kind, out),
            Value::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            Value::Integer(number) => match *kind {
                Type::BOOL => (*number != 0).to_sql(kind, out),
                Type::INT4 => i32::try_from(*number).unwrap_or(i32::MAX).to_sql(kind, out),
                _ => number.to_sql(kind, out),
            },
        }
    }

    accepts!(BOOL, BYTEA, INT4, INT8, TEXT, UUID);
    to_sql_checked!();
}

/// A text without NUL, which PostgreSQL cannot store.
fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// An id as one parameter.
pub(crate) fn id<R: ToColumns<1>>(id: &R) -> Column<'_> {
    let [column] = id.to_columns();
    Column(column)
}

/// The columns of grants that are stored already.
pub(crate) fn changed_grants<'a>(rows: &'a [&'a StoredGrant]) -> Vec<Param<'a>> {
    vec![
        column(rows, |grant| id(&grant.id)),
        column(rows, |grant| grant.state.as_str()),
        column(rows, |grant| millis(grant.callback_expires_at)),
    ]
}

/// The columns of the pauses of an app, and its id.
pub(crate) fn pauses<'a>(appid: &'a AppId, pauses: &'a Pauses) -> Vec<Param<'a>> {
    let columns = pauses.to_columns().into_iter().chain([appid.as_str().into()]);
    columns.map(|column| Box::new(Column(column)) as Param<'_>).collect()
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

/// Reads rows, and gives each to `take`.
pub(crate) fn each<'r, T: FromColumns>(
    rows: impl IntoIterator<Item = &'r Row>,
    mut take: impl FnMut(T),
) -> Result<(), Failure> {
    for row in rows {
        take(read(row)?);
    }
    Ok(())
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
