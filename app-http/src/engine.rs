//! From bytes that have come to one write: the answers to as many requests as fit.
//!
//! Upstream: [`server`](crate::server), with what a connection has sent. Downstream: the pieces of
//! a write. The engine is one core's, and has everything that an answer needs: the site, the date,
//! room to write in, counters and the access log.

use crate::access_log::AccessLog;
use crate::counters::{NOT_MODIFIED, ServerCounters};
use crate::head::{self, Head, RequestLine, Unparsed};
use crate::known_sections::KnownSections;
use crate::limits::HeadLimits;
use crate::multipart::MultipartId;
use crate::refusal::{OVERLOADED, Refusal};
use crate::request::{Answer, Context, Next, Scratch, answer, refuse, refuse_bytes};
use crate::response::{self, DateLine, Pushed, Room};
use crate::usual::{Usual, UsualFields, usual_answer};
use alloc::boxed::Box;
use core::net::IpAddr;
use kernel::wall_clock::WallClock;
use megapipe::channel::IoVec;
use site::Site;

/// One core's engine.
pub struct Engine {
    site: Site<'static>,
    limits: HeadLimits,
    scratch: Box<Scratch>,
    known: KnownSections,
    /// The Date line.
    pub date: DateLine,
    /// Where answers are counted.
    pub counters: ServerCounters,
    /// Where answers are told.
    pub log: AccessLog,
    /// What the pieces of a write cannot hold.
    pub room: Room,
}

/// Who asks, and how much more it may.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Its address.
    pub peer: IpAddr,
    /// Requests that are answered on its connection before that is closed; at least 1.
    pub requests_left: u32,
}

/// What answering requests that follow each other on a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Bytes of the input that are done with: heads, and content that was skipped.
    pub consumed: usize,
    /// Requests answered.
    pub requests: u32,
    /// What becomes of the connection after all is written.
    pub next: Next,
    /// What is to be written after this.
    pub rest: Rest,
}

/// What is left of an answer that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    None,
    /// The rest of the body.
    Body(&'static [u8]),
    /// Parts.
    Parts(MultipartId),
}

impl Engine {
    /// Makes an engine and takes its memory. `wall_clock` tells the time of day: a number
    /// is the Unix time at boot.
    pub fn new(
        site: Site<'static>,
        limits: HeadLimits,
        wall_clock: impl Into<WallClock>,
        log: AccessLog,
    ) -> Self {
        Engine {
            site,
            limits,
            scratch: Box::default(),
            known: KnownSections::new(),
            date: DateLine::new(wall_clock.into()),
            counters: ServerCounters::default(),
            log,
            room: Room::default(),
        }
    }

    /// Answers the requests at the front of `input`, in order, as far as they are complete and
    /// their answers fit into `pieces`, which stays empty when the first one is not complete. What it
    /// came to is added to `batch`.
    #[inline]
    pub fn answer_all(
        &mut self,
        input: &[u8],
        client: Client,
        pieces: &mut IoVec,
        batch: &mut Batch,
    ) {
        while batch.consumed < input.len() {
            let unread = &input[batch.consumed..];
            let is_last = batch.requests + 1 >= client.requests_left;
            let is_told = is_last || self.log.is_on();
            let is_over = match head::request_line(unread, &self.limits) {
                Err(unparsed) => {
                    self.answer_unusual(&Err(unparsed), is_last, input, client, pieces, batch)
                }
                Ok(line) => {
                    let known = match is_told {
                        false => self.answer_known(unread, line, pieces, batch),
                        true => None,
                    };
                    if known == Some(true) {
                        if batch.rest != Rest::None {
                            break;
                        }
                        continue;
                    }
                    let parsed = head::field_lines(unread, line, &self.limits);
                    // With lines that are known it was tried, and is not.
                    let is_usual = !is_told
                        && known.is_none()
                        && parsed
                            .as_ref()
                            .is_ok_and(|head| self.answer_usual(unread, line, head, pieces, batch));
                    match is_usual {
                        true => batch.rest != Rest::None,
                        false => {
                            self.answer_unusual(&parsed, is_last, input, client, pieces, batch)
                        }
                    }
                }
            };
            if is_over {
                break;
            }
        }
    }

    /// Answers a usual request whose field lines are known, without parsing them; returns whether it
    /// is a usual one, if they are known.
    #[inline(always)]
    fn answer_known(
        &mut self,
        unread: &[u8],
        line: RequestLine<'_>,
        pieces: &mut IoVec,
        batch: &mut Batch,
    ) -> Option<bool> {
        let lines = &unread[line.end..];
        let (fields, length) = self.known.find(lines)?;
        let bytes = line.end + length;
        if bytes > self.limits.head_bytes {
            return None;
        }
        let usual = self.push_usual(line, fields, lines, bytes, pieces, batch);
        if let Some(Usual::NotModified(answer)) = usual {
            self.known.note(answer);
        }
        Some(usual.is_some())
    }

