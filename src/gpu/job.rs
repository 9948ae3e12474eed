//! The dispatches of one submission, with their parameters.

use std::sync::Arc;

use super::buffers::{PARAMETER_BYTES, Step};
use super::context::Context;
use super::kernels::Pipeline;
use super::scratch::Scratch;

/// Words between the parameters of two dispatches.
const PARAMETER_WORDS: usize = PARAMETER_BYTES / 4;

/// Dispatches that run in order, in one submission.
pub(crate) struct Job {
    parameters: wgpu::Buffer,
    words: Vec<u32>,
    pub steps: Vec<Step>,
}

impl Job {
    /// None yet, with room for the parameters of `most`.
    pub fn new(context: &Context, scratch: &mut Scratch, most: usize) -> Self {
        let parameters = scratch.parameters.parameters(context, most);
        Self { parameters, words: Vec::new(), steps: Vec::with_capacity(most) }
    }

    /// Takes parameters; their number, which a [`Step`] has.
    pub fn place(&mut self, words: &[u32]) -> usize {
        let number = self.words.len() / PARAMETER_WORDS;
        self.words.extend_from_slice(words);
        self.words.resize((number + 1) * PARAMETER_WORDS, 0);
        number
    }

    /// The parameters, then `buffers`, bound to `pipeline`.
    pub fn bind(
        &self,
        context: &Context,
        pipeline: &Pipeline,
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        context.bind(pipeline, &self.parameters, buffers)
    }

    /// Adds a dispatch.
    pub fn add(
        &mut self,
        context: &Context,
        pipeline: Arc<Pipeline>,
        words: &[u32],
        buffers: &[&wgpu::Buffer],
        grid: [u32; 3],
    ) {
        let group = self.bind(context, &pipeline, buffers);
        let parameters = self.place(words);
        self.steps.push(Step { pipeline, group, parameters, grid });
    }

    /// Writes the parameters before the next submission.
    pub fn write(&self, context: &Context) {
        context.write(&self.parameters, 0, &self.words);
    }
}
