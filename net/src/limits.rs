//! Bounds of the network layer, with units and the arithmetic between them. What happens at each
//! bound is said here; how often is counted in [`Counters`](crate::counters::Counters).

use core::ops::RangeInclusive;
use core::time::Duration;

/// Frames taken from the queue pair in one turn, so that a flood cannot starve the application.
pub const RX_BATCH_FRAMES: usize = 256;

/// Buffers that one received frame may lie in.
pub const FRAME_BUFFERS: usize = kernel::virtio::limits::RX_FRAME_BUFFERS;

/// Frames taken from one other core's ring in one turn.
pub const HANDOVER_BATCH_FRAMES: usize = 128;

/// Places of one ring between two cores, a power of two.
pub const HANDOVER_RING_FRAMES: usize = if cfg!(loom) { 2 } else { 128 };

/// Largest frame that can be handed over, in bytes: a 1500-byte packet with its Ethernet header,
/// and some room. Larger ones are dropped and counted.
pub const HANDOVER_FRAME_BYTES: usize = 1536;

/// Frames that one core can have on the way to one other, for a fabric of `cores` cores. All
/// rings together then take at most `cores * max(256, 64 * cores)` frames of memory, and half of that
/// with more than eight cores. A ping of the largest size fits into a ring of 64.
pub const fn handover_frames(cores: usize) -> usize {
    let share = 256 / if cores == 0 { 1 } else { cores };
    if cfg!(loom) {
        // Every order of accesses is tried: few will do.
        HANDOVER_RING_FRAMES
    } else if cores <= 8 && share < 64 {
        64
    } else if share < 32 {
        32
    } else if share > 128 {
        128
    } else {
        share
    }
}

/// Of these, frames that fragments leave to segments.
pub const fn boxes_for_segments(cores: usize) -> usize {
    handover_frames(cores) / 8
}

/// Addresses of both families that one appliance has at once; what comes beyond is refused and told.
pub const ADDRESSES: usize = 12;

/// Of these, addresses made of advertised prefixes at most: the others keep their room.
pub const SLAAC_ADDRESSES: usize = 6;

/// Routers of the link that are known at once; others are not until the time of one is over.
pub const ROUTERS: usize = 4;

/// Routes of one DHCP lease; what a server says beyond is not heard.
pub const LEASE_ROUTES: usize = 8;

/// After a lease was declined, none is asked for in this time (RFC 2131 §3.1.5).
pub const DECLINE_WAIT: Duration = Duration::from_secs(10);

/// Frames of the DHCP client in that time; then it waits as long.
pub const DHCP_FRAMES: u64 = 8;

/// Networks that routers have on the link at once.
pub const ON_LINK_PREFIXES: usize = 6;

/// Between two probes for an address that another may have (RFC 5227 §1.1: 1 s to 2 s, scattered;
/// RFC 4861 §10: 1 s).
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// After the last probe for an IPv4 address nobody has answered (RFC 5227 §1.1).
pub const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);

/// Between two announcements of an address (RFC 5227 §1.1).
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// An address is defended once in this time (RFC 5227 §1.1).
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// After this time it is asked once more for an address that another had (RFC 5227 §1.1).
pub const CONFLICT_RETRY: Duration = Duration::from_secs(60);

/// Advertisements shorten the life of an address to no less than this (RFC 4862 §5.5.3 (e)).
pub const SLAAC_LIFETIME_MIN: Duration = Duration::from_secs(2 * 60 * 60);

/// Routers that do not answer are asked again after this long (RFC 4861 §10), and then after twice as
/// long each time, up to the second of these (RFC 7559 §2).
pub const SOLICIT_FIRST: Duration = Duration::from_secs(4);
/// See [`SOLICIT_FIRST`].
pub const SOLICIT_MOST: Duration = Duration::from_secs(60 * 60);

/// A change of groups is told so often (RFC 3810 §9.1), and again within this time (§9.11).
pub const MLD_ROBUSTNESS: u8 = 2;
/// See [`MLD_ROBUSTNESS`].
pub const MLD_TELL_AGAIN: Duration = Duration::from_secs(1);

/// How long a router of the first version counts that has asked (RFC 3810 §9.12, with what it has for
/// the times of a router).
pub const MLD_OLD_ROUTER_TIME: Duration = Duration::from_secs(2 * 125 + 10);

