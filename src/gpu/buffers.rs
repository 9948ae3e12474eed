//! Buffers, transfers and submissions.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::kernels::Pipeline;
use crate::error::{Error, Result};
use crate::hooks::DEVICE_CALLS;

/// Bytes between the parameters of two dispatches: the largest alignment that an adapter may ask
/// for.
pub(crate) const PARAMETER_BYTES: usize = 256;

/// Longest time between the end of the work and the callback that tells so.
const CALLBACK: Duration = Duration::from_secs(10);

/// A buffer that is made larger when needed and otherwise reused.
#[derive(Debug, Default)]
pub(crate) struct Reused(Option<wgpu::Buffer>);

impl Reused {
    /// The buffer, with room for `words` numbers of 32 bits.
    pub fn get(&mut self, context: &Context, label: &str, words: usize) -> Result<wgpu::Buffer> {
        match &self.0 {
            Some(buffer) if buffer.size() >= 4 * words as u64 => Ok(buffer.clone()),
            _ => {
                let buffer = context.storage(label, words)?;
                self.0 = Some(buffer.clone());
                Ok(buffer)
            }
        }
    }

    /// The same for a buffer that the host reads.
    pub fn readable(&mut self, context: &Context, words: usize) -> wgpu::Buffer {
        match &self.0 {
            Some(buffer) if buffer.size() >= 4 * words as u64 => buffer.clone(),
            _ => {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                let buffer = context.create("staging", words, usage);
                self.0 = Some(buffer.clone());
                buffer
            }
        }
    }

    /// The same for parameters of `count` dispatches.
    pub fn parameters(&mut self, context: &Context, count: usize) -> wgpu::Buffer {
        let words = count * PARAMETER_BYTES / 4;
        match &self.0 {
            Some(buffer) if buffer.size() >= 4 * words as u64 => buffer.clone(),
            _ => {
                let usage = wgpu::BufferUsages::UNIFORM
                    | wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_DST;
                let buffer = context.create("parameters", words, usage);
                self.0 = Some(buffer.clone());
                buffer
            }
        }
    }
}

/// A buffer and how many of its first numbers are copied.
pub(crate) type Copy<'a> = (&'a wgpu::Buffer, usize);

/// One dispatch of a kernel.
pub(crate) struct Step {
    pub pipeline: Arc<Pipeline>,
    pub group: wgpu::BindGroup,
    /// Number of its parameters in their buffer.
    pub parameters: usize,
    pub grid: [u32; 3],
}

