//! What conditions mean, what is told of those that mean nothing, and what must hold of all of them.

mod asked;
mod laws;
mod naive;

use self::asked::asked;
use super::functions;
use super::{DEEPEST, LONGEST_TEXT, MOST_NODES, Mode, Needs, compile};

const REQUEST: &str = "10.1.2.3 :8443 tls sni=WWW.example.com GET Www.Example.com:8443 /Api//v1/%61?a=1&b=x+y&a=%32 \
                       | User-Agent: curl | Accept: text/html, Text/Plain | accept: image/png \
                       | Cookie: id=7; theme=dark | Cookie: id=8";

fn check(condition: &str, request: &str, expected: bool) {
    let compiled = compile(condition, Mode::Http).unwrap_or_else(|mistakes| {
        panic!("{condition}: {mistakes:?}");
    });
    let got = asked(request).with(|request| compiled.holds(request));
    assert_eq!(got, expected, "{condition}\n{request}");
}

fn all(request: &str, expected: &[(&str, bool)]) {
    for (condition, expected) in expected {
        check(condition, request, *expected);
    }
}

/// What is said of each mistake, below its place in the text.
fn told(condition: &str, mode: Mode) -> String {
    let mistakes = compile(condition, mode).unwrap_err();
    let told = mistakes.iter().map(|mistake| {
        let mark = "^".repeat(mistake.span.len().max(1));
        format!("{}{mark} {}", " ".repeat(mistake.span.start), mistake.message)
    });
    told.collect::<Vec<_>>().join("\n")
}

fn refused(condition: &str, expected: &str) {
    assert_eq!(told(condition, Mode::Http), expected, "\n{condition}");
}

#[test]
fn facts_are_compared() {
    all(
        REQUEST,
        &[
            ("src == '10.1.2.3'", true),
            ("src != '10.1.2.3'", false),
            ("'10.1.2.4' != src", true),
            ("src('10.1.2.3')", true),
            ("src('192.0.2.0/24', '10.0.0.0/8')", true),
            ("src in ('192.0.2.0/24', '2001:db8::/32')", false),
            ("port == 8443", true),
            ("port(80, 8443)", true),
            ("port in (80, 443)", false),
            ("port > 8443 || port < 8443", false),
            ("8000 < port", true),
            ("8443 <= port && port >= 8443", true),
            ("is_tls", true),
            ("!is_tls", false),
            ("is_tls()", true),
            ("sni == 'www.example.com'", true),
            ("sni('WWW.EXAMPLE.COM')", true),
            ("method == 'GET'", true),
            ("method in ('PUT', 'POST')", false),
            ("host == 'www.example.com'", true),
            ("host == sni", true),
            ("host < 'www.f'", true),
            ("host_suffix('example.com')", true),
            ("host_suffix('www.example.com')", true),
            ("host_suffix('.www.example.com')", false),
            ("host_suffix('*.example.com')", true),
            ("host_suffix('ample.com')", false),
            ("path == '/Api/v1/a'", true),
            ("path('/api/v1/a', '/')", false),
            ("path_prefix('/Api/')", true),
            ("path_prefix('/Ap')", true),
            ("path_prefix('/api')", false),
            ("path_regex('^/api')", false),
            ("path_regex('(?i)^/api/v[0-9]+/.$')", true),
            ("true", true),
            ("false || !true", false),
        ],
    );
}

#[test]
fn what_may_stand_several_times_is_so_if_one_is() {
    all(
        REQUEST,
        &[
            ("header('user-agent') == 'curl'", true),
            ("header('User-Agent') == 'Curl'", false),
            ("header('accept') == 'image/png'", true),
            ("header('accept') == 'text/html'", false),
            ("header('accept', 'text/plain')", true),
            ("header('accept', 'text/css', 'image/PNG')", true),
            ("has_header('cookie')", true),
            ("has_header('referer')", false),
            ("query('a') == '1'", true),
            ("query('a') == '2'", true),
            ("query('a') != '2'", false),
            ("query('a') == '3'", false),
            ("query('b', 'x y')", true),
            ("query('a') in ('5', '2')", true),
            ("query('a') > '1'", true),
            ("cookie('id') == '8'", true),
            ("cookie('id', '7') && cookie('theme') in ('dark')", true),
            ("cookie('i') == '7'", false),
            ("header('x-host') == host", false),
        ],
    );
    check("header('x-host') == host", "::1 :1 GET A.example:1 / | x-host: a.EXAMPLE", true);
}

