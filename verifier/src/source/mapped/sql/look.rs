//! What a database says of itself: its settings, its tables.

use anyhow::{Result, anyhow};
use contract::store::Query;

use super::{Database, Sql, Texts};

impl Sql {
    /// How the database is set up so that it may forget.
    ///
    /// # Errors
    /// When it does not say.
    pub fn settings(&mut self) -> Result<Vec<String>> {
        let asked: &[(&str, &str, &str)] = match &self.database {
            Database::Postgres(_) => &[
                ("fsync", "SELECT current_setting('fsync') AS v", "on"),
                ("synchronous_commit", "SELECT current_setting('synchronous_commit') AS v", "on"),
            ],
            Database::MySql(_) => &[(
                "innodb_flush_log_at_trx_commit",
                "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit AS v",
                "1",
            )],
            Database::Sqlite(_) => &[],
        };
        let mut found = Vec::new();
        for (name, query, sound) in asked {
            let query = Query::try_from((*query).to_owned()).map_err(|e| anyhow!(e))?;
            let prepared = self.prepare(&query, "")?;
            let mut value = None;
            self.select(&prepared, &["v".to_owned()], &mut |row| {
                value = row.ok().and_then(|row| row.into_iter().next().flatten());
                Ok(())
            })?;
            let value = value.unwrap_or_default();
            // PostgreSQL's stricter ways of synchronous_commit are sound as well.
            if value != *sound && !value.starts_with("remote_") {
                found.push(format!(
                    "{name} is {value}: what was answered may be gone after a crash of its machine"
                ));
            }
        }
        Ok(found)
    }

    /// What tables there are, each with how many rows it has.
    ///
    /// # Errors
    /// When the database does not say.
    pub fn tables(&mut self) -> Result<Vec<String>> {
        let query = match &self.database {
            Database::Postgres(_) => {
                "SELECT CASE WHEN table_schema = current_schema() THEN quote_ident(table_name) \
                 ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS v \
                 FROM information_schema.tables \
                 WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
            }
            Database::MySql(_) => {
                "SELECT concat('`', table_name, '`') AS v FROM information_schema.tables \
                 WHERE table_schema = database() ORDER BY 1"
            }
            Database::Sqlite(_) => {
                "SELECT '\"' || name || '\"' AS v FROM sqlite_master \
                 WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY 1"
            }
        };
        let query = Query::try_from(query.to_owned()).map_err(|e| anyhow!(e))?;
        let prepared = self.prepare(&query, "")?;
        let mut tables = Vec::new();
        self.select(&prepared, &["v".to_owned()], &mut |row| {
            tables.extend(row.into_iter().flatten().flatten());
            Ok(())
        })?;
        Ok(tables)
    }

    /// What a table looks like: how many rows, which columns, and the first rows.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sample(&mut self, table: &str, rows: usize) -> Result<(i64, Vec<String>, Vec<Texts>)> {
        let all = Query::try_from(format!("SELECT * FROM {table}")).map_err(|e| anyhow!(e))?;
        let count = self.count(&all, "")?;
        let some = Query::try_from(format!("SELECT * FROM {table} LIMIT {rows}"));
        let some = some.map_err(|e| anyhow!(e))?;
        let prepared = self.prepare(&some, "")?;
        let (names, mut found) = (prepared.columns.clone(), Vec::new());
        self.select(&prepared, &names, &mut |row| {
            found.push(row.unwrap_or_else(|why| vec![Some(why)]));
            Ok(())
        })?;
        Ok((count, names, found))
    }
}
