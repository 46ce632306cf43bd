//! The answers to requests that are not served, ready to be sent.
//!
//! Only what the protocol refuses is here; the page for paths that are not found belongs to the
//! site and comes from its image.

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request line or a line end is malformed.
    RequestLine,
    /// A field line is malformed.
    FieldLine,
    /// Host is missing, there twice, or malformed (RFC 9112 §3.2).
    Host,
    /// The target names no path.
    Target,
    /// The length of the content is not clear (RFC 9112 §6.3).
    Framing,
    /// The content is in a transfer coding other than chunked.
    TransferCoding,
    /// The method is not one that HTTP defines.
    UnknownMethod,
    /// The method is known but not served.
    MethodNotAllowed,
    /// The request line is too long.
    TargetTooLong,
    /// The field lines are too many or too long together.
    FieldsTooLarge,
    /// Not HTTP/1.0 or HTTP/1.1.
    Version,
}

/// A prepared answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreparedAnswer {
    /// The status code.
    pub status: u16,
    /// Status line and field lines; Date and the blank line are missing.
    pub head: &'static [u8],
    /// The body.
    pub body: &'static [u8],
}

/// Makes a prepared answer whose body is its status in words; the length is checked in a test.
macro_rules! prepared {
    ($status:literal, $text:literal, $length:literal $(, $field:literal)?) => {
        PreparedAnswer {
            status: $status,
            head: concat!(
                "HTTP/1.1 ", $status, " ", $text, "\r\n",
                "Server: sluice\r\n",
                "Content-Type: text/plain; charset=utf-8\r\n",
                "Content-Length: ", $length, "\r\n",
                "Cache-Control: no-store\r\n",
                "X-Content-Type-Options: nosniff\r\n",
                $($field, "\r\n",)?
            )
            .as_bytes(),
            body: concat!($status, " ", $text, "\n").as_bytes(),
        }
    };
}

static BAD_REQUEST: PreparedAnswer = prepared!(400, "Bad Request", 16);
static METHOD_NOT_ALLOWED: PreparedAnswer =
    prepared!(405, "Method Not Allowed", 23, "Allow: GET, HEAD");
static URI_TOO_LONG: PreparedAnswer = prepared!(414, "URI Too Long", 17);
static FIELDS_TOO_LARGE: PreparedAnswer = prepared!(431, "Request Header Fields Too Large", 36);
static NOT_IMPLEMENTED: PreparedAnswer = prepared!(501, "Not Implemented", 20);
static VERSION_NOT_SUPPORTED: PreparedAnswer = prepared!(505, "HTTP Version Not Supported", 31);

impl Refusal {
    /// Every reason.
    pub const ALL: [Refusal; 11] = [
        Refusal::RequestLine,
        Refusal::FieldLine,
        Refusal::Host,
        Refusal::Target,
        Refusal::Framing,
        Refusal::TransferCoding,
        Refusal::UnknownMethod,
        Refusal::MethodNotAllowed,
        Refusal::TargetTooLong,
        Refusal::FieldsTooLarge,
        Refusal::Version,
    ];

    /// Returns the answer.
    pub fn answer(self) -> &'static PreparedAnswer {
        match self {
            Refusal::RequestLine
            | Refusal::FieldLine
            | Refusal::Host
            | Refusal::Target
            | Refusal::Framing => &BAD_REQUEST,
            Refusal::MethodNotAllowed => &METHOD_NOT_ALLOWED,
            Refusal::TargetTooLong => &URI_TOO_LONG,
            Refusal::FieldsTooLarge => &FIELDS_TOO_LARGE,
            Refusal::TransferCoding | Refusal::UnknownMethod => &NOT_IMPLEMENTED,
            Refusal::Version => &VERSION_NOT_SUPPORTED,
        }
    }

    /// Returns the name of the counter for this reason.
    pub const fn counter_name(self) -> &'static str {
        match self {
            Refusal::RequestLine => "refused_request_line",
            Refusal::FieldLine => "refused_field_line",
            Refusal::Host => "refused_host",
            Refusal::Target => "refused_target",
            Refusal::Framing => "refused_framing",
            Refusal::TransferCoding => "refused_transfer_coding",
            Refusal::UnknownMethod => "refused_unknown_method",
            Refusal::MethodNotAllowed => "refused_method_not_allowed",
            Refusal::TargetTooLong => "refused_target_too_long",
            Refusal::FieldsTooLarge => "refused_fields_too_large",
            Refusal::Version => "refused_version",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_answers_state_their_own_length() {
        for refusal in Refusal::ALL {
            let answer = refusal.answer();
            let head = core::str::from_utf8(answer.head).unwrap();
            let length = std::format!("\r\nContent-Length: {}\r\n", answer.body.len());
            assert!(head.contains(&length), "{head}");
            assert!(head.starts_with(&std::format!("HTTP/1.1 {} ", answer.status)));
            assert!(head.ends_with("\r\n") && !head.ends_with("\r\n\r\n"));
            assert_eq!(
                head.contains("\r\nAllow: GET, HEAD\r\n"),
                answer.status == 405
            );
        }
    }

    #[test]
    fn every_reason_is_listed_once_and_in_order() {
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place);
        }
    }
}
