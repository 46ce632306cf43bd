//! A queue pair that does nothing, to count what the stack itself costs: one frame each way, and all
//! offloads.

use super::STACK_MAC;
use super::frames::{ACK, SYN, Tcp};
use crate::limits::TAIL_PIECES;
use crate::nic::{Nic, NicCounters, NicInfo, RxMeta, TxMeta};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use kernel::virtio::limits::RX_BUFFER_BYTES;

/// A queue pair of one frame each way.
#[derive(Clone, Default)]
pub struct OneFrame(Rc<RefCell<Slots>>);

#[derive(Default)]
struct Slots {
    received: Option<Vec<u8>>,
    /// The other buffers of that frame.
    rest: Vec<Vec<u8>>,
    segment_bytes: u16,
    sent: Vec<u8>,
}

impl Nic for OneFrame {
    type Frame = Vec<u8>;

    fn info(&self) -> NicInfo {
        NicInfo {
            mac: STACK_MAC,
            mtu: 1500,
            tx_checksum: true,
            tail_pieces: TAIL_PIECES,
            tso4_max_bytes: 65_549,
            tso6_max_bytes: 65_549,
        }
    }

    fn receive(&mut self) -> Option<(Vec<u8>, RxMeta)> {
        let mut slots = self.0.borrow_mut();
        let meta = RxMeta {
            checksum_valid: true,
            segment_bytes: slots.segment_bytes,
            more_buffers: slots.rest.len() as u8,
        };
        Some((slots.received.take()?, meta))
    }

    fn receive_rest(&mut self, rest: &mut Vec<Vec<u8>>) {
        rest.append(&mut self.0.borrow_mut().rest);
    }

    fn recycle(&mut self, _: Vec<u8>) {}

    fn can_transmit(&mut self) -> bool {
        true
    }

    fn transmit<R, F>(&mut self, len: usize, tail: &[&'static [u8]], fill: F) -> Result<R, F>
    where
        F: FnOnce(&mut [u8]) -> (R, TxMeta),
    {
        let sent = &mut self.0.borrow_mut().sent;
        sent.resize(len, 0);
        let result = fill(sent).0;
        tail.iter().for_each(|piece| sent.extend_from_slice(piece));
        Ok(result)
    }

    fn flush(&mut self) {}

    fn arm(&mut self) -> bool {
        false
    }

    fn disarm(&mut self) {}

    fn counters(&self) -> NicCounters {
        NicCounters::default()
    }
}

impl OneFrame {
    /// Puts a segment where it is received next.
    pub fn put(&self, segment: &Tcp) {
        self.put_frame(&segment.frame());
    }

    /// Puts a frame where it is received next.
    pub fn put_frame(&self, frame: &[u8]) {
        let mut slots = self.0.borrow_mut();
        slots.received = Some(frame.to_vec());
        slots.segment_bytes = 0;
    }

    /// Puts a frame there that was put together from segments of `segment_bytes` bytes of payload, in
    /// buffers as a device fills them.
    pub fn put_large_frame(&self, frame: &[u8], segment_bytes: u16) {
        let mut slots = self.0.borrow_mut();
        let first = frame.len().min(RX_BUFFER_BYTES - 12);
        slots.received = Some(frame[..first].to_vec());
        slots.rest = frame[first..]
            .chunks(RX_BUFFER_BYTES)
            .map(Vec::from)
            .collect();
        slots.segment_bytes = segment_bytes;
    }

    /// Returns the segment that was sent last.
    ///
    /// # Panics
    /// When nothing was sent.
    pub fn last_sent(&self) -> Tcp {
        Tcp::parse_unchecked(&self.0.borrow().sent).expect("a segment")
    }

    /// Returns the sequence number after the segment that was sent last.
    ///
    /// # Panics
    /// When nothing was sent.
    pub fn next_sequence(&self) -> u32 {
        let sent = self.last_sent();
        let controls = u32::from(sent.flags & (SYN | super::frames::FIN) != 0);
        sent.sequence
            .wrapping_add(sent.payload.len() as u32 + controls)
    }

    /// Opens a connection from the client's `port` by running `turn` after each segment, and returns
    /// its next segment, without payload.
    pub fn shake_hands(&self, port: u16, mut turn: impl FnMut()) -> Tcp {
        self.put(&Tcp::new(port, SYN, 1000, 0));
        turn();
        let ack = Tcp::new(port, ACK, 1001, self.next_sequence());
        self.put(&ack);
        turn();
        ack
    }
}
