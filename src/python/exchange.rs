//! What a tensor says of its memory in one call, by the C interface that torch publishes for it
//! (DLPack 1.2, "C exchange API"; torch 2.10 and later): a tenth of the time of asking for one
//! attribute after another, of which a short product would feel each.
#![allow(unsafe_code, reason = "the border to torch's memory; each use states its argument")]

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// A tensor on the host whose elements stand in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub address: usize,
    pub len: usize,
    /// Kind of number: 0 signed, 1 unsigned, 2 floating point.
    pub code: u8,
    pub bits: u8,
}

const MAJOR: u32 = 1;
const ON_HOST: i32 = 1;

/// `DLTensor`.
#[repr(C)]
struct Described {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

type Describe = unsafe extern "C" fn(*mut c_void, *mut Described) -> c_int;

/// `DLPackExchangeAPI`; the functions that are not called here are plain addresses.
#[repr(C)]
struct Interface {
    major: u32,
    minor: u32,
    previous: *const c_void,
    managed_tensor_allocator: *const c_void,
    managed_tensor_from_py_object: *const c_void,
    managed_tensor_to_py_object: *const c_void,
    describe: Option<Describe>,
    current_work_stream: *const c_void,
}

/// The function of torch, None where it has none.
static DESCRIBE: PyOnceLock<Option<Describe>> = PyOnceLock::new();

/// Describes a tensor; None for all that is no plain row of numbers on the host, and for a torch
/// without the interface. The object must be a tensor, of the class of torch itself.
pub(super) fn row(tensor: &Bound<'_, PyAny>) -> Option<Row> {
    let describe = (*DESCRIBE.get_or_init(tensor.py(), || find(tensor)))?;
    let mut seen = Described {
        data: ptr::null_mut(),
        device_type: 0,
        device_id: 0,
        ndim: 0,
        code: 0,
        bits: 0,
        lanes: 0,
        shape: ptr::null(),
        strides: ptr::null(),
        byte_offset: 0,
    };
    // SAFETY: the function takes a tensor, which the caller has checked, with the interpreter held, and
    // fills the structure; `shape` and `strides` belong to the tensor, which lives longer than this call.
    let failed = unsafe { describe(tensor.as_ptr().cast(), &raw mut seen) } != 0;
    if failed {
        // A kind of tensor that has no memory of this form; the attributes tell which.
        drop(PyErr::take(tensor.py()));
        return None;
    }
    if seen.device_type != ON_HOST || seen.lanes != 1 || seen.byte_offset != 0 {
        return None;
    }
    let (mut len, mut is_row) = (1usize, true);
    for axis in (0..usize::try_from(seen.ndim).ok()?).rev() {
        // SAFETY: both have `ndim` elements; strides may be missing, which means a row.
        let (size, stride) = unsafe {
            let stride = if seen.strides.is_null() { None } else { Some(*seen.strides.add(axis)) };
            (usize::try_from(*seen.shape.add(axis)).ok()?, stride)
        };
        is_row &= size == 1 || stride.is_none_or(|stride| usize::try_from(stride) == Ok(len));
        len = len.checked_mul(size)?;
    }
    let has_memory = len == 0 || !seen.data.is_null();
    (has_memory && (is_row || len == 0)).then_some(Row {
        address: seen.data as usize,
        len,
        code: seen.code,
        bits: seen.bits,
    })
}

/// Looks for the function in the class of tensors.
fn find(tensor: &Bound<'_, PyAny>) -> Option<Describe> {
    let py = tensor.py();
    let class = py.import("torch").and_then(|torch| torch.getattr("Tensor")).ok()?;
    let capsule = class.getattr("__dlpack_c_exchange_api__").ok()?;
    // SAFETY: the name is that of the protocol; a null pointer with an exception for other objects.
    let address =
        unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), c"dlpack_exchange_api".as_ptr()) };
    if address.is_null() {
        drop(PyErr::take(py));
        return None;
    }
    // SAFETY: a capsule of that name holds a table that lives as long as the process.
    let interface = unsafe { &*address.cast::<Interface>() };
    if interface.major == MAJOR { interface.describe } else { None }
}
