//! From a response to the pieces of a write.
//!
//! The usual response is two pieces: status line and Date, written once a second, and the rest, by
//! reference from the site. Upstream: [`request`](crate::request). Downstream: `Channel::writev`.

use crate::limits::MAX_WRITE_BYTES;
use crate::multipart::{MultipartId, Multiparts};
use crate::range::ByteRange;
use crate::refusal::OVERLOADED;
use crate::request::{ConnectionLine, Content, Response};
use crate::usual::Usual;
use kernel::Instant;
use kernel::wall_clock::WallClock;
use megapipe::channel::{Buffer, IoSlice, IoVec, Versions};
use site::Variant;
use site::date::{DATE_BYTES, http_date};

const OK: &[u8; 17] = b"HTTP/1.1 200 OK\r\n";
const NOT_MODIFIED: &[u8; 27] = b"HTTP/1.1 304 Not Modified\r\n";
const NAME: &[u8; 6] = b"Date: ";
const DATE_LINE_BYTES: usize = NAME.len() + DATE_BYTES + 2;
const OK_BYTES: usize = OK.len() + DATE_LINE_BYTES;
const LINES_BYTES: usize = OK_BYTES + NOT_MODIFIED.len() + DATE_LINE_BYTES;

/// Dates that may be on their way at once, so seconds that the slowest answer may take; while more
/// are, the date that is shown is not the latest.
const DATES: usize = 128;

/// Texts put together for single ranges that may be on their way at once; further ones are answered
/// with 503.
const TEXTS: usize = 256;

/// Bytes of each: three numbers, of 15 digits at most for what fits into memory, and a field name.
const TEXT_BYTES: usize = 72;

/// Pieces that the longest response takes before what is left for further writes.
const MOST_PIECES: usize = 8;
const _: () = assert!(MOST_PIECES <= megapipe::limits::WRITE_PIECES);

/// The Date line of every response, written once a second (RFC 9110 §6.6.1), behind the status
/// lines that most responses have.
#[derive(Debug)]
pub struct DateLine {
    wall_clock: WallClock,
    /// The second after boot that the lines show.
    second: u64,
    /// Which Unix time that was.
    unix_seconds: u64,
    /// Behind 200, then behind 304.
    lines: Versions,
}

impl DateLine {
    /// Makes the line for the moment of boot.
    pub fn new(wall_clock: WallClock) -> Self {
        let mut date = DateLine {
            wall_clock,
            second: 0,
            unix_seconds: wall_clock.unix_seconds(Instant::ZERO),
            lines: Versions::new(DATES, LINES_BYTES),
        };
        date.write();
        date
    }

    /// Brings the line up to date.
    #[inline]
    pub fn handle_time(&mut self, now: Instant) {
        let second = now.as_nanos() / 1_000_000_000;
        if second != self.second {
            self.second = second;
            self.unix_seconds = self.wall_clock.unix_seconds(now);
            self.write();
        }
    }

    /// Returns the Unix time that the line shows, in seconds.
    #[inline]
    pub fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }

    fn write(&mut self) {
        let date = http_date(self.unix_seconds());
        self.lines.renew(|lines| {
            let (ok, not_modified) = lines.split_at_mut(OK_BYTES);
            write_lines(OK, &date, ok);
            write_lines(NOT_MODIFIED, &date, not_modified);
        });
    }

    /// Returns the line with its line end.
    fn line(&self) -> IoSlice {
        self.lines.piece(OK.len()..OK_BYTES)
    }

    #[inline(always)]
    fn ok(&self) -> IoSlice {
        self.lines.piece(0..OK_BYTES)
    }

    #[inline(always)]
    fn not_modified(&self) -> IoSlice {
        self.lines.piece(OK_BYTES..LINES_BYTES)
    }
}

fn write_lines(status_line: &[u8], date: &[u8; DATE_BYTES], lines: &mut [u8]) {
    let parts = [status_line, NAME, date, b"\r\n"];
    for (place, byte) in lines.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *byte;
    }
}

