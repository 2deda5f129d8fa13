//! The client against a peer that says exactly these frames.

use std::cell::RefCell;

use futures_util::future::join_all;
use hyper::Method;
use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::scenario::{Origin, Protocol, System, Trust};

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOODBYE: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;
const ACKNOWLEDGED: u8 = 1;
/// `:status: 200` in HPACK.
const OK: &[u8] = &[0x88];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn answer(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, OK)
}

fn reset(stream: u32, reason: Reason) -> Vec<u8> {
    frame(RESET, 0, stream, &u32::from(reason).to_be_bytes())
}

fn goodbye(last: u32) -> Vec<u8> {
    frame(GOODBYE, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// A peer's end of a connection, after the client's preface.
struct Peer(TcpStream);

impl Peer {
    async fn accept(listener: &TcpListener, settings: &[u8]) -> Self {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, settings)).await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        // The client's own settings count from here on.
        stream.write_all(&frame(SETTINGS, ACKNOWLEDGED, 0, &[])).await.unwrap();
        Self(stream)
    }

    /// The next frame of this kind: its stream and its payload.
    async fn next(&mut self, kind: u8) -> (u32, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let [a, b, c, found, _, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            if found == kind {
                return (u32::from_be_bytes(id), payload);
            }
        }
    }

    async fn say(&mut self, frames: &[Vec<u8>]) {
        self.0.write_all(&frames.concat()).await.unwrap();
    }

    /// Says goodbye and hears the client out, so that nothing that was said is lost.
    async fn hang_up(self) {
        hang_up(self.0).await;
    }
}

