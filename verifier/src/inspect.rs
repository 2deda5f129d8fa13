//! What a store looks like, and what a mapping finds in it: enough to write a mapping by.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use contract::store::{Mapping, Meaning, Pattern, Scheme, URLS};

use crate::cli::InspectArgs;
use crate::source::mapped::redis::{Element, Keys, Kind};
use crate::source::mapped::sql::Sql;
use crate::source::mapped::{Entry, Listed, Mapped, kind_name};
use crate::source::{resolve, shown};
use crate::wording::{safe, signed, size, span, things};

/// So many keys, tables and rows are shown.
const MOST_KEYS: usize = 40;
const MOST_ROWS: usize = 3;
/// A value is cut after so many characters.
const MOST_CHARACTERS: usize = 80;
/// Where a reading finds no number and no row.
const NOTHING: &str = "nothing there";

/// Looks at a store. Returns what there is to see.
///
/// # Errors
/// When it cannot be read.
pub fn inspect(args: &InspectArgs) -> Result<String> {
    let campaign = args.campaign.as_deref();
    if let (Some(path), Some(campaign)) = (&args.mapping, campaign) {
        let mapping = Mapping::load(path)?;
        let mut mapped = Mapped::open(mapping, args.store.as_deref(), None)?;
        return found(&mut mapped, campaign);
    }
    let url = args.store.as_deref().unwrap_or_default();
    let seen = match Scheme::of(url) {
        Some(Scheme::Redis) => keys(url, campaign),
        Some(scheme @ (Scheme::Postgres | Scheme::MySql | Scheme::Sqlite)) => tables(url, scheme),
        Some(Scheme::Http) => {
            bail!("--store {}: over HTTP only what a --mapping names can be looked at", shown(url))
        }
        None => bail!("--store {}: expected {URLS}", shown(url)),
    };
    seen.with_context(|| format!("store {}", shown(url)))
}

/// What each reading of a mapping finds.
fn found(mapped: &mut Mapped, campaign: &str) -> Result<String> {
    let mut out = String::new();
    for url in mapped.urls() {
        let _ = writeln!(out, "store {}", safe(&url));
    }
    mapped.at_one_moment(|mapped| {
        (0..mapped.readings().len()).try_for_each(|at| reading(mapped, at, campaign, &mut out))
    })?;
    Ok(out)
}

fn reading(mapped: &mut Mapped, at: usize, campaign: &str, out: &mut String) -> Result<()> {
    let reading = &mapped.readings()[at];
    let (is, name) = (reading.is, reading.label());
    let word = serde_json::to_value(is).ok();
    let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
    let _ = writeln!(out, "\n{word}  {}", safe(&name));
    if is == Meaning::Ledger {
        let mut rows = Rows::default();
        let listed = mapped.rows(at, campaign, &mut |_, row| rows.add(row))?;
        ledger(&listed, &rows, out);
        return Ok(());
    }
    let said = mapped.number(at, campaign)?.map_or_else(|| NOTHING.to_owned(), signed);
    let _ = writeln!(out, "  {said}");
    Ok(())
}

/// What is shown of the rows of a reading, and how many there are; of millions no more is held.
#[derive(Default)]
struct Rows {
    all: usize,
    bad: usize,
    /// The first that are understood and the first that are not.
    first: [Vec<Entry>; 2],
}

impl Rows {
    fn add(&mut self, row: Entry) {
        self.all += 1;
        self.bad += usize::from(row.is_err());
        let first = &mut self.first[usize::from(row.is_err())];
        if first.len() < MOST_ROWS {
            first.push(row);
        }
    }
}

fn ledger(listed: &Listed, rows: &Rows, out: &mut String) {
    let number = if listed.there { things(rows.all, "row") } else { NOTHING.to_owned() };
    let columns: Vec<&str> = listed.columns.iter().map(|column| column.name()).collect();
    let _ = writeln!(out, "  {number}\n  rows tell: {}", columns.join(", "));
    // What is wrong comes first: that is what has to be seen.
    let [good, bad] = &rows.first;
    if rows.bad > 0 {
        let _ = writeln!(out, "  {} cannot be understood", things(rows.bad, "row"));
    }
    for row in bad.iter().chain(good) {
        let _ = writeln!(out, "    {}", words(row));
    }
}

fn words(row: &Entry) -> String {
    match row {
        Ok(row) => {
            let cells = row.iter().map(|(column, text)| format!("{} {}", column.name(), cut(text)));
            cells.collect::<Vec<_>>().join("  ")
        }
        Err(why) => format!("? {}", safe(why)),
    }
}

/// The names of keys that are shown, and how many keys there are; of millions no more is held.
#[derive(Default)]
struct Names {
    /// The first in their order, each once.
    first: BTreeSet<String>,
    /// How often SCAN gave another one: as often as there are others, or a few times more.
    others: usize,
}

impl Names {
    fn add(&mut self, name: String) {
        self.first.insert(name);
        if self.first.len() > MOST_KEYS {
            self.first.pop_last();
            self.others += 1;
        }
    }

