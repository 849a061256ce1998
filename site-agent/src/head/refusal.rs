//! Why a message is refused: a closed set, each with the status a client gets and the word that the log has.

/// Whose message it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    Client,
    Server,
}

macro_rules! refusals {
    ($($variant:ident $status:literal $word:literal $text:literal;)*) => {
        /// Why a message is refused. The words are stable: they are in logs, and may be metric labels.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
        pub enum Refusal {
            $(#[error($text)] $variant,)*
        }

        impl Refusal {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word for the log.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What the client is told if its request is refused for this.
            fn status_of_request(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }
        }
    };
}

refusals! {
    // Lines.
    BareLf 400 "bare-lf" "a line ends with LF alone, not CR LF";
    BareCr 400 "bare-cr" "a CR stands within a line";
    Nul 400 "nul" "a NUL stands within a line";
    Control 400 "control-octet" "a control octet stands within a line";
    EmptyLine 400 "empty-line" "more than one empty line stands before the first";
    NotHttp 400 "not-http" "the first octet is of no method or status line";
    HeadTooLong 431 "head-too-long" "the head has more octets than are allowed";
    TooManyFields 431 "too-many-fields" "the head has more fields than are allowed";
    // The request line.
    RequestLine 400 "request-line" "the request line is not method, target and version with one space between";
    Method 400 "method" "the method is no token";
    MethodTooLong 501 "method-too-long" "the method is longer than any that is known";
    Http09 505 "http-0.9" "the request line has no version";
    Version 505 "version" "the version is neither HTTP/1.0 nor HTTP/1.1";
    VersionMalformed 400 "version-malformed" "the version is not HTTP/digit.digit";
    Target 400 "target" "the target is none that the method can have";
    TargetOctet 400 "target-octet" "the target has an octet that no target has";
    TargetTooLong 414 "target-too-long" "the target has more octets than are allowed";
    Fragment 400 "fragment" "the target has a fragment";
    Authority 400 "authority" "the target's authority is malformed";
    Userinfo 400 "userinfo" "the authority has a user";
    // The status line.
    StatusLine 400 "status-line" "the status line is not version, three digits and a reason";
    // Fields.
    LeadingSpace 400 "leading-space" "a space stands before the first field";
    ObsFold 400 "obs-fold" "a field goes on in a second line";
    FieldName 400 "field-name" "a field's name is no token";
    EmptyName 400 "empty-name" "a field has no name";
    SpaceBeforeColon 400 "space-before-colon" "a space stands between a field's name and its colon";
    NoColon 400 "no-colon" "a line of the head has no colon";
    FramingLookAlike 400 "framing-look-alike" "a field's name can be taken for one that frames the body";
    TooManyOptions 400 "too-many-connection-options" "Connection has more options than are allowed";
    // Whom it is for.
    NoHost 400 "no-host" "there is no Host";
    ManyHosts 400 "many-hosts" "there is more than one Host";
    Host 400 "host" "Host is malformed";
    HostDiffers 400 "host-differs" "Host is not the target's authority";
    // The body.
    ContentLength 400 "content-length" "Content-Length is not one decimal number";
    ContentLengthTooBig 400 "content-length-overflow" "Content-Length is greater than any length";
    ManyContentLengths 400 "many-content-lengths" "there is more than one Content-Length";
    LengthAndCoding 400 "content-length-and-transfer-encoding" "there are both Content-Length and Transfer-Encoding";
    TransferEncoding 400 "transfer-encoding" "Transfer-Encoding is malformed, or chunked is not the last and only once";
    UnknownCoding 501 "unknown-transfer-coding" "Transfer-Encoding has another coding than chunked";
    ManyTransferEncodings 400 "many-transfer-encodings" "there is more than one Transfer-Encoding";
    CodingInHttp10 400 "transfer-encoding-in-http-1.0" "HTTP/1.0 has no Transfer-Encoding";
    LengthDiffers 400 "content-length-differs" "Content-Length is not the body's";
    BodyTooLong 413 "body-too-long" "the body has more octets than are allowed";
    Expectation 417 "expectation" "Expect is not 100-continue";
    UnaskedUpgrade 400 "unasked-upgrade" "the protocol is changed, which nobody asked for";
    ChunkSize 400 "chunk-size" "a chunk's size is not hexadecimal digits";
    ChunkSizeTooBig 400 "chunk-size-overflow" "a chunk's size has too many digits";
    ChunkExtension 400 "chunk-extension" "a chunk's extension has a control octet";
    ChunkExtensionTooLong 400 "chunk-extension-too-long" "chunk extensions have more octets than are allowed";
    ChunkEnd 400 "chunk-end" "a chunk does not end where its size says";
    TrailersTooLong 431 "trailers-too-long" "the trailers have more octets than are allowed";
    TooManyTrailers 431 "too-many-trailers" "there are more trailers than are allowed";
    // Between HTTP/2 and HTTP/1.
    ConnectionField 400 "connection-field" "HTTP/2 has no fields that are for one connection";
    NotInHttp2 501 "not-in-http-2" "HTTP/2 cannot say this";
    FieldValue 400 "field-value" "a field's value has an octet that HTTP/1 has not";
}

impl Refusal {
    /// What the client is told: what it did wrong, or that the server did.
    pub fn status(self, from: Peer) -> u16 {
        match from {
            Peer::Client => self.status_of_request(),
            Peer::Server => 502,
        }
    }
}
