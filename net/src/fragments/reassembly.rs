//! Datagrams of which some fragments are here: a table of few, in memory that is taken once.
//!
//! Upstream: [`fragments`](super). Downstream: the whole datagram, as a frame that was never cut.
//!
//! Fragments may come in any order and more than once; what lies over another in part spoils its
//! datagram for good (RFC 5722 §4, RFC 8200 §4.5; here for IPv4 as well, RFC 1858 §4): nothing of it
//! is ever delivered. A datagram that is not whole in [`REASSEMBLY_TIME`] is given up. Whoever fills
//! the table pushes out what came before, its own first: one source (a network of 64 bits in IPv6)
//! holds no more than [`REASSEMBLIES_PER_SOURCE`] places. A place holds memory by blocks, as far as
//! bytes have come.

use super::fragment::{DatagramKey, Fragment};
use super::place::{DATAGRAM_BYTES, NO_BLOCK, Place, network, station};
use crate::counters::{Counters, DropReason};
use crate::demux::{ETHERNET_HEADER_BYTES, IPPROTO_ICMP, IPPROTO_ICMPV6};
use crate::flow::AddressPair;
use crate::ipv4;
use crate::ipv6::{self, IPV6_HEADER_BYTES};
use crate::limits::{
    MTU_MIN_IPV6_BYTES, REASSEMBLIES, REASSEMBLIES_PER_SOURCE, REASSEMBLY_BLOCK_BYTES,
    REASSEMBLY_TIME,
};
use crate::output::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ethernet_header, ip_header_bytes};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use kernel::Instant;

/// The table.
pub(crate) struct Reassembly {
    mac: [u8; 6],
    places: Vec<Place>,
    memory: Box<[u8]>,
    free: Vec<u16>,
    /// Where a datagram is put together.
    whole: Box<[u8]>,
    /// Datagrams begun so far, which says who is older.
    begun: u64,
}

/// A datagram whose time was over and whose first fragment had come: what its sender is told.
pub(crate) struct Expired {
    pub(crate) addresses: AddressPair,
    pub(crate) station: [u8; 6],
    /// Bytes of the first fragment's packet, from [`Reassembly::quoted`].
    pub(crate) quoted: usize,
}

impl Reassembly {
    /// Takes the memory for `blocks` blocks, for the device's address `mac`.
    pub(crate) fn new(mac: [u8; 6], blocks: usize) -> Self {
        let whole = ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES + DATAGRAM_BYTES;
        Reassembly {
            mac,
            places: (0..REASSEMBLIES).map(|_| Place::empty()).collect(),
            memory: vec![0; blocks * REASSEMBLY_BLOCK_BYTES].into_boxed_slice(),
            free: (0..blocks as u16).collect(),
            whole: vec![0; whole].into_boxed_slice(),
            begun: 0,
        }
    }

    /// Takes in a fragment. Returns the length of the frame of the datagram that is whole by it, which
    /// [`lend_whole`](Self::lend_whole) has.
    pub(crate) fn take(
        &mut self,
        fragment: &Fragment,
        frame: &[u8],
        now: Instant,
        counters: &mut Counters,
    ) -> Result<Option<usize>, DropReason> {
        if self.whole.is_empty() {
            // A fragment in what was put together of fragments.
            return Err(DropReason::BadFragment);
        }
        if fragment.is_atomic() {
            let head = (&fragment.key, fragment.protocol, station(frame));
            let bytes = fragment.bytes(frame);
            let start = self.write_headers(head, bytes.len());
            self.whole[start..start + bytes.len()].copy_from_slice(bytes);
            return Ok(Some(start + bytes.len()));
        }
        let found = self.places.iter().position(|place| place.is_of(fragment));
        let index = found.unwrap_or_else(|| self.begin(&fragment.key, now, counters));
        let place = &mut self.places[index];
        if let Some(reason) = place.spoiled {
            return Err(reason);
        }
        if let Err(reason) = place.admit(fragment) {
            if reason != DropReason::FragmentRepeated {
                self.spoil(index, reason, counters);
            }
            return Err(reason);
        }
        if fragment.place.start == 0 {
            place.protocol = fragment.protocol;
            place.station = station(frame);
            place.headers.clear();
            // There is room: the demux walks over no more.
            let _ = place.headers.extend_from_slice(fragment.headers(frame));
        }
        self.store(index, fragment.place.start, fragment.bytes(frame), counters)?;
        let place = &self.places[index];
        if place.end != Some(place.bytes) {
            return Ok(None);
        }
        let bytes = self.put_together(index);
        self.end(index);
        Ok(Some(bytes))
    }

