//! The entropy device (VirtIO 1.2 §5.4): random bytes from the host, asked for at boot.

use super::device::{Device, DeviceKind, NegotiateError, QueueError};
use super::exchange::{ExchangeError, ExchangeQueue};
use super::limits::EXCHANGE_BYTES;
use core::fmt;

/// Answers of no byte that are taken before the source is called dry.
const MAX_EMPTY_ANSWERS: u32 = 16;

/// Why there is no entropy from the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntropyError {
    /// The caller gave a device of another kind.
    NotEntropy,
    /// The driver and the device did not come to terms.
    Negotiate(NegotiateError),
    /// Its queue could not be set up.
    Queue(QueueError),
    /// It did not answer, or not truthfully.
    Exchange(ExchangeError),
    /// It answers, but with nothing.
    Dry,
}

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntropyError::NotEntropy => f.write_str("not an entropy device"),
            EntropyError::Negotiate(error) => error.fmt(f),
            EntropyError::Queue(error) => error.fmt(f),
            EntropyError::Exchange(error) => error.fmt(f),
            EntropyError::Dry => f.write_str("the device gives no bytes"),
        }
    }
}

/// A running entropy device.
pub struct EntropySource {
    queue: ExchangeQueue,
}

impl EntropySource {
    /// Starts the device.
    ///
    /// # Errors
    /// See [`EntropyError`].
    pub fn open(mut device: Device) -> Result<Self, EntropyError> {
        if device.kind() != DeviceKind::Entropy {
            return Err(EntropyError::NotEntropy);
        }
        device
            .negotiate(|_, _| 0)
            .map_err(EntropyError::Negotiate)?;
        let queue = device.exchange_queue(0).map_err(|error| {
            device.give_up();
            EntropyError::Queue(error)
        })?;
        device.start();
        Ok(EntropySource { queue })
    }

    /// Mixes random bytes into `out` by exclusive or, waiting for them: what was unknown about a byte,
    /// or will be about the device's, is unknown about the result. The host knows the device's.
    ///
    /// # Errors
    /// [`EntropyError::Exchange`] and [`EntropyError::Dry`]; part of `out` may then be mixed already.
    pub fn mix(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        let mut mixed = 0;
        let mut empty_answers = 0;
        while mixed < out.len() {
            let wanted = (out.len() - mixed).min(EXCHANGE_BYTES);
            let got = self
                .queue
                .exchange(&[], wanted)
                .map_err(EntropyError::Exchange)?;
            for (byte, random) in out[mixed..].iter_mut().zip(got) {
                *byte ^= random;
            }
            mixed += got.len();
            empty_answers += u32::from(got.is_empty());
            if empty_answers > MAX_EMPTY_ANSWERS {
                return Err(EntropyError::Dry);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::device::features;
    use super::super::fake::{FakeDevice, FakeOptions};
    use super::*;
    use std::vec;

    /// A device that answers each request with `chunk` bytes counted up, or fewer.
    fn mix(into: u8, len: usize, chunk: usize) -> Result<vec::Vec<u8>, EntropyError> {
        let fake = FakeDevice::new(FakeOptions {
            kind: DeviceKind::Entropy,
            features: features::VERSION_1,
            required: 0,
            queue_sizes: vec![8],
            config: vec![],
            interrupt_lines: 1,
            is_stuck: false,
        });
        let mut source = EntropySource::open(fake.device())?;
        let mut half = fake.queue(0).unwrap();
        std::thread::scope(|scope| {
            let (stop, is_stopped) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                let mut next = 0_u8;
                while is_stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                    let Some(chain) = half.take() else {
                        std::thread::yield_now();
                        continue;
                    };
                    let bytes: vec::Vec<u8> = (0..chunk).map(|at| next + at as u8).collect();
                    let len = half.write(&chain, &bytes);
                    next += len as u8;
                    half.complete(chain.id.into(), len);
                }
            });
            let mut out = vec![into; len];
            let result = source.mix(&mut out);
            drop(stop);
            result.map(|()| out)
        })
    }

    #[test]
    fn bytes_come_in_pieces_until_there_are_enough() {
        for chunk in [1, 7, 64, 100] {
            assert_eq!(mix(0, 64, chunk), Ok((0..64).collect()));
        }
    }

    #[test]
    fn what_was_there_before_is_still_in_the_result() {
        for into in [0x40, 0xff] {
            let expected = (0..64).map(|byte: u8| byte ^ into).collect();
            assert_eq!(mix(into, 64, 7), Ok(expected));
        }
    }

    #[test]
    fn a_dry_device_is_given_up() {
        assert_eq!(mix(0, 64, 0), Err(EntropyError::Dry));
    }
}
