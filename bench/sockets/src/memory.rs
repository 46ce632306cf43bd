//! What `send` copies into: pages of a stack's own, each sent from until it is acknowledged, as the
//! socket buffers of a kernel are.

use crate::sync::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use net::Lent;
use net::chunk::Chunk;

/// A page that a connection sends from; goes back to its pool when it is dropped.
pub struct Page {
    /// `None` only inside `drop`.
    chunk: Option<Chunk>,
    home: Arc<Pool>,
}

/// The pages of one stack that are free.
pub(crate) struct Pool(Mutex<Vec<Chunk>>);

impl Pool {
    /// Makes `count` pages.
    pub(crate) fn new(count: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Pool(Mutex::new(
            Chunk::several(count, bytes).map(|chunk| *chunk).collect(),
        )))
    }

    /// Copies the start of `data` into a page, `None` when all are out.
    pub(crate) fn take(self: &Arc<Self>, data: &[u8]) -> Option<Page> {
        let mut chunk = self.0.lock().pop()?;
        chunk.clear();
        chunk.append(data);
        Some(Page {
            chunk: Some(chunk),
            home: Arc::clone(self),
        })
    }

    /// Returns the pages that are free.
    pub(crate) fn free(&self) -> usize {
        self.0.lock().len()
    }
}

impl Lent for Page {
    fn bytes(&self) -> &[u8] {
        self.chunk.as_ref().map_or(&[], |chunk| chunk.filled())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            self.home.0.lock().push(chunk);
        }
    }
}
