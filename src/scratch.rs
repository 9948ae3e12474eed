//! Reusable working memory, one stack of buffers per thread.
//!
//! Kernels borrow memory here instead of allocating, so a repeated call allocates nothing. A
//! buffer is taken off the stack while it is in use, which keeps work stealing safe. Buffers above
//! [`KEPT_BYTES`] are given back: their allocation is cheap beside the work that fills them, and a
//! large tile must not double its memory for good.

use std::cell::RefCell;

use crate::error::Result;
use crate::memory;

thread_local! {
    static FLOATS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
    static WORDS: RefCell<Vec<Vec<u64>>> = const { RefCell::new(Vec::new()) };
    static HALVES: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
    static BYTES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Largest buffer that is kept for the next call.
const KEPT_BYTES: usize = 16 << 20;

type Stack<T> = std::thread::LocalKey<RefCell<Vec<Vec<T>>>>;

/// Runs `f` with `len` floats of unspecified content.
///
/// # Errors
/// [`Error::Memory`](crate::Error::Memory), or what `f` returns.
pub fn floats<R>(len: usize, f: impl FnOnce(&mut [f32]) -> Result<R>) -> Result<R> {
    with(&FLOATS, len, f)
}

/// Runs `f` with `len` words of unspecified content.
///
/// # Errors
/// As for [`floats`].
pub fn words<R>(len: usize, f: impl FnOnce(&mut [u64]) -> Result<R>) -> Result<R> {
    with(&WORDS, len, f)
}

/// Runs `f` with `len` 32-bit words of unspecified content.
///
/// # Errors
/// As for [`floats`].
pub fn halves<R>(len: usize, f: impl FnOnce(&mut [u32]) -> Result<R>) -> Result<R> {
    with(&HALVES, len, f)
}

/// Runs `f` with `len` bytes of unspecified content.
///
/// # Errors
/// As for [`floats`].
pub fn bytes<R>(len: usize, f: impl FnOnce(&mut [u8]) -> Result<R>) -> Result<R> {
    with(&BYTES, len, f)
}

fn with<T: Copy + Default, R>(
    stack: &'static Stack<T>,
    len: usize,
    f: impl FnOnce(&mut [T]) -> Result<R>,
) -> Result<R> {
    let mut buffer = stack.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        // Not grown, which would copy what nobody reads.
        drop(buffer);
        buffer = memory::filled(T::default(), len)?;
    }
    let result = f(&mut buffer[..len]);
    if buffer.capacity() * size_of::<T>() <= KEPT_BYTES {
        stack.with_borrow_mut(|free| free.push(buffer));
    }
    result
}
