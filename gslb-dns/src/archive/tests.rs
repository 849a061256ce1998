//! Boards of many kinds told one after the other, with the files between them: what was believed at each moment is
//! found again, in bounded space, whatever is torn off or damaged.

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config;
use crate::health::board::{Admit, Beliefs, Duty, Health, Lost, Standing};
use crate::history::{Asked, Found, Line, Sought, Words};
use crate::site_set::SiteSet;

const WORLD: &str = r#"
[zone."example.com"]
file = "steer.zone"
[site.fra]
vips = ["192.0.2.1", "192.0.2.11"]
[site.iad]
vips = ["192.0.2.2"]
[site.nrt]
vips = ["192.0.2.3"]
[service."www.example.com"]
sites = ["fra", "iad", "nrt"]
when_all_down = "last-known"
[service."api.example.com"]
sites = ["iad", "fra"]
when_all_down = "open"
"#;

const SMALL: Bounds = Bounds { file: 8 << 10, files: 3, waiting: 6 };

/// The second has another site and lacks a service.
fn worlds() -> [World; 2] {
    let other = WORLD.replace("[site.nrt]", "[site.syd]").replace("\"nrt\"", "\"syd\"");
    let end = other.find("[service.\"api").unwrap();
    [WORLD, &other[..end]].map(|text| {
        config::world_from_str(text, Path::new("tests/steer"))
            .unwrap_or_else(|problems| panic!("{problems}"))
    })
}

/// One digit for what is believed of each site.
fn standing(kind: u8) -> Standing {
    let mut standing = Standing {
        health: Health::Up,
        since: None,
        why: format!("kind {kind}").into(),
        duty: Duty::Serving,
        duty_why: "".into(),
        weight: 1,
        weight_why: "".into(),
        admit: Admit::ALL,
        struck: [].into(),
        lost: [].into(),
        halvings: 0,
    };
    match kind {
        0 => standing.health = Health::Down,
        1 => standing.duty = Duty::Drained,
        2 => {
            standing.weight = 7;
            standing.weight_why = "half of it, says alice".into();
        }
        // Neither is a short fraction: it must come back to the last bit.
        3 => standing.admit = Admit::new(1.0 / 3.0).unwrap(),
        4 => standing.admit = Admit::new(0.1 + 0.2).unwrap(),
        5 => standing.struck = ["192.0.2.11".parse().unwrap()].into(),
        6 => standing.health = Health::Unknown,
        7 => {
            standing.lost = [Lost {
                region: geoip::Continent::Europe,
                addresses: Some(["192.0.2.11".parse().unwrap()].into()),
                why: "Europe has it down".into(),
            }]
            .into();
        }
        8 => standing.halvings = 2,
        _ => {}
    }
    standing
}

fn at(second: usize) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second as i64).unwrap()
}

/// A server's history, and what was told of it.
struct Story {
    dir: TempDir,
    worlds: [World; 2],
    archive: Archive,
    bounds: Bounds,
    world: usize,
    board: Board,
    /// The world and the board of each moment.
    told: Vec<(usize, Board)>,
}

impl Story {
    fn begin(bounds: Bounds) -> Story {
        let (dir, worlds) = (tempfile::tempdir().unwrap(), worlds());
        let (archive, flaws) = Archive::open(dir.path(), bounds);
        assert_eq!(flaws, []);
        let board = Board::blank(&worlds[0]);
        let mut story = Story { dir, worlds, archive, bounds, world: 0, board, told: vec![] };
        let board = story.next(&[9; 5], 0);
        story.archive.begin(&story.worlds[0], &board);
        story.answer(board);
        story
    }

    fn next(&self, kinds: &[u8], orders: u64) -> Board {
        let world = &self.worlds[self.world];
        let mut kinds = kinds.iter().cycle();
        let services = world.service_ids().map(|id| {
            let candidates = world.service(id).candidates.iter();
            let standings = candidates.map(|_| standing(*kinds.next().unwrap())).collect();
            // As after a restart: who was fit is what was remembered, if nobody is.
            Beliefs::new(standings, SiteSet::one(1))
        });
        let number = self.told.len() as u64 + 1;
        Board::of(number, services.collect()).at(at(self.told.len())).ordered_up_to(orders)
    }

