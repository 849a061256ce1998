//! What is to be done about it, and what is told of it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::super::advert::{Interval, Priority};
use super::conditions::Fault;

/// Something to do, in the order in which it is told. An action that fails is no reason to leave out the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Send an advert of this priority, with our own interval, over every path.
    Advertise(Priority),
    /// Send an advert of priority 0: whoever is next need not wait.
    Resign,
    /// Put our addresses on the interface, for their lifetime.
    AddAddresses,
    /// Have the kernel keep them for another lifetime.
    RenewAddresses,
    /// Take them away, those of a run before included.
    RemoveAddresses,
    /// Tell the link where each address is, so often: gratuitous ARP, unsolicited NA.
    Announce {
        times: u8,
    },
    /// See whether a witness answers.
    AskWitness,
    Tell(News),
}

/// An event for the log. Numbers have no gaps, so a reader knows what it has missed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct News {
    pub number: u64,
    pub at: Duration,
    pub what: What,
}

/// What people are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    Turned {
        from: Role,
        to: Role,
        why: Why,
    },
    /// Tracks have changed what we say of ourselves.
    Priority {
        from: Priority,
        to: Priority,
    },
    /// Somebody who loses against us is Active as well. Told once, until it has been silent.
    Contested {
        by: IpAddr,
        priority: Priority,
    },
    /// The Active router's interval is another than the one we waited by.
    Adopted {
        interval: Interval,
    },
    /// Nobody is Active, and we see nobody at all: it may be us who is cut off, so we stay Backup.
    Isolated,
    /// Somebody took an address from the interface; it was put back.
    PutBack,
    /// Still unfit, for another reason.
    Unfit(Fault),
    /// One of our addresses was there though others lead, or nobody; it was taken off.
    TakenOff,
    /// An operator wants others to be Active.
    Yields,
    YieldsNoMore,
}

/// What a router is, to others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// Not started, or shut down (RFC 9568 §6.4.1).
    Initialize,
    /// Started and unfit.
    Fault,
    Backup,
    Active,
}

/// Why a router has another role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    Startup,
    Shutdown,
    /// Active_Down_Timer: nobody was heard in time, or nobody to whom we would listen.
    NobodyLeads,
    /// The Active router had resigned.
    Resigned {
        by: IpAddr,
    },
    Outranked {
        by: IpAddr,
        priority: Priority,
    },
    /// Two owners, and the other one does not hear or obey.
    Usurped {
        by: IpAddr,
    },
    Fault(Fault),
    FaultsOver,
    /// We slept for so long that others may be Active.
    Standstill {
        late: Duration,
    },
    HandedOver,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Initialize, Role::Fault, Role::Backup, Role::Active];

    /// A label of metrics, and the word for tools.
    pub fn word(self) -> &'static str {
        match self {
            Role::Initialize => "initialize",
            Role::Fault => "fault",
            Role::Backup => "backup",
            Role::Active => "active",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Role::Initialize => "Initialize",
            Role::Fault => "Fault",
            Role::Backup => "Backup",
            Role::Active => "Active",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Startup => out.write_str("started"),
            Why::Shutdown => out.write_str("shut down"),
            Why::NobodyLeads => out.write_str("nobody leads"),
            Why::Resigned { by } => write!(out, "{by} resigned"),
            Why::Outranked { by, priority } => write!(out, "{by} leads with {priority}"),
            Why::Usurped { by } => write!(out, "{by} leads as owner too, and does not yield"),
            Why::Fault(fault) => fault.fmt(out),
            Why::FaultsOver => out.write_str("fit again"),
            Why::Standstill { late } => {
                write!(out, "stood still for {} ms, others may lead", late.as_millis())
            }
            Why::HandedOver => out.write_str("handed over"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Turned { from, to, why } => write!(out, "{from} -> {to}: {why}"),
            What::Priority { from, to } => write!(out, "priority {from} -> {to}"),
            What::Contested { by, priority } => write!(out, "{by} leads too, with {priority}"),
            What::Adopted { interval } => {
                write!(out, "adverts come every {} ms", interval.duration().as_millis())
            }
            What::Isolated => out.write_str("nobody leads and no witness answers"),
            What::Unfit(fault) => write!(out, "still unfit: {fault}"),
            What::TakenOff => {
                out.write_str("an address was there that is not ours now, and taken off")
            }
            What::PutBack => out.write_str("an address was taken from us and put back"),
            What::Yields => out.write_str("yields to others"),
            What::YieldsNoMore => out.write_str("yields no more"),
        }
    }
}
