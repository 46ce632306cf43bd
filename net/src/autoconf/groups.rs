//! The groups that this host listens to because of its addresses, and when routers are told so
//! (RFC 3810 §6).
//!
//! A change is told twice, at once and within a second again; a question is answered somewhere within
//! the time that it leaves. All nodes' group is told to nobody (RFC 3810 §6).

use crate::ipv6;
use crate::limits::{ADDRESSES, MLD_OLD_ROUTER_TIME, MLD_ROBUSTNESS, MLD_TELL_AGAIN};
use crate::mld::{Query, Report, Word};
use core::net::Ipv6Addr;
use core::time::Duration;
use heapless::Vec;
use kernel::Instant;

/// The groups.
pub(super) struct Groups {
    groups: Vec<Group, ADDRESSES>,
    /// Changes are told next at this time.
    tell_at: Option<Instant>,
    /// A question is answered at this time: about all groups, or one.
    answer: Option<(Instant, Option<Ipv6Addr>)>,
    /// A router of the first version asked, and that counts until then.
    old_until: Option<Instant>,
    /// They were told from an address: what nobody tells, switches hear and routers do not.
    has_named_itself: bool,
}

struct Group {
    address: Ipv6Addr,
    is_joined: bool,
    /// How often the change is still to be told.
    untold: u8,
}

impl Groups {
    pub(super) fn new() -> Self {
        Groups {
            groups: Vec::new(),
            tell_at: None,
            answer: None,
            old_until: None,
            has_named_itself: false,
        }
    }

    /// Takes in which addresses there are.
    pub(super) fn follow(&mut self, addresses: impl Iterator<Item = Ipv6Addr>, now: Instant) {
        let mut wanted: Vec<Ipv6Addr, ADDRESSES> = Vec::new();
        for group in addresses.map(ipv6::solicited_node) {
            if !wanted.contains(&group) {
                // There are as many groups as addresses, at most.
                let _ = wanted.push(group);
            }
        }
        let mut has_changed = false;
        for group in &mut self.groups {
            let is_wanted = wanted.contains(&group.address);
            if group.is_joined != is_wanted {
                (group.is_joined, group.untold) = (is_wanted, MLD_ROBUSTNESS);
                has_changed = true;
            }
        }
        for address in wanted {
            if self.groups.iter().any(|group| group.address == address) {
                continue;
            }
            // One that was left has no place of its own when others need it.
            if self.groups.is_full() {
                self.groups.retain(|group| group.is_joined);
            }
            let _ = self.groups.push(Group {
                address,
                is_joined: true,
                untold: MLD_ROBUSTNESS,
            });
            has_changed = true;
        }
        if has_changed {
            self.tell_at = Some(now);
        }
    }

    /// Takes in that there is an address now to tell from: all is told once more (RFC 3590 §4).
    pub(super) fn name_itself(&mut self, now: Instant) {
        if core::mem::replace(&mut self.has_named_itself, true) || self.groups.is_empty() {
            return;
        }
        let groups = self.groups.iter_mut();
        groups.for_each(|group| group.untold = group.untold.max(1));
        self.tell_at = Some(now);
    }

    /// Takes in a question; `scatter` is between 0 and 1,023, out of which its moment is made.
    pub(super) fn handle_query(&mut self, query: &Query, scatter: u32, now: Instant) {
        if query.is_old {
            self.old_until = Some(now + MLD_OLD_ROUTER_TIME);
        }
        let at = now + query.within.saturating_mul(scatter) / 1024;
        // The earlier moment, and all groups if two questions are to be answered (RFC 3810 §6.2).
        self.answer = Some(match self.answer {
            Some((before, about)) => (before.min(at), about.filter(|_| about == query.group)),
            None => (at, query.group),
        });
    }

    /// Returns what is to be told now.
    pub(super) fn poll_report(&mut self, again: Duration, now: Instant) -> Option<Report> {
        if self.old_until.is_some_and(|until| until <= now) {
            self.old_until = None;
        }
        let mut report = Report {
            records: Vec::new(),
            is_old: self.old_until.is_some(),
        };
        if self.tell_at.is_some_and(|at| at <= now) {
            for group in self.groups.iter_mut().filter(|group| group.untold > 0) {
                group.untold -= 1;
                let word = match group.is_joined {
                    true => Word::Joined,
                    false => Word::Left,
                };
                // There is room for all.
                let _ = report.records.push((word, group.address));
            }
            self.groups
                .retain(|group| group.is_joined || group.untold > 0);
            let is_told = self.groups.iter().all(|group| group.untold == 0);
            self.tell_at = (!is_told).then_some(now + again.min(MLD_TELL_AGAIN));
        } else if let Some((at, about)) = self.answer
            && at <= now
        {
            self.answer = None;
            let joined = self.groups.iter().filter(|group| group.is_joined);
            let asked = joined.filter(|group| about.is_none_or(|about| about == group.address));
            let records = asked.map(|group| (Word::Listening, group.address));
            report.records = records.collect();
        }
        Some(report).filter(|report| !report.records.is_empty())
    }

    /// Returns when something is to be told next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let answer = self.answer.map(|(at, _)| at);
        [self.tell_at, answer].into_iter().flatten().min()
    }
}
