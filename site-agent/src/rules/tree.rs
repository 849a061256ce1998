//! A condition as it was written: what `parse` makes, what `check` judges. Printed, it reads as the same tree.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use common::duration;

/// A node and where it stands. Two are equal that say the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Expression {
    pub span: Range<usize>,
    pub node: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Two or more.
    Or(Vec<Expression>),
    /// Two or more.
    And(Vec<Expression>),
    Not(Box<Expression>),
    Compare(Box<Expression>, Comparison, Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    /// A name; with arguments, if it has any.
    Call(String, Vec<Expression>),
    Bool(bool),
    Int(i64),
    Duration(Duration),
    Text(String),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

/// How tightly things hold together, the loosest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Bond {
    Or,
    And,
    Compare,
    Not,
    Whole,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.node == other.node
    }
}

impl Comparison {
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::More => ">",
            Comparison::MoreOrEqual => ">=",
        }
    }

    /// The same with its sides swapped.
    pub fn turned(self) -> Comparison {
        match self {
            Comparison::Equal => Comparison::Equal,
            Comparison::NotEqual => Comparison::NotEqual,
            Comparison::Less => Comparison::More,
            Comparison::LessOrEqual => Comparison::MoreOrEqual,
            Comparison::More => Comparison::Less,
            Comparison::MoreOrEqual => Comparison::LessOrEqual,
        }
    }
}

impl Expression {
    fn bond(&self) -> Bond {
        match &self.node {
            Node::Or(_) => Bond::Or,
            Node::And(_) => Bond::And,
            Node::Compare(..) | Node::In(..) => Bond::Compare,
            Node::Not(_) => Bond::Not,
            Node::Call(..) | Node::Bool(_) | Node::Int(_) | Node::Duration(_) | Node::Text(_) => {
                Bond::Whole
            }
        }
    }

    /// In parentheses, if it would fall apart without.
    fn write(&self, least: Bond, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bond() >= least {
            true => write!(f, "{self}"),
            false => write!(f, "({self})"),
        }
    }
}

/// The same, each with `between` before it but the first.
fn join(
    list: &[Expression],
    between: &str,
    least: Bond,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (index, one) in list.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        one.write(least, f)?;
    }
    Ok(())
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Or(list) => join(list, " || ", Bond::And, f),
            Node::And(list) => join(list, " && ", Bond::Compare, f),
            Node::Not(one) => {
                f.write_str("!")?;
                one.write(Bond::Not, f)
            }
            Node::Compare(left, comparison, right) => {
                left.write(Bond::Not, f)?;
                write!(f, " {} ", comparison.as_str())?;
                right.write(Bond::Not, f)
            }
            Node::In(one, list) => {
                one.write(Bond::Not, f)?;
                f.write_str(" in (")?;
                join(list, ", ", Bond::Or, f)?;
                f.write_str(")")
            }
            Node::Call(name, arguments) if arguments.is_empty() => f.write_str(name),
            Node::Call(name, arguments) => {
                write!(f, "{name}(")?;
                join(arguments, ", ", Bond::Or, f)?;
                f.write_str(")")
            }
            Node::Bool(is) => write!(f, "{is}"),
            Node::Int(number) => write!(f, "{number}"),
            Node::Duration(duration) => f.write_str(&duration::shown(*duration)),
            Node::Text(text) => f.write_str(&quoted(text)),
        }
    }
}

/// A string as rules have it: a quote within stands twice.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
