//! The commands of the operator's guide, each with the machines it is for.

use super::read;

/// What follows "```sh dns1 dns2" in the guide: the same commands on each of these.
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
            (None, Some(block)) => block.script += &format!("{line}\n"),
            (Some(fence), None) => {
                let mut words = fence.split_whitespace();
                let is_shell = words.next() == Some("sh");
                let machines = words.filter(|_| is_shell).map(str::to_owned).collect();
                open = Some(Block { heading: heading.clone(), machines, script: String::new() });
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
