//! Frames made and read by hand, for tests that need a segment to be exactly so.

use super::{CLIENT_ADDRESS, CLIENT_ADDRESS_V6, CLIENT_MAC};
use super::{STACK_ADDRESS, STACK_ADDRESS_V6, STACK_MAC};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use smoltcp::wire::checksum;

/// FIN.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// ACK.
pub const ACK: u8 = 0x10;

/// A TCP segment between the client and the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// The client's address, which chooses the family.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// The stack's port.
    pub stack_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledged: u32,
    /// Flags byte.
    pub flags: u8,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Tcp {
    /// Makes a segment from the client's usual address, without payload.
    pub fn new(client_port: u16, flags: u8, sequence: u32, acknowledged: u32) -> Self {
        Tcp {
            client: CLIENT_ADDRESS.into(),
            client_port,
            stack_port: 80,
            sequence,
            acknowledged,
            flags,
            payload: Vec::new(),
        }
    }

    /// Has it go over IPv6.
    pub fn over_ipv6(mut self) -> Self {
        self.client = CLIENT_ADDRESS_V6.into();
        self
    }

    /// Gives it a payload.
    pub fn with_payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.into();
        self
    }

    /// Returns the frame that carries it to the stack.
    pub fn frame(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend_from_slice(&self.client_port.to_be_bytes());
        tcp.extend_from_slice(&self.stack_port.to_be_bytes());
        tcp.extend_from_slice(&self.sequence.to_be_bytes());
        tcp.extend_from_slice(&self.acknowledged.to_be_bytes());
        tcp.extend_from_slice(&[0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend_from_slice(&self.payload);
        let stack = stack_address(self.client);
        seal_tcp(&mut tcp, self.client, stack);
        packet(6, self.client, stack, &tcp)
    }

    /// Reads a frame that the stack sent to the client, `None` when it carries no TCP segment.
    ///
    /// # Panics
    /// When a checksum is wrong: a test must fail then.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let segment = Tcp::parse_unchecked(frame)?;
        let (stack, client, tcp) = split(frame)?;
        if client.is_ipv4() {
            assert_eq!(checksum::data(&frame[14..34]), 0xffff, "IPv4 checksum");
        }
        let sum = checksum::combine(&[
            pseudo_header(stack, client, 6, tcp.len()),
            checksum::data(tcp),
        ]);
        assert_eq!(sum, 0xffff, "TCP checksum");
        Some(segment)
    }

    /// Reads a frame like [`parse`](Self::parse), whatever its checksums are: the device was to
    /// complete them.
    pub fn parse_unchecked(frame: &[u8]) -> Option<Self> {
        let (_, client, tcp) = split(frame)?;
        let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        Some(Tcp {
            client,
            client_port: u16::from_be_bytes([tcp[2], tcp[3]]),
            stack_port: u16::from_be_bytes([tcp[0], tcp[1]]),
            sequence: word(4),
            acknowledged: word(8),
            flags: tcp[13] & 0x17,
            payload: tcp[usize::from(tcp[12] >> 4) * 4..].into(),
        })
    }
}

/// Returns the stack's address of the client's family.
pub fn stack_address(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => STACK_ADDRESS.into(),
        IpAddr::V6(_) => STACK_ADDRESS_V6.into(),
    }
}

/// Returns source and destination and the TCP segment of a frame of the stack's; `None` when it
/// carries none.
pub fn split(frame: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let length = |at: usize| {
        Some(usize::from(u16::from_be_bytes([
            *frame.get(at)?,
            *frame.get(at + 1)?,
        ])))
    };
    match (frame.get(12..14)?, frame.get(23)?, frame.get(20)?) {
        ([0x08, 0x00], 6, _) => {
            let address = |at: usize| Some(Ipv4Addr::from(*frame.get(at..)?.first_chunk::<4>()?));
            let tcp = frame.get(34..14 + length(16)?)?;
            Some((address(26)?.into(), address(30)?.into(), tcp))
        }
        ([0x86, 0xdd], _, 6) => {
            let address = |at: usize| Some(Ipv6Addr::from(*frame.get(at..)?.first_chunk::<16>()?));
            let tcp = frame.get(54..54 + length(18)?)?;
            Some((address(22)?.into(), address(38)?.into(), tcp))
        }
        _ => None,
    }
}

fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, bytes: usize) -> u16 {
    let protocol = smoltcp::wire::IpProtocol::from(protocol);
    checksum::pseudo_header(&from.into(), &to.into(), protocol, bytes as u32)
}

