//! The HTTP/1.1 static server on MegaPipe.
//!
//! Two layers. [`request`] turns the bytes of a connection into an answer, without IO and without
//! state. [`server`] carries requests and answers over one core's channel; whatever else is to
//! carry HTTP one day needs only the first.
//!
//! Upstream: `megapipe` with the bytes, `site` with the pages. Downstream: the image.
//!
//! Invariants: nothing is allocated after a server is made; bodies are sent from the site by
//! reference; nothing is formatted for a request (heads are packed with the site, the date is
//! written once a second); a connection has one answer under way at most.
//!
//! Reading order: [`head`] with [`fields`] and [`target`]; [`request`] with [`conditions`],
//! [`range`] and [`encoding`]; [`answer`], [`response`], [`multipart`]; [`engine`] with
//! [`usual`] and `known_sections`; [`connections`],
//! [`server`], `exchange`, `deadlines`; [`settings`], [`control`], [`access_log`], [`syslog`],
//! [`metrics`], [`trace`], [`publisher`], [`admin`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod access_log;
pub mod admin;
mod admin_pages;
pub mod answer;
pub mod authority;
pub mod conditions;
pub mod connections;
pub mod control;
pub mod counters;
pub mod date;
mod deadlines;
pub mod encoding;
pub mod engine;
mod exchange;
mod field_line;
pub mod fields;
pub mod head;
mod known_sections;
pub mod limits;
pub mod log_line;
pub mod metrics;
pub mod metrics_text;
pub mod multipart;
mod peers;
pub mod plan;
pub mod publisher;
pub mod range;
pub mod refusal;
pub mod request;
pub mod response;
pub mod scan;
pub mod server;
pub mod settings;
pub mod syslog;
pub mod target;
pub mod trace;
pub mod usual;

pub use counters::ServerCounters;
pub use server::{Server, ServerConfig};