/// Nothing is equal to nothing, and neither less nor more.
#[test]
fn what_is_not_there_is_only_unequal() {
    let bare = "2001:db8::1 :80 GET - /";
    all(
        bare,
        &[
            ("header('x') == ''", false),
            ("header('x') != ''", true),
            ("header('x') < 'z' || header('x') >= 'z'", false),
            ("sni == 'a' || host == 'a' || cookie('a') == '' || query('a') == ''", false),
            ("host == sni", false),
            ("host != sni", true),
            ("host_suffix('com')", false),
        ],
    );
    check("query('a') == ''", "::1 :80 GET h /?a", true);
    check("query('a') == ''", "::1 :80 GET h /?a=&b", true);
    check("cookie('a') == ''", "::1 :80 GET h / | cookie: a", false);
    check("cookie('a') == ''", "::1 :80 GET h / | cookie: a=", true);
}

#[test]
fn an_address_of_both_families_is_one() {
    check("src('192.0.2.0/24')", "::ffff:192.0.2.7 :80 GET h /", true);
    check("src == '::ffff:192.0.2.7'", "192.0.2.7 :80 GET h /", true);
    check("src('2001:db8::/32')", "192.0.2.7 :80 GET h /", false);
}

#[test]
fn a_hosts_name_is_without_port_and_final_dot() {
    for host in ["a.example", "A.example.", "a.example:80", "a.EXAMPLE.:8080"] {
        check("host('a.example')", &format!("::1 :80 GET {host} /"), true);
    }
    check("host == '[2001:db8::1]'", "::1 :80 GET [2001:DB8::1]:80 /", true);
}

#[test]
fn an_expression_sees_octets() {
    check("path_regex('^/admin.*$')", "::1 :80 GET h /admin%0a%ff", true);
    check("path_regex('^/admin$')", "::1 :80 GET h /admin%0a", false);
    check("path_regex(\"^/a'b$\")", "::1 :80 GET h /a'b", true);
    check("path == '/a''b'", "::1 :80 GET h /a'b", true);
    check("path == '/ü'", "::1 :80 GET h /%C3%BC", true);
}

#[test]
fn binding_is_not_then_comparison_then_and_then_or() {
    check("true || false && false", "::1 :80 GET h /", true);
    check("(true || false) && false", "::1 :80 GET h /", false);
    check("!false && false", "::1 :80 GET h /", false);
    check("!(false && false)", "::1 :80 GET h /", true);
    check("!!is_tls || port == 80\n\t&& method == 'GET'", "::1 :80 GET h /", true);
}

#[test]
fn what_is_needed_of_a_request_is_known() {
    let needs = |text: &str| compile(text, Mode::Http).unwrap().needs();
    assert_eq!(needs("src('10.0.0.0/8') || host == 'a'"), Needs::default());
    assert_eq!(needs("!path_prefix('/a')"), Needs { path: true, sni: false });
    assert_eq!(needs("host == sni && path == '/'"), Needs { path: true, sni: true });
}

#[test]
fn names_are_known_or_guessed() {
    refused(
        "path_prefx('/a') && srx('10.0.0.0/8')",
        "^^^^^^^^^^ there is no path_prefx here; did you mean path_prefix? (names: src, port, is_tls, sni, method, \
         host, host_suffix, path, path_prefix, path_regex, header, has_header, query, cookie)\n                    \
         ^^^ there is no srx here; did you mean src? (names: src, port, is_tls, sni, method, host, host_suffix, path, \
         path_prefix, path_regex, header, has_header, query, cookie)",
    );
}

#[test]
fn what_only_requests_have_is_none_of_tcp() {
    assert_eq!(
        told("sni('a.example') && (path == '/' || hdr('x') == 'y')", Mode::Tcp),
        "                     ^^^^ path is of requests, and a frontend of mode tcp sees connections alone (names: \
         src, port, is_tls, sni)\n                                    ^^^ there is no hdr here (names: src, port, \
         is_tls, sni)"
    );
    assert!(compile("sni('a.example') && !src('10.0.0.0/8') && port == 443", Mode::Tcp).is_ok());
}