    fn answer(&mut self, board: Board) {
        let copy = |board: &Board| {
            let world = &self.worlds[self.world];
            let services = world.service_ids().map(|id| {
                let Beliefs { standings, last_known } = board.of_service(id);
                Beliefs { standings: standings.clone(), last_known: *last_known }
            });
            let copy = Board::of(board.number, services.collect());
            copy.at(board.at).ordered_up_to(board.orders)
        };
        self.told.push((self.world, copy(&board)));
        self.board = board;
    }

    fn believe(&mut self, kinds: &[u8]) {
        let board = self.next(kinds, self.board.orders);
        let world = &self.worlds[self.world];
        self.archive.change(world, &self.board, &board, Because::Evidence);
        self.answer(board);
    }

    fn reload(&mut self) {
        let before = self.world;
        self.world = 1 - before;
        let board = self.next(&[0, 9], self.board.orders);
        let (old, new) = (&self.worlds[before], &self.worlds[self.world]);
        self.archive.reload((old, &self.board), (new, &board));
        self.answer(board);
    }

    /// Nothing that was told and not written is known afterwards.
    fn restart(&mut self) -> Vec<Flaw> {
        let (archive, flaws) = Archive::open(self.dir.path(), self.bounds);
        self.archive = archive;
        let board = self.next(&[9, 0, 6], self.board.orders);
        self.archive.begin(&self.worlds[self.world], &board);
        self.answer(board);
        flaws
    }

    fn found(&self, moment: usize) -> Found {
        let (found, flaws) =
            super::found(&self.archive.shelf(), &Sought { at: at(moment), exact: None });
        assert_eq!(flaws, Vec::<String>::new());
        found
    }

