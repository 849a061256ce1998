//! What watching has found out of the candidates of services, before operators have their say.
//!
//! judge ─▶ `Views` ─▶ board. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::board::{Admit, Health, Lost};

/// What watching has found out of one candidate, before operators have their say.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub health: Health,
    /// Since when, if anybody knows.
    pub since: Option<Timestamp>,
    pub why: Box<str>,
    /// Addresses that are down while others of the candidate are not.
    pub struck: Box<[IpAddr]>,
    pub lost: Box<[Lost]>,
    pub admit: Admit,
    pub halvings: u8,
    /// Whether the evidence has more of its addresses down than probes alone may take out.
    pub is_held_in: bool,
    /// All of it, by the word of its agents.
    pub drain: Option<Drain>,
    pub alert: Option<Alert>,
}

/// What operators told its own site: no clients are wanted there.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    /// `None` if that was before a restart of ours.
    pub since: Option<Timestamp>,
    pub why: Box<str>,
}

/// What somebody should look at where the words from within and from outside are joined.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// Its agents serve there, and nobody reaches it.
    UnreachableFromOutside,
    /// No word of its agents holds, and too few vantages are heard.
    Blind,
}

/// By service, then by candidate; `None` where nobody watches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Views(pub Vec<Option<Arc<[View]>>>);

impl Default for View {
    /// Of something that nobody has seen.
    fn default() -> View {
        let why = "no vantage says anything of it".into();
        let (struck, lost) = ([].into(), [].into());
        let (health, since, admit) = (Health::Unknown, None, Admit::ALL);
        let (is_held_in, drain, alert) = (false, None, None);
        View { health, since, why, struck, lost, admit, halvings: 0, is_held_in, drain, alert }
    }
}

impl View {
    /// Whether clients are answered alike, whatever is told of why and since when.
    pub fn is_answered_as(&self, other: &View) -> bool {
        let View { health, struck, lost, admit, halvings, drain, .. } = self;
        (health, struck, lost) == (&other.health, &other.struck, &other.lost)
            && (admit, halvings) == (&other.admit, &other.halvings)
            // Orders that end a drain look at when it began.
            && *drain == other.drain
    }
}

impl Views {
    /// As if nobody had seen anything of what is watched.
    #[must_use]
    pub fn unknown(&self, why: &str) -> Views {
        let unknown = View { why: why.into(), ..View::default() };
        let of =
            |views: &Option<Arc<[View]>>| Some(vec![unknown.clone(); views.as_ref()?.len()].into());
        Views(self.0.iter().map(of).collect())
    }
}

impl Drain {
    /// Whether it had begun by then; nobody knows better of one that began before a restart.
    pub fn began_by(&self, moment: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= moment)
    }
}

impl Alert {
    pub const ALL: [Alert; 2] = [Alert::UnreachableFromOutside, Alert::Blind];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Alert::UnreachableFromOutside => "unreachable_from_outside",
            Alert::Blind => "blind",
        }
    }

    /// For people.
    pub fn told(self) -> &'static str {
        match self {
            Alert::UnreachableFromOutside => {
                "its agents serve there, and the vantages do not reach it"
            }
            Alert::Blind => {
                "no word of its agents holds, and too few vantages are heard to say anything"
            }
        }
    }
}
