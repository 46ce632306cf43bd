//! Channels of several cores over their real stacks, as far as they have to do with each other: whose
//! the cores of a port are.
#![forbid(unsafe_code)]

use kernel::{CoreId, CoreMask, Instant};
use megapipe::{Application, Channel, ChannelConfig, Completion, Cookie, Core, IoSlice};
use megapipe::{ListenHandle, SubmitError};
use net::fabric::fabric;
use net::stack::{ListenError, Stack};
use net::testing::{Link, MemoryNic, World};

const PORT: u16 = 80;
const LISTENER: Cookie = Cookie(7);

/// Listens for some cores, then changes to others, and remembers what it was told.
struct Partner {
    first: CoreMask,
    next: Option<CoreMask>,
    listener: Option<ListenHandle>,
    failed: Option<ListenError>,
    changed: Option<Result<(), ListenError>>,
}

impl Application for Partner {
    fn run(&mut self, channel: &mut Channel, _: Instant) {
        match (self.listener, self.next) {
            (None, _) => {
                self.listener = Some(channel.listen(PORT, LISTENER, self.first).unwrap());
                let again = channel.listen(PORT, LISTENER, self.first);
                assert_eq!(again, Err(SubmitError::PortInUse), "one for each core");
            }
            (Some(listener), Some(mask)) => {
                channel.change_mask(listener, mask).unwrap();
                self.next = None;
            }
            _ => {}
        }
        while let Some(completion) = channel.dispatch(None) {
            assert_eq!(completion.cookie(), LISTENER);
            match completion {
                Completion::ListenFailed { error, .. } => self.failed = Some(error),
                Completion::MaskChanged { result, .. } => self.changed = Some(result),
                other => panic!("{other:?}"),
            }
        }
        if self.next.is_some() {
            channel.flush();
        }
    }
}

type Partners = Vec<Core<MemoryNic, Partner>>;

fn mask(cores: &[usize]) -> CoreMask {
    let mut mask = CoreMask::EMPTY;
    cores
        .iter()
        .for_each(|core| mask.insert(CoreId::new(*core).unwrap()));
    mask
}

/// Makes as many cores as there are masks, each listening for its own.
fn partners(masks: &[(CoreMask, Option<CoreMask>)]) -> Partners {
    let link = Link::new();
    let has_queue: Vec<bool> = (0..masks.len()).map(|core| core == 0).collect();
    let ports = fabric(&has_queue, [1; 16]).into_iter().zip(masks);
    ports
        .map(|(port, (first, next))| {
            let nic = (port.core() == CoreId::BOOT).then(|| link.nic(0));
            let stack: Stack<MemoryNic, IoSlice> =
                Stack::new(World::config(4, 4096), nic, port, Instant::ZERO);
            let channel = Channel::create(ChannelConfig {
                handles: 4,
                batch: 32,
                chunks: 8,
                buffers: 0,
                buffer_bytes: 0,
                timers: 0,
            });
            let partner = Partner {
                first: *first,
                next: *next,
                listener: None,
                failed: None,
                changed: None,
            };
            Core::new(stack, channel, partner)
        })
        .collect()
}

fn run(partners: &mut Partners) {
    for _ in 0..4 {
        for core in &mut *partners {
            core.turn(Instant::ZERO);
        }
    }
}

#[test]
fn masks_of_a_port_are_disjoint_and_of_cores_that_run() {
    for (second, expected) in [
        (mask(&[1]), None),
        (mask(&[0]), Some(ListenError::CoreTaken)),
        (mask(&[0, 1]), Some(ListenError::CoreTaken)),
        (mask(&[1, 2]), Some(ListenError::BadMask)),
        (mask(&[31]), Some(ListenError::BadMask)),
    ] {
        let mut partners = partners(&[(mask(&[0]), None), (second, None)]);
        run(&mut partners);
        assert_eq!(partners[0].application().failed, None);
        assert_eq!(partners[1].application().failed, expected, "{second:?}");
        let failed = partners[1].channel().counters().listens_failed;
        assert_eq!(failed, u64::from(expected.is_some()));
    }
}

#[test]
fn a_share_is_taken_when_the_other_has_given_it_up_and_not_before() {
    let (both, none) = (mask(&[0, 1]), CoreMask::EMPTY);
    // The first one gives its share up in the same turn, before the second asks.
    let mut given = partners(&[(mask(&[0]), Some(none)), (mask(&[1]), Some(both))]);
    run(&mut given);
    let changed = |core: &Core<MemoryNic, Partner>| core.application().changed;
    assert_eq!(
        given.iter().map(changed).collect::<Vec<_>>(),
        [Some(Ok(())); 2]
    );

    let mut kept = partners(&[(mask(&[0]), None), (mask(&[1]), Some(both))]);
    run(&mut kept);
    let refused = Some(Err(ListenError::CoreTaken));
    assert_eq!(
        kept.iter().map(changed).collect::<Vec<_>>(),
        [None, refused]
    );
}
