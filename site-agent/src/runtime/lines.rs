//! Lines of what an operator says, and the commands of one.

/// Octets of a line without its end: as much as HAProxy's buffer holds. The longest command has some two hundred.
pub const LONGEST_LINE: usize = 16 << 10;

/// What has been said so far. Holds one line at most and what has come behind it.
#[derive(Debug, Default)]
pub struct Lines {
    octets: Vec<u8>,
    /// Of the line that is not over yet more has come than there may: what comes of it is forgotten.
    is_too_long: bool,
}

/// A line was longer than it may be: nothing of it is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong;

impl Lines {
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.octets.len()
    }

    /// Whether a whole line is there already.
    pub fn has_more(&self) -> bool {
        self.octets.contains(&b'\n')
    }

    /// The next line that is whole, without its end. One whose end has not come is no line: it may be half an order.
    pub fn line(&mut self) -> Option<Result<String, TooLong>> {
        let Some(end) = self.octets.iter().position(|octet| *octet == b'\n') else {
            if self.octets.len() > LONGEST_LINE {
                self.is_too_long = true;
            }
            if self.is_too_long {
                self.octets.clear();
            }
            return None;
        };
        let line: Vec<u8> = self.octets.drain(..=end).take(end).collect();
        if std::mem::take(&mut self.is_too_long) || line.len() > LONGEST_LINE {
            return Some(Err(TooLong));
        }
        Some(Ok(String::from_utf8_lossy(&line).into_owned()))
    }
}

/// The commands of a line, parted by `;`, each as its words. A backslash takes what follows as it is.
pub fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (vec![], vec![], None);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.get_or_insert_with(String::new).extend(letters.next()),
            ';' => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            ' ' | '\t' | '\r' => words.extend(word.take()),
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    commands.push(words);
    commands
}
