//! Listeners: masks, credit, what waits where, and lwsockets nobody wants.

use super::world::{Bench, LISTENER, World};
use crate::channel::{Channel, ChannelConfig, Completion, Cookie, SubmitError};
use crate::limits;
use kernel::{CoreId, CoreMask, Instant};
use net::stack::ListenError;

fn config(handles: usize) -> ChannelConfig {
    ChannelConfig {
        handles,
        batch: 32,
        chunks: 64,
        buffers: 1,
        buffer_bytes: 8,
        timers: 16,
    }
}

#[test]
fn a_channel_listens_on_a_port_once_and_for_some_core() {
    let mut channel = Channel::create(config(1));
    let second = CoreMask::only(CoreId::new(1).unwrap());
    assert_eq!(
        channel.listen(80, LISTENER, CoreMask::EMPTY),
        Err(SubmitError::BadMask)
    );
    assert!(channel.listen(80, LISTENER, CoreMask::first(1)).is_ok());
    assert_eq!(
        channel.listen(80, LISTENER, second),
        Err(SubmitError::PortInUse)
    );
    assert!(channel.listen(81, LISTENER, CoreMask::first(2)).is_ok());
}

#[test]
fn a_listener_too_many_is_refused() {
    let mut channel = Channel::create(config(1));
    for port in 0..limits::LISTENERS as u16 {
        channel
            .listen(port + 1, LISTENER, CoreMask::first(1))
            .unwrap();
    }
    let refused = channel.listen(100, LISTENER, CoreMask::first(1));
    assert_eq!(refused, Err(SubmitError::TooManyListeners));
}

#[test]
fn a_listener_that_the_stack_refuses_is_told() {
    // Another core has one of the mask's, or one of them does not run.
    for reason in [ListenError::CoreTaken, ListenError::BadMask] {
        let mut bench = Bench {
            world: World::new(1),
            channel: Channel::create(config(1)),
        };
        bench.world.ports.refuse = Some(reason);
        bench.run(|channel| {
            let listener = channel.listen(80, LISTENER, CoreMask::first(1)).unwrap();
            channel.accept(listener, 1).unwrap();
        });
        let Completion::ListenFailed { cookie, error } = bench.completion() else {
            panic!("not told");
        };
        assert_eq!((cookie, error), (LISTENER, reason));
        bench.assert_quiet();
    }
}

