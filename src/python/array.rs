//! Borrowing torch tensors as slices for the length of one call.
#![allow(unsafe_code, reason = "the border to torch's memory; each use states its argument")]

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::{Error, Result};

static DTYPES: PyOnceLock<[Py<PyAny>; 4]> = PyOnceLock::new();

/// Element types that kernels take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dtype {
    Float32 = 0,
    Int64 = 1,
    Uint8 = 2,
    Float64 = 3,
}

impl Dtype {
    fn name(self) -> &'static str {
        ["float32", "int64", "uint8", "float64"][self as usize]
    }

    fn object(self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        let all = DTYPES.get_or_try_init(py, || {
            let torch = py.import("torch")?;
            let get = |name| torch.getattr(name).map(Bound::unbind);
            PyResult::Ok([get("float32")?, get("int64")?, get("uint8")?, get("float64")?])
        })?;
        Ok(&all[self as usize])
    }
}

/// Address and number of elements of a checked tensor.
///
/// Holding one is safe; making a slice of it states that the tensor is alive (the caller's argument
/// holds a reference for the whole call) and that nobody resizes its storage meanwhile, which is
/// the contract that torch's own kernels have while the interpreter is released.
#[derive(Debug, Clone, Copy)]
struct Memory {
    address: usize,
    len: usize,
}

fn memory(argument: &'static str, tensor: &Bound<'_, PyAny>, dtype: Dtype) -> PyResult<Memory> {
    let py = tensor.py();
    let layout = |why: String| PyErr::from(Error::Layout { argument, why });
    let given = tensor
        .getattr(intern!(py, "dtype"))
        .map_err(|_| layout(format!("must be a tensor, got {}", type_name(tensor))))?;
    if !given.is(dtype.object(py)?) {
        return Err(layout(format!("must have dtype {}, got {given}", dtype.name())));
    }
    if !tensor.getattr(intern!(py, "is_cpu"))?.is_truthy()? {
        let device = tensor.getattr(intern!(py, "device"))?;
        return Err(layout(format!("must be on the CPU, is on {device}")));
    }
    if !tensor.call_method0(intern!(py, "is_contiguous"))?.is_truthy()? {
        return Err(layout("must be contiguous; call .contiguous() first".to_owned()));
    }
    let len: usize = tensor.call_method0(intern!(py, "numel"))?.extract()?;
    let address: usize = tensor.call_method0(intern!(py, "data_ptr"))?.extract()?;
    if len > 0 && address == 0 {
        return Err(layout("has no memory (a fake or meta tensor)".to_owned()));
    }
    Ok(Memory { address, len })
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}

/// A float32 tensor that is only read.
pub(super) struct Floats(Memory);
/// A float32 tensor that is written.
pub(super) struct FloatsMut(Memory);
/// A uint8 tensor that is written.
pub(super) struct BytesMut(Memory);
/// A float64 tensor that is written.
pub(super) struct DoublesMut(Memory);
/// An int64 tensor that is written.
pub(super) struct IntsMut(Memory);

impl Floats {
    pub(super) fn new(argument: &'static str, tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        memory(argument, tensor, Dtype::Float32).map(Self)
    }

    pub(super) fn slice(&self) -> &[f32] {
        slice(self.0)
    }
}

impl FloatsMut {
    pub(super) fn new(argument: &'static str, tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        memory(argument, tensor, Dtype::Float32).map(Self)
    }

    pub(super) fn slice(&mut self) -> &mut [f32] {
        slice_mut(self.0)
    }

    /// Checks that what is written does not overlap what is read.
    pub(super) fn apart(&self, argument: &'static str, other: &Floats) -> Result<()> {
        let range =
            |memory: Memory| (memory.address, memory.address + memory.len * size_of::<f32>());
        let ((a, a_end), (b, b_end)) = (range(self.0), range(other.0));
        if a < b_end && b < a_end {
            let why = "shares memory with an input of the same call".to_owned();
            return Err(Error::Layout { argument, why });
        }
        Ok(())
    }
}

impl BytesMut {
    pub(super) fn new(argument: &'static str, tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        memory(argument, tensor, Dtype::Uint8).map(Self)
    }

    pub(super) fn slice(&mut self) -> &mut [u8] {
        slice_mut(self.0)
    }
}

impl DoublesMut {
    pub(super) fn new(argument: &'static str, tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        memory(argument, tensor, Dtype::Float64).map(Self)
    }

    pub(super) fn slice(&mut self) -> &mut [f64] {
        slice_mut(self.0)
    }
}

impl IntsMut {
    pub(super) fn new(argument: &'static str, tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        memory(argument, tensor, Dtype::Int64).map(Self)
    }

    pub(super) fn slice(&mut self) -> &mut [i64] {
        slice_mut(self.0)
    }
}

fn slice<'a, T>(memory: Memory) -> &'a [T] {
    if memory.len == 0 {
        return &[];
    }
    // SAFETY: `memory` checked dtype, contiguity and address; see its documentation for lifetime.
    unsafe { std::slice::from_raw_parts(memory.address as *const T, memory.len) }
}

fn slice_mut<'a, T>(memory: Memory) -> &'a mut [T] {
    if memory.len == 0 {
        return &mut [];
    }
    // SAFETY: as for `slice`; exclusive because the tile's lock is held for writing or the tensor
    // was made for this call, and `apart` was checked against what the call reads.
    unsafe { std::slice::from_raw_parts_mut(memory.address as *mut T, memory.len) }
}

/// Advances the int64[1] counter by one and returns its new value.
pub(super) fn advance(calls: &Bound<'_, PyAny>) -> PyResult<i64> {
    let counter = one_int("calls", calls)?;
    // SAFETY: one aligned int64 that torch keeps alive during the call; all writers use this atomic.
    let counter = unsafe { std::sync::atomic::AtomicI64::from_ptr(counter.address as *mut i64) };
    Ok(counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed).wrapping_add(1))
}

/// The value of an int64[1] tensor.
pub(super) fn int(argument: &'static str, tensor: &Bound<'_, PyAny>) -> PyResult<i64> {
    Ok(slice::<i64>(one_int(argument, tensor)?)[0])
}

fn one_int(argument: &'static str, tensor: &Bound<'_, PyAny>) -> PyResult<Memory> {
    let memory = memory(argument, tensor, Dtype::Int64)?;
    Error::check_len(argument, memory.len, 1)?;
    Ok(memory)
}
