//! The port table on one thread: who owns what, what moves, and who is asked.

use super::*;

const ONE: CoreId = CoreId::new(1).unwrap();
const THREE: CoreId = CoreId::new(3).unwrap();

fn mask(bits: u64) -> CoreMask {
    CoreMask::from_bits(bits)
}

fn flows() -> impl Iterator<Item = u64> {
    (0..3000u64).map(|flow| flow.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Takes every mark away, as cores without flows do.
fn settle_all(table: &PortTable) {
    for core in CoreMask::first(4).iter() {
        assert!(table.settle(core, |_| false));
    }
}

#[test]
fn masks_of_a_port_are_disjoint() {
    let table = PortTable::new();
    assert_eq!(table.claim(80, mask(0b0011), CoreId::BOOT), Ok(()));
    assert_eq!(table.claim(80, mask(0b0110), ONE), Err(ClaimError::Taken));
    assert_eq!(
        table.claim(80, mask(0b0100), ONE),
        Ok(()),
        "what was free is free"
    );
    assert_eq!(table.claim(81, mask(0b0110), ONE), Ok(()), "another port");
}

#[test]
fn flows_spread_over_the_slots_of_the_port() {
    let table = PortTable::new();
    assert_eq!(table.owner(80, 7.into()), None);
    table.claim(80, mask(0b0101), CoreId::BOOT).unwrap();
    table.claim(80, mask(0b1000), THREE).unwrap();
    let mut counts = [0; 4];
    for hash in flows() {
        counts[table.owner(80, hash.into()).unwrap().index()] += 1;
    }
    assert!((1900..2100).contains(&counts[0]), "{counts:?}");
    assert!((900..1100).contains(&counts[3]), "{counts:?}");
    assert_eq!(table.owner(8080, 7.into()), None);
}

#[test]
fn only_the_flows_of_a_slot_that_comes_or_goes_move() {
    let table = PortTable::new();
    table.claim(80, mask(0b0001), CoreId::BOOT).unwrap();
    table.claim(80, mask(0b0010), ONE).unwrap();
    let owners = || flows().map(|hash| table.owner(80, hash.into()).unwrap());
    let before: std::vec::Vec<CoreId> = owners().collect();
    table.claim(80, mask(0b1000), THREE).unwrap();
    let pairs = owners().zip(&before);
    let moved: std::vec::Vec<_> = pairs.filter(|(now, before)| now != *before).collect();
    assert!(moved.iter().all(|(now, _)| *now == THREE));
    assert!((900..1100).contains(&moved.len()));
    table.release(80, mask(0b1000), THREE);
    assert!(owners().eq(before));
}

#[test]
fn a_changed_mask_moves_shares_and_what_is_taken_is_refused() {
    let table = PortTable::new();
    table.claim(80, mask(0b01), CoreId::BOOT).unwrap();
    table.claim(80, mask(0b10), ONE).unwrap();
    let change = |from, to| table.change_mask(80, mask(from), mask(to), ONE);
    assert_eq!(change(0b10, 0b11), Err(ClaimError::Taken));
    assert_eq!(change(0b10, 0b110), Ok(()));
    let ones = flows().filter(|hash| table.owner(80, (*hash).into()) == Some(ONE));
    assert!((1900..2100).contains(&ones.count()));
    assert_eq!(change(0b110, 0b100), Ok(()));
    assert_eq!(table.claim(80, mask(0b10), THREE), Ok(()));
}

#[test]
fn a_port_is_given_back_when_its_last_flow_is_gone() {
    let table = PortTable::new();
    for port in 1..=PORTS as u16 {
        assert_eq!(table.claim(port, mask(2), ONE), Ok(()));
    }
    assert_eq!(table.claim(999, mask(2), ONE), Err(ClaimError::Full));
    table.release(3, mask(2), ONE);
    assert_eq!(table.claim(999, mask(2), ONE), Err(ClaimError::Full));
    assert!(!table.settle(ONE, |port| port == 3), "it has a flow there");
    assert_eq!(table.claim(999, mask(2), ONE), Err(ClaimError::Full));
    settle_all(&table);
    assert_eq!(table.claim(999, mask(2), ONE), Ok(()));
}

#[test]
fn a_segment_visits_every_stray_before_its_owner() {
    let table = PortTable::new();
    table.claim(80, mask(0b0001), CoreId::BOOT).unwrap();
    let version = table.version();
    table.release(80, mask(0b0001), CoreId::BOOT);
    table.claim(80, mask(0b0010), ONE).unwrap();
    assert_ne!(table.version(), version);
    let mut asked = Asked::default();
    // The first core may have the flow still; then the owner says what it is.
    assert_eq!(
        table.steer(80, 7.into(), THREE, &mut asked, || None),
        Some(CoreId::BOOT)
    );
    assert_eq!(
        table.steer(80, 7.into(), CoreId::BOOT, &mut asked, || None),
        Some(ONE)
    );
    assert_eq!(table.steer(80, 7.into(), ONE, &mut asked, || None), None);
    // A change makes those who were asked be asked again.
    table.claim(80, mask(0b1000), THREE).unwrap();
    assert_eq!(
        table.steer(80, 7.into(), ONE, &mut asked, || None),
        Some(CoreId::BOOT)
    );
    settle_all(&table);
    let mut asked = Asked::default();
    let owner = table.owner(80, 7.into());
    assert_eq!(
        table.steer(80, 7.into(), CoreId::BOOT, &mut asked, || None),
        owner
    );
}

#[test]
fn a_flow_is_its_homes_where_that_has_a_slot_and_else_shared_out() {
    let table = PortTable::new();
    table.claim(80, mask(0b0001), CoreId::BOOT).unwrap();
    table.claim(80, mask(0b0010), ONE).unwrap();
    for hash in flows() {
        for home in [CoreId::BOOT, ONE] {
            let place = FlowPlace {
                hash,
                home: Some(home),
            };
            assert_eq!(table.owner(80, place), Some(home));
        }
        let elsewhere = FlowPlace {
            hash,
            home: Some(THREE),
        };
        assert_eq!(table.owner(80, elsewhere), table.owner(80, hash.into()));
    }
    // A listener that answers for another core's slot has that core's flows.
    table.claim(81, mask(0b1011), THREE).unwrap();
    let place = FlowPlace {
        hash: 7,
        home: Some(ONE),
    };
    assert_eq!(table.owner(81, place), Some(THREE));
}
