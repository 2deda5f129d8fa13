//! What sending each request on time costs at the least: a program that sleeps until each moment of
//! the plan, writes a request that never changes, reads what has come, and does nothing else.
//!
//! Other tools wake up for several requests at a time, which is cheaper and shows in their arrival
//! error. No tool that wakes for each of them can be below this one.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

use super::tools::{BODY, KEY, PATH, TYPE};

/// First argument of the process that is this program.
pub(crate) const ROLE: &str = "be-bare";

const SECOND: i64 = 1_000_000_000;

/// Sends `rate` requests a second for `seconds` to a port.
pub(crate) fn run(arguments: &[String]) {
    let number = |at: usize| arguments[at].parse::<u32>().unwrap();
    let (rate, seconds, port) = (number(0), number(1), u16::try_from(number(2)).unwrap());
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{KEY}\r\n{TYPE}\r\n\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    // Otherwise the kernel lets it sleep up to 50 µs longer than it asks for.
    set_timerslack(1).unwrap();
    let begin = now() + SECOND / 100;
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for k in 0..i64::from(rate) * i64::from(seconds) {
        sleep_until(begin + k * SECOND / i64::from(rate));
        let mut connection = idle.pop().unwrap_or_else(|| connect(port));
        connection.write_all(request.as_bytes()).unwrap();
        busy.push(connection);
        busy = busy.into_iter().filter_map(|c| still_busy(c, &mut idle)).collect();
    }
    std::thread::sleep(Duration::from_millis(100));
}

fn connect(port: u16) -> TcpStream {
    let connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.set_nodelay(true).unwrap();
    connection.set_nonblocking(true).unwrap();
    connection
}

/// The connection, unless its answer has come: then it is idle.
fn still_busy(mut connection: TcpStream, idle: &mut Vec<TcpStream>) -> Option<TcpStream> {
    let mut answer = [0; 4096];
    match connection.read(&mut answer) {
        Ok(0) => panic!("the server hung up"),
        Ok(_) => idle.push(connection),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(connection),
        Err(error) => panic!("{error}"),
    }
    None
}

fn now() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() * SECOND + now.tv_nsec()
}

fn sleep_until(at: i64) {
    let at = TimeSpec::new(at / SECOND, at % SECOND);
    let absolute = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, absolute, &at) == Err(nix::Error::EINTR) {}
}
