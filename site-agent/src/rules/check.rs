//! Judges a tree: every name known, every kind fitting, every constant one that can be. What is sound is compiled.

use std::ops::Range;

use common::config::closest::advice;
use common::names::listed;

use super::condition::{Match, Octets, Suffix, Test};
use super::constant::{Constant, constant, described};
use super::fact::Fact;
use super::functions::{self, Form, Function, Gives, Parameter, Subject};
use super::tree::{Comparison, Expression, Node};
use super::{Mistake, Mode, Needs};

/// What is to be tested, and what that needs; or every mistake, in the order of the text.
pub fn check(tree: &Expression, mode: Mode) -> Result<(Test, Needs), Vec<Mistake>> {
    let mut checker = Checker { mode, mistakes: vec![], needs: Needs::default() };
    let test = checker.test(tree);
    let Checker { mut mistakes, needs, .. } = checker;
    match test {
        Some(test) if mistakes.is_empty() => Ok((test, needs)),
        _ => {
            mistakes.sort_by_key(|mistake| mistake.span.start);
            Err(mistakes)
        }
    }
}

struct Checker {
    mode: Mode,
    mistakes: Vec<Mistake>,
    needs: Needs,
}

/// An expression by its kind.
enum Typed {
    /// True or false.
    Test(Test),
    /// The text of a request, and what it is compared with.
    Text(Fact, Parameter),
    /// The client's address.
    Src,
    /// A number: the port.
    Port,
    Constant,
}

impl Typed {
    fn kind(&self, written: &Expression) -> String {
        match self {
            Typed::Test(_) => format!("{} is true or false", described(written)),
            Typed::Text(..) => format!("{written} is a string"),
            Typed::Src => format!("{written} is an address"),
            Typed::Port => format!("{written} is a number"),
            Typed::Constant => format!("found {}", described(written)),
        }
    }
}

impl Checker {
    /// Takes note of a mistake; `None` then says that it was told.
    fn one<T>(&mut self, result: Result<T, Mistake>) -> Option<T> {
        result.map_err(|mistake| self.mistakes.push(mistake)).ok()
    }

    fn wrong<T>(&mut self, span: &Range<usize>, message: impl Into<String>) -> Option<T> {
        self.mistakes.push(Mistake::new(span.clone(), message));
        None
    }

    /// Something true or false.
    fn test(&mut self, written: &Expression) -> Option<Test> {
        match self.typed(written)? {
            Typed::Test(test) => Some(test),
            other => {
                let example = match &other {
                    Typed::Text(_, parameter) => {
                        format!("; compare it, such as {written} == {}", parameter.example())
                    }
                    Typed::Src => "; write src('10.0.0.0/8')".to_owned(),
                    Typed::Port => "; compare it, such as port == 443".to_owned(),
                    Typed::Constant | Typed::Test(_) => String::new(),
                };
                let kind = other.kind(written);
                self.wrong(&written.span, format!("{kind}, expected true or false{example}"))
            }
        }
    }

    fn tests(&mut self, list: &[Expression]) -> Option<Box<[Test]>> {
        // All are judged, whatever is wrong with the first.
        let tests: Vec<Option<Test>> = list.iter().map(|one| self.test(one)).collect();
        tests.into_iter().collect()
    }

    fn typed(&mut self, written: &Expression) -> Option<Typed> {
        let test = match &written.node {
            Node::Or(list) => Test::Any(self.tests(list)?),
            Node::And(list) => Test::All(self.tests(list)?),
            Node::Not(one) => Test::Not(self.test(one)?.into()),
            Node::Bool(is) => Test::Is(*is),
            Node::Compare(left, comparison, right) => {
                self.comparison((left, *comparison, right), &written.span)?
            }
            Node::In(one, list) => self.is_in(one, list, &written.span)?,
            Node::Call(name, arguments) => return self.call(name, arguments, &written.span),
            Node::Int(_) | Node::Duration(_) | Node::Text(_) => return Some(Typed::Constant),
        };
        Some(Typed::Test(test))
    }