    /// Answers a request if it is a usual one, and keeps its field lines; returns whether it is.
    #[inline(always)]
    fn answer_usual(
        &mut self,
        unread: &[u8],
        line: RequestLine<'_>,
        head: &Head<'_>,
        pieces: &mut IoVec,
        batch: &mut Batch,
    ) -> bool {
        let lines = &unread[line.end..head.bytes];
        let Some(fields) = UsualFields::read(&head.fields, &self.site) else {
            return false;
        };
        self.known.insert(lines, fields);
        let usual = self.push_usual(line, fields, lines, head.bytes, pieces, batch);
        usual.is_some()
    }

    /// Adds the answer to a request of so many bytes, when it is a usual one and there is room;
    /// returns it.
    #[inline(always)]
    fn push_usual(
        &mut self,
        line: RequestLine<'_>,
        fields: UsualFields<'static>,
        lines: &[u8],
        bytes: usize,
        pieces: &mut IoVec,
        batch: &mut Batch,
    ) -> Option<Usual<'static>> {
        let usual = usual_answer(&line, fields, lines, &self.site)?;
        let later = response::push_usual(usual, &self.date, pieces)?;
        match usual {
            Usual::Page(_) => self.counters.answers[0] += 1,
            Usual::NotModified(_) => self.counters.answers[NOT_MODIFIED] += 1,
        }
        batch.consumed += bytes;
        batch.requests += 1;
        if !later.is_empty() {
            batch.rest = Rest::Body(later);
        }
        Some(usual)
    }

    /// Answers a request that needs more thought, as [`answer_all`](Self::answer_all) does; returns
    /// whether the batch ends here.
    #[inline(never)]
    fn answer_unusual(
        &mut self,
        parsed: &Result<Head<'_>, Unparsed>,
        is_last: bool,
        input: &[u8],
        client: Client,
        pieces: &mut IoVec,
        batch: &mut Batch,
    ) -> bool {
        let context = Context {
            site: &self.site,
            now: self.date.unix_seconds(),
            is_last,
            has_parts: self.room.multiparts.has_room(),
        };
        let unread = &input[batch.consumed..];
        let mut answer = match parsed {
            Ok(head) => answer(head, &context, &mut self.scratch),
            Err(Unparsed::Refused(refusal)) => refuse_bytes(*refusal, unread),
            Err(Unparsed::Partial) => return true,
        };
        let rest = match response::push(&answer.response, &self.date, pieces, &mut self.room) {
            Pushed::NoRoom => return true,
            Pushed::Whole => Rest::None,
            Pushed::Overloaded => {
                answer.response.status = OVERLOADED.status;
                Rest::None
            }
            Pushed::Body(rest) => Rest::Body(rest),
            Pushed::Parts(id) => Rest::Parts(id),
        };
        let status = answer.response.status;
        self.counters.count_answer(status, answer.refusal);
        if self.log.is_on() {
            let counters = &mut self.counters;
            self.log
                .record(unread, &answer, &client, context.now, counters);
        }
        batch.add(&answer, rest, input.len());
        rest != Rest::None || batch.next != (Next::Request { skip: 0 })
    }

    /// Makes the pieces of a refusal that no whole request led to.
    #[cold]
    pub fn refuse(&mut self, refusal: Refusal, client: Client, pieces: &mut IoVec) {
        let answer = refuse(refusal, 0, false);
        response::push(&answer.response, &self.date, pieces, &mut self.room);
        self.counters
            .count_answer(answer.response.status, Some(refusal));
        if self.log.is_on() {
            let (now, counters) = (self.date.unix_seconds(), &mut self.counters);
            self.log.record(b"", &answer, &client, now, counters);
        }
    }

    /// Goes on with an answer that was begun; returns what is left of it then.
    #[cold]
    pub fn push_rest(&mut self, rest: Rest, pieces: &mut IoVec) -> Rest {
        match rest {
            Rest::None => Rest::None,
            Rest::Body(bytes) => match response::push_body(bytes, pieces) {
                Pushed::Body(rest) => Rest::Body(rest),
                _ => Rest::None,
            },
            Rest::Parts(id) => match self.room.multiparts.push_next(id, pieces) {
                true => Rest::None,
                false => rest,
            },
        }
    }

    /// Forgets what is left of an answer whose connection is over.
    pub fn forget(&mut self, rest: Rest) {
        if let Rest::Parts(id) = rest {
            self.room.multiparts.remove(id);
        }
    }
}

impl Batch {
    /// No request yet.
    pub const NOTHING: Batch = Batch {
        consumed: 0,
        requests: 0,
        next: Next::Request { skip: 0 },
        rest: Rest::None,
    };

    /// Adds an answer, and steps over the content of its request, as much of it as has come.
    #[inline(always)]
    fn add(&mut self, answer: &Answer<'_, '_>, rest: Rest, input_bytes: usize) {
        self.consumed += answer.consumed;
        self.requests += 1;
        self.next = answer.next;
        self.rest = rest;
        match &mut self.next {
            Next::Request { skip: 0 } => {}
            Next::Request { skip } => {
                let here = (*skip).min((input_bytes - self.consumed) as u32);
                *skip -= here;
                self.consumed += here as usize;
            }
            // Something came behind the last request: it must not be answered by a reset.
            next @ Next::Close if self.consumed < input_bytes => *next = Next::Linger,
            Next::Close | Next::Linger => {}
        }
    }
}
