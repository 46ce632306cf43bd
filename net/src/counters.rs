//! What one core's stack has seen and done, as plain numbers that only their own core writes.
//!
//! Upstream: every module of this crate. Downstream: the image prints them, tests check them.

use kernel::trace::Kind;

/// Why a frame was dropped. Each reason has a counter of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// Shorter than an Ethernet header.
    Runt,
    /// Addressed to another station.
    NotOurStation,
    /// Broadcast or multicast, and not of a kind that is wanted that way.
    Broadcast,
    /// A VLAN tag (IEEE 802.1Q, 802.1ad).
    Vlan,
    /// An ethertype that nothing here speaks.
    Ethertype,
    /// An IPv4 header that is cut short, of a wrong version, or with impossible lengths.
    BadIpv4Header,
    /// An IPv4 header checksum that does not fit.
    BadIpv4Checksum,
    /// An IPv6 header that is cut short, of a wrong version, or with an impossible length.
    BadIpv6Header,
    /// IPv6 extension headers that are malformed, too many, not to be ignored, or for routing.
    BadIpv6Extension,
    /// A fragment with an impossible place or length, or a first one without all headers.
    BadFragment,
    /// A fragment that lies over another in part, or of a datagram of which one did.
    FragmentOverlap,
    /// A fragment that has come before.
    FragmentRepeated,
    /// A fragment of a datagram in too many.
    FragmentTooMany,
    /// A fragment of a datagram that had to give way to others.
    FragmentEvicted,
    /// A fragment of a datagram that was not whole in time.
    FragmentLate,
    /// A source address that no host may have.
    BadSource,
    /// Not our IP address, or none is known yet.
    NotOurAddress,
    /// Not TCP, ICMP or DHCP.
    IpProtocol,
    /// UDP for a port that nothing listens on.
    UdpPort,
    /// A TCP header that is cut short, or with impossible lengths or ports.
    BadTcpHeader,
    /// A TCP checksum that does not fit.
    BadTcpChecksum,
    /// A frame in several buffers that is no TCP segment, whose headers are not all in the first, that
    /// is shorter than it says or needs no second, or that begins or breaks a connection.
    LargeFrame,
    /// An ARP packet that is malformed or not about us.
    Arp,
    /// The ring to the owning core is full.
    HandoverFull,
    /// Too large for the ring to the owning core.
    HandoverTooLarge,
    /// The transmit queue has no room for an answer.
    TransmitFull,
    /// A SYN while the listener has no room for another connection.
    BacklogFull,
    /// A SYN while the core has as many half-open connections as it may.
    HalfOpenFull,
    /// A SYN while every connection slot is taken.
    ConnectionsFull,
    /// A RST for a connection in TIME_WAIT (RFC 1337).
    TimeWaitReset,
    /// Neighbour discovery that is not about us, or of no use.
    Discovery,
    /// An ICMP message that is malformed, or asks for no answer.
    Icmp,
}

macro_rules! drop_names {
    ($($reason:ident => $name:literal),* $(,)?) => {
        /// Names of the drop counters, in the order of [`DropReason`].
        const DROP_NAMES: [&str; DropReason::COUNT] = [$($name),*];
        /// The same as kinds of events, with the frames of the batch.
        static DROPS: [Kind; DropReason::COUNT] = [$(Kind::new($name, ["batch", ""])),*];
        impl DropReason {
            /// How many reasons there are.
            pub const COUNT: usize = [$(DropReason::$reason),*].len();
            #[cfg(test)]
            const ALL: [DropReason; DropReason::COUNT] = [$(DropReason::$reason),*];
        }
    };
}

drop_names! {
    Runt => "drop_runt",
    NotOurStation => "drop_not_our_station",
    Broadcast => "drop_broadcast",
    Vlan => "drop_vlan",
    Ethertype => "drop_ethertype",
    BadIpv4Header => "drop_bad_ipv4_header",
    BadIpv4Checksum => "drop_bad_ipv4_checksum",
    BadIpv6Header => "drop_bad_ipv6_header",
    BadIpv6Extension => "drop_bad_ipv6_extension",
    BadFragment => "drop_bad_fragment",
    FragmentOverlap => "drop_fragment_overlap",
    FragmentRepeated => "drop_fragment_repeated",
    FragmentTooMany => "drop_fragment_too_many",
    FragmentEvicted => "drop_fragment_evicted",
    FragmentLate => "drop_fragment_late",
    BadSource => "drop_bad_source",
    NotOurAddress => "drop_not_our_address",
    IpProtocol => "drop_ip_protocol",
    UdpPort => "drop_udp_port",
    BadTcpHeader => "drop_bad_tcp_header",
    BadTcpChecksum => "drop_bad_tcp_checksum",
    LargeFrame => "drop_large_frame",
    Arp => "drop_arp",
    HandoverFull => "drop_handover_full",
    HandoverTooLarge => "drop_handover_too_large",
    TransmitFull => "drop_transmit_full",
    BacklogFull => "drop_backlog_full",
    HalfOpenFull => "drop_half_open_full",
    ConnectionsFull => "drop_connections_full",
    TimeWaitReset => "drop_time_wait_reset",
    Discovery => "drop_discovery",
    Icmp => "drop_icmp",
}

impl DropReason {
    /// Returns the counter's name.
    pub const fn name(self) -> &'static str {
        DROP_NAMES[self as usize]
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of one core's stack. All only grow, but those whose name ends in `_now`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
            pub(crate) drops: [u64; DropReason::COUNT],
            last_drop: Option<DropReason>,
        }

        impl Counters {
            /// Returns every counter with its name, drops last.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*]
                    .into_iter()
                    .chain(DROP_NAMES.into_iter().zip(self.drops))
            }
        }
    };
}

