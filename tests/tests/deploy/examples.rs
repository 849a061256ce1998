//! The example files: each is good, and they are of one fleet.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use gslb_tests::server::built;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::read;

fn run(dir: &Path, program: &str, arguments: &str) -> Output {
    let mut command = Command::new(built(program).unwrap());
    let output = command.current_dir(dir).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {output:?}");
    output
}

#[test]
fn each_is_good_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for file in
        ["node.toml", "node-2.toml", "world.toml", "example.com.zone", "probe.toml", "site.toml"]
    {
        fs::write(dir.join(file), read(&format!("deploy/examples/{file}"))).unwrap();
    }
    run(dir, "gslb-dns", "pki init --cluster example");
    for who in ["dns dns1", "dns dns2", "probe ams", "agent fra-a"] {
        run(dir, "gslb-dns", &format!("pki issue {who}"));
    }
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
    fs::create_dir(dir.join("certs")).unwrap();
    fs::write(dir.join("certs/www.pem"), cert.pem()).unwrap();
    fs::write(dir.join("certs/www.key"), signing_key.serialize_pem()).unwrap();

    let epoch = |node: &str| {
        let told = run(dir, "gslb-dns", &format!("check --config {node}"));
        assert!(!String::from_utf8_lossy(&told.stderr).contains("warning"), "{told:?}");
        String::from_utf8(told.stdout).unwrap()
    };
    assert_eq!(epoch("node.toml"), epoch("node-2.toml"));
    run(dir, "probe", "check --config probe.toml");
    run(dir, "site-agent", "check --config site.toml");
}

/// What one file says of a daemon the others say too.
#[test]
fn they_are_of_one_fleet() {
    let [node, twin, world, zone, probe, site] =
        ["node.toml", "node-2.toml", "world.toml", "example.com.zone", "probe.toml", "site.toml"]
            .map(|file| read(&format!("deploy/examples/{file}")));
    let name_servers = [("dns1", "ns1", "192.0.2.1", &node), ("dns2", "ns2", "192.0.2.2", &twin)];
    for (name, ns, address, file) in name_servers {
        assert!(file.contains(&format!("name      = \"{name}\"")), "{file}");
        let told = format!("{{ address = \"{address}:8453\", name = \"{name}\" }}");
        assert!(probe.contains(&told) && site.contains(&told), "{told}");
        let others = name_servers.iter().filter(|(other, ..)| *other != name);
        assert!(others.clone().all(|(.., other)| other.contains(&told)), "{told} is a peer");
        assert!(!file.contains(&told), "{name} is no peer of itself");
        let record = zone.lines().find(|line| line.starts_with(ns)).unwrap();
        assert!(record.ends_with(address), "{record}");
    }
    assert!(probe.contains("name      = \"ams\"") && world.contains("[vantage.ams]"));
    assert!(
        world.contains("agents   = [\"fra-a\", \"fra-b\"]") && site.contains("name = \"fra-a\"")
    );
    // The pair's addresses are the site's, and it listens there.
    let fra = world.split("[site.fra]").nth(1).unwrap().split("\n\n").next().unwrap();
    for vip in ["198.51.100.20", "2001:db8:f::10"] {
        assert!(fra.contains(&format!("\"{vip}\"")), "{fra}");
        assert!(site.contains(&format!("\"{vip}/")), "of a virtual router: {vip}");
    }
    assert!(site.contains("bind = [\"198.51.100.20:443\", \"[2001:db8:f::10]:443\"]"));
}
