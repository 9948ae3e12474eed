//! What a tile of cells has in the memory of a graphics processor.

use std::sync::Arc;

use super::super::slots::Place;
use super::super::spec::{CellSpec, Content, Leaf, Rule};
use crate::config::UpdateParameters;
use crate::devices::{Device, DeviceConfig, FloatingPoint};
use crate::error::Result;
use crate::gpu::Context;
use crate::gpu::devices::Devices;
use crate::gpu::product::hot;
use crate::gpu::scratch::Scratch;
use crate::gpu::side::Side;
use crate::gpu::state::State;
use crate::mvm::OneLine;

/// Reads of lines of a node.
#[derive(Debug)]
pub(super) struct Reads {
    /// Frozen values.
    pub(super) side: Side,
    /// Inputs of all reads, see [`hot`].
    pub(super) hot: wgpu::Buffer,
}

/// The accumulator of mixed precision: exact devices without bounds.
#[derive(Debug)]
pub(super) struct Accumulator {
    pub(super) device: Device,
    pub(super) state: State,
}

/// Buffers of one line, for what a stage hands on.
#[derive(Debug)]
pub(super) struct Lines {
    /// What was read.
    pub(super) reads: [wgpu::Buffer; 2],
    /// What is to be written.
    pub(super) writes: [wgpu::Buffer; 2],
    /// Which cells of a column are reset.
    pub(super) chosen: wgpu::Buffer,
    /// Signs of the rows, then of the columns, and those of the lines across a transferred one.
    pub(super) signs: wgpu::Buffer,
    pub(super) across: wgpu::Buffer,
    /// Whether there is anything to write.
    pub(super) wanted: wgpu::Buffer,
}

/// State and working memory of a tile of cells.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) context: Arc<Context>,
    /// Weights of all nodes, the visible ones first.
    pub(super) matrices: Vec<wgpu::Buffer>,
    /// The devices of each leaf; their weights are among the matrices.
    pub(super) leaves: Vec<State>,
    /// Digital values.
    pub(super) buffers: Vec<wgpu::Buffer>,
    /// Of each node that reads lines.
    pub(super) reads: Vec<Option<Reads>>,
    pub(super) accumulator: Option<Accumulator>,
    pub(super) lines: Lines,
    pub(super) scratch: Scratch,
}

impl Resident {
    /// All of it with zeros, without hidden parameters.
    pub(super) fn new(context: &Arc<Context>, spec: &CellSpec) -> Result<Self> {
        let cells = spec.cells();
        let storage = |name: &str, words| context.storage(name, words);
        let matrices =
            (0..spec.matrices).map(|_| storage("weights", cells)).collect::<Result<Vec<_>>>()?;
        let leaf = |leaf: &Leaf| {
            let weights = matrices[spec.nodes[leaf.node].matrix].clone();
            State::new(context, &leaf.device, weights)
        };
        let leaves = spec.leaves.iter().map(leaf).collect::<Result<Vec<_>>>()?;
        let count =
            spec.slots().iter().filter(|slot| matches!(slot.place, Place::Buffer(_))).count();
        let buffers = (0..count).map(|_| storage("buffers", cells)).collect::<Result<Vec<_>>>()?;
        let reads = |node| {
            let read = read_of(spec, node);
            read.map(|read| Reads::new(context, read)).transpose()
        };
        let reads = (0..spec.nodes.len()).map(reads).collect::<Result<Vec<_>>>()?;
        let is_mixed = matches!(&spec.nodes[0].content, Content::Cell { rule: Rule::Mixed(_), .. });
        let accumulator =
            is_mixed.then(|| Accumulator::new(context, spec, buffers[0].clone())).transpose()?;
        let lines = Lines::new(context, spec)?;
        let scratch = Scratch::default();
        let context = Arc::clone(context);
        Ok(Self { context, matrices, leaves, buffers, reads, accumulator, lines, scratch })
    }

    /// What calls change.
    pub(super) fn live(&self) -> Vec<wgpu::Buffer> {
        let persistent = self.leaves.iter().filter_map(|leaf| leaf.persistent.as_ref());
        self.matrices.iter().chain(persistent).chain(&self.buffers).cloned().collect()
    }

    /// The devices of a leaf.
    pub(super) fn devices<'a>(&'a mut self, spec: &'a CellSpec, leaf: usize) -> Devices<'a> {
        let Self { context, leaves, scratch, .. } = self;
        Devices { context, scratch, state: &leaves[leaf], device: &spec.leaves[leaf].device }
    }
}

/// The reads of lines of a node.
pub(super) fn read_of(spec: &CellSpec, node: usize) -> Option<&OneLine> {
    match &spec.nodes[node].content {
        Content::Cell { rule: Rule::OneSided(rule), .. } => Some(&rule.read),
        Content::Cell { rule: Rule::Transfer(rule), .. } => Some(&rule.read),
        Content::Cell { .. } | Content::Device(_) => None,
    }
}

impl Reads {
    fn new(context: &Context, read: &OneLine) -> Result<Self> {
        let hot = hot(context, read.mvm().n_in())?;
        Ok(Self { side: Side::new(context, read.mvm())?, hot })
    }
}

impl Accumulator {
    fn new(context: &Context, spec: &CellSpec, values: wgpu::Buffer) -> Result<Self> {
        let config = DeviceConfig::FloatingPoint(FloatingPoint::default());
        let update = UpdateParameters::default();
        let device = Device::new(&config, &update, spec.d_size, spec.x_size, false)?;
        let state = State::new(context, &device, values)?;
        Ok(Self { device, state })
    }
}

impl Lines {
    fn new(context: &Context, spec: &CellSpec) -> Result<Self> {
        let (both, longest) = (spec.d_size + spec.x_size, spec.d_size.max(spec.x_size));
        let line = |name: &str| context.storage(name, longest);
        Ok(Self {
            reads: [line("reads")?, line("reads")?],
            writes: [line("writes")?, line("writes")?],
            chosen: line("cells that are reset")?,
            signs: context.storage("signs", both)?,
            across: line("signs")?,
            wanted: line("whether to write")?,
        })
    }
}
