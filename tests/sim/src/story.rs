//! What happened, a line each, for whoever has to understand it. Nothing is written unless it is asked for.

use std::fmt::{Arguments, Write as _};
use std::time::Duration;

use crate::clock::BEGINNING;

#[derive(Debug, Default)]
pub struct Story {
    text: Option<String>,
}

impl Story {
    pub fn told() -> Story {
        Story { text: Some(String::new()) }
    }

    pub fn is_told(&self) -> bool {
        self.text.is_some()
    }

    /// `line` says who, then what.
    pub fn tell(&mut self, now: Duration, line: Arguments<'_>) {
        let Some(text) = &mut self.text else { return };
        let at = now.saturating_sub(BEGINNING);
        writeln!(text, "{:>4}.{:03} {line}", at.as_secs(), at.subsec_millis())
            .expect("a string takes all that is written");
    }

    pub fn text(self) -> String {
        self.text.unwrap_or_default()
    }
}

/// A line of the story, whose words are made only if it is told.
#[macro_export]
macro_rules! tell {
    ($out:expr, $($words:tt)*) => {
        if $out.story.is_told() {
            let now = $out.queue.now();
            $out.story.tell(now, format_args!($($words)*));
        }
    };
}
