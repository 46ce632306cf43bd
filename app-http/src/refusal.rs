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
    /// Expect has something other than 100-continue (RFC 9110 §10.1.1).
    Expectation,
    /// The request did not come in time.
    Timeout,
}

/// A prepared answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreparedAnswer {
    /// The status code.
    pub status: u16,
    /// The status line with its line end.
    pub status_line: &'static [u8],
    /// Field lines but Date and Connection, the blank line, and the body.
    pub rest: &'static [u8],
    /// Bytes of the body.
    pub body_bytes: usize,
}

impl PreparedAnswer {
    /// Returns the field lines and the blank line.
    pub fn head(&self) -> &'static [u8] {
        &self.rest[..self.rest.len() - self.body_bytes]
    }
}

/// Makes a prepared answer whose body is its status in words; the length is checked in a test.
macro_rules! prepared {
    ($status:literal, $text:literal, $length:literal $(, $field:literal)?) => {
        PreparedAnswer {
            status: $status,
            status_line: concat!("HTTP/1.1 ", $status, " ", $text, "\r\n").as_bytes(),
            rest: concat!(
                "Server: sluice\r\n",
                "Content-Type: text/plain; charset=utf-8\r\n",
                "Content-Length: ", $length, "\r\n",
                "Cache-Control: no-store\r\n",
                "X-Content-Type-Options: nosniff\r\n",
                $($field, "\r\n",)?
                "\r\n",
                $status, " ", $text, "\n",
            )
            .as_bytes(),
            body_bytes: $length,
        }
    };
}

static BAD_REQUEST: PreparedAnswer = prepared!(400, "Bad Request", 16);
static METHOD_NOT_ALLOWED: PreparedAnswer =
    prepared!(405, "Method Not Allowed", 23, "Allow: GET, HEAD, OPTIONS");
static REQUEST_TIMEOUT: PreparedAnswer = prepared!(408, "Request Timeout", 20);
static URI_TOO_LONG: PreparedAnswer = prepared!(414, "URI Too Long", 17);
static EXPECTATION_FAILED: PreparedAnswer = prepared!(417, "Expectation Failed", 23);
static FIELDS_TOO_LARGE: PreparedAnswer = prepared!(431, "Request Header Fields Too Large", 36);
static NOT_IMPLEMENTED: PreparedAnswer = prepared!(501, "Not Implemented", 20);
static VERSION_NOT_SUPPORTED: PreparedAnswer = prepared!(505, "HTTP Version Not Supported", 31);

/// The answer when there is no memory for another one; it comes back.
pub static OVERLOADED: PreparedAnswer = prepared!(503, "Service Unavailable", 24, "Retry-After: 1");

/// The answer when a condition of the request does not hold (RFC 9110 §13.1.1).
pub static PRECONDITION_FAILED: PreparedAnswer = prepared!(412, "Precondition Failed", 24);

impl Refusal {
    /// Every reason.
    pub const ALL: [Refusal; 13] = [
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
        Refusal::Expectation,
        Refusal::Timeout,
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
            Refusal::Expectation => &EXPECTATION_FAILED,
            Refusal::Timeout => &REQUEST_TIMEOUT,
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
            Refusal::Expectation => "refused_expectation",
            Refusal::Timeout => "refused_timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_answers_state_their_own_length() {
        let refusals = Refusal::ALL.map(Refusal::answer);
        for answer in refusals
            .into_iter()
            .chain([&PRECONDITION_FAILED, &OVERLOADED])
        {
            let head = core::str::from_utf8(answer.head()).unwrap();
            let length = std::format!("\r\nContent-Length: {}\r\n", answer.body_bytes);
            assert!(head.contains(&length), "{head}");
            let start = std::format!("HTTP/1.1 {} ", answer.status);
            assert!(answer.status_line.starts_with(start.as_bytes()));
            assert!(answer.status_line.ends_with(b"\r\n"));
            assert!(head.ends_with("\r\n\r\n") && head.matches("\r\n\r\n").count() == 1);
            let is_allowing = head.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n");
            assert_eq!(is_allowing, answer.status == 405);
        }
    }

    #[test]
    fn every_reason_is_listed_once_and_in_order() {
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place);
        }
    }
}
