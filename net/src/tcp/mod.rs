//! The connection engine: TCP of our own over smoltcp's wire formats.
//!
//! One [`Tcb`] is one connection; the stack owns them, finds them, composes their frames and runs
//! their timers. What is sent stays where the layer above has it until it is acknowledged
//! ([`SendQueue`](send_queue)), what is received lies in chunks that only connections with unread
//! bytes hold: an idle connection costs its control block and nothing else.
//!
//! `docs/tcp.md` lists each feature with its RFC. The DHCP client ([`DhcpClient`]) is smoltcp's and
//! lives here because it is the one socket of smoltcp in the image.
//!
//! Reading order: [`control`], [`handshake`], [`input`] with [`acceptance`] and [`news`],
//! [`transmit`], [`recovery`], [`timeout`], [`path`], then the parts: [`seq`], [`send_queue`],
//! [`receive_queue`], [`scoreboard`], [`rtt`], [`cubic`], [`options`], [`window`]; [`carry`]; [`dhcp`]
//! with [`phy`].

mod acceptance;
mod carry;
mod control;
mod cubic;
mod dhcp;
mod handshake;
mod input;
mod news;
mod options;
mod path;
mod phy;
mod receive_queue;
mod recovery;
mod rtt;
mod scoreboard;
mod send_queue;
mod seq;
mod timeout;
mod transmit;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use carry::Carried;
pub(crate) use control::{State, Tcb, timestamp};
pub(crate) use dhcp::{DhcpChange, DhcpClient, Lease};
pub(crate) use handshake::{Opening, window_shift};
pub(crate) use input::Arrived;
pub(crate) use news::News;
pub(crate) use options::{OptionBytes, Options};
pub use send_queue::Lent;
pub(crate) use send_queue::Tail;
pub(crate) use seq::Seq;
pub(crate) use transmit::{Departure, Link};
