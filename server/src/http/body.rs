//! Reads a request's body: whole, limited, and in time.
//!
//! The body is read before anything is answered, whatever the answer is going to be. Over HTTP/2 an
//! answer ends the stream, and h2 remembers 50 of those for a second. What comes of a body later is a
//! fault of the peer to it, and after 1,024 of them it closes the connection (ENHANCE_YOUR_CALM): a
//! coupon server that refuses early meets this in its first second.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use contract::wire::{Problem, ProblemCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Longest body.
pub(super) const LIMIT: usize = 16 * 1024;
/// What is read and thrown away of a longer one, for the sake of the connection.
const DISCARD: usize = 16 * 1024 * 1024;
/// Time for the whole body.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn read(body: Incoming) -> Result<Bytes, Problem> {
    let mut length = 0;
    let collected = tokio::time::timeout(PATIENCE, collect(body, &mut length)).await;
    if length > LIMIT {
        return Err(Problem::new(
            ProblemCode::TooLarge,
            format!("the body has more than {LIMIT} bytes"),
        ));
    }
    match collected {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            ProblemCode::RequestTimeout,
            format!("the body was not complete after {} seconds", PATIENCE.as_secs()),
        )),
    }
}

/// The body up to [`LIMIT`]; `length` counts on to [`DISCARD`], also when this is given up.
async fn collect(mut body: Incoming, length: &mut usize) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|e| Problem::new(ProblemCode::BadJson, format!("the body broke off: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        *length += data.len();
        if *length <= LIMIT {
            kept.extend_from_slice(&data);
        } else if *length > DISCARD {
            break;
        }
    }
    Ok(kept.freeze())
}
