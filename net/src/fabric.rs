//! What the cores of one appliance share: which core answers which port, the address lease, and a
//! ring of frames from every core to every other.
//!
//! Made once by the boot core, then split into one [`FabricPort`] per core, which is all that a
//! stack ever sees of the other cores.

use alloc::vec::Vec;
use kernel::CoreMask;

/// One core's place in the fabric: its own ends of the rings, and the shared words.
pub struct FabricPort {
    _cores: CoreMask,
}

/// Makes the fabric for `cores` cores (1..=[`kernel::limits::MAX_CORES`]) and returns one port per
/// core, in core order. `with_queue_pair[i]` says whether core `i` has a queue pair of its own:
/// one that has none sends through the first that has. `flow_key` is the key of the flow hash,
/// from the machine's entropy.
pub fn fabric(with_queue_pair: &[bool], flow_key: [u8; 16]) -> Vec<FabricPort> {
    let _ = (with_queue_pair, flow_key);
    todo!()
}
