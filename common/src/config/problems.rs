//! What is wrong with a configuration: every problem, each with its file, line and key. What is only to be
//! warned of is told in the same way.
//!
//! Filled by `read` and by each daemon's own judgement, shown by whoever asked for the configuration.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::quoted;
use crate::bounded;

/// Octets of a configuration file: far more than anybody writes, far less than would hurt.
pub const LONGEST_TEXT: u64 = 256 << 20;

/// How much a problem weighs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Nobody can mean it: the configuration is refused.
    Problem,
    /// Somebody will be served worse than they could be.
    Warning,
    /// What it means for some, and likely is meant to.
    Note,
}

/// A file as it was read.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
    /// Byte offset at which each line begins.
    lines: Vec<usize>,
}

/// Where in a file something stands, and what the operator calls it.
#[derive(Clone, Debug)]
pub struct Spot {
    source: Arc<Source>,
    span: Range<usize>,
    /// Such as `service."www.example.com".sites[2]`; empty for a file as a whole.
    key: Box<str>,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    place: Place,
    key: Box<str>,
    message: String,
    severity: Severity,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Line { source: Arc<Source>, line: usize },
    Span { source: Arc<Source>, span: Range<usize> },
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
}

/// Whether shown lines carry terminal colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    Never,
    Always,
}

impl Problems {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Each problem with the line it stands on and a mark below it, as compilers print them.
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Never => Renderer::plain(),
            Colour::Always => Renderer::styled(),
        };
        let mut shown = String::new();
        for problem in &self.list {
            shown.push_str(&renderer.render(&[problem.report()]));
            shown.push_str("\n\n");
        }
        shown + &self.counted()
    }

    /// `2 problems`, or `1 warning, 3 notes`.
    fn counted(&self) -> String {
        let kinds = [
            (Severity::Problem, "problem"),
            (Severity::Warning, "warning"),
            (Severity::Note, "note"),
        ];
        let counts = kinds.iter().filter_map(|(severity, name)| match self.of(*severity).count() {
            0 => None,
            1 => Some(format!("1 {name}")),
            count => Some(format!("{count} {name}s")),
        });
        counts.collect::<Vec<_>>().join(", ")
    }

    /// Those of one weight.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(move |problem| problem.severity == severity)
    }

    pub fn add(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    pub fn add_all(&mut self, problems: Problems) {
        self.list.extend(problems.list);
    }

    /// Takes note of an error; `None` then says that it was told.
    pub fn one<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.add(problem)).ok()
    }

    /// The problems of one configuration file in the order of its lines, then those of the files
    /// it names as they were found.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|problem| match &problem.place {
            Place::Span { span, .. } => (0, span.start),
            Place::File(_) | Place::Line { .. } => (1, 0),
        });
    }

    /// What was checked, if nothing is wrong with it.
    pub fn or<T>(self, checked: Option<T>) -> Result<T, Problems> {
        match checked {
            Some(checked) if self.is_empty() => Ok(checked),
            Some(_) | None => {
                debug_assert!(!self.is_empty(), "what is missing was told of");
                Err(self)
            }
        }
    }
}

impl Problem {
    /// About a file as a whole.
    pub fn of_file(path: &Path, message: impl Into<String>) -> Problem {
        let place = Place::File(path.to_owned());
        Problem { place, key: "".into(), message: message.into(), severity: Severity::Problem }
    }

    /// About one line, counted from 1.
    pub fn of_line(source: &Arc<Source>, line: usize, message: impl Into<String>) -> Problem {
        let place = Place::Line { source: source.clone(), line };
        Problem { place, key: "".into(), message: message.into(), severity: Severity::Problem }
    }

    /// The same, weighing as much.
    pub fn weighing(self, severity: Severity) -> Problem {
        Problem { severity, ..self }
    }

    pub fn severity(&self) -> Severity {
        self.severity
    }