/// What this host is changes so often at once, and then once in the second of these: whoever says one
/// thing and then another does not keep every core and the log busy.
pub const HOST_CHANGES: u32 = 16;
/// See [`HOST_CHANGES`].
pub const HOST_CHANGE_INTERVAL: Duration = Duration::from_millis(200);

/// Connections of one core that are looked at in one turn when an address has gone.
pub const WITHDRAWN_BATCH: u32 = 1024;

/// Routers that the command line may name: one of each family.
pub const GATEWAYS: usize = 2;

/// Routes beside those: networks on the link, and where others are reached.
pub const ROUTES: usize = 16;

/// Extension headers of an IPv6 packet that are stepped over, and their bytes together; a packet with
/// more is dropped (RFC 8504 §5.3 has the same limits for options).
pub const EXTENSION_HEADERS: usize = 4;
/// See [`EXTENSION_HEADERS`].
pub const EXTENSION_HEADERS_BYTES: usize = 256;

/// Datagrams of which fragments are kept at once, of both families; another pushes the oldest out.
pub const REASSEMBLIES: usize = 64;

/// Of these, datagrams of one source (of a network of 64 bits in IPv6): its own oldest gives way.
pub const REASSEMBLIES_PER_SOURCE: usize = 8;

/// Fragments of one datagram; one in more is dropped. The largest comes in 119 where a link takes 576
/// bytes, and in 54 where it takes 1,280.
pub const FRAGMENTS_PER_DATAGRAM: usize = 128;

/// How long a datagram may take to be whole: Linux's for IPv4. RFC 8200 §4.5 has 60 s at most.
pub const REASSEMBLY_TIME: Duration = Duration::from_secs(30);

/// What holds fragments: blocks of so many bytes, taken as bytes come.
pub const REASSEMBLY_BLOCK_BYTES: usize = 2048;

/// So many of them for a stack of so many connections: a small machine has room for two of the largest
/// datagrams at once, others for sixteen. Without a free one the oldest datagram gives way.
pub const fn reassembly_blocks(connections: usize) -> usize {
    let wanted = connections / 8;
    if wanted < REASSEMBLIES {
        REASSEMBLIES
    } else if wanted > 512 {
        512
    } else {
        wanted
    }
}

/// ICMP errors told in a second.
pub const ICMP_ERRORS_PER_SECOND: u32 = 10;

/// Bytes of all headers of a segment, at most: Ethernet's, IPv6's with extensions, TCP's with options.
/// They must lie in the first buffer of a frame.
pub const HEADERS_MAX_BYTES: usize = 14 + 40 + EXTENSION_HEADERS_BYTES + 60;

/// IP packet size, in bytes, that a core without a queue pair works with.
pub const MTU_WITHOUT_QUEUE_PAIR_BYTES: u16 = 1500;

/// Ports that can be listened on at once in one appliance.
pub const PORTS: usize = if cfg!(loom) { 1 } else { 16 };

/// Connections that an idle core asks for at a time.
pub const BID_CONNECTIONS: u8 = if cfg!(loom) { 1 } else { 8 };

/// Connections that one core has bid for and not got, and keeps room for.
pub const EXPECTED_CONNECTIONS: usize = 64;

/// Connections from other cores that one core has at a time, and of its own on other cores; no more
/// are moved.
pub const MOVED_CONNECTIONS: usize = 1024;

/// Connections that wait first in an accept queue and are looked at for one that can be moved.
pub const MOVE_TRIES: usize = 8;

/// Places of one ring of connections, and of their ends, between two cores; beyond, they wait.
pub const MOVES_RING: usize = if cfg!(loom) { 2 } else { 16 };

/// How often a core that has flows of a share that moved looks whether any is left.
pub const STRAYS_CHECK: Duration = Duration::from_secs(1);

/// Listeners of one core.
pub const LISTENERS: usize = 16;

/// Connections one stack can be made with: an index must fit beside the table's empty mark.
pub const CONNECTIONS_MAX: usize = 1 << 24;

/// Local ports of connections that this side opens (RFC 6335 §6).
pub const EPHEMERAL_PORTS: RangeInclusive<u16> = 49_152..=65_535;

/// Ports that are tried for one connection: with as many cores as there can be, nearly all of them
/// are other cores'.
pub const PORT_TRIES: usize = 64 * kernel::limits::MAX_CORES;

