//! A campaign's id as whatever type PostgreSQL takes it for.
//!
//! PostgreSQL decides by itself what a parameter is, such as a bigint beside a bigint column, and
//! takes nothing else for it. So the text is turned into that before it is bound.

use anyhow::{Context as _, Result, bail};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{Encode, Postgres, Type};

/// A query on its way.
type Asked<'q> = Query<'q, Postgres, PgArguments>;

/// Binds a text as the type of this name.
///
/// # Errors
/// When it cannot be one.
pub(super) fn bound<'q>(asked: Asked<'q>, kind: &str, text: &str) -> Result<Asked<'q>> {
    let wrong = || format!("the query takes {{campaign}} for {kind}, which {text:?} is not");
    Ok(match kind {
        "INT8" => asked.bind(text.parse::<i64>().with_context(wrong)?),
        "INT4" => asked.bind(text.parse::<i32>().with_context(wrong)?),
        "INT2" => asked.bind(text.parse::<i16>().with_context(wrong)?),
        "UUID" => asked.bind(uuid(text).with_context(wrong)?),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" => asked.bind(text.to_owned()),
        other => bail!(
            "the query takes {{campaign}} for {other}: write CAST(CAST({{campaign}} AS text) AS \
             {other})"
        ),
    })
}

/// A UUID, as PostgreSQL sends it.
#[derive(Debug, PartialEq, Eq)]
struct Uuid([u8; 16]);

impl Type<Postgres> for Uuid {
    fn type_info() -> PgTypeInfo {
        // The number of its type, the same in every PostgreSQL.
        PgTypeInfo::with_oid(Oid(2950))
    }
}

impl Encode<'_, Postgres> for Uuid {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

fn uuid(text: &str) -> Option<Uuid> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let fits = digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit());
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| fits)?;
    Some(Uuid(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_sixteen_bytes() {
        let found = uuid("00112233-4455-6677-8899-aabbccddeeff").unwrap().0;
        assert_eq!((found[0], found[1], found[15]), (0x00, 0x11, 0xff));
        for text in ["", "7", "+0112233-4455-6677-8899-aabbccddeeff", "x"] {
            assert_eq!(uuid(text), None, "{text}");
        }
    }
}
