//! Peers that open a connection and then misuse it: silence, not reading, and segments of the kinds
//! that cost the most.

use crate::siege::Siege;
use net::counters::DropReason;
use net::testing::frames::ACK;

#[test]
fn connections_that_never_speak_take_their_slots_and_nothing_else() {
    let mut siege = Siege::new("slow-silence");
    let before = siege.counters().free_chunks_now;
    let silent = siege.invade(58);
    let (percent, counters) = siege.endure(0, |_| ());
    assert!(percent >= 90, "{percent} %");
    // The requests of the honest may wait in one each.
    assert!(before - counters.free_chunks_now <= 4);
    // With two more the table is full: whoever comes then is told nothing, and counted.
    siege.invade(2);
    siege.client.connect(80);
    siege.run(10, |_| ());
    let counters = siege.counters();
    assert_eq!(
        counters.drops(DropReason::ConnectionsFull),
        1,
        "{counters:?}"
    );
    // The layer above ends what is silent for too long; then there is room at once.
    for (_, connection) in silent {
        siege.world.stack.abort(connection).unwrap();
        siege.world.stack.release(connection).unwrap();
    }
    siege.assert_open_to_all();
}

#[test]
fn readers_that_never_read_hold_what_they_were_sent_and_slow_nobody_down() {
    let mut siege = Siege::new("slow-readers");
    let idle = siege.invade(40);
    for (_, connection) in &idle {
        // Lent, and held until it is acknowledged: which it never is.
        assert_eq!(
            siege.world.stack.send(*connection, &[7; 50_000]),
            Ok(50_000)
        );
    }
    let (percent, counters) = siege.endure(0, |_| ());
    assert!(percent >= 90, "{percent} %");
    assert!(counters.free_chunks_now > 0);
    // They owe an acknowledgement, and are given up for it.
    siege.run(70_000, |_| ());
    let counters = siege.counters();
    assert_eq!(counters.connections_timed_out, 40);
    for (_, connection) in idle {
        siege.world.stack.release(connection).unwrap();
    }
    assert_eq!(siege.counters().slots_now, 4);
}

#[test]
fn floods_of_tiny_and_overlapping_segments_keep_no_memory_from_the_honest() {
    let mut siege = Siege::new("slow-tiny");
    let enemies = siege.invade(24);
    let counters = siege.endure_flood(0, |siege| {
        let number = siege.random.below(enemies.len() as u64) as usize;
        // One byte to twenty, anywhere in the window, over each other and with gaps; never the first.
        let mut segment = enemies[number].0.clone();
        segment.sequence = 2 + siege.random.below(16_000) as u32;
        segment.payload = vec![siege.random.next_u64() as u8; 1 + siege.random.below(20) as usize];
        segment.frame()
    });
    assert!(counters.rx_refused_bytes > 0, "{counters:?}");
    // Nothing can be read of any: the first byte is missing.
    for (_, connection) in &enemies {
        let received = siege.world.stack.receive(*connection, &mut [0; 8]);
        assert_eq!(received, Ok(None));
    }
}

#[test]
fn bytes_far_beyond_the_window_are_refused_and_answered_rarely() {
    let mut siege = Siege::new("slow-beyond");
    let enemies = siege.invade(8);
    let counters = siege.endure_flood(0, |siege| {
        let number = siege.random.below(enemies.len() as u64) as usize;
        let mut segment = enemies[number].0.clone();
        segment.sequence = 20_000 + siege.random.below(1 << 31) as u32;
        segment.flags = ACK;
        segment.payload = vec![1; 1400];
        segment.frame()
    });
    assert!(counters.out_of_place_segments > 90_000);
}
