//! The codec against a peer that says exactly these bytes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";

/// What comes of a request that is answered with `pieces`, each sent alone; then the peer hangs up.
async fn answered(
    request: &'static [u8],
    pieces: &'static [&'static [u8]],
) -> Result<Whole, Broken> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut seen = vec![0; request.len()];
        stream.read_exact(&mut seen).await.unwrap();
        for piece in pieces {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut connection = Connection::open(&authority).await.unwrap();
    connection.begin(request);
    let answer = connection.answer(request).await;
    peer.await.unwrap();
    answer
}

#[tokio::test]
async fn every_framing_is_read() {
    let length: &[&[u8]] = &[b"HTTP/1.1 201 Created\r\ncontent-le", b"ngth: 5\r\n\r\nhe", b"llo"];
    let chunked: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhe\r",
        b"\n3;x=y\r\nllo\r\n0\r\nx-trailer: 1\r\n",
        b"\r\n",
    ];
    let closed: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo"];
    let early: &[&[u8]] =
        &[b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"];
    for (pieces, status, reusable) in
        [(length, 201, true), (chunked, 200, true), (closed, 200, false), (early, 200, true)]
    {
        let whole = answered(REQUEST, pieces).await.unwrap();
        assert_eq!((whole.status, whole.body.as_slice()), (status, b"hello".as_slice()));
        assert_eq!(whole.reusable(), reusable, "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_is_whole() {
    let head = b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n";
    let whole = answered(head, &[b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"]).await.unwrap();
    assert!(whole.body.is_empty() && whole.reusable());
    let whole = answered(REQUEST, &[b"HTTP/1.1 204 No Content\r\n\r\n"]).await.unwrap();
    assert!(whole.body.is_empty() && whole.reusable());
}

#[tokio::test]
async fn what_is_cut_or_no_answer_is_doubtful() {
    let cases: [(&'static str, Broken); 8] = [
        ("", Broken::Disconnected),
        ("HTTP/1.1 200 OK\r\ncontent-len", Broken::Disconnected),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell", Broken::Unreadable),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", Broken::Unreadable),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", Broken::Unreadable),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n", Broken::Unreadable),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            Broken::Unreadable,
        ),
        ("SSH-2.0-x\r\n", Broken::Unreadable),
    ];
    for (text, want) in cases {
        let pieces: &'static [&'static [u8]] = Box::leak(Box::new([text.as_bytes()]));
        assert_eq!(answered(REQUEST, pieces).await.unwrap_err(), want, "{text:?}");
    }
}

#[tokio::test]
async fn a_goodbye_ends_the_reuse() {
    for (head, reusable) in [
        (b"HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n".as_slice(), false),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nmore", false),
    ] {
        let pieces: &'static [&'static [u8]] = Box::leak(Box::new([head]));
        assert_eq!(answered(REQUEST, pieces).await.unwrap().reusable(), reusable);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_writes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let mut connection = Connection::open(&authority).await.unwrap();
    assert!(connection.is_alive());
    drop(listener.accept().await.unwrap());
    // The goodbye is on its way over the loopback interface; the event loop hears of it.
    connection.stream.readable().await.unwrap();
    assert!(!connection.is_alive());
    assert!(!connection.has_written());
}

#[test]
fn a_body_has_its_length() {
    let mut request = Request {
        method: hyper::Method::POST,
        uri: "/x?y=1".into(),
        headers: vec![(hyper::header::ACCEPT, HeaderValue::from_static("a"))],
        body: b"hi".to_vec(),
    };
    let text = String::from_utf8(packed("h:1", &request)).unwrap();
    assert_eq!(
        text,
        "POST /x?y=1 HTTP/1.1\r\nhost: h:1\r\naccept: a\r\ncontent-length: 2\r\n\r\nhi"
    );
    (request.method, request.body) = (hyper::Method::GET, Vec::new());
    assert!(!String::from_utf8(packed("h:1", &request)).unwrap().contains("content-length"));
}
