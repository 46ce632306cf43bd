//! smoltcp's device, for the length of one call: at most one packet in, any number out.
//!
//! Upstream: the frame that is being processed. Downstream: [`Output`].

use crate::nic::{Nic, TxMeta};
use crate::output::Output;
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken as Rx, TxToken as Tx};
use smoltcp::time::Instant;

/// A device over one core's output, as an interface for IP packets sees it, or (`ethernet`) as one
/// for Ethernet frames does.
pub(super) struct Phy<'a, N: Nic> {
    output: &'a mut Output<N>,
    /// Where answers go; of no meaning for Ethernet frames, which say so themselves.
    peer: [u8; 6],
    /// The packet that is received.
    packet: Option<&'a [u8]>,
    /// Packets are whole Ethernet frames.
    ethernet: bool,
}

impl<'a, N: Nic> Phy<'a, N> {
    /// Makes a device for IP packets, with one to be received or none.
    #[inline]
    pub(super) fn of_packets(
        output: &'a mut Output<N>,
        peer: [u8; 6],
        packet: Option<&'a [u8]>,
    ) -> Self {
        Phy {
            output,
            peer,
            packet,
            ethernet: false,
        }
    }

    /// Makes a device for Ethernet frames, with one to be received or none.
    pub(super) fn of_frames(output: &'a mut Output<N>, frame: Option<&'a [u8]>) -> Self {
        Phy {
            output,
            peer: [0; 6],
            packet: frame,
            ethernet: true,
        }
    }
}

/// The packet that is received.
pub(super) struct RxToken<'a>(&'a [u8]);

/// Leave to send one packet.
pub(super) struct TxToken<'a, N: Nic> {
    output: &'a mut Output<N>,
    peer: [u8; 6],
    ethernet: bool,
}

impl<N: Nic> Device for Phy<'_, N> {
    type RxToken<'b>
        = RxToken<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = TxToken<'b, N>
    where
        Self: 'b;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_, N>)> {
        let packet = self.packet.take()?;
        let token = TxToken {
            output: self.output,
            peer: self.peer,
            ethernet: self.ethernet,
        };
        Some((RxToken(packet), token))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_, N>> {
        self.output.can_transmit().then_some(TxToken {
            output: self.output,
            peer: self.peer,
            ethernet: self.ethernet,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let info = &self.output.info;
        let mut capabilities = DeviceCapabilities::default();
        if self.ethernet {
            capabilities.medium = Medium::Ethernet;
            capabilities.max_transmission_unit = usize::from(info.mtu) + 14;
            return capabilities;
        }
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(info.mtu);
        // The demux verifies, and `Output` completes.
        capabilities.checksum.ipv4 = Checksum::None;
        capabilities.checksum.tcp = Checksum::None;
        capabilities
    }
}

impl Rx for RxToken<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl<N: Nic> Tx for TxToken<'_, N> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, fill: F) -> R {
        if self.ethernet {
            self.output
                .transmit(bytes, |frame| (fill(frame), TxMeta::default()))
        } else {
            self.output.transmit_ipv4(self.peer, bytes, fill)
        }
    }
}
