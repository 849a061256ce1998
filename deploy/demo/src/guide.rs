//! What to try, in few words, to be pasted.

use std::fmt::Write as _;
use std::path::Path;

use crate::ports::Ports;
use crate::running::Vrrp;
use crate::things::{Act, Shows, Step, Thing, pair_with_vrrp, things};
use crate::world::{NAME_SERVERS, SITES};

/// Between a command and what is said of it.
const COLUMN: usize = 78;

pub fn what_to_try(dir: &Path, ports: Ports, vrrp: Vrrp) -> String {
    let [(_, one), (_, two)] = NAME_SERVERS;
    let Ports { dns, admin, control: _, web: _ } = ports;
    let dir = dir.display();
    let mut text = format!(
        "
gslb demo: two name servers for example.com, three sites, each a pair of balancers before
three servers, and five probes that look at them; all on loopback.
  DNS    {one}:{dns} and {two}:{dns} (dns1 and dns2, UDP and TCP)
  admin  http://{one}:{admin} and http://{two}:{admin}
  files  {dir} (config, log; dns1 and dns2 there are gslb-dns, asking one each)

In a second terminal. Files that are named so break things, for as long as they are there.
  cd {dir}

"
    );
    let (with_vrrp, left_out) = match vrrp {
        Vrrp::Shown => (Some(pair_with_vrrp()), ""),
        Vrrp::LeftOut => (
            None,
            "Left out: VRRP, for which Linux wants root (`--vrrp`); the pairs here share their addresses.\n",
        ),
    };
    for (thing, number) in things().into_iter().chain(with_vrrp).zip(1..) {
        let Thing { title, brief, steps, why: _ } = thing;
        let _ = writeln!(text, "{number:2} {title}");
        let in_full: Vec<_> = match brief {
            [] => steps.iter().map(|step| in_full(step, &ports)).collect(),
            brief => brief.iter().map(|line| (*line).to_owned()).collect(),
        };
        for line in in_full {
            let _ = writeln!(text, "     {}", line.trim_end());
        }
    }
    let _ = write!(
        text,
        "
docs/demo.md says what each shows, and why it matters. `cargo run --release -- --tour` tries all.
More names: shop.example.com (two sites in each answer), api.example.com (3 to 1), blog.example.com
{left_out}Ctrl-C ends it and removes its files.

",
    );
    text
}

fn in_full(step: &Step, ports: &Ports) -> String {
    let command = step.act.command(ports);
    match &step.act {
        Act::Dig { client, .. } => {
            let site = match step.shows {
                Shows::Site(site) => SITES[site].0,
                _ => "",
            };
            format!("{command:COLUMN$} # {}: {site}", client.place)
        }
        _ => command,
    }
}
