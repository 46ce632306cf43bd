//! The fabric on one thread: boxes that go round, and who sends for whom.

use super::*;

#[test]
fn boxes_go_round_and_run_out() {
    let mut ports = fabric(&[true, true], [0; 16]);
    let mut second = ports.pop().unwrap();
    let mut first = ports.pop().unwrap();
    let room = handover_frames(2);
    for turn in 0..5 {
        for number in 0..room {
            let frame = [turn, number as u8, 7];
            assert_eq!(
                first.hand_over(second.core(), &frame, Asked::default()),
                Ok(())
            );
        }
        assert_eq!(
            first.hand_over(second.core(), &[9], Asked::default()),
            Err(HandOverError::Full)
        );
        assert_eq!(first.take_woken(), CoreMask::only(second.core()));
        assert!(second.has_incoming());
        for number in 0..room {
            let parcel = second.take(first.core()).unwrap();
            assert_eq!(parcel.frame(), [turn, number as u8, 7]);
            second.give_back(first.core(), parcel);
        }
        assert!(second.take(first.core()).is_none() && !second.has_incoming());
    }
    let huge = [0; HANDOVER_FRAME_BYTES + 1];
    assert_eq!(
        first.hand_over(second.core(), &huge, Asked::default()),
        Err(HandOverError::TooLarge)
    );
    assert_eq!(
        first.hand_over(first.core(), &[1], Asked::default()),
        Err(HandOverError::Full)
    );
}

#[test]
fn a_core_without_a_queue_pair_sends_through_the_first_that_has_one() {
    let mut ports = fabric(&[false, true, false], [0; 16]);
    assert!(ports[2].can_forward() && !ports[1].can_forward());
    let sent = ports[2].forward(2, |frame| {
        frame.copy_from_slice(&[1, 2]);
        (5, TxMeta::default())
    });
    assert!(matches!(sent, Ok(5)));
    let two = ports[2].core();
    assert_eq!(ports[2].take_woken(), CoreMask::only(ports[1].core()));
    assert_eq!(ports[1].take(two).unwrap().frame(), [1, 2]);
}