#[test]
fn kinds_have_to_fit() {
    refused(
        "host",
        "^^^^ host is a string, expected true or false; compare it, such as host == 'www.example.com'",
    );
    refused("!src", " ^^^ src is an address, expected true or false; write src('10.0.0.0/8')");
    refused(
        "port && 'x'",
        "^^^^ port is a number, expected true or false; compare it, such as port == 443\n        ^^^ found the string 'x', expected true or false",
    );
    refused(
        "host == 443",
        "        ^^^ found the number 443, expected a host's name such as 'www.example.com'",
    );
    refused(
        "port == '443'",
        "        ^^^^^ found the string '443', expected a port from 1 to 65535; write 443 without quotes",
    );
    refused("port == 5s", "        ^^ found the duration 5s, expected a port from 1 to 65535");
    refused(
        "host == port",
        "^^^^^^^^^^^^ host is a string, and port is a number: they cannot be compared",
    );
    refused(
        "is_tls == true",
        "^^^^^^^^^^^^^^ is_tls is true or false by itself; write it alone, or with ! before it",
    );
    refused(
        "is_tls != 'a'",
        "^^^^^^ is_tls is true or false by itself; write it alone, or with ! before it",
    );
    refused("!host == 'a'", "^^^^^ ! stands for its neighbour alone; write !(host == 'a')");
    refused("1 < 2", "^^^^^ compares two constants, so it is of no request");
    refused(
        "src < '10.0.0.1'",
        "      ^^^^^^^^^^ addresses are neither less nor more than others; write src('10.0.0.0/8'), or == and !=",
    );
    refused(
        "src == '10.0.0.0/8'",
        "       ^^^^^^^^^^^^ 10.0.0.0/8 is a network, and src is one address; write src('10.0.0.0/8')",
    );
    refused(
        "header('a') == query('b')",
        "^^^^^^^^^^^^^^^^^^^^^^^^^ header('a') and query('b') may both have several values; compare one of them with a constant, or with host, path, method or sni",
    );
    refused("is_tls in ('a')", "^^^^^^ is_tls is true or false, expected what a list can hold");
    refused("'a' in ('a')", "^^^ is a constant, so it is of no request");
    refused("host in ()", "^^^^^^^^^^ nothing is in an empty list");
    refused(
        "src in (10)",
        "        ^^ found the number 10, expected a network such as '10.0.0.0/8' or an address",
    );
}

#[test]
fn marks_stand_under_what_is_wrong_and_not_under_parentheses() {
    refused(
        "!(((host)))",
        "    ^^^^ host is a string, expected true or false; compare it, such as host == 'www.example.com'",
    );
    refused(
        "is_tls && ((host) == (port))",
        "           ^^^^^^^^^^^^^^^^ host is a string, and port is a number: they cannot be compared",
    );
    assert!(
        told("(is_tls || (srx))", Mode::Http).starts_with("            ^^^ there is no srx here")
    );
}

#[test]
fn arguments_are_counted_and_judged() {
    refused("path_prefix", "^^^^^^^^^^^ found no argument, expected path_prefix('/admin/', ...)");
    refused(
        "path_regex('a', 'b')",
        "^^^^^^^^^^^^^^^^^^^^ found 2 arguments, expected path_regex('^/user/[0-9]+$')",
    );
    refused(
        "header()",
        "^^^^^^^^ found no argument, expected header('user-agent') or header('user-agent', 'text', ...)",
    );
    refused("is_tls('a')", "^^^^^^^^^^^ found 1 argument, expected is_tls");
    refused(
        "src('10.0.0.1/8')",
        "    ^^^^^^^^^^^^ '10.0.0.1/8' has host bits set; did you mean '10.0.0.0/8'?",
    );
    refused(
        "src('ten')",
        "    ^^^^^ 'ten' is not a network such as '192.0.2.0/24' or '2001:db8::/32'",
    );
    refused(
        "path_prefix('admin')",
        "            ^^^^^^^ 'admin' does not begin with /, as every path does",
    );
    refused(
        "path('/a//b')",
        "     ^^^^^^^ no path has // when rules see it: slashes in a row are one, dot segments are taken out (expected a path such as '/admin/')",
    );
    refused(
        "path == '/a/..'",
        "        ^^^^^^^ no path ends with /.. when rules see it (expected a path such as '/admin/')",
    );
    refused(
        "path('/a%20b')",
        "     ^^^^^^^^ paths are decoded before rules see them; write ' ' for the escape, or use path_regex if a path is meant that has a % itself",
    );
    refused("path_regex('a(')", "           ^^^^ is no regular expression: unclosed group");
    refused(
        "host('a.example.')",
        "     ^^^^^^^^^^^^ names are seen without their final dot; write 'a.example'",
    );
    refused("host == 'a:80'", "        ^^^^^^ hosts are seen without their port; write 'a'");
    refused(
        "host('*.example.com')",
        "     ^^^^^^^^^^^^^^^ a * stands for itself alone; use host_suffix for '*.example.com'",
    );
    refused(
        "host_suffix('')",
        "            ^^ '' is no host's name, expected a host's name such as 'www.example.com'",
    );
    refused("method('get')", "       ^^^^^ methods are in upper case; did you mean 'GET'?");
    refused("method == 'G T'", "          ^^^^^ 'G T' is no method, expected one such as 'GET'");
    refused("header('a b') == ''", "       ^^^^^ 'a b' is no header's name");
    refused("cookie('') == ''", "       ^^ is empty, expected a name such as 'id'");
    refused(
        "port(0, 65536)",
        "     ^ found 0, expected a port from 1 to 65535\n        ^^^^^ found 65536, expected a port from 1 to 65535",
    );
    assert!(compile("path_prefix('/.')", Mode::Http).is_ok());
}

