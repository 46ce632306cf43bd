//! The boundary to the device: one queue pair (one receive queue, one transmit queue) of one core.
//!
//! Implemented by the virtio-net queue pair, by the in-memory link of the tests, and by nothing
//! else. Frames are Ethernet frames without FCS.

use alloc::vec::Vec;

/// What a queue pair can do, fixed when the device was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NicInfo {
    /// The station address of the device.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes (without the Ethernet header): 576..=65535.
    pub mtu: u16,
    /// The device completes a TCP or UDP checksum that holds the pseudo-header sum
    /// (VirtIO 1.2 §5.1.6.2, VIRTIO_NET_F_CSUM).
    pub tx_checksum: bool,
    /// Pieces of lasting memory that may follow what is written in one frame; 0 for none.
    pub tail_pieces: usize,
    /// Largest TCP/IPv4 frame in bytes, Ethernet header included, that the device cuts into
    /// segments itself (VIRTIO_NET_F_HOST_TSO4); 0 when it does not.
    pub tso4_max_bytes: u32,
    /// The same for TCP/IPv6 (VIRTIO_NET_F_HOST_TSO6).
    pub tso6_max_bytes: u32,
}

impl NicInfo {
    /// Says what a device without offloads can do.
    pub const fn plain(mac: [u8; 6], mtu: u16) -> Self {
        NicInfo {
            mac,
            mtu,
            tx_checksum: false,
            tail_pieces: 0,
            tso4_max_bytes: 0,
            tso6_max_bytes: 0,
        }
    }
}

/// What the device says about a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RxMeta {
    /// The transport checksum is known to be good, or the frame never left this host and carries
    /// only a partial one (VirtIO 1.2 §5.1.6.4.1): the stack need not check it.
    pub checksum_valid: bool,
    /// Payload bytes of each of the segments that the device, or who sent to it, has put together into
    /// this frame (VirtIO 1.2 §5.1.6.4, gso_size); 0 when it is one segment, or no segment.
    pub segment_bytes: u16,
    /// Buffers beside the first that the frame lies in: to be taken with [`Nic::receive_rest`].
    pub more_buffers: u8,
}

impl RxMeta {
    /// Whether the frame is one segment at most, and in one buffer: as nearly always.
    #[inline]
    pub(crate) fn is_one_segment(&self) -> bool {
        self.segment_bytes == 0 && self.more_buffers == 0
    }
}

/// What the device is to do with a frame that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TxMeta {
    /// Complete the checksum from `start` to the end of the frame and store it at
    /// `start + offset`; both count from the first byte of the frame. `None` when it is complete.
    pub checksum: Option<PartialChecksum>,
    /// Cut the frame into TCP segments with this many bytes of payload each; needs `checksum`.
    pub segment_bytes: Option<core::num::NonZeroU16>,
    /// Ethernet, IP and TCP header bytes before the payload; of meaning only with `segment_bytes`.
    pub header_bytes: u16,
    /// The segments are of TCP/IPv6; of meaning only with `segment_bytes`.
    pub is_ipv6: bool,
}

/// Where a partial checksum starts and where it goes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialChecksum {
    /// First byte summed, from the start of the frame.
    pub start: u16,
    /// Where the sum is stored, from `start`.
    pub offset: u16,
}

/// Counters of one queue pair; every one only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NicCounters {
    /// Frames taken from the receive queue.
    pub rx_frames: u64,
    /// Bytes of those frames.
    pub rx_bytes: u64,
    /// Frames given to the transmit queue.
    pub tx_frames: u64,
    /// Bytes of those frames.
    pub tx_bytes: u64,
    /// Doorbells rung, both queues together.
    pub doorbells: u64,
    /// Of the frames taken, those that lay in several buffers.
    pub rx_large_frames: u64,
    /// Receive completions refused because the device lied (bad id, bad length).
    pub rx_bad_completions: u64,
    /// Frames refused because the number of their buffers could not be true, or one of them was refused.
    pub rx_bad_large_frames: u64,
    /// Transmit completions refused because the device lied.
    pub tx_bad_completions: u64,
}

impl NicCounters {
    /// Returns every counter with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("nic_rx_frames", self.rx_frames),
            ("nic_rx_bytes", self.rx_bytes),
            ("nic_tx_frames", self.tx_frames),
            ("nic_tx_bytes", self.tx_bytes),
            ("nic_doorbells", self.doorbells),
            ("nic_rx_large_frames", self.rx_large_frames),
            ("nic_rx_bad_completions", self.rx_bad_completions),
            ("nic_rx_bad_large_frames", self.rx_bad_large_frames),
            ("nic_tx_bad_completions", self.tx_bad_completions),
        ]
        .into_iter()
    }
}

/// One queue pair of a network device, owned by one core.
pub trait Nic {
    /// A received frame: owned by whoever took it until it is given back with
    /// [`recycle`](Self::recycle).
    type Frame: AsRef<[u8]>;

    /// Returns what the queue pair can do.
    fn info(&self) -> NicInfo;

    /// Takes the next received frame, if there is one; of one that lies in several buffers the first,
    /// when all of it has come. Never rings a doorbell.
    fn receive(&mut self) -> Option<(Self::Frame, RxMeta)>;

    /// Appends the other [`RxMeta::more_buffers`] buffers of the frame received last to `rest`, in
    /// order: at most [`FRAME_BUFFERS`](crate::limits::FRAME_BUFFERS) less one. Each is to be given
    /// back as the first is.
    fn receive_rest(&mut self, _rest: &mut Vec<Self::Frame>) {}

    /// Gives a received frame's memory back to the receive queue (published by
    /// [`flush`](Self::flush)).
    fn recycle(&mut self, frame: Self::Frame);

    /// Returns whether the transmit queue has room for one more frame of any allowed size,
    /// reclaiming what the device has finished with.
    fn can_transmit(&mut self) -> bool;

    /// Queues one frame of `len` bytes that `fill` writes, and `tail` behind them, which is sent from
    /// where it is: at most [`NicInfo::tail_pieces`] pieces, none of them empty. The device sees the
    /// frame at the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// Gives `fill` back, uncalled, when the queue is full or the frame is larger than the device
    /// takes. Cannot happen right after [`can_transmit`](Self::can_transmit) said yes, for a frame
    /// within [`NicInfo`] of which [`HEAD_MAX_BYTES`](crate::limits::HEAD_MAX_BYTES) are written.
    fn transmit<R, F>(&mut self, len: usize, tail: &[&'static [u8]], fill: F) -> Result<R, F>
    where
        F: FnOnce(&mut [u8]) -> (R, TxMeta);

    /// Publishes everything queued since the last call, both ways, with at most one doorbell per
    /// queue and none that the device has asked not to get.
    fn flush(&mut self);

    /// Asks for an interrupt at the next received frame. Returns true when frames are waiting
    /// already: then no interrupt may come, and the caller must not sleep.
    fn arm(&mut self) -> bool;

    /// Asks for no more interrupts; called after every sleep.
    fn disarm(&mut self);

    /// Returns the counters.
    fn counters(&self) -> NicCounters;
}
