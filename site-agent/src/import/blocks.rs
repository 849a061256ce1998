//! Statements, and those within them.

use super::lines::{Line, Token};
use super::{DEEPEST_BLOCK, Place, Unreadable};

/// A line's words up to a brace, and the block behind it if there is one.
#[derive(Debug)]
pub struct Statement {
    pub place: Place,
    /// At least one.
    words: Vec<String>,
    pub block: Option<Vec<Statement>>,
}

impl Statement {
    pub fn name(&self) -> &str {
        &self.words[0]
    }

    /// What stands behind its name.
    pub fn rest(&self) -> &[String] {
        &self.words[1..]
    }

    /// As people are shown it, with how much is in its block. A secret is not.
    pub fn shown(&self) -> String {
        let block = match self.block.as_deref().map(count) {
            None => String::new(),
            Some(1) => " { 1 statement }".to_owned(),
            Some(count) => format!(" {{ {count} statements }}"),
        };
        self.shown_words() + &block
    }

    pub fn shown_words(&self) -> String {
        let shown = match self.name() {
            "auth_pass" => 1,
            "key" => 2,
            _ => usize::MAX,
        };
        let quoted = |word: &String| match word.is_empty() || word.contains([' ', '\t']) {
            true => format!("\"{word}\""),
            false => word.clone(),
        };
        self.words.iter().take(shown).map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// With those inside of them: their blocks are as deep as is read at most.
fn count(statements: &[Statement]) -> usize {
    let inside = |said: &Statement| 1 + said.block.as_deref().map_or(0, count);
    statements.iter().map(inside).sum()
}

pub fn blocks(lines: Vec<Line>) -> Result<Vec<Statement>, Unreadable> {
    // Those of each block that is open, the innermost last; the first is the file.
    let mut open: Vec<Vec<Statement>> = vec![vec![]];
    for Line { place, tokens } in lines {
        let mut words = vec![];
        for token in tokens {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    end_statement(&mut words, &place, &mut open);
                    let opener = open.last().and_then(|block| block.last());
                    if opener.is_none_or(|opener| opener.block.is_some()) {
                        return Err(place.unreadable("a { without anything that it belongs to"));
                    }
                    if open.len() > DEEPEST_BLOCK {
                        let what = format!("more than {DEEPEST_BLOCK} blocks within each other");
                        return Err(place.unreadable(what));
                    }
                    open.push(vec![]);
                }
                Token::Close => {
                    end_statement(&mut words, &place, &mut open);
                    let block = open.pop();
                    let Some(opener) = open.last_mut().and_then(|block| block.last_mut()) else {
                        return Err(place.unreadable("a } without a { before it"));
                    };
                    opener.block = block;
                }
            }
        }
        end_statement(&mut words, &place, &mut open);
    }
    let whole = open.remove(0);
    match whole.last() {
        // Its block is not there yet, and those of others inside are not either.
        Some(opener) if !open.is_empty() => {
            let innermost = open.iter().rev().skip(1).find_map(|block| block.last());
            let opener = innermost.unwrap_or(opener);
            let opened = super::on_one_line(&opener.shown());
            Err(opener.place.unreadable(format!("the block of {opened} is not closed: add a }}")))
        }
        Some(_) | None => Ok(whole),
    }
}

fn end_statement(words: &mut Vec<String>, place: &Place, open: &mut [Vec<Statement>]) {
    if words.is_empty() {
        return;
    }
    let words = std::mem::take(words);
    if let Some(block) = open.last_mut() {
        block.push(Statement { place: place.clone(), words, block: None });
    }
}
