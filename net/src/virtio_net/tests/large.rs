//! Frames in several buffers: whole, in parts, and lied about.

use super::*;
use crate::limits::FRAME_BUFFERS;
use kernel::virtio::limits::RX_BUFFER_BYTES;

const GUEST_TSO6: u64 = 1 << 8;
/// What large receive takes of the device.
const LARGE: u64 = GUEST_TSO4 | GUEST_TSO6 | MRG_RXBUF;

/// Opens a device that offers large receive, with queues of this many descriptors.
fn open_large(size: u16) -> (FakeDevice, QueuePair, FakeQueue, FakeQueue) {
    let mut options = options();
    options.features |= GUEST_TSO6;
    let fake = FakeDevice::new(options);
    let mut pairs = open(fake.device(), &targets(1), size, &rss())
        .unwrap()
        .pairs;
    let mut pair = pairs.pop().unwrap();
    pair.flush();
    let (rx, tx) = (fake.queue(0).unwrap(), fake.queue(1).unwrap());
    (fake, pair, rx, tx)
}

/// A frame behind the header of a device: good checksum, put together of segments of 1448 bytes, in so
/// many buffers.
fn large(buffers: u16, frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 1, 66, 0, 0xa8, 5, 0, 0, 0, 0];
    bytes.extend(buffers.to_le_bytes());
    bytes.extend(frame);
    bytes
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 7 / 3) as u8).collect()
}

/// Fills buffers with what the device has for them, one after the other; returns how many.
fn fill(rx: &mut FakeQueue, bytes: &[u8]) -> u16 {
    let parts = bytes.chunks(RX_BUFFER_BYTES);
    let count = parts.len() as u16;
    for part in parts {
        assert!(rx.deliver(part));
    }
    count
}

/// Receives a frame, and returns its bytes and what is said of it, and gives it back.
fn receive(pair: &mut QueuePair) -> Option<(Vec<u8>, RxMeta)> {
    let (first, meta) = pair.receive()?;
    let mut rest = Vec::new();
    pair.receive_rest(&mut rest);
    assert_eq!(rest.len(), usize::from(meta.more_buffers));
    let mut bytes = first.as_ref().to_vec();
    rest.iter().for_each(|part| bytes.extend(part.as_ref()));
    pair.recycle(first);
    rest.into_iter().for_each(|part| pair.recycle(part));
    Some((bytes, meta))
}

#[test]
fn large_receive_is_taken_where_checksums_and_buffers_for_it_are() {
    let accepted = |features: u64, size| {
        let fake = FakeDevice::new(FakeOptions {
            features,
            ..options()
        });
        open(fake.device(), &targets(1), size, &rss()).unwrap();
        fake.accepted_features() & LARGE
    };
    let all = options().features | LARGE;
    assert_eq!(accepted(all, 256), LARGE);
    assert_eq!(accepted(all & !GUEST_TSO6, 64), GUEST_TSO4 | MRG_RXBUF);
    assert_eq!(accepted(all & !GUEST_CSUM, 256), 0);
    assert_eq!(accepted(all & !MRG_RXBUF, 256), 0);
    assert_eq!(accepted(all & !GUEST_TSO4 & !GUEST_TSO6, 256), 0);
    assert_eq!(accepted(all, 63), 0, "the largest frame would not fit");
    // The second pair's queue is too small, and may be used.
    let small = FakeDevice::new(FakeOptions {
        features: all,
        queue_sizes: vec![256, 256, 32, 256, 64],
        ..options()
    });
    let control = answer_control(&small, 4, 0);
    open(small.device(), &targets(2), 256, &rss()).unwrap();
    control.join().unwrap();
    assert_eq!(small.accepted_features() & LARGE, 0);
}

#[test]
fn a_frame_of_any_size_comes_in_whole() {
    let (fake, mut pair, mut rx, _) = open_large(64);
    let uses = fake.register_uses();
    for size in [0, 60, 2036, 2037, 4084, 4085, 30_000, 65_549, 65_589] {
        let frame = bytes(size);
        let buffers = (12 + size).div_ceil(RX_BUFFER_BYTES) as u16;
        assert_eq!(fill(&mut rx, &large(buffers, &frame)), buffers);
        let (received, meta) = receive(&mut pair).expect("all of it is there");
        assert_eq!(received, frame, "{size} bytes");
        let more_buffers = buffers as u8 - 1;
        let expected = RxMeta {
            checksum_valid: true,
            segment_bytes: 1448,
            more_buffers,
        };
        assert_eq!(meta, expected);
        assert!(receive(&mut pair).is_none());
        pair.flush();
        assert_eq!(rx.waiting(), 64);
    }
    let counters = pair.counters();
    let total = 60 + 2036 + 2037 + 4084 + 4085 + 30_000 + 65_549 + 65_589;
    assert_eq!((counters.rx_frames, counters.rx_bytes), (9, total));
    assert_eq!(counters.rx_large_frames, 6);
    let bad = (counters.rx_bad_completions, counters.rx_bad_large_frames);
    assert_eq!((bad, fake.register_uses()), ((0, 0), uses));
}

