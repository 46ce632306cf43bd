//! Reading scripts.

use std::time::Duration;

/// A line of a script: after how long, and what.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) after: Duration,
    pub(crate) step: Step,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Time passes.
    Wait,
    /// The peer sends.
    Inbound(Segment),
    /// The stack is to send.
    Outbound(Segment),
    /// A word and its arguments.
    Command(String, Vec<String>),
}

/// A segment, its numbers relative.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) flags: u8,
    pub(crate) sequence: i64,
    pub(crate) bytes: usize,
    pub(crate) ack: Option<i64>,
    pub(crate) window: Option<u16>,
    pub(crate) options: Option<Vec<Opt>>,
}

/// A TCP option. A timestamp's parts are `None` for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opt {
    Mss(u16),
    WindowScale(u8),
    SackPermitted,
    Sack(Vec<(i64, i64)>),
    Timestamps(Option<i64>, Option<i64>),
    /// An option of this kind that nobody knows, or that is malformed: its bytes as they are.
    Raw(Vec<u8>),
    /// Any others.
    Any,
}

const FLAGS: [(char, u8); 8] = [
    ('F', 1),
    ('S', 2),
    ('R', 4),
    ('P', 8),
    ('.', 16),
    ('U', 32),
    ('E', 64),
    ('C', 128),
];

pub(crate) fn parse(text: &str) -> Vec<Line> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let line = line.split('#').next().unwrap_or_default().trim();
            (!line.is_empty()).then(|| parse_line(index + 1, line))
        })
        .collect()
}

fn parse_line(number: usize, line: &str) -> Line {
    let (after, rest) = match line.strip_prefix('+') {
        Some(timed) => {
            let (time, rest) = timed.split_once(' ').unwrap_or((timed, ""));
            (parse_time(time), rest.trim())
        }
        None => (Duration::ZERO, line),
    };
    let step = if rest.is_empty() {
        Step::Wait
    } else if let Some(segment) = rest.strip_prefix('<') {
        Step::Inbound(parse_segment(number, segment))
    } else if let Some(segment) = rest.strip_prefix('>') {
        Step::Outbound(parse_segment(number, segment))
    } else {
        let mut words = rest.split_whitespace().map(String::from);
        Step::Command(words.next().expect("not empty"), words.collect())
    };
    Line {
        number,
        after,
        step,
    }
}

/// Reads `10ms`, `1.5s` or `3m`.
pub(crate) fn parse_time(text: &str) -> Duration {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let value: f64 = digits.parse().unwrap_or_else(|_| panic!("a time: {text}"));
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => panic!("a time: {text}"),
    };
    Duration::from_micros((value * unit * 1e6).round() as u64)
}

fn parse_segment(number: usize, text: &str) -> Segment {
    let (head, options) = match text.split_once('<') {
        Some((head, options)) => (head, Some(options.trim().trim_end_matches('>'))),
        None => (text, None),
    };
    let mut words = head.split_whitespace();
    let mut next = || words.next();
    let flags = next().unwrap_or_else(|| panic!("line {number}: flags"));
    let flag = |letter| {
        let found = FLAGS.iter().find(|(name, _)| *name == letter);
        found
            .unwrap_or_else(|| panic!("line {number}: flag {letter}"))
            .1
    };
    let mut segment = Segment {
        flags: flags.chars().map(flag).fold(0, |all, flag| all | flag),
        ..Segment::default()
    };
    let span = next().unwrap_or_else(|| panic!("line {number}: sequence numbers"));
    let (sequence, rest) = span.split_once(':').unwrap_or((span, ""));
    segment.sequence = integer(number, sequence);
    if let Some((end, bytes)) = rest.trim_end_matches(')').split_once('(') {
        segment.bytes = integer(number, bytes) as usize;
        let length = integer(number, end) - segment.sequence;
        assert_eq!(length, segment.bytes as i64, "line {number}: length");
    }
    while let Some(word) = next() {
        let value = integer(number, next().unwrap_or_default());
        match word {
            "ack" => segment.ack = Some(value),
            "win" => segment.window = Some(value as u16),
            _ => panic!("line {number}: {word}"),
        }
    }
    segment.options = options.map(|options| {
        let options = options.split(',').map(str::trim);
        let options = options.filter(|option| !option.is_empty());
        options.map(|option| parse_option(number, option)).collect()
    });
    segment
}

fn parse_option(number: usize, text: &str) -> Opt {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut value = || {
        let word = words.next().unwrap_or_default();
        (word != "*").then(|| integer(number, word))
    };
    match name {
        "*" => Opt::Any,
        "mss" => Opt::Mss(value().unwrap_or_default() as u16),
        "ws" => Opt::WindowScale(value().unwrap_or_default() as u8),
        "sack" if text == "sack" => Opt::SackPermitted,
        "sack" => {
            let ranges = words.map(|range| {
                let (start, end) = range.split_once(':').expect("start:end");
                (integer(number, start), integer(number, end))
            });
            Opt::Sack(ranges.collect())
        }
        "ts" => Opt::Timestamps(value(), value()),
        "raw" => Opt::Raw(words.map(|byte| integer(number, byte) as u8).collect()),
        _ => panic!("line {number}: option {text}"),
    }
}

fn integer(number: usize, text: &str) -> i64 {
    text.parse()
        .unwrap_or_else(|_| panic!("line {number}: a number: {text:?}"))
}
