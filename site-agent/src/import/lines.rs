//! Lines as keepalived takes them: without comments, with definitions put in, those of other boxes left out, included
//! files in their places.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{
    ConfigId, DEEPEST_INCLUDE, Fate, File, LONGEST_LINE, MOST_FILES, MOST_LINES, MOST_OCTETS,
    MOST_SUBSTITUTIONS, Place, Remarks, Unreadable, on_one_line,
};

/// A line that says something.
pub struct Line {
    pub place: Place,
    pub tokens: Vec<Token>,
}

#[derive(Debug, Eq, PartialEq)]
pub enum Token {
    Word(String),
    Open,
    Close,
}

/// `include` and its variants, which differ in what keepalived says of files that are not there.
const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];

pub fn lines(
    path: &Path,
    octets: &[u8],
    config_id: ConfigId<'_>,
    included: &mut dyn FnMut(&Path) -> Vec<File>,
    remarks: &mut Remarks,
) -> Result<Vec<Line>, Unreadable> {
    // Those that keepalived has of itself, and that are the same everywhere.
    let usual = [("_HASH", Some("#")), ("_BANG", Some("!")), ("_INSTANCE", config_id)];
    let usual = usual.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into())));
    let definitions = usual.collect();
    let mut reader = Reader {
        config_id,
        included,
        remarks,
        definitions,
        is_within_definition: false,
        files: 0,
        octets: 0,
        count: 0,
        lines: vec![],
    };
    reader.file(path, octets, 0)?;
    Ok(reader.lines)
}

struct Reader<'r> {
    config_id: ConfigId<'r>,
    included: &'r mut dyn FnMut(&Path) -> Vec<File>,
    remarks: &'r mut Remarks,
    /// Values of one line, by name.
    definitions: BTreeMap<String, String>,
    /// The line before belonged to a definition and ended in a backslash.
    is_within_definition: bool,
    files: usize,
    octets: usize,
    count: usize,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, octets: &[u8], depth: usize) -> Result<(), Unreadable> {
        let file: Arc<str> = on_one_line(&path.to_string_lossy()).into();
        let mut place = Place { file, line: 1, order: self.count };
        self.files += 1;
        self.octets += octets.len();
        let limits = [
            (self.files, MOST_FILES, "files"),
            (self.octets, MOST_OCTETS, "octets of all files together"),
            (depth, DEEPEST_INCLUDE, "files within files: does one include itself?"),
        ];
        if let Some((_, most, what)) = limits.into_iter().find(|(count, most, _)| count > most) {
            return Err(place.unreadable(format!("more than {most} {what}")));
        }
        for (index, raw) in String::from_utf8_lossy(octets).lines().enumerate() {
            place.line = index + 1;
            place.order = self.count;
            self.count += 1;
            if self.count > MOST_LINES {
                return Err(place.unreadable(format!("more than {MOST_LINES} lines")));
            }
            self.line(&place, &uncommented(raw), path, depth)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        place: &Place,
        line: &str,
        path: &Path,
        depth: usize,
    ) -> Result<(), Unreadable> {
        short_enough(line, place)?;
        if self.is_within_definition {
            // It was told of where it began.
            self.is_within_definition = line.ends_with('\\');
            return Ok(());
        }
        let Some(line) = self.for_us(line, place)? else { return Ok(()) };
        if let Some((name, value)) = definition(line) {
            self.define(place, name, value);
            return Ok(());
        }
        if line.starts_with('~') {
            let why = "lines that stand for many are not read: write them out";
            self.remarks.add(place, Fate::Lost, line, why);
            return Ok(());
        }
        let line = self.substituted(line, place)?;
        let Some(line) = self.for_us(&line, place)? else { return Ok(()) };
        let Some(tokens) = tokens(line) else {
            return Err(place.unreadable("a quote begins here and does not end in its line"));
        };
        match &tokens[..] {
            [] => Ok(()),
            [Token::Word(word), Token::Word(pattern)] if INCLUDES.contains(&word.as_str()) => {
                self.include(place, line, pattern, path, depth)
            }
            // A brace keeps it from being two words.
            [Token::Word(word), ..] if INCLUDES.contains(&word.as_str()) => {
                let why =
                    "expected one pattern of files, without braces: write an include for each";
                self.remarks.add(place, Fate::Lost, line, why);
                Ok(())
            }
            _ => {
                self.lines.push(Line { place: place.clone(), tokens });
                Ok(())
            }
        }
    }

    /// What a line says to the box in question. `None` where it is for others.
    fn for_us<'l>(&self, line: &'l str, place: &Place) -> Result<Option<&'l str>, Unreadable> {
        let Some(condition) = line.strip_prefix('@') else { return Ok(Some(line)) };
        let (is_for_others, condition) = match condition.strip_prefix('^') {
            Some(condition) => (true, condition),
            None => (false, condition),
        };
        let Some((name, rest)) = condition.split_once(is_blank) else { return Ok(None) };
        let Some(config_id) = self.config_id else {
            return Err(place.unreadable(format!(
                "a line of some boxes alone (@{}): say which box this is, such as --config-id {}",
                on_one_line(name),
                on_one_line(name)
            )));
        };
        let is_for_us = (name == config_id) != is_for_others;
        Ok(is_for_us.then(|| rest.trim_start_matches(is_blank)))
    }

    fn define(&mut self, place: &Place, name: &str, value: &str) {
        if value.ends_with('\\') {
            self.is_within_definition = true;
            self.definitions.remove(name);
            let why =
                "a definition of several lines is not read: write them out wherever it is used";
            self.remarks.add(place, Fate::Lost, &format!("${name}="), why);
        } else {
            self.definitions.insert(name.to_owned(), value.to_owned());
        }
    }

    /// With values for what is defined; what is not stays, as keepalived has it.
    fn substituted(&self, line: &str, place: &Place) -> Result<String, Unreadable> {
        let (mut line, mut from, mut times) = (line.to_owned(), 0, 0);
        while let Some(found) = line[from..].find('$') {
            let start = from + found;
            let defined = reference(&line[start..])
                .and_then(|(name, length)| Some((self.definitions.get(name)?, length)));
            let Some((value, length)) = defined else {
                from = start + 1;
                continue;
            };
            // Again from where it stood: a value may name another.
            line.replace_range(start..start + length, value);
            from = start;
            times += 1;
            if times > MOST_SUBSTITUTIONS {
                return Err(place.unreadable(format!(
                    "more than {MOST_SUBSTITUTIONS} definitions in a line: does one name itself?"
                )));
            }
            short_enough(&line, place)?;
        }
        Ok(line)
    }

    fn include(
        &mut self,
        place: &Place,
        line: &str,
        pattern: &str,
        path: &Path,
        depth: usize,
    ) -> Result<(), Unreadable> {
        // A path starts from the folder of the file that it stands in.
        let pattern = path.parent().unwrap_or(Path::new("")).join(pattern);
        let files = (self.included)(&pattern);
        if files.is_empty() {
            self.remarks.add(place, Fate::Lost, line, "there is no such file");
        }
        for File { path, octets } in files {
            match octets {
                Ok(octets) => self.file(&path, &octets, depth + 1)?,
                Err(why) => {
                    self.remarks.add(place, Fate::Lost, line, format!("{}: {why}", path.display()));
                }
            }
        }
        Ok(())
    }
}

