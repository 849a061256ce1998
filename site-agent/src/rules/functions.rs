//! The names of the language: what each takes, gives and needs of a request.

use super::Mode;

/// A name, and all ways of writing it.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    /// Whether there have to be requests, and not only connections.
    pub of_http: bool,
    pub forms: &'static [Form],
}

/// One way of writing it: how many arguments there are tells which.
#[derive(Debug)]
pub struct Form {
    pub parameters: &'static [Parameter],
    /// Whether the last may stand more than once.
    pub repeats: bool,
    pub gives: Gives,
}

/// What an argument has to be. All are constants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parameter {
    /// A network, or an address alone.
    Network,
    Port,
    Method,
    /// The name of a host.
    Host,
    /// The end of one, by labels.
    Suffix,
    /// A whole path in its normal form.
    Path,
    /// The beginning of one.
    Prefix,
    Regex,
    /// A header's name.
    Header,
    /// A name of a parameter or cookie.
    Name,
    /// Any text.
    Text,
}

/// What a form stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gives {
    Src,
    Port,
    /// The text itself, to be compared.
    Text(Subject),
    // True or false, from here on.
    IsTls,
    SrcIn,
    PortIn,
    There(Subject),
    OneOf(Subject),
    Items(Subject),
    Prefix(Subject),
    Below(Subject),
    Regex(Subject),
}

/// Of which text a form speaks. The first argument names it, where there are several of a kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    Sni,
    Method,
    Host,
    Path,
    Header,
    Query,
    Cookie,
}

const fn bare(gives: Gives) -> Form {
    Form { parameters: &[], repeats: false, gives }
}

const fn once(parameters: &'static [Parameter], gives: Gives) -> Form {
    Form { parameters, repeats: false, gives }
}

const fn more(parameters: &'static [Parameter], gives: Gives) -> Form {
    Form { parameters, repeats: true, gives }
}

pub const ALL: &[Function] = &[
    Function {
        name: "src",
        of_http: false,
        forms: &[bare(Gives::Src), more(&[Parameter::Network], Gives::SrcIn)],
    },
    Function {
        name: "port",
        of_http: false,
        forms: &[bare(Gives::Port), more(&[Parameter::Port], Gives::PortIn)],
    },
    Function { name: "is_tls", of_http: false, forms: &[bare(Gives::IsTls)] },
    Function {
        name: "sni",
        of_http: false,
        forms: &[
            bare(Gives::Text(Subject::Sni)),
            more(&[Parameter::Host], Gives::OneOf(Subject::Sni)),
        ],
    },
    Function {
        name: "method",
        of_http: true,
        forms: &[
            bare(Gives::Text(Subject::Method)),
            more(&[Parameter::Method], Gives::OneOf(Subject::Method)),
        ],
    },
    Function {
        name: "host",
        of_http: true,
        forms: &[
            bare(Gives::Text(Subject::Host)),
            more(&[Parameter::Host], Gives::OneOf(Subject::Host)),
        ],
    },
    Function {
        name: "host_suffix",
        of_http: true,
        forms: &[more(&[Parameter::Suffix], Gives::Below(Subject::Host))],
    },
    Function {
        name: "path",
        of_http: true,
        forms: &[
            bare(Gives::Text(Subject::Path)),
            more(&[Parameter::Path], Gives::OneOf(Subject::Path)),
        ],
    },
    Function {
        name: "path_prefix",
        of_http: true,
        forms: &[more(&[Parameter::Prefix], Gives::Prefix(Subject::Path))],
    },
    Function {
        name: "path_regex",
        of_http: true,
        forms: &[once(&[Parameter::Regex], Gives::Regex(Subject::Path))],
    },
    Function {
        name: "header",
        of_http: true,
        forms: &[
            once(&[Parameter::Header], Gives::Text(Subject::Header)),
            more(&[Parameter::Header, Parameter::Text], Gives::Items(Subject::Header)),
        ],
    },
    Function {
        name: "has_header",
        of_http: true,
        forms: &[once(&[Parameter::Header], Gives::There(Subject::Header))],
    },
    Function {
        name: "query",
        of_http: true,
        forms: &[
            once(&[Parameter::Name], Gives::Text(Subject::Query)),
            more(&[Parameter::Name, Parameter::Text], Gives::OneOf(Subject::Query)),
        ],
    },
    Function {
        name: "cookie",
        of_http: true,
        forms: &[
            once(&[Parameter::Name], Gives::Text(Subject::Cookie)),
            more(&[Parameter::Name, Parameter::Text], Gives::OneOf(Subject::Cookie)),
        ],
    },
];

