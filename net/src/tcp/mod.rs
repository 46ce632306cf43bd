//! smoltcp as connection engine: the one folder that names its sockets and its device trait.
//!
//! smoltcp is used unmodified. It scans a `SocketSet` from end to end for every packet, so each
//! connection has a set of its own with one entry ([`Socket`]), and the stack's demux finds it;
//! one `Interface` per core serves them all ([`Engine`]), working on IP packets. A segment that
//! belongs to nobody is offered to an empty set, which answers with RST, and so is an ICMP
//! packet, which answers an echo request. Checksums of TCP are ours, on both sides.
//!
//! The DHCP client ([`DhcpClient`]) lives here for the same reason: it is a smoltcp socket.
//!
//! Known limits of smoltcp 0.14: after a retransmission timeout its pure ACKs carry rewound
//! sequence numbers, so that two smoltcp ends that lose data both ways at once can stall (other
//! stacks answer properly, and it goes on); three duplicate ACKs while only a FIN is outstanding
//! stop its retransmission, so that the user timeout or the linger time has to end the connection;
//! initial sequence numbers come from a seeded generator that is not cryptographic; the congestion
//! window begins at 2 KiB, not the ten segments of RFC 6928.
//!
//! Reading order: [`engine`], [`socket`], [`phy`], [`dhcp`].

mod dhcp;
mod engine;
mod phy;
mod socket;

pub(crate) use dhcp::{DhcpChange, DhcpClient};
pub(crate) use engine::Engine;
pub(crate) use socket::{Phase, Received, Socket};
