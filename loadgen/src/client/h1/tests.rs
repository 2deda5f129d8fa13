//! The codec against a peer that says exactly these bytes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::client::reach::Reach;
use crate::scenario::{Origin, Protocol, System, Target, Trust};

#[path = "../../../tests/tls/mod.rs"]
mod tls;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";

async fn connected(listener: &TcpListener) -> Connection {
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = Target::try_from(url).unwrap();
    Connection::new(Stream::open(&target, &Reach::plain().unwrap()).await.unwrap())
}

/// What comes of a request that is answered with `pieces`, each sent alone; then the peer hangs up.
async fn answered(
    request: &'static [u8],
    pieces: &'static [&'static [u8]],
) -> Result<Whole, Broken> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut connection = connected(&listener).await;
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
    let whole = answered(REQUEST, &[b"HTTP/1.1 204 No Content\r\n\r\n"]).await.unwrap();
    assert!(whole.body.is_empty() && whole.reusable());
}

#[tokio::test]
async fn what_is_cut_or_no_answer_is_doubtful() {
    let cases: [(&'static str, Broken); 9] = [
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
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhell0\r\n\r\n",
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
async fn an_answer_until_the_end_is_cut_by_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut connection = connected(&listener).await;
    let (mut peer, _) = listener.accept().await.unwrap();
    peer.write_all(b"HTTP/1.1 200 OK\r\n\r\nhel").await.unwrap();
    connection.begin(REQUEST);
    let read_and_reset = async {
        peer.readable().await.unwrap();
        peer.set_zero_linger().unwrap();
        drop(peer);
    };
    let (answer, ()) = tokio::join!(connection.answer(REQUEST), read_and_reset);
    assert_eq!(answer.unwrap_err(), Broken::Unreadable);
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
    let mut connection = connected(&listener).await;
    assert!(connection.is_alive());
    drop(listener.accept().await.unwrap());
    // The goodbye is on its way over the loopback interface; the event loop hears of it.
    connection.stream.tcp().readable().await.unwrap();
    assert!(!connection.is_alive());
    assert!(!connection.has_written());
}

/// Connects over TLS to a peer that answers once it has read so many bytes.
async fn over_tls(length: usize) -> Connection {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let acceptor = tls::acceptor(&file, &["http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let target = Target::try_from(url).unwrap();
    let origin = Origin::Targets(vec![target.clone()]);
    let (protocol, tls) = (Protocol::Http1, Trust::Also(file));
    let reach = Reach::of(&System { origin, store: None, protocol, tls }).unwrap();
    tokio::spawn(async move {
        let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut seen = vec![0; length];
        if stream.read_exact(&mut seen).await.is_ok() {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    Connection::new(Stream::open(&target, &reach).await.unwrap())
}

#[tokio::test]
async fn what_tls_holds_back_leaves_before_the_answer_is_awaited() {
    // As much as is taken while nobody reads; the last of it lies in TLS's own buffer.
    let mut connection = over_tls(64 * 1024 * 1024).await;
    connection.begin(&vec![b'x'; 64 * 1024 * 1024]);
    let length = connection.taken;
    let mut connection = over_tls(length).await;
    let request = vec![b'x'; length];
    connection.begin(&request);
    assert!(connection.has_written());
    let answer = connection.answer(&request);
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(20), answer).await;
    assert_eq!(in_time.expect("nothing is held back").unwrap().status, 200);
}

#[test]
fn a_body_has_its_length() {
    let written = |method: Method, headers: &[(HeaderName, &str)], body: &str| {
        let mut message = Message::to("h:1");
        message.line(&method, "/x?y=1");
        headers.iter().for_each(|(name, value)| message.header(name, value.as_bytes()));
        message.body(body.as_bytes());
        String::from_utf8(message.done()).unwrap()
    };
    assert_eq!(
        written(Method::POST, &[(hyper::header::ACCEPT, "a")], "hi"),
        "POST /x?y=1 HTTP/1.1\r\naccept: a\r\nhost: h:1\r\ncontent-length: 2\r\n\r\nhi"
    );
    assert_eq!(
        written(Method::GET, &[(HOST, "shop.example")], ""),
        "GET /x?y=1 HTTP/1.1\r\nhost: shop.example\r\n\r\n"
    );
    assert!(written(Method::PUT, &[], "").contains("\r\ncontent-length: 0\r\n"));
}

/// Answers that are changed by a seed, each over a connection of its own: whole, doubtful, or waited
/// for until the peer hangs up.
#[tokio::test]
async fn any_answer_is_whole_or_doubtful() {
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 201 Created\r\ncontent-type: a/b\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\nset-cookie: a=b\r\n\r\n",
    ];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for answer in answers {
        for seed in 0..500 {
            let bytes = e2e::mutated(answer, seed);
            let mut connection = connected(&listener).await;
            let peer = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = vec![0; REQUEST.len()];
                stream.read_exact(&mut seen).await.unwrap();
                // Whoever has seen enough hangs up.
                let _ = stream.write_all(&bytes).await;
            };
            connection.begin(REQUEST);
            let (answer, ()) = tokio::join!(connection.answer(REQUEST), peer);
            if let Ok(whole) = answer {
                assert!(whole.body.len() <= bytes.len(), "{whole:?}");
            }
        }
    }
}
