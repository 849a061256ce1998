//! What is ordered of a server, each word with who gave it.
//!
//! HAProxy keeps who set a state as bits of `srv_admin_state`, but an agent's `ready` clears an operator's drain. Here
//! the agent takes back its own word only; an operator's word replaces everybody's.

/// Whether a server may serve at all.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Administrative {
    #[default]
    Ready,
    /// No new balanced requests; persistent ones pass, and checks go on.
    Drain,
    /// Nothing at all, and no checks; the agent goes on.
    Maint,
}

/// Who gives an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// An operator, by command.
    Command,
    /// The agent-check.
    Agent,
}

/// Whose word is in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    Config,
    Command,
    Agent,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Orders {
    /// As the file has it, by which a reload tells whether somebody changed it there.
    written: Administrative,
    config: Administrative,
    command: Administrative,
    agent: Administrative,
}

impl Orders {
    pub fn new(written: Administrative) -> Orders {
        Orders { written, config: written, ..Orders::default() }
    }

    /// A new config. What stands there as before is no new order: an operator may have taken it back.
    pub fn rewrite(&mut self, written: Administrative) {
        if self.written != written {
            (self.written, self.config) = (written, written);
        }
    }

    /// Nobody is left who could take back what the agent said.
    pub fn forget_agent(&mut self) {
        self.agent = Administrative::Ready;
    }

    pub fn give(&mut self, by: By, to: Administrative) {
        match by {
            By::Command => {
                *self = Orders { command: to, written: self.written, ..Orders::default() }
            }
            By::Agent => self.agent = to,
        }
    }

    /// The strictest word, and whose it is; of equals the operator's, then the config's.
    pub fn in_force(&self) -> (Administrative, Origin) {
        let words = [
            (self.command, Origin::Command),
            (self.config, Origin::Config),
            (self.agent, Origin::Agent),
        ];
        let strictest = words.map(|(word, _)| word).into_iter().max().unwrap_or_default();
        let origin = words.iter().find(|(word, _)| *word == strictest);
        (strictest, origin.map_or(Origin::Config, |(_, origin)| *origin))
    }
}
