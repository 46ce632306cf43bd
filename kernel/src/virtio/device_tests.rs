//! Devices and their queues against the fake: negotiation, buffers in and out, single requests.

use super::device::{
    Device, DeviceKind, InterruptTarget, NegotiateError, QueueError, QueueRequest, features,
};
use super::exchange::ExchangeError;
use super::fake::{FakeDevice, FakeOptions};
use super::limits::{RX_BUFFER_BYTES, TX_BUFFER_BYTES};
use super::ring_tests::{LONG, Seeded};
use super::rx::RxBuffer;
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

fn options() -> FakeOptions {
    FakeOptions {
        kind: DeviceKind::Network,
        features: features::VERSION_1 | features::EVENT_INDEX,
        required: 0,
        queue_sizes: vec![256; 4],
        config: vec![1, 2, 3, 4],
        interrupt_lines: 2,
        is_stuck: false,
    }
}

fn request(index: u16, max_size: u16) -> QueueRequest {
    QueueRequest {
        index,
        max_size,
        interrupt_line: None,
    }
}

fn negotiated(options: FakeOptions) -> (FakeDevice, Device) {
    let fake = FakeDevice::new(options);
    let mut device = fake.device();
    device.negotiate(|_, offered| offered).unwrap();
    (fake, device)
}

#[test]
fn features_are_agreed_on_or_refused_clearly() {
    let agree = |options| {
        FakeDevice::new(options)
            .device()
            .negotiate(|_, offered| offered)
    };
    assert_eq!(
        agree(options()),
        Ok(features::VERSION_1 | features::EVENT_INDEX)
    );
    let legacy = FakeOptions {
        features: 1,
        ..options()
    };
    assert_eq!(agree(legacy), Err(NegotiateError::Legacy));
    let stuck = FakeOptions {
        is_stuck: true,
        ..options()
    };
    assert_eq!(agree(stuck), Err(NegotiateError::NoReset));
    let greedy = FakeOptions {
        required: 1 << 40,
        ..options()
    };
    assert_eq!(agree(greedy), Err(NegotiateError::Refused));
    // Not offered, not taken; VERSION_1 and ACCESS_PLATFORM taken unasked.
    let platform = FakeOptions {
        features: features::VERSION_1 | features::ACCESS_PLATFORM | 2,
        ..options()
    };
    let fake = FakeDevice::new(platform);
    fake.device().negotiate(|_, _| 1 << 5).unwrap();
    assert_eq!(
        fake.accepted_features(),
        features::VERSION_1 | features::ACCESS_PLATFORM
    );
}

#[test]
fn a_queue_gets_the_largest_power_of_two_that_both_can_do() {
    let mut sizes = options();
    sizes.queue_sizes = vec![256, 1024, 100, 3, 0];
    let (fake, mut device) = negotiated(sizes);
    for (index, max_size, size) in [(0, 256, 256), (1, 4096, 256), (2, 256, 64), (0, 33, 32)] {
        device.tx_queue(request(index, max_size)).unwrap();
        assert_eq!(fake.queue(index).unwrap().size(), size);
    }
    for index in [3, 4, 5] {
        let refused = device.tx_queue(request(index, 256)).err();
        assert_eq!(refused, Some(QueueError::Missing));
    }
    assert_eq!(
        device.rx_queue(request(0, 2), 0).err(),
        Some(QueueError::Missing)
    );
}

#[test]
fn interrupts_lead_where_they_were_routed() {
    let (fake, mut device) = negotiated(options());
    let target = InterruptTarget {
        apic_id: 3,
        vector: 0x41,
    };
    assert_eq!(device.route(1, target), Ok(()));
    assert_eq!(device.route(2, target), Err(QueueError::NoInterrupt));
    let with_line = |line| QueueRequest {
        interrupt_line: Some(line),
        ..request(2, 16)
    };
    device.tx_queue(with_line(1)).unwrap();
    assert_eq!(fake.interrupt_of(2), Some(target));
    assert_eq!(
        device.tx_queue(with_line(2)).err(),
        Some(QueueError::NoInterrupt)
    );
}

