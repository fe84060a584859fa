//! Rows as columns, in the order of the statements: what is written, and what is read back.

use std::borrow::Cow;

use rusqlite::types::{FromSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, Params, Result, Row, params_from_iter, types};
use wxsub_outbox::id::{MessageId, WorkerId};
use wxsub_outbox::ledger::{Columns, FromColumns, Value};

/// The columns as parameters of a statement, in their order.
pub(crate) fn params<'a>(columns: impl IntoIterator<Item = Value<'a>>) -> impl Params {
    params_from_iter(columns.into_iter().map(parameter))
}

fn parameter(column: Value<'_>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match column {
        Value::Null => ValueRef::Null,
        Value::Text(Cow::Borrowed(text)) => ValueRef::Text(text.as_bytes()),
        Value::Text(Cow::Owned(text)) => return ToSqlOutput::Owned(text.into()),
        Value::Integer(number) => ValueRef::Integer(number),
        Value::Bytes(bytes) => ValueRef::Blob(bytes),
        // A worker is written as its bytes: most events have one.
        Value::Actor(actor) => match actor.parse::<WorkerId>() {
            Ok(worker) if worker.to_string() == actor => {
                return ToSqlOutput::Owned(worker.as_bytes().to_vec().into());
            }
            _ => ValueRef::Text(actor.as_bytes()),
        },
    })
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

/// Reads the rows of a statement.
pub(crate) fn all<T: FromColumns>(connection: &Connection, sql: &str, params: impl Params) -> Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(params, read)?.collect()
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
            types::Value::Null => None,
            types::Value::Blob(bytes) => {
                let worker =
                    bytes.try_into().map_err(|_| self.unreadable("a worker's id has 16 bytes".to_owned()))?;
                Some(WorkerId::from_bytes(worker).to_string())
            }
            name => Some(FromSql::column_result((&name).into())?),
        })
    }

    /// Names the row by its first column, which is its id.
    fn unreadable(&self, problem: String) -> rusqlite::Error {
        let column = self.next.saturating_sub(1);
        let name = self.row.as_ref().column_name(column).unwrap_or_default();
        let id = self.row.get(0).map(|id| format!(" {}", MessageId::from_bytes(id))).unwrap_or_default();
        let problem = format!("row{id}, column {name}: {problem}");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, problem.into())
    }
}
