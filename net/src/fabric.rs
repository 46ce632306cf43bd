//! What the cores of one appliance share: which core answers which port, what this host is, and a
//! ring of frames from every core to every other.
//!
//! Made once by the boot core, then split into one [`FabricPort`] per core, which is all that a
//! stack ever sees of the other cores. Frames cross by copy, in boxes that go to and fro between
//! two cores over a pair of single-producer rings, so that nothing is allocated after start-up. A
//! core with no box left for another drops what it had for it: the counter is the caller's.
//!
//! Invariants: one writer and one reader per ring; a frame visits a core at most twice per change
//! of the port table (to be asked for, and as its owner); nothing on the way of a frame waits.

use crate::address::Host;
use crate::flow::{FlowHasher, FlowKey};
use crate::host_words::HostWords;
use crate::limits::{HANDOVER_FRAME_BYTES, HANDOVER_RING_FRAMES, MOVES_RING, handover_frames};
use crate::moves::Move;
use crate::nic::TxMeta;
use crate::notices::Notices;
use crate::port_table::{Asked, FlowPlace, PortTable};
use crate::rss::Rss;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use kernel::limits::MAX_CORES;
use kernel::spsc::{Consumer, Producer, ring};
use kernel::sync::Arc;
use kernel::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use kernel::{CoreId, CoreMask};

/// One core's place in the fabric: its own ends of the rings, and the shared words.
pub struct FabricPort {
    core: CoreId,
    cores: CoreMask,
    shared: Arc<Shared>,
    hasher: FlowHasher,
    /// The core that sends for this one, which has no queue pair.
    sends_through: Option<CoreId>,
    /// By core; none for this one.
    pub(crate) lanes: Vec<Option<Lane>>,
    /// Cores that were given frames, connections or notices since the last [`take_woken`](Self::take_woken).
    pub(crate) woken: CoreMask,
}

/// Words that all cores read.
struct Shared {
    ports: PortTable,
    host: HostWords,
    /// The core that sees to our addresses, or [`NO_CORE`].
    configuring_core: AtomicU8,
    /// The device's MAC in the low 48 bits and the packet size above; 0 until some core's queue
    /// pair has told it.
    link: AtomicU64,
    notices: Notices,
    /// How the device spreads flows, when it does.
    rss: Option<Rss>,
}

const NO_CORE: u8 = u8::MAX;

/// Both directions between this core and one other.
pub(crate) struct Lane {
    outgoing: Producer<Parcel>,
    /// Boxes that come back from the other core.
    returned: Consumer<Box<[u8]>>,
    spare: Vec<Box<[u8]>>,
    incoming: Consumer<Parcel>,
    returning: Producer<Box<[u8]>>,
    /// What the parcels of the kind `Move` tell of, in their order.
    pub(crate) moves_out: Producer<Move>,
    pub(crate) moves_in: Consumer<Move>,
}

/// A frame on its way to another core.
pub(crate) struct Parcel {
    pub(crate) kind: ParcelKind,
    pub(crate) bytes: usize,
    pub(crate) frame: Box<[u8]>,
}

/// What the other core is to do with the frame.
#[derive(Clone, Copy)]
pub(crate) enum ParcelKind {
    /// Take it in: it may be of a flow of that core, and its checksums are good. With the cores that
    /// were asked for it so far.
    Received(Asked),
    /// Send it.
    Transmit(TxMeta),
    /// None: it goes with the next of the lane's moves.
    Move,
}

/// Why a frame did not go to the other core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandOverError {
    /// No box is left, or there is no such core.
    Full,
    /// Larger than a box.
    TooLarge,
}

/// Returns the bytes of memory that the fabric of `cores` cores takes, rounded up.
pub const fn memory_bytes(cores: usize) -> usize {
    // What the heap keeps beside each box.
    const BOX_OVERHEAD: usize = 64;
    let lanes = cores * cores.saturating_sub(1);
    let rings = HANDOVER_RING_FRAMES * (size_of::<Parcel>() + size_of::<Box<[u8]>>())
        + MOVES_RING * size_of::<Move>();
    lanes * (rings + handover_frames(cores) * (HANDOVER_FRAME_BYTES + BOX_OVERHEAD))
}

/// Makes the fabric for `cores` cores (1..=[`kernel::limits::MAX_CORES`]) and returns one port per
/// core, in core order. `with_queue_pair[i]` says whether core `i` has a queue pair of its own:
/// one that has none sends through the first that has. `flow_key` is the key of the flow hash,
/// from the machine's entropy.
///
/// # Panics
/// When there are more cores than `MAX_CORES`.
pub fn fabric(with_queue_pair: &[bool], flow_key: [u8; 16]) -> Vec<FabricPort> {
    fabric_with_rss(with_queue_pair, flow_key, None)
}

