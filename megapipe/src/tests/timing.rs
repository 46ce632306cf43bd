//! Timers as completions.

use super::world::Bench;
use crate::channel::{Channel, Completion, Cookie, SubmitError};
use core::time::Duration;
use kernel::Instant;
use std::vec::Vec;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// Lets time pass and returns the cookies of the timers that are told.
fn told(bench: &mut Bench, ms: u64) -> Vec<u64> {
    bench.channel.collect(at(ms), &mut bench.world);
    bench.channel.begin_run(at(ms));
    let completions = core::iter::from_fn(|| bench.channel.dispatch(None));
    let cookies = completions
        .map(|completion| match completion {
            Completion::Timer { cookie } => cookie.0,
            other => panic!("{other:?}"),
        })
        .collect();
    bench.channel.flush_to(&mut bench.world);
    cookies
}

fn set(channel: &mut Channel, ms: u64, cookie: u64) -> crate::TimerHandle {
    channel
        .timer(Duration::from_millis(ms), Cookie(cookie))
        .unwrap()
}

#[test]
fn a_timer_is_told_once_never_early_and_wakes_the_core() {
    let mut bench = Bench::small();
    set(&mut bench.channel, 50, 1);
    set(&mut bench.channel, 20, 2);
    assert!(bench.channel.deadline().unwrap() <= at(22));
    assert!(!bench.channel.wants_application(at(19)));
    assert!(told(&mut bench, 19).is_empty());
    assert_eq!(told(&mut bench, 22), [2]);
    assert!(bench.channel.deadline().unwrap() > at(22));
    assert!(told(&mut bench, 49).is_empty());
    assert_eq!(told(&mut bench, 60), [1]);
    assert!(told(&mut bench, 10_000).is_empty());
    assert_eq!(bench.channel.deadline(), None);
    // From the run on in which it is set.
    set(&mut bench.channel, 10, 3);
    assert!(told(&mut bench, 10_009).is_empty());
    assert_eq!(told(&mut bench, 10_012), [3]);
}

#[test]
fn nothing_is_told_of_a_cancelled_timer_even_if_it_was_due() {
    let mut bench = Bench::small();
    let (early, due) = (
        set(&mut bench.channel, 10, 1),
        set(&mut bench.channel, 10, 2),
    );
    assert_eq!(bench.channel.cancel_timer(early), Ok(()));
    let again = bench.channel.cancel_timer(early);
    assert_eq!(again, Err(SubmitError::UnknownHandle));
    bench.channel.collect(at(20), &mut bench.world);
    assert_eq!(bench.channel.cancel_timer(due), Ok(()));
    // Its place is another's at once, whose time has not come.
    let next = set(&mut bench.channel, 100, 3);
    assert_ne!(next, due);
    assert!(told(&mut bench, 50).is_empty());
    assert_eq!(told(&mut bench, 200), [3]);
    let late = bench.channel.cancel_timer(next);
    assert_eq!(late, Err(SubmitError::UnknownHandle));
    assert_eq!(bench.channel.counters().timers_told, 1);
    let mut other = Bench::small();
    let foreign = set(&mut other.channel, 1, 1);
    set(&mut bench.channel, 1, 1);
    let refused = bench.channel.cancel_timer(foreign);
    assert_eq!(refused, Err(SubmitError::UnknownHandle));
}

#[test]
fn a_timer_too_many_is_refused_until_one_is_told() {
    let mut bench = Bench::small();
    for number in 0..16 {
        set(&mut bench.channel, 1, number);
    }
    let refused = bench.channel.timer(Duration::ZERO, Cookie(0));
    assert_eq!(refused, Err(SubmitError::TooManyTimers));
    let mut cookies = told(&mut bench, 10);
    cookies.sort_unstable();
    assert_eq!(cookies, Vec::from_iter(0..16));
    set(&mut bench.channel, 1, 0);
}
