//! A connection of either side, TLS or not, and the time that one may take.
//!
//! A connection belongs to one task. Both directions are used at once through a `RefCell`: each borrows it for the length of
//! one poll and no longer.

mod buffer;
mod timer;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

pub use self::buffer::Buffer;
pub use self::timer::{Late, Timer};

#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether TLS has agreed on HTTP/2 (RFC 9113 §3.2).
    pub fn is_http2(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Waits without a buffer until there are octets to read, or the end; or perhaps neither.
    pub async fn readable(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.readable().await,
            Stream::Tls(stream) => {
                poll_fn(|context| {
                    ready!(Pin::new(&mut **stream).poll_fill_buf(context))?;
                    Poll::Ready(Ok(()))
                })
                .await
            }
        }
    }

    /// Reads what has come, and waits for nothing: `WouldBlock` where that is nothing. Whoever waits to read meanwhile is
    /// not told any more.
    pub fn try_read(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        let mut room = ReadBuf::new(buffer.room());
        // Not `TcpStream::try_read`: after a short read the runtime would ask the kernel once more.
        match Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut room) {
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(read) => read?,
        }
        let count = room.filled().len();
        buffer.filled(count);
        Ok(count)
    }

    /// Whether nothing has come on a connection where nothing should: neither octets nor the end. The kernel is asked, as
    /// what came a moment ago is not known here yet; what is left in a TLS session counts too.
    pub fn is_quiet(&mut self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        if recv(self.tcp(), &mut [0; 1], flags).err() != Some(Errno::AGAIN) {
            return false;
        }
        match self {
            Stream::Plain(_) => true,
            Stream::Tls(stream) => {
                let mut context = Context::from_waker(Waker::noop());
                Pin::new(&mut **stream).poll_fill_buf(&mut context).is_pending()
            }
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
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Reads what there is, behind what the buffer has; 0 for the end.
pub async fn read(stream: &RefCell<Stream>, buffer: &mut Buffer) -> io::Result<usize> {
    poll_fn(|context| {
        let mut room = ReadBuf::new(buffer.room());
        ready!(Pin::new(&mut *stream.borrow_mut()).poll_read(context, &mut room))?;
        let count = room.filled().len();
        buffer.filled(count);
        Poll::Ready(Ok(count))
    })
    .await
}

/// Writes as much of it as is taken now.
pub async fn write_some(stream: &RefCell<Stream>, octets: &[u8]) -> io::Result<usize> {
    poll_fn(|context| match Pin::new(&mut *stream.borrow_mut()).poll_write(context, octets) {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => written,
    })
    .await
}

/// Sends what was written on its way.
pub async fn flush(stream: &RefCell<Stream>) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream.borrow_mut()).poll_flush(context)).await
}

/// Writes all of it, and sends it on its way. `time` is how long nothing of it may be taken.
pub async fn write(
    stream: &RefCell<Stream>,
    mut octets: &[u8],
    time: Duration,
    timer: &mut Timer,
) -> Result<io::Result<()>, Late> {
    while !octets.is_empty() {
        match timer.within(time, write_some(stream, octets)).await? {
            Ok(count) => octets = &octets[count..],
            Err(error) => return Ok(Err(error)),
        }
    }
    timer.within(time, flush(stream)).await
}

/// The same before a close: the last octets may wait for that, and leave with it as one segment.
pub async fn write_last(
    stream: &RefCell<Stream>,
    octets: &[u8],
    time: Duration,
    timer: &mut Timer,
) -> Result<io::Result<()>, Late> {
    let taken = match &*stream.borrow() {
        Stream::Plain(stream) if !octets.is_empty() => send_last(stream, octets),
        Stream::Plain(_) | Stream::Tls(_) => Ok(0),
    };
    match taken {
        Ok(count) => write(stream, &octets[count..], time, timer).await,
        Err(error) => Ok(Err(error)),
    }
}

/// As many octets as are taken now, which wait for what comes behind them.
pub fn send_last(stream: &TcpStream, octets: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    match stream.try_io(Interest::WRITABLE, || Ok(send(stream, octets, flags)?)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}

/// Says that nothing more will be said.
pub async fn shutdown(stream: &RefCell<Stream>) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream.borrow_mut()).poll_shutdown(context)).await
}
