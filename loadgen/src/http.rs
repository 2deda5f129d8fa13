//! HTTP for what is not measured: set-up, probes and readiness. As direct as the load itself: no
//! proxy, no redirect, and nothing is sent twice.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::HeaderMap;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::client::reach::Reach;
use crate::mapping::Request;
use crate::scenario::Protocol;

/// A client with connections of its own.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    patience: Duration,
}

/// A whole answer: its status, headers and body.
pub type Answered = (u16, HeaderMap, Vec<u8>);

impl Http {
    /// A client that gives up after `patience`.
    pub fn new(reach: &Reach, patience: Duration) -> Self {
        let mut tls = (*reach.tls()).clone();
        // The connector sets it again, by the protocol that it is told.
        tls.alpn_protocols.clear();
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let (connector, http2) = match reach.protocol() {
            Protocol::Http1 => (builder.enable_http1().build(), false),
            Protocol::Http2 => (builder.enable_http2().build(), true),
        };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .retry_canceled_requests(false)
            .http2_only(http2)
            .build(connector);
        Self { client, patience }
    }

    /// Sends a request to the target `url` and reads the whole answer.
    ///
    /// # Errors
    /// Why there is no whole answer, in a few words.
    pub async fn ask(&self, url: &str, request: &Request) -> Result<Answered, String> {
        let mut asking = hyper::Request::builder()
            .method(request.method.clone())
            .uri(format!("{url}{}", request.uri));
        for (name, value) in &request.headers {
            asking = asking.header(name, value);
        }
        let asking = asking.body(Full::from(request.body.clone())).map_err(|e| e.to_string())?;
        let answered = async {
            let answer = self.client.request(asking).await.map_err(|e| deepest(&e))?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|e| deepest(&e))?;
            Ok((head.status.as_u16(), head.headers, body.to_bytes().into()))
        };
        let patience = self.patience;
        let in_time = tokio::time::timeout(patience, answered).await;
        in_time.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())))
    }

    /// The same for a GET of a path.
    ///
    /// # Errors
    /// Why there is no whole answer, in a few words.
    pub async fn get(&self, url: &str, path: &str) -> Result<Answered, String> {
        self.ask(url, &Request::get(path)).await
    }
}

/// The cause of all causes.
fn deepest(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
