//! The parser of heads against a naive one that is written from the grammar (RFC 9112 §2 to §5),
//! byte by byte and with no thought of speed.

use app_http::fields::Field;
use app_http::head::parse;
use app_http::limits::HeadLimits;
use proptest::prelude::*;

/// What the naive parser finds in a head: request line parts, field lines, and its length.
type Naive = Option<(Vec<u8>, Vec<u8>, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, usize)>;

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Takes a line that ends with CR LF and has no other CR or LF off the front.
fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let rest = input[end..].strip_prefix(b"\r\n")?;
    Some((&input[..end], rest))
}

/// `None`: refused, or not complete.
fn naive(input: &[u8]) -> Naive {
    let mut rest = input;
    while let Some(behind) = rest.strip_prefix(b"\r\n") {
        rest = behind;
    }
    let (request_line, mut rest) = line(rest)?;
    let words: Vec<&[u8]> = request_line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let is_method = !method.is_empty() && method.iter().all(|byte| is_token(*byte));
    let is_version = [&b"HTTP/1.0"[..], b"HTTP/1.1"].contains(&version);
    let is_clean = request_line.iter().all(|byte| !byte.is_ascii_control());
    if !is_method || !is_version || !is_clean || target.is_empty() {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        let (text, behind) = line(rest)?;
        rest = behind;
        if text.is_empty() {
            break;
        }
        let colon = text.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        let is_value = value
            .iter()
            .all(|byte| *byte == b'\t' || !byte.is_ascii_control());
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) || !is_value {
            return None;
        }
        let is_white = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = value
            .iter()
            .position(|byte| !is_white(byte))
            .unwrap_or(value.len());
        let end = value
            .iter()
            .rposition(|byte| !is_white(byte))
            .map_or(start, |last| last + 1);
        fields.push((name.to_ascii_lowercase(), value[start..end].to_vec()));
    }
    let bytes = input.len() - rest.len();
    Some((
        method.to_vec(),
        target.to_vec(),
        version.to_vec(),
        fields,
        bytes,
    ))
}

const KEPT: [(Field, &str); 8] = [
    (Field::Host, "host"),
    (Field::IfMatch, "if-match"),
    (Field::IfNoneMatch, "if-none-match"),
    (Field::IfModifiedSince, "if-modified-since"),
    (Field::IfUnmodifiedSince, "if-unmodified-since"),
    (Field::IfRange, "if-range"),
    (Field::Range, "range"),
    (Field::AcceptEncoding, "accept-encoding"),
];

/// Compares both on these bytes.
fn compare(input: &[u8]) -> Result<(), TestCaseError> {
    let expected = naive(input);
    let Ok(head) = parse(input, &HeadLimits::default()) else {
        // What the parser refuses beyond the grammar is about two fields.
        if let Some((.., fields, _)) = expected {
            let count = |name: &str| {
                fields
                    .iter()
                    .filter(|field| field.0 == name.as_bytes())
                    .count()
            };
            let is_special = count("host") > 1
                || count("content-length") > 0
                || count("transfer-encoding") > 0
                || fields.len() > HeadLimits::default().fields;
            prop_assert!(is_special, "refused: {:?}", String::from_utf8_lossy(input));
        }
        return Ok(());
    };
    let Some((_, target, version, fields, bytes)) = expected else {
        // The parser leaves blanks in a target to its reader.
        prop_assert!(
            head.target.contains(&b' '),
            "taken: {:?}",
            String::from_utf8_lossy(input)
        );
        return Ok(());
    };
    prop_assert_eq!(head.target, &target[..]);
    prop_assert_eq!(head.is_http_1_0, version == b"HTTP/1.0");
    prop_assert_eq!(head.bytes, bytes);
    for (field, name) in KEPT {
        let values: Vec<&[u8]> = fields
            .iter()
            .filter(|(known, _)| known == name.as_bytes())
            .map(|(_, value)| &value[..])
            .collect();
        prop_assert_eq!(head.fields.first(field), values.first().copied());
        let lists: Vec<&[u8]> = head.fields.all(field, name.as_bytes()).collect();
        prop_assert_eq!(lists, values, "{}", name);
    }
    Ok(())
}

/// Bytes that mean something to a parser, and any others.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "GET ", "HEAD ", "/", "/a b", " HTTP/1.1", " HTTP/1.0", " HTTP/2.0", "\r\n", "\r\n\r\n", "Host:",
            "hOsT: a", "\r", "\n", "\t", " ", ":", "User-Agent: x", "If-None-Match: \"a\"", "X_y:",
            "Accept-Encoding: gzip", "If-Range:", "Range:  bytes=0-1 ", "\u{7f}", "~", "\0", "é",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// Heads that are nearly right.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        4 => (prop::sample::select(KEPT.map(|(_, name)| name).to_vec()), "[ \t]{0,2}[!-~]{0,20}[ \t]{0,2}")
            .prop_map(|(name, value)| format!("{name}:{value}\r\n")),
        2 => ("[A-Za-z!#_-]{1,20}", "\\PC{0,40}").prop_map(|(name, value)| format!("{name}: {value}\r\n")),
        1 => "\\PC{0,10}\r\n",
    ];
    let line = prop_oneof![
        3 => Just("GET /index.html HTTP/1.1\r\n".to_owned()),
        1 => "(GET|HEAD|B!) /[!-~]{0,30} HTTP/1.[01]\r\n",
    ];
    (
        line,
        prop::collection::vec(field, 0..8),
        prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(line, fields, damage)| {
            let mut head = (line + &fields.concat() + "\r\n").into_bytes();
            if let Some((place, byte)) = damage {
                let place = place.index(head.len());
                head[place] = byte;
            }
            head
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_parser_agrees_with_the_grammar_on_pieces(input in bytes()) {
        compare(&input)?;
    }

    #[test]
    fn the_parser_agrees_with_the_grammar_on_heads(input in heads()) {
        compare(&input)?;
    }
}
