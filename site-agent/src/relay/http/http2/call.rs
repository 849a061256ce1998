//! One stream to a server: a request and its response, to the relay as HTTP/1.1 says them.
//!
//! Dropped before both are at their end, it is reset for the server: nobody wants it any more.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, request, response};

use super::halves::{Broken, Coming, close, gone, octets_of, write};
use crate::head::{self, Body, Incoming, Limits, Piece, Refusal, ResponseHead, Trailers};
use crate::link::Seat;
use crate::relay::http::body::trailers_of;
use crate::relay::http::leg::{Leg, Whole};
use crate::retry;
use crate::stream::{Buffer, Late, Timer};

pub struct Call {
    seat: Seat,
    /// Until all of the request is said.
    going: RefCell<Option<SendStream<Bytes>>>,
    coming: RefCell<Answer>,
    failure: Cell<Option<retry::Cause>>,
    /// Whether the server has ended this stream alone.
    is_reset: Cell<bool>,
}

/// The response, as far as it has come.
struct Answer {
    waiting: Option<ResponseFuture>,
    /// A head that nobody has taken yet.
    head: Option<Box<(response::Parts, head::Stream)>>,
    body: Option<Coming>,
}

impl Call {
    /// Begins the request; `is_all` if its head is all. Whether that was taken is seen by what comes.
    pub fn new(seat: Seat, request: request::Parts, is_all: bool) -> Call {
        let begun = seat.begin(Request::from_parts(request, ()), is_all);
        let failure = Cell::new(begun.is_err().then_some(retry::Cause::Unprocessed));
        let (waiting, going) = begun.ok().unzip();
        let coming = Answer { waiting, head: None, body: None };
        let going = RefCell::new(going.filter(|_| !is_all));
        Call { seat, going, coming: RefCell::new(coming), failure, is_reset: Cell::new(false) }
    }

    /// Whether the server has ended this stream alone: its connection is as good as before.
    pub fn is_reset(&self) -> bool {
        self.is_reset.get()
    }

    /// Its server did not answer in time.
    pub fn is_late(&self) {
        self.seat.retire();
    }

    fn poll(&self, context: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let mut answer = self.coming.borrow_mut();
        let read = match &mut *answer {
            Answer { body: Some(body), .. } => ready!(body.poll(context, buffer)),
            Answer { waiting: Some(waiting), head, .. } => {
                match ready!(poll_head(waiting, context)) {
                    Ok(Head::Interim(parts)) => {
                        let count = octets_of(&parts.headers) + STATUS_LINE;
                        *head = Some(Box::new((parts, head::Stream::Open)));
                        Ok(count)
                    }
                    Ok(Head::Last(parts, stream)) => {
                        let count = octets_of(&parts.headers) + STATUS_LINE;
                        let (state, body) = match stream.is_end_stream() {
                            true => (head::Stream::Ended, Body::None),
                            false => (head::Stream::Open, Body::Chunked),
                        };
                        *head = Some(Box::new((parts, state)));
                        (answer.waiting, answer.body) = (None, Some(Coming::new(stream, body)));
                        Ok(count)
                    }
                    Err(error) => Err(Broken::Stream(error)),
                }
            }
            Answer { waiting: None, body: None, .. } => return Poll::Ready(Err(gone())),
        };
        Poll::Ready(read.map_err(|broken| {
            self.failure.set(Some(cause_of(&broken)));
            let is_reset = matches!(&broken, Broken::Stream(error) if error.is_reset());
            self.is_reset.set(is_reset);
            io::Error::other(broken)
        }))
    }
}

/// `HTTP/1.1 200`, the space behind it, and the ends of two lines.
const STATUS_LINE: usize = 17;

enum Head {
    Interim(response::Parts),
    Last(response::Parts, RecvStream),
}

fn poll_head(
    waiting: &mut ResponseFuture,
    context: &mut Context<'_>,
) -> Poll<Result<Head, h2::Error>> {
    if let Poll::Ready(Some(interim)) = waiting.poll_informational(context)? {
        return Poll::Ready(Ok(Head::Interim(interim.into_parts().0)));
    }
    let response: Response<RecvStream> = ready!(Pin::new(waiting).poll(context))?;
    let (parts, stream) = response.into_parts();
    Poll::Ready(Ok(Head::Last(parts, stream)))
}

/// What it means for another try that this came instead of an answer.
fn cause_of(broken: &Broken) -> retry::Cause {
    match broken {
        // RFC 9113 §8.7. After a GOAWAY only streams beyond its last are told of it.
        Broken::Stream(error)
            if error.is_remote()
                && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM)) =>
        {
            retry::Cause::Unprocessed
        }
        Broken::Stream(error) if !error.is_library() => retry::Cause::EmptyResponse,
        Broken::Stream(_) | Broken::Trailers(_) => retry::Cause::JunkResponse,
    }
}

impl Leg for Call {
    async fn send(
        &self,
        request: Whole<'_>,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        let Whole { body, mut content, limits, .. } = request;
        let mut incoming = Incoming::new(body);
        while let Ok(Some(piece)) = incoming.next(content, limits) {
            let count = match piece {
                Piece::Data(count) => {
                    let written = self.write(&content[..count], time, timer).await?;
                    if written.is_err() {
                        return Ok(written);
                    }
                    count
                }
                Piece::Framing(count) | Piece::Dropped(count) | Piece::End(count) => count,
            };
            content = &content[count..];
        }
        self.end(&[], trailers_of(&incoming), time, timer).await
    }

    /// It has begun when it was made.
    async fn begin(&self, _: &[u8], _: Duration, _: &mut Timer) -> Result<io::Result<()>, Late> {
        Ok(Ok(()))
    }

    /// The stream's end is the body's.
    fn framing(&self, body: Body) -> Body {
        match body {
            Body::Chunked | Body::UntilClose => Body::UntilClose,
            Body::None | Body::Length(_) => body,
        }
    }

    async fn write(
        &self,
        octets: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        write(&self.going, Option::as_mut, octets, time, timer).await
    }

    async fn end(
        &self,
        octets: &[u8],
        trailers: &Trailers,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        let written = self.write(octets, time, timer).await?;
        Ok(written.and_then(|()| match self.going.take() {
            Some(mut stream) => close(&mut stream, trailers),
            None => Ok(()),
        }))
    }

    fn head(
        &self,
        response: &mut ResponseHead,
        _: &mut Buffer,
        limits: &Limits,
    ) -> Result<bool, Refusal> {
        let Some(head) = self.coming.borrow_mut().head.take() else { return Ok(false) };
        let (parts, stream) = *head;
        response.from_parts(&parts, stream, limits)?;
        Ok(true)
    }

    /// To the stream's end, which is where trailers are, whatever length it has.
    fn coming(&self, body: Body) -> Body {
        match body {
            Body::Length(1..) | Body::Chunked | Body::UntilClose => Body::Chunked,
            Body::None | Body::Length(0) => body,
        }
    }

    async fn read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        poll_fn(|context| self.poll(context, buffer)).await
    }

    fn failure(&self) -> Option<retry::Cause> {
        self.failure.get()
    }
}