impl Context {
    /// Largest number of 32-bit words that one buffer can hold.
    pub(crate) fn most_words(&self) -> usize {
        let bytes = self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size);
        usize::try_from(bytes / 4).unwrap_or(usize::MAX)
    }

    /// A buffer for kernels with room for `words` numbers of 32 bits.
    pub(crate) fn storage(&self, label: &str, words: usize) -> Result<wgpu::Buffer> {
        let most = self.most_words();
        if words > most {
            let cause = format!(
                "{label} needs a buffer of {} MiB, {} allows {} MiB",
                words >> 18,
                self.adapter().name,
                most >> 18
            );
            return Err(Error::backend(cause, "use smaller tiles or another adapter"));
        }
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        Ok(self.create(label, words, usage))
    }

    fn create(&self, label: &str, words: usize, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        // A buffer that nobody can make, as where memory is out.
        let impossible = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE;
        let usage = if DEVICE_CALLS.strikes() { impossible } else { usage };
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            // Bindings must not be empty.
            size: 4 * words.max(4) as u64,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Writes `values` from number `first` on before the next submission.
    pub(crate) fn write<T: bytemuck::NoUninit>(
        &self,
        buffer: &wgpu::Buffer,
        first: usize,
        values: &[T],
    ) {
        if !values.is_empty() && !self.fails() {
            self.queue.write_buffer(buffer, 4 * first as u64, bytemuck::cast_slice(values));
        }
    }

    /// Binds the parameters, then `buffers`, to `pipeline`.
    pub(crate) fn bind(
        &self,
        pipeline: &Pipeline,
        parameters: &wgpu::Buffer,
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        let uniform = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: parameters,
            offset: 0,
            size: wgpu::BufferSize::new(PARAMETER_BYTES as u64),
        });
        let resources = buffers.iter().map(|buffer| buffer.as_entire_binding());
        let entries: Vec<_> = std::iter::once(uniform)
            .chain(resources)
            .enumerate()
            .map(|(at, resource)| wgpu::BindGroupEntry { binding: at as u32, resource })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        })
    }

    /// Runs `steps` in order, in one submission; then copies numbers to `staging`, one buffer after
    /// another.
    pub(crate) fn submit(
        &self,
        steps: &[Step],
        staging: Option<&wgpu::Buffer>,
        copies: &[Copy<'_>],
    ) {
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        let mut encoder = self.device.create_command_encoder(&descriptor);
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for step in steps {
                let offset = (step.parameters * PARAMETER_BYTES) as u32;
                pass.set_pipeline(&step.pipeline.pipeline);
                pass.set_bind_group(0, &step.group, &[offset]);
                pass.dispatch_workgroups(step.grid[0], step.grid[1], step.grid[2]);
            }
        }
        let mut at = 0;
        for (from, words) in copies {
            let bytes = 4 * *words as u64;
            if let Some(staging) = staging {
                encoder.copy_buffer_to_buffer(from, 0, staging, at, bytes);
            }
            at += bytes;
        }
        self.send(encoder);
    }

    fn send(&self, encoder: wgpu::CommandEncoder) {
        if !self.fails() {
            self.queue.submit([encoder.finish()]);
        }
    }

    /// Whether a test wants the next call to fail; the guard around it then finds an error.
    fn fails(&self) -> bool {
        let strikes = DEVICE_CALLS.strikes();
        if strikes {
            self.create("failure", 1, wgpu::BufferUsages::empty());
        }
        strikes
    }

    /// Waits for everything submitted and calls `f` with the first `words` numbers of `staging`.
    pub(crate) fn read<T: bytemuck::AnyBitPattern, R>(
        &self,
        staging: &wgpu::Buffer,
        words: usize,
        f: impl FnOnce(&[T]) -> R,
    ) -> Result<R> {
        let failed = |text: String| Error::backend(text, "see the log of the driver");
        let slice = staging.slice(0..4 * words as u64);
        let (sender, receiver) = std::sync::mpsc::channel();
        slice.map_async(wgpu::MapMode::Read, move |result| {
            let _ = sender.send(result);
        });
        self.wait()?;
        // Another thread that waits may be the one that runs the callback.
        match receiver.recv_timeout(CALLBACK) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(format!("reading back failed: {error}"))),
            Err(_) => return Err(failed("reading back did not end".to_owned())),
        }
        if DEVICE_CALLS.strikes() {
            return Err(failed("reading back failed: test hook".to_owned()));
        }
        let view = slice.get_mapped_range().map_err(|error| failed(error.to_string()))?;
        let result = f(bytemuck::cast_slice(&view));
        drop(view);
        staging.unmap();
        Ok(result)
    }

    /// Copies buffers to others, as much as fits.
    pub(crate) fn copy<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a wgpu::Buffer, &'a wgpu::Buffer)>,
    ) {
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        let mut encoder = self.device.create_command_encoder(&descriptor);
        for (from, to) in pairs {
            encoder.copy_buffer_to_buffer(from, 0, to, 0, from.size().min(to.size()));
        }
        self.send(encoder);
    }

    /// Fills `buffer` with zeros.
    pub(crate) fn clear(&self, buffer: &wgpu::Buffer) {
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        let mut encoder = self.device.create_command_encoder(&descriptor);
        encoder.clear_buffer(buffer, 0, None);
        self.send(encoder);
    }

    /// Copies the first numbers of `buffer` to `out`.
    pub(crate) fn download<T: bytemuck::Pod>(
        &self,
        buffer: &wgpu::Buffer,
        staging: &mut Reused,
        out: &mut [T],
    ) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        self.guard("reading back", || {
            let staging = staging.readable(self, out.len());
            self.submit(&[], Some(&staging), &[(buffer, out.len())]);
            self.read(&staging, out.len(), |values: &[T]| out.copy_from_slice(values))
        })
    }
}