/// Stations that one core remembers of those it has asked for.
pub const NEIGHBOURS: usize = 16;

/// Places in which cores wait for answers, by address.
pub const QUESTION_PLACES: usize = if cfg!(loom) { 1 } else { 64 };

/// An answer that no core waits for is told to the others once in this time: a station may have moved.
pub const NEIGHBOUR_NEWS: Duration = Duration::from_secs(1);

/// How long an answer holds.
pub const NEIGHBOUR_LIFE: Duration = Duration::from_secs(60);

/// How long after a station was asked for in vain it is asked for again, for the sake of a datagram.
pub const ARP_AGAIN: Duration = Duration::from_secs(1);

/// Peers of one core whose way is known to take less than the link; the oldest gives way.
pub const PATH_MTUS: usize = 64;

/// How long that is known (RFC 1191 §6.3, RFC 8201 §5.3: 10 min).
pub const PATH_MTU_LIFE: Duration = Duration::from_secs(10 * 60);

/// Largest receive window, in bytes (RFC 7323 §2.3).
pub const WINDOW_MAX_BYTES: u32 = 1 << 30;

/// Half-open connections of one core: at most half of its slots, so that a flood of SYNs cannot
/// take the established ones' memory. A SYN above it is answered with a cookie.
pub const fn half_open(connections: usize) -> usize {
    if connections < 2 { 1 } else { connections / 2 }
}

/// How long a SYN cookie is good for, at least; at most twice that. Divides the time that its bits
/// hold: 32 of these.
pub const COOKIE_LIFE: Duration = Duration::from_secs(64);

/// Connections of one core in TIME_WAIT; the oldest is forgotten when another comes.
pub const fn time_wait_entries(connections: usize) -> usize {
    let wanted = connections.saturating_mul(4);
    if wanted < 1024 {
        1024
    } else if wanted > 16_384 {
        16_384
    } else {
        wanted
    }
}

/// How long TIME_WAIT lasts: two maximum segment lifetimes, with 10 s taken for one. RFC 9293
/// §3.4.2 takes 2 min, which dates from 1981; Linux has 60 s for the whole. A new SYN does not
/// have to wait for it (RFC 9293 §3.10.7.4).
pub const TIME_WAIT: Duration = Duration::from_secs(20);

/// A half-open connection whose peer is silent this long is dropped.
pub const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that owes an acknowledgement and is silent this long is given up (RFC 9293 §3.8.3).
pub const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// A peer that does not answer the question whether it is still there is asked again after this
/// long, and given up when it has not answered so often (RFC 9293 §3.8.4; Linux's figures).
pub const KEEP_ALIVE_RETRY: Duration = Duration::from_secs(75);
/// See [`KEEP_ALIVE_RETRY`].
pub const KEEP_ALIVE_PROBES: u8 = 9;

/// An acknowledgement waits this long for data to go with (RFC 9293 §3.8.6.3: below 500 ms).
pub const ACK_DELAY: Duration = Duration::from_millis(10);

/// Retransmission timeout before a round trip was measured (RFC 6298 §2.1).
pub const RTO_INITIAL: Duration = Duration::from_secs(1);

/// Least retransmission timeout: Linux's. RFC 6298 §2.4 has 1 s and expects less one day.
pub const RTO_MIN: Duration = Duration::from_millis(200);

/// Largest retransmission timeout (RFC 6298 §2.5: at least 60 s).
pub const RTO_MAX: Duration = Duration::from_secs(60);

/// The end of a flight is not probed before this (RFC 8985 §7.2).
pub const TAIL_PROBE_MIN: Duration = Duration::from_millis(10);

/// Segments without payload that are out of place are answered once in this time, per connection
/// (RFC 5961 §7; Linux's figure).
pub const CHALLENGE_INTERVAL: Duration = Duration::from_millis(500);

/// A peer's timestamp that is older than this is not compared with (RFC 7323 §5.5).
pub const TIMESTAMP_LIFE: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// Segment size of a peer that does not say (RFC 9293 §3.7.1), in bytes.
pub const MSS_DEFAULT_BYTES: u16 = 536;

/// A peer that asks for smaller segments gets these: less would be mostly headers.
pub const MSS_MIN_BYTES: u16 = 88;

