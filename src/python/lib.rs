//! The Python door: the only folder that knows pyo3.

mod array;
mod cells;
mod error;
mod exchange;
mod finite;
mod gil;
#[cfg(feature = "wgpu")]
mod gpu;
mod grid;
mod lock;
mod modifier;
mod ops;
mod patches;
mod periphery;
mod pulses;
mod signals;
mod spec;
mod stream;
mod team;
mod weight_ops;

use pyo3::prelude::*;

/// Extension module `mho._core`.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    mho_core::par::set_interrupt_check(signals::interrupted);
    lock::watch_forks(module)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<spec::PyTileSpec>()?;
    module.add_class::<modifier::PyWeightModifier>()?;
    module.add_class::<patches::PyPatches>()?;
    for function in [
        wrap_pyfunction!(stream::next_call, module)?,
        wrap_pyfunction!(ops::forward, module)?,
        wrap_pyfunction!(ops::mvm, module)?,
        wrap_pyfunction!(grid::forward_grid, module)?,
        wrap_pyfunction!(grid::backward_grid, module)?,
        wrap_pyfunction!(finite::all_finite, module)?,
        wrap_pyfunction!(periphery::enter_range, module)?,
        wrap_pyfunction!(periphery::scale_and_offset, module)?,
        wrap_pyfunction!(ops::update, module)?,
        wrap_pyfunction!(pulses::pulse_counts, module)?,
        wrap_pyfunction!(pulses::pulse_noise, module)?,
        wrap_pyfunction!(weight_ops::clip_to_bounds, module)?,
        wrap_pyfunction!(weight_ops::enter_bounds, module)?,
        wrap_pyfunction!(weight_ops::check_hidden, module)?,
        wrap_pyfunction!(weight_ops::check_state, module)?,
        wrap_pyfunction!(weight_ops::unexpected_dw_min, module)?,
        wrap_pyfunction!(weight_ops::decay, module)?,
        wrap_pyfunction!(weight_ops::drift, module)?,
        wrap_pyfunction!(weight_ops::diffuse, module)?,
        wrap_pyfunction!(weight_ops::reset_columns, module)?,
        wrap_pyfunction!(weight_ops::clip_weights, module)?,
        wrap_pyfunction!(modifier::modify_weights, module)?,
        wrap_pyfunction!(ops::uniform_weights, module)?,
        wrap_pyfunction!(ops::set_num_threads, module)?,
        wrap_pyfunction!(ops::get_num_threads, module)?,
        wrap_pyfunction!(team::join_openmp, module)?,
        wrap_pyfunction!(team::thread_team, module)?,
        wrap_pyfunction!(ops::panic_in_next_update, module)?,
        wrap_pyfunction!(spec::default_config, module)?,
        wrap_pyfunction!(spec::device_names, module)?,
    ] {
        module.add_function(function)?;
    }
    add_gpu(module)
}

#[cfg(feature = "wgpu")]
fn add_gpu(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<gpu::PyGpuTile>()?;
    for function in [
        wrap_pyfunction!(gpu::gpu_adapters, module)?,
        wrap_pyfunction!(gpu::gpu_check, module)?,
        wrap_pyfunction!(gpu::gpu_open, module)?,
        wrap_pyfunction!(gpu::gpu_synchronize, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}

#[cfg(not(feature = "wgpu"))]
#[allow(clippy::unnecessary_wraps, reason = "the other one can fail")]
fn add_gpu(_: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