    fn report(&self) -> Group<'_> {
        let level = match self.severity {
            Severity::Problem => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let title = level.primary_title(self.message.as_str());
        let (source, line, span) = match &self.place {
            Place::File(path) => {
                return title.element(Origin::path(path.display().to_string()));
            }
            Place::Line { source, line } => (source, *line, None),
            Place::Span { source, span } => (source, source.line_of(span.start), Some(span)),
        };
        let path = source.path.display().to_string();
        // Only the lines marked: the rest of a large file is not for the renderer to walk.
        let start = source.start_of(line);
        let end = span.map_or(start, |span| span.end.min(source.text.len()));
        let end = source.text[end..].find('\n').map_or(source.text.len(), |length| end + length);
        let shown = &source.text[start..end];
        if shown.is_empty() {
            return title.element(Origin::path(path).line(line));
        }
        let mark = match span {
            Some(span) => span.start - start..(span.end.min(end) - start).max(span.start - start),
            None => 0..shown.trim_end().len(),
        };
        let mark = AnnotationKind::Primary.span(mark);
        let mark = if self.key.is_empty() { mark } else { mark.label(&*self.key) };
        title.element(Snippet::source(shown).line_start(line).path(path).annotation(mark))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "{}: ", path.display())?,
            Place::Line { source, line } => write!(f, "{}:{line}: ", source.path.display())?,
            Place::Span { source, span } => {
                write!(f, "{}:{}: ", source.path.display(), source.line_of(span.start))?;
            }
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// One line each.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Spot {
    /// Some part of a file that is no key's.
    pub fn at(source: Arc<Source>, span: Range<usize>) -> Spot {
        Spot { source, span, key: "".into() }
    }

    /// A key of this table, standing at `span`.
    pub fn key(&self, key: &str, span: Range<usize>) -> Spot {
        let dot = if self.key.is_empty() { "" } else { "." };
        let key = format!("{}{dot}{}", self.key, shown_key(key));
        Spot { source: self.source.clone(), span, key: key.into() }
    }

    /// An item of this list, counted from 0.
    pub fn item(&self, index: usize, span: Range<usize>) -> Spot {
        let key = format!("{}[{index}]", self.key);
        Spot { source: self.source.clone(), span, key: key.into() }
    }

    /// A part of the string that stands here, by octets of what it says; all of it if that cannot be told.
    pub fn part(&self, part: Range<usize>) -> Spot {
        let written = &self.source.text[self.span.clone()];
        let span = quoted::place(written, part)
            .map_or(self.span.clone(), |at| self.span.start + at.start..self.span.start + at.end);
        Spot { span, ..self.clone() }
    }

    /// That the same thing stands at both: told of the later one.
    pub fn twice(&self, other: &Spot, what: impl fmt::Display) -> Problem {
        let is_later = self.span.start > other.span.start;
        let (earlier, later) = if is_later { (other, self) } else { (self, other) };
        later.problem(format!("{what} is here twice, as {earlier} as well; remove one"))
    }

    pub fn problem(&self, message: impl Into<String>) -> Problem {
        let place = Place::Span { source: self.source.clone(), span: self.span.clone() };
        Problem {
            place,
            key: self.key.clone(),
            message: message.into(),
            severity: Severity::Problem,
        }
    }

    pub fn line(&self) -> usize {
        self.source.line_of(self.span.start)
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// A key as TOML wants it written: bare where that is possible.
fn shown_key(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { format!("{key:?}") }
}

impl Source {
    /// Reads a file of text; the error is the message without the path.
    pub fn read(path: &Path) -> Result<Arc<Source>, String> {
        let bytes = bounded::read_file(path, LONGEST_TEXT)
            .map_err(|error| format!("cannot be read: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
            format!("is not UTF-8: line {line} holds an octet that is no text")
        })?;
        Ok(Arc::new(Source::new(path, text)))
    }

    pub fn new(path: &Path, text: String) -> Source {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = [0].into_iter().chain(ends.map(|(at, _)| at + 1)).collect();
        Source { path: path.to_owned(), text, lines }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the heading or key that stands again at `offset` stands first, if it can be told from the text.
    pub fn first_of(&self, offset: usize) -> Option<String> {
        let line = self.line_of(offset);
        let shown = |line: usize| {
            let text = &self.text[self.start_of(line)..self.start_of(line + 1)];
            text.split('#').next().unwrap_or_default().trim()
        };
        let key = |text: &str| text.split('=').next().unwrap_or_default().trim().to_owned();
        let is_heading = |text: &str| text.starts_with('[');
        let again = shown(line);
        let mut before = (1..line).rev();
        let first = if is_heading(again) {
            before.find(|line| shown(*line) == again)
        } else {
            let mut within = before.take_while(|line| !is_heading(shown(*line)));
            within.find(|line| key(shown(*line)) == key(again))
        };
        first.map(|first| format!("the first is in line {first}"))
    }

    /// The number of the line that holds a byte offset, counted from 1.
    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// Where a line begins; the end of the text if it has no such line.
    fn start_of(&self, line: usize) -> usize {
        *line.checked_sub(1).and_then(|index| self.lines.get(index)).unwrap_or(&self.text.len())
    }
}
