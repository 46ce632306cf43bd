//! Bounds of the virtio layer, with units and the arithmetic between them.

/// Largest queue that is set up, in descriptors; a device that offers more gets this many used.
pub const MAX_QUEUE_SIZE: u16 = 256;

/// Smallest queue worth running, in descriptors.
pub const MIN_QUEUE_SIZE: u16 = 4;

/// Bytes of one receive buffer: a header of 12 bytes, an Ethernet header, and 2,022 bytes of packet.
pub const RX_BUFFER_BYTES: usize = 2048;

/// Receive buffers that one frame may lie in, where the device may use several (VirtIO 1.2
/// §5.1.6.3.1): a packet of 65,535 bytes behind an IPv6 header, an Ethernet header and 12 bytes more.
pub const RX_FRAME_BUFFERS: usize = (65_535 + 40 + 14 + 12_usize).div_ceil(RX_BUFFER_BYTES);

/// Smallest receive queue, in descriptors, in which the device may use several for one frame: the
/// largest frame must fit, or it would stop the queue for ever.
pub const RX_FRAME_QUEUE_SIZE: u16 = 64;

/// Bytes of one transmit buffer.
pub const TX_BUFFER_BYTES: usize = 2048;

/// Pieces of lasting memory that may follow a transmit buffer in one frame.
pub const TX_TAIL_PIECES: usize = 4;

/// Bytes of request, and as many of reply, of one exchange on a control or entropy queue.
pub const EXCHANGE_BYTES: usize = 2048;

/// How often a reply is looked for before the device is given up: a second and more at some
/// 50 ns a look, where a reply takes microseconds.
pub const EXCHANGE_POLLS: u32 = 50_000_000;

/// How often a device's status is looked for to become 0 after a reset.
pub const RESET_POLLS: u32 = 10_000;

/// Where an event index is put so that it is not reached: half the index space away.
pub(super) const QUIET_DISTANCE: u16 = 0x8000;

/// An event index that came nearer than this, in completions, is moved away again.
pub(super) const QUIET_MARGIN: u16 = 0x4000;

const _: () = assert!(MAX_QUEUE_SIZE.is_power_of_two() && MIN_QUEUE_SIZE.is_power_of_two());
const _: () = assert!(RX_FRAME_BUFFERS <= RX_FRAME_QUEUE_SIZE as usize);
// One look at the device's index moves by a queue at most, so the margin is never jumped over.
const _: () = assert!(MAX_QUEUE_SIZE < QUIET_MARGIN && QUIET_MARGIN < QUIET_DISTANCE);
const _: () = assert!(QUIET_DISTANCE <= u16::MAX - MAX_QUEUE_SIZE);
