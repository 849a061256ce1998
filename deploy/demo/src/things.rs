//! Ten things to try, and what each should show. What is printed at the start, the tour and `docs/demo.md` all say
//! these.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::pair::SHOWN;
use crate::ports::Ports;
use crate::world::{NAME_SERVERS, SITES};

/// For what comes by itself: a site that was away waits ten seconds before it is sent its first clients again.
const USUALLY: Duration = Duration::from_secs(30);

pub struct Thing {
    pub title: &'static str,
    pub why: &'static str,
    /// The same in a few lines, for who knows how to ask.
    pub brief: &'static [&'static str],
    pub steps: Vec<Step>,
}

pub struct Step {
    pub act: Act,
    pub shows: Shows,
    /// In which it is shown, from when the step before was done.
    pub within: Duration,
}

/// What is done, in the demo's directory.
pub enum Act {
    Touch(&'static [&'static str]),
    Remove(&'static [&'static str]),
    Dig {
        server: usize,
        client: Client,
    },
    /// Asks as `Dig` does, and keeps what the answer says that it was made from, and the time.
    Stamp {
        client: Client,
    },
    Curl {
        site: usize,
    },
    /// Words to a name server, of which `STAMP` and `TIME` are what was kept.
    Tell {
        server: usize,
        words: &'static str,
    },
    /// The pair with VRRP says who has the address.
    Cat,
    /// In `world.toml`, the first by the second.
    Replace(&'static str, &'static str),
}

#[derive(Clone, Copy)]
pub struct Client {
    pub place: &'static str,
    pub subnet: &'static str,
}

