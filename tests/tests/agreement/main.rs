//! What `explain` says is what the UDP socket of the binary answers, and how far it says it holds is true.
//!
//! worlds ▶ clients ▶ the binary and, from the same files, `explain` in this process ▶ compared. Seeded:
//! `GSLB_SEED`. `GSLB_AGREEMENT_INPUTS` says how many inputs.

mod clients;
mod scope;
mod worlds;

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use gslb_dns::explain::{self, Explanation, OnBehalf, Request, explain};
use gslb_dns::health::entries::{Moment, Ordered};
use gslb_dns::snapshot::{Groundwork, Snapshot};
use gslb_dns::world::{Destination, World as Model};
use gslb_tests::dice::Dice;
use gslb_tests::resolver::{Resolver, WINDOW, query};
use gslb_tests::server::{self, Server};
use gslb_tests::world::{EVERY_STEP, Files, NODE_NAME, World};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{Name, RData, RecordType};
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::worlds::Drawn;

const INPUTS: &str = "GSLB_AGREEMENT_INPUTS";
const DEFAULT_INPUTS: usize = 20_000;
/// A new world for each so many inputs, within reason.
const INPUTS_OF_WORLD: usize = 5_000;
const FEWEST_WORLDS: usize = 4;
const MOST_WORLDS: usize = 24;
/// Boards of each world: what operators said before the start, then what they said next.
const STAGES: usize = 2;
/// Of each stage, explained by the command as well.
const COMMANDS: usize = 3;
/// One in so many inputs has the truth of its scope looked into.
const SCOPE_SAMPLE: usize = 40;
/// Times that a batch is asked until it falls within one second: the second is part of the input.
const TRIES: usize = 20;
/// Nobody comes in over loopback from elsewhere.
const US: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One question.
#[derive(Clone, Debug)]
struct Input {
    name: String,
    qtype: RecordType,
    client: Option<IpNet>,
}

/// What came over UDP, read by a decoder that is not ours.
#[derive(Debug, PartialEq)]
struct Seen {
    rcode: String,
    authoritative: bool,
    records: Vec<String>,
    addresses: Vec<IpAddr>,
    /// The addresses in the records that lead to the service's own name.
    hints: Vec<IpAddr>,
    ttl: Option<u32>,
    scope: Option<u8>,
}

/// A running server under one board, and the same from the same files.
struct Scene<'a> {
    drawn: &'a Drawn,
    dns: SocketAddr,
    admin: SocketAddr,
    snapshot: &'a Snapshot,
}

#[test]
fn what_explain_says_is_what_the_binary_answers() {
    let inputs = env::var(INPUTS).map_or(DEFAULT_INPUTS, |inputs| inputs.parse().unwrap());
    let dice = Dice::of_this_run(20_261_121);
    let worlds = (inputs / INPUTS_OF_WORLD).clamp(FEWEST_WORLDS, MOST_WORLDS);
    let each = inputs.div_ceil(worlds * STAGES);
    let mut met = Met::default();
    for number in 0..worlds {
        let mut dice = dice.for_part(number as u64);
        let drawn = match number {
            0 => worlds::every_step(),
            _ => worlds::random(&mut dice),
        };
        met.add(
            play(&drawn.unwrap(), each, &mut dice)
                .unwrap_or_else(|error| panic!("world {number}: {error:#}")),
        );
    }
    println!("{met:?} in {worlds} worlds");
    assert!(met.inputs >= inputs);
    // What was never met was not shown.
    let least = met.inputs / 100;
    for (what, count) in [
        ("steered", met.steered),
        ("decided by a hash", met.hashed),
        ("with a time slice", met.sliced),
        ("without a fit site", met.failing),
        ("with steps struck or skipped", met.struck),
        ("along a chain of services", met.chained),
        ("with a scope", met.scoped),
        ("from inside an IPv6 address", met.embedded),
        ("not believed", met.disbelieved),
        ("without addresses", met.empty),
        ("with hints of both families", met.hinted),
        ("with alternatives", met.alternatives),
    ] {
        assert!(count > least / 4, "only {count} {what} of {}", met.inputs);
    }
    assert!(met.scopes.holds > 100 && met.scopes.exact > 20, "{met:?}");
}

/// How often something was met.
#[derive(Debug, Default)]
struct Met {
    inputs: usize,
    steered: usize,
    hashed: usize,
    sliced: usize,
    failing: usize,
    struck: usize,
    chained: usize,
    scoped: usize,
    embedded: usize,
    disbelieved: usize,
    empty: usize,
    hinted: usize,
    alternatives: usize,
    commands: usize,
    scopes: scope::Met,
}