    /// Lends the memory in which a datagram was put together, to be
    /// [given back](Self::give_back_whole); meanwhile no fragment is taken.
    pub(crate) fn lend_whole(&mut self) -> Box<[u8]> {
        core::mem::take(&mut self.whole)
    }

    /// See [`lend_whole`](Self::lend_whole).
    pub(crate) fn give_back_whole(&mut self, whole: Box<[u8]>) {
        self.whole = whole;
    }

    /// Gives up a datagram whose time is over; `None` when there is none. What is to be told is told
    /// only of one whose first fragment has come.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        counters: &mut Counters,
    ) -> Option<Option<Expired>> {
        let is_over = |place: &Place| place.key.is_some() && place.since + REASSEMBLY_TIME <= now;
        let index = self.places.iter().position(is_over)?;
        let expired = self.quote(index);
        let place = &self.places[index];
        counters.count_drops(DropReason::FragmentLate, place.ranges.len());
        self.end(index);
        Some(expired)
    }

    /// Returns the start of the first fragment of what has just expired, from its IP header on.
    pub(crate) fn quoted(&self, bytes: usize) -> &[u8] {
        &self.whole[..bytes]
    }

    /// Returns when the next datagram's time is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let used = self.places.iter().filter(|place| place.key.is_some());
        used.map(|place| place.since + REASSEMBLY_TIME).min()
    }

    /// Returns how many datagrams there are of which fragments have come.
    pub(crate) fn len(&self) -> usize {
        let used = self.places.iter().filter(|place| place.key.is_some());
        used.count()
    }

    /// Makes a place for a datagram, if need be another's.
    fn begin(&mut self, key: &DatagramKey, now: Instant, counters: &mut Counters) -> usize {
        let source = network(key);
        let (mut own, mut free) = (0, None);
        // Numbers and places of the oldest; none is as old as this.
        let (mut oldest, mut oldest_own) = ((u64::MAX, 0), (u64::MAX, 0));
        for (index, place) in self.places.iter().enumerate() {
            if place.key.is_none() {
                free = Some(index);
                continue;
            }
            let this = (place.number, index);
            if this.0 < oldest.0 {
                oldest = this;
            }
            if place.network == source {
                own += 1;
                if this.0 < oldest_own.0 {
                    oldest_own = this;
                }
            }
        }
        let victim = match free {
            _ if own >= REASSEMBLIES_PER_SOURCE => Some(oldest_own.1),
            None => Some(oldest.1),
            Some(_) => None,
        };
        if let Some(index) = victim {
            self.evict(index, counters);
        }
        // A table has a place that is free, or one that is oldest.
        let index = victim.or(free).unwrap_or(0);
        self.begun += 1;
        let place = &mut self.places[index];
        place.key = Some(*key);
        place.network = source;
        place.number = self.begun;
        place.since = now;
        index
    }

    /// Copies bytes to their place. There is memory for a whole datagram, if others give way.
    fn store(
        &mut self,
        index: usize,
        mut at: usize,
        mut bytes: &[u8],
        counters: &mut Counters,
    ) -> Result<(), DropReason> {
        while !bytes.is_empty() {
            let (number, from) = (at / REASSEMBLY_BLOCK_BYTES, at % REASSEMBLY_BLOCK_BYTES);
            let block = match self.places[index].blocks[number] {
                NO_BLOCK => {
                    let Some(block) = self.take_block(index, counters) else {
                        self.spoil(index, DropReason::FragmentEvicted, counters);
                        return Err(DropReason::FragmentEvicted);
                    };
                    self.places[index].blocks[number] = block;
                    block
                }
                block => block,
            };
            let count = bytes.len().min(REASSEMBLY_BLOCK_BYTES - from);
            let to = usize::from(block) * REASSEMBLY_BLOCK_BYTES + from;
            let (part, rest) = bytes.split_at(count);
            self.memory[to..to + count].copy_from_slice(part);
            (at, bytes) = (at + count, rest);
        }
        Ok(())
    }

    /// Takes a block, if need be of the oldest datagram beside this one.
    fn take_block(&mut self, index: usize, counters: &mut Counters) -> Option<u16> {
        while self.free.is_empty() {
            let places = self.places.iter().enumerate();
            let others = places.filter(|(other, place)| *other != index && place.holds_memory());
            let (oldest, _) = others.min_by_key(|(_, place)| place.number)?;
            self.evict(oldest, counters);
        }
        self.free.pop()
    }

    fn evict(&mut self, index: usize, counters: &mut Counters) {
        let held = self.places[index].ranges.len();
        counters.count_drops(DropReason::FragmentEvicted, held);
        self.end(index);
    }

    /// Drops what is here of a datagram and all that will come of it.
    fn spoil(&mut self, index: usize, reason: DropReason, counters: &mut Counters) {
        self.give_back_blocks(index);
        let place = &mut self.places[index];
        counters.count_drops(reason, place.ranges.len());
        place.ranges.clear();
        place.headers.clear();
        place.spoiled = Some(reason);
    }

    fn end(&mut self, index: usize) {
        self.give_back_blocks(index);
        let place = &mut self.places[index];
        place.key = None;
        place.ranges.clear();
        place.headers.clear();
        (place.bytes, place.end, place.spoiled) = (0, None, None);
    }

    fn give_back_blocks(&mut self, index: usize) {
        for block in &mut self.places[index].blocks {
            if *block != NO_BLOCK {
                self.free.push(*block);
                *block = NO_BLOCK;
            }
        }
    }

    /// Writes the frame of a datagram that is whole, as if it had never been cut, and returns its
    /// length.
    fn put_together(&mut self, index: usize) -> usize {
        let place = &self.places[index];
        let (key, bytes) = (place.key, place.bytes);
        let Some(key) = key else {
            return 0;
        };
        let start = self.write_headers((&key, place.protocol, place.station), bytes);
        self.copy_out(index, 0, start..start + bytes);
        start + bytes
    }

    /// Copies bytes of a datagram, from `at` on, into a range of `whole`.
    fn copy_out(&mut self, index: usize, mut at: usize, to: core::ops::Range<usize>) {
        let mut room = &mut self.whole[to];
        while !room.is_empty() {
            let block = usize::from(self.places[index].blocks[at / REASSEMBLY_BLOCK_BYTES]);
            let from = at % REASSEMBLY_BLOCK_BYTES;
            let count = room.len().min(REASSEMBLY_BLOCK_BYTES - from);
            let from = block * REASSEMBLY_BLOCK_BYTES + from;
            let (part, rest) = room.split_at_mut(count);
            part.copy_from_slice(&self.memory[from..from + count]);
            (at, room) = (at + count, rest);
        }
    }

    /// Writes the headers before a payload of so many bytes, and returns where it begins.
    ///
    /// In IPv6 no hops are left: whatever must not have come through a router is refused then, as
    /// neighbour discovery in fragments is to be (RFC 6980 §5).
    fn write_headers(
        &mut self,
        (key, protocol, station): (&DatagramKey, u8, [u8; 6]),
        bytes: usize,
    ) -> usize {
        let start = ETHERNET_HEADER_BYTES + ip_header_bytes(key.addresses.is_ipv6());
        let (ethernet, ip) = self.whole[..start].split_at_mut(ETHERNET_HEADER_BYTES);
        let bytes = bytes as u16;
        match key.addresses {
            AddressPair::V4 { remote, local } => {
                ethernet.copy_from_slice(&ethernet_header(self.mac, station, ETHERTYPE_IPV4));
                ip.copy_from_slice(&ipv4::header(remote, local, protocol, bytes));
            }
            AddressPair::V6 { remote, local } => {
                ethernet.copy_from_slice(&ethernet_header(self.mac, station, ETHERTYPE_IPV6));
                ip.copy_from_slice(&ipv6::header(remote, local, protocol, 0, bytes));
            }
        }
        start
    }

    /// Writes the start of the first fragment's packet where [`quoted`](Self::quoted) has it, as much
    /// as an error is to quote (RFC 792: eight bytes; RFC 4443 §3.3: what fits into 1,280). No error
    /// is told about an error (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)).
    fn quote(&mut self, index: usize) -> Option<Expired> {
        let place = &self.places[index];
        let key = place.key?;
        let first = place.ranges.iter().find(|(start, _)| *start == 0)?;
        let kind = self.memory[usize::from(place.blocks[0]) * REASSEMBLY_BLOCK_BYTES];
        let (is_error, room) = match key.addresses {
            AddressPair::V4 { .. } => {
                (place.protocol == IPPROTO_ICMP && ![0, 8].contains(&kind), 8)
            }
            AddressPair::V6 { .. } => {
                let room =
                    usize::from(MTU_MIN_IPV6_BYTES) - IPV6_HEADER_BYTES - 8 - place.headers.len();
                (place.protocol == IPPROTO_ICMPV6 && kind < 128, room)
            }
        };
        if is_error {
            return None;
        }
        let (headers, bytes) = (place.headers.len(), room.min(first.1.into()));
        let expired = Expired {
            addresses: key.addresses,
            station: place.station,
            quoted: headers + bytes,
        };
        self.whole[..headers].copy_from_slice(&place.headers);
        self.copy_out(index, 0, headers..headers + bytes);
        Some(expired)
    }
}
