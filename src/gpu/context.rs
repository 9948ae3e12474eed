//! One opened adapter: device, queue, pipelines, and the translation of failures to errors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::adapter::{AdapterKind, AdapterSummary, choose};
use super::kernels::{Kernel, Pipeline};
use super::shaders::{Constant, compose, with_parameters_in_storage};
use crate::error::{Error, Result};

/// Which adapter to open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Pick {
    /// That of the variable `MHO_GPU`, else the best that is not software.
    #[default]
    Default,
    /// The one with this number in [`super::adapters`], or with this in its name.
    Named(String),
}

impl Pick {
    fn wanted(&self) -> Option<String> {
        match self {
            Self::Named(name) => Some(name.clone()),
            Self::Default => std::env::var("MHO_GPU").ok().filter(|name| !name.is_empty()),
        }
    }
}

/// An opened adapter, shared by all tiles on it.
#[derive(Debug)]
pub struct Context {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) limits: wgpu::Limits,
    adapter: AdapterSummary,
    lost: Arc<OnceLock<String>>,
    pipelines: Mutex<HashMap<Composition, Arc<Pipeline>>>,
}

/// What a pipeline is made of: its kernel, its constants and the response of a device.
type Composition = (&'static str, Vec<Constant>, Vec<&'static str>);

/// Opened adapters by process, for a forked child cannot use those of its parent, and by what was
/// asked for.
type Opened = HashMap<(u32, Option<String>), Arc<Context>>;

