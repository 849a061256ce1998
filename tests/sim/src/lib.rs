//! The deciding rooms of all three daemons on one virtual clock and network, from a seed.
//!
//! seed ─▶ plan (what goes wrong when) ─▶ run ─▶ queue (by time, then by order) ─▶ actors ─▶ network ─▶ queue
//! actors: vantage (probe: rounds, teller), site_box (site-agent: rounds, backends, voice, vrrp), name_server (keeper)
//! run ─▶ watch (what was promised, after each event) ─▶ findings ─▶ summary, story
//!
//! What decides is the code that runs in production; here stand only what the dull shells are there: sockets, timers and
//! processes. One seed is one story, to the octet.

pub mod clock;
pub mod dice;
pub mod earth;
pub mod name_server;
pub mod network;
pub mod plan;
pub mod producer;
pub mod router;
pub mod run;
pub mod seeds;
pub mod site_box;
pub mod story;
pub mod vantage;
pub mod watch;