async fn hang_up(mut stream: TcpStream) {
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

fn connections(listener: &TcpListener) -> Connections {
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = Target::try_from(url).unwrap();
    let origin = Origin::Targets(vec![target.clone()]);
    let (protocol, tls) = (Protocol::Http2, Trust::Machine);
    let reach = Reach::of(&System { origin, store: None, protocol, tls }).unwrap();
    Connections::new(target, reach)
}

fn request() -> Request {
    let (method, uri) = (Method::POST, "/x?y=1".into());
    Request { method, uri, headers: Vec::new(), body: b"hi".to_vec() }
}

async fn bound() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// What comes of two requests on one connection, whose streams are 1 and 3, when the peer says
/// this and hangs up.
async fn told(said: Vec<Vec<u8>>) -> [Result<u16, Broken>; 2] {
    let test = async {
        let listener = bound().await;
        let client = connections(&listener);
        let peer = spawn_local(async move {
            let mut peer = Peer::accept(&listener, &[]).await;
            assert_eq!(peer.next(HEADERS).await.0, 1);
            assert_eq!(peer.next(HEADERS).await.0, 3);
            peer.say(&said).await;
            peer.hang_up().await;
        });
        let packed = packed(&client.target, &request());
        let mut links = [client.connect().await.unwrap(), client.idle().unwrap()];
        links.iter_mut().for_each(|link| link.begin(&packed));
        assert!(links.iter().all(Link::has_written));
        let [first, second] = &mut links;
        let both = [first.answer().await, second.answer().await];
        peer.await.unwrap();
        assert!(client.idle().is_none(), "the connection is gone");
        both.map(|answer| answer.map(|whole| whole.status))
    };
    LocalSet::new().run_until(test).await
}

#[tokio::test]
async fn what_the_peer_did_not_look_at_has_no_effect() {
    assert_eq!(told(vec![goodbye(1), answer(1)]).await, [Ok(200), Err(Broken::NotWritten)]);
    assert_eq!(told(vec![goodbye(0)]).await, [Err(Broken::NotWritten); 2]);
    let refused = reset(3, Reason::REFUSED_STREAM);
    assert_eq!(told(vec![refused, answer(1)]).await, [Ok(200), Err(Broken::NotWritten)]);
}

#[tokio::test]
async fn what_the_peer_may_have_looked_at_is_doubtful() {
    let gone = Err(Broken::Disconnected);
    assert_eq!(told(vec![]).await, [gone; 2]);
    assert_eq!(told(vec![goodbye(3)]).await, [gone; 2]);
    assert_eq!(told(vec![reset(3, Reason::INTERNAL_ERROR), answer(1)]).await, [Ok(200), gone]);
    assert_eq!(told(vec![reset(1, Reason::CANCEL), answer(3)]).await, [gone, Ok(200)]);
}

#[tokio::test]
async fn what_is_cut_or_no_answer_is_unreadable() {
    let bad = Err(Broken::Unreadable);
    let head = frame(HEADERS, END_HEADERS, 1, OK);
    assert_eq!(told(vec![head.clone(), answer(3)]).await, [bad, Ok(200)]);
    // The answer had begun, so the request was looked at.
    let cut = vec![head.clone(), reset(1, Reason::REFUSED_STREAM), answer(3)];
    assert_eq!(told(cut).await, [bad, Ok(200)]);
    let data = |flags| frame(0, flags, 1, &[b'x'; 16 * 1024]);
    let all = [0, 0, 0, 0, END_STREAM].map(data);
    let long = [vec![head], all.to_vec(), vec![answer(3)]].concat();
    assert_eq!(told(long).await, [bad, Ok(200)]);
    assert_eq!(told(vec![frame(HEADERS, END_HEADERS, 2, OK)]).await, [bad; 2]);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_unreadable() {
    // A header `a` of 16,000 bytes in HPACK, not to be remembered.
    let field = [&[0, 1, b'a', 0x7f, 0x81, 0x7c][..], &[b'x'; 16_000]].concat();
    let more = |flags| frame(CONTINUATION, flags, 1, &field);
    let answered = |fields: usize| {
        let mut frames = vec![frame(HEADERS, END_STREAM, 1, OK)];
        frames.extend((1..fields).map(|_| more(0)));
        told([frames, vec![more(END_HEADERS), answer(3)]].concat())
    };
    assert_eq!(answered(3).await, [Ok(200), Ok(200)]);
    assert_eq!(answered(5).await, [Err(Broken::Unreadable), Ok(200)]);
}

#[tokio::test]
async fn a_request_that_is_given_up_ends_alone() {
    let test = async {
        let listener = bound().await;
        let client = connections(&listener);
        let packed = packed(&client.target, &request());
        let peer = spawn_local(async move {
            let mut peer = Peer::accept(&listener, &[]).await;
            let (stream, payload) = peer.next(RESET).await;
            assert_eq!((stream, payload), (1, u32::from(Reason::CANCEL).to_be_bytes().to_vec()));
            peer.say(&[answer(3)]).await;
            peer
        });
        let mut given_up = client.connect().await.unwrap();
        let mut patient = client.idle().unwrap();
        given_up.begin(&packed);
        patient.begin(&packed);
        drop(given_up);
        assert_eq!(patient.answer().await.unwrap().status, 200);
        assert!(client.idle().is_some(), "the connection stays");
        peer.await.unwrap();
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_connection_that_the_peer_has_left_takes_no_request() {
    let test = async {
        let listener = bound().await;
        let client = connections(&listener);
        let peer = spawn_local(async move {
            let mut peer = Peer::accept(&listener, &[]).await;
            peer.next(HEADERS).await;
            peer.say(&[answer(1)]).await;
            peer.hang_up().await;
        });
        let packed = packed(&client.target, &request());
        let mut link = client.connect().await.unwrap();
        link.begin(&packed);
        assert_eq!(link.answer().await.unwrap().status, 200);
        peer.await.unwrap();
        while link.connection.is_alive() {
            tokio::task::yield_now().await;
        }
        link.begin(&packed);
        assert!(!link.has_written());
        assert_eq!(link.answer().await.unwrap_err(), Broken::NotWritten);
    };
    LocalSet::new().run_until(test).await;
}

/// How many connections so many requests at once get, and how many requests each, where the peer
/// sends these settings.
async fn spread(requests: usize, settings: &'static [u8]) -> Vec<usize> {
    let test = async {
        let listener = bound().await;
        let client = connections(&listener);
        spawn_local(async move {
            let mut peers = Vec::new();
            loop {
                peers.push(Peer::accept(&listener, settings).await);
            }
        });
        let links = RefCell::new(Vec::new());
        join_all((0..requests).map(|_| async {
            let link = match client.idle() {
                Some(link) => link,
                None => client.connect().await.unwrap(),
            };
            links.borrow_mut().push(link);
        }))
        .await;
        let mut each: Vec<usize> = client.open.borrow().iter().map(|c| c.under_way.get()).collect();
        each.sort_unstable();
        drop(links);
        assert!(client.open.borrow().iter().all(|c| c.under_way.get() == 0), "places come back");
        each
    };
    LocalSet::new().run_until(test).await
}

#[tokio::test]
async fn requests_share_connections_up_to_a_limit() {
    assert_eq!(spread(1, &[]).await, [1]);
    assert_eq!(spread(100, &[]).await, [100]);
    assert_eq!(spread(250, &[]).await, [50, 100, 100]);
    // MAX_CONCURRENT_STREAMS: 40.
    assert_eq!(spread(100, &[0, 3, 0, 0, 0, 40]).await, [20, 40, 40]);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_http2_is_not_connected() {
    let test = async {
        let listener = bound().await;
        let client = connections(&listener);
        let peer = spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            hang_up(stream).await;
        });
        let error = client.connect().await.unwrap_err().to_string();
        assert!(error.starts_with("no HTTP/2: "), "{error}");
        peer.await.unwrap();
        // Nobody listens any more: that has a code of the system.
        assert!(client.connect().await.unwrap_err().raw_os_error().is_some());
    };
    LocalSet::new().run_until(test).await;
}

#[test]
fn what_belongs_to_http1_is_left_out() {
    let mut request = request();
    for (name, value) in
        [("connection", "close"), ("host", "shop.example"), ("te", "x"), ("accept", "a")]
    {
        let name = HeaderName::from_static(name);
        request.headers.push((name, HeaderValue::from_static(value)));
    }
    let target = Target::try_from("https://h:1").unwrap();
    let head = packed(&target, &request).head.unwrap();
    assert_eq!(
        (head.method(), head.uri().to_string().as_str()),
        (&Method::POST, "https://shop.example/x?y=1")
    );
    let names: Vec<&str> = head.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["accept", "content-length"]);
    (request.method, request.body) = (Method::GET, Vec::new());
    request.headers.clear();
    let head = packed(&target, &request).head.unwrap();
    assert!(!head.headers().contains_key(CONTENT_LENGTH));
    assert_eq!(head.uri().to_string(), "https://h:1/x?y=1");
}