    /// That moment's board, made again, is the one that answered.
    fn check(&self, moment: usize) {
        let (world, then) = &self.told[moment];
        let Found::Then(past) = self.found(moment) else { panic!("{moment} is not found") };
        let world = &self.worlds[*world];
        let again = past.board(world);
        assert_eq!(again.digest, then.digest, "{moment}: {past:?}");
        assert_eq!(*past.head.digest, *then.digest.to_string());
        assert_eq!(*past.head.epoch, *world.epoch.to_string());
        assert_eq!(again.orders, then.orders);
        for id in world.service_ids() {
            let (again, then) = (again.of_service(id), then.of_service(id));
            assert_eq!(again.last_known, then.last_known);
            for (again, then) in again.standings.iter().zip(&then.standings) {
                assert!(again.answers_like(then));
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let all = files(&self.dir.path().join(HISTORY_DIR)).unwrap();
        all.into_iter().map(|(_, path)| path).collect()
    }

    fn listing(&self, words: &Words) -> crate::history::Listing {
        let asked = Asked::read(words, at(self.told.len())).unwrap();
        super::listing(&self.archive.shelf(), asked)
    }
}

#[derive(Clone, Debug)]
enum Event {
    Believe([u8; 5]),
    Order(u64),
    Flush,
    Reload,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => proptest::array::uniform5(0..10_u8).prop_map(Event::Believe),
        1 => (0..50_u64).prop_map(Event::Order),
        4 => Just(Event::Flush),
        1 => Just(Event::Reload),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_believed_at_every_moment_is_found_again(
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let roomy = Bounds { file: 3 << 10, files: 1000, waiting: 100_000 };
        let mut story = Story::begin(roomy);
        for event in events {
            match event {
                Event::Believe(kinds) => story.believe(&kinds),
                Event::Order(more) => {
                    let board = story.next(&[9, 1, 2], story.board.orders + more);
                    let world = &story.worlds[story.world];
                    story.archive.change(world, &story.board, &board, Because::Orders);
                    story.answer(board);
                }
                Event::Flush => story.archive.flush().unwrap(),
                Event::Reload => story.reload(),
                Event::Restart => {
                    story.archive.flush().unwrap();
                    prop_assert_eq!(story.restart(), []);
                }
            }
        }
        for moment in 0..story.told.len() {
            story.check(moment);
        }
        // As everybody else reads it, who has the files alone.
        story.archive.flush().unwrap();
        for moment in 0..story.told.len() {
            let shelf = Shelf::of_files(story.dir.path());
            let sought = Sought { at: at(moment), exact: None };
            let Found::Then(past) = super::found(&shelf, &sought).0 else { panic!("{moment}") };
            prop_assert_eq!(Found::Then(past), story.found(moment));
        }
    }

    /// By index and by name.
    #[test]
    fn two_boards_differ_alike_however_they_are_compared(
        before: [u8; 5],
        after: [u8; 5],
    ) {
        let story = Story::begin(SMALL);
        let world = &story.worlds[0];
        let boards = [before, after].map(|kinds| story.next(&kinds.map(|kind| kind % 10), 0));
        let past = |board| Past::of(Head::of(Cause::Change, 1, world, board), world, board);
        let by_name = past(&boards[0]).changes_to(&past(&boards[1]));
        prop_assert_eq!(Diff::between(world, &boards[0], &boards[1], Because::Evidence), by_name);
    }
}

#[test]
fn space_is_bounded_and_the_oldest_goes() {
    let mut story = Story::begin(SMALL);
    let mut most = 0;
    for moment in 0..600_u32 {
        story.believe(&[(moment % 8) as u8, 9, 0, 9, (moment % 3) as u8]);
        story.archive.flush().unwrap();
        let files = story.files();
        assert!(files.len() <= SMALL.files);
        let sizes = files.iter().map(|file| fs::metadata(file).unwrap().len());
        most = most.max(sizes.max().unwrap());
    }
    assert_eq!(story.files().len(), SMALL.files);
    // What is added last may stand beyond the bound: four lines here.
    assert!((SMALL.file..SMALL.file + 2048).contains(&most), "{most}");
    let Found::Before(begins) = story.found(0) else { panic!("it is long gone") };
    let oldest = (begins.as_second() - at(0).as_second()) as usize;
    assert!(oldest > 400, "{oldest}");
    for moment in oldest..story.told.len() {
        story.check(moment);
    }
    assert!(matches!(story.found(oldest - 1), Found::Before(_)));
    assert_eq!(story.listing(&Words::default()).begins, Some(begins));
}

#[test]
fn a_file_holds_twice_what_it_begins_with_at_least() {
    let tiny = Bounds { file: 1, ..SMALL };
    let mut story = Story::begin(tiny);
    story.archive.flush().unwrap();
    let whole = fs::metadata(&story.files()[0]).unwrap().len();
    let mut moment = 0;
    while story.files().len() == 1 {
        moment += 1;
        story.believe(&[moment % 2 * 9, 9, 9, 9, 9]);
        story.archive.flush().unwrap();
    }
    let full = fs::metadata(&story.files()[0]).unwrap().len();
    assert!((2 * whole..3 * whole).contains(&full), "{whole} {full}");
}

#[test]
fn a_storm_that_waits_for_the_disk_is_bounded_and_its_end_is_known() {
    let mut story = Story::begin(SMALL);
    for moment in 0..10_000_usize {
        let kind = |site: usize| ((moment * (site + 3)) % 10) as u8;
        story.believe(&[kind(0), kind(1), kind(2), kind(3), kind(4)]);
    }
    let waiting = &story.archive.waiting;
    let lines: usize = waiting.iter().map(|group| 1 + group.diff.lines()).sum();
    // Of the last board each site may have a line, and each service that has nobody left.
    assert!(lines <= SMALL.waiting + 5 + 2, "{lines}");
    let boards: usize = waiting.iter().map(|group| group.head.boards).sum();
    assert!(boards > 9_000, "{boards}");
    story.check(story.told.len() - 1);
    story.archive.flush().unwrap();
    story.check(story.told.len() - 1);
    assert_eq!(story.restart(), []);
    story.check(story.told.len() - 1);
}

#[test]
fn what_a_power_cut_leaves_of_a_board_is_cut_off() {
    let mut story = Story::begin(SMALL);
    story.archive.flush().unwrap();
    story.believe(&[0, 0, 9, 9, 9]);
    story.archive.flush().unwrap();
    let path = story.files().pop().unwrap();
    let before = fs::read(&path).unwrap();
    story.believe(&[9, 1, 3, 0, 0]);
    story.archive.flush().unwrap();
    let after = fs::read(&path).unwrap();
    for length in before.len()..=after.len() {
        fs::write(&path, &after[..length]).unwrap();
        let (mut archive, flaws) = Archive::open(story.dir.path(), SMALL);
        let torn = length - before.len();
        let is_whole = length == after.len() || torn == 0;
        let told = Flaw::Torn(torn, path.display().to_string());
        assert_eq!(flaws, if is_whole { vec![] } else { vec![told] }, "{length}");
        let left = if length == after.len() { &after } else { &before };
        assert_eq!(&fs::read(&path).unwrap(), left);
        // It goes on in the same file, and is read from its beginning.
        let board = story.next(&[5; 5], 0);
        archive.begin(&story.worlds[0], &board);
        archive.flush().unwrap();
        let again = fs::read(&path).unwrap();
        assert!(again.starts_with(left) && again.len() > left.len());
        let sought = Sought { at: at(9), exact: None };
        let (Found::Then(past), flaws) = super::found(&archive.shelf(), &sought) else { panic!() };
        assert_eq!((past.board(&story.worlds[0]).digest, flaws), (board.digest, vec![]));
    }
    // Nothing whole is left of the only file: another is begun.
    fs::write(&path, &before[..50]).unwrap();
    let flaws = story.restart();
    let [Flaw::Unreadable(why)] = &flaws[..] else { panic!("{flaws:?}") };
    assert!(why.ends_with("nothing whole is in it"), "{why}");
    story.archive.flush().unwrap();
    assert_eq!(story.files().len(), 2);
}

#[test]
fn a_damaged_file_is_told_and_another_is_begun() {
    let mut story = Story::begin(SMALL);
    for kind in 0..4 {
        story.believe(&[kind, 9, 9, 9, 9]);
        story.archive.flush().unwrap();
    }
    let path = story.files().pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let damaged = [&lines[..lines.len() - 2], &["{\"record\":\"chan"], &lines[lines.len() - 1..]];
    fs::write(&path, damaged.concat().join("\n") + "\n").unwrap();
    let flaws = story.restart();
    let number = lines.len() - 1;
    let [Flaw::Unreadable(why)] = &flaws[..] else { panic!("{flaws:?}") };
    assert!(why.starts_with(&format!("{}:{number}: EOF", path.display())), "{why}");
    story.archive.flush().unwrap();
    assert_eq!(story.files().len(), 2);
    // What is good of it is still told, and that it ends there.
    let listing = story.listing(&Words::default());
    assert_eq!(listing.unreadable.len(), 1);
    let told = &listing.unreadable[0];
    assert!(told.contains("; what changed after 2027-01-15T08:00:03Z is not known"), "{told}");
    assert!(listing.entries.len() >= 3, "{listing:?}");
    let (found, flaws) = super::found(&story.archive.shelf(), &Sought { at: at(2), exact: None });
    assert!(matches!(found, Found::Then(_)) && flaws.len() == 1);
    story.check(story.told.len() - 1);
}

#[test]
fn a_disk_that_takes_nothing_is_tried_again_and_nothing_is_lost() {
    let mut story = Story::begin(SMALL);
    let dir = story.dir.path().join(HISTORY_DIR);
    fs::write(&dir, "no folder").unwrap();
    story.archive.flush().unwrap_err();
    story.believe(&[0, 9, 9, 9, 9]);
    story.archive.flush().unwrap_err();
    fs::remove_file(&dir).unwrap();
    // Whoever asks meanwhile is told what waits.
    story.check(0);
    story.check(1);
    assert_eq!(story.listing(&Words::default()).entries.len(), 2);
    story.archive.flush().unwrap();
    story.believe(&[0, 0, 9, 9, 9]);
    // The folder is moved away, as if another disk were put over it: what follows stands on its own.
    fs::rename(&dir, story.dir.path().join("aside")).unwrap();
    fs::write(&dir, "no folder").unwrap();
    story.archive.flush().unwrap_err();
    fs::remove_file(&dir).unwrap();
    story.check(1);
    story.check(2);
    story.archive.flush().unwrap();
    story.check(1);
    story.check(2);
    assert!(matches!(story.found(0), Found::Before(_)));
}

#[test]
fn boards_of_one_moment_are_told_apart_by_their_digest() {
    let mut story = Story::begin(SMALL);
    // The clock is behind the last order, and stands still for orders.
    for kinds in [[0; 5], [9; 5], [1; 5]] {
        let board = story.next(&kinds, 7).at(at(5));
        story.archive.change(&story.worlds[0], &story.board, &board, Because::Orders);
        story.archive.flush().unwrap();
        story.answer(board);
    }
    for (_, board) in &story.told[1..] {
        let epoch = story.worlds[0].epoch.to_string();
        let exact = Some((epoch[..16].to_owned(), board.digest.to_string()[..16].to_owned()));
        let (found, _) = super::found(&story.archive.shelf(), &Sought { at: at(5), exact });
        let Found::Then(past) = found else { panic!() };
        assert_eq!(past.head.board, board.number);
    }
}

#[test]
fn what_changed_is_listed_as_far_as_it_is_asked_for() {
    let mut story = Story::begin(BOUNDS);
    story.believe(&[0, 9, 9, 9, 0]);
    story.archive.flush().unwrap();
    story.believe(&[3, 9, 9, 9, 9]);
    story.believe(&[4, 9, 9, 9, 9]);
    story.believe(&[9, 9, 1, 9, 9]);
    let check = |words: Words, expected: &[&str]| {
        let listing = story.listing(&words);
        let told: Vec<String> = listing
            .entries
            .iter()
            .map(|line| match line {
                Line::Change(change) => format!("{} {}", change.site, change.what()),
                Line::Board(head) => format!("{:?}", head.cause),
                Line::Whole(_) | Line::State(_) | Line::LastKnown(_) => panic!("{line:?}"),
            })
            .collect();
        assert_eq!(told, expected, "{words:?}");
    };
    let all = [
        "Start",
        "iad up -> down",
        "nrt up -> down",
        "iad down -> up, takes 33 %",
        "nrt down -> up",
        "iad takes all again",
        "fra drained",
    ];
    check(Words::default(), &all);
    let of_nrt = ["Start", "nrt up -> down", "nrt down -> up"];
    check(Words { site: Some("N*".into()), ..Words::default() }, &of_nrt);
    let api = Words { service: Some("api.example.com.".into()), ..Words::default() };
    check(api, &["Start", all[1], all[3], all[5]]);
    check(Words { since: Some("1s".into()), ..Words::default() }, &all[5..]);
    let since = at(2).to_string();
    check(Words { since: Some(since), ..Words::default() }, &all[3..]);
    let steps = Words { steps: true, site: Some("iad".into()), ..Words::default() };
    assert_eq!(story.listing(&steps).entries.len(), 5);
    assert_eq!(story.listing(&Words::default()).steps, 1);
    let refused = Asked::read(&Words { since: Some("soon".into()), ..Words::default() }, at(0));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with("\"soon\" is neither an instant, such as"), "{refused}");
}

/// The counts of vantages are no news, whoever gave an order is.
#[test]
fn another_reason_is_kept_if_it_is_an_operators() {
    let mut story = Story::begin(BOUNDS);
    let other = |why: &str| {
        let standings = |count: usize| {
            (0..count).map(|_| Standing { why: why.into(), ..standing(9) }).collect()
        };
        let services = [2, 3].map(|count| Beliefs::new(standings(count), SiteSet::EMPTY));
        Board::of(2, services.into()).at(at(1))
    };
    let world = &story.worlds[0];
    let fewer = other("4 of 4");
    let counted = story.archive.change(world, &story.board, &fewer, Because::Evidence);
    assert_eq!(counted.changes, 0);
    let said = other("disk, says alice");
    let ordered = story.archive.change(world, &story.board, &said, Because::Orders);
    assert_eq!((ordered.changes, ordered.turned), (5, vec![]));
    story.answer(said);
    story.check(1);
    let Found::Then(past) = story.found(1) else { panic!() };
    let kept = past.standing("www.example.com", "fra").unwrap();
    assert_eq!(&*kept.why, "disk, says alice");
}

#[test]
fn a_listing_has_room_for_so_many() {
    let mut story = Story::begin(BOUNDS);
    for moment in 0..crate::history::MOST_TOLD as u32 {
        story.believe(&[9, (moment % 2 * 9) as u8, 9, 9, 9]);
    }
    let listing = story.listing(&Words { site: Some("fra".into()), ..Words::default() });
    assert_eq!((listing.entries.len(), listing.left_off), (1000, 1));
    assert!(matches!(&listing.entries[999], Line::Change(_)));
    let text = listing.text();
    assert!(text.contains("\n1 earlier changes are not shown; narrow it by --since"), "{text}");
}
