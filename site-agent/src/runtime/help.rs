//! The commands that there are, as HAProxy lists its own.

use crate::site::Level;

struct Entry {
    words: &'static [&'static str],
    shown: &'static str,
    about: &'static str,
    level: Level,
}

const fn entry(
    level: Level,
    words: &'static [&'static str],
    shown: &'static str,
    about: &'static str,
) -> Entry {
    Entry { words, shown, about, level }
}

use Level::{Admin, User};

const ALL: [Entry; 14] = [
    entry(
        Admin,
        &["disable", "server"],
        "disable server (DEPRECATED)",
        "disable a server (use 'set server' instead)",
    ),
    entry(
        Admin,
        &["enable", "server"],
        "enable server  (DEPRECATED)",
        "enable a disabled server (use 'set server' instead)",
    ),
    entry(User, &["get", "weight"], "get weight <bk>/<srv>", "report a server's current weight"),
    entry(
        Admin,
        &["set", "maxconn", "server"],
        "set maxconn server <bk>/<srv>",
        "change a server's maxconn setting",
    ),
    entry(
        Admin,
        &["set", "server"],
        "set server <bk>/<srv> [opts]",
        "change a server's state, health, agent or weight",
    ),
    entry(
        Admin,
        &["set", "weight"],
        "set weight <bk>/<srv>  (DEPRECATED)",
        "change a server's weight (use 'set server' instead)",
    ),
    entry(
        User,
        &["show", "backend"],
        "show backend",
        "list backends in the current running config",
    ),
    entry(User, &["show", "info"], "show info", "report information about the running process"),
    entry(
        User,
        &["show", "servers", "state"],
        "show servers state [<backend>]",
        "dump volatile server information (all or for a single backend)",
    ),
    entry(
        User,
        &["show", "stat"],
        "show stat [<id> <type> <sid>] [up|no-maint]",
        "report counters for each proxy and server",
    ),
    entry(User, &["show", "version"], "show version", "report the version of this process"),
    entry(User, &["help"], "help [<command>]", "list matching or all commands"),
    entry(User, &["prompt"], "prompt", "toggle interactive mode with prompt"),
    entry(User, &["quit"], "quit", "disconnect"),
];

/// Those that begin with these words, or all if none does.
pub fn help(words: &[String], level: Level) -> String {
    listed("The following commands are valid at this level:", words, level)
}

/// The answer to what is no command.
pub fn unknown(words: &[String], level: Level) -> String {
    let title = match matching(words, level).next() {
        Some(_) if !words.is_empty() => {
            "Unknown command, but maybe one of the following ones is a better match:"
        }
        _ => "Unknown command. Please enter one of the following commands only:",
    };
    listed(title, words, level)
}

fn listed(title: &str, words: &[String], level: Level) -> String {
    let mut text = format!("{title}\n");
    let line = |entry: &Entry| format!("  {:<40}: {}\n", entry.shown, entry.about);
    let found: String = matching(words, level).map(line).collect();
    match found.is_empty() {
        true => text.extend(allowed(level).map(line)),
        false => text += &found,
    }
    text
}

fn allowed(level: Level) -> impl Iterator<Item = &'static Entry> {
    ALL.iter().filter(move |entry| entry.level <= level)
}

/// With as many of the first words as any has.
fn matching(words: &[String], level: Level) -> impl Iterator<Item = &'static Entry> {
    let alike = |entry: &Entry| {
        entry.words.iter().zip(words).take_while(|(ours, theirs)| **ours == theirs.as_str()).count()
    };
    let most = allowed(level).map(alike).max().unwrap_or_default();
    let words = words.to_vec();
    allowed(level).filter(move |entry| {
        let alike = entry.words.iter().zip(&words);
        most > 0 && alike.take_while(|(ours, theirs)| **ours == theirs.as_str()).count() == most
    })
}
