//! What rules see of a request's path: one spelling for all that servers may take for the same.
//!
//! Rules match the normal form; what is forwarded is what came. The normal form has
//! - every percent-encoded octet decoded, once, `%2F` too: most servers then take it for a slash;
//! - one slash where several stand in a row;
//! - no dot segments (RFC 3986 §5.2.4).
//!
//! Where servers differ in what they make of it, no form would be right for all of them, so the path is *unclear*, and a
//! request with one is not to be believed: a rule would see `/public` where a server sees `/admin`. That is a `%`
//! without two digits, a NUL, and a dot segment beside anything that only some take for a slash (`%2F`, `\`) or that some
//! cut off (`;…`, as in `/..;/admin`).

/// A path in its normal form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NormalPath<'p>(&'p [u8]);

/// Why a path has no normal form. To be answered with 400.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unclear {
    #[error("a % without two hexadecimal digits")]
    Escape,
    #[error("a NUL")]
    Nul,
    #[error("a dot segment beside an encoded slash, a backslash or a parameter")]
    Dots,
}

impl<'p> NormalPath<'p> {
    pub fn octets(self) -> &'p [u8] {
        self.0
    }
}

/// The normal form of a path, without its query. `room` is used where it is not the path itself, and is worth keeping
/// for the next. What does not begin with a slash (`*`) is left as it is.
pub fn normal<'p>(path: &'p [u8], room: &'p mut Vec<u8>) -> Result<NormalPath<'p>, Unclear> {
    if path.first() != Some(&b'/') || is_normal(path) {
        return Ok(NormalPath(path));
    }
    room.clear();
    let has_encoded_slash = decode(path, room)?;
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    let is_odd = has_encoded_slash || room.contains(&b'\\');
    let mut segments = room.split(|octet| matches!(octet, b'/' | b'\\'));
    let is_unclear = segments.any(|segment| {
        let bare = segment.split(|octet| *octet == b';').next().unwrap_or_default();
        is_dots(bare) && (is_odd || bare.len() < segment.len())
    });
    if is_unclear {
        return Err(Unclear::Dots);
    }
    let length = without_dots(room);
    room.truncate(length);
    Ok(NormalPath(room))
}

/// Whether nothing in it could have another spelling.
fn is_normal(path: &[u8]) -> bool {
    let is_plain = |octet: &u8| !matches!(octet, b'%' | b'\\' | b'\0');
    path.iter().all(is_plain)
        && path.windows(2).all(|pair| pair[0] != b'/' || !matches!(pair[1], b'/' | b'.'))
}

/// Says whether a slash or backslash was encoded.
fn decode(path: &[u8], into: &mut Vec<u8>) -> Result<bool, Unclear> {
    let mut has_encoded_slash = false;
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let (octet, left) = match (first, after) {
            (b'%', [high, low, left @ ..]) => {
                let octet = octet(*high, *low).ok_or(Unclear::Escape)?;
                has_encoded_slash |= matches!(octet, b'/' | b'\\');
                (octet, left)
            }
            (b'%', _) => return Err(Unclear::Escape),
            (plain, left) => (*plain, left),
        };
        if octet == 0 {
            return Err(Unclear::Nul);
        }
        into.push(octet);
        rest = left;
    }
    Ok(has_encoded_slash)
}

