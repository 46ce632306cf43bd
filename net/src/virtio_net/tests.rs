//! Queue pairs over the fake device: opening it, frames both ways, lies.

mod large;
mod refusals;
mod registers;
mod scaling;

use super::{MAX_MTU_BYTES, OpenError, QueuePair, open};
use crate::nic::{Nic, PartialChecksum, RxMeta, TxMeta};
use crate::rss::Rss;
use kernel::virtio::device::{DeviceKind, InterruptTarget, NegotiateError, QueueError, features};
use kernel::virtio::exchange::ExchangeError;
use kernel::virtio::fake::{FakeDevice, FakeOptions, FakeQueue};
use std::string::ToString;
use std::thread::JoinHandle;
use std::vec;
use std::vec::Vec;

const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const GUEST_TSO4: u64 = 1 << 7;
const HOST_TSO: u64 = 1 << 11 | 1 << 12;
const MRG_RXBUF: u64 = 1 << 15;
const CTRL_VQ: u64 = 1 << 17;
const MQ: u64 = 1 << 22;

/// Station address, status, queue pairs, MTU, as VirtIO 1.2 §5.1.4 lays them out.
fn config(pairs: u16, mtu: u16) -> Vec<u8> {
    let mut config = vec![0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0];
    config.extend(pairs.to_le_bytes());
    config.extend(mtu.to_le_bytes());
    config
}

/// A device as QEMU makes it, with two queue pairs.
fn options() -> FakeOptions {
    let offloads = CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO | MRG_RXBUF;
    FakeOptions {
        kind: DeviceKind::Network,
        features: features::VERSION_1 | features::EVENT_INDEX | MAC | MTU | CTRL_VQ | MQ | offloads,
        required: 0,
        queue_sizes: vec![256, 256, 256, 256, 64],
        config: config(2, 1400),
        interrupt_lines: 3,
        is_stuck: false,
    }
}

fn targets(cores: usize) -> Vec<InterruptTarget> {
    let target = |core| InterruptTarget {
        apic_id: core as u8,
        vector: 0x40,
    };
    (0..cores).map(target).collect()
}

fn rss() -> Rss {
    Rss::new([0x2b; 40], 3)
}

/// Opens a device for one core, with 16 descriptors a queue; the device's halves of both queues.
fn open_one(options: FakeOptions) -> (FakeDevice, QueuePair, FakeQueue, FakeQueue) {
    let fake = FakeDevice::new(options);
    let mut pairs = open(fake.device(), &targets(1), 16, &rss()).unwrap().pairs;
    assert_eq!(pairs.len(), 1);
    let mut pair = pairs.pop().unwrap();
    pair.flush();
    let (rx, tx) = (fake.queue(0).unwrap(), fake.queue(1).unwrap());
    (fake, pair, rx, tx)
}

/// Answers the one command that the driver gives while it opens `fake`, and returns it.
fn answer_control(fake: &FakeDevice, index: u16, answer: u8) -> JoinHandle<Vec<u8>> {
    let commands = answer_controls(fake, index, &[answer]);
    std::thread::spawn(move || commands.join().unwrap().remove(0))
}

/// Answers the commands that the driver gives while it opens `fake`, and returns them.
fn answer_controls(fake: &FakeDevice, index: u16, answers: &[u8]) -> JoinHandle<Vec<Vec<u8>>> {
    let (fake, answers) = (fake.clone(), answers.to_vec());
    std::thread::spawn(move || {
        let mut control = loop {
            match fake.queue(index) {
                Some(queue) if queue.waiting() > 0 => break queue,
                _ => std::thread::yield_now(),
            }
        };
        assert_eq!(fake.last_status(), 15, "a command before DRIVER_OK");
        let answer = |answer| {
            let chain = loop {
                match control.take() {
                    Some(chain) => break chain,
                    None => std::thread::yield_now(),
                }
            };
            let command = control.read(&chain);
            let written = control.write(&chain, &[answer]);
            control.complete(chain.id.into(), written);
            command
        };
        answers.into_iter().map(answer).collect()
    })
}