    fn call(&mut self, name: &str, arguments: &[Expression], span: &Range<usize>) -> Option<Typed> {
        let names = || functions::known(self.mode).map(|function| function.name);
        let name_span = span.start..span.start + name.len();
        let Some(function) = functions::ALL.iter().find(|function| function.name == name) else {
            let known_as = functions::known_as(name);
            if let Some(ours) = known_as.filter(|ours| names().any(|name| name == *ours)) {
                return self.wrong(&name_span, format!("{name} is called {ours} here"));
            }
            let guess = advice(name, names()).replace('"', "");
            let known = listed("names", names().collect::<Vec<_>>().into_iter());
            return self.wrong(&name_span, format!("there is no {name} here{guess} ({known})"));
        };
        if !function.is_of(self.mode) {
            let known = listed("names", names().collect::<Vec<_>>().into_iter());
            let message = format!(
                "{name} is of requests, and a frontend of mode tcp sees connections alone ({known})"
            );
            return self.wrong(&name_span, message);
        }
        let Some(form) = function.form(arguments.len()) else {
            let message = wrong_count(function, arguments.len());
            return self.wrong(span, message);
        };
        let read: Vec<Option<Constant>> = arguments
            .iter()
            .enumerate()
            .map(|(index, argument)| self.one(constant(form.parameter(index), argument)))
            .collect();
        let constants: Vec<Constant> = read.into_iter().collect::<Option<_>>()?;
        Some(self.given(form, constants))
    }

    /// What a form comes to with these arguments, which it takes.
    fn given(&mut self, form: &Form, constants: Vec<Constant>) -> Typed {
        let mut constants = Sorted::of(constants);
        let (subject, wanted): (Subject, fn(Sorted) -> Match) = match form.gives {
            Gives::Src => return Typed::Src,
            Gives::Port => return Typed::Port,
            Gives::IsTls => return Typed::Test(Test::IsTls),
            Gives::SrcIn => return Typed::Test(Test::Src(constants.networks.into())),
            Gives::PortIn => return Typed::Test(Test::PortIn(constants.ports.into())),
            Gives::Text(subject) => {
                let fact = self.fact(subject, &mut constants);
                return Typed::Text(fact, subject.parameter());
            }
            Gives::There(subject) => (subject, |_| Match::There),
            Gives::OneOf(subject) => (subject, |given| Match::OneOf(given.octets.into())),
            Gives::Items(subject) => (subject, |given| Match::Item(given.octets.into())),
            Gives::Prefix(subject) => (subject, |given| Match::Prefix(given.octets.into())),
            Gives::Below(subject) => (subject, |given| Match::Below(given.suffixes.into())),
            Gives::Regex(subject) => (subject, |given| match given.regex {
                Some(regex) => Match::Regex(regex),
                None => unreachable!("a form that gives a regex takes one"),
            }),
        };
        let fact = self.fact(subject, &mut constants);
        Typed::Test(Test::Text(fact, wanted(constants)))
    }

    /// Takes the arguments that name it.
    fn fact(&mut self, subject: Subject, constants: &mut Sorted) -> Fact {
        let names = constants.octets.drain(..subject.names()).next();
        let name = names.unwrap_or_default();
        match subject {
            Subject::Sni => {
                self.needs.sni = true;
                Fact::Sni
            }
            Subject::Path => {
                self.needs.path = true;
                Fact::Path
            }
            Subject::Method => Fact::Method,
            Subject::Host => Fact::Host,
            Subject::Header => Fact::Header(String::from_utf8_lossy(&name).into()),
            Subject::Query => Fact::Query(name),
            Subject::Cookie => Fact::Cookie(name),
        }
    }

    fn comparison(
        &mut self,
        (left, comparison, right): (&Expression, Comparison, &Expression),
        span: &Range<usize>,
    ) -> Option<Test> {
        if let Node::Not(within) = &left.node
            && !matches!(within.node, Node::Not(_))
        {
            let message = format!(
                "! stands for its neighbour alone; write !({within} {} {right})",
                comparison.as_str()
            );
            return self.wrong(&left.span, message);
        }
        let (one, other) = (self.typed(left), self.typed(right));
        match (one?, other?) {
            (Typed::Constant, Typed::Constant) => {
                self.wrong(span, "compares two constants, so it is of no request")
            }
            (fact, Typed::Constant) => self.with_constant(fact, left, comparison, right),
            (Typed::Constant, fact) => self.with_constant(fact, right, comparison.turned(), left),
            (Typed::Text(one, _), Typed::Text(other, _)) => {
                if !one.is_single() && !other.is_single() {
                    let message = format!(
                        "{left} and {right} may both have several values; compare one of them with \
                         a constant, or with host, path, method or sni"
                    );
                    return self.wrong(span, message);
                }
                Some(negated(comparison, |comparison| Test::Same(one, comparison, other)))
            }
            (one, other) => {
                let message = match [(&one, left), (&other, right)]
                    .into_iter()
                    .find(|(typed, _)| matches!(typed, Typed::Test(_)))
                {
                    Some((test, written)) => format!(
                        "{} by itself; write it alone, or with ! before it",
                        test.kind(written)
                    ),
                    None => format!(
                        "{}, and {}: they cannot be compared",
                        one.kind(left),
                        other.kind(right)
                    ),
                };
                self.wrong(span, message)
            }
        }
    }

