//! How it ended, as closed sets: who had the first word in that, and what was under way (HAProxy's manual, 8.5).

macro_rules! letters {
    ($(#[$doc:meta])* $name:ident: $($(#[$of:meta])* $variant:ident $letter:literal $word:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// In HAProxy's lines.
            pub fn letter(self) -> u8 {
                match self { $(Self::$variant => $letter,)* }
            }

            /// In ours, and as a metric's label.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

letters! {
    /// Who ended it, or why nobody went on.
    Cause:
    /// The client went away.
    ClientAbort b'C' "client-abort";
    ClientTimeout b'c' "client-timeout";
    /// The server refused or went away.
    ServerAbort b'S' "server-abort";
    ServerTimeout b's' "server-timeout";
    /// A rule denied it, or what came was not to be passed on.
    Proxy b'P' "proxy";
    /// Answered here, as it was to be: a redirect, a page of our own.
    Local b'L' "local";
    /// Something that we have too little of.
    Resource b'R' "resource";
    Internal b'I' "internal";
    /// The server went down under it.
    Down b'D' "down";
    /// A server that is preferred came up again.
    Up b'U' "up";
    /// By an operator.
    Killed b'K' "killed";
}

letters! {
    /// What was under way.
    Phase:
    /// The client was to send the request.
    Request b'R' "request";
    Queue b'Q' "queue";
    Connect b'C' "connect";
    /// The server was to send its response's head, be the request still on its way.
    Response b'H' "response";
    Data b'D' "data";
    /// The server had sent all, the client was still to be told.
    Last b'L' "last-data";
    Tarpit b'T' "tarpit";
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Both sides have said all.
    Complete,
    Cut(Cause, Phase),
}

impl End {
    pub fn cause(self) -> Option<Cause> {
        match self {
            End::Complete => None,
            End::Cut(cause, _) => Some(cause),
        }
    }

    pub fn phase(self) -> Option<Phase> {
        match self {
            End::Complete => None,
            End::Cut(_, phase) => Some(phase),
        }
    }

    /// The first two of HAProxy's letters; all of tcp's.
    pub fn letters(self) -> [u8; 2] {
        match self {
            End::Complete => *b"--",
            End::Cut(cause, phase) => [cause.letter(), phase.letter()],
        }
    }
}
