//! How much probes alone may take out of a service: at most a stated share of its capacity, and always one site.

/// A site that the evidence of probes has down.
#[derive(Clone, Debug, PartialEq)]
pub struct Condemned<'n> {
    pub name: &'n str,
    pub capacity: f64,
    /// The share that sees it up all the same.
    pub up_share: f64,
    /// A refused connection, or its own agent: then it is not the probes' word alone.
    pub is_certain: bool,
}

/// What may still go, and whether something has gone.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub capacity: f64,
    pub has_gone: bool,
}

/// Which of them stay in, by their index.
///
/// What is certain goes, and takes nothing from the room. Of the rest, those that fewest see up go first, as many
/// as there is room for; held in are those with the most votes, ties by name.
pub fn held_in(condemned: &[Condemned<'_>], room: Room) -> Vec<usize> {
    let mut order: Vec<usize> =
        (0..condemned.len()).filter(|index| !condemned[*index].is_certain).collect();
    order.sort_by(|one, other| {
        let (one, other) = (&condemned[*one], &condemned[*other]);
        one.up_share.total_cmp(&other.up_share).then_with(|| other.name.cmp(one.name))
    });
    let has_certain = condemned.iter().any(|one| one.is_certain);
    let (mut removed, mut has_gone) = (0.0, room.has_gone || has_certain);
    let mut held = Vec::new();
    for index in order {
        let after = removed + condemned[index].capacity;
        let fits = after <= room.capacity || !has_gone;
        // In order: who stands behind one that is held in has more votes than it.
        if fits && held.is_empty() {
            (removed, has_gone) = (after, true);
        } else {
            held.push(index);
        }
    }
    held.sort_unstable();
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Share;

    /// Sites as `name:capacity:up_share`, with a `!` where it is certain; of so much in all.
    fn check(whole: f64, most: f64, sites: &str, expected: &str) {
        let condemned: Vec<Condemned<'_>> = sites
            .split_whitespace()
            .map(|word| {
                let (word, is_certain) =
                    word.strip_suffix('!').map_or((word, false), |word| (word, true));
                let parts: Vec<&str> = word.split(':').collect();
                Condemned {
                    name: parts[0],
                    capacity: parts[1].parse().unwrap(),
                    up_share: parts[2].parse().unwrap(),
                    is_certain,
                }
            })
            .collect();
        let room = Room { capacity: Share::new(most).unwrap().of(whole), has_gone: false };
        let held = held_in(&condemned, room);
        let names: Vec<&str> = held.iter().map(|index| condemned[*index].name).collect();
        assert_eq!(names.join(" "), expected, "{sites}");
    }

    #[test]
    fn at_most_a_share_goes() {
        check(4.0, 0.5, "a:1:0 b:1:0", "");
        check(4.0, 0.5, "a:1:0 b:1:0.1 c:1:0.2", "c");
        check(4.0, 0.5, "a:1:0 b:1:0 c:1:0 d:1:0", "a b");
        check(10.0, 0.5, "a:6:0 b:2:0.2", "b");
    }

    #[test]
    fn one_site_always_goes() {
        check(2.0, 0.1, "a:1:0", "");
        check(2.0, 0.0, "a:1:0.3 b:1:0.2", "a");
        check(1.0, 0.5, "a:1:0", "");
    }

    #[test]
    fn what_is_certain_goes_by_itself() {
        check(4.0, 0.5, "a:1:0! b:1:0! c:1:0!", "");
        check(4.0, 0.25, "a:1:0! b:1:0 c:1:0.1", "c");
        check(4.0, 0.0, "a:1:0! b:1:0", "b");
    }

    #[test]
    fn those_with_the_most_votes_stay() {
        check(3.0, 0.34, "a:1:0.3 b:1:0.1 c:1:0.2", "a c");
        check(3.0, 0.34, "c:1:0 a:1:0 b:1:0", "a b");
        // A small one does not slip through behind a large one that stays.
        check(10.0, 0.3, "a:1:0 b:6:0.1 c:1:0.2", "b c");
    }
}
