//! Stories of servers that fail, and the bounds of what is taken out for it.

use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Four servers. Events stand after their second: a server and what came of it (`a 503`, `b connected`, `c closed`),
/// `a passed`, or `expire`. Told is what each led to, if anything.
fn story(settings: Settings, events: &str, expected: &str) {
    let mut outliers = Outliers::new(settings, 4, Duration::ZERO);
    let mut told = vec![];
    for event in events.split(" | ") {
        let mut words = event.split(' ');
        let at = words.next().unwrap();
        let now = seconds(at.parse().unwrap());
        let who = words.next().unwrap();
        if who == "expire" {
            let back = outliers.expire(now);
            told.extend(back.iter().map(|id| format!("{at} {} returns", name(*id))));
            continue;
        }
        let id = ServerId(usize::from(who.as_bytes()[0] - b'a'));
        let outcome = match words.next().unwrap() {
            "passed" => {
                if outliers.on_check_passed(now, id) {
                    told.push(format!("{at} {who} returns"));
                }
                continue;
            }
            "connected" => Outcome::Connected,
            "refused" => Outcome::NotConnected,
            "timeout" => Outcome::TimedOut,
            "closed" => Outcome::Closed,
            "junk" => Outcome::Junk,
            status => Outcome::Answered(status.parse().unwrap()),
        };
        let others = words.next().map_or(3, |others| others.parse().unwrap());
        let until = outliers.on_outcome(now, id, outcome, others);
        told.extend(until.map(|until| format!("{at} {who} out until {}", until.as_secs())));
    }
    assert_eq!(told.join(" | "), expected, "{events}");
}

fn name(id: ServerId) -> char {
    char::from(b'a' + id.0 as u8)
}

/// Two errors are enough, so that stories are short.
fn two() -> Settings {
    Settings { consecutive_errors: NonZeroU32::new(2).unwrap(), ..Settings::default() }
}

#[test]
fn errors_in_a_row_eject() {
    let five = "1 a 503 | 1 a 502 | 1 a 504 | 1 a closed";
    story(Settings::default(), five, "");
    story(Settings::default(), &format!("{five} | 2 a timeout"), "2 a out until 32");
    // Any success begins the run anew; another server's does not.
    story(Settings::default(), &format!("{five} | 2 a 404 | 2 a 503"), "");
    story(Settings::default(), &format!("{five} | 2 b 200 | 2 a 503"), "2 a out until 32");
    story(Settings::default(), &format!("{five} | 2 a connected | 2 a 503"), "2 a out until 32");
}

#[test]
fn an_ejection_ends_in_time_or_by_a_check() {
    story(
        two(),
        "0 a 503 | 0 a 503 | 29 expire | 30 expire | 31 expire",
        "0 a out until 30 | 30 a returns",
    );
    story(
        two(),
        "0 a 503 | 0 a 503 | 7 a passed | 8 a passed | 30 expire",
        "0 a out until 30 | 7 a returns",
    );
    // What comes while it is out is not held against it.
    story(
        two(),
        "0 a 503 | 0 a 503 | 1 a 503 | 1 a 503 | 30 expire | 30 a 503",
        "0 a out until 30 | 30 a returns",
    );
}

#[test]
fn each_ejection_is_longer_and_quiet_intervals_shorten_them() {
    story(
        two(),
        "0 a 503 | 0 a 503 | 30 expire | 30 a 503 | 30 a 503 | 90 expire | 90 a 503 | 90 a 503",
        "0 a out until 30 | 30 a returns | 30 a out until 90 | 90 a returns | 90 a out until 180",
    );
    // Nine seconds are no interval, ten are one, twenty two.
    story(
        two(),
        "0 a 503 | 0 a 503 | 30 expire | 39 a 503 | 39 a 503",
        "0 a out until 30 | 30 a returns | 39 a out until 99",
    );
    story(
        two(),
        "0 a 503 | 0 a 503 | 30 expire | 40 a 503 | 40 a 503",
        "0 a out until 30 | 30 a returns | 40 a out until 70",
    );
    // The time counts from the end of the ejection, however late somebody looked.
    story(
        two(),
        "0 a 503 | 0 a 503 | 35 expire | 40 a 503 | 40 a 503",
        "0 a out until 30 | 35 a returns | 40 a out until 70",
    );
    let short = Settings { max_ejection_time: seconds(50), ..two() };
    story(
        short,
        "0 a 503 | 0 a 503 | 30 expire | 30 a 503 | 30 a 503 | 80 expire | 80 a 503 | 80 a 503 | 130 expire | 140 a 503 | 140 a 503",
        "0 a out until 30 | 30 a returns | 30 a out until 80 | 80 a returns | 80 a out until 130 | 130 a returns | 140 a out until 190",
    );
    // The third is no longer than the second, so it does not count for longer either.
    story(
        short,
        "0 a 503 | 0 a 503 | 30 expire | 30 a 503 | 30 a 503 | 80 expire | 80 a 503 | 80 a 503 | 130 expire | 150 a 503 | 150 a 503",
        "0 a out until 30 | 30 a returns | 30 a out until 80 | 80 a returns | 80 a out until 130 | 130 a returns | 150 a out until 180",
    );
    // The base holds even where the most is less.
    let odd = Settings { max_ejection_time: seconds(1), ..two() };
    story(odd, "0 a 503 | 0 a 503", "0 a out until 30");
}

