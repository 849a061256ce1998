//! Carries out $ORIGIN, $TTL, $INCLUDE and $GENERATE.
//!
//! Beside `entry`, whose `Reader` it steers. Opens files only through the `open` given there.

use std::path::{Path, PathBuf};

use super::entry::{Head, Reader, Scope, head};
use super::generate::{self, Range, Template};
use super::lexer::{Form, Lexer, Token};
use super::words::{Fault, Words};
use super::{Place, ttl};

impl Reader<'_> {
    pub fn directive(
        &mut self,
        directive: Token<'_>,
        words: Words<'_>,
        place: Place,
        scope: &mut Scope,
    ) -> Result<(), Fault> {
        let is = |name: &str| directive.text.eq_ignore_ascii_case(name.as_bytes());
        if is("$ORIGIN") {
            origin(words, scope).map_err(|fault| fault.within("$ORIGIN"))
        } else if is("$TTL") {
            self.default_ttl(words).map_err(|fault| fault.within("$TTL"))
        } else if is("$INCLUDE") {
            self.include(words, scope).map_err(|fault| fault.within("$INCLUDE"))
        } else if is("$GENERATE") {
            self.generate(words, place, scope).map_err(|fault| fault.within("$GENERATE"))
        } else {
            Err(directive.fault(format!(
                "{} is not a directive (known: $ORIGIN, $TTL, $INCLUDE, $GENERATE); a name is written with \\$",
                directive.shown()
            )))
        }
    }

    fn default_ttl(&mut self, mut words: Words<'_>) -> Result<(), Fault> {
        let ttl = ttl::seconds(words.bare(ttl::EXPECTED)?, ttl::MAX_TTL)?;
        words.end()?;
        self.ttls.default = Some(ttl);
        Ok(())
    }

    fn include(&mut self, mut words: Words<'_>, scope: &Scope) -> Result<(), Fault> {
        let token = words.any("a file name")?;
        let origin = match words.peek() {
            Some(_) => words.name(&scope.origin, "an origin")?,
            None => scope.origin.clone(),
        };
        words.end()?;

        let mut name = Vec::new();
        token.unescape(&mut name)?;
        let name = String::from_utf8(name).map_err(|_| token.is_not("a file name in UTF-8"))?;
        let including = self.open_files.last().and_then(|file| file.parent());
        let path = including.unwrap_or(Path::new("")).join(name);
        if self.open_files.contains(&path) {
            let shown = |file: &PathBuf| file.display().to_string();
            let chain: Vec<String> = self.open_files.iter().chain([&path]).map(shown).collect();
            return Err(
                token.fault(format!("the file includes itself: {}", chain.join(" includes ")))
            );
        }
        if self.open_files.len() > self.limits.depth {
            return Err(token.fault(format!(
                "{} is included by {} files one in another, and no more than {} may be",
                token.shown(),
                self.open_files.len(),
                self.limits.depth
            )));
        }
        let text = (self.open)(&path)
            .map_err(|error| token.fault(format!("{} cannot be read: {error}", path.display())))?;
        self.file(path, text, Scope { origin, owner: scope.owner.clone() })
            .map_err(|fault| token.fault(fault.message))
    }

    fn generate(&mut self, mut words: Words<'_>, place: Place, scope: &Scope) -> Result<(), Fault> {
        let range = Range::read(words.bare(generate::RANGE)?, self.limits.generated)?;
        let owners = words.bare("an owner name")?;
        let owners = Template::parse(owners.text).map_err(|message| owners.fault(message))?;
        let head = head(&mut words)?;
        let data = Template::parse(&generate::right_side(words.rest()))
            .map_err(|message| Fault { line: place.line, message })?;

        let (mut owner, mut line) = (Vec::new(), Vec::new());
        for number in range.numbers() {
            owner.clear();
            line.clear();
            let expanded =
                owners.expand(number, &mut owner).and_then(|()| data.expand(number, &mut line));
            let made = expanded
                .map_err(|message| Fault { line: place.line, message })
                .and_then(|()| self.generated(&owner, &line, &head, place, scope));
            // One faulty line made of a template tells all of them.
            made.map_err(|fault| Fault {
                line: place.line,
                ..fault.within(format_args!("at {number}"))
            })?;
        }
        Ok(())
    }

    fn generated(
        &mut self,
        owner: &[u8],
        line: &[u8],
        head: &Head,
        place: Place,
        scope: &Scope,
    ) -> Result<(), Fault> {
        self.spend(owner.len() + line.len(), place.line)?;
        let mut tokens = Vec::new();
        // Data may be empty (APL), and then there is no entry to cut.
        if let Some(cut) = Lexer::new(line, place.line, self.limits.entry).entry(&mut tokens) {
            cut?;
        }
        let token = Token { text: owner, form: Form::Bare, line: place.line };
        let owner = Words::new(&[token]).name(&scope.origin, "an owner name")?;
        self.keep(owner, head, Words::new(&tokens), place, &scope.origin)
    }
}

fn origin(mut words: Words<'_>, scope: &mut Scope) -> Result<(), Fault> {
    let origin = words.name(&scope.origin, "a domain name")?;
    words.end()?;
    scope.origin = origin;
    Ok(())
}