impl Met {
    fn count(&mut self, explanation: &Explanation) {
        let steering = &explanation.steering;
        let any = |is: &dyn Fn(&explain::Steering) -> bool| usize::from(steering.iter().any(is));
        self.inputs += 1;
        self.steered += any(&|_| true);
        self.hashed += any(&|told| told.walk.hashed.is_some());
        self.sliced += any(&|told| told.walk.slice.is_some());
        self.failing += any(&|told| told.failing.is_some());
        self.struck += any(&|told| told.steps.iter().any(|step| !step.struck.is_empty()));
        let first = steering.first().map(|told| &told.service);
        self.chained += any(&|told| Some(&told.service) != first);
        self.hinted += any(&|told| told.hint_of.is_some());
        self.alternatives += any(&|told| told.family == "HTTPS" && told.sites.len() > 1);
        self.scoped += usize::from(explanation.answer.scope > Some(1));
        self.embedded += any(&|told| told.scope.why.contains("inside"));
        self.disbelieved += usize::from(explanation.client.disbelieved.is_some());
        self.empty += usize::from(explanation.answer.addresses.is_empty());
    }

    fn add(&mut self, other: Met) {
        let Met {
            inputs,
            steered,
            hashed,
            sliced,
            failing,
            struck,
            chained,
            scoped,
            embedded,
            disbelieved,
            empty,
            hinted,
            alternatives,
            commands,
            scopes,
        } = other;
        self.inputs += inputs;
        self.steered += steered;
        self.hashed += hashed;
        self.sliced += sliced;
        self.failing += failing;
        self.struck += struck;
        self.chained += chained;
        self.scoped += scoped;
        self.embedded += embedded;
        self.disbelieved += disbelieved;
        self.empty += empty;
        self.hinted += hinted;
        self.alternatives += alternatives;
        self.commands += commands;
        self.scopes.add(scopes);
    }
}

/// One world, under one board after another.
fn play(drawn: &Drawn, inputs: usize, dice: &mut Dice) -> anyhow::Result<Met> {
    let mut met = Met::default();
    drawn.world.write_overrides(&worlds::overrides(drawn, 0, dice))?;
    let server = Server::start(&drawn.world.node())?;
    let ground = Arc::new(Groundwork::new(drawn.world.load()?.world));
    let mut number = server.board_number()?;
    for stage in 0..STAGES {
        if stage > 0 {
            drawn.world.write_overrides(&worlds::overrides(drawn, stage, dice))?;
            number = server.wait_for_board_after(number)?;
        }
        let snapshot = drawn.world.snapshot(&ground, number, Timestamp::now())?;
        let scene = Scene { drawn, dns: server.dns(), admin: server.admin(), snapshot: &snapshot };
        let page = server.get("/v1/explain?name=example.com&resolver=127.0.0.1")?;
        let told: Value = serde_json::from_str(&page.body)?;
        assert_eq!(told["board"]["digest"], snapshot.board.digest.to_string());
        assert_eq!(told["epoch"], snapshot.world().epoch.to_string());
        met.add(scene.compare_all(inputs, dice)?);
        for _ in 0..COMMANDS {
            scene.compare_commands(&scene.draw(dice))?;
            met.commands += 1;
        }
    }
    assert!(server.stop()?.success());
    Ok(met)
}