/// Bytes of a frame that are written, at most, when the rest of it is sent from where it is.
pub const HEAD_MAX_BYTES: usize = 1600;

/// Payload bytes that are written before the part that is sent from where it is, at most.
pub const GATHER_COPY_BYTES: usize = 1460;

/// A piece of lasting memory that is shorter is copied: that is cheaper than describing it.
pub const GATHER_MIN_BYTES: usize = 1024;

/// Pieces that are sent from where they are in one frame, at most.
pub const TAIL_PIECES: usize = kernel::virtio::limits::TX_TAIL_PIECES;

/// Pieces of lent memory that wait in a connection's send queue.
pub const SEND_PIECES: usize = 8;

/// Ranges that are remembered as acknowledged selectively, per connection.
pub const SACK_RANGES: usize = 8;

/// Ranges told in one segment: what fits beside timestamps (RFC 2018 §3).
pub const SACK_BLOCKS: usize = 3;

/// Chunks that one connection may hold beyond a gap: twice what its window takes, since each run
/// begins one of its own, and some more for small windows. What does not fit is dropped; the peer
/// sends it again.
pub const fn out_of_order_chunks(window_bytes: usize, chunk_bytes: usize) -> u16 {
    let chunks = 2 * (window_bytes / if chunk_bytes == 0 { 1 } else { chunk_bytes }) + 8;
    if chunks > u16::MAX as usize {
        u16::MAX
    } else {
        chunks as u16
    }
}

/// How long a connection that this side has finished waits for the peer's FIN, once its own is
/// acknowledged.
pub const LINGER: Duration = Duration::from_secs(30);

/// Smallest packet size a device may have, in bytes (RFC 791: every host takes 576).
pub const MTU_MIN_BYTES: u16 = 576;

/// Smallest IPv6 packet size that a link may have, in bytes (RFC 8200 §5). A device with a smaller one
/// still gets no larger packets than it takes.
pub const MTU_MIN_IPV6_BYTES: u16 = 1280;

const _: () =
    assert!(EXPECTED_CONNECTIONS >= BID_CONNECTIONS as usize && MOVES_RING.is_power_of_two());
const _: () = assert!(HANDOVER_RING_FRAMES.is_power_of_two());
const _: () = assert!(handover_frames(1) <= HANDOVER_RING_FRAMES);
const _: () = assert!(HANDOVER_FRAME_BYTES >= MTU_WITHOUT_QUEUE_PAIR_BYTES as usize + 14);
// A frame of several buffers is cut to cross to another core: each part has headers and some payload.
const _: () = assert!(HEADERS_MAX_BYTES + 1024 <= HANDOVER_FRAME_BYTES);
const _: () = assert!(HEADERS_MAX_BYTES + 12 <= kernel::virtio::limits::RX_BUFFER_BYTES);
const _: () = assert!(FRAME_BUFFERS <= u8::MAX as usize);
const _: () = assert!(GATHER_COPY_BYTES + 14 + 40 + 60 <= HEAD_MAX_BYTES);
const _: () = assert!(HEAD_MAX_BYTES + 12 <= kernel::virtio::limits::TX_BUFFER_BYTES);
const _: () = assert!(LISTENERS <= u8::MAX as usize && LISTENERS >= PORTS);
const _: () = assert!(CONNECTIONS_MAX * 2 <= u32::MAX as usize);
const _: () = assert!(ACK_DELAY.as_millis() < 500);
const _: () = assert!(ACK_DELAY.as_millis() < RTO_MIN.as_millis());
const _: () = assert!(MTU_MIN_BYTES > 40 + 12 + MSS_MIN_BYTES && MTU_MIN_IPV6_BYTES > 60);
const _: () = assert!(MSS_MIN_BYTES > 40 && MSS_MIN_BYTES < MSS_DEFAULT_BYTES);
const _: () = assert!(ADDRESSES <= 0xff && ROUTES <= 0xff);
const _: () = assert!(SLAAC_ADDRESSES + 3 < ADDRESSES);
const _: () = assert!(reassembly_blocks(0) * REASSEMBLY_BLOCK_BYTES >= 2 * 65_536);
const _: () = assert!(FRAGMENTS_PER_DATAGRAM * 552 > 65_536 && REASSEMBLY_TIME.as_secs() <= 60);
