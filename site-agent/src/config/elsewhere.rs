//! What HAProxy, nginx and Envoy call the keys of `site.toml`: for those who write what they are used to.
//!
//! By table. What is said of a key is its name here, or what to do instead.

type Names = &'static [(&'static str, &'static str)];

fn find(names: Names, theirs: &str) -> Option<&'static str> {
    names.iter().find(|(name, _)| *name == theirs).map(|(_, ours)| *ours)
}

const SITE: Names = &[
    ("backend", "pool"),
    ("upstream", "pool"),
    ("cluster", "pool"),
    ("stats", "admin"),
    ("global", "there is none: what it says is said where it holds, or by the command line"),
    ("defaults", "there are none: each frontend and pool says what differs from its default"),
    ("listen", "make a frontend and a pool of it"),
    ("server", "make a frontend of it; servers are listed in a pool"),
];

const FRONTEND: Names = &[
    ("listen", "bind"),
    ("maxconn", "max_connections"),
    ("ssl", "tls"),
    ("crt", "tls"),
    ("ssl_certificate", "tls"),
    ("default_backend", "pool"),
    ("backend", "pool"),
    ("proxy_pass", "pool"),
    ("use_backend", "rules"),
    ("http-request", "rules"),
    ("location", "rules"),
    ("acl", "write the condition into the when of each of the rules"),
    ("server_name", "ask for the host in the when of a rule"),
    ("proxy_protocol", "accept_proxy"),
    ("set_real_ip_from", "trusted"),
    ("log", "access_log"),
    ("timeout", "timeouts"),
];

const TLS: Names = &[
    ("crt", "certificates"),
    ("ssl_certificate", "certificates"),
    ("ssl_certificate_key", "a key stands in the file of its certificate, or beside it as .key"),
    ("key", "a key stands in the file of its certificate, or beside it as .key"),
    ("ca-file", "client_ca"),
    ("ca", "client_ca"),
    ("ssl_client_certificate", "client_ca"),
    ("crl-file", "crl"),
    ("ssl_crl", "crl"),
    ("verify", "client_verify"),
    ("ssl_verify_client", "client_verify"),
    ("ssl-min-ver", "min"),
    ("ssl_protocols", "min"),
    ("ciphers", "there is nothing to choose: suites are those with AEAD and forward secrecy"),
    ("ssl_ciphers", "there is nothing to choose: suites are those with AEAD and forward secrecy"),
];

const CLIENT_TIMEOUTS: Names = &[
    ("http-keep-alive", "keep_alive"),
    ("keepalive_timeout", "keep_alive"),
    ("client_header_timeout", "http_request"),
];

const POOL: Names = &[
    ("server", "servers"),
    ("lb_policy", "balance"),
    ("httpchk", "check"),
    ("health_check", "check"),
    ("health_checks", "check"),
    ("agent-check", "agent_check"),
    ("slowstart", "slow_start"),
    ("maxqueue", "it is the length of queue"),
    ("retries", "retry"),
    ("retry-on", "retry"),
    ("outlier_detection", "breaker"),
    ("max_fails", "breaker"),
    ("errorfile", "error_pages"),
    ("error_page", "error_pages"),
    ("timeout", "timeouts"),
    ("cookie", "there is no stickiness by cookie; balance by source or header"),
];

const OF_CHECK: &str = "it stands in the check of the server or its pool";

const SERVER: Names = &[
    ("maxconn", "max_connections"),
    ("max_conns", "max_connections"),
    ("addr", "address"),
    ("ssl", "tls"),
    ("sni", "it stands in tls = { ... }"),
    ("verify", "it stands in tls = { ... }"),
    ("ca-file", "it is the ca of tls = { ... }"),
    ("proto", "it is the pool's http = \"2\""),
    ("send-proxy", "it is send_proxy = \"v1\" here"),
    ("send-proxy-v2", "it is send_proxy = \"v2\" here"),
    ("inter", OF_CHECK),
    ("interval", OF_CHECK),
    ("rise", OF_CHECK),
    ("fall", OF_CHECK),
    ("port", OF_CHECK),
    ("slowstart", "it is the pool's slow_start"),
    ("slow_start", "it is the pool's"),
    ("max_fails", "it is the pool's breaker"),
    ("fail_timeout", "it is the pool's breaker"),
    ("disabled", "take it out by command, or give it weight = 0"),
    ("down", "take it out by command, or give it weight = 0"),
];