/// What two hexadecimal digits stand for.
pub fn octet(high: u8, low: u8) -> Option<u8> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Takes slashes in a row and dot segments out, in place; says how many octets are left. The first is a slash.
fn without_dots(path: &mut [u8]) -> usize {
    // Everything before `written` is done, and ends behind a slash whenever a segment begins.
    let mut written = 1;
    let mut read = 1;
    while read < path.len() {
        let length = path[read..].iter().position(|octet| *octet == b'/');
        let is_last = length.is_none();
        let length = length.unwrap_or(path.len() - read);
        match &path[read..read + length] {
            b"" | b"." => {}
            b".." => {
                let parent = path[..written - 1].iter().rposition(|octet| *octet == b'/');
                written = parent.map_or(1, |slash| slash + 1);
            }
            _ => {
                path.copy_within(read..read + length, written);
                written += length;
                if !is_last {
                    path[written] = b'/';
                    written += 1;
                }
            }
        }
        read += length + 1;
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(path: &str, expected: Result<&str, Unclear>) {
        let mut room = vec![b'?'; 3];
        let got = normal(path.as_bytes(), &mut room);
        assert_eq!(got.map(|path| path.octets()), expected.map(str::as_bytes), "{path}");
    }

    #[test]
    fn one_thing_has_one_spelling() {
        for path in ["/", "/a", "/a/", "/a/b;c=d", "/a.b/c..d", "*", "", "a//b", "/…/a.", "/a;b"]
        {
            check(path, Ok(path));
        }
        check("//", Ok("/"));
        check("///a//b///", Ok("/a/b/"));
        check("/%61dmin", Ok("/admin"));
        check("/a%20b%2e%3F", Ok("/a b.?"));
        check("/%2Fa", Ok("/a"));
        check("/a%2fb", Ok("/a/b"));
        check("/a\\b", Ok("/a\\b"));
        check("/a%5Cb", Ok("/a\\b"));
        check("/%2561", Ok("/%61")); // Once, not twice.
    }

    #[test]
    fn dot_segments_are_taken_out() {
        check("/.", Ok("/"));
        check("/..", Ok("/"));
        check("/a/.", Ok("/a/"));
        check("/a/..", Ok("/"));
        check("/a/b/..", Ok("/a/"));
        check("/a/./b/../c", Ok("/a/c"));
        check("/../../a", Ok("/a"));
        check("/a//../b", Ok("/b")); // As nginx: slashes in a row are one before dots count.
        check("/%2e%2E/admin", Ok("/admin"));
        check("/.a/..b/...", Ok("/.a/..b/..."));
        check("/mnt/../a/b/c/./../../g", Ok("/a/g"));
    }

    #[test]
    fn what_servers_differ_about_is_refused() {
        check("/%", Err(Unclear::Escape));
        check("/a%4", Err(Unclear::Escape));
        check("/a%zz", Err(Unclear::Escape));
        check("/a%+1", Err(Unclear::Escape));
        check("/%u0041", Err(Unclear::Escape));
        check("/a%00", Err(Unclear::Nul));
        check("/a\0", Err(Unclear::Nul));
        check("/public%2F..%2Fadmin", Err(Unclear::Dots));
        check("/public/..%2Fadmin", Err(Unclear::Dots));
        check("/a%2Fb/../c", Err(Unclear::Dots));
        check("/a\\..\\b", Err(Unclear::Dots));
        check("/a/%5c../b", Err(Unclear::Dots));
        check("/..;/admin", Err(Unclear::Dots));
        check("/a/..;x=1/b", Err(Unclear::Dots));
        check("/.;/a", Err(Unclear::Dots));
    }

    /// Octets that have something to say, mostly.
    fn paths() -> impl Strategy<Value = Vec<u8>> {
        let octets = prop::sample::select(b"/././../%%2FfeE5cC00;\\ab?\xff".to_vec());
        prop::collection::vec(octets, 0..24).prop_map(|rest| [vec![b'/'], rest].concat())
    }

    proptest! {
        /// By segments, as one would do it by hand.
        #[test]
        fn the_normal_form_is_that_of_its_segments(path in paths()) {
            let mut room = Vec::new();
            if let Ok(normal) = normal(&path, &mut room) {
                let mut decoded = Vec::new();
                decode(&path, &mut decoded).unwrap();
                let mut kept: Vec<&[u8]> = vec![];
                let segments: Vec<&[u8]> = decoded[1..].split(|octet| *octet == b'/').collect();
                for segment in &segments {
                    match *segment {
                        b"" | b"." => {}
                        b".." => drop(kept.pop()),
                        other => kept.push(other),
                    }
                }
                let ends_open = matches!(segments.last(), Some(&(b"" | b"." | b"..")));
                let mut expected = [b"/".to_vec(), kept.join(&b'/')].concat();
                if ends_open && !kept.is_empty() {
                    expected.push(b'/');
                }
                prop_assert_eq!(normal.octets(), &expected[..]);
            }
        }

        #[test]
        fn what_is_normal_needs_no_room(path in paths()) {
            let mut room = Vec::new();
            let mut again = Vec::new();
            if let Ok(once) = normal(&path, &mut room)
                && is_normal(once.octets())
            {
                prop_assert_eq!(normal(once.octets(), &mut again), Ok(once));
                prop_assert!(again.is_empty());
            }
        }
    }
}
