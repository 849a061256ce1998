//! What an Active router does: adverts, addresses, and other routers that are Active too (RFC 9568 §6.4.3).

use std::net::IpAddr;
use std::time::Duration;

use super::super::advert::{Interval, Priority};
use super::Machine;
use super::action::{Action, What, Why};
use super::settings::FOUGHT;
use super::state::{Contest, Leading, Of, State, Waiting, renewal};

impl Machine {
    /// Whatever is due.
    pub(super) fn lead(&mut self, leading: Leading, out: &mut Vec<Action>) {
        self.state = State::Active(leading);
        if self.now >= leading.advertises_at {
            self.advertise(leading, out);
        }
        let (now, settings) = (self.now, &self.settings);
        if let State::Active(leading) = &mut self.state {
            let renewal = renewal(settings);
            if now >= leading.renews_at + (settings.lifetime - renewal) {
                // The kernel has taken them, and nobody else can be Active yet.
                out.extend([Action::AddAddresses, Action::Announce { times: 1 }]);
            } else if now >= leading.renews_at {
                out.push(Action::RenewAddresses);
            }
            if now >= leading.renews_at {
                leading.renews_at = now + renewal;
            }
            let times = leading.announcing.tick(now, settings.refresh);
            out.extend(times.map(|times| Action::Announce { times }));
        }
    }

    /// An advert, after which the next one is an interval away.
    pub(super) fn advertise(&mut self, leading: Leading, out: &mut Vec<Action>) {
        out.push(Action::Advertise(self.priority()));
        let advertises_at = self.now + self.settings.interval.duration();
        let (sent_at, said) = (self.now, self.settings.interval);
        self.state = State::Active(Leading { advertises_at, sent_at, said, ..leading });
    }

    /// Another router is Active as well.
    pub(super) fn on_rival(
        &mut self,
        leading: Leading,
        from: IpAddr,
        priority: Priority,
        interval: Interval,
        out: &mut Vec<Action>,
    ) {
        if (priority, from) > (self.priority(), self.settings.address) {
            let why = Why::Outranked { by: from, priority };
            return self.step_down(from, interval, why, out);
        }
        let silence = self.timing(self.settings.interval).rival();
        let known = leading.contest.filter(|contest| {
            contest.by == from && self.now < contest.heard_at.saturating_add(silence)
        });
        let contest = match known {
            Some(contest) => {
                let is_news = !contest.is_told && self.told_of.is_time(Of::Contest, self.now);
                if is_news {
                    self.tell(What::Contested { by: from, priority }, out);
                }
                let is_told = contest.is_told || is_news;
                Contest { heard_at: self.now, is_told, ..contest }
            }
            None => Contest { by: from, since: self.now, heard_at: self.now, is_told: false },
        };
        if priority == Priority::OWNER && self.now >= contest.since + self.patience(interval) {
            self.is_usurped = true;
            return self.step_down(from, interval, Why::Usurped { by: from }, out);
        }
        let mut leading = Leading { contest: Some(contest), ..leading };
        // Between two routers that both think they win, answers to answers would be a storm.
        let gap = self.settings.interval.duration() / 4;
        if leading.answered_at.is_none_or(|at| self.now >= at + gap) {
            out.push(Action::Advertise(self.priority()));
            (leading.answered_at, leading.sent_at) = (Some(self.now), self.now);
            leading.said = self.settings.interval;
        }
        let times = leading.announcing.anew(self.now);
        out.extend(times.map(|times| Action::Announce { times }));
        self.state = State::Active(leading);
    }

    /// An advert of ours could be sent to nobody: who hears none for long enough leads, and if somebody does it is not us.
    pub(super) fn on_unsent(&mut self, leading: Leading, out: &mut Vec<Action>) {
        let timing = self.timing(self.settings.interval);
        let since = leading.unsent_since.unwrap_or(self.now);
        self.state = State::Active(Leading { unsent_since: Some(since), ..leading });
        let has_rival = leading
            .contest
            .is_some_and(|contest| self.now < contest.heard_at.saturating_add(timing.rival()));
        if has_rival && self.now >= since + timing.rival() {
            self.conditions.mute(self.now);
            self.recheck(out);
        }
    }

    /// For how long another owner may ignore us: two adverts, and what it takes it to hear of them.
    pub(super) fn patience(&self, interval: Interval) -> Duration {
        let own = self.settings.interval.duration();
        own * 2 + own.max(interval.duration()) * 6 / 5
    }

    pub(super) fn step_down(
        &mut self,
        to: IpAddr,
        interval: Interval,
        why: Why,
        out: &mut Vec<Action>,
    ) {
        // The winner hears that we are, when we are not any more, and announces its addresses once more.
        out.extend([Action::RemoveAddresses, Action::Advertise(self.priority())]);
        let waiting = Waiting { interval, leader: Some(to), ..self.waiting() };
        self.turn(State::Backup(waiting), why, out);
    }

    pub(super) fn on_address_lost(&mut self, leading: Leading, out: &mut Vec<Action>) {
        if leading.lost_at.is_some_and(|at| self.now < at + FOUGHT) {
            self.conditions.fought(self.now);
            return self.recheck(out);
        }
        out.extend([Action::AddAddresses, Action::Announce { times: 1 }]);
        self.tell(What::PutBack, out);
        self.state = State::Active(Leading { lost_at: Some(self.now), ..leading });
    }
}