/// Makes a [`fabric`] over a device that spreads flows by `rss`.
///
/// # Panics
/// When there are more cores than `MAX_CORES`.
pub fn fabric_with_rss(
    with_queue_pair: &[bool],
    flow_key: [u8; 16],
    rss: Option<Rss>,
) -> Vec<FabricPort> {
    assert!(
        with_queue_pair.len() <= MAX_CORES,
        "more cores than MAX_CORES"
    );
    let count = with_queue_pair.len();
    let shared = Arc::new(Shared {
        ports: PortTable::new(),
        host: HostWords::new(),
        configuring_core: AtomicU8::new(NO_CORE),
        link: AtomicU64::new(0),
        notices: Notices::new(),
        rss,
    });
    let sender = with_queue_pair
        .iter()
        .position(|has| *has)
        .and_then(CoreId::new);
    let hasher = FlowHasher::new(flow_key);
    let mut ports: Vec<FabricPort> = (0..count)
        .filter_map(CoreId::new)
        .map(|core| FabricPort {
            core,
            cores: CoreMask::first(count),
            shared: shared.clone(),
            hasher: hasher.clone(),
            sends_through: sender.filter(|_| !with_queue_pair[core.index()]),
            lanes: (0..count).map(|_| None).collect(),
            woken: CoreMask::EMPTY,
        })
        .collect();
    for one in 0..count {
        for other in one + 1..count {
            let (a, b) = lanes(handover_frames(count));
            ports[one].lanes[other] = Some(a);
            ports[other].lanes[one] = Some(b);
        }
    }
    ports
}

/// Makes the two ends of what lies between two cores.
fn lanes(frames: usize) -> (Lane, Lane) {
    let (to_b, from_a) = ring(HANDOVER_RING_FRAMES);
    let (to_a, from_b) = ring(HANDOVER_RING_FRAMES);
    let (back_to_a, returned_to_a) = ring(HANDOVER_RING_FRAMES);
    let (back_to_b, returned_to_b) = ring(HANDOVER_RING_FRAMES);
    let (moves_to_b, moves_from_a) = ring(MOVES_RING);
    let (moves_to_a, moves_from_b) = ring(MOVES_RING);
    let boxes = || vec![vec![0; HANDOVER_FRAME_BYTES].into_boxed_slice(); frames];
    let a = Lane {
        outgoing: to_b,
        returned: returned_to_a,
        spare: boxes(),
        incoming: from_b,
        returning: back_to_b,
        moves_out: moves_to_b,
        moves_in: moves_from_b,
    };
    let b = Lane {
        outgoing: to_a,
        returned: returned_to_b,
        spare: boxes(),
        incoming: from_a,
        returning: back_to_a,
        moves_out: moves_to_a,
        moves_in: moves_from_a,
    };
    (a, b)
}

impl FabricPort {
    /// Returns the core whose port this is.
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Returns all cores of the fabric.
    pub fn cores(&self) -> CoreMask {
        self.cores
    }

    #[inline]
    pub(crate) fn hasher(&self) -> &FlowHasher {
        &self.hasher
    }

    /// Returns what says which slot of its port a flow has; `hash` is its keyed hash.
    pub(crate) fn place(&self, flow: &FlowKey, hash: u64) -> FlowPlace {
        let home = self.shared.rss.as_ref().and_then(|rss| rss.home(flow));
        FlowPlace { hash, home }
    }

    pub(crate) fn ports(&self) -> &PortTable {
        &self.shared.ports
    }

    pub(crate) fn host(&self) -> &HostWords {
        &self.shared.host
    }

    /// Makes what this host is known to all cores; they are to be woken.
    pub(crate) fn publish_host(&mut self, host: &Host) {
        self.shared.host.publish(host);
        let others = self.cores.bits() & !CoreMask::only(self.core).bits();
        self.woken = self.woken.or(CoreMask::from_bits(others));
    }

    /// Makes this core the one that sees to our addresses.
    pub(crate) fn configure_here(&self) {
        let core = self.core.index() as u8;
        self.shared.configuring_core.store(core, Ordering::Relaxed);
    }

    /// Returns the core that sees to our addresses.
    pub(crate) fn configuring_core(&self) -> Option<CoreId> {
        let core = self.shared.configuring_core.load(Ordering::Relaxed);
        CoreId::new(usize::from(core))
    }

    /// Tells the cores without a queue pair what the device is.
    pub(crate) fn publish_link(&self, mac: [u8; 6], mtu: u16) {
        let [a, b, c, d, e, f] = mac;
        let word = u64::from_be_bytes([0, 0, a, b, c, d, e, f]) | u64::from(mtu) << 48;
        self.shared.link.store(word, Ordering::Release);
    }