/// Where an engine keeps what the pieces of one write cannot hold.
#[derive(Debug)]
pub struct Room {
    /// A buffer for what has to be put together.
    pub spare: Option<Buffer>,
    /// Short texts.
    texts: Versions,
    /// Answers with several ranges.
    pub multiparts: Multiparts,
}

impl Default for Room {
    fn default() -> Self {
        Room {
            spare: None,
            texts: Versions::new(TEXTS, TEXT_BYTES),
            multiparts: Multiparts::default(),
        }
    }
}

/// What became of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It does not fit, and nothing of it was added.
    NoRoom,
    /// All of it was added.
    Whole,
    /// 503 was added in its place.
    Overloaded,
    /// More is to be written: the rest of the body.
    Body(&'static [u8]),
    /// More is to be written: parts.
    Parts(MultipartId),
}

/// Adds a usual response. Returns what is to be written later, or `None`, and nothing is added, when
/// there is no room.
#[inline(always)]
pub fn push_usual(
    usual: Usual<'static>,
    date: &DateLine,
    pieces: &mut IoVec,
) -> Option<&'static [u8]> {
    if pieces.len() + 2 > pieces.capacity() {
        return None;
    }
    let rest = match usual {
        Usual::Page(rest) => {
            add(pieces, date.ok());
            rest
        }
        Usual::NotModified(answer) => {
            add(pieces, date.not_modified());
            answer.rest
        }
    };
    let (now, later) = rest.split_at(rest.len().min(MAX_WRITE_BYTES));
    add(pieces, IoSlice::from_static(now));
    Some(later)
}

/// Adds a response to the pieces of a write. What does not fit into one write, or has to be
/// put together, goes into `room`.
#[inline]
pub fn push(
    response: &Response<'static, '_>,
    date: &DateLine,
    pieces: &mut IoVec,
    room: &mut Room,
) -> Pushed {
    match &response.content {
        Content::Prepared { status_line, rest } => {
            if pieces.len() + 4 > pieces.capacity() {
                return Pushed::NoRoom;
            }
            push_start(response, status_line, date, pieces);
            push_body(rest, pieces)
        }
        _ => push_unusual(response, date, pieces, room),
    }
}

#[cold]
fn push_unusual(
    response: &Response<'static, '_>,
    date: &DateLine,
    pieces: &mut IoVec,
    room: &mut Room,
) -> Pushed {
    if pieces.len() + MOST_PIECES > pieces.capacity() {
        return Pushed::NoRoom;
    }
    match &response.content {
        Content::Prepared { .. } => Pushed::NoRoom,
        Content::Inserted {
            status_line,
            before,
            inserted,
            behind,
        } => {
            let Some(buffer) = put_together(&mut room.spare, before, inserted) else {
                return push_overloaded(response, date, pieces);
            };
            push_start(response, status_line, date, pieces);
            add(pieces, buffer.into());
            push_body(behind, pieces)
        }
        Content::Part(variant, range) => {
            let (first, last) = (range.first, range.end - 1);
            let (bytes, length) = (range.bytes(), variant.body().len());
            let text = room.texts.format(format_args!(
                "{bytes}\r\nContent-Range: bytes {first}-{last}/{length}\r\n"
            ));
            let Some(text) = text else {
                return push_overloaded(response, date, pieces);
            };
            push_start(response, PARTIAL, date, pieces);
            push_part(variant, *range, text, pieces)
        }
        Content::Parts(variant, ranges) => {
            // There is room: it was asked for before the answer was made.
            let Some(parts) = room.multiparts.begin(*variant, (*ranges).clone()) else {
                return push_overloaded(response, date, pieces);
            };
            push_start(response, PARTIAL, date, pieces);
            parts.push_fields(pieces);
            room.multiparts
                .insert(parts)
                .map_or(Pushed::Whole, Pushed::Parts)
        }
        Content::Unsatisfiable(variant) => {
            let bytes = variant.body().len();
            let text = room
                .texts
                .format(format_args!("Content-Range: bytes */{bytes}\r\n"));
            let Some(text) = text else {
                return push_overloaded(response, date, pieces);
            };
            push_start(response, UNSATISFIABLE, date, pieces);
            add(pieces, text);
            add(pieces, IoSlice::from_static(UNSATISFIABLE_REST));
            Pushed::Whole
        }
    }
}

