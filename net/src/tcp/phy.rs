//! smoltcp's device, for the length of one call: at most one Ethernet frame in, any number out.
//!
//! Upstream: the frame that is being processed. Downstream: [`Output`].

use crate::demux::ETHERNET_HEADER_BYTES;
use crate::nic::{Nic, TxMeta};
use crate::output::Output;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken as Rx, TxToken as Tx};
use smoltcp::time::Instant;

/// A device over one core's output.
pub(super) struct Phy<'a, N: Nic> {
    output: &'a mut Output<N>,
    /// The frame that is received.
    frame: Option<&'a [u8]>,
}

impl<'a, N: Nic> Phy<'a, N> {
    /// Makes a device with a frame to be received, or none.
    pub(super) fn new(output: &'a mut Output<N>, frame: Option<&'a [u8]>) -> Self {
        Phy { output, frame }
    }
}

/// The frame that is received.
pub(super) struct RxToken<'a>(&'a [u8]);

/// Leave to send one frame.
pub(super) struct TxToken<'a, N: Nic>(&'a mut Output<N>);

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
        let frame = self.frame.take()?;
        Some((RxToken(frame), TxToken(self.output)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_, N>> {
        let has_room = self.output.can_transmit();
        has_room.then_some(TxToken(self.output))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        let mtu = usize::from(self.output.info.mtu);
        capabilities.max_transmission_unit = mtu + ETHERNET_HEADER_BYTES;
        capabilities
    }
}

impl Rx for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl<N: Nic> Tx for TxToken<'_, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, fill: F) -> R {
        self.0
            .transmit(bytes, |frame| (fill(frame), TxMeta::default()))
    }
}
