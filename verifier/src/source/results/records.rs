//! The records of each format, all as JSON: one object a request.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::Format;

/// The metric of k6 that has one point a request.
pub(super) const REQUEST: &str = "http_req_duration";
/// The columns of vegeta's CSV, which has no header line.
const VEGETA: [&str; 12] = [
    "timestamp",
    "code",
    "latency",
    "bytes_out",
    "bytes_in",
    "error",
    "body",
    "attack",
    "seq",
    "method",
    "url",
    "headers",
];

/// Calls `each` for every record; of k6 for every point of the metric.
///
/// # Errors
/// When the file cannot be read or `each` fails; the message has the line.
pub(super) fn read(
    path: &Path,
    (format, metric): (Format, &str),
    each: &mut dyn FnMut(&Value) -> Result<()>,
) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut at_line = |line: u64, record: Value| {
        each(&record).with_context(|| format!("{}:{line}", path.display()))
    };
    match format {
        Format::K6Json | Format::VegetaJson => {
            for (line, text) in (1..).zip(BufReader::new(file).lines()) {
                let place = || format!("{}:{line}", path.display());
                let text = text.with_context(place)?;
                if text.trim().is_empty() {
                    continue;
                }
                let json: Value = serde_json::from_str(&text)
                    .map_err(|e| anyhow!("it is no JSON: {e}"))
                    .with_context(place)?;
                let is_k6 = format == Format::K6Json;
                let record = if is_k6 { point(json, metric) } else { Some(decoded(json)) };
                record.map_or(Ok(()), |record| at_line(line, record))?;
            }
            Ok(())
        }
        Format::Csv | Format::K6Csv | Format::VegetaCsv => {
            let headed = format != Format::VegetaCsv;
            let mut reader = csv::ReaderBuilder::new().has_headers(headed).from_reader(file);
            let names: Vec<String> = match headed {
                true => reader.headers()?.iter().map(str::to_owned).collect(),
                false => VEGETA.map(str::to_owned).to_vec(),
            };
            for row in reader.records() {
                let row = row.with_context(|| path.display().to_string())?;
                let line = row.position().map_or(0, csv::Position::line);
                let cells = names.iter().cloned().zip(row.iter().map(Value::from));
                let record = Value::Object(cells.collect());
                let record = match format {
                    Format::K6Csv => k6_row(record, metric),
                    Format::VegetaCsv => Some(decoded(record)),
                    Format::Csv | Format::K6Json | Format::VegetaJson => Some(record),
                };
                record.map_or(Ok(()), |record| at_line(line, record))?;
            }
            Ok(())
        }
    }
}

/// A line of k6's JSON, if it is about a request: time, value and tags side by side.
fn point(json: Value, metric: &str) -> Option<Value> {
    if json.get("type")? != "Point" || json.get("metric")? != metric {
        return None;
    }
    let data = json.get("data")?;
    let mut record: Map<String, Value> = data.get("tags")?.as_object()?.clone();
    for name in ["time", "value"] {
        record.insert(name.to_owned(), data.get(name)?.clone());
    }
    Some(Value::Object(record))
}

/// A row of k6's CSV, if it is about a request, with its own tags side by side with the others.
fn k6_row(record: Value, metric: &str) -> Option<Value> {
    let Value::Object(mut record) = record else { return None };
    if record.get("metric_name")? != metric {
        return None;
    }
    let tags = record.get("extra_tags").and_then(Value::as_str).unwrap_or_default().to_owned();
    for (name, value) in tags.split('&').filter_map(|tag| tag.split_once('=')) {
        record.insert(name.to_owned(), value.into());
    }
    Some(Value::Object(record))
}

/// A record of vegeta with its body as what it is: JSON, or else a text.
fn decoded(mut record: Value) -> Value {
    let body = record.get("body").and_then(Value::as_str).unwrap_or_default();
    let bytes = BASE64_STANDARD.decode(body).unwrap_or_default();
    let json = serde_json::from_slice(&bytes);
    let body = json.unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
    if let Some(record) = record.as_object_mut() {
        record.insert("body".into(), body);
    }
    record
}
