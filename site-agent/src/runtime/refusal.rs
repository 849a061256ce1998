//! Why a command is not carried out: in HAProxy's words where it has some, as scripts look for them.

/// What is answered. No order is carried out in part.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("Require 'backend/server'.")]
    NoWhom,
    #[error("No such backend.")]
    NoBackend,
    #[error("No such server.")]
    NoServer,
    #[error("No such proxy.")]
    NoProxy,
    #[error("Can't find backend.")]
    NotFound,
    #[error("usage: set server <backend>/<server> agent | health | state | weight")]
    SetServer,
    #[error("'set server <srv> state' expects 'ready', 'drain' and 'maint'.")]
    State,
    #[error("'set server <srv> health' expects 'up', 'stopping', or 'down'.")]
    Health,
    #[error("'set server <srv> agent' expects 'up' or 'down'.")]
    Agent,
    #[error("agent checks are not enabled on this server.")]
    NoAgent,
    #[error(
        "health checks are not enabled on this server: nobody would take this word back. Use 'set server <srv> state maint'."
    )]
    NoCheck,
    #[error("Require <weight> or <weight%>.")]
    NoWeight,
    #[error("Absolute weight can only be between 0 and 256 inclusive.")]
    Weight,
    #[error("Relative weight must be positive.")]
    RelativeWeight,
    #[error("Empty weight string empty or preceded by garbage")]
    WeightGarbage,
    #[error("Trailing garbage in weight string")]
    WeightTrailing,
    #[error("Require <maxconn>.")]
    NoLimit,
    #[error(
        "maxconn can only be between 0 (any number) and {} inclusive.",
        super::command::MOST_LIMIT
    )]
    Limit,
    #[error("maxconn string empty or preceded by garbage")]
    LimitGarbage,
    #[error("Trailing garbage in maxconn string")]
    LimitTrailing,
    #[error("usage: show stat [<backend>|<id>|-1 <type> <sid>] [up] [no-maint]")]
    Stat,
    #[error(
        "{0:?} is a format that is not spoken here: leave it out, or scrape /metrics at the admin door."
    )]
    Format(String),
    #[error("{0:?} is more than this command takes: nothing is done.")]
    More(String),
    #[error("Permission denied: at this socket one may only look (level = \"user\" in [runtime]).")]
    Denied,
    #[error("A line has more than {} octets: nothing of it is done.", super::LONGEST_LINE)]
    TooLong,
    /// The help that goes with it.
    #[error("{0}")]
    Unknown(String),
}
