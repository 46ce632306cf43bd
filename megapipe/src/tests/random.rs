//! Random sequences of calls, arrivals and faults against a simple model of what the rules allow:
//! proptest makes the sequences, and makes those that fail short.

use super::ports::RUNNING;
use super::random_listeners::PORTS;
use super::random_model::{Model, Reading, Target};
use core::time::Duration;
use kernel::CoreMask;
use net::stack::CloseReason;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// One step of a sequence. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    /// What others do.
    Arrive(usize),
    Disturb(usize, Option<CloseReason>),
    OthersTake(u16, CoreMask),
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
    Write(Target, usize, bool, bool),
    Disconnect(Target),
    Abort(Target),
    Unregister(Target),
    Connect,
    CancelConnect(Target),
    Timer(Duration),
    CancelTimer(Target),
    Listen(u16, CoreMask),
    Accept(Target, Option<u32>),
    CancelAccept(Target),
    ChangeMask(Target, CoreMask),
    SetStealing(Target, bool),
    Unlisten(Target),
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

/// One of the cores that run and one that does not; often of few cores, so that masks may be disjoint.
fn mask() -> impl Strategy<Value = CoreMask> {
    let bits = (0..1_u64 << (RUNNING + 1), any::<u64>()).prop_map(|(some, others)| some & others);
    bits.prop_map(CoreMask::from_bits)
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<usize>;
    prop_oneof![
        6 => who().prop_map(Step::Arrive),
        2 => (who(), proptest::option::of(reason()))
            .prop_map(|(who, reason)| Step::Disturb(who, reason)),
        1 => (0..PORTS, mask()).prop_map(|(port, mask)| Step::OthersTake(port, mask)),
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
        8 => (target(), 0..300_usize, any::<bool>(), any::<bool>())
            .prop_map(|(who, bytes, receipt, quiet)| Step::Write(who, bytes, receipt, quiet)),
        2 => target().prop_map(Step::Disconnect),
        1 => target().prop_map(Step::Abort),
        2 => target().prop_map(Step::Unregister),
        2 => Just(Step::Connect),
        1 => target().prop_map(Step::CancelConnect),
        2 => time().prop_map(Step::Timer),
        1 => target().prop_map(Step::CancelTimer),
        2 => (0..PORTS, mask()).prop_map(|(port, mask)| Step::Listen(port, mask)),
        4 => (target(), proptest::option::of(0..4_u32))
            .prop_map(|(who, count)| Step::Accept(who, count)),
        1 => target().prop_map(Step::CancelAccept),
        2 => (target(), mask()).prop_map(|(who, mask)| Step::ChangeMask(who, mask)),
        1 => (target(), any::<bool>()).prop_map(|(who, is_on)| Step::SetStealing(who, is_on)),
        1 => target().prop_map(Step::Unlisten),
        14 => (0..8_usize).prop_map(Step::Run),
    ]
}

fn take(model: &mut Model, step: Step) {
    match step {
        Step::Arrive(who) => model.arrive(who),
        Step::Disturb(who, reason) => model.disturb(who, reason),
        Step::OthersTake(port, mask) => model.others_take(port, mask),
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
        Step::Write(who, bytes, receipt, quiet) => model.write(who, bytes, receipt, quiet),
        Step::Disconnect(who) => model.disconnect(who),
        Step::Abort(who) => model.abort(who),
        Step::Unregister(who) => model.unregister(who),
        Step::Connect => model.connect(),
        Step::CancelConnect(who) => model.cancel_connect(who),
        Step::Timer(after) => model.timer(after),
        Step::CancelTimer(who) => model.cancel_timer(who),
        Step::Listen(port, mask) => model.listen(port, mask),
        Step::Accept(who, count) => model.accept(who, count),
        Step::CancelAccept(who) => model.cancel_accept(who),
        Step::ChangeMask(who, mask) => model.change_mask(who, mask),
        Step::SetStealing(who, is_on) => model.set_stealing(who, is_on),
        Step::Unlisten(who) => model.unlisten(who),
        Step::Run(most) => model.run(most),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_calls_keep_the_rules_and_leave_nothing_behind(
        batch in 1..9_usize,
        steps in proptest::collection::vec(step(), 1..2000),
    ) {
        let mut model = Model::new(batch);
        let steps: Vec<Step> = steps;
        for step in steps {
            take(&mut model, step);
        }
        model.end();
    }
}
