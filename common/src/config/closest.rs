//! What somebody who misspelt a name may have meant.

/// The known name that `text` is most likely a slip of; `None` if none is near, or two are as near.
pub fn closest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let furthest = (text.chars().count() / 3).clamp(1, 3);
    let (mut nearest, mut least, mut is_tied) = (None, furthest + 1, false);
    for name in known {
        match distance(&text.to_lowercase(), &name.to_lowercase()) {
            steps if steps < least => (nearest, least, is_tied) = (Some(name), steps, false),
            steps if steps == least => is_tied = true,
            _ => {}
        }
    }
    nearest.filter(|_| !is_tied)
}

/// What to say of it behind a name that is not known: empty if nothing is near.
pub fn advice<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    closest(text, known).map(|guess| format!("; did you mean {guess:?}?")).unwrap_or_default()
}

/// Least number of letters put in, left out, changed or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = vec![];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, against) in other.iter().enumerate() {
            let changed = last[column] + usize::from(letter != against);
            let mut steps = changed.min(last[column + 1] + 1).min(next[column] + 1);
            let is_swapped =
                row > 0 && column > 0 && *letter == other[column - 1] && one[row - 1] == *against;
            if is_swapped {
                steps = steps.min(before[column - 1] + 1);
            }
            next.push(steps);
        }
        before = std::mem::replace(&mut last, next);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, known: &[&str], expected: Option<&str>) {
        assert_eq!(closest(text, known.iter().copied()), expected, "{text}");
    }

    #[test]
    fn a_slip_is_guessed_only_where_one_name_is_nearest() {
        let keys = ["sites", "steer", "take", "ttl"];
        check("site", &keys, Some("sites"));
        check("stere", &keys, Some("steer"));
        check("Take", &keys, Some("take"));
        check("lattency", &keys, None);
        check("fra3", &["ams1", "fra1", "fra2"], None);
        check("fra3", &["ams1", "fra1"], Some("fra1"));
        check("", &keys, None);
    }

    #[test]
    fn letters_are_put_in_left_out_changed_and_swapped() {
        for (one, other, steps) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "abd", 1),
            ("ab", "abc", 1),
        ] {
            assert_eq!(distance(one, other), steps, "{one} {other}");
            assert_eq!(distance(other, one), steps, "{other} {one}");
        }
    }
}