#[test]
fn a_frame_of_which_a_part_is_not_yet_there_is_waited_for() {
    let (_, mut pair, mut rx, _) = open_large(64);
    let frame = bytes(9000);
    let whole = large(5, &frame);
    for part in whole.chunks(RX_BUFFER_BYTES) {
        assert!(receive(&mut pair).is_none());
        // It sleeps meanwhile, and what comes wakes it.
        assert!(!pair.arm());
        assert!(rx.deliver(part) && rx.interrupts());
        pair.disarm();
    }
    assert!(pair.arm(), "the last part waits");
    assert_eq!(receive(&mut pair).unwrap().0, frame);
    assert!(rx.deliver(&large(1, b"next")));
    assert_eq!(receive(&mut pair).unwrap().0, b"next");
}

#[test]
fn a_number_of_buffers_that_cannot_be_takes_its_frame_and_no_other() {
    let (_, mut pair, mut rx, _) = open_large(64);
    let too_many = FRAME_BUFFERS as u16 + 1;
    let mut parts = 0;
    for (round, buffers) in [0, too_many, 40].into_iter().enumerate() {
        assert!(rx.deliver(&large(buffers, &bytes(2036))));
        assert!(receive(&mut pair).is_none());
        // What would be the others of it is not looked at as frames.
        for _ in 1..buffers {
            assert!(rx.deliver(&large(1, b"not a frame")));
            assert!(receive(&mut pair).is_none());
            parts += 1;
            pair.flush();
        }
        assert!(rx.deliver(&large(1, b"a frame")));
        assert_eq!(receive(&mut pair).unwrap().0, b"a frame", "after {buffers}");
        assert_eq!(pair.counters().rx_bad_large_frames, round as u64 + 1);
        pair.flush();
        assert_eq!(rx.waiting(), 64);
    }
    assert!(parts > 70);
}

#[test]
fn a_part_that_cannot_be_takes_the_whole_frame() {
    for lie in 0..4 {
        let (_, mut pair, mut rx, _) = open_large(64);
        let whole = large(4, &bytes(7000));
        let parts: Vec<_> = whole.chunks(RX_BUFFER_BYTES).collect();
        assert!(rx.deliver(parts[0]) && rx.deliver(parts[1]));
        match lie {
            // No buffer of the driver's, or one that it has.
            0 => rx.complete(0xdead_beef, 100),
            1 => rx.complete(0, 100),
            // Empty, or longer than the buffer.
            _ => {
                let chain = rx.take().unwrap();
                rx.complete(chain.id.into(), if lie == 2 { 0 } else { 4096 });
            }
        }
        assert!(rx.deliver(parts[3]) && rx.deliver(&large(1, b"a frame")));
        assert_eq!(receive(&mut pair).unwrap().0, b"a frame", "lie {lie}");
        pair.flush();
        assert_eq!(rx.waiting(), 64, "nothing is lost");
        let counters = pair.counters();
        assert_eq!((counters.rx_frames, counters.rx_bad_completions), (1, 1));
        assert_eq!(counters.rx_bad_large_frames, 1);
    }
}

#[test]
fn whatever_a_device_says_of_buffers_nothing_is_lost_or_held() {
    let mut random = crate::testing::Random::new(31);
    let (fake, mut pair, mut rx, _) = open_large(64);
    let uses = fake.register_uses();
    for _ in 0..20_000 {
        for _ in 0..random.below(20) {
            let buffers = [1, 1, 1, 2, 3, 33, 34, 0, 200][random.below(9) as usize];
            let frame = bytes(random.below(2037) as usize);
            rx.deliver(&large(buffers, &frame));
            if random.chance(50)
                && let Some(chain) = rx.take()
            {
                rx.complete(chain.id.into(), random.below(5000) as u32);
            }
        }
        while let Some((frame, meta)) = receive(&mut pair) {
            assert!(usize::from(meta.more_buffers) < FRAME_BUFFERS);
            assert!(frame.len() <= FRAME_BUFFERS * RX_BUFFER_BYTES);
        }
        pair.flush();
        // All but the parts of one frame that is not yet whole.
        assert!(usize::from(rx.waiting()) > 64 - FRAME_BUFFERS);
    }
    assert_eq!(fake.register_uses(), uses);
}

#[test]
fn a_batch_of_large_frames_reads_no_register_and_writes_one_per_queue_at_most() {
    let (fake, mut pair, mut rx, mut tx) = open_large(64);
    let uses = fake.register_uses();
    let whole = large(3, &bytes(6000));
    for round in 0..5000 {
        let (frames, before) = (1 + round % 20, pair.counters().doorbells);
        for _ in 0..frames {
            fill(&mut rx, &whole);
        }
        for queue in [&mut rx, &mut tx] {
            queue.set_doorbell_wanted(true);
            queue.was_rung();
        }
        for _ in 0..frames {
            assert_eq!(receive(&mut pair).expect("delivered").0.len(), 6000);
            let sent = pair.transmit(60, &[], |_| ((), TxMeta::default()));
            assert!(sent.is_ok());
        }
        pair.flush();
        assert_eq!(std::iter::from_fn(|| tx.collect()).count(), frames);
        assert!(pair.can_transmit());
        let rung = [&mut rx, &mut tx].map(|queue| u64::from(queue.was_rung()));
        assert_eq!(pair.counters().doorbells - before, rung[0] + rung[1]);
    }
    assert_eq!(fake.register_uses(), uses, "beside doorbells");
}
