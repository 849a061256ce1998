//! What the crate promises, seen from outside: MaxMind's own files, built databases, the tool.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod atlas;
mod build;
mod command;
mod dice;
mod files;
mod ranges;
mod sources;
mod tor;
mod worlds;
