//! What no server on hyper can be above: a hyper that answers a constant of the same size, in as many
//! threads as the server has, and does nothing else.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// First argument of the process that is this server.
pub(crate) const ROLE: &str = "be-the-limit";

const BODY: &str = r#"{"code":"AAAAAAAAAAAAAAAAAAAAAAAAAAAA","seq":1000000,"remaining":99000000,"issued_at":"2026-01-01T00:00:00.000000Z"}"#;
/// What the server says in its headers besides.
const HEADERS: [(&str, &str); 4] = [
    ("content-type", "application/json"),
    ("instance-id", "localhost-1234567-12345"),
    ("server-time", "2026-01-01T00:00:00.000000Z"),
    ("x-request-id", "0123456789abcdef0123456789abcdef"),
];

/// Is the server, until it is killed; prints its port.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut http = hyper::server::conn::http1::Builder::new();
                // As the server does: a small body is cheaper copied than written as a part of its own.
                http.writev(false);
                // Whoever hangs up has what it wanted.
                let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::builder().status(201);
    for (name, value) in HEADERS {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(BODY)).unwrap())
}
