//! Column values, for both databases.

use batchsuite_auth::clock::Timestamp;
use rusqlite::types::{FromSql, Value, ValueRef};
use tokio_postgres::types::{FromSql as FromPostgres, ToSql, Type};

use super::failure::Failure;

/// A parameter of a statement.
#[derive(Clone)]
pub(crate) enum Parameter {
    Text(Option<String>),
    Number(i64),
    Flag(bool),
    Bytes(Vec<u8>),
    Time(Option<Timestamp>),
}

impl Parameter {
    /// The parameter's type in Postgres.
    pub(super) fn postgres_type(&self) -> Type {
        match self {
            Self::Text(_) => Type::TEXT,
            Self::Number(_) => Type::INT8,
            Self::Flag(_) => Type::BOOL,
            Self::Bytes(_) => Type::BYTEA,
            Self::Time(_) => Type::TIMESTAMPTZ,
        }
    }

    pub(super) fn for_postgres(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number,
            Self::Flag(flag) => flag,
            Self::Bytes(bytes) => bytes,
            Self::Time(time) => time,
        }
    }

    pub(super) fn for_sqlite(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.into(),
            Self::Flag(flag) => flag.into(),
            Self::Bytes(bytes) => bytes.into(),
            Self::Time(time) => time.map(|time| time.timestamp_micros()).into(),
        }
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for Parameter {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<u8> for Parameter {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<i64> for Parameter {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Parameter {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<&[u8]> for Parameter {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Timestamp> for Parameter {
    fn from(time: Timestamp) -> Self {
        Self::Time(Some(time))
    }
}

impl From<Option<Timestamp>> for Parameter {
    fn from(time: Option<Timestamp>) -> Self {
        Self::Time(time)
    }
}

/// The parameters of a statement, `$1` first.
macro_rules! parameters {
    ($($value:expr),* $(,)?) => { vec![$(crate::database::Parameter::from($value)),*] };
}
pub(crate) use parameters;

/// A row from either database, with SQLite's types: a flag is 0 or 1, a time is in microseconds since 1970.
pub(crate) struct Row(Vec<Value>);

impl Row {
    pub(super) fn of_sqlite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        (0..row.as_ref().column_count()).map(|column| row.get(column)).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn of_postgres(row: &tokio_postgres::Row) -> Self {
        let value = |(column, of): (usize, &tokio_postgres::Column)| match *of.type_() {
            Type::BOOL => postgres_value::<bool>(row, column),
            Type::INT2 => postgres_value::<i16>(row, column),
            Type::BYTEA => postgres_value::<Vec<u8>>(row, column),
            Type::TIMESTAMPTZ => {
                let time: Option<Timestamp> = row.try_get(column).ok().flatten();
                time.map(|time| time.timestamp_micros()).into()
            }
            _ => postgres_value::<String>(row, column),
        };
        Self(row.columns().iter().enumerate().map(value).collect())
    }

    /// The value of a column, counted from 0.
    ///
    /// # Errors
    /// [`Failure`] if the column does not hold such a value.
    pub(crate) fn get<T: FromSql>(&self, column: usize) -> Result<T, Failure> {
        let value = self.0.get(column).map_or(ValueRef::Null, ValueRef::from);
        T::column_result(value).map_err(|_| Failure::Unreadable("column"))
    }

    /// The value of a column that holds a time.
    ///
    /// # Errors
    /// Like [`get`](Self::get).
    pub(crate) fn time(&self, column: usize) -> Result<Option<Timestamp>, Failure> {
        let time = self.get::<Option<i64>>(column)?.map(Timestamp::from_timestamp_micros);
        time.map(|time| time.ok_or(Failure::Unreadable("time"))).transpose()
    }
}

/// An unreadable value counts as null, so that it does not hide other rows.
fn postgres_value<'a, T: FromPostgres<'a> + Into<Value>>(row: &'a tokio_postgres::Row, column: usize) -> Value {
    row.try_get::<_, Option<T>>(column).ok().flatten().map_or(Value::Null, Into::into)
}
