//! Datagrams on their way out: the call `send_datagram`.
//!
//! A channel is for connections; this is for what must not wait for one, such as a line for a log
//! server. Upstream: the application, whose bytes are copied. Downstream: the flush, and each turn
//! after it until the stack knows the station and has room. Invariant: an outbox that was full and is
//! empty has the application run, which may have more.

use crate::channel::Channel;
use crate::completion::SubmitError;
use crate::connections::Connections;
use crate::limits::{DATAGRAM_BYTES, DATAGRAMS};
use crate::submissions::Command;
use alloc::collections::VecDeque;
use core::net::SocketAddr;
use net::datagram::DatagramError;

/// A datagram that waits.
struct Datagram {
    from_port: u16,
    to: SocketAddr,
    bytes: heapless::Vec<u8, DATAGRAM_BYTES>,
}

/// The datagrams of one channel.
pub(crate) struct Outbox {
    /// At most [`DATAGRAMS`].
    waiting: VecDeque<Datagram>,
    /// The application was refused one.
    was_full: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Outbox {
            waiting: VecDeque::with_capacity(DATAGRAMS),
            was_full: false,
        }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Channel {
    /// Sends `bytes` as one UDP datagram, of [`DATAGRAM_BYTES`] at most. Nothing completes, and nobody
    /// knows whether it arrives. It is sent at the next flush, or once its station is known.
    ///
    /// # Errors
    /// [`SubmitError::RingFull`] when [`DATAGRAMS`] wait already: the application runs again when they
    /// are gone; [`SubmitError::TooLarge`].
    pub fn send_datagram(
        &mut self,
        from_port: u16,
        to: impl Into<SocketAddr>,
        bytes: &[u8],
    ) -> Result<(), SubmitError> {
        let bytes = heapless::Vec::from_slice(bytes).map_err(|_| SubmitError::TooLarge)?;
        if self.outbox.waiting.len() == DATAGRAMS {
            self.outbox.was_full = true;
            return Err(SubmitError::RingFull);
        }
        if self.outbox.is_empty() {
            self.commands.push(Command::SendDatagrams)?;
        }
        self.outbox.waiting.push_back(Datagram {
            from_port,
            to: to.into(),
            bytes,
        });
        Ok(())
    }

    /// Sends what can be sent now.
    #[cold]
    pub(crate) fn send_datagrams(&mut self, stack: &mut impl Connections) {
        while let Some(datagram) = self.outbox.waiting.front() {
            let Datagram {
                from_port,
                to,
                bytes,
            } = datagram;
            match stack.send_datagram(*from_port, *to, bytes) {
                Ok(()) => {}
                Err(DatagramError::NotNow) => return,
                Err(DatagramError::TooLarge) => self.counters.datagrams_too_large += 1,
            }
            self.outbox.waiting.pop_front();
        }
        if core::mem::take(&mut self.outbox.was_full) {
            self.run_again();
        }
    }
}
