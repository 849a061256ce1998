//! Sites with several addresses, addresses with several checks, and what the cap says to each kind of them.

use super::*;

fn after(world: &str, words: &str) -> Story {
    let mut story = Story::new(world, Held::default());
    story.run(WELL);
    story.run(words);
    story
}

/// Every site with an address of each kind.
fn dual() -> String {
    let both = |number: u8| {
        let v4 = format!("vips = [\"192.0.2.{number}\"]");
        (v4, format!("vips = [\"192.0.2.{number}\", \"2001:db8::{number}\"]"))
    };
    [1, 2]
        .into_iter()
        .map(both)
        .fold(SITES.to_owned(), |sites, (one, two)| sites.replace(&one, &two))
}

fn two_checks(key: &str) -> String {
    SITES
        .replace("[service.", "[check.tls]\nkind = \"tls\"\nport = 443\n[service.")
        .replace("check = [\"web\"]", &format!("{key} = [\"web\", \"tls\"]"))
}

#[test]
fn the_way_back_takes_no_more_out_than_may_go() {
    let check = |words: &str, expected: &str| check_after(words, expected);
    let twice = "abc:fra- abc:iad- 5s abc:fra+ abc:iad+ 5s abc:fra- abc:iad- 5s";
    check(twice, "fra=up iad=down nrt=up");
    // Both wait, which is to be out like any other: one of three may be.
    check(&format!("{twice} abc:fra+ abc:iad+"), "fra=up iad=down nrt=up");
    // Who was held in, and is seen better now, keeps its clients as long as another is out.
    check("abc:fra- abc:iad- 5s abc:fra+", "fra=up iad=down nrt=up");
    // With all of them back, they come back alike.
    check("abc:fra- abc:iad- 5s abc:fra+ abc:iad+", "fra=up*0.25 iad=up*0.25 nrt=up");
    // There is room for three quarters of one beside one of three at two thirds, and not at a half.
    let room = SITES.replace("max_removed = 0.5", "max_removed = 0.6");
    let words = "abc:nrt- 5s abc:nrt+ abc:fra-";
    assert_eq!(after(&room, words).told(), "fra=down iad=up nrt=up*0.25");
    check(words, "fra=down iad=up nrt=up");
}

#[test]
fn a_kind_of_addresses_is_capped_by_itself() {
    // Two of three probes have no way to IPv6: every site's addresses of that kind are down, and none of the others.
    let mut story = after(&dual(), "ab:fra6- ab:iad6- ab:nrt6-");
    assert_eq!(story.told(), "fra=up iad=up nrt=up/");
    assert!(story.views()[0].is_held_in && story.views()[1].is_held_in);
    let mut story = after(&dual(), "ab:fra6- ab:iad6- ab:nrt6- ab:iad-");
    assert_eq!(story.told(), "fra=up iad=up/ nrt=up/", "the cap of one kind is not the other's");
    assert_eq!(&*story.views()[1].struck, ["192.0.2.2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn an_address_that_waits_is_not_answered_beside_another() {
    let flaps = "abc:fra6- 5s abc:fra6+ 5s ".repeat(3);
    let mut story = after(&dual(), &flaps);
    assert_eq!(story.told(), "fra=up/ iad=up nrt=up");
    assert_eq!(&*story.views()[0].struck, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    story.run("20s");
    assert_eq!(story.told(), "fra=up iad=up nrt=up");
}

/// Says of the target behind a port of fra's what `what` is; `1` for one that was otherwise before, `3` for one that
/// flapped.
fn say(story: &mut Story, port: u16, what: char, flaps: u32) {
    let of_fra = |target: &common::target::Target| {
        target.port == port && target.address == common::target::Address::Ip([192, 0, 2, 1].into())
    };
    let id = story.world.targets.iter().find(|(_, target)| of_fra(target)).unwrap().0;
    for vantage in ['a', 'b', 'c'] {
        let now = story.now;
        story.vantages.get_mut(&vantage).unwrap().says.insert(id, (what, now, flaps));
        story.report(vantage);
    }
}

#[test]
fn each_check_has_its_say_in_whatever_order() {
    for (flapping, steady) in [(80, 443), (443, 80)] {
        // One is enough, and one was up throughout: nothing came back.
        let mut story = after(&two_checks("any"), "");
        say(&mut story, steady, '+', 0);
        say(&mut story, flapping, '-', 5);
        story.run("5s");
        say(&mut story, flapping, '+', 6);
        assert_eq!(story.told(), "fra=up iad=up nrt=up", "any, {flapping}");
        // Each must pass: as one comes back, so does the address.
        let mut story = after(&two_checks("check"), "");
        say(&mut story, steady, '+', 0);
        say(&mut story, flapping, '-', 1);
        assert_eq!(story.told(), "fra=down iad=up nrt=up");
        say(&mut story, flapping, '+', 2);
        assert_eq!(story.told(), "fra=up*0.25 iad=up nrt=up", "check, {flapping}");
        say(&mut story, flapping, '+', 4);
        assert_eq!(story.told(), "fra=down iad=up nrt=up", "check, {flapping}, which waits");
        // One silent, one refused: the host itself says that it does not serve, and the cap has no say.
        let mut story = after(&two_checks("check"), "");
        say(&mut story, steady, '-', 1);
        say(&mut story, flapping, '!', 1);
        story.run("abc:iad-");
        assert_eq!(story.told(), "fra=down iad=down nrt=up", "refused, {flapping}");
    }
}