pub enum Shows {
    Nothing,
    /// This site's address.
    Site(usize),
    AnyBut(usize),
    /// For each a line that has all of these, in this order.
    Lines(&'static [&'static [&'static str]]),
    /// The same, of a command that fails.
    Refuses(&'static [&'static [&'static str]]),
    /// Nobody answers.
    Silence,
}

const LONDON: Client = Client { place: "London", subnet: "81.2.69.0/24" };
const SEATTLE: Client = Client { place: "Seattle", subnet: "216.160.83.0/24" };
const CHANGCHUN: Client = Client { place: "Changchun", subnet: "175.16.199.0/24" };

/// As they stand in `SITES`, and in `NAME_SERVERS`.
const FRA: usize = 0;
const IAD: usize = 1;
const NRT: usize = 2;
const DNS1: usize = 0;
const DNS2: usize = 1;

/// Those that need no root.
pub fn things() -> Vec<Thing> {
    vec![
        Thing {
            title: "Three clients, three sites",
            why: "Each client is answered with the nearest site of its continent, by the place of its subnet.",
            brief: &[],
            steps: vec![
                dig(DNS1, LONDON, Shows::Site(FRA)),
                dig(DNS1, SEATTLE, Shows::Site(IAD)),
                dig(DNS2, CHANGCHUN, Shows::Site(NRT)),
                step(Act::Curl { site: FRA }, Shows::Lines(&[&["fra serves you"]])),
            ],
        },
        Thing {
            title: "Why, and what if",
            why: "What explains is the code that answers, with a listener attached: it cannot say something else.",
            brief: &["./dns1 explain www.example.com --client 81.2.69.0/24 --suppose down=fra"],
            steps: vec![
                tell(
                    DNS1,
                    "explain www.example.com --client 81.2.69.0/24 --suppose down=fra",
                    &[&["fra is out: down"], &["www.example.com.", "IN A 127.0.2.1"]],
                ),
                dig(DNS1, LONDON, Shows::Site(FRA)),
            ],
        },
        Thing {
            title: "A server dies, and its site's share falls",
            why: "The site's own balancers say what they can still take; nobody waits until it is overrun.",
            brief: &[
                "touch kill-fra-web1; sleep 1; ./dns1 board        # fra takes 67 % of its clients",
            ],
            steps: vec![
                touch(&["kill-fra-web1"]),
                tell(DNS1, "board", &[&["fra", "up", "takes 67 %"]]),
                step(Act::Curl { site: FRA }, Shows::Lines(&[&["fra serves you"]])),
            ],
        },
        Thing {
            title: "All servers of a site die",
            why: "Its balancers still answer, and say that they have nothing to serve: that word alone is enough.",
            brief: &[
                "touch kill-fra-web2 kill-fra-web3                 # within 2 s London is sent to iad",
                "./dns1 board; rm kill-fra-*",
            ],
            steps: vec![
                touch(&["kill-fra-web2", "kill-fra-web3"]),
                dig(DNS1, LONDON, Shows::Site(IAD)).within(2),
                tell(DNS1, "board", &[&["fra", "down", "nothing to serve"]]),
                step(Act::Stamp { client: LONDON }, Shows::Lines(&[&["OPT=65300:"]])),
                remove(&["kill-fra-web1", "kill-fra-web2", "kill-fra-web3"]),
            ],
        },
        Thing {
            title: "One balancer of a pair is killed, then the other",
            why: "The first is nobody's outage. When both are dead no agent is left to say so: the vantages see it.",
            brief: &[
                "touch kill-iad-a                                  # nothing: the other one serves",
                "touch kill-iad-b; sleep 8; ./dns1 board           # Seattle is sent elsewhere",
                "rm kill-iad-*",
            ],
            steps: vec![
                touch(&["kill-iad-a"]),
                step(Act::Curl { site: IAD }, Shows::Lines(&[&["iad serves you"]])),
                dig(DNS1, SEATTLE, Shows::Site(IAD)),
                touch(&["kill-iad-b"]),
                dig(DNS1, SEATTLE, Shows::AnyBut(IAD)),
                tell(
                    DNS1,
                    "board",
                    &[&["iad", "down", "5 of 5 vantages (4 of 4 domains) see it down"]],
                ),
                remove(&["kill-iad-a", "kill-iad-b"]),
            ],
        },
        Thing {
            title: "A vantage is blind, another one lies",
            why: "Who cannot see its reference either is not believed, and one alone decides nothing.",
            brief: &[
                "touch blind-ams lie-lhr-nrt; sleep 4; ./dns1 vantages    # nothing moves",
                "rm blind-* lie-*",
            ],
            steps: vec![
                touch(&["blind-ams", "lie-lhr-nrt"]),
                tell(
                    DNS1,
                    "vantages",
                    &[&["ams", "distrusted", "reference targets are down"], &["lhr", "trusted"]],
                ),
                tell(
                    DNS1,
                    "board",
                    &[&["nrt", "up", "3 of 4 vantages"], &["down", "lhr", "its way to nrt is cut"]],
                ),
                dig(DNS1, CHANGCHUN, Shows::Site(NRT)),
                remove(&["blind-ams", "lie-lhr-nrt"]),
            ],
        },
        Thing {
            title: "A site is drained on one name server",
            why: "An order holds on all of them within two seconds, with who gave it and why.",
            brief: &[
                "./dns1 drain nrt --why trying --for 1h; sleep 2; ./dns2 overrides",
                "./dns2 undrain nrt --why tried",
            ],
            steps: vec![
                tell(DNS1, "drain nrt --why trying --for 1h", &[&["drain from"]]),
                dig(DNS2, CHANGCHUN, Shows::AnyBut(NRT)).within(2),
                tell(DNS2, "overrides", &[&["drain", "nrt", "trying"]]),
                tell(DNS2, "undrain nrt --why tried", &[&["undrain from"]]),
                dig(DNS1, CHANGCHUN, Shows::Site(NRT)),
            ],
        },
        Thing {
            title: "A name server dies",
            why: "The other one answers and takes orders; who comes back has them with its first answers.",
            brief: &[
                "touch kill-dns1; sleep 1; ./dns2 drain nrt --why night --for 1h",
                "rm kill-dns1; sleep 3; ./dns1 overrides           # it has the order",
                "./dns1 undrain nrt --why morning; ./dns1 status",
            ],
            steps: vec![
                touch(&["kill-dns1"]),
                dig(DNS1, LONDON, Shows::Silence),
                dig(DNS2, SEATTLE, Shows::AnyBut(NRT)),
                tell(DNS2, "drain nrt --why night --for 1h", &[&["drain from"]]),
                remove(&["kill-dns1"]),
                dig(DNS1, CHANGCHUN, Shows::AnyBut(NRT)),
                tell(DNS1, "overrides", &[&["drain", "nrt", "night"]]),
                tell(DNS1, "status", &[&["dns2", "agrees"]]),
                tell(DNS1, "undrain nrt --why morning", &[&["undrain from"]]),
            ],
        },
        Thing {
            title: "A bad config is refused",
            why: "All that is wrong is told, with its place, and the world that runs goes on.",
            brief: &[
                "sed -i 's/\"nearest\"/\"nearst\"/' world.toml; ./dns1 reload",
                "sed -i 's/\"nearst\"/\"nearest\"/' world.toml; ./dns1 reload",
            ],
            steps: vec![
                step(Act::Replace("\"nearest\"", "\"nearst\""), Shows::Nothing),
                refuses(
                    DNS1,
                    "check",
                    &[&["no step named \"nearst\"; did you mean \"nearest\"?"], &["world.toml:"]],
                ),
                refuses(DNS1, "reload", &[&["world.toml:", "nearst"]]),
                dig(DNS1, SEATTLE, Shows::Site(IAD)),
                step(Act::Replace("\"nearst\"", "\"nearest\""), Shows::Nothing),
                tell(DNS1, "reload", &[&["reloaded"]]),
            ],
        },
        Thing {
            title: "What happened last night",
            why: "What changed, when and why is kept; and an answer that was pasted is explained as it was.",
            brief: &[
                "./dns1 history --site fra",
                "./dns1 explain www.example.com --client 81.2.69.0/24 --at $(date -u -d -1min +%FT%TZ)",
            ],
            steps: vec![
                tell(DNS1, "history --site fra", &[&["fra", "down", "nothing to serve"]]),
                tell(
                    DNS1,
                    "explain www.example.com --client 81.2.69.0/24 --stamp STAMP",
                    &[&["fra is out: down"], &["www.example.com.", "IN A 127.0.2.1"]],
                ),
                tell(
                    DNS1,
                    "explain www.example.com --client 81.2.69.0/24 --at TIME",
                    &[&["fra is out: down"], &["www.example.com.", "IN A 127.0.2.1"]],
                ),
            ],
        },
    ]
}

/// Where Linux lets us: what a pair is that does not share its address.
pub fn pair_with_vrrp() -> Thing {
    let has = |name: &'static [&'static [&'static str]]| step(Act::Cat, Shows::Lines(name));
    Thing {
        title: "With VRRP: a box dies, and the other one has its address",
        why: "The address is on one box at a time, and moves in some two seconds; no name server is needed for it.",
        brief: &[
            "cat vrrp                                          # box a has the address",
            "touch kill-vrrp-a; sleep 3; cat vrrp              # box b has it",
            "rm kill-vrrp-a; sleep 3; cat vrrp                 # box b keeps it",
        ],
        steps: vec![
            has(&[&["is answered by box a"], &["box a", "active"], &["box b", "backup"]]),
            touch(&["kill-vrrp-a"]),
            has(&[&["is answered by box b"], &["box a", "killed"], &["box b", "active"]]).within(5),
            remove(&["kill-vrrp-a"]),
            has(&[&["is answered by box b"], &["box a", "backup"], &["box b", "active"]]),
        ],
    }
}

fn step(act: Act, shows: Shows) -> Step {
    Step { act, shows, within: USUALLY }
}

fn touch(files: &'static [&'static str]) -> Step {
    step(Act::Touch(files), Shows::Nothing)
}

fn remove(files: &'static [&'static str]) -> Step {
    step(Act::Remove(files), Shows::Nothing)
}

fn dig(server: usize, client: Client, shows: Shows) -> Step {
    step(Act::Dig { server, client }, shows)
}

fn tell(server: usize, words: &'static str, lines: &'static [&'static [&'static str]]) -> Step {
    step(Act::Tell { server, words }, Shows::Lines(lines))
}

fn refuses(server: usize, words: &'static str, lines: &'static [&'static [&'static str]]) -> Step {
    step(Act::Tell { server, words }, Shows::Refuses(lines))
}

impl Step {
    fn within(self, seconds: u64) -> Step {
        Step { within: Duration::from_secs(seconds), ..self }
    }
}

impl Act {
    /// As it is typed.
    pub fn command(&self, ports: &Ports) -> String {
        let dig = |server: usize, client: &Client| {
            let (_, address) = NAME_SERVERS[server];
            let (port, subnet) = (ports.dns, client.subnet);
            format!("dig @{address} -p {port} www.example.com +subnet={subnet}")
        };
        match self {
            Act::Touch(files) => format!("touch {}", files.join(" ")),
            Act::Remove(files) => format!("rm {}", files.join(" ")),
            Act::Dig { server, client } => format!("{} +short", dig(*server, client)),
            Act::Stamp { client } => {
                let dig = dig(DNS1, client);
                format!(
                    "TIME=$(date -u +%FT%T.%3NZ); STAMP=$({dig} | grep OPT=65300); echo \"$STAMP\""
                )
            }
            Act::Curl { site } => {
                let (_, address): (_, Ipv4Addr) = SITES[*site];
                format!("curl http://{address}:{}/", ports.web)
            }
            Act::Tell { server, words } => {
                let (name, _) = NAME_SERVERS[*server];
                format!(
                    "./{name} {}",
                    words.replace("STAMP", "\"$STAMP\"").replace("TIME", "$TIME")
                )
            }
            Act::Cat => format!("cat {SHOWN}"),
            Act::Replace(from, to) => format!("sed -i 's/{from}/{to}/' world.toml"),
        }
    }
}

/// What it is, in few words.
impl fmt::Display for Shows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shows::Nothing => Ok(()),
            Shows::Site(site) => {
                let (name, address) = SITES[*site];
                write!(f, "{address}, which is {name}")
            }
            Shows::AnyBut(site) => write!(f, "another site than {}", SITES[*site].0),
            Shows::Lines(lines) => f.write_str(&told(lines)),
            Shows::Refuses(lines) => write!(f, "exit code 1, and {}", told(lines)),
            Shows::Silence => f.write_str("no answer"),
        }
    }
}

