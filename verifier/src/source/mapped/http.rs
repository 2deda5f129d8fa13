//! What a system tells over HTTP: a number, or a list in pages. Only GET is sent, as direct as it
//! goes: no proxy, no redirect.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use contract::secrets::escaped;
use contract::store::{List, Reading};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::row::{Entry, number_in, of_value};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A list with more pages than this has no end.
const MOST_PAGES: u64 = 1_000_000;

/// A system that answers over HTTP.
#[derive(Debug)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    runtime: Runtime,
    base: String,
}

/// One page: the holes of its path.
#[derive(Clone, Debug)]
struct Page {
    number: u64,
    offset: usize,
    next: String,
}

impl Http {
    /// Makes a client; nothing is asked yet.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn open(url: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider);
        let tls = tls.with_safe_default_protocol_versions()?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self { client, runtime, base: url.trim_end_matches('/').to_owned() })
    }

    /// The number in the answer; `None` where the system answers 404. Where `list` says where rows
    /// stand, it is how many there are.
    ///
    /// # Errors
    /// When there is no whole answer, or no number in it.
    pub fn number(&self, list: &List, campaign: &str) -> Result<Option<i64>> {
        let Some(at) = &list.json else {
            let mut count = 0;
            let there = self.pages(list, campaign, &mut |_| count += 1)?;
            return Ok(there.then_some(count));
        };
        let page = Page { number: list.first, offset: 0, next: String::new() };
        let json = self.get(list, campaign, &page)?;
        json.map(|json| number_in(&json, at)).transpose()
    }

    /// Every row of a ledger. Says whether the system has such a list.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn rows(
        &self,
        reading: &Reading,
        list: &List,
        campaign: &str,
        each: &mut dyn FnMut(Entry),
    ) -> Result<bool> {
        self.pages(list, campaign, &mut |row| each(of_value(row, &reading.columns)))
    }

    fn pages(&self, list: &List, campaign: &str, each: &mut dyn FnMut(&Value)) -> Result<bool> {
        let rows = list.rows.as_ref().context("the mapping does not say where the rows stand")?;
        let mut page = Page { number: list.first, offset: 0, next: String::new() };
        let by = list.pages().next();
        let mut before = Value::Null;
        for _ in 0..MOST_PAGES {
            let Some(json) = self.get(list, campaign, &page)? else {
                ensure!(page.offset == 0, "{}: 404 in the middle of the list", list.path);
                return Ok(false);
            };
            let found = rows.all(&json);
            found.iter().for_each(|row| each(row));
            let Some(by) = by.filter(|_| !found.is_empty()) else { return Ok(true) };
            ensure!(
                json != before,
                "{}: two pages are the same; does the system look at {{{by}}}?",
                list.path
            );
            page.number += 1;
            page.offset += found.len();
            if by == "next" {
                page.next = match next(list, &json) {
                    Some(next) => next,
                    None => return Ok(true),
                };
            }
            before = json;
        }
        bail!("{}: the list has no end", list.path)
    }

    /// The answer as JSON; `None` where it is 404.
    fn get(&self, list: &List, campaign: &str, page: &Page) -> Result<Option<Value>> {
        let path = list
            .path
            .replace("{campaign}", &escaped(campaign))
            .replace("{page}", &page.number.to_string())
            .replace("{offset}", &page.offset.to_string())
            .replace("{next}", &escaped(&page.next));
        let mut asking = hyper::Request::get(format!("{}{path}", self.base));
        for (name, value) in &list.headers {
            let value = value.expanded().map_err(|what| anyhow!("headers.{name}: {what}"))?;
            asking = asking.header(name, value);
        }
        let asking = asking.body(Empty::new()).with_context(|| format!("GET {path}"))?;
        let answered = async {
            let answer = self.client.request(asking).await.map_err(|e| deepest(&e))?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|e| deepest(&e))?;
            Ok::<_, anyhow::Error>((head.status, body.to_bytes()))
        };
        let late = || anyhow!("no answer within {} s", PATIENCE.as_secs());
        let patiently = async { tokio::time::timeout(PATIENCE, answered).await };
        let answered = self.runtime.block_on(patiently).map_err(|_| late());
        let (status, body) = answered.flatten().with_context(|| format!("GET {path}"))?;
        if status == hyper::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(status.is_success(), "GET {path}: answered {}", status.as_u16());
        let json = serde_json::from_slice(&body);
        json.map(Some).map_err(|_| anyhow!("GET {path}: the answer is no JSON"))
    }
}

/// What the answer says to ask for next; nothing at the end of the list.
fn next(list: &List, json: &Value) -> Option<String> {
    let text = match list.next.as_ref()?.one(json)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The cause of all causes.
fn deepest(error: &dyn std::error::Error) -> anyhow::Error {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    anyhow!("{error}")
}
