//! The server that all load generators are measured against: the same bytes to everybody, with as
//! little work as possible, in a process of its own.
//!
//! Where arrivals are timed, it asks the kernel when the bytes of a request were received
//! (SO_TIMESTAMPNS), so its own wake-up is not part of any figure.
//!
//! It speaks in lines: its port; `first` at the first request; `held N` where it holds answers
//! back. What it is told, on its standard input: `answer` what is held, `end` and report.

use std::io::{self, BufRead as _, BufReader, IoSliceMut, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};

/// Requests are counted in steps of this length.
pub(crate) const STEP: Duration = Duration::from_millis(100);
/// First argument of the process that is this server.
pub(crate) const ROLE: &str = "be-the-server";

const ANSWER: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\
    content-length: 74\r\n\r\n\
    {\"code\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"seq\":1000000,\"remaining\":99000000}";

/// What the server does besides answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing.
    Plain,
    /// Notes when each request was received.
    Timed,
    /// Holds answers back until it is told to give them, and says when it holds so many.
    Holding(usize, usize),
}

/// What it saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Requests in each [`STEP`] since the first one.
    pub(crate) steps: Vec<u64>,
    /// When each was received, Unix nanoseconds, in order; only where that was asked for.
    pub(crate) arrivals: Vec<i64>,
    /// How many of these are the kernel's word, and not the moment they were read.
    pub(crate) by_kernel: usize,
}

