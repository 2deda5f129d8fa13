//! The bytes below HTTP: TCP, with or without TLS.
//!
//! What counts as written is what the kernel took, below TLS: a request that only lies in TLS's own
//! buffer never left, and goes with its connection. When something came is what the kernel noted as
//! it received it: how long it lay there until a load thread looked is no time of the system's.

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, cmsg_space, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_congestion;
use rustix::net::{SendFlags, send};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::reach::Reach;
use crate::scenario::{Protocol, Scheme, Target};

/// How many bytes the kernel took.
pub(super) type Written = Rc<Cell<u64>>;

/// Room for what the kernel says besides: when it received the bytes.
#[repr(align(8))]
struct Control([u8; cmsg_space::<TimeSpec>()]);

/// A connection to a target.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Counted),
    Tls(Box<TlsStream<Counted>>),
}

/// TCP that counts.
#[derive(Debug)]
pub(super) struct Counted {
    tcp: TcpStream,
    written: Written,
    /// When the kernel received what was read last, Unix nanoseconds.
    received: Option<i64>,
}

impl Stream {
    /// Opens a connection, and agrees on TLS and on the protocol where the target has TLS.
    pub(super) async fn open(target: &Target, reach: &Reach) -> io::Result<Self> {
        let tcp = TcpStream::connect(&target.authority).await?;
        tcp.set_nodelay(true)?;
        // A kernel that does not note it is no reason not to go on.
        let _ = setsockopt(&tcp, sockopt::ReceiveTimestampns, &true);
        // A system that paces its sockets (BBR) would add moments of its own to those of the plan, at the
        // price of a timer for each request. Reno never does, and is always there.
        let _ = set_tcp_congestion(&tcp, "reno");
        let plain = Counted { tcp, written: Rc::default(), received: None };
        match target.scheme {
            Scheme::Http => Ok(Self::Plain(plain)),
            Scheme::Https => {
                let name = ServerName::try_from(target.host().to_owned());
                let name = name.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
                let tls = TlsConnector::from(reach.tls()).connect(name, plain).await?;
                let agreed = tls.get_ref().1.alpn_protocol();
                if reach.protocol() == Protocol::Http2 && agreed != Some(b"h2") {
                    return Err(io::Error::other("the target does not speak HTTP/2 over TLS"));
                }
                Ok(Self::Tls(Box::new(tls)))
            }
        }
    }

    /// The count of what is written to it.
    pub(super) fn written(&self) -> &Written {
        match self {
            Self::Plain(counted) => &counted.written,
            Self::Tls(tls) => &tls.get_ref().0.written,
        }
    }

    /// When the kernel received what was read last, Unix nanoseconds, where it notes that.
    pub(super) fn received(&self) -> Option<i64> {
        match self {
            Self::Plain(counted) => counted.received,
            Self::Tls(tls) => tls.get_ref().0.received,
        }
    }

    /// Writes what is taken here and now, whatever the event loop knows; gives how much that is. What TLS wants
    /// to write first is its own matter.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(counted) => counted.write(bytes),
            Self::Tls(tls) => {
                let mut context = Context::from_waker(Waker::noop());
                match Pin::new(tls).poll_write(&mut context, bytes) {
                    Poll::Ready(taken) => taken,
                    Poll::Pending => Ok(0),
                }
            }
        }
    }

    /// Reads what is there by now, whatever the event loop knows; gives how much that is, if anything is. What
    /// TLS has is left to the event loop.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let Self::Plain(counted) = self else { return None };
        let (read, received) = receive(counted.tcp.as_raw_fd(), buffer).ok()?;
        counted.received = received;
        Some(read)
    }

    /// Whether the event loop knows of something to read.
    pub(super) fn has_some(&mut self) -> bool {
        let mut byte = [0];
        match self {
            Self::Plain(counted) => {
                let read = counted.tcp.try_read(&mut byte);
                !read.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(tls) => {
                let mut context = Context::from_waker(Waker::noop());
                Pin::new(tls).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_ready()
            }
        }
    }

    #[cfg(test)]
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(counted) => &counted.tcp,
            Self::Tls(tls) => &tls.get_ref().0.tcp,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

impl Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match send(&self.tcp, bytes, flags) {
            Ok(taken) => {
                self.count(taken);
                Ok(taken)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what the event loop says is there.
    fn read_on(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (fd, room, received) = (self.tcp.as_raw_fd(), buffer.len(), &mut self.received);
        let mut read = 0;
        let tried = self.tcp.try_io(Interest::READABLE, || {
            (read, *received) = receive(fd, buffer)?;
            // Less than there was room for is all there is: said so, the event loop waits for more
            // and need not be told by another system call.
            if 0 < read && read < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match tried {
            Err(error) if read == 0 => Err(error),
            Ok(()) | Err(_) => Ok(read),
        }
    }

    fn count(&self, taken: usize) {
        self.written.set(self.written.get() + taken as u64);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.tcp.poll_read_ready(context))?;
            match this.read_on(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Reads from a socket, and says when the kernel received it.
fn receive(fd: RawFd, buffer: &mut [u8]) -> nix::Result<(usize, Option<i64>)> {
    let mut control = Control([0; _]);
    let mut parts = [IoSliceMut::new(buffer)];
    let control = Some(control.0.as_mut_slice());
    let message = recvmsg::<()>(fd, &mut parts, control, MsgFlags::empty())?;
    Ok((message.bytes, message.cmsgs()?.find_map(stamp)))
}

/// When the kernel received it, where this says so.
fn stamp(control: ControlMessageOwned) -> Option<i64> {
    let ControlMessageOwned::ScmTimestampns(at) = control else { return None };
    Some(at.tv_sec() * 1_000_000_000 + at.tv_nsec())
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let taken = ready!(Pin::new(&mut this.tcp).poll_write(context, bytes))?;
        this.count(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let taken = ready!(Pin::new(&mut this.tcp).poll_write_vectored(context, slices))?;
        this.count(taken);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(context)
    }
}
