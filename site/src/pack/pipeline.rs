//! Bodies made ready by several threads and taken in order, within bounded memory.
//!
//! Threads take jobs in order, and wait while too much is made ready and not yet taken. What they
//! have made is put in order again before it is taken, so the output does not depend on timing.
//! Who takes is called now and then while it waits, too, and can end it all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that may be in work or wait to be taken, a single job aside.
pub(super) const MAX_BYTES_READY: u64 = 128 << 20;

/// Jobs that may be in work or wait to be taken.
const MAX_JOBS_READY: usize = 256;

/// How often whoever takes is called while nothing is made.
const CALL_EVERY: Duration = Duration::from_millis(100);

/// What whoever takes is called for.
pub(super) enum Step<T> {
    /// This job has been made.
    Made(usize, T),
    /// Nothing has been made for a while.
    Waiting,
}

struct Line<'c> {
    state: Mutex<State>,
    /// What is made is not wanted any more.
    is_over: AtomicBool,
    has_room: Condvar,
    costs: &'c [u64],
}

#[derive(Default)]
struct State {
    next: usize,
    ready_bytes: u64,
    ready_jobs: usize,
}

/// Runs `make` for every job on `threads` threads and `take` for every result, in order. `costs`
/// says how many bytes each job needs while it is made ready. `make` is given a flag that says that
/// its result is not wanted any more.
///
/// # Errors
/// The first error, in the order of the jobs.
pub(super) fn run<T: Send, E: Send>(
    costs: &[u64],
    threads: usize,
    make: impl Fn(usize, &AtomicBool) -> Result<T, E> + Sync,
    mut take: impl FnMut(Step<T>) -> Result<(), E>,
) -> Result<(), E> {
    let line = Line {
        state: Mutex::new(State::default()),
        is_over: AtomicBool::new(false),
        has_room: Condvar::new(),
        costs,
    };
    let (sender, results) = channel();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, costs.len().max(1)) {
            let (line, make, sender) = (&line, &make, sender.clone());
            scope.spawn(move || line.work(make, &sender));
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut next = 0;
        let mut outcome = Ok(());
        while outcome.is_ok() {
            match results.recv_timeout(CALL_EVERY) {
                Ok((job, result)) => {
                    early.insert(job, result);
                }
                Err(RecvTimeoutError::Timeout) => outcome = take(Step::Waiting),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while outcome.is_ok()
                && let Some(result) = early.remove(&next)
            {
                outcome = result.and_then(|made| take(Step::Made(next, made)));
                line.release(next);
                next += 1;
            }
        }
        line.end();
        outcome
    })
}

impl Line<'_> {
    fn work<T, E>(
        &self,
        make: &impl Fn(usize, &AtomicBool) -> Result<T, E>,
        sender: &Sender<(usize, Result<T, E>)>,
    ) {
        while let Some(job) = self.next() {
            if sender.send((job, make(job, &self.is_over))).is_err() {
                break;
            }
        }
    }

    /// Returns the next job when there is room for it, `None` when there is none.
    fn next(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let job = state.next;
            if self.is_over.load(Ordering::Relaxed) || job == self.costs.len() {
                return None;
            }
            let fits = state.ready_jobs < MAX_JOBS_READY
                && state.ready_bytes + self.costs[job] <= MAX_BYTES_READY;
            if fits || state.ready_jobs == 0 {
                state.next += 1;
                state.ready_jobs += 1;
                state.ready_bytes += self.costs[job];
                return Some(job);
            }
            state = self
                .has_room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn release(&self, job: usize) {
        let mut state = self.lock();
        state.ready_jobs -= 1;
        state.ready_bytes -= self.costs[job];
        self.has_room.notify_all();
    }

    fn end(&self) {
        // Under the lock, so that nobody who has just looked goes to sleep.
        let _state = self.lock();
        self.is_over.store(true, Ordering::Relaxed);
        self.has_room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked takes the whole scope down; its state matters no more.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Takes what is made, and lets time pass.
    fn taking<T, E>(
        mut take: impl FnMut(usize, T) -> Result<(), E>,
    ) -> impl FnMut(Step<T>) -> Result<(), E> {
        move |step| match step {
            Step::Made(job, made) => take(job, made),
            Step::Waiting => Ok(()),
        }
    }

    #[test]
    fn results_come_in_order_whatever_the_threads_do() {
        let costs = vec![1; 2000];
        let mut taken = Vec::new();
        let result: Result<(), ()> = run(
            &costs,
            8,
            |job, _| {
                if job % 7 == 0 {
                    thread::yield_now();
                }
                Ok(job * 2)
            },
            taking(|job, made| {
                taken.push((job, made));
                Ok(())
            }),
        );
        assert_eq!(result, Ok(()));
        assert!(
            taken
                .iter()
                .copied()
                .eq((0..2000).map(|job| (job, job * 2)))
        );
    }

    #[test]
    fn what_is_ready_stays_within_the_bound_and_a_job_above_it_runs_alone() {
        let costs: Vec<u64> = (0..60)
            .map(|job| match job % 10 {
                3 => 2 * MAX_BYTES_READY,
                _ => MAX_BYTES_READY / 4,
            })
            .collect();
        let ready = AtomicU64::new(0);
        let result: Result<(), ()> = run(
            &costs,
            6,
            |job, _| {
                let before = ready.fetch_add(costs[job], Ordering::SeqCst);
                assert!(before == 0 || before + costs[job] <= MAX_BYTES_READY);
                Ok(())
            },
            taking(|job, ()| {
                ready.fetch_sub(costs[job], Ordering::SeqCst);
                Ok(())
            }),
        );
        assert_eq!(result, Ok(()));
    }

    #[test]
    fn the_first_error_in_order_ends_it() {
        let make = |job: usize, _: &AtomicBool| match job {
            50 | 60 => Err(job),
            _ => Ok(()),
        };
        let mut taken = 0;
        let count = taking(|_, ()| {
            taken += 1;
            Ok(())
        });
        assert_eq!(run(&[1; 1000], 4, make, count), Err(50));
        assert_eq!(taken, 50);
        let refuse = taking(|job, ()| Err(job));
        assert_eq!(run(&[1; 10], 4, |_, _| Ok(()), refuse), Err(0));
        let agree = taking(|_, ()| Ok::<(), ()>(()));
        assert_eq!(run(&[], 4, |_, _| Ok(()), agree), Ok(()));
    }

    #[test]
    fn whoever_takes_can_end_it_while_a_job_takes_long_and_the_job_is_told() {
        let result = run(
            &[1],
            1,
            |_, is_over| {
                while !is_over.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                Ok(())
            },
            |step| match step {
                Step::Made(..) => Ok(()),
                Step::Waiting => Err("ended"),
            },
        );
        assert_eq!(result, Err("ended"));
    }
}
