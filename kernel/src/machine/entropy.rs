//! Random numbers from the processor: RDSEED, else RDRAND. Intel SDM vol. 1 §7.3.17.

use super::limits::ENTROPY_TRIES;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};

/// The processor has no working source of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEntropy;

impl core::fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no entropy: the processor has neither RDSEED nor RDRAND (add a virtio-rng)")
    }
}

/// Fills `out`.
///
/// # Errors
/// [`NoEntropy`] when neither instruction is there, or it keeps failing; `out` is then unspecified.
pub(super) fn fill(out: &mut [u8]) -> Result<(), NoEntropy> {
    let has_rdseed = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx >> 18 & 1 == 1;
    let has_rdrand = __cpuid(1).ecx >> 30 & 1 == 1;
    for chunk in out.chunks_mut(8) {
        let seed = if has_rdseed { retry(rdseed) } else { None };
        let word = seed.or_else(|| if has_rdrand { retry(rdrand) } else { None });
        let bytes = word.ok_or(NoEntropy)?.to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    Ok(())
}

/// Tries a source a bounded number of times. All zeroes or ones count as a failure: some
/// processors returned them for ever with the success flag set.
fn retry(source: fn() -> Option<u64>) -> Option<u64> {
    (0..ENTROPY_TRIES).find_map(|_| source().filter(|word| *word != 0 && *word != u64::MAX))
}

fn rdseed() -> Option<u64> {
    let (word, is_valid): (u64, u8);
    // SAFETY: called only where CPUID lists it; it changes registers and flags.
    unsafe {
        asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) is_valid, options(nomem, nostack));
    }
    (is_valid == 1).then_some(word)
}

fn rdrand() -> Option<u64> {
    let (word, is_valid): (u64, u8);
    // SAFETY: called only where CPUID lists it; it changes registers and flags.
    unsafe {
        asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) is_valid, options(nomem, nostack));
    }
    (is_valid == 1).then_some(word)
}
