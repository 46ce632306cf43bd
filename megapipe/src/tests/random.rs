//! Random sequences of calls, arrivals and faults against a simple model of what the rules allow:
//! proptest makes the sequences, and makes those that fail short.

use super::random_model::{Model, Reading, Target};
use core::time::Duration;
use net::stack::CloseReason;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// One step of a sequence. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    /// What others do.
    Arrive,
    Bytes(usize, usize),
    Room(usize, usize),
    Acknowledge(usize, usize),
    Finish(usize),
    Break(usize, CloseReason),
    Open(usize),
    Refuse(usize, CloseReason),
    Time(Duration),
    /// What the application does.
    Read(Target, Reading),
    CancelRead(Target),
    Write(Target, usize, bool),
    Disconnect(Target),
    Abort(Target),
    Unregister(Target),
    Connect,
    CancelConnect(Target),
    Timer(Duration),
    CancelTimer(Target),
    /// It runs, takes so many completions, and returns to the core.
    Run(usize),
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        8 => any::<usize>().prop_map(Target::Live),
        1 => any::<usize>().prop_map(Target::Stale),
        1 => Just(Target::Foreign),
    ]
}

fn reason() -> impl Strategy<Value = CloseReason> {
    prop_oneof![
        Just(CloseReason::Reset),
        Just(CloseReason::TimedOut),
        Just(CloseReason::Aborted),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        Just(Reading::Single),
        Just(Reading::Into),
        Just(Reading::Multishot),
    ]
}

fn time() -> impl Strategy<Value = Duration> {
    (0..50_u64).prop_map(Duration::from_millis)
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<usize>;
    prop_oneof![
        4 => Just(Step::Arrive),
        8 => (who(), 1..200_usize).prop_map(|(who, bytes)| Step::Bytes(who, bytes)),
        4 => (who(), 1..4_usize).prop_map(|(who, pieces)| Step::Room(who, pieces)),
        4 => (who(), 1..4_usize).prop_map(|(who, pieces)| Step::Acknowledge(who, pieces)),
        2 => who().prop_map(Step::Finish),
        1 => (who(), reason()).prop_map(|(who, reason)| Step::Break(who, reason)),
        2 => who().prop_map(Step::Open),
        1 => (who(), reason()).prop_map(|(who, reason)| Step::Refuse(who, reason)),
        2 => time().prop_map(Step::Time),
        8 => (target(), reading()).prop_map(|(who, how)| Step::Read(who, how)),
        2 => target().prop_map(Step::CancelRead),
        8 => (target(), 0..300_usize, any::<bool>())
            .prop_map(|(who, bytes, receipt)| Step::Write(who, bytes, receipt)),
        2 => target().prop_map(Step::Disconnect),
        1 => target().prop_map(Step::Abort),
        2 => target().prop_map(Step::Unregister),
        2 => Just(Step::Connect),
        1 => target().prop_map(Step::CancelConnect),
        2 => time().prop_map(Step::Timer),
        1 => target().prop_map(Step::CancelTimer),
        12 => (0..8_usize).prop_map(Step::Run),
    ]
}

fn take(model: &mut Model, step: Step) {
    match step {
        Step::Arrive => model.arrive(),
        Step::Bytes(who, bytes) => model.bytes(who, bytes),
        Step::Room(who, pieces) => model.room(who, pieces),
        Step::Acknowledge(who, pieces) => model.acknowledge(who, pieces),
        Step::Finish(who) => model.finish(who),
        Step::Break(who, reason) => model.break_off(who, reason),
        Step::Open(who) => model.open(who),
        Step::Refuse(who, reason) => model.refuse(who, reason),
        Step::Time(time) => model.now = model.now + time,
        Step::Read(who, how) => model.read(who, how),
        Step::CancelRead(who) => model.cancel_read(who),
        Step::Write(who, bytes, receipt) => model.write(who, bytes, receipt),
        Step::Disconnect(who) => model.disconnect(who),
        Step::Abort(who) => model.abort(who),
        Step::Unregister(who) => model.unregister(who),
        Step::Connect => model.connect(),
        Step::CancelConnect(who) => model.cancel_connect(who),
        Step::Timer(after) => model.timer(after),
        Step::CancelTimer(who) => model.cancel_timer(who),
        Step::Run(most) => model.run(most),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_calls_keep_the_rules_and_leave_nothing_behind(
        batch in 1..9_usize,
        steps in proptest::collection::vec(step(), 1..400),
    ) {
        let mut model = Model::new(batch);
        let steps: Vec<Step> = steps;
        for step in steps {
            take(&mut model, step);
        }
        model.end();
    }
}