#[test]
fn what_is_no_condition_is_told_by_its_first_slip() {
    refused("", "^ is empty, expected a test such as path_prefix('/admin')");
    refused("  ", "^^ is empty, expected a test such as path_prefix('/admin')");
    refused("is_tls &&", "         ^ found the end, expected a test such as path_prefix('/admin')");
    refused("is_tls host", "       ^^^^ found host, expected && or || between two tests");
    refused("is_tls and host", "       ^^^ found and, expected &&");
    refused("not is_tls", "^^^ found not, expected !");
    refused(
        "is_tls || or",
        "          ^^ there is no or here (names: src, port, is_tls, sni, method, host, host_suffix, path, path_prefix, path_regex, header, has_header, query, cookie)",
    );
    refused("(is_tls", "       ^ found the end, expected \"&&\", \"||\" or \")\"");
    refused("src('10.0.0.1'", "              ^ found the end, expected \",\" or \")\"");
    refused("path_beg('/a')", "^^^^^^^^ path_beg is called path_prefix here");
    refused("hdr_dom('/a')", "^^^^^^^ hdr_dom is called host_suffix here");
    refused("is_tls)", "      ^ found ), which nothing opened");
    refused("src('a' 'b')", "        ^^^ found 'b', expected \",\" or \")\"");
    refused("src(,)", "    ^ found ,, expected a test such as path_prefix('/admin')");
    refused(
        "host in 'a'",
        "        ^^^ found 'a', expected a list in parentheses, such as ('a', 'b')",
    );
    refused(
        "host == 'a' == 'b'",
        "            ^^ compares what was compared already; join two comparisons with && or ||",
    );
}

#[test]
fn every_octet_that_is_no_token_is_told() {
    refused(
        "a & b | c = -1 # ü [x]",
        "  ^ found &, expected &&\n      ^ found |, expected ||\n          ^ found =, expected ==\n            ^ found \
         -, and there are no numbers below 0\n               ^ found '#', which means nothing here\n                 \
         ^^ found 'ü', which means nothing here\n                    ^ found [, expected parentheses: in ('a', 'b')\n                      \
         ^ found ], expected parentheses: in ('a', 'b')",
    );
    refused("host == 'a", "        ^^ does not end: a ' is missing");
    refused("path == '/a\u{7}'", "        ^^^^^ holds '\\u{7}', which nothing here can have");
    refused("src(10.0.0.0/8)", "    ^^^^^^^^^^ an address is a string: quote it, '10.0.0.0/8'");
    refused("src(2001:db8::1)", "    ^^^^^^^^^^^ an address is a string: quote it, '2001:db8::1'");
    refused(
        "path_prefix(/admin)",
        "            ^ found /, which stands only in strings: quote it, such as '/admin'",
    );
    refused(
        "port == 10x",
        "        ^^^ 10x is neither a number such as 443 nor a duration such as 500ms, 30s, 5m or 1h",
    );
    refused(
        "port == 99999999999999999999",
        "        ^^^^^^^^^^^^^^^^^^^^ 99999999999999999999 is more than can be counted",
    );
}

#[test]
fn a_condition_is_bounded() {
    let long = |octets: usize| format!("path == '/{}'", "a".repeat(octets - "path == '/'".len()));
    assert!(compile(&long(LONGEST_TEXT), Mode::Http).is_ok());
    let mistakes = compile(&long(LONGEST_TEXT + 1), Mode::Http).unwrap_err();
    assert_eq!(mistakes[0].message, "has 4097 octets, expected at most 4096");

    let deep = |depth: usize| format!("{}is_tls{}", "(".repeat(depth), ")".repeat(depth));
    let denied = |depth: usize| format!("{}is_tls", "!".repeat(depth));
    for nested in [deep, denied] {
        assert!(compile(&nested(DEEPEST), Mode::Http).is_ok());
        let mistakes = compile(&nested(DEEPEST + 1), Mode::Http).unwrap_err();
        assert_eq!(mistakes[0].message, "is within more than 32 others; write it flatter");
    }

    // The names, and what joins them.
    let wide = |nodes: usize| vec!["is_tls"; nodes - 1].join(" || ");
    assert!(compile(&wide(MOST_NODES), Mode::Http).is_ok());
    let mistakes = compile(&wide(MOST_NODES + 1), Mode::Http).unwrap_err();
    assert!(mistakes[0].message.starts_with("has more than 256 parts"), "{mistakes:?}");

    let mistakes = compile("path_regex('(\\w{500}){500}')", Mode::Http).unwrap_err();
    assert!(mistakes[0].message.contains("exceeds size limit"), "{mistakes:?}");
}

#[test]
fn every_name_is_written_up() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/site-rules.md"))
            .unwrap();
    for function in functions::ALL {
        for form in function.shown().split(" or ") {
            assert!(page.contains(&format!("`{form}`")), "docs/site-rules.md: no {form}");
        }
    }
}