/// Returns the client's answer to a frame that asks by ARP for its address; `None` for all others.
pub fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    let is_request = frame.len() >= 42 && frame[12..14] == [8, 6] && frame[21] == 1;
    if !is_request || frame[38..42] != CLIENT_ADDRESS.octets() {
        return None;
    }
    let mut reply = frame.to_vec();
    reply[..6].copy_from_slice(&frame[6..12]);
    reply[6..12].copy_from_slice(&CLIENT_MAC);
    reply[21] = 2;
    reply[22..28].copy_from_slice(&CLIENT_MAC);
    reply[28..32].copy_from_slice(&CLIENT_ADDRESS.octets());
    reply[32..38].copy_from_slice(&frame[6..12]);
    reply[38..42].copy_from_slice(&STACK_ADDRESS.octets());
    Some(reply)
}

/// Returns the client's answer to a frame that asks by neighbour discovery for its address; `None`
/// for all others.
pub fn neighbour_reply(frame: &[u8]) -> Option<Vec<u8>> {
    let is_question = frame.get(12..14)? == [0x86, 0xdd] && frame.get(54)? == &135;
    if !is_question || frame.get(62..78)? != CLIENT_ADDRESS_V6.octets() {
        return None;
    }
    let mut advertisement = [
        &[136, 0, 0, 0, 0x60, 0, 0, 0][..],
        &CLIENT_ADDRESS_V6.octets(),
        &[2, 1],
        &CLIENT_MAC,
    ]
    .concat();
    seal_icmpv6(&mut advertisement, CLIENT_ADDRESS_V6, STACK_ADDRESS_V6);
    let mut reply = packet(58, CLIENT_ADDRESS_V6, STACK_ADDRESS_V6, &advertisement);
    reply[..6].copy_from_slice(&frame[6..12]);
    reply[21] = 255;
    Some(reply)
}

/// Fills in the checksum of a TCP segment.
pub fn seal_tcp(tcp: &mut [u8], from: impl Into<IpAddr>, to: impl Into<IpAddr>) {
    tcp[16..18].copy_from_slice(&[0, 0]);
    let pseudo = pseudo_header(from.into(), to.into(), 6, tcp.len());
    let sum = !checksum::combine(&[pseudo, checksum::data(tcp)]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// Fills in the checksum of an ICMP message.
pub fn seal_icmp(message: &mut [u8]) {
    message[2..4].copy_from_slice(&[0, 0]);
    let sum = !checksum::data(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// Fills in the checksum of an ICMPv6 message.
pub fn seal_icmpv6(message: &mut [u8], from: Ipv6Addr, to: Ipv6Addr) {
    message[2..4].copy_from_slice(&[0, 0]);
    let pseudo = pseudo_header(from.into(), to.into(), 58, message.len());
    let sum = !checksum::combine(&[pseudo, checksum::data(message)]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// Returns a frame from the client to the stack around the payload of a packet of either family.
///
/// # Panics
/// When the addresses are of different families.
pub fn packet(
    protocol: u8,
    from: impl Into<IpAddr>,
    to: impl Into<IpAddr>,
    payload: &[u8],
) -> Vec<u8> {
    match (from.into(), to.into()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(protocol, from, to, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(protocol, from, to, payload),
        _ => panic!("two families"),
    }
}

/// Returns a frame from the client to the stack around an IPv6 payload.
pub fn ipv6(protocol: u8, from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let station = match to.is_multicast() {
        true => crate::ipv6::group_station(to),
        false => STACK_MAC,
    };
    let mut frame = Vec::new();
    frame.extend_from_slice(&station);
    frame.extend_from_slice(&CLIENT_MAC);
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, high, low, protocol, 64]);
    frame.extend_from_slice(&from.octets());
    frame.extend_from_slice(&to.octets());
    frame.extend_from_slice(payload);
    frame
}

/// Returns a frame from the client to the stack around an IPv4 payload.
pub fn ipv4(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&STACK_MAC);
    frame.extend_from_slice(&CLIENT_MAC);
    frame.extend_from_slice(&[8, 0]);
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    frame.extend_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend_from_slice(&from.octets());
    frame.extend_from_slice(&to.octets());
    seal_ipv4(&mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// Fills in the checksum of a frame's IPv4 header.
pub fn seal_ipv4(frame: &mut [u8]) {
    let header_bytes = usize::from(frame[14] & 0x0f) * 4;
    frame[24..26].copy_from_slice(&[0, 0]);
    let sum = !checksum::data(&frame[14..14 + header_bytes]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}
