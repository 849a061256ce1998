//! The commands of the operator's guide, each with the machines it is for.

use super::read;

/// What follows `# on dns1, dns2` at the top of a block of commands: the same on each of these.
#[derive(Clone, Debug)]
pub struct Block {
    pub heading: String,
    pub machines: Vec<String>,
    pub script: String,
}

/// All of them, in their order.
pub fn blocks() -> Vec<Block> {
    let (mut heading, mut open, mut blocks) = (String::new(), None::<Block>, vec![]);
    for line in read("docs/operators-guide.md").lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => match line.strip_prefix("# on ") {
                Some(machines) if block.script.is_empty() => {
                    block.machines = machines.split(", ").map(str::to_owned).collect();
                }
                Some(_) | None => block.script += &format!("{line}\n"),
            },
            (Some(_), None) => {
                let (heading, machines, script) = (heading.clone(), vec![], String::new());
                open = Some(Block { heading, machines, script });
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    heading = title.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    // Of the others no machine is said: they are looked things up in.
    blocks.retain(|block| !block.machines.is_empty());
    blocks
}