    /// Returns the device's MAC and packet size in bytes, once a core with a queue pair told it.
    pub(crate) fn link(&self) -> Option<([u8; 6], u16)> {
        let word = self.shared.link.load(Ordering::Acquire);
        let [_, _, a, b, c, d, e, f] = word.to_be_bytes();
        (word != 0).then_some(([a, b, c, d, e, f], (word >> 48) as u16))
    }

    /// Gives a received frame to the core that owns its flow, or may have it.
    pub(crate) fn hand_over(
        &mut self,
        to: CoreId,
        frame: &[u8],
        asked: Asked,
    ) -> Result<(), HandOverError> {
        let bytes = frame.len();
        if bytes > HANDOVER_FRAME_BYTES {
            return Err(HandOverError::TooLarge);
        }
        let lane = self.lanes.get_mut(to.index()).and_then(Option::as_mut);
        let lane = lane.ok_or(HandOverError::Full)?;
        let mut spare = lane.take_spare().ok_or(HandOverError::Full)?;
        spare[..bytes].copy_from_slice(frame);
        lane.put(Parcel {
            kind: ParcelKind::Received(asked),
            bytes,
            frame: spare,
        });
        self.woken.insert(to);
        Ok(())
    }

    /// Returns whether this core can give one more frame to the core that sends for it.
    pub(crate) fn can_forward(&self) -> bool {
        let lane = self
            .sends_through
            .and_then(|core| self.lanes[core.index()].as_ref());
        lane.is_some_and(Lane::has_spare)
    }

    /// Gives a frame that `fill` writes to the core that sends for this one.
    ///
    /// # Errors
    /// Gives `fill` back when there is no room.
    pub(crate) fn forward<R, F>(&mut self, bytes: usize, fill: F) -> Result<R, F>
    where
        F: FnOnce(&mut [u8]) -> (R, TxMeta),
    {
        let Some(core) = self.sends_through else {
            return Err(fill);
        };
        let Some(lane) = self.lanes[core.index()].as_mut() else {
            return Err(fill);
        };
        if bytes > HANDOVER_FRAME_BYTES {
            return Err(fill);
        }
        let Some(mut frame) = lane.take_spare() else {
            return Err(fill);
        };
        let (result, meta) = fill(&mut frame[..bytes]);
        let kind = ParcelKind::Transmit(meta);
        lane.put(Parcel { kind, bytes, frame });
        self.woken.insert(core);
        Ok(result)
    }

    /// Takes the next frame that `from` has for this core; it is to be
    /// [given back](Self::give_back).
    pub(crate) fn take(&mut self, from: CoreId) -> Option<Parcel> {
        self.lanes[from.index()].as_mut()?.incoming.pop()
    }

    /// Returns a parcel's box to the core it came from.
    pub(crate) fn give_back(&mut self, from: CoreId, parcel: Parcel) {
        if let Some(lane) = self.lanes[from.index()].as_mut() {
            // There are fewer boxes than the ring has places.
            let returned = lane.returning.push(parcel.frame);
            debug_assert!(returned.is_ok());
        }
    }

    /// Returns whether another core has frames for this one.
    pub(crate) fn has_incoming(&self) -> bool {
        let mut lanes = self.lanes.iter().flatten();
        lanes.any(|lane| lane.incoming.has_items())
    }

    /// Leaves a notice for each of `cores`; those that sleep are to be woken.
    pub(crate) fn notify(&mut self, cores: CoreMask) {
        let cores = cores.and(self.cores);
        self.shared.notices.leave(cores);
        self.woken = self.woken.or(cores);
    }

    /// Returns the notices of all cores.
    pub(crate) fn notices(&self) -> &Notices {
        &self.shared.notices
    }

    /// Returns the cores that were given frames or notices since the last call.
    pub(crate) fn take_woken(&mut self) -> CoreMask {
        core::mem::take(&mut self.woken)
    }
}

impl Lane {
    /// Returns whether a box is at hand, or came back.
    pub(crate) fn has_spare(&self) -> bool {
        !self.spare.is_empty() || self.returned.has_items()
    }

    /// Returns how many boxes are at hand, with those that have come back.
    pub(crate) fn spare_boxes(&mut self) -> usize {
        while let Some(returned) = self.returned.pop() {
            self.spare.push(returned);
        }
        self.spare.len()
    }

    /// Takes a box that is at hand, or that came back.
    pub(crate) fn take_spare(&mut self) -> Option<Box<[u8]>> {
        self.spare.pop().or_else(|| self.returned.pop())
    }

    pub(crate) fn put(&mut self, parcel: Parcel) {
        // There are fewer boxes than the ring has places.
        let put = self.outgoing.push(parcel);
        debug_assert!(put.is_ok());
    }
}

impl Parcel {
    /// Returns the frame.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame[..self.bytes]
    }
}

#[cfg(all(test, not(loom)))]
#[path = "fabric_tests.rs"]
mod tests;
