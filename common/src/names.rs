//! Names in a message: a few of them, however many there are.

/// Of those that are known, where another one was written.
pub const MOST_KNOWN: usize = 16;

/// The first names, and of more than `most` how many more: `a, b and 4 more`.
pub fn few<N: Into<String>>(names: impl ExactSizeIterator<Item = N>, most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let first = names.take(most).map(Into::into).collect::<Vec<String>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// How names that are known are listed in a message: `kind: a, b, c`.
pub fn listed<'k>(kind: &str, known: impl ExactSizeIterator<Item = &'k str>) -> String {
    format!("{kind}: {}", few(known, MOST_KNOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
        let shown = |count: usize| listed("sites", names[..count].iter().map(String::as_str));
        assert!(shown(20).ends_with("s14, s15 and 4 more"), "{}", shown(20));
        assert!(shown(16).ends_with("s14, s15"), "{}", shown(16));
        assert_eq!(few(names[..3].iter(), 2), "s0, s1 and 1 more");
        assert_eq!(few(names[..2].iter(), 2), "s0, s1");
    }
}
