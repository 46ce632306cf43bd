//! What a batch costs in register accesses: none is read, and at most one, the doorbell, is written
//! per queue.

use super::*;

/// Descriptors of a queue of these tests.
const SIZE: usize = 16;

/// Receives a batch, gives it back, answers each frame, publishes; returns the doorbells rung.
fn batch(
    pair: &mut QueuePair,
    [rx, tx]: [&mut FakeQueue; 2],
    frames: usize,
    is_wanted: bool,
) -> u64 {
    let before = pair.counters().doorbells;
    for _ in 0..frames {
        assert!(rx.deliver(&[0; 72]));
    }
    for queue in [&mut *rx, &mut *tx] {
        queue.set_doorbell_wanted(is_wanted);
        queue.was_rung();
    }
    for _ in 0..frames {
        let (frame, _) = pair.receive().expect("delivered");
        pair.recycle(frame);
        let sent = pair.transmit(60, &[], |_| ((), TxMeta::default()));
        assert!(sent.is_ok());
    }
    pair.flush();
    assert_eq!(std::iter::from_fn(|| tx.collect()).count(), frames);
    assert!(pair.can_transmit());
    pair.counters().doorbells - before
}

#[test]
fn a_batch_reads_no_register_and_writes_one_per_queue_at_most() {
    for event_index in [0, features::EVENT_INDEX] {
        let (fake, mut pair, mut rx, mut tx) = open_one(FakeOptions {
            features: options().features & !features::EVENT_INDEX | event_index,
            ..options()
        });
        let uses = fake.register_uses();
        // Far beyond the wrap of the rings' indices, which are of 16 bits.
        for round in 0..20_000 {
            let (frames, is_wanted) = (1 + round % SIZE, round % 3 != 0);
            let rung = batch(&mut pair, [&mut rx, &mut tx], frames, is_wanted);
            // With EVENT_IDX a device that has buffers left has not asked about them.
            let rx_rings = is_wanted && (event_index == 0 || frames == SIZE);
            let rings = (rx.was_rung(), tx.was_rung());
            assert_eq!(rings, (rx_rings, is_wanted), "{frames}, round {round}");
            let expected = u64::from(rx_rings) + u64::from(is_wanted);
            assert_eq!(rung, expected, "{frames} frames in round {round}");
        }
        let unread = "reads and writes beside doorbells";
        assert_eq!(fake.register_uses(), uses, "{unread}");
    }
}

#[test]
fn a_turn_with_nothing_to_do_touches_no_register() {
    let (fake, mut pair, ..) = open_one(options());
    let (uses, doorbells) = (fake.register_uses(), pair.counters().doorbells);
    for _ in 0..100 {
        assert!(pair.receive().is_none());
        pair.flush();
        assert!(!pair.arm());
        pair.disarm();
    }
    assert_eq!(fake.register_uses(), uses);
    assert_eq!(pair.counters().doorbells, doorbells);
}