fn told(lines: &[&[&str]]) -> String {
    let lines: Vec<_> = lines.iter().map(|pieces| format!("«{}»", pieces.join(" … "))).collect();
    lines.join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::ports::USUAL;
    use crate::switch::Switch;

    #[test]
    fn what_is_broken_can_be_broken_and_is_mended() {
        for Thing { title, steps, .. } in things().into_iter().chain([pair_with_vrrp()]) {
            let (mut broken, mut edits) = (vec![], 0);
            for step in &steps {
                match &step.act {
                    Act::Touch(files) => broken.extend(files.iter()),
                    Act::Remove(files) => broken.retain(|one| !files.contains(one)),
                    Act::Replace(..) => edits += 1,
                    Act::Dig { .. }
                    | Act::Stamp { .. }
                    | Act::Curl { .. }
                    | Act::Tell { .. }
                    | Act::Cat => {}
                }
            }
            for file in &broken {
                assert!(matches!(Switch::of(file), Some(Ok(_))), "{title}: {file}");
            }
            // What the next one goes on from.
            let rest: &[&str] =
                if title.starts_with("A server dies") { &["kill-fra-web1"] } else { &[] };
            assert!(broken.iter().all(|file| rest.contains(file)), "{title}: {broken:?}");
            assert_eq!(edits % 2, 0, "{title}");
        }
    }

    /// In order, so that whoever follows the page is on the tour.
    #[test]
    fn the_page_has_every_command() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/demo.md");
        let page = fs::read_to_string(page).unwrap();
        let mut rest = &page[..];
        for Thing { title, steps, .. } in things().into_iter().chain([pair_with_vrrp()]) {
            let heading =
                rest.find(title).unwrap_or_else(|| panic!("docs/demo.md lacks {title:?}"));
            rest = &rest[heading..];
            for step in &steps {
                let command = format!("$ {}\n", step.act.command(&USUAL));
                let at = rest.find(&command);
                let at = at.unwrap_or_else(|| panic!("docs/demo.md, {title:?}, lacks {command:?}"));
                rest = &rest[at + command.len()..];
            }
        }
    }
}
