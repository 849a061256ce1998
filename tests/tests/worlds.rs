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
    match story.tell() {
        Ok(seen) => println!("{name}: {seen}"),
        Err(why) => panic!("{name}: {why:#}"),
    }
}

/// A test for each of them, by its name in the table.
macro_rules! stories {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            tell($name);
        })*

        #[test]
        fn all_are_told() {
            let told = [$($name),*];
            let there = stories::ALL.each_ref().map(|story| story.name);
            assert_eq!(there, told);
        }
    };
}

stories! {
    a_server_dies: "a server dies",
    all_servers_of_a_site_die: "all servers of a site die",
    a_balancer_dies: "a balancer dies",
    both_balancers_of_a_site_die: "both balancers of a site die",
    a_site_is_cut_off_from_clients: "a site is cut off from clients",
    a_site_is_cut_off_from_the_name_servers: "a site is cut off from the name servers",
    a_vantage_disagrees: "a vantage disagrees",
    a_name_server_dies: "a name server dies",
    an_operator_drains_a_site: "an operator drains a site",
    every_process_is_restarted: "every process is restarted",
    certificates_expire: "certificates expire",
    all_but_one_name_server_dies: "all but one name server dies",
}