const SERVER_TLS: Names = &[("ca-file", "ca"), ("proxy_ssl_name", "sni")];

const CHECK: Names = &[
    ("inter", "interval"),
    ("fastinter", "fast_interval"),
    ("downinter", "down_interval"),
    ("uri", "path"),
    ("meth", "method"),
    ("hdr", "headers"),
    ("sni", "it is the host"),
    ("addr", "it is looked at where it is; port may be another"),
    ("healthy_threshold", "rise"),
    ("unhealthy_threshold", "fall"),
];

const AGENT_CHECK: Names = &[
    ("agent-port", "port"),
    ("agent-inter", "interval"),
    ("agent-send", "send"),
    ("inter", "interval"),
];

const QUEUE: Names = &[("maxqueue", "length"), ("max", "length")];

const RETRY: Names = &[("retries", "attempts"), ("num_retries", "attempts"), ("retry-on", "on")];

const SERVER_TIMEOUTS: Names = &[
    ("proxy_connect_timeout", "connect"),
    ("proxy_read_timeout", "server"),
    ("queue", "it is the timeout of queue"),
    ("check", "it is the timeout of check"),
];

pub fn site(key: &str) -> Option<&'static str> {
    find(SITE, key)
}

pub fn frontend(key: &str) -> Option<&'static str> {
    find(FRONTEND, key)
}

pub fn tls(key: &str) -> Option<&'static str> {
    find(TLS, key)
}

pub fn client_timeouts(key: &str) -> Option<&'static str> {
    find(CLIENT_TIMEOUTS, key)
}

pub fn pool(key: &str) -> Option<&'static str> {
    find(POOL, key)
}

pub fn server(key: &str) -> Option<&'static str> {
    find(SERVER, key)
}

pub fn server_tls(key: &str) -> Option<&'static str> {
    find(SERVER_TLS, key)
}

pub fn check(key: &str) -> Option<&'static str> {
    find(CHECK, key)
}

pub fn agent_check(key: &str) -> Option<&'static str> {
    find(AGENT_CHECK, key)
}

pub fn queue(key: &str) -> Option<&'static str> {
    find(QUEUE, key)
}

pub fn retry(key: &str) -> Option<&'static str> {
    find(RETRY, key)
}

pub fn server_timeouts(key: &str) -> Option<&'static str> {
    find(SERVER_TIMEOUTS, key)
}

#[cfg(test)]
mod tests {
    use common::config::read::Read as _;

    use super::super::file;
    use super::*;

    #[test]
    fn what_others_say_is_a_key_here_or_a_way() {
        let check = |names: Names, keys: &[&str]| {
            for (theirs, ours) in names {
                assert!(!keys.contains(theirs), "{theirs} is a key");
                assert!(keys.contains(ours) || ours.contains(' '), "{theirs}: no key {ours}");
            }
        };
        check(SITE, file::Site::keys());
        check(FRONTEND, file::Frontend::keys());
        check(TLS, file::Tls::keys());
        check(CLIENT_TIMEOUTS, file::ClientTimeouts::keys());
        check(POOL, file::Pool::keys());
        check(SERVER, file::Server::keys());
        check(SERVER_TLS, file::ServerTls::keys());
        check(CHECK, file::Check::keys());
        check(AGENT_CHECK, file::AgentCheck::keys());
        check(QUEUE, file::Queue::keys());
        check(RETRY, file::Retry::keys());
        check(SERVER_TIMEOUTS, file::ServerTimeouts::keys());
    }
}