/// The server as the benchmark sees it.
pub(crate) struct Server {
    process: Child,
    tell: ChildStdin,
    lines: BufReader<ChildStdout>,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(manner: Manner) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped());
        match manner {
            Manner::Plain => {}
            Manner::Timed => drop(command.arg("timed")),
            Manner::Holding(few, many) => {
                command.args([few.to_string(), many.to_string()]);
            }
        }
        let mut process = command.spawn().unwrap();
        let tell = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, tell, lines, port: 0 };
        server.port = server.hear().parse().unwrap();
        server
    }

    /// Waits for its next line.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Whether there is a line to hear.
    pub(crate) fn has_spoken(&self) -> bool {
        let mut line = [PollFd::new(self.lines.get_ref().as_fd(), PollFlags::POLLIN)];
        !self.lines.buffer().is_empty() || poll(&mut line, PollTimeout::ZERO) == Ok(1)
    }

    /// Gives all answers that are held back.
    pub(crate) fn answer(&mut self) {
        writeln!(self.tell, "answer").unwrap();
    }

    /// Ends it and takes its report.
    pub(crate) fn end(mut self) -> Seen {
        writeln!(self.tell, "end").unwrap();
        let mut report = String::new();
        self.lines.read_to_string(&mut report).unwrap();
        // Where no request came, nobody has read the line that the first would have been.
        serde_json::from_str(report.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Is the server, until it is told to end.
pub(crate) fn run(arguments: &[String]) {
    let manner = match arguments {
        [few, many] => Manner::Holding(few.parse().unwrap(), many.parse().unwrap()),
        [one] if one == "timed" => Manner::Timed,
        _ => Manner::Plain,
    };
    Loop::new(manner).run();
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a request whose rest has not come.
    partial: Vec<u8>,
}

/// One thread, one epoll.
struct Loop {
    manner: Manner,
    listener: TcpListener,
    epoll: Epoll,
    /// By the event's number, less [`FIRST`].
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Whose answers are held back.
    held: Vec<usize>,
    begin: Option<Instant>,
    seen: Seen,
}

const LISTENER: u64 = 0;
const TOLD: u64 = 1;
const FIRST: u64 = 2;

impl Loop {
    fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        if manner == Manner::Timed {
            // Connections inherit it.
            setsockopt(&listener, sockopt::ReceiveTimestampns, &true).unwrap();
        }
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let readable = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
        epoll.add(&listener, readable(LISTENER)).unwrap();
        epoll.add(io::stdin().as_fd(), readable(TOLD)).unwrap();
        say(&listener.local_addr().unwrap().port().to_string());
        let (connections, free, held) = (Vec::new(), Vec::new(), Vec::new());
        let seen = Seen { arrivals: Vec::with_capacity(1 << 16), ..Seen::default() };
        Self { manner, listener, epoll, connections, free, held, begin: None, seen }
    }

    fn run(mut self) {
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let count = self.epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept(),
                    TOLD if self.told_to_end() => {
                        self.seen.arrivals.sort_unstable();
                        return say(&serde_json::to_string(&self.seen).unwrap());
                    }
                    TOLD => {}
                    number => self.serve(usize::try_from(number - FIRST).unwrap()),
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            let at = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let event = EpollEvent::new(EpollFlags::EPOLLIN, FIRST + at as u64);
            self.epoll.add(&stream, event).unwrap();
            self.connections[at] = Some(Connection { stream, partial: Vec::new() });
        }
    }

    /// Reads what came on a connection and answers what is whole.
    fn serve(&mut self, at: usize) {
        let Some(connection) = &mut self.connections[at] else { return };
        let mut buffer = [0; 16 << 10];
        let (read, stamp) = match receive(&connection.stream, &mut buffer, self.manner) {
            Ok((0, _)) => return self.close(at),
            Ok(read) => read,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return,
            Err(_) => return self.close(at),
        };
        let whole = if connection.partial.is_empty() && request(&buffer[..read]) == Some(read) {
            1
        } else {
            connection.partial.extend_from_slice(&buffer[..read]);
            take_whole(&mut connection.partial)
        };
        for _ in 0..whole {
            self.note(stamp);
            match self.manner {
                Manner::Plain | Manner::Timed => self.give(at),
                Manner::Holding(few, many) => {
                    self.held.push(at);
                    if [few, many].contains(&self.held.len()) {
                        say(&format!("held {}", self.held.len()));
                    }
                }
            }
        }
    }

    fn give(&mut self, at: usize) {
        let Some(connection) = &mut self.connections[at] else { return };
        if connection.stream.write(ANSWER).ok() != Some(ANSWER.len()) {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        // Closing takes it out of the epoll set as well.
        self.connections[at] = None;
        self.free.push(at);
    }

    fn note(&mut self, stamp: Option<i64>) {
        let begin = *self.begin.get_or_insert_with(|| {
            say("first");
            Instant::now()
        });
        let step = usize::try_from(begin.elapsed().as_millis() / STEP.as_millis()).unwrap();
        if self.seen.steps.len() <= step {
            self.seen.steps.resize(step + 1, 0);
        }
        self.seen.steps[step] += 1;
        if self.manner == Manner::Timed {
            self.seen.by_kernel += usize::from(stamp.is_some());
            self.seen.arrivals.push(stamp.unwrap_or_else(now));
        }
    }

    fn told_to_end(&mut self) -> bool {
        let mut line = String::new();
        // The end of the input is the end of the benchmark.
        if io::stdin().read_line(&mut line).unwrap_or(0) == 0 || line == "end\n" {
            return true;
        }
        self.manner = Manner::Plain;
        for at in std::mem::take(&mut self.held) {
            self.give(at);
        }
        false
    }
}

/// Reads, and says when the last of it was received where that is asked for.
fn receive(
    stream: &TcpStream,
    buffer: &mut [u8],
    manner: Manner,
) -> nix::Result<(usize, Option<i64>)> {
    if manner != Manner::Timed {
        return Ok((nix::sys::socket::recv(stream.as_raw_fd(), buffer, MsgFlags::empty())?, None));
    }
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|control| {
        let ControlMessageOwned::ScmTimestampns(t) = control else { return None };
        Some(t.tv_sec() * 1_000_000_000 + t.tv_nsec())
    });
    Ok((message.bytes, stamp))
}

/// How long the request at the beginning of `bytes` is, once it is whole.
fn request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let length = bytes[..head].split(|b| *b == b'\n').find_map(|line| {
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = line.split_at(colon);
        let value = name.eq_ignore_ascii_case(b"content-length").then_some(&value[1..])?;
        std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok()
    });
    let end = head + length.unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}

/// Takes all whole requests from the beginning of `bytes`, and says how many.
fn take_whole(bytes: &mut Vec<u8>) -> usize {
    let mut count = 0;
    while let Some(end) = request(bytes) {
        bytes.drain(..end);
        count += 1;
    }
    count
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}
