//! The devices of one weight matrix, for one call.

use std::sync::Arc;

use super::buffers::Step;
use super::context::Context;
use super::job::Job;
use super::scratch::Scratch;
use super::state::State;
use crate::devices::Device;
use crate::error::Result;

/// Devices with their state, and what a call needs to work on them.
pub(crate) struct Devices<'a> {
    pub context: &'a Arc<Context>,
    pub scratch: &'a mut Scratch,
    pub state: &'a State,
    pub device: &'a Device,
}

impl Devices<'_> {
    /// Runs `f` and returns what it reports to the device as an error. Working memory is then made
    /// anew: a buffer that could not be made, or that is still mapped, would let all later calls fail.
    pub fn guarded<R>(&mut self, what: &str, f: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let context = Arc::clone(self.context);
        let result = context.guard(what, || f(self));
        if result.is_err() {
            *self.scratch = Scratch::default();
        }
        result
    }

    /// Runs `steps` in one submission. What they need has been prepared in a guard of its own: after a
    /// write that failed they would compute with the numbers of an earlier call.
    pub fn submit(&mut self, what: &str, steps: &[Step]) -> Result<()> {
        self.guarded(what, |devices| {
            devices.context.submit(steps, None, &[]);
            Ok(())
        })
    }

    /// Prepares dispatches, `most` of them at most, and runs them.
    pub fn run(
        &mut self,
        what: &str,
        most: usize,
        prepare: impl FnOnce(&mut Self, &mut Job) -> Result<()>,
    ) -> Result<()> {
        let job = self.guarded(what, |devices| {
            let mut job = Job::new(devices.context, devices.scratch, most);
            prepare(devices, &mut job)?;
            job.write(devices.context);
            Ok(job)
        })?;
        self.submit(what, &job.steps)
    }

    /// Copies the first numbers of `buffer` to `out`.
    pub fn read<T: bytemuck::Pod>(&mut self, buffer: &wgpu::Buffer, out: &mut [T]) -> Result<()> {
        let context = Arc::clone(self.context);
        self.guarded("reading back", |devices| {
            context.download(buffer, &mut devices.scratch.staging, out)
        })
    }
}
