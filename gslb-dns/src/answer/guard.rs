//! What keeps an answer from being used against others, or a flood from being used against us: cookies
//! and the limit of answers. Behind it, what is sent is counted, and noted for who records it. Pure: what they are made with comes in, and the
//! time by the limiter's clock.

use std::cell::RefCell;
use std::time::Duration;

use super::resolve::Entries;
use super::{Asker, Transport};
use crate::cookie::{self, Judged, Secrets};
use crate::ledger::Page;
use crate::query::{Cookie, Rcode};
use crate::rate_limit::{Class, Place, RateLimiter, Verdict};

/// What guards the answers to a batch of queries.
#[derive(Clone, Copy)]
pub struct Guard<'g> {
    /// Those of cookies.
    pub secrets: &'g Secrets,
    /// Who does not show that they are where they say is limited by this; nobody without it.
    pub limit: Option<Limit<'g>>,
    /// Where answers of services are counted that are sent whole; nowhere without one.
    pub page: Option<Page<'g>>,
    /// Where it is told what a query came to, whatever is sent of it.
    pub note: Option<&'g RefCell<Resolved>>,
}

/// The limit of answers, for whoever asks.
#[derive(Clone, Copy)]
pub struct Limit<'g> {
    pub limiter: &'g RateLimiter,
    pub place: Place,
    /// By the limiter's clock.
    pub now: Duration,
}

/// What a query came to, before anything was sent.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// `None` where it came to nothing: it was no query of class IN.
    pub rcode: Option<Rcode>,
    /// Then of no query.
    pub entries: Entries,
}

/// What became of an answer over the limit. The variants are metric labels too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limited {
    /// Nothing was sent.
    Dropped,
    /// Sent without records: with TC, so that the client comes by TCP, or as the error that it was.
    Slipped,
    /// Sent as BADCOOKIE, with a server cookie.
    BadCookie,
}

/// What the limit wants of an answer that is over it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Over {
    Drop,
    Slip,
}

impl Guard<'_> {
    /// No cookies, no limit, no count, no note.
    pub const OPEN: Guard<'static> =
        Guard { secrets: Secrets::NONE, limit: None, page: None, note: None };

    pub(super) fn judge(&self, cookie: &Cookie<'_>, asker: &Asker) -> Option<Judged> {
        self.secrets.judge(cookie.client(), cookie.server(), asker.address, asker.now)
    }

    /// `None` where the answer may be sent. A stream has shown that its client is where it says, and so has
    /// a server cookie that is good.
    pub(super) fn over(
        &self,
        asker: &Asker,
        class: Class,
        cookie: Option<cookie::State>,
    ) -> Option<Over> {
        let Limit { limiter, place, now } = self.limit?;
        if asker.transport != Transport::Udp || cookie == Some(cookie::State::Valid) {
            return None;
        }
        match limiter.judge(place, class, now) {
            Verdict::Within => None,
            Verdict::Drop => Some(Over::Drop),
            Verdict::Slip => Some(Over::Slip),
        }
    }
}

impl Limited {
    pub const ALL: [Limited; 3] = [Limited::Dropped, Limited::Slipped, Limited::BadCookie];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Limited::Dropped => "dropped",
            Limited::Slipped => "slipped",
            Limited::BadCookie => "bad_cookie",
        }
    }
}