impl Scene<'_> {
    fn draw(&self, dice: &mut Dice) -> Input {
        use RecordType::{A, AAAA, ANY, CNAME, HTTPS, MX, TXT};
        let qtype =
            *dice.pick(&[A, A, A, A, A, AAAA, AAAA, AAAA, AAAA, TXT, MX, CNAME, ANY, HTTPS, HTTPS]);
        Input {
            name: dice.pick(&self.drawn.names).clone(),
            qtype,
            client: clients::draw(&self.drawn.prefixes, dice),
        }
    }

    /// Every core asks and explains its share.
    fn compare_all(&self, inputs: usize, dice: &mut Dice) -> anyhow::Result<Met> {
        let threads = thread::available_parallelism()?.get();
        let shares: Vec<(usize, Dice)> = (0..threads)
            .map(|thread| (inputs.div_ceil(threads), dice.for_part(thread as u64)))
            .collect();
        dice.bits();
        let mut met = Met::default();
        thread::scope(|scope| {
            let asking: Vec<_> = shares
                .into_iter()
                .map(|(share, mut dice)| scope.spawn(move || self.compare_share(share, &mut dice)))
                .collect();
            for asking in asking {
                match asking.join() {
                    Ok(share) => met.add(share?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(met)
        })
    }

    fn compare_share(&self, inputs: usize, dice: &mut Dice) -> anyhow::Result<Met> {
        let mut met = Met::default();
        let mut resolver = Resolver::of(self.dns)?;
        while met.inputs < inputs {
            let count = WINDOW.min(inputs - met.inputs);
            let inputs: Vec<Input> = (0..count).map(|_| self.draw(dice)).collect();
            let (seen, at) = ask_in_one_second(&mut resolver, &inputs)?;
            for (input, seen) in inputs.iter().zip(seen) {
                let explanation = self.explain(input, at);
                met.count(&explanation);
                self.compare(input, &seen, &explanation);
                if dice.once_in(SCOPE_SAMPLE) {
                    let scope = scope::Claim::of(self, input, &explanation);
                    if let Some(claim) = scope {
                        met.scopes.add(claim.look_into(&mut resolver, dice)?);
                    }
                }
            }
        }
        Ok(met)
    }

    /// As the query path would see it: a client subnet that is not believed leaves the resolver, us.
    fn explain(&self, input: &Input, at: Timestamp) -> Explanation {
        let request = Request {
            name: input.name.parse().expect("a name"),
            qtype: input.qtype.to_string().parse().expect("a type"),
            on_behalf: match input.client {
                None => OnBehalf::Resolver(US),
                Some(client) => OnBehalf::Subnet(client, Some(US)),
            },
            at,
            moment: None,
            stamp: None,
            suppose: vec![],
        };
        explain(self.snapshot, NODE_NAME, &request)
    }

    fn compare(&self, input: &Input, seen: &Seen, told: &Explanation) {
        let answer = &told.answer;
        let said = Seen {
            rcode: answer.rcode.clone(),
            authoritative: answer.authoritative,
            records: answer.records.clone(),
            addresses: answer.addresses.clone(),
            hints: seen.hints.clone(), // They stand in the records; the story has them below.
            ttl: answer.ttl,
            scope: answer.scope,
        };
        let whole = || serde_json::to_string_pretty(told).unwrap_or_default();
        assert_eq!(*seen, said, "{input:?}\n{}", whole());
        // The story ends where the answer begins.
        let longest = told.steering.iter().map(|told| told.scope.bits).max();
        if input.client.is_some() && told.client.told_by == "subnet" {
            assert_eq!(seen.scope, Some(longest.unwrap_or(0)), "{input:?}\n{}", whole());
        }
        let hints: Vec<_> = told.steering.iter().filter(|told| told.hint_of.is_some()).collect();
        if let [v4, v6] = hints[..] {
            let both = [v4, v6].map(|family| self.addresses_of_story(family));
            if let [Some(v4), Some(v6)] = both {
                assert_eq!(seen.hints, [v4, v6].concat(), "{input:?}\n{}", whole());
            }
        } else if let Some(addresses) =
            told.steering.last().and_then(|last| self.addresses_of_story(last))
        {
            assert_eq!(seen.addresses, addresses, "{input:?}\n{}", whole());
        }
    }

    /// What the sites that a story ends with have at the service, if it ends with sites.
    fn addresses_of_story(&self, last: &explain::Steering) -> Option<Vec<IpAddr>> {
        let world: &Model = self.snapshot.world();
        let service =
            world.services.iter().find(|service| service.name.to_string() == last.service)?;
        let vips = last.sites.iter().map(|site| {
            let mut candidates = service.candidates.iter();
            let candidate =
                candidates.find(|candidate| *world.site(candidate.site).name == **site)?;
            match (&candidate.target, &*last.family) {
                (Destination::Vips(vips), "A") => {
                    Some(vips.v4.iter().copied().map(IpAddr::from).collect())
                }
                (Destination::Vips(vips), "AAAA") => {
                    Some(vips.v6.iter().copied().map(IpAddr::from).collect())
                }
                _ => None,
            }
        });
        let vips: Vec<Vec<IpAddr>> = vips.collect::<Option<_>>()?;
        (!vips.is_empty()).then(|| vips.concat())
    }

    /// `gslb-dns explain` from the files and from the server, against the same in this process.
    fn compare_commands(&self, input: &Input) -> anyhow::Result<()> {
        let at = Timestamp::now().to_string();
        let whom = match input.client {
            Some(client) => ["--client".to_owned(), client.to_string()],
            None => ["--resolver".to_owned(), US.to_string()],
        };
        let on_behalf =
            input.client.map_or(OnBehalf::Resolver(US), |client| OnBehalf::Subnet(client, None));
        let words = [
            input.name.clone(),
            input.qtype.to_string(),
            "--at".into(),
            at.clone(),
            "--json".into(),
        ];
        let node = self.drawn.world.node().display().to_string();
        // History has the number of the server's board.
        let then = self.drawn.world.snapshot(&self.snapshot.ground, 0, at.parse()?)?;
        let server = self.admin.to_string();
        let mut printed = Vec::new();
        for source in [["--config".to_owned(), node], ["--server".to_owned(), server]] {
            let request = Request {
                name: input.name.parse()?,
                qtype: input.qtype.to_string().parse()?,
                on_behalf,
                at: Timestamp::from_second(at.parse::<Timestamp>()?.as_second())?,
                moment: Some(Moment { at: at.parse()?, ordered: Ordered::By(at.parse()?) }),
                stamp: None,
                suppose: vec![],
            };
            let expected = serde_json::to_value(explain(&then, NODE_NAME, &request))?;
            let words = [&["explain".to_owned()][..], &words, &whom, &source].concat();
            let finished = server::run(&words)?;
            assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{words:?}");
            let mut told: Value = serde_json::from_str(&finished.stdout)?;
            let moment = told.as_object_mut().and_then(|told| told.remove("moment"));
            let moment = moment.unwrap_or_default();
            assert_eq!((&moment["known_from"], &moment["doubts"]), (&"history".into(), &json!([])));
            told["board"]["number"] = 0.into();
            assert_eq!(told, expected, "{words:?}");
            printed.push(finished.stdout);
        }
        assert_eq!(printed[0], printed[1]);
        Ok(())
    }
}

/// Asks all within one second, and tells which.
fn ask_in_one_second(
    resolver: &mut Resolver,
    inputs: &[Input],
) -> anyhow::Result<(Vec<Seen>, Timestamp)> {
    let queries: Vec<Vec<u8>> = inputs
        .iter()
        .map(|input| {
            query(&Name::from_ascii(format!("{}.", input.name))?, input.qtype, input.client)
        })
        .collect::<Result<_, _>>()?;
    for _ in 0..TRIES {
        let before = Timestamp::now().as_second();
        let answers = resolver.ask_all(&queries)?;
        if Timestamp::now().as_second() == before {
            let seen = answers.iter().map(|answer| Seen::read(answer));
            return Ok((seen.collect(), Timestamp::from_second(before)?));
        }
    }
    anyhow::bail!("a batch never fell within one second")
}

fn hints(data: &RData) -> Vec<IpAddr> {
    let RData::HTTPS(record) = data else { return vec![] };
    let values = record.0.svc_params.iter().map(|(_, value)| value);
    let hints = values.filter(|_| record.0.target_name.is_root());
    let addresses = hints.flat_map(|value| match value {
        SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|a| a.0.into()).collect(),
        SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|aaaa| aaaa.0.into()).collect(),
        _ => vec![],
    });
    addresses.collect()
}

