//! The lock that cores share things behind. Under `cfg(loom)` it is loom's, as the atomics of
//! [`kernel::sync`] are then.

#[cfg(not(loom))]
pub(crate) use spin::Mutex;

/// loom's lock with the interface of `spin`'s.
#[cfg(loom)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("no test panics and goes on")
    }
}
