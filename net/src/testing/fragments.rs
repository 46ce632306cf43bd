//! Datagrams in fragments, made and read by hand; and pings, which is what such datagrams mostly are.

use super::frames::{packet, seal_icmp, seal_icmpv6, seal_ipv4};
use alloc::vec::Vec;
use core::net::IpAddr;

/// A datagram that goes to the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Who sends it, in the family of `to`.
    pub from: IpAddr,
    /// Whom it is for.
    pub to: IpAddr,
    /// What it carries.
    pub protocol: u8,
    /// Which of the sender's it is; IPv4 has the lower half.
    pub identification: u32,
    /// What is cut.
    pub payload: Vec<u8>,
}

impl Datagram {
    /// Makes a ping with these data.
    pub fn ping(from: impl Into<IpAddr>, to: impl Into<IpAddr>, data: &[u8]) -> Self {
        let (from, to) = (from.into(), to.into());
        let kind = if to.is_ipv4() { 8 } else { 128 };
        let mut payload = [&[kind, 0, 0, 0, 0, 7, 0, 9], data].concat();
        let protocol = match (from, to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                seal_icmpv6(&mut payload, from, to);
                58
            }
            _ => {
                seal_icmp(&mut payload);
                1
            }
        };
        Datagram {
            from,
            to,
            protocol,
            identification: 77,
            payload,
        }
    }

    /// Gives it another identification.
    pub fn identified(mut self, identification: u32) -> Self {
        self.identification = identification;
        self
    }

    /// Returns the frame of a fragment of `bytes` that belong at `offset`, a multiple of eight.
    pub fn fragment(&self, offset: usize, has_more: bool, bytes: &[u8]) -> Vec<u8> {
        let word = (offset / 8) as u16;
        if self.to.is_ipv4() {
            let mut frame = packet(self.protocol, self.from, self.to, bytes);
            frame[18..20].copy_from_slice(&(self.identification as u16).to_be_bytes());
            let word = word | u16::from(has_more) << 13;
            frame[20..22].copy_from_slice(&word.to_be_bytes());
            seal_ipv4(&mut frame);
            return frame;
        }
        let [high, low] = (word << 3 | u16::from(has_more)).to_be_bytes();
        let header = [self.protocol, 0, high, low];
        let payload = [&header[..], &self.identification.to_be_bytes(), bytes].concat();
        packet(44, self.from, self.to, &payload)
    }

    /// Returns the frames of its fragments of `bytes` bytes each, a multiple of eight, in order.
    pub fn fragments(&self, bytes: usize) -> Vec<Vec<u8>> {
        let parts = self.payload.chunks(bytes).enumerate();
        let parts = parts.map(|(number, part)| {
            let at = number * bytes;
            self.fragment(at, at + part.len() < self.payload.len(), part)
        });
        parts.collect()
    }

    /// Reads what the frames of the stack's are fragments of; the same when there is but one, which
    /// was never cut. `None` when they are not all of one datagram, or not all of it.
    pub fn join(frames: &[Vec<u8>]) -> Option<Self> {
        let mut whole: Option<Datagram> = None;
        let (mut got, mut end) = (0, None);
        for frame in frames {
            let (datagram, offset, has_more) = read(frame)?;
            let bytes = datagram.payload.clone();
            let known = whole.get_or_insert_with(|| Datagram {
                payload: Vec::new(),
                ..datagram.clone()
            });
            let is_same = (known.from, known.to, known.protocol, known.identification)
                == (
                    datagram.from,
                    datagram.to,
                    datagram.protocol,
                    datagram.identification,
                );
            let size = known.payload.len().max(offset + bytes.len());
            known.payload.resize(size, 0);
            known.payload[offset..offset + bytes.len()].copy_from_slice(&bytes);
            got += bytes.len();
            if !has_more {
                end = Some(offset + bytes.len());
            }
            if !is_same || (has_more && !bytes.len().is_multiple_of(8)) {
                return None;
            }
        }
        whole.filter(|whole| end == Some(got) && whole.payload.len() == got)
    }
}

/// Reads one frame: what of a datagram it has, where, and whether there is more.
fn read(frame: &[u8]) -> Option<(Datagram, usize, bool)> {
    let word = |at: usize| {
        let bytes = frame.get(at..)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*bytes))
    };
    if word(12)? == 0x0800 {
        let address = |at: usize| Some(IpAddr::from(*frame.get(at..)?.first_chunk::<4>()?));
        let mut sealed = frame.to_vec();
        seal_ipv4(&mut sealed);
        assert_eq!(sealed, frame, "the header's checksum");
        let datagram = Datagram {
            from: address(26)?,
            to: address(30)?,
            protocol: frame[23],
            identification: word(18)?.into(),
            payload: frame.get(34..14 + usize::from(word(16)?))?.to_vec(),
        };
        let position = word(20)?;
        let offset = usize::from(position & 0x1fff) * 8;
        return Some((datagram, offset, position & 0x2000 != 0));
    }
    let address = |at: usize| Some(IpAddr::from(*frame.get(at..)?.first_chunk::<16>()?));
    let payload = frame.get(54..54 + usize::from(word(18)?))?;
    let (protocol, position, identification, payload) = match (frame[20], payload) {
        (44, [next, _, high, low, a, b, c, d, rest @ ..]) => {
            let position = u16::from_be_bytes([*high, *low]);
            (*next, position, u32::from_be_bytes([*a, *b, *c, *d]), rest)
        }
        (next, whole) => (next, 0, 0, whole),
    };
    let datagram = Datagram {
        from: address(22)?,
        to: address(38)?,
        protocol,
        identification,
        payload: payload.to_vec(),
    };
    Some((datagram, usize::from(position & 0xfff8), position & 1 != 0))
}