#[test]
fn only_features_with_a_use_are_taken() {
    let (fake, pair, ..) = open_one(options());
    let expected = features::VERSION_1 | features::EVENT_INDEX | MAC | MTU | CSUM | GUEST_CSUM;
    assert_eq!(fake.accepted_features(), expected);
    assert_eq!(fake.last_status(), 15);
    let info = pair.info();
    assert_eq!(info.mac, [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert_eq!(
        (info.mtu, info.tx_checksum, info.tso4_max_bytes),
        (1400, true, 0)
    );

    let plain = FakeOptions {
        features: features::VERSION_1 | MAC,
        ..options()
    };
    let (_, pair, ..) = open_one(plain);
    assert_eq!((pair.info().mtu, pair.info().tx_checksum), (1500, false));
}

#[test]
fn an_mtu_that_does_not_fit_the_buffers_is_not_taken() {
    for (offered, used) in [
        (9000, 1500),
        (100, 1500),
        (576, 576),
        (MAX_MTU_BYTES, MAX_MTU_BYTES),
    ] {
        let (fake, pair, ..) = open_one(FakeOptions {
            config: config(2, offered),
            ..options()
        });
        assert_eq!(pair.info().mtu, used);
        assert_eq!(fake.accepted_features() & MTU != 0, offered == used);
    }
}

#[test]
fn each_core_gets_a_pair_with_an_interrupt_of_its_own() {
    let fake = FakeDevice::new(options());
    let control = answer_control(&fake, 4, 0);
    let pairs = open(fake.device(), &targets(3), 256, &rss()).unwrap().pairs;
    assert_eq!(control.join().unwrap(), [4, 0, 2, 0]);
    assert_eq!(pairs.len(), 2, "the device has no more");
    for (core, queues) in [[0, 1], [2, 3]].into_iter().enumerate() {
        for queue in queues {
            assert_eq!(fake.interrupt_of(queue), Some(targets(2)[core]));
        }
    }
    // A pair is a value that moves to its core.
    for pair in pairs {
        std::thread::spawn(move || assert_eq!(pair.counters().rx_frames, 0))
            .join()
            .unwrap();
    }
}

#[test]
fn frames_come_in_without_their_header() {
    let (fake, mut pair, mut rx, _) = open_one(options());
    let uses = fake.register_uses();
    assert!(pair.receive().is_none());
    for (flags, checksum_valid) in [(0, false), (1, true), (2, true)] {
        let mut bytes = vec![0; 12];
        bytes[0] = flags;
        bytes.extend(b"a frame");
        assert!(rx.deliver(&bytes));
        let (frame, meta) = pair.receive().unwrap();
        assert_eq!(frame.as_ref(), b"a frame");
        let expected = RxMeta {
            checksum_valid,
            ..RxMeta::default()
        };
        assert_eq!(meta, expected);
        pair.recycle(frame);
    }
    // Only a header: an empty frame. Less than that: a lie.
    assert!(rx.deliver(&[0; 12]));
    let (frame, _) = pair.receive().unwrap();
    assert!(frame.as_ref().is_empty());
    pair.recycle(frame);
    assert!(rx.deliver(&[0; 11]));
    assert!(pair.receive().is_none());
    pair.flush();
    assert_eq!(rx.waiting(), 16);
    let counters = pair.counters();
    assert_eq!((counters.rx_frames, counters.rx_bytes), (4, 21));
    assert_eq!(counters.rx_bad_completions, 1);
    assert_eq!(fake.register_uses(), uses);
}

#[test]
fn without_guest_csum_no_checksum_is_taken_for_good() {
    let (_, mut pair, mut rx, _) = open_one(FakeOptions {
        features: options().features & !GUEST_CSUM,
        ..options()
    });
    rx.deliver(&[3; 40]);
    assert!(!pair.receive().unwrap().1.checksum_valid);
}

#[test]
fn frames_go_out_behind_a_header_when_flushed() {
    let (fake, mut pair, _, mut tx) = open_one(options());
    let uses = fake.register_uses();
    let checksum = Some(PartialChecksum {
        start: 34,
        offset: 16,
    });
    let metas = [
        TxMeta::default(),
        TxMeta {
            checksum,
            ..TxMeta::default()
        },
    ];
    for meta in metas {
        let sent = pair.transmit(5, &[], |bytes| {
            bytes.copy_from_slice(b"hello");
            (42, meta)
        });
        assert_eq!(sent.ok(), Some(42));
    }
    assert_eq!(tx.waiting(), 0, "nothing goes out before a flush");
    let doorbells = pair.counters().doorbells;
    pair.flush();
    assert_eq!(pair.counters().doorbells, doorbells + 1);
    assert_eq!(tx.collect().unwrap(), b"\0\0\0\0\0\0\0\0\0\0\0\0hello");
    assert_eq!(
        tx.collect().unwrap(),
        b"\x01\0\0\0\0\0\x22\0\x10\0\0\0hello"
    );
    let counters = pair.counters();
    assert_eq!((counters.tx_frames, counters.tx_bytes), (2, 10));
    assert_eq!(fake.register_uses(), uses);
}

#[test]
fn frames_are_left_to_the_device_to_cut_only_when_it_takes_their_tail() {
    let with = |extra: u64, without: u64| {
        let mut options = options();
        options.features = (options.features | extra) & !without;
        let (_, pair, _, tx) = open_one(options);
        (pair, tx)
    };
    let cuts = |pair: &QueuePair| (pair.info().tail_pieces > 0, pair.info().tso6_max_bytes > 0);
    assert_eq!(cuts(&with(0, 0).0), (false, false));
    assert_eq!(cuts(&with(features::INDIRECT, CSUM).0), (true, false));
    assert_eq!(cuts(&with(features::INDIRECT, HOST_TSO).0), (true, false));
    let (mut pair, mut tx) = with(features::INDIRECT, 0);
    assert_eq!(cuts(&pair), (true, true));
    static BODY: [u8; 60_000] = [b'b'; 60_000];
    let (start, offset) = (34, 16);
    let meta = TxMeta {
        checksum: Some(PartialChecksum { start, offset }),
        segment_bytes: core::num::NonZeroU16::new(1448),
        header_bytes: 66,
        is_ipv6: false,
    };
    let sent = pair.transmit(66, &[&BODY, &BODY[..7]], |bytes| {
        bytes.fill(b'h');
        ((), meta)
    });
    assert!(sent.is_ok());
    pair.flush();
    let frame = tx.collect().unwrap();
    assert_eq!(frame[..12], [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
    assert_eq!(frame.len(), 12 + 66 + 60_007);
    assert_eq!((frame[12], frame[78]), (b'h', b'b'));
    assert_eq!(pair.counters().tx_bytes, 66 + 60_007);
    let too_many = [&BODY[..]; 5];
    assert!(pair.transmit(66, &too_many, |_| ((), meta)).is_err());
}

#[test]
fn a_full_queue_and_a_frame_too_large_give_the_filler_back() {
    let (_, mut pair, _, mut tx) = open_one(options());
    let largest = usize::from(pair.info().mtu) + 14;
    let mut queued = 0;
    while pair.can_transmit() {
        assert!(
            pair.transmit(largest, &[], |_| ((), TxMeta::default()))
                .is_ok()
        );
        queued += 1;
    }
    assert_eq!(queued, 16);
    let refused = pair.transmit(1, &[], |_| ("kept", TxMeta::default())).err();
    let filler = refused.expect("the queue is full");
    pair.flush();
    assert!(tx.collect().is_some() && pair.can_transmit());
    assert_eq!(pair.transmit(1, &[], filler).ok(), Some("kept"));
    while tx.collect().is_some() {}
    for len in [4096, usize::MAX] {
        assert!(
            pair.transmit(len, &[], |_| ((), TxMeta::default()))
                .is_err()
        );
    }
}

#[test]
fn an_armed_pair_is_woken_by_a_frame_and_one_with_frames_does_not_sleep() {
    let (_, mut pair, mut rx, _) = open_one(options());
    assert!(!pair.arm());
    assert!(rx.deliver(&[0; 60]) && rx.interrupts());
    pair.disarm();
    assert!(rx.deliver(&[0; 60]) && !rx.interrupts());
    assert!(pair.arm(), "two frames wait");
    assert!(pair.receive().is_some() && pair.arm());
    assert!(pair.receive().is_some() && !pair.arm());
    assert!(rx.deliver(&[0; 60]) && rx.interrupts());
}

#[test]
fn a_pair_with_no_room_to_send_is_woken_when_there_is() {
    let (_, mut pair, _, mut tx) = open_one(options());
    while pair.transmit(60, &[], |_| ((), TxMeta::default())).is_ok() {}
    pair.flush();
    assert!(!pair.arm());
    assert!(tx.collect().is_some() && tx.interrupts());
    assert!(pair.arm() || pair.can_transmit());
}

#[test]
fn a_device_that_lies_is_counted_and_cannot_stop_what_is_honest() {
    let (_, mut pair, mut rx, mut tx) = open_one(options());
    assert!(pair.transmit(60, &[], |_| ((), TxMeta::default())).is_ok());
    pair.flush();
    tx.complete(16, 0);
    while pair.transmit(60, &[], |_| ((), TxMeta::default())).is_ok() {}
    assert!(!pair.can_transmit());
    assert_eq!(pair.counters().tx_bad_completions, 1);

    rx.complete(0xdead_beef, 60);
    let chain = rx.take().unwrap();
    rx.complete(chain.id.into(), 4096);
    assert!(rx.deliver(&[0; 60]));
    assert_eq!(pair.receive().unwrap().0.as_ref().len(), 48);
    assert_eq!(pair.counters().rx_bad_completions, 2);
}