static OPENED: OnceLock<Mutex<Opened>> = OnceLock::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps behind these locks are valid after every single operation on them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    /// The shared context of the picked adapter, opened by the first call.
    ///
    /// # Errors
    /// [`Error::Backend`] when there is no such adapter or its driver refuses.
    pub fn shared(pick: &Pick) -> Result<Arc<Self>> {
        let wanted = pick.wanted();
        let mut opened = lock(OPENED.get_or_init(Mutex::default));
        let key = (std::process::id(), wanted.clone());
        if let Some(context) = opened.get(&key)
            && context.lost.get().is_none()
        {
            return Ok(Arc::clone(context));
        }
        let context = Arc::new(Self::open(wanted.as_deref())?);
        opened.insert(key, Arc::clone(&context));
        Ok(context)
    }

    fn open(wanted: Option<&str>) -> Result<Self> {
        let (summary, adapter) = choose(wanted)?;
        let limits = limits(&adapter.limits());
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("mho"),
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..wgpu::DeviceDescriptor::default()
        };
        let opened = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) = opened.map_err(|error| {
            let remedy = "update its driver or name another adapter with MHO_GPU";
            Error::backend(format!("{} cannot be opened: {error}", summary.name), remedy)
        })?;
        let lost = Arc::new(OnceLock::new());
        let flag = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, text| {
            let _ = flag.set(format!("{reason:?}: {text}"));
        });
        // Errors outside of a guard come from dropped work; the next guard sees a lost device.
        device.on_uncaptured_error(Arc::new(|_| {}));
        Ok(Self { device, queue, limits, adapter: summary, lost, pipelines: Mutex::default() })
    }

    /// The adapter.
    #[must_use]
    pub fn adapter(&self) -> &AdapterSummary {
        &self.adapter
    }

    /// Waits until everything submitted so far has run.
    ///
    /// # Errors
    /// [`Error::Backend`] when the device fails.
    pub fn synchronize(&self) -> Result<()> {
        self.guard("waiting", || self.wait())
    }

    /// Waits until everything submitted so far to any adapter that this process opened has run.
    ///
    /// # Errors
    /// [`Error::Backend`] when a device fails.
    pub fn synchronize_all() -> Result<()> {
        let Some(opened) = OPENED.get() else { return Ok(()) };
        let process = std::process::id();
        let contexts: Vec<_> = lock(opened)
            .iter()
            .filter(|((owner, _), context)| *owner == process && context.lost.get().is_none())
            .map(|(_, context)| Arc::clone(context))
            .collect();
        contexts.iter().try_for_each(|context| context.synchronize())
    }

    pub(crate) fn wait(&self) -> Result<()> {
        self.device.poll(wgpu::PollType::wait_indefinitely()).map(drop).map_err(|error| {
            Error::backend(format!("waiting failed: {error}"), "see the log of the driver")
        })
    }

    /// Runs `f` and returns what it reports to the device as an error instead of a panic.
    pub(crate) fn guard<R>(&self, what: &str, f: impl FnOnce() -> Result<R>) -> Result<R> {
        // Makes the loss of the device visible.
        let _ = self.device.poll(wgpu::PollType::Poll);
        self.check_lost()?;
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = f();
        let validation = pollster::block_on(validation.pop());
        let internal = pollster::block_on(internal.pop());
        let memory = pollster::block_on(memory.pop());
        self.check_lost()?;
        if memory.is_some() {
            let remedy = "use smaller batches or fewer tiles on the GPU";
            return Err(Error::backend(format!("out of memory while {what}"), remedy));
        }
        if let Some(error) = internal.or(validation) {
            let remedy = "please report this with the name and version of the driver";
            return Err(Error::backend(format!("{what} failed: {error}"), remedy));
        }
        result
    }

    fn check_lost(&self) -> Result<()> {
        match self.lost.get() {
            None => Ok(()),
            Some(text) => {
                let remedy = "build the tile again from the last state on the host";
                Err(Error::backend(format!("the device was lost ({text})"), remedy))
            }
        }
    }

    /// The pipeline of `kernel` with `constants` and the `response` of a device, compiled by the
    /// first call.
    pub(crate) fn pipeline(
        &self,
        kernel: &'static Kernel,
        constants: &[Constant],
        response: &[&'static str],
    ) -> Result<Arc<Pipeline>> {
        let composition = (kernel.name, constants.to_vec(), response.to_vec());
        if let Some(pipeline) = lock(&self.pipelines).get(&composition) {
            return Ok(Arc::clone(pipeline));
        }
        let source = compose(kernel, constants, response);
        let what = format!("compiling the kernel {}", kernel.name);
        let pipeline = self.guard(&what, || Ok(Arc::new(self.compile(kernel, &source))))?;
        lock(&self.pipelines).insert(composition, Arc::clone(&pipeline));
        Ok(pipeline)
    }

    fn compile(&self, kernel: &Kernel, source: &str) -> Pipeline {
        if self.adapter.kind != AdapterKind::Software {
            return Pipeline::new(&self.device, kernel, source, wgpu::BufferBindingType::Uniform);
        }
        // Software drivers translate a kernel anew whenever its uniforms change, in 2 ms each.
        let parameters = wgpu::BufferBindingType::Storage { read_only: true };
        Pipeline::new(&self.device, kernel, &with_parameters_in_storage(source), parameters)
    }

    /// Destroys the device as a driver that crashed would.
    pub(crate) fn destroy(&self) {
        self.device.destroy();
    }
}

/// The smallest common limits, with the sizes of buffers that the adapter has.
fn limits(adapter: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_buffer_size: adapter.max_buffer_size,
        max_storage_buffer_binding_size: adapter.max_storage_buffer_binding_size,
        max_storage_buffers_per_shader_stage: 8.min(adapter.max_storage_buffers_per_shader_stage),
        max_compute_workgroups_per_dimension: adapter
            .max_compute_workgroups_per_dimension
            .min(65535),
        max_compute_workgroup_storage_size: 16384,
        max_compute_invocations_per_workgroup: 256,
        min_storage_buffer_offset_alignment: adapter.min_storage_buffer_offset_alignment,
        min_uniform_buffer_offset_alignment: adapter.min_uniform_buffer_offset_alignment,
        ..wgpu::Limits::downlevel_defaults()
    }
}
