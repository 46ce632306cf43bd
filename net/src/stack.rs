//! The stack of one core: its queue pair, flow table, listeners, connections and timers.
//!
//! The four kinds of method: `handle_*` takes in what happened (frames, time), commands are the
//! application's wishes, `poll_*` yields what is to be told or sent, getters look. One turn calls
//! [`handle_frames`](Stack::handle_frames), [`handle_timers`](Stack::handle_timers),
//! [`poll_event`](Stack::poll_event) with the commands that follow from it, and
//! [`poll_transmit`](Stack::poll_transmit). What these do inside is in `ingress` and
//! `egress`; the commands on a connection are in `commands`, those on a listener in `listening`
//! and `stealing`.

pub use crate::connect::ConnectError;
pub use crate::connection::ConnectionId;
pub use crate::event::{CloseReason, Event};
pub use crate::listener::{ListenError, ListenerId};

use crate::address::Host;
use crate::addressing::HostChanges;
use crate::autoconf::Autoconf;
use crate::chunk::ChunkPool;
use crate::connection::{Connections, Role};
use crate::cookie::Cookies;
use crate::counters::{Counters, DropReason};
use crate::datagram::Datagrams;
use crate::demux::Station;
use crate::event::Pending;
use crate::fabric::FabricPort;
use crate::flow::FlowPrf;
use crate::flow_table::FlowTable;
use crate::fragments::{ErrorBudget, Identifications, Reassembly};
use crate::host_words::HostSeen;
use crate::isn::SequenceSource;
use crate::limits;
use crate::listener::Listeners;
use crate::listening::PortsSeen;
use crate::neighbours::Neighbours;
use crate::nic::{Nic, NicCounters};
use crate::output::Output;
use crate::path_mtus::PathMtus;
use crate::stealing::Stealing;
use crate::tcp::{DhcpClient, Lent};
use crate::time_wait::TimeWaitTable;
use crate::timers::Timers;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use kernel::{CoreMask, Instant};

/// What a stack is made with.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Connections at once on this core, 1..=[`limits::CONNECTIONS_MAX`]; their memory is taken
    /// when the stack is made.
    pub connections: usize,
    /// Bytes that may wait unread on a connection, and so its largest window, at most 2^30.
    pub window_bytes: u32,
    /// Chunks of receive memory, which all connections share.
    pub chunks: usize,
    /// Bytes of each chunk.
    pub chunk_bytes: usize,
    /// After how long a silent peer is asked whether it is still there, `None` for never (RFC 9293
    /// §3.8.4); in whole seconds. The first question comes when it was silent for this long at least,
    /// and twice as long at most.
    pub keep_alive: Option<Duration>,
    /// Seed of this core's own random numbers; from the machine's entropy.
    pub seed: [u8; 32],
}

/// A connection taken from an accept queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The connection, now the caller's: it holds its slot until [`Stack::release`].
    pub connection: ConnectionId,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Connections still waiting in the same queue.
    pub pending: usize,
}

/// Why a command on a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionError {
    /// The id is stale or was never given out.
    Unknown,
    /// The connection can no longer do this (it is over, or this side has finished sending).
    Closed,
}

/// Returns the bytes that a connection takes in its stack's table, when what it sends from is `P`.
pub const fn connection_bytes<P>() -> usize {
    size_of::<crate::connection::Connection<P>>()
}

/// Why there is nothing to receive, now and for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveError {
    /// The peer has finished sending, and everything has been received.
    Finished,
    /// The connection broke.
    Closed,
    /// The id is stale or was never given out.
    Unknown,
}

/// What was lent to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loan {
    /// Bytes of the pieces taken.
    pub bytes: usize,
    /// Another piece would have been taken.
    pub has_room: bool,
}

