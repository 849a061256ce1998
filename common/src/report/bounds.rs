//! How deep JSON nests, found before anything is built from it.

/// Whether more than `most` lists and objects stand within each other. Of octets that are not JSON it says
/// something, and the parser then the rest.
pub fn is_deeper(octets: &[u8], most: usize) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for octet in octets {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        for (text, depth) in [
            ("", 0),
            ("1", 0),
            ("[]", 1),
            ("[[],[]]", 2),
            (r#"{"a":[{"b":1}]}"#, 3),
            (r#""[[[""#, 0),
            (r#"["\"[[[", "\\", [1]]"#, 2),
        ] {
            assert!(!is_deeper(text.as_bytes(), depth), "{text}");
            assert!(depth == 0 || is_deeper(text.as_bytes(), depth - 1), "{text}");
        }
        assert!(is_deeper(&[b'['; 1000], 999));
        assert!(!is_deeper(&[b'['; 1000], 1000));
    }
}
