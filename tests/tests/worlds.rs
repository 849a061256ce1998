//! What clients of a whole world see when something of it fails; each story is told once here, and as often as wanted
//! by `gslb-bench worlds`.

use gslb_tests::peers;
use gslb_tests::whole::{self, stories};

fn tell(name: &str) {
    if peers::missing(whole::missing()) {
        return;
    }
    let story =
        stories::ALL.iter().find(|story| story.name == name).expect("there is such a story");
    match story.tell_unless_stood_still() {
        Ok(seen) => println!("{name}: {seen}"),
        Err(why) => panic!("{name}: {why:#}"),
    }
}

#[test]
fn a_server_dies() {
    tell("a server dies");
}

#[test]
fn all_servers_of_a_site_die() {
    tell("all servers of a site die");
}

#[test]
fn a_balancer_dies() {
    tell("a balancer dies");
}

#[test]
fn both_balancers_of_a_site_die() {
    tell("both balancers of a site die");
}

#[test]
fn a_site_is_cut_off_from_clients() {
    tell("a site is cut off from clients");
}

#[test]
fn a_site_is_cut_off_from_the_name_servers() {
    tell("a site is cut off from the name servers");
}

#[test]
fn a_vantage_disagrees() {
    tell("a vantage disagrees");
}

#[test]
fn a_name_server_dies() {
    tell("a name server dies");
}

#[test]
fn an_operator_drains_a_site() {
    tell("an operator drains a site");
}

#[test]
fn every_process_is_restarted() {
    tell("every process is restarted");
}

#[test]
fn certificates_expire() {
    tell("certificates expire");
}

#[test]
fn all_but_one_name_server_dies() {
    tell("all but one name server dies");
}

#[test]
fn all_servers_of_all_sites_die() {
    tell("all servers of all sites die");
}

#[test]
fn a_pair_loses_its_cables() {
    tell("a pair loses its cables");
}

#[test]
fn a_pair_does_not_hear_itself() {
    tell("a pair does not hear itself");
}

#[test]
fn a_vantage_goes_blind() {
    tell("a vantage goes blind");
}

#[test]
fn operators_err() {
    tell("operators err");
}

#[test]
fn all_are_told() {
    let told = include_str!("worlds.rs");
    for story in &stories::ALL {
        assert!(told.contains(&format!("tell(\"{}\")", story.name)), "{} has no test", story.name);
    }
}
