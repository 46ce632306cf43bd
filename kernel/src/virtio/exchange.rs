//! A queue for one request at a time, its reply waited for: the control queue of a network device,
//! and the only queue of an entropy device. Used at start-up, not on the data path.
//!
//! Upstream: `net::virtio_net` and the machine's entropy. Downstream: the ring.

use super::device::QueueError;
use super::doorbell::Doorbell;
use super::limits::{EXCHANGE_BYTES, EXCHANGE_POLLS};
use super::memory::{SharedMemory, device_address};
use super::ring::{Completion, DESCRIPTOR_NEXT, DESCRIPTOR_WRITE, Ring};

/// Descriptor of the request, and head of the chain when there is one.
const REQUEST: u16 = 0;
/// Descriptor of the reply.
const REPLY: u16 = 1;

/// Why an exchange failed; each is the device's doing but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeError {
    /// The request or the reply is larger than [`EXCHANGE_BYTES`], or the reply is to be empty.
    TooLarge,
    /// The device did not answer, now or earlier: the queue is dead, for the device still holds it.
    NoAnswer,
    /// The device answered what it was not asked, or more than there was room for.
    BadAnswer,
}

impl core::fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            ExchangeError::TooLarge => "request or reply too large",
            ExchangeError::NoAnswer => "the device did not answer",
            ExchangeError::BadAnswer => "the device gave an impossible answer",
        })
    }
}

/// A queue with one request in flight at most.
pub struct ExchangeQueue {
    ring: Ring,
    request: SharedMemory,
    reply: SharedMemory,
    max_polls: u32,
}

impl ExchangeQueue {
    pub(super) fn new(
        size: u16,
        has_event_index: bool,
        doorbell: Doorbell,
    ) -> Result<Self, QueueError> {
        Ok(ExchangeQueue {
            ring: Ring::new(size, has_event_index, doorbell).ok_or(QueueError::NoMemory)?,
            request: SharedMemory::new(EXCHANGE_BYTES).ok_or(QueueError::NoMemory)?,
            reply: SharedMemory::new(EXCHANGE_BYTES).ok_or(QueueError::NoMemory)?,
            max_polls: EXCHANGE_POLLS,
        })
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Waits for at most `max_polls` looks for a reply instead of [`EXCHANGE_POLLS`].
    pub fn set_max_polls(&mut self, max_polls: u32) {
        self.max_polls = max_polls;
    }

    /// Sends `request` (none when empty) with room for `reply_bytes` of reply, waits, and returns
    /// what the device wrote: at most that many bytes.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub fn exchange(&mut self, request: &[u8], reply_bytes: usize) -> Result<&[u8], ExchangeError> {
        if request.len() > self.request.len_bytes() || !(1..=EXCHANGE_BYTES).contains(&reply_bytes)
        {
            return Err(ExchangeError::TooLarge);
        }
        let head = if request.is_empty() { REPLY } else { REQUEST };
        if !self.ring.give(head) {
            return Err(ExchangeError::NoAnswer);
        }
        let (from, to) = (
            device_address(self.request.start()),
            device_address(self.reply.start()),
        );
        // SAFETY: the request fits (checked), and `give` said that the device does not have it.
        unsafe {
            let start = self.request.start().as_ptr();
            start.copy_from_nonoverlapping(request.as_ptr(), request.len());
        }
        self.ring
            .describe(REQUEST, from, request.len() as u32, DESCRIPTOR_NEXT, REPLY);
        self.ring
            .describe(REPLY, to, reply_bytes as u32, DESCRIPTOR_WRITE, 0);
        self.ring.publish();
        let len_bytes = self.wait(head)?;
        if len_bytes > reply_bytes {
            return Err(ExchangeError::BadAnswer);
        }
        // SAFETY: inside of the reply's memory, which the device has given back, and which cannot
        // be given again while the slice borrows `self`.
        Ok(unsafe { core::slice::from_raw_parts(self.reply.start().as_ptr(), len_bytes) })
    }

    fn wait(&mut self, head: u16) -> Result<usize, ExchangeError> {
        for _ in 0..self.max_polls {
            match self.ring.take() {
                Completion::Nothing => core::hint::spin_loop(),
                Completion::Buffer { id, len_bytes } if id == head => return Ok(len_bytes as usize),
                Completion::Buffer { .. } | Completion::Lie => {
                    return Err(ExchangeError::BadAnswer);
                }
            }
        }
        Err(ExchangeError::NoAnswer)
    }
}