/// Adds the answer of a core that has no memory to put another one together.
fn push_overloaded(
    response: &Response<'static, '_>,
    date: &DateLine,
    pieces: &mut IoVec,
) -> Pushed {
    let status = OVERLOADED.status_line;
    let response = Response {
        status: 503,
        ..response.clone()
    };
    push_start(&response, status, date, pieces);
    let rest = match response.is_head {
        true => OVERLOADED.head(),
        false => OVERLOADED.rest,
    };
    push_body(rest, pieces);
    Pushed::Overloaded
}

const PARTIAL: &[u8] = b"HTTP/1.1 206 Partial Content\r\n";
const UNSATISFIABLE: &[u8] = b"HTTP/1.1 416 Range Not Satisfiable\r\n";
const UNSATISFIABLE_REST: &[u8] = b"Server: sluice\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 26\r\n\
    Cache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n\
    \r\n\
    416 Range Not Satisfiable\n";

/// Adds status line, Date and Connection.
#[inline(always)]
fn push_start(
    response: &Response<'static, '_>,
    status_line: &'static [u8],
    date: &DateLine,
    pieces: &mut IoVec,
) {
    match response.status {
        200 => add(pieces, date.ok()),
        304 => add(pieces, date.not_modified()),
        _ => {
            add(pieces, IoSlice::from_static(status_line));
            add(pieces, date.line());
        }
    }
    match response.connection {
        ConnectionLine::Absent => {}
        ConnectionLine::KeepAlive => {
            add(pieces, IoSlice::from_static(b"Connection: keep-alive\r\n"))
        }
        ConnectionLine::Close => add(pieces, IoSlice::from_static(b"Connection: close\r\n")),
    }
}

/// Adds the end of a response, or as much of it as one write may have.
#[inline(always)]
pub(crate) fn push_body(rest: &'static [u8], pieces: &mut IoVec) -> Pushed {
    let (now, later) = rest.split_at(rest.len().min(MAX_WRITE_BYTES));
    add(pieces, IoSlice::from_static(now));
    match later {
        [] => Pushed::Whole,
        _ => Pushed::Body(later),
    }
}

/// Adds what follows Connection in an answer with one range.
fn push_part(
    variant: &Variant<'static>,
    range: ByteRange,
    numbers: IoSlice,
    pieces: &mut IoVec,
) -> Pushed {
    let body = variant.body();
    let (first, end) = (range.first as usize, range.end as usize);
    add(
        pieces,
        IoSlice::from_static(b"Server: sluice\r\nContent-Length: "),
    );
    add(pieces, numbers);
    add(pieces, IoSlice::from_static(variant.fields_from_type()));
    push_body(body.get(first..end).unwrap_or_default(), pieces)
}

/// Writes two pieces behind each other; `None` when there is no buffer, or one that is too small.
fn put_together(spare: &mut Option<Buffer>, first: &[u8], second: &[u8]) -> Option<Buffer> {
    let mut buffer = spare.take()?;
    let written = buffer.append(first) + buffer.append(second);
    (written == first.len() + second.len()).then_some(buffer)
}

/// Adds a piece; there is room, which the callers have checked.
#[inline(always)]
pub(crate) fn add(pieces: &mut IoVec, piece: IoSlice) {
    let is_added = pieces.push(piece).is_ok();
    debug_assert!(is_added);
}
