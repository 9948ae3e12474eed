//! The threads of torch as the team of all kernels.
//!
//! torch shares its work among the threads of an OpenMP runtime, which spin for milliseconds after
//! each operation; a second pool would have to fight them for the cores. So kernels run on the very
//! same threads, through the entry that compilers call for a parallel region. Two entries are known:
//! `GOMP_parallel` of GNU's runtime, which others have as well on Linux, and `__kmpc_fork_call` of
//! LLVM's and Intel's.
#![allow(unsafe_code, reason = "calls functions of a C library that torch has loaded")]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_uint, c_void};

use libloading::Library;
use pyo3::prelude::*;

use mho_core::par::{Team, num_threads, set_team, team_name};

type Region = unsafe extern "C" fn(*mut c_void);
type GompParallel = unsafe extern "C" fn(Region, *mut c_void, c_uint, c_uint);
type Task = unsafe extern "C" fn(*mut i32, *mut i32, ...);
type ForkCall = unsafe extern "C" fn(*const Place, i32, Task, ...);
type ThreadNumber = unsafe extern "C" fn(*const Place) -> i32;
type PushThreads = unsafe extern "C" fn(*const Place, i32, i32);
type MaxThreads = unsafe extern "C" fn() -> c_int;

/// A place in a source file, as LLVM's runtime wants to know it (`ident_t`).
#[repr(C)]
struct Place {
    reserved: i32,
    flags: i32,
    others: [i32; 2],
    source: *const c_char,
}

/// Marks what comes from a compiler (`KMP_IDENT_KMPC`).
const FROM_COMPILER: i32 = 2;

// SAFETY: the text that it points to is never written.
unsafe impl Sync for Place {}

static PLACE: Place =
    Place { reserved: 0, flags: FROM_COMPILER, others: [0; 2], source: c";mho;mho;0;0;;".as_ptr() };

/// How a parallel region is entered.
#[derive(Clone, Copy)]
enum Entry {
    Gomp(GompParallel),
    Kmpc { fork: ForkCall, number: ThreadNumber, push: PushThreads },
}

struct OpenMp {
    entry: Entry,
    max_threads: MaxThreads,
    /// Number of threads that the system lets this process have: quotas of containers are not known
    /// to OpenMP.
    allowed: usize,
}

/// What a region calls.
type Work<'a> = &'a (dyn Fn() + Sync);

/// # Safety
/// `data` points to a [`Work`] that lives until the region ends.
unsafe extern "C" fn region(data: *mut c_void) {
    // SAFETY: as promised by the caller.
    let work = unsafe { &*data.cast::<Work<'_>>() };
    work();
}

/// # Safety
/// As for [`region`]; the variable argument is its `data`.
unsafe extern "C" fn task(_: *mut i32, _: *mut i32, data: *mut c_void) {
    // SAFETY: as promised by the caller.
    unsafe { region(data) }
}

impl OpenMp {
    /// The runtime that a library is linked with, whose symbols are found through its handle.
    fn of(library: &Library) -> Option<Self> {
        // SAFETY: the names belong to the OpenMP interface of compilers, which has these types.
        unsafe {
            let max_threads = *library.get::<MaxThreads>(b"omp_get_max_threads\0").ok()?;
            let entry = match library.get::<GompParallel>(b"GOMP_parallel\0") {
                Ok(parallel) => Entry::Gomp(*parallel),
                Err(_) => Entry::Kmpc {
                    fork: *library.get::<ForkCall>(b"__kmpc_fork_call\0").ok()?,
                    number: *library.get::<ThreadNumber>(b"__kmpc_global_thread_num\0").ok()?,
                    push: *library.get::<PushThreads>(b"__kmpc_push_num_threads\0").ok()?,
                },
            };
            let allowed = std::thread::available_parallelism().map_or(1, usize::from);
            Some(Self { entry, max_threads, allowed })
        }
    }

    fn limit(&self) -> usize {
        // SAFETY: a function without arguments that reads a number of this thread.
        unsafe { (self.max_threads)() }.max(1) as usize
    }
}

impl Team for OpenMp {
    fn name(&self) -> &str {
        match self.entry {
            Entry::Gomp(_) => "OpenMP of torch (GOMP_parallel)",
            Entry::Kmpc { .. } => "OpenMP of torch (__kmpc_fork_call)",
        }
    }

    fn threads(&self) -> usize {
        self.limit().min(self.allowed)
    }

    /// A region costs 2 to 5 us while its threads still spin.
    fn worth_ns(&self) -> f64 {
        12_000.0
    }

    fn run(&self, threads: usize, work: Work<'_>) {
        // A number of its own for each region would end threads and start others; where fewer are
        // wanted, the others return at once.
        let own = if threads > self.limit() { threads } else { 0 };
        let data = (&raw const work).cast_mut().cast::<c_void>();
        // SAFETY: both entries return when all calls of the region have, so `work` outlives them. It
        // is `Sync`, and does not unwind (`Team::run`).
        unsafe {
            match self.entry {
                Entry::Gomp(parallel) => parallel(region, data, own as c_uint, 0),
                Entry::Kmpc { fork, number, push } => {
                    if own > 0 {
                        push(&raw const PLACE, number(&raw const PLACE), own as i32);
                    }
                    // SAFETY: the runtime calls tasks with two pointers and as many more as the
                    // second argument says.
                    let task = std::mem::transmute::<
                        unsafe extern "C" fn(*mut i32, *mut i32, *mut c_void),
                        Task,
                    >(task);
                    fork(&raw const PLACE, 1, task, data);
                }
            }
        }
    }
}

/// Lets kernels share the threads of the OpenMP runtime that a loaded library is linked with; whether
/// there is one.
#[pyfunction]
pub(super) fn join_openmp(path: std::path::PathBuf) -> bool {
    // SAFETY: the library is loaded already, so no code of it runs now.
    let Ok(library) = (unsafe { Library::new(path) }) else { return false };
    let joined = OpenMp::of(&library).is_some_and(|team| set_team(Box::new(team)));
    // Its functions are used as long as the process lives.
    std::mem::forget(library);
    joined
}

/// What kernels share in this process, and the number of threads of the current one.
#[pyfunction]
pub(super) fn thread_team() -> (&'static str, usize) {
    (team_name(), num_threads())
}

thread_local! {
    static PREPARED: Cell<bool> = const { Cell::new(false) };
}

/// Makes torch set up its threads for the current one: OpenMP keeps the number of threads per thread,
/// and torch hands its own on where one computes for the first time.
pub(super) fn prepare(py: Python<'_>) {
    if PREPARED.replace(true) {
        return;
    }
    // Without torch, as in tests of this module, there is nothing to set up.
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    let torch = modules.and_then(|modules| modules.get_item("torch"));
    if let Ok(torch) = torch {
        let _ = torch.call_method0("get_num_threads");
    }
}
