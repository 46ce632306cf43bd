//! What the server's connections take of the machine's memory, for the appliance's memory plan.

use crate::connections::Connection;
use crate::limits::MIN_BUFFER_BYTES;
use megapipe::appliance::memory_plan::Footprint;

/// Requests are small: nearly every one fits into one chunk, and the largest head into one buffer.
pub const FOOTPRINT: Footprint = Footprint {
    window_bytes: 16 * 1024,
    application_bytes: 256,
    chunk_bytes: 2 * 1024,
    buffer_bytes: 8 * 1024,
};

const _: () = assert!(FOOTPRINT.buffer_bytes >= MIN_BUFFER_BYTES);
const _: () = assert!(FOOTPRINT.application_bytes >= 2 * size_of::<Option<Connection>>());