#[test]
fn accept_credit_adds_up_and_each_connection_is_a_completion() {
    let mut bench = Bench {
        world: World::new(6),
        channel: Channel::create(config(6)),
    };
    let listener = bench
        .run(|channel| channel.listen(80, LISTENER, CoreMask::first(1)))
        .unwrap();
    assert_eq!(bench.channel.accept(listener, 0), Err(SubmitError::Empty));
    let mut other = Channel::create(config(1));
    let foreign = other.listen(80, LISTENER, CoreMask::first(1)).unwrap();
    let none = bench.channel.accept(foreign, 1);
    assert_eq!(none, Err(SubmitError::UnknownHandle));
    for _ in 0..6 {
        bench.world.arrive_new().unwrap();
    }
    bench.assert_quiet();
    bench.run(|channel| {
        channel.accept(listener, 1).unwrap();
        channel.accept(listener, 2).unwrap();
    });
    let completions = bench.completions();
    let waiting: std::vec::Vec<usize> = completions
        .iter()
        .map(|completion| match completion {
            Completion::Accept {
                cookie: LISTENER,
                peer,
                pending,
                ..
            } => {
                assert_eq!(*peer, super::world::PEER.parse().unwrap());
                *pending
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(waiting, [5, 4, 3]);
}

#[test]
fn an_lwsocket_that_nobody_registers_is_given_back() {
    let mut bench = Bench::small();
    let id = bench.world.arrive_new().unwrap();
    let completion = bench.completion();
    assert_eq!(bench.channel.in_use().lwsockets, 1);
    bench.run(|_| drop(completion));
    assert_eq!(bench.world.released, [id]);
    assert_eq!(bench.channel.in_use().lwsockets, 0);
    assert_eq!(bench.channel.counters().lwsockets_dropped, 1);
}

#[test]
fn an_lwsocket_of_another_channel_is_not_registered() {
    let mut mine = Bench::small();
    let mut other = Bench::small();
    mine.world.arrive_new().unwrap();
    let id = other.world.arrive_new().unwrap();
    let (kept, foreign) = (mine.completion(), other.completion());
    let Completion::Accept { socket, .. } = foreign else {
        panic!("{foreign:?}");
    };
    let handle = mine.channel.register(socket, Cookie(1));
    assert_eq!(mine.channel.read(handle), Err(SubmitError::UnknownHandle));
    other.run(|_| ());
    assert_eq!(other.world.released, [id]);
    assert!(matches!(kept, Completion::Accept { .. }));
}

#[test]
fn connections_beyond_the_accept_ring_wait_in_the_stack() {
    let count = limits::ACCEPTS_WAITING + 10;
    let mut bench = Bench::new(config(count));
    for _ in 0..count {
        bench.world.arrive_new().unwrap();
    }
    bench.channel.collect(Instant::ZERO, &mut bench.world);
    assert_eq!(bench.world.ports.waiting().count(), 10);
    let first = bench.completions();
    assert_eq!(first.len(), limits::ACCEPTS_WAITING);
    assert!(bench.channel.wants_application(Instant::ZERO));
    assert_eq!(bench.completions().len(), 10);
    bench.assert_quiet();
}

#[test]
fn a_mask_is_changed_once_at_a_time_and_the_outcome_is_told() {
    let mut bench = Bench {
        world: World::new(1),
        channel: Channel::create(config(1)),
    };
    let listen = |channel: &mut Channel| channel.listen(80, LISTENER, CoreMask::first(1));
    let listener = bench.run(listen).unwrap();
    let wider = CoreMask::first(2);
    bench.run(|channel| {
        assert_eq!(channel.change_mask(listener, wider), Ok(()));
        let refused = channel.change_mask(listener, wider);
        assert_eq!(refused, Err(SubmitError::Busy));
    });
    assert!(matches!(
        bench.completion(),
        Completion::MaskChanged {
            cookie: LISTENER,
            result: Ok(())
        }
    ));
    assert_eq!(bench.world.ports.masks, [wider]);
    bench.world.ports.refuse = Some(ListenError::CoreTaken);
    bench
        .run(|channel| channel.change_mask(listener, wider))
        .unwrap();
    assert!(matches!(
        bench.completion(),
        Completion::MaskChanged {
            result: Err(ListenError::CoreTaken),
            ..
        }
    ));
    bench.assert_quiet();
}

#[test]
fn a_listener_that_was_unregistered_is_forgotten_with_what_it_had_accepted() {
    let mut bench = Bench {
        world: World::new(6),
        channel: Channel::create(config(6)),
    };
    let listen = |channel: &mut Channel| channel.listen(80, LISTENER, CoreMask::first(1));
    let listener = bench.run(listen).unwrap();
    bench.run(|channel| channel.accept(listener, 6)).unwrap();
    bench.world.arrive_new().unwrap();
    let first = bench.completion();
    let second = bench.world.arrive_new().unwrap();
    bench.channel.collect(Instant::ZERO, &mut bench.world);
    let cancelled = bench.channel.counters().completions_cancelled;
    bench
        .run(|channel| channel.unregister_listener(listener))
        .unwrap();
    // The other had been accepted, and was not handed out.
    bench.run(|channel| assert!(channel.dispatch(None).is_none()));
    assert_eq!(bench.world.released, [second]);
    assert_eq!(bench.world.ports.closed, 1);
    assert_eq!(
        bench.channel.counters().completions_cancelled,
        cancelled + 1
    );
    assert!(matches!(first, Completion::Accept { .. }));
    for refused in [
        bench.channel.accept(listener, 1),
        bench.channel.change_mask(listener, CoreMask::first(1)),
        bench.channel.unregister_listener(listener),
    ] {
        assert_eq!(refused, Err(SubmitError::UnknownHandle));
    }
    let again = bench.run(listen).unwrap();
    assert_ne!(again, listener);
    assert_eq!(
        bench.channel.accept(listener, 1),
        Err(SubmitError::UnknownHandle)
    );
    assert_eq!(bench.channel.accept(again, 1), Ok(()));
}

#[test]
fn a_listener_can_be_unregistered_before_it_was_flushed() {
    let mut bench = Bench {
        world: World::new(1),
        channel: Channel::create(config(1)),
    };
    for _ in 0..3 * limits::LISTENERS {
        bench.run(|channel| {
            let listener = channel.listen(80, LISTENER, CoreMask::first(1)).unwrap();
            channel.accept(listener, 1).unwrap();
            channel.change_mask(listener, CoreMask::first(2)).unwrap();
            channel.unregister_listener(listener).unwrap();
        });
    }
    assert_eq!(bench.world.ports.closed, 3 * limits::LISTENERS);
    bench.assert_quiet();
}

#[test]
fn a_refused_listener_that_is_unregistered_says_nothing_more() {
    let mut bench = Bench {
        world: World::new(1),
        channel: Channel::create(config(1)),
    };
    bench.world.ports.refuse = Some(ListenError::CoreTaken);
    for _ in 0..3 * limits::LISTENERS {
        let listen = |channel: &mut Channel| channel.listen(80, LISTENER, CoreMask::first(1));
        let listener = bench.run(listen).unwrap();
        bench
            .run(|channel| channel.unregister_listener(listener))
            .unwrap();
    }
    assert_eq!(bench.world.ports.closed, 0);
    bench.assert_quiet();
}

#[test]
fn a_multishot_accept_goes_on_until_it_is_cancelled() {
    let mut bench = Bench {
        world: World::new(20),
        channel: Channel::create(config(20)),
    };
    let listener = bench
        .run(|channel| channel.listen(80, LISTENER, CoreMask::first(1)))
        .unwrap();
    assert_eq!(
        bench.channel.cancel_accept(listener),
        Err(SubmitError::Empty)
    );
    bench
        .run(|channel| channel.accept_multishot(listener))
        .unwrap();
    let mut kept = std::vec::Vec::new();
    for _ in 0..10 {
        bench.world.arrive_new().unwrap();
        kept.push(bench.completion());
    }
    bench.world.arrive_new().unwrap();
    bench.channel.collect(Instant::ZERO, &mut bench.world);
    assert_eq!(bench.channel.cancel_accept(listener), Ok(()));
    kept.push(bench.completion());
    bench.world.arrive_new().unwrap();
    bench.assert_quiet();
    assert_eq!(
        bench.world.ports.waiting().count(),
        1,
        "it waits in the stack"
    );
    bench.run(|channel| channel.accept(listener, 1)).unwrap();
    kept.push(bench.completion());
    assert_eq!(bench.channel.in_use().lwsockets, 12);
}

#[test]
fn a_listener_that_steals_bids_only_while_it_has_asked_for_more() {
    let mut bench = Bench {
        world: World::new(4),
        channel: Channel::create(config(4)),
    };
    let listener = bench
        .run(|channel| channel.listen(80, LISTENER, CoreMask::first(1)))
        .unwrap();
    let bid = |bench: &mut Bench| bench.channel.bid(&mut bench.world);
    bench.run(|channel| channel.accept(listener, 1)).unwrap();
    assert_eq!(bid(&mut bench), CoreMask::EMPTY, "off at first");
    bench
        .run(|channel| channel.set_stealing(listener, true))
        .unwrap();
    assert_eq!(bid(&mut bench), CoreMask::first(2));
    bench.world.arrive_new().unwrap();
    bench.completion();
    assert_eq!(bid(&mut bench), CoreMask::EMPTY, "it has what it asked for");
    bench.run(|channel| channel.accept(listener, 1)).unwrap();
    bench
        .run(|channel| channel.set_stealing(listener, false))
        .unwrap();
    assert_eq!(bid(&mut bench), CoreMask::EMPTY);
    assert_eq!(
        (&bench.world.ports.stealing[..], bench.world.ports.bids),
        (&[true, false][..], 1)
    );
    bench
        .run(|channel| channel.unregister_listener(listener))
        .unwrap();
    let refused = bench.channel.set_stealing(listener, true);
    assert_eq!(refused, Err(SubmitError::UnknownHandle));
}