counters! {
    /// Frames taken from the queue pair.
    rx_frames,
    /// TCP segments that were put together of several before they came, or came in several buffers.
    large_segments,
    /// Frames written to the queue pair, those of other cores included.
    tx_frames,
    /// Frames given to the core that owns their flow.
    handovers_out,
    /// Frames got from other cores for flows of this one.
    handovers_in,
    /// Finished frames given to a core with a queue pair.
    forwards_out,
    /// Finished frames sent for a core without a queue pair.
    forwards_in,
    /// ARP requests answered.
    arp_replies,
    /// ARP requests sent, for connections and datagrams of ours.
    arp_requests,
    /// Neighbour discovery taken in.
    ndp_frames,
    /// Neighbour solicitations answered.
    ndp_replies,
    /// Neighbour solicitations sent, for connections of ours.
    ndp_requests,
    /// Answers that no core had asked for and that were not told to the others, because others were
    /// a moment ago.
    neighbour_news_kept,
    /// Reports of groups that are listened to, sent.
    mld_reports,
    /// Questions about groups taken in.
    mld_queries,
    /// Router advertisements taken in.
    router_advertisements,
    /// Changes of what this host is, told to every core.
    host_changes,
    /// Connections looked at because an address had gone.
    connections_looked_at,
    /// Frames that showed another station at an address of ours.
    address_conflicts,
    /// Addresses, networks, routers and routes that there was no room for.
    addresses_refused,
    /// Connections whose segments have become smaller because their way takes no larger ones.
    path_mtu_changes,
    /// UDP datagrams of ours sent, beside DHCP's.
    datagrams_sent,
    /// ICMP packets taken in.
    icmp_frames,
    /// Fragments taken in for reassembly.
    fragments_taken,
    /// Datagrams that were put together of fragments.
    datagrams_reassembled,
    /// Fragments of ours sent.
    fragments_sent,
    /// Senders told that a datagram of theirs was not whole in time.
    time_exceeded_sent,
    /// DHCP frames taken in.
    dhcp_frames,
    /// Leases taken, changed or renewed with a change.
    dhcp_configured,
    /// Leases lost: the address was withdrawn.
    dhcp_lost,
    /// SYNs that began a connection.
    connections_begun,
    /// SYNs answered with a cookie, because there was no room for another half-open connection.
    syn_cookies_sent,
    /// Connections that began when a cookie came back.
    syn_cookies_taken,
    /// Connections that this side began.
    connects_begun,
    /// Connections of ours that came to nothing.
    connects_failed,
    /// Handshakes completed, of either side's beginning.
    connections_established,
    /// Connections that both sides finished in order.
    connections_finished,
    /// Connections that the peer reset.
    connections_reset,
    /// Connections whose peer stopped answering.
    connections_timed_out,
    /// Connections that this side aborted.
    connections_aborted,
    /// Half-open connections that never became more.
    half_open_lost,
    /// Released connections that had to be reset: unread bytes, or no end within the linger time.
    linger_resets,
    /// Connections reset because their listener ended before they were accepted.
    listener_resets,
    /// Waiting connections given to idle cores.
    connections_given,
    /// Waiting connections taken from other cores.
    connections_taken,
    /// Segments for connections that do not exist, answered with RST unless they were one.
    unknown_segments,
    /// Segments of connections that were out of place: old, beyond the window, or not to be trusted.
    out_of_place_segments,
    /// TCP segments sent, each as often as it was.
    tx_segments,
    /// Segments sent that had been sent before, whole or in part.
    tx_segments_repeated,
    /// Bytes received that found no memory, or no place beyond a gap.
    rx_refused_bytes,
    /// SYNs accepted for a 4-tuple in TIME_WAIT.
    time_wait_reused,
    /// Segments answered from TIME_WAIT.
    time_wait_acks,
    /// TIME_WAIT entries forgotten early because the table was full.
    time_wait_evicted,
    /// Half-open connections at this moment.
    half_open_now,
    /// Connections past the handshake and not yet over, at this moment.
    established_now,
    /// Connection slots in use at this moment, whatever for.
    slots_now,
    /// Datagrams of which some fragments are here, at this moment.
    reassemblies_now,
    /// TIME_WAIT entries at this moment.
    time_wait_now,
    /// Chunks of receive memory that are free at this moment.
    free_chunks_now,
}

/// Returns the name of the counter of the drop reason with this number.
pub fn drop_name(reason: usize) -> Option<&'static str> {
    DROP_NAMES.get(reason).copied()
}

impl Counters {
    /// Counts a dropped frame.
    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
        self.last_drop = Some(reason);
    }

    /// Counts so many dropped frames, maybe none.
    pub(crate) fn count_drops(&mut self, reason: DropReason, frames: usize) {
        if frames > 0 {
            self.drops[reason as usize] += frames as u64;
            self.last_drop = Some(reason);
        }
    }

    /// Takes the reason of the last drop since the last call, as a kind of event.
    #[inline]
    pub(crate) fn take_last_drop(&mut self) -> Option<&'static Kind> {
        let reason = self.last_drop.take()?;
        Some(&DROPS[reason as usize])
    }

    /// Returns how many frames were dropped for `reason`.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            let mut counters = Counters::default();
            counters.count_drop(reason);
            let counted = counters.iter().filter(|(_, value)| *value == 1);
            assert_eq!(counted.map(|(name, _)| name).next(), Some(reason.name()));
        }
    }
}
