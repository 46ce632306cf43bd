//! Bounds of the host side, with units.

use std::time::Duration;

/// Most cores of a guest; the image's own bound (`kernel::limits::MAX_CORES`).
pub const MAX_CORES: u32 = 32;

/// Most queue pairs of a guest's network device: one for each core is all the image uses.
pub const MAX_QUEUES: u32 = MAX_CORES;

/// Memory of a guest beyond its packed site when `--memory` is not given, in MiB.
pub const SPARE_MEMORY_MIB: u64 = 128;

/// Memory the appliance itself needs beside the packed site on a few cores, in MiB.
const APPLIANCE_MEMORY_MIB: u64 = 12;

/// Returns the memory the appliance itself needs beside the packed site, in MiB. A guest given less is
/// refused before it boots.
///
/// Measured, and a MiB more: each core takes one, and each pair of them an eighth for its rings.
pub const fn appliance_memory_mib(cores: u32) -> u64 {
    let cores = cores as u64;
    let needed = 7 + cores + cores * cores / 16;
    if needed > APPLIANCE_MEMORY_MIB {
        needed
    } else {
        APPLIANCE_MEMORY_MIB
    }
}

/// Largest packed site on microvm, in MiB: QEMU puts it into the memory below 4 GiB, of which a
/// large guest has 3 GiB, and keeps some bytes of that.
pub const MICROVM_SITE_MIB: u64 = 3 * 1024 - 1;

/// The same on q35, which has 2 GiB there.
pub const Q35_SITE_MIB: u64 = 2 * 1024 - 1;

/// Largest `--memory`, in MiB: 1 TiB.
pub const MAX_MEMORY_MIB: u64 = 1 << 20;

/// How long a guest may take to say that it is ready when `--timeout` is not given.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest `--timeout`, in seconds.
pub const MAX_TIMEOUT_S: u64 = 86_400;

/// How long QEMU may take to end after it was asked to, before it is killed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a guest may finish its answers after its power button was pressed: the server's own
/// limit, when `drain-timeout=` does not say another.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What it may take beyond that, before it is ended.
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// How long a guest whose pages have changed may finish its answers: a change is to be served within
/// a second.
pub const CHANGE_PATIENCE: Duration = Duration::from_millis(400);

/// How long it may take before that is said.
pub const DRAIN_SILENCE: Duration = Duration::from_secs(1);

/// How long the accelerator's probe may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serial lines remembered; older ones are forgotten.
pub const SERIAL_LINES: usize = 20_000;

/// Bytes of one serial line; a longer one is cut in pieces.
pub const SERIAL_LINE_BYTES: usize = 16_384;

/// Serial lines shown when the guest fails before it was ready.
pub const LAST_WORDS_LINES: usize = 60;

const _: () = assert!(LAST_WORDS_LINES < SERIAL_LINES);
const _: () = assert!(appliance_memory_mib(MAX_CORES) < SPARE_MEMORY_MIB);
