//! Receive-side scaling, as the device is told it.

use super::*;

const RSS: u64 = 1 << 60;

/// A device that scales, when its tables are of these sizes and it hashes these types.
fn scaling(key_bytes: u8, buckets: u16, hash_types: u16) -> FakeOptions {
    let mut config = config(2, 1400);
    // Speed, duplex, then what there is of receive-side scaling.
    config.extend([0, 0, 0, 0, 0, key_bytes]);
    config.extend(buckets.to_le_bytes());
    config.extend(u32::from(hash_types).to_le_bytes());
    FakeOptions {
        features: options().features | RSS,
        config,
        ..options()
    }
}

#[test]
fn a_device_that_scales_is_told_our_key_and_table() {
    let fake = FakeDevice::new(scaling(40, 128, 0x1ff));
    let control = answer_control(&fake, 4, 0);
    let opened = open(fake.device(), &targets(3), 64, &rss()).unwrap();
    assert!(opened.scales && opened.pairs.len() == 2);
    let command = control.join().unwrap();
    // Class and command, TCP over IPv4 and IPv6, 128 places, the rest to queue 0.
    assert_eq!(command[..10], [4, 1, 0x12, 0, 0, 0, 127, 0, 0, 0]);
    // Three cores, two pairs: what is the third core's comes on the first pair.
    assert_eq!(command[10..18], [0, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(command[266..269], [2, 0, 40]);
    assert_eq!(command[269..], [0x2b; 40]);
}

#[test]
fn a_device_that_scales_is_nudged_before_each_sleep() {
    for is_scaling in [true, false] {
        let fake = FakeDevice::new(match is_scaling {
            true => scaling(40, 128, 0x12),
            false => options(),
        });
        let control = answer_control(&fake, 4, 0);
        let mut pairs = open(fake.device(), &targets(2), 16, &rss()).unwrap().pairs;
        control.join().unwrap();
        for (pair, queue) in pairs.iter_mut().zip([0, 2]) {
            pair.flush();
            let mut rx = fake.queue(queue).unwrap();
            rx.was_rung();
            assert!(!pair.arm());
            assert_eq!(rx.was_rung(), is_scaling);
            pair.disarm();
            // With a frame there, nobody sleeps, and nothing is held back.
            assert!(rx.deliver(&[0; 72]) && pair.arm() && !rx.was_rung());
        }
    }
}

#[test]
fn a_device_that_will_not_scale_spreads_as_it_likes() {
    let fake = FakeDevice::new(scaling(40, 128, 0x1ff));
    let control = answer_controls(&fake, 4, &[1, 0]);
    let opened = open(fake.device(), &targets(2), 64, &rss()).unwrap();
    assert!(!opened.scales && opened.pairs.len() == 2);
    assert_eq!(control.join().unwrap()[1], [4, 0, 2, 0]);
    for options in [
        scaling(16, 128, 0x12),
        scaling(40, 64, 0x12),
        scaling(40, 128, 2),
        scaling(40, 128, 0x10),
        FakeOptions {
            config: config(2, 1400),
            ..scaling(0, 0, 0)
        },
    ] {
        let fake = FakeDevice::new(options);
        let control = answer_control(&fake, 4, 0);
        let opened = open(fake.device(), &targets(2), 64, &rss()).unwrap();
        assert!(!opened.scales);
        assert_eq!(control.join().unwrap(), [4, 0, 2, 0]);
    }
}