    /// What cannot be told exactly without holding every name.
    fn about(&self) -> &'static str {
        if self.others > 0 { "about " } else { "" }
    }
}

/// Keys of a Redis, those with the campaign's id in them where there is one.
fn keys(url: &str, campaign: Option<&str>) -> Result<String> {
    let mut redis = Keys::open(url)?;
    let any = Pattern::try_from("{_}".to_owned()).map_err(|what| anyhow!(what))?;
    let mut names = Names::default();
    redis.each_key(&any, &mut |name| {
        if campaign.is_none_or(|id| name.contains(id)) {
            names.add(name);
        }
    })?;
    let all = things(names.first.len() + names.others, "key");
    let mut out = format!("store {}\n{}{all}\n", shown(url), names.about());
    for name in &names.first {
        key(&mut redis, name, &mut out)?;
    }
    if names.others > 0 {
        let _ = writeln!(out, "\n… and {}{} more", names.about(), size(names.others));
    }
    Ok(out)
}

fn key(redis: &mut Keys, name: &str, out: &mut String) -> Result<()> {
    let kind = redis.kind(name)?;
    let length = redis.length(name, kind)?;
    let unit = if kind == Kind::String { "byte" } else { "element" };
    let lifetime = redis.lifetime(name)?.map(|left| {
        format!(", expires in {}", span(i64::try_from(left.as_nanos()).unwrap_or(i64::MAX)))
    });
    let _ = writeln!(
        out,
        "\n{}\n  {}, {}{}",
        safe(name),
        kind_name(kind),
        things(usize::try_from(length)?, unit),
        lifetime.unwrap_or_default()
    );
    let mut shown = 0;
    redis.elements(name, kind, &mut |element| {
        shown += 1;
        let text = element.as_ref().map_or_else(|why| format!("? {}", safe(why)), in_words);
        let _ = writeln!(out, "    {text}");
        if shown < MOST_ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
}

fn in_words(element: &Element) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(element.field.iter().map(|field| format!("{} →", cut(field))));
    parts.extend(element.value.iter().map(|value| cut(value)));
    let mut named: Vec<_> = element.named.iter().collect();
    named.sort();
    parts.extend(named.into_iter().map(|(name, value)| format!("{} {}", cut(name), cut(value))));
    parts.join("  ")
}

/// The tables of a database.
fn tables(url: &str, scheme: Scheme) -> Result<String> {
    let path = resolve(contract::sqlite::path(url).unwrap_or_default(), None::<&Path>);
    let mut sql = Sql::open(url, scheme, &path)?;
    sql.begin()?;
    let all = sql.tables()?;
    let mut out = format!("store {}\n{}\n", shown(url), things(all.len(), "table"));
    for table in all.iter().take(MOST_KEYS) {
        let (count, names, rows) = sql.sample(table, MOST_ROWS).with_context(|| table.clone())?;
        let rows_there = things(usize::try_from(count)?, "row");
        let _ = writeln!(out, "\n{}\n  {rows_there}: {}", safe(table), safe(&names.join(", ")));
        for row in rows {
            let cells = row.iter().map(|cell| cell.as_deref().map_or_else(|| "NULL".into(), cut));
            let _ = writeln!(out, "    {}", cells.collect::<Vec<_>>().join("  "));
        }
    }
    if all.len() > MOST_KEYS {
        let _ = writeln!(out, "\n… and {} more", size(all.len() - MOST_KEYS));
    }
    sql.end()?;
    Ok(out)
}

/// A value that fits on a line.
fn cut(text: &str) -> String {
    let short: String = text.chars().take(MOST_CHARACTERS).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    safe(&short) + more
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn of_many_keys_the_first_are_held_and_those_are_counted_once() {
        let mut names = Names::default();
        for number in (0..MOST_KEYS).rev() {
            (0..3).for_each(|_| names.add(format!("{number:05}")));
        }
        assert_eq!((names.first.len(), names.others, names.about()), (MOST_KEYS, 0, ""));
        for number in (0..10_000).rev().chain(0..MOST_KEYS) {
            names.add(format!("{number:05}"));
            assert_eq!(names.first.len(), MOST_KEYS);
        }
        let expected: Vec<String> = (0..MOST_KEYS).map(|number| format!("{number:05}")).collect();
        assert!(names.first.iter().eq(&expected), "{:?}", names.first);
        assert_eq!((names.others, names.about()), (10_000 - MOST_KEYS, "about "));
    }

    #[test]
    fn of_many_rows_a_few_are_held_and_all_are_counted() {
        let mut rows = Rows::default();
        for number in 0..1_000 {
            rows.add(if number % 10 == 9 { Err(number.to_string()) } else { Ok(BTreeMap::new()) });
        }
        assert_eq!((rows.all, rows.bad), (1_000, 100));
        let held = rows.first.each_ref().map(Vec::len);
        assert_eq!(held, [MOST_ROWS; 2]);
        assert_eq!(rows.first[1][0], Err("9".to_owned()), "the first of them");
    }
}