#[test]
fn no_more_are_out_than_the_percentage_but_one_always_may() {
    let all = "0 a 503 | 0 a 503 | 0 b 503 | 0 b 503 | 0 c 503 | 0 c 503";
    story(two(), all, "0 a out until 30 | 0 b out until 30");
    let few = Settings { max_ejection_percent: 49, ..two() };
    story(few, all, "0 a out until 30");
    let none = Settings { max_ejection_percent: 0, ..two() };
    story(none, all, "0 a out until 30");
    let any = Settings { max_ejection_percent: 100, ..two() };
    story(any, all, "0 a out until 30 | 0 b out until 30 | 0 c out until 30");
    // Never the last that is usable. A run begins anew after it.
    story(any, "0 a 503 0 | 0 a 503 0 | 0 a 503", "");
    story(any, "0 a 503 0 | 0 a 503 0 | 0 a 503 | 0 a 503", "0 a out until 30");
}

/// Which of these are errors (`e`), successes (`.`) or nothing (`-`).
#[test]
fn what_counts_is_as_its_model_says() {
    use Outcome::*;
    let outcomes = [
        Connected,
        NotConnected,
        TimedOut,
        Closed,
        Junk,
        Answered(99),
        Answered(100),
        Answered(200),
        Answered(499),
        Answered(500),
        Answered(501),
        Answered(502),
        Answered(503),
        Answered(504),
        Answered(505),
        Answered(599),
        Answered(600),
    ];
    let check = |counts: Counts, expected: &str| {
        let letter = |outcome| match counts.judge(outcome) {
            Judged::Error => 'e',
            Judged::Success => '.',
            Judged::Nothing => '-',
        };
        assert_eq!(outcomes.map(letter).iter().collect::<String>(), expected, "{counts:?}");
    };
    check(Counts::Connections, ".e---------------");
    check(Counts::Gateway, "-eeee......eee...");
}

#[test]
fn a_reload_keeps_who_is_out() {
    let mut outliers = Outliers::new(two(), 2, Duration::ZERO);
    for _ in 0..2 {
        outliers.on_outcome(Duration::ZERO, ServerId(1), Outcome::Closed, 1);
    }
    outliers.reload(two(), &[Some(ServerId(1)), None, Some(ServerId(0))], seconds(1));
    assert_eq!([0, 1, 2].map(|place| outliers.is_ejected(ServerId(place))), [true, false, false]);
    assert_eq!(outliers.expire(seconds(29)), []);
    assert_eq!(outliers.expire(seconds(30)), [ServerId(0)]);
}

#[test]
fn a_success_matters_only_after_errors() {
    let mut outliers = Outliers::new(two(), 1, Duration::ZERO);
    let mut after = |outcome| {
        outliers.on_outcome(Duration::ZERO, ServerId(0), outcome, 1);
        outliers.has_run(ServerId(0))
    };
    assert!(!after(Outcome::Answered(200)));
    assert!(after(Outcome::Closed));
    assert!(!after(Outcome::Answered(200)));
    assert!(after(Outcome::Closed));
    assert!(!after(Outcome::Closed), "it is out");
}

proptest! {
    /// However many fail: not more than the percentage are out, or one; none for longer than the longest; and nobody
    /// without its run of errors.
    #[test]
    fn ejections_keep_their_bounds(
        servers in 1..12usize, percent in 0..=100u8, need in 1..4u32,
        events in proptest::collection::vec((0..12usize, any::<bool>(), 0..20u64), 0..300),
    ) {
        let settings = Settings {
            consecutive_errors: NonZeroU32::new(need).unwrap(),
            max_ejection_percent: percent,
            ..Settings::default()
        };
        let mut outliers = Outliers::new(settings, servers, Duration::ZERO);
        let (mut now, mut runs) = (Duration::ZERO, vec![0; servers]);
        for (server, is_error, wait) in events {
            now += seconds(wait);
            for back in outliers.expire(now) {
                runs[back.0] = 0;
            }
            let id = ServerId(server % servers);
            let was_out = outliers.is_ejected(id);
            let outcome = if is_error { Outcome::Closed } else { Outcome::Answered(200) };
            let ejected = outliers.on_outcome(now, id, outcome, 1);
            runs[id.0] = if is_error { runs[id.0] + 1 } else { 0 };
            let was_full = (0..servers).filter(|place| outliers.is_ejected(ServerId(*place))).count();
            let has_failed = !was_out && runs[id.0] >= need;
            if let Some(until) = ejected {
                prop_assert!(has_failed && until > now && until <= now + seconds(300));
            } else {
                let may = was_full == 0 || (was_full + 1) * 100 <= servers * usize::from(percent);
                prop_assert!(!has_failed || !may);
            }
            if has_failed {
                runs[id.0] = 0;
            }
            let out = (0..servers).filter(|place| outliers.is_ejected(ServerId(*place))).count();
            prop_assert!(out <= 1 || out * 100 <= servers * usize::from(percent));
        }
        // In the end everybody is back.
        outliers.expire(now + seconds(300));
        prop_assert!((0..servers).all(|place| !outliers.is_ejected(ServerId(place))));
    }
}
