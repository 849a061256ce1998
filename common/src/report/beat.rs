//! When the next report of a stream is due, its mark, and what the answer to it means: what does not depend on what is
//! told.

use std::time::Duration;

use super::{Boot, Mark};

/// Reports are at least so far apart: a storm of changes becomes a few reports.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// And at most so far: silence would become staleness.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Of one producer's reports to one name server.
#[derive(Debug)]
pub struct Beat {
    boot: Boot,
    /// Of the last report made.
    mark: Mark,
    acknowledged: Option<Mark>,
    has_news: bool,
    in_flight: Option<Mark>,
    sent_at: Option<Duration>,
}

/// What became of the report in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// 200.
    Taken(Mark),
    /// 205: it has not what the report builds on.
    SendWhole,
    /// 409: it has this one already, or a later one.
    Behind(Mark),
    /// 409: another process speaks under our name.
    Duplicate,
    /// Refused for some other reason, or nothing came back.
    Lost,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// The other side has this report.
    Acknowledged(Mark),
    /// It is to be told everything.
    Anew,
    /// The same, under this incarnation, which is to be kept on disk.
    Raised(u64),
    /// What was in the report is still to be told, at the next beat.
    Nothing,
}

impl Beat {
    /// `inc` is greater than that of every run before, as far as is known.
    pub fn new(boot: Boot, inc: u64) -> Beat {
        Beat {
            boot,
            mark: Mark { inc, seq: 0 },
            acknowledged: None,
            has_news: true,
            in_flight: None,
            sent_at: None,
        }
    }

    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// Of the last report made.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The last report that the other side is known to have; `None` while it is to be told everything.
    pub fn acknowledged(&self) -> Option<Mark> {
        self.acknowledged
    }

    /// There is something to tell.
    pub fn on_news(&mut self) {
        self.has_news = true;
    }

    /// The other side is there, perhaps again: it is told at once, whatever it had been told.
    pub fn on_connected(&mut self) {
        self.sent_at = None;
    }

    /// When the next report is due; `None` while one is in flight.
    pub fn due(&self) -> Option<Duration> {
        if self.in_flight.is_some() {
            return None;
        }
        let pause = if self.has_news { SHORTEST_PAUSE } else { LONGEST_PAUSE };
        Some(self.sent_at.map_or(Duration::ZERO, |sent_at| sent_at + pause))
    }

    /// The mark of the report that is due now.
    pub fn next(&mut self, now: Duration) -> Mark {
        self.mark.seq += 1;
        (self.in_flight, self.sent_at, self.has_news) = (Some(self.mark), Some(now), false);
        self.mark
    }

    /// Takes what became of the report in flight.
    pub fn on_reply(&mut self, reply: Reply) -> Heard {
        let Some(sent) = self.in_flight.take() else { return Heard::Nothing };
        match reply {
            // An answer that was lost, and its report sent again by whatever is between us.
            Reply::Taken(mark) | Reply::Behind(mark) if mark == sent => {
                self.acknowledged = Some(mark);
                Heard::Acknowledged(mark)
            }
            Reply::SendWhole => {
                self.begin_anew();
                Heard::Anew
            }
            Reply::Taken(_) | Reply::Duplicate | Reply::Lost => Heard::Nothing,
            Reply::Behind(theirs) => {
                self.begin_anew();
                self.mark.inc = self.mark.inc.max(theirs.inc).saturating_add(1);
                Heard::Raised(self.mark.inc)
            }
        }
    }

    fn begin_anew(&mut self) {
        (self.acknowledged, self.has_news) = (None, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_report_is_due_after_news_after_a_while_and_to_whoever_is_there_again() {
        let mut beat = Beat::new(Boot([1; 16]), 1);
        assert_eq!(beat.due(), Some(Duration::ZERO));
        let first = beat.next(at(1000));
        assert_eq!(beat.due(), None);
        assert_eq!(beat.on_reply(Reply::Taken(first)), Heard::Acknowledged(first));
        assert_eq!(beat.due(), Some(at(3000)));
        beat.on_news();
        assert_eq!(beat.due(), Some(at(1050)));
        // What is lost is told at the next beat; to another connection at once.
        beat.next(at(1050));
        assert_eq!(beat.on_reply(Reply::Lost), Heard::Nothing);
        assert_eq!(beat.due(), Some(at(3050)));
        beat.on_connected();
        assert_eq!(beat.due(), Some(Duration::ZERO));
    }

    #[test]
    fn who_is_behind_begins_above_what_is_known_of_it() {
        let mut beat = Beat::new(Boot([1; 16]), 1);
        beat.next(at(0));
        assert_eq!(beat.on_reply(Reply::Behind(Mark { inc: 7, seq: 3 })), Heard::Raised(8));
        assert_eq!((beat.mark().inc, beat.acknowledged()), (8, None));
        // One that is in flight no more has no answer.
        assert_eq!(beat.on_reply(Reply::SendWhole), Heard::Nothing);
    }
}
