//! Devices that are not opened.

use super::*;

fn refusal(options: FakeOptions, cores: usize) -> OpenError {
    let fake = FakeDevice::new(options);
    let error = open(fake.device(), &targets(cores), 64, &rss())
        .err()
        .expect("it was opened");
    if error != OpenError::NotANetwork && error != OpenError::NoTargets {
        assert_eq!(fake.last_status(), 128, "the device was not told");
    }
    error
}

#[test]
fn a_device_that_cannot_be_used_is_refused_with_the_reason() {
    let without = |bits: u64| FakeOptions {
        features: options().features & !bits,
        ..options()
    };
    let with_config = |config| FakeOptions {
        config,
        ..options()
    };
    let with_sizes = |queue_sizes| FakeOptions {
        queue_sizes,
        ..options()
    };

    let entropy = FakeOptions {
        kind: DeviceKind::Entropy,
        ..options()
    };
    assert_eq!(refusal(entropy, 1), OpenError::NotANetwork);
    assert_eq!(refusal(options(), 0), OpenError::NoTargets);
    let legacy = without(features::VERSION_1);
    assert_eq!(
        refusal(legacy, 1),
        OpenError::Negotiate(NegotiateError::Legacy)
    );
    assert_eq!(refusal(without(MAC), 1), OpenError::NoMac);
    assert_eq!(refusal(with_config(vec![0; 12]), 1), OpenError::NoMac);
    assert_eq!(refusal(with_config(vec![0x53; 12]), 1), OpenError::NoMac);
    assert_eq!(
        refusal(with_config(vec![0x52; 5]), 1),
        OpenError::ShortConfig
    );
    assert_eq!(
        refusal(with_config(vec![0x52; 8]), 2),
        OpenError::ShortConfig
    );
    assert_eq!(
        refusal(with_config(config(0, 1500)), 2),
        OpenError::BadPairCount(0)
    );
    assert_eq!(
        refusal(with_config(config(0xffff, 1500)), 2),
        OpenError::BadPairCount(0xffff)
    );
    let missing = |index| OpenError::Queue(index, QueueError::Missing);
    assert_eq!(refusal(with_sizes(vec![]), 1), missing(0));
    assert_eq!(refusal(with_sizes(vec![64, 1]), 1), missing(1));
    assert_eq!(refusal(with_sizes(vec![64; 3]), 2), missing(3));
    assert_eq!(refusal(with_sizes(vec![64; 4]), 2), missing(4));
    let silent = FakeOptions {
        interrupt_lines: 0,
        ..options()
    };
    assert_eq!(refusal(silent, 1), OpenError::NoInterrupts);

    let fake = FakeDevice::new(options());
    let control = answer_control(&fake, 4, 1);
    let refused = open(fake.device(), &targets(2), 64, &rss()).err();
    control.join().unwrap();
    assert_eq!(refused, Some(OpenError::PairsRefused(2)));
    let silent = OpenError::Control(ExchangeError::NoAnswer);
    assert_eq!(
        silent.to_string(),
        "control queue: the device did not answer"
    );
}
