//! A store that does what it is asked, and whose answer gets lost on the way: nobody can tell whether there is a
//! coupon, the buyer is told so, and the server does not ask again by itself.
//!
//! The trick: a proxy in front of the store holds back whatever comes after the request, until the coupon is seen
//! in the store itself, and only then breaks the connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use contract::wire::ProblemCode;

use crate::instance::{Instance, Store, Told, assert_sound, command, until};

/// Whose request loses its answer.
const UNLUCKY: &str = "u-unlucky";

/// A way to a store on which answers can get lost.
struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    /// The next request of the unlucky one gets no answer.
    armed: AtomicBool,
    /// How often the unlucky one's request went to the store.
    asked: AtomicUsize,
    /// The connection whose answers are held back.
    mute: Mutex<Option<[TcpStream; 2]>>,
}

impl Proxy {
    fn before(store: &Store) -> Self {
        let port = match store {
            Store::Redis(redis) => redis.port(),
            Store::Postgres(server, _) => server.port(),
            _ => panic!("no way to this store leads over one port"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way::default());
        let ours = way.clone();
        std::thread::spawn(move || {
            for server in listener.incoming().map_while(Result::ok) {
                let Ok(store) = TcpStream::connect(("127.0.0.1", port)) else { return };
                ours.clone().lead([server, store]);
            }
        });
        Self { address, way }
    }

    /// The URL of this store by way of the proxy.
    fn url(&self, store: &Store) -> String {
        let port = store.flag().rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
        store.flag().replace(&port, &self.address.port().to_string())
    }

    fn asked(&self) -> usize {
        self.way.asked.load(Ordering::SeqCst)
    }

    /// Ends the connection on which an answer is held back.
    fn cut(&self) {
        for end in self.way.mute.lock().unwrap().take().unwrap() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Way {
    fn lead(self: Arc<Self>, ends: [TcpStream; 2]) {
        let is_mute = Arc::new(AtomicBool::new(false));
        let copy = || ends.each_ref().map(|end| end.try_clone().unwrap());
        let ([mut server, mut store], both) = (copy(), copy());
        let (mute, way) = (is_mute.clone(), self);
        std::thread::spawn(move || {
            let mut end_of_last = Vec::new();
            carry(&mut server, &mut store, |bytes| {
                // The name may come in two pieces.
                let seen = [&end_of_last[..], bytes].concat();
                let named = seen.windows(UNLUCKY.len()).any(|at| at == UNLUCKY.as_bytes());
                end_of_last = seen[seen.len().saturating_sub(UNLUCKY.len() - 1)..].to_vec();
                if named {
                    way.asked.fetch_add(1, Ordering::SeqCst);
                }
                // Before the request goes on, so that no answer to it slips through.
                if named && way.armed.swap(false, Ordering::SeqCst) {
                    mute.store(true, Ordering::SeqCst);
                    *way.mute.lock().unwrap() =
                        Some(both.each_ref().map(|end| end.try_clone().unwrap()));
                }
                true
            });
        });
        let [mut server, mut store] = copy();
        std::thread::spawn(move || {
            carry(&mut store, &mut server, |_| !is_mute.load(Ordering::SeqCst));
        });
    }
}

/// Hands on what may be handed on, until either end is gone.
fn carry(from: &mut TcpStream, to: &mut TcpStream, mut may: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if may(&bytes[..length]) && to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// How many coupons there are, as the store itself has them.
fn stored(store: &Store, id: &str) -> usize {
    let told = match store {
        Store::Redis(redis) => redis.cli(&["XLEN", &format!("coupon:{{{id}}}:ledger")]),
        Store::Postgres(server, _) => {
            server.sql(&format!("SELECT count(*) FROM coupon.coupons WHERE campaign = {id}"))
        }
        _ => panic!("another store"),
    };
    told.parse().unwrap()
}

/// A request that is carried out and whose answer is lost: it is in doubt, and was sent once.
async fn loses_an_answer(
    proxy: &Proxy,
    instance: &Instance,
    store: &Store,
    id: &str,
    key: Option<&str>,
) {
    let (asked, before) = (proxy.asked(), stored(store, id));
    proxy.way.armed.store(true, Ordering::SeqCst);
    let asking = async {
        let told = instance.issue(id, Some(UNLUCKY), key).await;
        assert_eq!(told.code(), ProblemCode::StoreUnavailable);
    };
    let losing = async {
        until(async || stored(store, id) == before + 1).await;
        proxy.cut();
    };
    tokio::join!(asking, losing);
    assert_eq!(proxy.asked(), asked + 1, "it was sent again");
}

async fn an_answer_that_is_lost_is_in_doubt_and_its_request_is_not_sent_again(store: Store) {
    let proxy = Proxy::before(&store);
    let instance = Instance::start(&mut command(&proxy.url(&store)));
    let id = instance.create(10, -1, false).await.id;
    instance.issue(&id, Some("u-first"), None).await.coupon();

    // With its key the buyer finds what became of it.
    loses_an_answer(&proxy, &instance, &store, &id, Some("k")).await;
    let lost = instance_is_back(&instance, &id, Some("k")).await;
    let rows = instance.ledger(&id).await;
    assert_eq!((rows.len(), rows[1].user.as_deref()), (2, Some(UNLUCKY)));
    assert_eq!((&rows[1].code, rows[1].seq), (&lost.code, lost.seq));

    // Without one a second sending would be a second coupon.
    loses_an_answer(&proxy, &instance, &store, &id, None).await;
    let last = instance_is_back(&instance, &id, Some("l")).await;
    assert_eq!(last.seq, 4);
    let rows = instance.ledger(&id).await;
    assert_sound(&rows);
    assert_eq!(rows.len(), 4);
    assert_eq!(instance.campaign(&id).await.issued, 4);
}

/// The coupon of the unlucky one's key, once there is a connection again.
async fn instance_is_back(
    instance: &Instance,
    id: &str,
    key: Option<&str>,
) -> contract::wire::Issued {
    let coupon = Mutex::new(None);
    until(async || match instance.issue(id, Some(UNLUCKY), key).await {
        Told::Issued(told) => coupon.lock().unwrap().replace(told).is_none(),
        other => {
            assert_eq!(other.code(), ProblemCode::StoreUnavailable);
            false
        }
    })
    .await;
    coupon.into_inner().unwrap().unwrap()
}

mod redis {
    use crate::instance::Store;

    #[tokio::test]
    async fn an_answer_that_is_lost_is_in_doubt_and_its_request_is_not_sent_again() {
        super::an_answer_that_is_lost_is_in_doubt_and_its_request_is_not_sent_again(Store::redis())
            .await;
    }
}

mod postgres {
    use crate::instance::Store;

    #[tokio::test]
    async fn an_answer_that_is_lost_is_in_doubt_and_its_request_is_not_sent_again() {
        super::an_answer_that_is_lost_is_in_doubt_and_its_request_is_not_sent_again(
            Store::postgres(),
        )
        .await;
    }
}
