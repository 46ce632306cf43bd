//! A frame that lies in several buffers, put together from the used ring (VirtIO 1.2 §5.1.6.4).
//!
//! Upstream: the receive queue, whose completions come in the order of the frame's parts. Downstream:
//! the queue pair. A device is to publish all of them at once; one that does not is waited for, and
//! what comes next is the missing part, whatever it is. Invariants: at most
//! [`RX_FRAME_BUFFERS`] buffers are held; a frame of which one part is bad goes as a whole, and its
//! other parts are never looked at as frames.

use super::header;
use super::queue_pair::Frame;
use crate::nic::RxMeta;
use alloc::vec::Vec;
use kernel::virtio::limits::RX_FRAME_BUFFERS;
use kernel::virtio::rx::{RxBuffer, RxPart, RxQueue};

/// The frame that is being put together, if one is.
pub(super) struct Gathering {
    first: Option<(Frame, RxMeta)>,
    rest: Vec<Frame>,
    /// Buffers that have not come.
    missing: u16,
    /// Frames refused so far.
    refused: u64,
}

impl Gathering {
    pub(super) fn new() -> Self {
        Gathering {
            first: None,
            rest: Vec::with_capacity(RX_FRAME_BUFFERS),
            missing: 0,
            refused: 0,
        }
    }

    /// Whether parts of a frame are to come.
    #[inline]
    pub(super) fn is_under_way(&self) -> bool {
        self.missing > 0
    }

    /// Returns how many frames were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Begins a frame that says that it lies in another number of buffers than one. One that cannot be
    /// is refused: its parts are stepped over.
    pub(super) fn begin(&mut self, rx: &mut RxQueue, first: RxBuffer, meta: RxMeta) {
        let buffers = first.as_ref().first_chunk().map_or(0, header::buffers);
        self.missing = buffers.saturating_sub(1);
        self.first = Some((Frame::new(first), meta));
        if !(2..=RX_FRAME_BUFFERS).contains(&usize::from(buffers)) {
            self.refuse(rx);
        }
    }

    /// Takes what has come of the missing parts. Returns the first part once there is all of it, or
    /// `None` when more is to come, or when the frame came to nothing.
    pub(super) fn go_on(&mut self, rx: &mut RxQueue) -> Option<(Frame, RxMeta)> {
        while self.missing > 0 {
            match rx.receive_part() {
                RxPart::Nothing => return None,
                RxPart::Lie => self.refuse(rx),
                RxPart::Buffer(part) if self.first.is_some() => self.rest.push(Frame::part(part)),
                RxPart::Buffer(part) => rx.recycle(part),
            }
            self.missing -= 1;
        }
        let (first, meta) = self.first.take()?;
        let more_buffers = self.rest.len() as u8;
        Some((
            first,
            RxMeta {
                more_buffers,
                ..meta
            },
        ))
    }

    /// Moves the other parts of the frame to the end of `rest`.
    pub(super) fn take_rest(&mut self, rest: &mut Vec<Frame>) {
        rest.append(&mut self.rest);
    }

    /// Gives back what has come; what is still missing will be given back when it comes.
    fn refuse(&mut self, rx: &mut RxQueue) {
        if let Some((first, _)) = self.first.take() {
            self.refused += 1;
            rx.recycle(first.into_buffer());
        }
        for part in self.rest.drain(..) {
            rx.recycle(part.into_buffer());
        }
    }
}
