//! What a campaign does, as it happens.

use contract::wire::{ProblemCode, Status, StatusEvent, events_path};
use reqwest::{Client, Response};

use crate::instance::{Instance, PATIENCE, Store, binary, problem, until};

on_every_store! {
    tells_of_the_start_and_of_the_last_coupon
}

/// A stream of events.
struct Stream {
    answer: Response,
    text: String,
}

impl Stream {
    async fn of(client: &Client, instance: &Instance, id: &str) -> Self {
        let url = format!("{}{}", instance.url, events_path(id));
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// The next event, or nothing at the end.
    async fn next(&mut self) -> Option<StatusEvent> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.strip_prefix("event: status\ndata: ");
                let event = data.map(|data| serde_json::from_str(data).unwrap());
                self.text = rest.to_owned();
                // Else it is a heartbeat.
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let piece = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.unwrap();
            self.text += str::from_utf8(&piece.ok()??).unwrap();
        }
    }

    async fn until(&mut self, status: Status) -> StatusEvent {
        loop {
            let event = self.next().await.expect("the stream ended");
            if event.status == status {
                return event;
            }
        }
    }
}

fn http2() -> reqwest::ClientBuilder {
    Client::builder().http2_prior_knowledge().retry(reqwest::retry::never()).no_proxy()
}

async fn tells_of_the_start_and_of_the_last_coupon(store: Store) {
    let (a, b) = (store.instance(), store.instance());
    let campaign = a.create(2, 400, false).await;
    let id = &campaign.id;
    for client in [&b.client, &http2().build().unwrap()] {
        let mut early = Stream::of(client, &b, id).await;
        assert_eq!(early.next().await.unwrap().remaining, 2);
    }
    let mut stream = Stream::of(&b.client, &b, id).await;
    // However late it is by now.
    let mut open = stream.next().await.unwrap();
    assert_eq!(open.status == Status::Scheduled, open.now < campaign.starts_at, "{open:?}");
    if open.status == Status::Scheduled {
        open = stream.until(Status::Open).await;
    }
    assert_eq!(open.remaining, 2);
    assert!(open.now >= campaign.starts_at, "{open:?}");
    for _ in 0..2 {
        a.issue(id, None, None).await.coupon();
    }
    assert_eq!(stream.until(Status::SoldOut).await.remaining, 0);
    let late = Stream::of(&a.client, &a, id).await.next().await.unwrap();
    assert_eq!(late.status, Status::SoldOut);
    let unknown = a.get(&events_path("77")).send().await.unwrap();
    assert_eq!(problem(unknown).await.unwrap().code, ProblemCode::CampaignNotFound);
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let store = Store::sqlite();
    let mut instance = store.instance_with(&["--drain-timeout", "60s"]);
    let id = instance.create(2, -1, false).await.id;
    let mut stream = Stream::of(&instance.client, &instance, &id).await;
    stream.next().await.unwrap();
    let log = instance.stop();
    assert!(log.iter().all(|line| !line.contains("cut off")), "{log:?}");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn there_is_an_end_to_streams() {
    let instance = Instance::alone(&[]);
    let id = instance.create(2, 60_000, false).await.id;
    let client = http2().build().unwrap();
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        streams.push(Stream::of(&client, &instance, &id).await);
    }
    let full = async || instance.get(&events_path(&id)).send().await.unwrap();
    let refused = full().await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(problem(refused).await.unwrap().code, ProblemCode::Overloaded);
    // Everything else goes on.
    assert_eq!(instance.campaign(&id).await.remaining, 2);
    drop(streams.pop());
    until(async || full().await.status() == 200).await;
}

#[tokio::test]
async fn who_takes_no_events_is_cut() {
    let store = Store::sqlite();
    let debug = ["--store", &store.flag(), "--listen", "127.0.0.1:0"];
    let instance = Instance::start(binary().env("RUST_LOG", "coupon_server=debug").args(debug));
    let id = instance.create(1_000, -1, false).await.id;
    // Room for a part of the first event, and no more until somebody reads.
    let slow = http2().http2_initial_stream_window_size(20).build().unwrap();
    let url = format!("{}{}", instance.url, events_path(&id));
    let mut unread = slow.get(&url).send().await.unwrap();
    let mut reading = Stream::of(&instance.client, &instance, &id).await;
    let mut told = reading.next().await.unwrap();
    for _ in 0..4 {
        instance.issue(&id, None, None).await.coupon();
        let next = reading.next().await.unwrap();
        assert!(next.remaining < told.remaining);
        told = next;
    }
    instance.until_log("its reader is too slow");
    while let Some(_part) = unread.chunk().await.unwrap_or_default() {}
    // Whoever reads goes on being told.
    instance.issue(&id, None, None).await.coupon();
    assert!(reading.next().await.unwrap().remaining < told.remaining);
}
