//! Frames made and read by hand, for tests that need a segment to be exactly so.

use super::{CLIENT_ADDRESS, CLIENT_MAC, STACK_ADDRESS, STACK_MAC};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
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
    /// The client's address.
    pub client: Ipv4Addr,
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
            client: CLIENT_ADDRESS,
            client_port,
            stack_port: 80,
            sequence,
            acknowledged,
            flags,
            payload: Vec::new(),
        }
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
        seal_tcp(&mut tcp, self.client, STACK_ADDRESS);
        ipv4(6, self.client, STACK_ADDRESS, &tcp)
    }

    /// Reads a frame that the stack sent to the client, `None` when it carries no TCP segment.
    ///
    /// # Panics
    /// When a checksum is wrong: a test must fail then.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let segment = Tcp::parse_unchecked(frame)?;
        assert_eq!(checksum::data(&frame[14..34]), 0xffff, "IPv4 checksum");
        let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let (stack, client) = (address(&frame[26..30]), address(&frame[30..34]));
        let tcp = &frame[34..14 + length];
        let protocol = smoltcp::wire::IpProtocol::Tcp;
        let pseudo = checksum::pseudo_header_v4(&stack, &client, protocol, tcp.len() as u32);
        let sum = checksum::combine(&[pseudo, checksum::data(tcp)]);
        assert_eq!(sum, 0xffff, "TCP checksum");
        Some(segment)
    }

    /// Reads a frame like [`parse`](Self::parse), whatever its checksums are: the device was to
    /// complete them.
    pub fn parse_unchecked(frame: &[u8]) -> Option<Self> {
        if frame.len() < 54 || frame[12..14] != [8, 0] || frame[23] != 6 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let client = address(&frame[30..34]);
        let tcp = &frame[34..14 + length];
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

fn address(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
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

/// Fills in the checksum of a TCP segment.
pub fn seal_tcp(tcp: &mut [u8], from: Ipv4Addr, to: Ipv4Addr) {
    tcp[16..18].copy_from_slice(&[0, 0]);
    let protocol = smoltcp::wire::IpProtocol::Tcp;
    let pseudo = checksum::pseudo_header_v4(&from, &to, protocol, tcp.len() as u32);
    let sum = !checksum::combine(&[pseudo, checksum::data(tcp)]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
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
