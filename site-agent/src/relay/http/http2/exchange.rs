//! One stream of a client: a request and its response, to the relay as HTTP/1.1 says them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;

use super::halves::{Broken, Coming, close, gone, unsayable, write};
use crate::access_log::Protocol;
use crate::head::{Body, Limits, Persistence, ResponseHead, Trailers, Version};
use crate::relay::http::carrier::Carrier;
use crate::stream::{Buffer, Late, Stream, Timer};

/// What has come of a body is gathered up to so much before the request goes on: a body that is whole by then can be sent
/// again.
const GATHERED: usize = 16 << 10;

pub struct Exchange {
    said: RefCell<Said>,
    coming: RefCell<Coming>,
}

/// What the client has been told.
enum Said {
    Nothing(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
    All,
}

impl Exchange {
    /// `body` is how the request's head frames it.
    pub fn new(respond: SendResponse<Bytes>, stream: RecvStream, body: Body) -> Exchange {
        let coming = Coming::new(stream, body);
        Exchange { said: RefCell::new(Said::Nothing(respond)), coming: RefCell::new(coming) }
    }

    /// Once the client has reset the stream, or has gone.
    pub async fn gone(&self) {
        poll_fn(|context| match &mut *self.said.borrow_mut() {
            Said::Nothing(respond) => respond.poll_reset(context).map(drop),
            Said::Begun(stream) => stream.poll_reset(context).map(drop),
            Said::All => Poll::Pending,
        })
        .await;
    }

    /// Ends it for the client, if it is not at its end.
    pub fn reset(&self, reason: Reason) {
        match &mut *self.said.borrow_mut() {
            Said::Nothing(respond) => respond.send_reset(reason),
            Said::Begun(stream) => stream.send_reset(reason),
            Said::All => {}
        }
    }

    /// Says that this was all. After a head that was all, it has been said.
    fn close(&self, trailers: &Trailers) -> io::Result<()> {
        let mut said = self.said.borrow_mut();
        let Said::Begun(stream) = &mut *said else { return Ok(()) };
        close(stream, trailers)?;
        *said = Said::All;
        Ok(())
    }
}

impl Said {
    fn body(&mut self) -> Option<&mut SendStream<Bytes>> {
        match self {
            Said::Begun(stream) => Some(stream),
            Said::Nothing(_) | Said::All => None,
        }
    }
}

/// What came is no body, or no more comes.
fn broken(broken: Broken) -> io::Error {
    match broken {
        Broken::Stream(error) => io::Error::other(error),
        Broken::Trailers(refusal) => unsayable(refusal),
    }
}

impl Carrier for &Exchange {
    /// A stream that is reset says nothing of whether a server has acted on its request.
    const CLOSING_ASKS_AGAIN: bool = false;

    fn protocol(&self, _: Version) -> Protocol {
        Protocol::Http2
    }

    fn stream(&mut self) -> Option<&mut RefCell<Stream>> {
        None
    }

    fn gather(&self, buffer: &mut Buffer) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        self.coming.borrow_mut().gather(&mut context, buffer, GATHERED)
    }

    async fn read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        poll_fn(|context| self.coming.borrow_mut().poll(context, buffer).map_err(broken)).await
    }

    /// The stream's end is the body's. One that is empty has no need to say so, which a server's head may do.
    fn framing(&self, body: Body, _: Version) -> Body {
        match body {
            Body::Chunked | Body::UntilClose => Body::UntilClose,
            Body::None | Body::Length(0) => Body::None,
            Body::Length(_) => body,
        }
    }

    fn begin(
        &self,
        head: &ResponseHead,
        body: Body,
        version: Version,
        persistence: Persistence,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut said = self.said.borrow_mut();
        let Said::Nothing(respond) = &mut *said else { return Err(gone()) };
        let response = Response::from_parts(head.to_parts().map_err(unsayable)?, ());
        // It counts as HTTP/1.1 would write it: what is left of it by HPACK is the connection's.
        head.write(version, persistence, out);
        let count = out.len();
        out.clear();
        if head.is_interim() {
            respond.send_informational(response).map_err(io::Error::other)?;
            return Ok(count);
        }
        let is_all = matches!(body, Body::None | Body::Length(0));
        let stream = respond.send_response(response, is_all).map_err(io::Error::other)?;
        *said = if is_all { Said::All } else { Said::Begun(stream) };
        Ok(count)
    }

    async fn write(
        &self,
        octets: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        write(&self.said, Said::body, octets, time, timer).await
    }

    async fn end(
        &self,
        octets: &[u8],
        trailers: &Trailers,
        _: Persistence,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        let written = self.write(octets, time, timer).await?;
        Ok(written.and_then(|()| self.close(trailers)))
    }

    async fn answer(
        &self,
        octets: &[u8],
        head: &mut ResponseHead,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        head.clear();
        let length = match head.read(octets, &Limits::OURS) {
            Ok(length) => length.unwrap_or(octets.len()),
            Err(refusal) => return Ok(Err(unsayable(refusal))),
        };
        let content = &octets[length..];
        let body = if content.is_empty() { Body::None } else { Body::UntilClose };
        let (version, persistence) = (Version::Http11, Persistence::KeepAlive);
        let begun = self.begin(head, body, version, persistence, &mut vec![]);
        if begun.is_err() {
            return Ok(begun.map(drop));
        }
        self.end(content, &Trailers::NONE, persistence, time, timer).await
    }
}
