//! The names of fields that mean something to a proxy.

macro_rules! known {
    ($($variant:ident $name:literal;)*) => {
        /// A field's name, if it means something to us.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Known {
            $($variant,)*
            /// What a gateway that writes `-` as `_` could take for a field that frames the body.
            LookAlike,
            Other,
        }

        impl Known {
            pub fn of(name: &[u8]) -> Self {
                // The length parts most of them before an octet is compared.
                $(if name.len() == $name.len() && name.eq_ignore_ascii_case($name) {
                    return Self::$variant;
                })*
                if looks_like_framing(name) { Self::LookAlike } else { Self::Other }
            }

            /// A bit of its own, for a set of what a head has.
            pub(super) fn bit(self) -> u16 {
                1 << self as u8
            }
        }
    };
}

known! {
    Host b"Host";
    ContentLength b"Content-Length";
    TransferEncoding b"Transfer-Encoding";
    Connection b"Connection";
    KeepAlive b"Keep-Alive";
    ProxyConnection b"Proxy-Connection";
    Te b"TE";
    Upgrade b"Upgrade";
    Http2Settings b"HTTP2-Settings";
    Expect b"Expect";
    Cookie b"Cookie";
}

fn looks_like_framing(name: &[u8]) -> bool {
    let is_like = |framing: &[u8]| {
        name.len() == framing.len()
            && name.iter().zip(framing).all(|(octet, framing)| {
                octet.eq_ignore_ascii_case(framing) || (*octet == b'_' && *framing == b'-')
            })
    };
    is_like(b"content-length") || is_like(b"transfer-encoding")
}

/// Fields that a sender cannot take away by naming them in Connection: who is asked for, what the body is, whom
/// the request is from, and who may ask. To leave them out would be to change the message for whoever reads it
/// next (RFC 9110 §7.6.1 has Connection name what is for one connection only).
pub fn is_end_to_end(name: &[u8]) -> bool {
    const END_TO_END: [&[u8]; 24] = [
        b"accept",
        b"age",
        b"authorization",
        b"cache-control",
        b"cookie",
        b"date",
        b"etag",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"location",
        b"origin",
        b"pragma",
        b"proxy-authorization",
        b"range",
        b"referer",
        b"set-cookie",
        b"strict-transport-security",
        b"user-agent",
        b"vary",
        b"via",
        b"www-authenticate",
        b"x-real-ip",
    ];
    const KINDS: [&[u8]; 5] =
        [b"content-", b"x-forwarded-", b"if-", b"access-control-", b"transfer-"];
    END_TO_END.iter().any(|field| name.eq_ignore_ascii_case(field))
        || KINDS.iter().any(|kind| {
            name.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
        })
}

/// Fields that have no business behind a body: they frame it, lead it, say who may ask, or what it is
/// (RFC 9110 §6.5.1).
pub fn is_forbidden_in_trailers(name: &[u8]) -> bool {
    const FORBIDDEN: [&[u8]; 15] = [
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"max-forwards",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-connection",
        b"retry-after",
        b"te",
        b"trailer",
        b"upgrade",
        b"warning",
        b"authentication-info",
        b"x-http-method-override",
        b"x-original-url",
    ];
    // gRPC and others do send an ETag or a Date with what they know at the end; nobody is led by them.
    is_end_to_end(name)
        && ![&b"etag"[..], b"date"].iter().any(|known| name.eq_ignore_ascii_case(known))
        || FORBIDDEN.iter().any(|field| name.eq_ignore_ascii_case(field))
}
