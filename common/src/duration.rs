//! Durations as operators write them: one number and one unit.

use std::time::Duration;

/// What messages say was expected.
pub const EXPECTED: &str = "a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\"";

/// Reads `500ms`, `30s`, `5m`, `1h` or `1d`; the error says what is wrong with the text.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if digits > 0 => return Err(format!("{text:?} has no unit; did you mean \"{text}s\"?")),
        _ => return Err(format!("{text:?} is not {EXPECTED}")),
    };
    if digits == 0 {
        return Err(format!("{text:?} has no number before its unit (expected {EXPECTED})"));
    }
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
    total
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is longer than can be counted"))
}

/// In the largest unit that leaves no fraction.
pub fn shown(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds > 0 && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u64, &str>) {
        let got = parse(text).map(|duration| duration.as_millis() as u64);
        assert_eq!(got, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        check("500ms", Ok(500));
        check("30s", Ok(30_000));
        check("5m", Ok(300_000));
        check("1h", Ok(3_600_000));
        check("1d", Ok(86_400_000));
        check("0s", Ok(0));
        check("30", Err("\"30\" has no unit; did you mean \"30s\"?"));
        check(
            "s",
            Err(
                "\"s\" has no number before its unit (expected a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\")",
            ),
        );
        for text in ["", "1.5s", "1h30m", "-1s", "30 s", "30S", "five"] {
            check(
                text,
                Err(&format!(
                    "{text:?} is not a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\""
                )),
            );
        }
        check(
            "99999999999999999999s",
            Err("\"99999999999999999999s\" is longer than can be counted"),
        );
        check(
            "18446744073709551615s",
            Err("\"18446744073709551615s\" is longer than can be counted"),
        );
    }

    #[test]
    fn a_duration_is_shown_as_it_would_be_written() {
        for text in ["500ms", "0ms", "30s", "90s", "5m", "1h", "1d"] {
            assert_eq!(shown(parse(text).unwrap()), text);
        }
        assert_eq!(shown(Duration::from_secs(120)), "2m");
    }
}