    fn with_constant(
        &mut self,
        fact: Typed,
        written: &Expression,
        comparison: Comparison,
        right: &Expression,
    ) -> Option<Test> {
        match fact {
            Typed::Text(fact, parameter) => {
                let Constant::Octets(octets) = self.one(constant(parameter, right))? else {
                    return None;
                };
                Some(negated(comparison, |comparison| {
                    Test::Text(fact, Match::Compare(comparison, octets))
                }))
            }
            Typed::Port => {
                let Constant::Port(port) = self.one(constant(Parameter::Port, right))? else {
                    return None;
                };
                Some(Test::Port(comparison, port))
            }
            Typed::Src => {
                if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
                    let message = "addresses are neither less nor more than others; write \
                                   src('10.0.0.0/8'), or == and !=";
                    return self.wrong(&right.span, message);
                }
                let Constant::Network(network) = self.one(constant(Parameter::Network, right))?
                else {
                    return None;
                };
                if network.prefix_len() != network.max_prefix_len() {
                    let message = format!(
                        "{network} is a network, and src is one address; write src('{network}')"
                    );
                    return self.wrong(&right.span, message);
                }
                Some(negated(comparison, |_| Test::Src([network].into())))
            }
            Typed::Test(_) => {
                let message = format!(
                    "{} by itself; write it alone, or with ! before it",
                    fact.kind(written)
                );
                self.wrong(&written.span, message)
            }
            Typed::Constant => unreachable!("one side is no constant"),
        }
    }

    fn is_in(
        &mut self,
        one: &Expression,
        list: &[Expression],
        span: &Range<usize>,
    ) -> Option<Test> {
        let typed = self.typed(one)?;
        if list.is_empty() {
            return self.wrong(span, "nothing is in an empty list");
        }
        let parameter = match &typed {
            Typed::Text(_, parameter) => *parameter,
            Typed::Src => Parameter::Network,
            Typed::Port => Parameter::Port,
            Typed::Constant => {
                return self.wrong(&one.span, "is a constant, so it is of no request");
            }
            Typed::Test(_) => {
                let message = format!("{}, expected what a list can hold", typed.kind(one));
                return self.wrong(&one.span, message);
            }
        };
        let read: Vec<Option<Constant>> =
            list.iter().map(|item| self.one(constant(parameter, item))).collect();
        let constants = Sorted::of(read.into_iter().collect::<Option<_>>()?);
        Some(match typed {
            Typed::Text(fact, _) => Test::Text(fact, Match::OneOf(constants.octets.into())),
            Typed::Src => Test::Src(constants.networks.into()),
            Typed::Port | Typed::Constant | Typed::Test(_) => Test::PortIn(constants.ports.into()),
        })
    }
}

/// Constants by what they became.
#[derive(Default)]
struct Sorted {
    networks: Vec<ipnet::IpNet>,
    ports: Vec<u16>,
    octets: Vec<Octets>,
    suffixes: Vec<Suffix>,
    regex: Option<regex::bytes::Regex>,
}

impl Sorted {
    fn of(constants: Vec<Constant>) -> Sorted {
        let mut sorted = Sorted::default();
        for constant in constants {
            match constant {
                Constant::Network(network) => sorted.networks.push(network),
                Constant::Port(port) => sorted.ports.push(port),
                Constant::Octets(octets) => sorted.octets.push(octets),
                Constant::Suffix(suffix) => sorted.suffixes.push(suffix),
                Constant::Regex(regex) => sorted.regex = Some(regex),
            }
        }
        sorted
    }
}

/// `!=` is that nothing is equal: what has no value, or several, is then told apart as people mean it.
fn negated(comparison: Comparison, test: impl FnOnce(Comparison) -> Test) -> Test {
    match comparison {
        Comparison::NotEqual => Test::Not(test(Comparison::Equal).into()),
        other => test(other),
    }
}

fn wrong_count(function: &Function, found: usize) -> String {
    let found = match found {
        0 => "no argument".to_owned(),
        1 => "1 argument".to_owned(),
        many => format!("{many} arguments"),
    };
    format!("found {found}, expected {}", function.shown())
}