fn short_enough(line: &str, place: &Place) -> Result<(), Unreadable> {
    match line.len() {
        0..=LONGEST_LINE => Ok(()),
        length => Err(place.unreadable(format!(
            "a line of {length} octets; keepalived reads {LONGEST_LINE} at most"
        ))),
    }
}

/// keepalived's white space, which no other alphabet has a part in.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\u{b}' | '\u{c}' | '\r')
}

/// Without what stands behind `!` or `#`, which begin a comment anywhere but in quotes and behind a backslash.
fn uncommented(raw: &str) -> String {
    let (mut line, mut is_quoted) = (String::new(), false);
    let mut letters = raw.trim_start_matches(is_blank).chars();
    while let Some(letter) = letters.next() {
        match letter {
            '!' | '#' if !is_quoted => break,
            '\\' => match letters.next() {
                Some(mark @ ('!' | '#')) if !is_quoted => line.push(mark),
                Some(next) => line.extend(['\\', next]),
                None => line.push('\\'),
            },
            '"' => {
                is_quoted = !is_quoted;
                line.push('"');
            }
            _ => line.push(letter),
        }
    }
    let said = line.trim_end_matches(is_blank);
    // A definition goes on behind a comment as well.
    let goes_on = raw.ends_with('\\') && !said.ends_with('\\');
    format!("{said}{}", if goes_on { "\\" } else { "" })
}

/// `$NAME=VALUE`.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    is_name(name).then(|| (name, value.trim_start_matches(is_blank)))
}

/// The name in a `$NAME` or `${NAME}` at the beginning, and how long that is.
fn reference(text: &str) -> Option<(&str, usize)> {
    let rest = text.strip_prefix('$')?;
    if let Some(braced) = rest.strip_prefix('{') {
        let (name, _) = braced.split_once('}')?;
        return is_name(name).then_some((name, name.len() + 3));
    }
    let ends = |letter: char| is_blank(letter) || matches!(letter, ',' | ')');
    let name = rest.split(ends).next()?;
    is_name(name).then_some((name, name.len() + 1))
}

fn is_name(text: &str) -> bool {
    let is_part = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    text.bytes().all(is_part)
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
}

/// `None` if a quote does not end. A brace stands for itself wherever it is, but in quotes and in `${NAME}`.
fn tokens(line: &str) -> Option<Vec<Token>> {
    let (mut tokens, mut word): (Vec<Token>, Option<String>) = (vec![], None);
    let mut letters = line.chars().peekable();
    let mut is_quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek() == Some(&'"') => {
                letters.next();
                word.get_or_insert_default().push('"');
            }
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            _ if is_quoted => word.get_or_insert_default().push(letter),
            '$' if letters.peek() == Some(&'{') => {
                let word = word.get_or_insert_default();
                word.push('$');
                for inside in letters.by_ref() {
                    word.push(inside);
                    if inside == '}' {
                        break;
                    }
                }
            }
            '{' | '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if letter == '{' { Token::Open } else { Token::Close });
            }
            _ if is_blank(letter) => tokens.extend(word.take().map(Token::Word)),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    tokens.extend(word.map(Token::Word));
    (!is_quoted).then_some(tokens)
}
