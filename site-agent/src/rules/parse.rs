//! From tokens to a tree. `!` holds tightest, then comparisons, then `&&`, then `||`.

use std::ops::Range;

use super::lex::{Placed, Token, lex};
use super::tree::{Expression, Node, quoted};
use super::{DEEPEST, LONGEST_TEXT, MOST_NODES, Mistake};

const SUCH_AS: &str = "a test such as path_prefix('/admin')";

/// The tree of a text, or why there is none: all that is no token, else the first that cannot stand where it does.
pub fn parse(text: &str) -> Result<Expression, Vec<Mistake>> {
    if text.len() > LONGEST_TEXT {
        let message = format!("has {} octets, expected at most {LONGEST_TEXT}", text.len());
        return Err(vec![Mistake::new(0..text.len(), message)]);
    }
    let tokens = lex(text)?;
    if tokens.is_empty() {
        return Err(vec![Mistake::new(0..text.len(), format!("is empty, expected {SUCH_AS}"))]);
    }
    let end = text.trim_end().len();
    let mut parser = Parser { tokens: &tokens, at: 0, end, depth: 0, nodes: 0 };
    let whole = parser.or().and_then(|whole| match parser.peek() {
        None => Ok(whole),
        Some(_) => Err(parser.after_whole()),
    });
    whole.map_err(|mistake| vec![mistake])
}

struct Parser<'t> {
    tokens: &'t [Placed],
    at: usize,
    /// Where the text ends.
    end: usize,
    depth: usize,
    nodes: usize,
}

type Parsed = Result<Expression, Mistake>;

impl Parser<'_> {
    fn or(&mut self) -> Parsed {
        self.deeper(|parser| parser.several(&Token::Or, Parser::and, Node::Or))
    }

    fn and(&mut self) -> Parsed {
        self.several(&Token::And, Parser::comparison, Node::And)
    }

    /// One, or several with this token between them.
    fn several(
        &mut self,
        between: &Token,
        one: fn(&mut Self) -> Parsed,
        node: fn(Vec<Expression>) -> Node,
    ) -> Parsed {
        let start = self.span().start;
        let mut list = vec![one(self)?];
        while self.take(between) {
            list.push(one(self)?);
        }
        match list.len() {
            1 => Ok(list.remove(0)),
            _ => self.node(start, node(list)),
        }
    }

    fn comparison(&mut self) -> Parsed {
        let start = self.span().start;
        let left = self.not()?;
        let whole = match self.peek() {
            Some(Token::Compare(comparison)) => {
                let comparison = *comparison;
                self.at += 1;
                let right = self.not()?;
                self.node(start, Node::Compare(left.into(), comparison, right.into()))?
            }
            Some(Token::In) => {
                self.at += 1;
                if !self.take(&Token::Open) {
                    return Err(self.unexpected("a list in parentheses, such as ('a', 'b')"));
                }
                let list = self.list()?;
                self.node(start, Node::In(left.into(), list))?
            }
            _ => return Ok(left),
        };
        if let Some(Token::Compare(_) | Token::In) = self.peek() {
            let message = "compares what was compared already; join two comparisons with && or ||";
            return Err(Mistake::new(self.span(), message));
        }
        Ok(whole)
    }

    fn not(&mut self) -> Parsed {
        let start = self.span().start;
        if !self.take(&Token::Not) {
            return self.whole();
        }
        let one = self.deeper(Parser::not)?;
        self.node(start, Node::Not(one.into()))
    }

    /// The whole of a text is within nothing.
    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth > DEEPEST {
            let message = format!("is within more than {DEEPEST} others; write it flatter");
            return Err(Mistake::new(self.span(), message));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn whole(&mut self) -> Parsed {
        let Some((token, span)) = self.tokens.get(self.at) else {
            return Err(self.unexpected(SUCH_AS));
        };
        let start = span.start;
        let node = match token {
            Token::Open => {
                self.at += 1;
                let within = self.or()?;
                self.close("\"&&\", \"||\" or \")\"")?;
                return Ok(within);
            }
            Token::Name(name) => match name.as_str() {
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                "not" => return Err(Mistake::new(span.clone(), "found not, expected !")),
                _ => {
                    self.at += 1;
                    let has_arguments = self.take(&Token::Open);
                    let arguments = if has_arguments { self.list()? } else { vec![] };
                    return self.node(start, Node::Call(name.clone(), arguments));
                }
            },
            Token::Text(text) => Node::Text(text.clone()),
            Token::Int(number) => Node::Int(*number),
            Token::Duration(duration) => Node::Duration(*duration),
            Token::Close
            | Token::Comma
            | Token::And
            | Token::Or
            | Token::In
            | Token::Compare(_)
            | Token::Not => return Err(self.unexpected(SUCH_AS)),
        };
        self.at += 1;
        self.node(start, node)
    }

    /// What stands between parentheses, the first of which was read.
    fn list(&mut self) -> Result<Vec<Expression>, Mistake> {
        let mut list = Vec::new();
        if self.take(&Token::Close) {
            return Ok(list);
        }
        loop {
            list.push(self.or()?);
            if !self.take(&Token::Comma) {
                self.close("\",\" or \")\"")?;
                return Ok(list);
            }
        }
    }

    fn close(&mut self, expected: &str) -> Result<(), Mistake> {
        match self.take(&Token::Close) {
            true => Ok(()),
            false => Err(self.unexpected(expected)),
        }
    }

    /// That a whole condition ended before the text did.
    fn after_whole(&self) -> Mistake {
        match self.peek() {
            Some(Token::Close) => Mistake::new(self.span(), "found ), which nothing opened"),
            _ => self.unexpected("&& or || between two tests"),
        }
    }

    fn unexpected(&self, expected: &str) -> Mistake {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Name(name)) => match name.as_str() {
                "and" => return Mistake::new(self.span(), "found and, expected &&"),
                "or" => return Mistake::new(self.span(), "found or, expected ||"),
                name => name.to_owned(),
            },
            Some(Token::Text(text)) => quoted(text),
            Some(Token::Int(number)) => number.to_string(),
            Some(Token::Duration(duration)) => common::duration::shown(*duration),
            Some(Token::Open) => "(".to_owned(),
            Some(Token::Close) => ")".to_owned(),
            Some(Token::Comma) => ",".to_owned(),
            Some(Token::Not) => "!".to_owned(),
            Some(Token::And) => "&&".to_owned(),
            Some(Token::Or) => "||".to_owned(),
            Some(Token::In) => "in".to_owned(),
            Some(Token::Compare(comparison)) => comparison.as_str().to_owned(),
        };
        Mistake::new(self.span(), format!("found {found}, expected {expected}"))
    }

    fn node(&mut self, start: usize, node: Node) -> Parsed {
        let end = self.tokens[..self.at].last().map_or(self.end, |(_, span)| span.end);
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            let message =
                format!("has more than {MOST_NODES} parts; make two rules of it, or use in (...)");
            return Err(Mistake::new(0..self.end, message));
        }
        Ok(Expression { span: start..end, node })
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_next = self.peek() == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// Of the next token, or the end.
    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.end..self.end, |(_, span)| span.clone())
    }
}