/// Those that a frontend of this mode has.
pub fn known(mode: Mode) -> impl Iterator<Item = &'static Function> {
    ALL.iter().filter(move |function| function.is_of(mode))
}

/// What is called otherwise elsewhere, in HAProxy and nginx.
pub fn known_as(theirs: &str) -> Option<&'static str> {
    Some(match theirs {
        "path_beg" | "url_beg" | "path_dir" => "path_prefix",
        "path_reg" | "url_reg" | "path_end" => "path_regex",
        "url" | "uri" | "request_uri" => "path",
        "hdr" | "hdr_beg" | "hdr_sub" | "hdr_reg" => "header",
        "hdr_cnt" | "hdr_exists" => "has_header",
        "hdr_dom" | "hdr_end" => "host_suffix",
        "http_host" | "server_name" => "host",
        "meth" | "request_method" => "method",
        "cook" | "req_cook" => "cookie",
        "urlp" | "url_param" | "args" => "query",
        "src_ip" | "remote_addr" => "src",
        "dst_port" | "server_port" => "port",
        "ssl_fc" | "scheme" => "is_tls",
        "ssl_fc_sni" | "req_ssl_sni" | "ssl_sni" | "ssl_preread_server_name" => "sni",
        _ => return None,
    })
}

impl Function {
    pub fn is_of(&self, mode: Mode) -> bool {
        !self.of_http || mode == Mode::Http
    }

    /// The form with so many arguments.
    pub fn form(&self, arguments: usize) -> Option<&'static Form> {
        self.forms.iter().find(|form| form.takes(arguments))
    }

    /// `header('name')` or `header('name', 'text', ...)`.
    pub fn shown(&self) -> String {
        let forms = self.forms.iter().map(|form| form.shown(self.name));
        forms.collect::<Vec<_>>().join(" or ")
    }
}

impl Form {
    fn takes(&self, arguments: usize) -> bool {
        let most = if self.repeats { usize::MAX } else { self.parameters.len() };
        (self.parameters.len()..=most).contains(&arguments)
    }

    /// Of an argument, counted from 0, that it takes.
    pub fn parameter(&self, index: usize) -> Parameter {
        let last = self.parameters.len().saturating_sub(1);
        self.parameters[index.min(last)]
    }

    fn shown(&self, name: &str) -> String {
        if self.parameters.is_empty() {
            return name.to_owned();
        }
        let mut shown: Vec<&str> = self.parameters.iter().map(|one| one.example()).collect();
        shown.extend(self.repeats.then_some("..."));
        format!("{name}({})", shown.join(", "))
    }
}

impl Parameter {
    /// What messages say was expected.
    pub fn expected(self) -> &'static str {
        match self {
            Parameter::Network => "a network such as '10.0.0.0/8' or an address",
            Parameter::Port => "a port from 1 to 65535",
            Parameter::Method => "a method such as 'GET'",
            Parameter::Host => "a host's name such as 'www.example.com'",
            Parameter::Suffix => "the end of a host's name, such as 'example.com'",
            Parameter::Path => "a path such as '/admin/'",
            Parameter::Prefix => "the beginning of a path, such as '/admin/'",
            Parameter::Regex => "a regular expression such as '^/user/[0-9]+$'",
            Parameter::Header => "a header's name such as 'user-agent'",
            Parameter::Name => "a name such as 'id'",
            Parameter::Text => "a string such as 'text'",
        }
    }

    pub fn example(self) -> &'static str {
        match self {
            Parameter::Network => "'10.0.0.0/8'",
            Parameter::Port => "443",
            Parameter::Method => "'GET'",
            Parameter::Host => "'www.example.com'",
            Parameter::Suffix => "'example.com'",
            Parameter::Path | Parameter::Prefix => "'/admin/'",
            Parameter::Regex => "'^/user/[0-9]+$'",
            Parameter::Header => "'user-agent'",
            Parameter::Name => "'id'",
            Parameter::Text => "'text'",
        }
    }
}

impl Subject {
    /// What its text is compared with.
    pub fn parameter(self) -> Parameter {
        match self {
            Subject::Sni | Subject::Host => Parameter::Host,
            Subject::Method => Parameter::Method,
            Subject::Path => Parameter::Path,
            Subject::Header | Subject::Query | Subject::Cookie => Parameter::Text,
        }
    }

    /// How many arguments name it.
    pub fn names(self) -> usize {
        match self {
            Subject::Sni | Subject::Method | Subject::Host | Subject::Path => 0,
            Subject::Header | Subject::Query | Subject::Cookie => 1,
        }
    }
}
