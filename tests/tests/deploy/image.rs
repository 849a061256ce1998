//! The images: what deploy/Dockerfile names is there, and of the versions that the workspace has.
//!
//! No image is built: that takes images of others. What they check their health with is run by `fleet`.

use std::collections::BTreeSet;

use gslb_tests::machine::checkout;

use super::read;

/// The instructions, each on a line of its own.
fn instructions() -> Vec<String> {
    let text = read("deploy/Dockerfile").replace("\\\n", " ");
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Of the workspace.
fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list =
        manifest.split("\nmembers = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn it_is_built_by_the_workspaces_rust() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap();
    let from = format!("FROM rust:{}-bookworm AS build", version.trim_end_matches('"'));
    assert!(instructions().contains(&from), "no {from}");
    // And linked to the C library that it runs with.
    assert!(instructions().iter().any(|line| line == "FROM debian:bookworm-slim AS base"));
}

#[test]
fn what_it_copies_is_there() {
    let instructions = instructions();
    let words = |prefix: &'static str| {
        let lines = instructions.iter().filter_map(move |line| line.strip_prefix(prefix));
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>()
    };
    let build = words("RUN --mount");
    let programs: BTreeSet<&str> =
        build.iter().filter_map(|word| word.strip_prefix("target/release/")).collect();
    let built: BTreeSet<&str> =
        build.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1]).collect();
    assert_eq!(programs, built);
    assert_eq!(programs.len(), 4, "{programs:?}");
    for program in &programs {
        let main = checkout().join(program).join("src/main.rs");
        assert!(main.exists() && members().iter().any(|member| member == program), "{program}");
    }
    let mut taken = BTreeSet::new();
    for line in instructions.iter().filter_map(|line| line.strip_prefix("COPY ")) {
        let (options, paths): (Vec<&str>, Vec<&str>) =
            line.split(' ').partition(|word| word.starts_with("--"));
        let (_, sources) = paths.split_last().unwrap();
        for source in sources {
            match source.strip_prefix("/out/") {
                Some(program) => {
                    assert!(taken.insert(program) || program == "site-agent", "{line}")
                }
                None => assert!(checkout().join(source).exists(), "{line}"),
            }
        }
        assert_eq!(options.contains(&"--from=build"), sources[0].starts_with("/out/"), "{line}");
    }
    assert_eq!(taken, programs);
}

#[test]
fn what_it_is_built_from_is_let_in() {
    let ignored = read(".dockerignore");
    let let_in: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for needed in
        members().iter().map(String::as_str).chain(["Cargo.toml", "Cargo.lock", "deploy/healthy"])
    {
        let top = needed.split('/').next().unwrap();
        assert!(let_in.contains(&top), ".dockerignore keeps {needed} out");
    }
    assert!(ignored.lines().any(|line| line == "*"), "everything else is kept out");
    // The last line that fits counts: what lets in stands before what keeps secrets out, but for one that is code.
    assert!(checkout().join("gslb-dns/src/pki").is_dir());
    let (_, behind) = ignored.split_once("\n**/pki\n!gslb-dns/src/pki\n").unwrap();
    for kept_out in ["**/*.key", "**/*.pem", "**/*.p12", "**/.env"] {
        assert!(behind.lines().any(|line| line == kept_out), "{kept_out}");
    }
    assert!(!behind.contains('!'), "{behind}");
}

/// The door that is asked is that of the example, and nobody is root but who has to be.
#[test]
fn each_image_is_run_as_its_unit_is() {
    let mut stage = String::new();
    let (mut asked, mut users) = (vec![], vec![]);
    for line in instructions() {
        let word = |prefix: &str| line.strip_prefix(prefix).map(str::to_owned);
        if let Some(from) = word("FROM ") {
            stage = from.split(" AS ").nth(1).unwrap().to_owned();
        } else if let Some(user) = word("USER ") {
            users.push((stage.clone(), user));
        } else if line.starts_with("HEALTHCHECK") {
            let port = line.split('"').nth(3).unwrap();
            asked.push((stage.clone(), port.to_owned()));
        } else if let Some(command) = word("CMD ") {
            // As ExecStart of the unit, behind the program.
            let arguments: Vec<&str> = command.split('"').skip(1).step_by(2).collect();
            let program = if stage == "site-agent-vrrp" { "site-agent" } else { &*stage };
            let start = format!("ExecStart=/usr/local/bin/{program} {}\n", arguments.join(" "));
            let unit = read(&format!("deploy/{stage}.service"));
            assert!(unit.contains(&start), "{stage}: {start}");
        }
    }
    let examples = [("gslb-dns", "node"), ("probe", "probe"), ("site-agent", "site")];
    for (stage, file) in examples {
        let example = read(&format!("deploy/examples/{file}.toml"));
        let port = &asked.iter().find(|(of, _)| of == stage).unwrap().1;
        assert!(example.contains(&format!("listen = \"127.0.0.1:{port}\"")), "{stage}: {port}");
        assert!(users.contains(&(stage.to_owned(), "10001:10001".to_owned())), "{users:?}");
    }
    assert_eq!((asked.len(), users.len()), (3, 4));
    // Two images share it, as a volume.
    let shared = "install -d -m 2750 -o root -g gslb /run/site-agent-vrrp";
    assert_eq!(instructions().iter().filter(|line| line.ends_with(shared)).count(), 2);
}