#[test]
fn received_bytes_are_the_devices_and_no_register_is_touched() {
    for event_index in [0, features::EVENT_INDEX] {
        let (fake, mut device) = negotiated(FakeOptions {
            features: features::VERSION_1 | event_index,
            ..options()
        });
        let mut rx = device.rx_queue(request(0, 64), 12).unwrap();
        device.start();
        rx.publish();
        let mut half = fake.queue(0).unwrap();
        let mut random = Seeded(4);
        let uses = fake.register_uses();
        let mut held: VecDeque<(RxBuffer, Vec<u8>)> = VecDeque::new();
        let mut turn = 0_u64;
        while turn < LONG {
            let mut sent = VecDeque::new();
            for _ in 0..random.below(20) {
                let len = 12 + random.below(if cfg!(miri) { 40 } else { 2037 }) as usize;
                let bytes = vec![turn as u8; len];
                turn += 1;
                if half.deliver(&bytes) {
                    sent.push_back(bytes);
                }
            }
            while let Some(buffer) = rx.receive() {
                let bytes = sent.pop_front().expect("no more than was sent");
                assert_eq!(buffer.as_ref(), bytes);
                held.push_back((buffer, bytes));
            }
            assert!(sent.is_empty());
            // Frames stay what they are while they are held, whatever comes in meanwhile.
            for _ in 0..random.below(held.len() as u64 + 1) {
                let (buffer, bytes) = held.pop_front().unwrap();
                assert_eq!(buffer.as_ref(), bytes);
                rx.recycle(buffer);
            }
            half.set_doorbell_wanted(half.waiting() == 0);
            let rung = rx.doorbells();
            rx.publish();
            assert!(rx.doorbells() <= rung + 1);
        }
        assert_eq!(fake.register_uses(), uses);
        assert_eq!(rx.bad_completions(), 0);
    }
}

#[test]
fn impossible_lengths_are_refused_and_the_buffer_is_used_again() {
    let (fake, mut device) = negotiated(options());
    let mut rx = device.rx_queue(request(0, 4), 12).unwrap();
    rx.publish();
    let mut half = fake.queue(0).unwrap();
    for len in [0, 11, RX_BUFFER_BYTES as u32 + 1, u32::MAX] {
        let chain = half.take().unwrap();
        half.complete(chain.id.into(), len);
        assert!(rx.receive().is_none());
        rx.publish();
    }
    assert_eq!(rx.bad_completions(), 4);
    for len in [12, RX_BUFFER_BYTES] {
        assert!(half.deliver(&vec![7; len]));
        let buffer = rx.receive().unwrap();
        assert_eq!(buffer.as_ref(), vec![7; len]);
        rx.recycle(buffer);
        rx.publish();
    }
    assert_eq!(half.waiting(), 4);
}

#[test]
fn a_buffer_of_another_queue_is_not_taken() {
    let (_fake, mut device) = negotiated(options());
    let mut one = device.rx_queue(request(0, 4), 0).unwrap();
    let mut other = device.rx_queue(request(2, 4), 0).unwrap();
    let mut half = _fake.queue(0).unwrap();
    one.publish();
    half.deliver(&[1; 20]);
    other.recycle(one.receive().unwrap());
    other.publish();
    assert_eq!(_fake.queue(2).unwrap().waiting(), 4);
}

#[test]
fn sent_bytes_reach_the_device_in_order_and_a_full_queue_says_so() {
    let (fake, mut device) = negotiated(options());
    let mut tx = device.tx_queue(request(1, 16)).unwrap();
    device.start();
    let mut half = fake.queue(1).unwrap();
    let mut random = Seeded(8);
    let uses = fake.register_uses();
    let mut expected = VecDeque::new();
    for turn in 0..LONG / 8 {
        for _ in 0..random.below(20) {
            let len = random.below(60) as usize;
            match tx.reserve(len) {
                Some(mut slot) => {
                    slot.bytes_mut().fill(turn as u8);
                    slot.submit();
                    expected.push_back(vec![turn as u8; len]);
                }
                None => assert_eq!(expected.len(), 16),
            }
        }
        assert_eq!(half.waiting() as usize, 0);
        tx.publish();
        for _ in 0..random.below(17) {
            assert_eq!(half.collect(), expected.pop_front());
        }
        while let Some(sent) = half.collect() {
            assert_eq!(Some(sent), expected.pop_front());
        }
        assert!(expected.is_empty() && tx.has_room());
    }
    assert_eq!(fake.register_uses(), uses);
    assert!(tx.reserve(TX_BUFFER_BYTES).is_some());
    assert!(tx.reserve(TX_BUFFER_BYTES + 1).is_none());
    // A slot that is not submitted stays free.
    for _ in 0..40 {
        assert!(tx.reserve(1).is_some());
    }
}