/// The stack of one core over its queue pair, if it has one. `P` is the memory that the layer above
/// lends it to send from.
pub struct Stack<N: Nic, P = Vec<u8>> {
    pub(crate) output: Output<N>,
    /// The buffers beside the first of the frame that is being received; else empty.
    pub(crate) rest: Vec<N::Frame>,
    pub(crate) sequences: SequenceSource,
    pub(crate) chunks: ChunkPool,
    pub(crate) window_bytes: u32,
    pub(crate) keep_alive_s: u32,
    pub(crate) station: Station,
    /// What was last seen of what the fabric says this host is, and what it was.
    pub(crate) host_seen: HostSeen,
    pub(crate) host: Host,
    /// On the core that sees to our addresses.
    pub(crate) autoconf: Option<Box<Autoconf>>,
    pub(crate) dhcp: Option<DhcpClient>,
    /// On the same core.
    pub(crate) reassembly: Option<Box<Reassembly>>,
    pub(crate) identifications: Identifications,
    pub(crate) icmp_errors: ErrorBudget,
    pub(crate) host_changes: HostChanges,
    /// From which slot on connections are looked at whose address may have gone.
    pub(crate) withdrawn: Option<u32>,
    /// They are to be dispatched.
    pub(crate) addressing_is_due: bool,
    pub(crate) connections: Connections<P>,
    pub(crate) half_open: usize,
    pub(crate) cookies: Cookies,
    pub(crate) neighbours: Neighbours,
    pub(crate) datagrams: Datagrams,
    pub(crate) path_mtus: PathMtus,
    /// Connections of ours whose station was asked for when they began, each once.
    pub(crate) unresolved: Vec<u32>,
    /// Ports tried for connections of ours.
    pub(crate) ports_tried: u32,
    pub(crate) flows: FlowTable,
    pub(crate) listeners: Listeners,
    pub(crate) ports_seen: PortsSeen,
    pub(crate) stealing: Stealing,
    pub(crate) time_wait: TimeWaitTable,
    pub(crate) timers: Timers,
    /// Connections with events to tell, each once.
    pub(crate) told: VecDeque<u32>,
    /// Connections to dispatch, each once.
    pub(crate) dirty: Vec<u32>,
    /// The last `now` that came in: commands have none of their own.
    pub(crate) now: Instant,
    /// Seed of the DHCP client, and of when addresses are asked for.
    pub(crate) seed: u64,
}

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Makes the stack and takes all the memory it will ever use but what
    /// [`configure_address`](Self::configure_address) takes on one core.
    pub fn new(config: StackConfig, nic: Option<N>, port: FabricPort, now: Instant) -> Self {
        let count = config.connections.clamp(1, limits::CONNECTIONS_MAX);
        let window_bytes = config.window_bytes.clamp(1, limits::WINDOW_MAX_BYTES);
        let prf = port.hasher().prf();
        let cores = port.cores().len();
        let output = Output::new(nic, port);
        let (key, rest) = config.seed.split_at(16);
        let key = key.try_into().unwrap_or_default();
        let seed = rest
            .first_chunk()
            .map_or(0, |seed| u64::from_le_bytes(*seed));
        Stack {
            station: Station {
                mac: output.info.mac,
                ..Station::default()
            },
            output,
            rest: Vec::with_capacity(limits::FRAME_BUFFERS),
            sequences: SequenceSource::new(key),
            chunks: ChunkPool::new(config.chunks, config.chunk_bytes, window_bytes),
            window_bytes,
            keep_alive_s: config.keep_alive.map_or(0, keep_alive_seconds),
            host_seen: HostSeen::NOTHING,
            host: Host::default(),
            autoconf: None,
            dhcp: None,
            reassembly: None,
            identifications: Identifications::new(FlowPrf::new(key)),
            icmp_errors: ErrorBudget::default(),
            host_changes: HostChanges::new(now),
            withdrawn: None,
            addressing_is_due: false,
            connections: Connections::new(count),
            half_open: 0,
            cookies: Cookies::new(prf),
            neighbours: Neighbours::default(),
            datagrams: Datagrams::default(),
            path_mtus: PathMtus::default(),
            unresolved: Vec::with_capacity(count),
            ports_tried: 0,
            flows: FlowTable::new(count),
            listeners: Listeners::new(count),
            ports_seen: PortsSeen::default(),
            stealing: Stealing::new(cores, config.chunk_bytes),
            time_wait: TimeWaitTable::new(limits::time_wait_entries(count)),
            // Two more than connections: addresses and TIME_WAIT.
            timers: Timers::new(count + 2, now),
            told: VecDeque::with_capacity(count),
            dirty: Vec::with_capacity(count),
            now,
            seed,
        }
    }

    /// Returns this core's counters.
    pub fn counters(&self) -> Counters {
        let mut counters = self.output.counters;
        counters.half_open_now = self.half_open as u64;
        counters.slots_now = self.connections.in_use() as u64;
        counters.reassemblies_now = self.reassembly.as_ref().map_or(0, |all| all.len() as u64);
        counters.time_wait_now = self.time_wait.len() as u64;
        counters.free_chunks_now = self.chunks.free() as u64;
        counters.rx_refused_bytes = self.chunks.refused;
        counters
    }

    /// Returns how many frames were dropped for each reason.
    pub fn drops(&self) -> &[u64; DropReason::COUNT] {
        &self.output.counters.drops
    }

    /// Returns the queue pair's counters, if this core has one.
    pub fn nic_counters(&self) -> Option<NicCounters> {
        self.output.nic.as_ref().map(Nic::counters)
    }

    /// Returns the place in the fabric.
    pub fn port(&self) -> &FabricPort {
        &self.output.port
    }

    /// Returns the next event, if there is one.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let index = *self.told.front()?;
            let id = self.connections.id(index);
            let slot = self.connections.slot(index);
            let first = slot.pending.take_first();
            if slot.pending.is_empty() {
                slot.queued = false;
                self.told.pop_front();
            }
            return Some(match (first, slot.role, slot.tcb.end()) {
                (Some(Pending::INCOMING), Role::Waiting(listener), _) => {
                    Event::Incoming(self.listeners.id(listener))
                }
                (Some(Pending::CONNECTED), Role::Owned, _) => Event::Connected(id),
                (Some(Pending::READABLE), Role::Owned, _) => Event::Readable(id),
                (Some(Pending::WRITABLE), Role::Owned, _) => Event::Writable(id),
                (Some(Pending::CLOSED), Role::Owned, Some(reason)) => Event::Closed(id, reason),
                // Accepted or released before it was told.
                _ => continue,
            });
        }
    }

    /// Returns when [`handle_timers`](Self::handle_timers) is to be called next, `None` for never.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Asks the device for an interrupt at the next frame; true when there is something to do
    /// already (frames, another core's ring or notice, events, or something unsent), and so no sleep.
    pub fn arm(&mut self) -> bool {
        let frames = self.output.nic.as_mut().is_some_and(Nic::arm);
        frames
            || self.output.port.has_incoming()
            || self.output.port.notices().has(self.output.port.core())
            || self.output.port.host().look() != self.host_seen
            || !self.told.is_empty()
            || !self.dirty.is_empty()
            || self.stealing.owes_ends()
            || (self.stealing.is_on && self.can_share_backlogs())
            || self.addressing_is_due
    }

    /// Leaves a notice for each of `cores`: its [`take_notice`](Self::take_notice) says so once. Those
    /// that sleep are among the cores to be woken that the next
    /// [`poll_transmit`](Self::poll_transmit) returns.
    pub fn notify(&mut self, cores: CoreMask) {
        self.output.port.notify(cores);
    }

    /// Takes this core's notice, if there is one. To be asked when there is nothing else to do:
    /// [`arm`](Self::arm) keeps a core from sleeping over it.
    pub fn take_notice(&mut self) -> bool {
        self.output.port.notices().take(self.output.port.core())
    }

    /// Ends what [`arm`](Self::arm) began; called after every sleep.
    pub fn disarm(&mut self) {
        if let Some(nic) = &mut self.output.nic {
            nic.disarm();
        }
    }

    /// How long a released connection may take to finish before it is reset.
    pub const LINGER: Duration = limits::LINGER;
}

fn keep_alive_seconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_secs().max(1)).unwrap_or(u32::MAX)
}
