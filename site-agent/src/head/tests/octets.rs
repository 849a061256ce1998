//! Octets many at a time are judged as they are one by one.

use proptest::prelude::*;

use super::super::octets::{
    Digits, decimal, decimal_digits, elements, is_host, is_target, is_tchar, is_text, trim,
};
use super::*;

#[test]
fn each_octet_may_stand_where_the_rfcs_let_it() {
    for octet in 0..=u8::MAX {
        let is_letter = octet.is_ascii_alphanumeric();
        assert_eq!(is_tchar(octet), is_letter || b"!#$%&'*+-.^_`|~".contains(&octet), "{octet:#x}");
        assert_eq!(is_host(octet), is_letter || b"-._~!$&'()*+;=".contains(&octet), "{octet:#x}");
        let text = octet == b'\t' || (octet >= 0x20 && octet != 0x7f);
        let target = (0x21..=0x7e).contains(&octet) && octet != b'#';
        // Wherever it stands among others.
        for before in 0..18 {
            for after in [0, 1, 7, 9] {
                let octets = [vec![b'a'; before], vec![octet], vec![0x80; after]].concat();
                assert_eq!(is_text(&octets), text, "{octets:02x?}");
                let octets = [vec![b'!'; before], vec![octet], vec![b'~'; after]].concat();
                assert_eq!(is_target(&octets), target, "{octets:02x?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn text_is_what_has_no_control_octet_but_tabs(octets in prop::collection::vec(any::<u8>(), 0..30), tame in prop::collection::vec(0x1e..0x82_u8, 0..30)) {
        for octets in [octets, tame] {
            let expected = octets.iter().all(|octet| *octet == b'\t' || (*octet >= 0x20 && *octet != 0x7f));
            prop_assert_eq!(is_text(&octets), expected);
        }
    }

    #[test]
    fn decimal_digits_say_their_number(number: u64) {
        let mut room = Digits::default();
        let digits = decimal_digits(number, &mut room);
        prop_assert_eq!(digits.to_vec(), number.to_string().into_bytes());
        prop_assert_eq!(decimal(number.to_string().as_bytes()), i64::try_from(number).is_ok().then_some(number));
    }
}

#[test]
fn only_spaces_and_tabs_are_trimmed_and_empty_elements_are_none() {
    assert_eq!(trim(b" \t a b\t "), b"a b");
    assert_eq!(trim(b"\x0ba\x0c\n"), b"\x0ba\x0c\n");
    assert_eq!(trim(b" \t"), b"");
    let list: Vec<_> = elements(b", a b ,,\tc,").map(text).collect();
    assert_eq!(list, ["a b", "c"]);
}