#[test]
fn lasting_memory_is_sent_behind_a_buffer_where_the_device_takes_tables() {
    static LASTING: [u8; 40] = [b'l'; 40];
    for has_tables in [false, true] {
        let mut options = options();
        options.features |= if has_tables { features::INDIRECT } else { 0 };
        let (fake, mut device) = negotiated(options);
        let mut tx = device.tx_queue(request(1, 4)).unwrap();
        assert_eq!(tx.tail_pieces(), if has_tables { 4 } else { 0 });
        let mut half = fake.queue(1).unwrap();
        // Buffers are used again with and without a tail.
        for turn in 0..20 {
            let pieces = turn % 6;
            let tail = [&LASTING[..10 + turn]; 6];
            let mut slot = tx.reserve(3).unwrap();
            slot.bytes_mut().copy_from_slice(b"abc");
            slot.submit_with_tail(&tail[..pieces]);
            tx.publish();
            let mut expected = b"abc".to_vec();
            tail[..pieces.min(tx.tail_pieces())]
                .iter()
                .for_each(|piece| expected.extend_from_slice(piece));
            assert_eq!(half.collect(), Some(expected));
        }
    }
}

#[test]
fn a_full_transmit_queue_asks_to_be_woken() {
    let (fake, mut device) = negotiated(options());
    let mut tx = device.tx_queue(request(1, 4)).unwrap();
    let mut half = fake.queue(1).unwrap();
    assert!(!tx.arm_if_full());
    while let Some(slot) = tx.reserve(9) {
        slot.submit();
    }
    tx.publish();
    assert!(!tx.arm_if_full());
    half.collect().unwrap();
    assert!(half.interrupts());
    // Still full to its knowledge: it is told at once, and has room from then on.
    assert!(tx.arm_if_full());
    assert!(tx.has_room() && !tx.arm_if_full());
    tx.disarm();
    half.collect().unwrap();
    assert!(!half.interrupts());
}

#[test]
fn an_exchange_gets_its_answer_or_an_error() {
    let (fake, mut device) = negotiated(options());
    let mut queue = device.exchange_queue(2).unwrap();
    device.start();
    queue.set_max_polls(1000);
    let mut half = fake.queue(2).unwrap();
    assert_eq!(queue.exchange(&[0; 4096], 1), Err(ExchangeError::TooLarge));
    assert_eq!(queue.exchange(&[0], 0), Err(ExchangeError::TooLarge));
    assert_eq!(queue.exchange(&[1, 2, 3], 4), Err(ExchangeError::NoAnswer));
    // It arrived as it was sent, though; and the device still has it.
    let chain = half.take().unwrap();
    assert_eq!(half.read(&chain), [1, 2, 3]);
    assert_eq!(queue.exchange(&[1], 1), Err(ExchangeError::NoAnswer));

    let answering = |answer: &'static [u8], claimed: u32, id: Option<u32>| {
        let (fake, mut device) = negotiated(options());
        let mut queue = device.exchange_queue(2).unwrap();
        let mut half = fake.queue(2).unwrap();
        let thread = std::thread::spawn(move || {
            let chain = loop {
                if let Some(chain) = half.take() {
                    break chain;
                }
                std::thread::yield_now();
            };
            half.write(&chain, answer);
            half.complete(id.unwrap_or(chain.id.into()), claimed);
        });
        let got = queue.exchange(&[5], 4).map(<[u8]>::to_vec);
        thread.join().unwrap();
        got
    };
    assert_eq!(answering(&[6, 7], 2, None), Ok(vec![6, 7]));
    assert_eq!(answering(&[], 0, None), Ok(vec![]));
    assert_eq!(answering(&[6], 5, None), Err(ExchangeError::BadAnswer));
    assert_eq!(answering(&[6], 1, Some(3)), Err(ExchangeError::BadAnswer));
}
