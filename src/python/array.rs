//! Borrowing torch tensors as slices for the length of one call.
#![allow(unsafe_code, reason = "the border to torch's memory; each use states its argument")]

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use super::error::{PyResult, Raised};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::exchange;
use mho_core::Error;

static DTYPES: PyOnceLock<[Py<PyAny>; 5]> = PyOnceLock::new();

/// Element types that kernels take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dtype {
    Float32 = 0,
    Int64 = 1,
    Uint8 = 2,
    Float64 = 3,
    Int8 = 4,
}

impl Dtype {
    fn name(self) -> &'static str {
        ["float32", "int64", "uint8", "float64", "int8"][self as usize]
    }

    /// Bytes of an element, which are its alignment as well.
    fn size(self) -> usize {
        [4, 8, 1, 8, 1][self as usize]
    }

    /// Kind of number and bits, as DLPack has them.
    fn code(self) -> (u8, u8) {
        [(2, 32), (0, 64), (1, 8), (2, 64), (0, 8)][self as usize]
    }

    fn object(self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        let all = DTYPES.get_or_try_init(py, || {
            let torch = py.import("torch")?;
            let get = |name| torch.getattr(name).map(Bound::unbind);
            PyResult::<_, PyErr>::Ok([
                get("float32")?,
                get("int64")?,
                get("uint8")?,
                get("float64")?,
                get("int8")?,
            ])
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

/// The one gate to the memory of a tensor: its type, element type, device, alignment, and that its
/// elements stand in a row.
fn memory(argument: &'static str, tensor: &Bound<'_, PyAny>, dtype: Dtype) -> PyResult<Memory> {
    if !is_plain(tensor)? {
        if !is_tensor(tensor)? {
            let why = format!("must be a tensor, got {}", type_name(tensor));
            return Err(Error::Layout { argument, why }.into());
        }
        return asked(argument, tensor, dtype);
    }
    let row = exchange::row(tensor).filter(|row| {
        (row.code, row.bits) == dtype.code() && row.address.is_multiple_of(dtype.size())
    });
    match row {
        Some(row) => Ok(Memory { address: row.address, len: row.len }),
        None => asked(argument, tensor, dtype),
    }
}

/// As [`memory`], from the attributes of the tensor, and with the reason if it does not fit.
fn asked(argument: &'static str, tensor: &Bound<'_, PyAny>, dtype: Dtype) -> PyResult<Memory> {
    let py = tensor.py();
    let layout = |why: String| Raised::from(Error::Layout { argument, why });
    let given = tensor.getattr(intern!(py, "dtype"))?;
    if !given.is(dtype.object(py)?) {
        return Err(layout(format!("must have dtype {}, got {given}", dtype.name())));
    }
    if !tensor.getattr(intern!(py, "is_cpu"))?.is_truthy()? {
        let device = tensor.getattr(intern!(py, "device"))?;
        return Err(layout(format!("must be on the CPU, is on {device}")));
    }
    if tensor.getattr(intern!(py, "is_nested"))?.is_truthy()? {
        return Err(layout("must not be nested; call .to_padded_tensor() first".to_owned()));
    }
    let len: usize = tensor.call_method0(intern!(py, "numel"))?.extract()?;
    // Sparse tensors and other wrappers have none.
    let no_memory = |error: PyErr| match error.is_instance_of::<PyRuntimeError>(py) {
        true => layout(format!("has no memory of its own: {error}")),
        false => error.into(),
    };
    let address = tensor.call_method0(intern!(py, "data_ptr")).map_err(no_memory)?;
    let address: usize = address.extract()?;
    if len > 0 && address == 0 {
        return Err(layout("has no memory (a fake or meta tensor, or a wrapper)".to_owned()));
    }
    if !address.is_multiple_of(dtype.size()) {
        return Err(layout("is not aligned to its elements; call .clone() first".to_owned()));
    }
    if !tensor.call_method0(intern!(py, "is_contiguous"))?.is_truthy()? {
        return Err(layout("must be contiguous; call .contiguous() first".to_owned()));
    }
    Ok(Memory { address, len })
}

/// Checks that a tensor has its elements as they are, and within its storage.
fn check_elements(
    argument: &'static str,
    tensor: &Bound<'_, PyAny>,
    dtype: Dtype,
    len: usize,
) -> PyResult<()> {
    let py = tensor.py();
    let layout = |why: String| Raised::from(Error::Layout { argument, why });
    let storage = tensor.call_method0(intern!(py, "untyped_storage"))?;
    let bytes: usize = storage.call_method0(intern!(py, "nbytes"))?.extract()?;
    let offset: usize = tensor.call_method0(intern!(py, "storage_offset"))?.extract()?;
    // Imaginary parts of conjugates are the only negated views that torch makes; several of their
    // elements are not contiguous, and one stands beside its real part. Complex tensors, which may be
    // conjugates, have another dtype. Whoever owns all of a storage is not asked: torch lets the
    // interpreter go for that answer, and a thread that comes back after its end aborts the process.
    let is_part = len == 1 && bytes > dtype.size();
    if is_part && tensor.call_method0(intern!(py, "is_neg"))?.is_truthy()? {
        return Err(layout("has negated values; call .resolve_neg() first".to_owned()));
    }
    if len > 0 && (offset + len) * dtype.size() > bytes {
        let why = format!("reaches beyond the {bytes} bytes of its storage, which was resized");
        return Err(layout(why));
    }
    Ok(())
}

static CLASSES: PyOnceLock<[Py<PyAny>; 2]> = PyOnceLock::new();

fn classes(py: Python<'_>) -> PyResult<&[Py<PyAny>; 2]> {
    let classes = CLASSES.get_or_try_init(py, || {
        let torch = py.import("torch")?;
        let parameter = torch.getattr("nn")?.getattr("Parameter")?;
        PyResult::<_, PyErr>::Ok([torch.getattr("Tensor")?.unbind(), parameter.unbind()])
    })?;
    Ok(classes)
}

/// Whether an object is of one of the two usual classes of tensors, told by their address.
fn is_plain(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let given = object.get_type();
    Ok(classes(object.py())?.iter().any(|class| given.is(class)))
}

fn is_tensor(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(object.is_instance(classes(object.py())?[0].bind(object.py()))?)
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
/// An int8 tensor that is written.
pub(super) struct SignsMut(Memory);

/// The int64 counter of the calls of a tile.
pub(super) struct Counter(Memory);

/// What one call borrows: all of its tensors come from here, so that none that is written shares memory
/// with another one.
#[derive(Default)]
pub(super) struct Borrowed(Vec<Borrow>);

/// One borrowed tensor: its name, its first address, the one behind it, and what is done with it.
struct Borrow {
    argument: &'static str,
    start: usize,
    end: usize,
    access: Access,
}

/// What a call does with a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Written,
    /// Changed by atomic operations alone, which tiles may share.
    Counted,
}

impl Access {
    /// Whether two tensors that are used so may share memory.
    fn goes_with(self, other: Self) -> bool {
        self == other && self != Self::Written
    }
}

impl Borrowed {
    pub(super) fn floats(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
    ) -> PyResult<Floats> {
        self.borrow(argument, tensor, Dtype::Float32, Access::Read).map(Floats)
    }

    pub(super) fn floats_mut(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
    ) -> PyResult<FloatsMut> {
        self.borrow(argument, tensor, Dtype::Float32, Access::Written).map(FloatsMut)
    }

    /// A tensor that the call itself has made: it shares no memory, and its storage is its own.
    pub(super) fn fresh(tensor: &Bound<'_, PyAny>) -> PyResult<FloatsMut> {
        memory("output", tensor, Dtype::Float32).map(FloatsMut)
    }

    pub(super) fn bytes_mut(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
    ) -> PyResult<BytesMut> {
        self.borrow(argument, tensor, Dtype::Uint8, Access::Written).map(BytesMut)
    }

    pub(super) fn doubles_mut(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
    ) -> PyResult<DoublesMut> {
        self.borrow(argument, tensor, Dtype::Float64, Access::Written).map(DoublesMut)
    }

    pub(super) fn ints_mut(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
    ) -> PyResult<IntsMut> {
        self.borrow(argument, tensor, Dtype::Int64, Access::Written).map(IntsMut)
    }

    pub(super) fn signs_mut(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
    ) -> PyResult<SignsMut> {
        self.borrow(argument, tensor, Dtype::Int8, Access::Written).map(SignsMut)
    }

    /// The value of an int64 `[1]` tensor, which is read at once.
    pub(super) fn int(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
    ) -> PyResult<i64> {
        let memory = one_int(argument, tensor)?;
        self.add(argument, memory, Dtype::Int64, Access::Read)?;
        Ok(slice::<i64>(memory)[0])
    }

    /// The int64 `[1]` counter of the calls of a tile.
    pub(super) fn counter(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
    ) -> PyResult<Counter> {
        let memory = one_int(argument, tensor)?;
        self.add(argument, memory, Dtype::Int64, Access::Counted)?;
        Ok(Counter(memory))
    }

    fn borrow(
        &mut self,
        argument: &'static str,
        tensor: &Bound<'_, PyAny>,
        dtype: Dtype,
        access: Access,
    ) -> PyResult<Memory> {
        let memory = memory(argument, tensor, dtype)?;
        check_elements(argument, tensor, dtype, memory.len)?;
        self.add(argument, memory, dtype, access)?;
        Ok(memory)
    }

    /// Adds a tensor to the list, if it shares no memory with those in it.
    fn add(
        &mut self,
        argument: &'static str,
        memory: Memory,
        dtype: Dtype,
        access: Access,
    ) -> PyResult<()> {
        let (start, end) = (memory.address, memory.address + memory.len * dtype.size());
        let shared = self.0.iter().find(|other| {
            !access.goes_with(other.access) && start < other.end && other.start < end
        });
        if let Some(Borrow { argument: other, .. }) = shared {
            let why = format!("shares memory with {other}, and the call writes to it; pass a copy");
            return Err(Error::Layout { argument, why }.into());
        }
        self.0.push(Borrow { argument, start, end, access });
        Ok(())
    }
}

impl Counter {
    fn atomic(&self) -> &AtomicI64 {
        // SAFETY: one aligned int64 that torch keeps alive as long as the caller's reference; all writers use
        // this atomic, for `Borrowed` found no other tensor of the call in its memory.
        unsafe { AtomicI64::from_ptr(self.0.address as *mut i64) }
    }
}

/// A new uint8 tensor where `like` is, with these values.
pub(super) fn uint8<'py>(
    like: &Bound<'py, PyAny>,
    shape: (usize, usize),
    values: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    let py = like.py();
    let dtype = PyDict::new(py);
    dtype.set_item(intern!(py, "dtype"), Dtype::Uint8.object(py)?)?;
    let tensor = like.call_method(intern!(py, "new_empty"), shape, Some(&dtype))?;
    slice_mut(memory("mask", &tensor, Dtype::Uint8)?).copy_from_slice(values);
    Ok(tensor)
}

impl Floats {
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.0.len
    }

    pub(super) fn slice(&self) -> &[f32] {
        slice(self.0)
    }
}

impl FloatsMut {
    pub(super) fn slice(&mut self) -> &mut [f32] {
        slice_mut(self.0)
    }
}

impl BytesMut {
    pub(super) fn slice(&mut self) -> &mut [u8] {
        slice_mut(self.0)
    }
}

impl DoublesMut {
    pub(super) fn slice(&mut self) -> &mut [f64] {
        slice_mut(self.0)
    }
}

impl SignsMut {
    pub(super) fn slice(&mut self) -> &mut [i8] {
        slice_mut(self.0)
    }
}

impl IntsMut {
    pub(super) fn slice(&mut self) -> &mut [i64] {
        slice_mut(self.0)
    }
}

fn slice<'a, T>(memory: Memory) -> &'a [T] {
    if memory.len == 0 {
        return &[];
    }
    // SAFETY: `memory` checked type, dtype, contiguity, alignment and that the storage has all
    // elements; see its documentation for lifetime.
    unsafe { std::slice::from_raw_parts(memory.address as *const T, memory.len) }
}

fn slice_mut<'a, T>(memory: Memory) -> &'a mut [T] {
    if memory.len == 0 {
        return &mut [];
    }
    // SAFETY: as for `slice`; exclusive because the tile's lock is held for writing or the tensor
    // was made for this call, and `Borrowed` found no other tensor of the call in its memory.
    unsafe { std::slice::from_raw_parts_mut(memory.address as *mut T, memory.len) }
}

/// Advances the counter by one and returns its new value.
pub(super) fn advance(calls: &Counter) -> PyResult<i64> {
    next(calls.atomic())
}

/// Runs `change` as a new call of the tile with this counter. A change that fails has not been a
/// call, unless another thread has gone on. The number counts with the change: Python, which may raise
/// `KeyboardInterrupt` between any two of its steps, sees both or neither.
pub(super) fn numbered<R>(calls: &Counter, change: impl FnOnce(i64) -> PyResult<R>) -> PyResult<R> {
    let number = next(calls.atomic())?;
    let result = change(number);
    if result.is_err() {
        let _ = calls.atomic().compare_exchange(number, number - 1, Relaxed, Relaxed);
    }
    result
}

/// As [`numbered`] for a call of several tiles at once, each with its counter: all of them have it as
/// a call, or none.
pub(super) fn numbered_together<R>(
    calls: &[&Counter],
    change: impl FnOnce(&[i64]) -> PyResult<R>,
) -> PyResult<R> {
    let mut numbers = Vec::with_capacity(calls.len());
    let result = calls
        .iter()
        .try_for_each(|counter| next(counter.atomic()).map(|number| numbers.push(number)))
        .and_then(|()| change(&numbers));
    if result.is_err() {
        for (counter, number) in calls.iter().zip(numbers) {
            let _ = counter.atomic().compare_exchange(number, number - 1, Relaxed, Relaxed);
        }
    }
    result
}

fn next(counter: &AtomicI64) -> PyResult<i64> {
    let advanced = counter.fetch_update(Relaxed, Relaxed, |calls| calls.checked_add(1));
    let why = "calls: the tile has made 2^63 - 1 calls, which are all that its seed has random numbers \
               for; build it anew";
    Ok(advanced.map_err(|_| Error::State { why: why.to_owned() })? + 1)
}

/// The one number of a seed or a counter, which only the package makes: whether its storage was resized
/// is not looked at, because a short product would take a tenth longer.
fn one_int(argument: &'static str, tensor: &Bound<'_, PyAny>) -> PyResult<Memory> {
    let memory = memory(argument, tensor, Dtype::Int64)?;
    Error::check_len(argument, memory.len, 1)?;
    Ok(memory)
}