impl Seen {
    fn read(answer: &[u8]) -> Seen {
        let message = Message::from_vec(answer).expect("an answer is readable");
        assert!(!message.metadata.truncation, "nothing in these worlds is too long for UDP");
        let lowest =
            |records: &[hickory_proto::rr::Record]| records.iter().map(|record| record.ttl).min();
        let options = message.edns.as_ref().map(|edns| edns.options().as_ref());
        let scope = options.unwrap_or_default().iter().find_map(|(_, option)| match option {
            EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
            _ => None,
        });
        let answers = &message.answers;
        Seen {
            rcode: format!("{:?}", message.metadata.response_code).to_uppercase(),
            authoritative: message.metadata.authoritative,
            records: answers.iter().map(ToString::to_string).collect(),
            addresses: answers.iter().filter_map(|record| record.data.ip_addr()).collect(),
            hints: answers.iter().flat_map(|record| hints(&record.data)).collect(),
            ttl: lowest(answers).or(lowest(&message.authorities)),
            scope,
        }
    }
}

/// A subnet that ends before the IPv4 address inside begins shows the hash nothing, and yet its lot is
/// not everybody's: a scope of 0 would say so.
#[test]
fn a_lot_drawn_by_a_subnet_that_says_nothing_is_not_everybodys() {
    let files = Files {
        world: &EVERY_STEP.world.replace("[geoip]", "[geoip]\necs_private = true"),
        ..EVERY_STEP
    };
    let world = World::write(&files).unwrap();
    let ground = Arc::new(Groundwork::new(world.load().unwrap().world));
    let snapshot = world.snapshot(&ground, 1, Timestamp::now()).unwrap();
    let check = |client: &str, scope: u8| {
        let request = Request {
            name: "sticky.example.com".parse().unwrap(),
            qtype: "A".parse().unwrap(),
            on_behalf: OnBehalf::Subnet(client.parse().unwrap(), None),
            at: Timestamp::now(),
            moment: None,
            stamp: None,
            suppose: vec![],
        };
        let answer = explain(&snapshot, NODE_NAME, &request).answer;
        assert_eq!(answer.scope, Some(scope), "{client}");
    };
    check("64:ff9b::/48", 96); // NAT64
    check("64:ff9b::/96", 96);
    check("2001::/48", 96); // Teredo
    check("2002::/16", 16); // 6to4
    check("2002:5102:4500::/48", 40);
    check("81.2.69.0/24", 24);
}
