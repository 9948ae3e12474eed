//! A cell of several devices: its tree, its sizes and its rules. Immutable; everything that changes is
//! state of the caller.

use std::ops::Range;

use super::buffer::Buffer;
use super::chopper::Chopper;
use super::config::{
    CellConfig, Common, Crosspoint, MixedPrecisionCompound, OneSidedUnitCell,
    VectorUnitCellUpdatePolicy,
};
use super::mirror::Mirror;
use super::mixed::Mixed;
use super::one_sided::OneSided;
use super::transfer::{Kind, Transfer};
use super::vector::Vector;
use crate::config::{PulseType, UpdateParameters, check_sizes, require};
use crate::devices::{Device, DeviceConfig, PulsedParameters};
use crate::error::{Error, Result};
use crate::pulse::source::Turn;

/// Parsed and validated configuration of the cells of one tile, with its sizes.
#[derive(Debug, Clone)]
pub struct CellSpec {
    config: CellConfig,
    update: UpdateParameters,
    pub(super) d_size: usize,
    pub(super) x_size: usize,
    analog_bias: bool,
    /// The tree; the cell itself comes first, members before their cells otherwise.
    pub(super) nodes: Vec<Node>,
    pub(super) leaves: Vec<Leaf>,
    /// Number of weight matrices: the visible one comes first.
    pub(super) matrices: usize,
    /// `dw_min` of each leaf instead of that of its configuration; empty without.
    steps: Vec<f64>,
}

/// A cell, or a device of one.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The cell that it belongs to.
    pub(super) parent: Option<usize>,
    /// Number of its weight matrix.
    pub(super) matrix: usize,
    /// Mean step of a pulse.
    pub(super) granularity: f64,
    /// Number of states between the configured bounds.
    states: f64,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A device, by the number of its leaf.
    Device(usize),
    /// Members, their weights in the sum, and what they do together.
    Cell { members: Vec<usize>, gamma: Vec<f32>, rule: Rule },
}

#[derive(Debug, Clone)]
pub(super) enum Rule {
    Vector(Vector),
    OneSided(Box<OneSided>),
    Transfer(Box<Transfer>),
    Mixed(Box<Mixed>),
}

/// A device in the tree.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) device: Device,
    pub(super) node: usize,
    /// Which pulses it takes.
    pub(super) turn: Turn,
    /// The leaf whose mirror image it is.
    pub(super) mirror: Option<Mirror>,
}

impl CellSpec {
    /// Specification of cells at each crosspoint of `d_size` rows and `x_size` columns, the last of which
    /// belongs to the bias when `analog_bias` is set. `update` is the pulse generation of the tile.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field, [`Error::Argument`] for sizes.
    pub fn new(
        config: &CellConfig,
        update: &UpdateParameters,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
    ) -> Result<Self> {
        Self::with_steps(config, update, d_size, x_size, analog_bias, &[])
    }

    /// As [`CellSpec::new`], with the `dw_min` of each device, as [`CellSpec::unexpected_dw_min`] finds them
    /// in the order of the names; none for those of the configuration.
    ///
    /// # Errors
    /// As there, and [`Error::Argument`] for another number of devices.
    pub fn with_steps(
        config: &CellConfig,
        update: &UpdateParameters,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
        steps: &[f64],
    ) -> Result<Self> {
        check_sizes(d_size, x_size)?;
        update.validate("update")?;
        let is_mixed = matches!(config, CellConfig::MixedPrecisionCompound(_));
        match update.pulse_type {
            PulseType::None => {
                let why = "NONE replaces a cell by an ideal device; build that in its place";
                return Err(Error::config("update.pulse_type", why));
            }
            PulseType::NoneWithDevice if !is_mixed => {
                let why = "exact updates have no pulses, which cells are made for; use another \
                           pulse type, or NONE to train without devices";
                return Err(Error::config("update.pulse_type", why));
            }
            _ => {}
        }
        let mut spec = Self {
            config: config.clone(),
            update: update.clone(),
            d_size,
            x_size,
            analog_bias,
            nodes: Vec::new(),
            leaves: Vec::new(),
            matrices: 1,
            steps: steps.to_vec(),
        };
        spec.add_cell(config, "device", None, 0)?;
        spec.check_update(update, "update")?;
        if !steps.is_empty() {
            Error::check_len("dw_min", steps.len(), spec.leaves.len())?;
        }
        // A part of a key has 8 bits for the node.
        let most = usize::from(u8::MAX);
        let why = format!("a crosspoint may have {most} devices and cells at most");
        require(spec.nodes.len() <= most, "device", "unit_cell_devices", why)?;
        Ok(spec)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &CellConfig {
        &self.config
    }

    /// Pulse generation of the tile.
    #[must_use]
    pub fn update(&self) -> &UpdateParameters {
        &self.update
    }

    /// `dw_min` of each device in place of those of the configuration; empty without.
    #[must_use]
    pub fn steps(&self) -> &[f64] {
        &self.steps
    }

    /// Number of rows (outputs).
    #[must_use]
    pub fn d_size(&self) -> usize {
        self.d_size
    }

    /// Number of columns, including that of an analog bias.
    #[must_use]
    pub fn x_size(&self) -> usize {
        self.x_size
    }

    /// Whether the last column is that of an analog bias.
    #[must_use]
    pub fn analog_bias(&self) -> bool {
        self.analog_bias
    }

    /// Mean step of one pulse, on which the pulses of an update are based; 0 if steps are infinitely fine.
    #[must_use]
    pub fn granularity(&self) -> f64 {
        self.nodes[0].granularity
    }

    /// Whether the steps of all devices are infinitely fine.
    #[must_use]
    pub fn flows(&self) -> bool {
        self.leaves.iter().all(|leaf| leaf.device.flows())
    }

    /// Checks that the devices so far can take such an update; `path` is where the group stands.
    fn check_update(&self, update: &UpdateParameters, path: &str) -> Result<()> {
        if self.flows() { update.check_flow(path) } else { Ok(()) }
    }

    /// Checks that a device with or without a step fits those before it, and the cell: one with digital
    /// buffers counts in steps.
    fn check_step(&self, flows: bool, path: &str) -> Result<()> {
        let alike = self.leaves.first().is_none_or(|leaf| leaf.device.flows() == flows);
        let why = "0 makes steps infinitely fine, which all devices of a cell must have, or none";
        require(alike, path, "dw_min", why)?;
        let takes_any = matches!(
            self.config,
            CellConfig::VectorUnitCell(_)
                | CellConfig::ReferenceUnitCell(_)
                | CellConfig::OneSidedUnitCell(_)
                | CellConfig::TransferCompound(_)
        );
        let why = format!(
            "must be positive: {} counts pulses, and with 0 there are none; TransferCompound and cells \
             without transfer take it",
            self.config.name()
        );
        require(takes_any || !flows, path, "dw_min", why)
    }

    /// Number of devices between which updates choose, if the cell has some; see
    /// [`CellState::set_hidden_update_index`](super::CellState::set_hidden_update_index).
    #[must_use]
    pub fn choices(&self) -> Option<usize> {
        match &self.nodes[0].content {
            Content::Cell { members, rule: Rule::Vector(_), .. } => Some(members.len()),
            _ => None,
        }
    }

    /// The rule of transfer, if the cell has one.
    pub(super) fn transfer(&self) -> Option<&Transfer> {
        match &self.nodes[0].content {
            Content::Cell { rule: Rule::Transfer(transfer), .. } => Some(transfer),
            _ => None,
        }
    }

    /// The rule of signs that flip, if the cell has one.
    pub(super) fn chopper(&self) -> Option<&Chopper> {
        match &self.transfer()?.kind {
            Kind::Chopped(chopper) => Some(chopper),
            Kind::Direct | Kind::Buffered(_) => None,
        }
    }

    /// Members of a node, in order; none of a device.
    pub(super) fn members(&self, node: usize) -> &[usize] {
        match &self.nodes[node].content {
            Content::Device(_) => &[],
            Content::Cell { members, .. } => members,
        }
    }

    /// Device that the policy of a node starts from.
    pub(super) fn first_device(&self, node: usize) -> i64 {
        match &self.nodes[node].content {
            Content::Cell { rule: Rule::Vector(vector), .. } => vector.first() as i64,
            _ => 0,
        }
    }

    /// Number of states of a node.
    pub(super) fn states(&self, node: usize) -> f64 {
        self.nodes[node].states
    }

    /// Leaves below a node: those of the members of a cell follow one another.
    pub(super) fn leaves_of(&self, node: usize) -> Range<usize> {
        self.first_leaf(node)..self.end_of_leaves(node)
    }

    fn first_leaf(&self, node: usize) -> usize {
        match &self.nodes[node].content {
            Content::Device(leaf) => *leaf,
            Content::Cell { members, .. } => self.first_leaf(members[0]),
        }
    }

    fn end_of_leaves(&self, node: usize) -> usize {
        match &self.nodes[node].content {
            Content::Device(leaf) => leaf + 1,
            Content::Cell { members, .. } => self.end_of_leaves(members[members.len() - 1]),
        }
    }

    /// The largest weight that a leaf is configured to have.
    fn w_max(&self, leaf: usize) -> f64 {
        self.leaves[leaf].device.config().pulsed().map_or(0.0, |pulsed| pulsed.w_max)
    }

    /// Adds a node without content and gives its number.
    fn add(&mut self, parent: Option<usize>, matrix: usize) -> usize {
        let content = Content::Device(0);
        self.nodes.push(Node { parent, matrix, granularity: 0.0, states: 0.0, content });
        self.nodes.len() - 1
    }

    /// A new weight matrix.
    fn add_matrix(&mut self) -> usize {
        self.matrices += 1;
        self.matrices - 1
    }

    /// Adds what stands at `path` and gives its number.
    fn add_crosspoint(
        &mut self,
        config: &Crosspoint,
        path: &str,
        parent: usize,
        matrix: usize,
    ) -> Result<usize> {
        match config {
            Crosspoint::Device(device) => {
                let node = self.add(Some(parent), matrix);
                self.add_device(device, path, node)?;
                Ok(node)
            }
            Crosspoint::Cell(cell) => match &**cell {
                CellConfig::VectorUnitCell(_)
                | CellConfig::ReferenceUnitCell(_)
                | CellConfig::OneSidedUnitCell(_) => {
                    self.add_cell(cell, path, Some(parent), matrix)
                }
                other => {
                    let why = format!(
                        "{} takes whole updates and cannot be a part of another cell; use a pulsed \
                         device, VectorUnitCell, ReferenceUnitCell or OneSidedUnitCell",
                        other.name()
                    );
                    Err(Error::config(path, why))
                }
            },
        }
    }

    fn add_device(&mut self, config: &DeviceConfig, path: &str, node: usize) -> Result<()> {
        let Some(pulsed) = config.pulsed() else {
            let why = format!("{} takes no pulses; cells need pulsed devices", config.name());
            return Err(Error::config(path, why));
        };
        let why = "cells do not count the pulses of their devices; set it to false";
        require(!pulsed.count_pulses, path, "count_pulses", why)?;
        config.validate(path)?;
        self.check_step(pulsed.flows(), path)?;
        // All devices take the seed of the cell.
        let mut config = config.clone();
        let step = self.steps.get(self.leaves.len()).copied();
        if let Some(pulsed) = config.pulsed_mut() {
            pulsed.construction_seed = 0;
            step.map_or(Ok(()), |step| pulsed.replace_step(step, path))?;
        }
        let (d_size, x_size, analog_bias) = (self.d_size, self.x_size, self.analog_bias);
        // Pulses come from elsewhere.
        let update = UpdateParameters::default();
        let device = Device::new(&config, &update, d_size, x_size, analog_bias)?;
        self.nodes[node].granularity = device.granularity();
        self.nodes[node].states = states(device.config().pulsed(), device.granularity());
        self.nodes[node].content = Content::Device(self.leaves.len());
        self.leaves.push(Leaf { device, node, turn: Turn::Both, mirror: None });
        Ok(())
    }

    /// Adds a cell and gives its number.
    fn add_cell(
        &mut self,
        config: &CellConfig,
        path: &str,
        parent: Option<usize>,
        matrix: usize,
    ) -> Result<usize> {
        let node = self.add(parent, matrix);
        let sizes = [self.d_size, self.x_size];
        match config {
            CellConfig::VectorUnitCell(cell) => {
                let devices =
                    Devices::new(&cell.unit_cell_devices, path, cell.unit_cell_devices.len())?;
                let (policy, first) = (cell.update_policy, cell.first_update_idx);
                self.add_vector(node, &devices, policy, first, &cell.gamma_vec)?;
            }
            CellConfig::ReferenceUnitCell(cell) => {
                let devices = Devices::pair(&cell.unit_cell_devices, path)?;
                let (policy, first) = (cell.update_policy, cell.first_update_idx);
                self.add_vector(node, &devices, policy, first, &cell.gamma_vec)?;
            }
            CellConfig::OneSidedUnitCell(cell) => self.add_one_sided(node, cell, path)?,
            CellConfig::TransferCompound(cell) => {
                self.add_transfer(node, &cell.common(), path, |_| Ok(Kind::Direct))?;
            }
            CellConfig::BufferedTransferCompound(cell) => {
                let kind = |_| Ok(Kind::Buffered(Buffer::new(cell, path)?));
                self.add_transfer(node, &cell.common(), path, kind)?;
            }
            CellConfig::ChoppedTransferCompound(cell) => {
                two_devices(&cell.unit_cell_devices, path)?;
                let kind = |steps| Ok(Kind::Chopped(Chopper::chopped(cell, path, steps)?));
                self.add_transfer(node, &cell.common(), path, kind)?;
            }
            CellConfig::DynamicTransferCompound(cell) => {
                two_devices(&cell.unit_cell_devices, path)?;
                let kind = |steps| Ok(Kind::Chopped(Chopper::dynamic(cell, path, steps)?));
                self.add_transfer(node, &cell.common(), path, kind)?;
            }
            CellConfig::MixedPrecisionCompound(cell) => {
                self.add_mixed(node, cell, path, sizes[0])?;
            }
        }
        Ok(node)
    }

    /// Adds devices, each with a weight matrix of its own but the last with that of the cell if it is
    /// `hidden`.
    fn add_members(
        &mut self,
        node: usize,
        devices: &Devices<'_>,
        hidden: bool,
    ) -> Result<Vec<usize>> {
        let count = devices.configs.len();
        let mut members = Vec::with_capacity(count);
        for (at, config) in devices.configs.iter().enumerate() {
            let is_visible = hidden && at + 1 == count;
            let matrix = if is_visible { self.nodes[node].matrix } else { self.add_matrix() };
            let path = format!("{}.unit_cell_devices[{}]", devices.path, at.min(devices.given - 1));
            members.push(self.add_crosspoint(config, &path, node, matrix)?);
        }
        Ok(members)
    }

    fn mean(&self, members: &[usize], value: impl Fn(&Node) -> f64) -> f64 {
        let sum: f64 = members.iter().map(|member| value(&self.nodes[*member])).sum();
        sum / members.len() as f64
    }

    /// Completes a cell whose steps are the mean of those of its members.
    fn complete(&mut self, node: usize, members: Vec<usize>, gamma: Vec<f32>, rule: Rule) {
        self.nodes[node].granularity = self.mean(&members, |member| member.granularity);
        self.nodes[node].states = self.mean(&members, |member| member.states);
        self.nodes[node].content = Content::Cell { members, gamma, rule };
    }

    fn add_vector(
        &mut self,
        node: usize,
        devices: &Devices<'_>,
        policy: VectorUnitCellUpdatePolicy,
        first: i64,
        gamma_vec: &[f64],
    ) -> Result<()> {
        let count = devices.configs.len();
        let (vector, gamma) = Vector::new(devices.path, policy, first, gamma_vec, count)?;
        let members = self.add_members(node, devices, false)?;
        self.complete(node, members, gamma, Rule::Vector(vector));
        Ok(())
    }

    fn add_one_sided(&mut self, node: usize, cell: &OneSidedUnitCell, path: &str) -> Result<()> {
        let mut devices = Devices::pair(&cell.unit_cell_devices, path)?;
        let why = format!("expected 1 or 2 devices, got {}", cell.unit_cell_devices.len());
        require(cell.unit_cell_devices.len() <= 2, path, "unit_cell_devices", why)?;
        let pair: Vec<&DeviceConfig> = devices.configs.iter().filter_map(|c| device(c)).collect();
        let &[minus, plus] = &pair[..] else {
            let why = "must be single devices: pulses of one direction are theirs";
            return Err(Error::config(format!("{path}.unit_cell_devices"), why));
        };
        let why = format!("must be of one kind, got {} and {}", minus.name(), plus.name());
        require(minus.name() == plus.name(), path, "unit_cell_devices", why)?;
        if cell.copy_inverted {
            Mirror::check(minus, path)?;
            devices.configs[1] = devices.configs[0];
        }
        let members = self.add_members(node, &devices, false)?;
        let leaves = [members[0], members[1]].map(|member| self.first_leaf(member));
        let w_max = leaves.map(|leaf| self.w_max(leaf));
        let rule = OneSided::new(cell, path, w_max, [self.d_size, self.x_size])?;
        self.check_update(&cell.refresh_update, &format!("{path}.refresh_update"))?;
        self.leaves[leaves[0]].turn = Turn::OnlyDownAsUp;
        self.leaves[leaves[1]].turn = Turn::OnlyUp;
        self.leaves[leaves[1]].mirror = cell.copy_inverted.then(|| Mirror::of(leaves[0]));
        self.complete(node, members, vec![-1.0, 1.0], Rule::OneSided(Box::new(rule)));
        Ok(())
    }

    fn add_transfer(
        &mut self,
        node: usize,
        cell: &Common<'_>,
        path: &str,
        kind: impl FnOnce([f64; 2]) -> Result<Kind>,
    ) -> Result<()> {
        let why = format!("needs 2 or more devices, got {}", cell.unit_cell_devices.len());
        require(cell.unit_cell_devices.len() >= 2, path, "unit_cell_devices", why)?;
        // All slow devices are copies of the first of them.
        let devices = Devices::new(cell.unit_cell_devices, path, 2)?;
        let count = devices.configs.len();
        let sizes = [self.d_size, self.x_size];
        // Whether the last device is visible follows from the weights in the sum alone.
        let shape = Transfer::new(cell, path, count, Kind::Direct, sizes)?;
        let members = self.add_members(node, &devices, shape.hidden)?;
        let steps = [members[0], members[1]].map(|member| self.nodes[member].granularity);
        let transfer = Transfer::new(cell, path, count, kind(steps)?, sizes)?;
        self.check_update(&transfer.write, &format!("{path}.transfer_update"))?;
        let into_cells = members[1..].iter().any(|member| !self.members(*member).is_empty());
        let why = "exact writes reach single devices only; use a type with pulses";
        let is_pulsed = transfer.write.pulse_type.has_trains();
        require(is_pulsed || !into_cells, path, "transfer_update.pulse_type", why)?;
        let (granularity, states) = (steps[0], self.nodes[members[0]].states);
        self.complete(node, members, transfer.gamma.clone(), Rule::Transfer(Box::new(transfer)));
        // Updates reach the first device only.
        (self.nodes[node].granularity, self.nodes[node].states) = (granularity, states);
        Ok(())
    }

    fn add_mixed(
        &mut self,
        node: usize,
        cell: &MixedPrecisionCompound,
        path: &str,
        d_size: usize,
    ) -> Result<()> {
        let path_of_device = format!("{path}.device");
        let matrix = self.nodes[node].matrix;
        let member = self.add_crosspoint(&cell.device, &path_of_device, node, matrix)?;
        let granularity = self.nodes[member].granularity;
        let rule = Mixed::new(cell, path, &self.update, granularity, d_size)?;
        let is_cell = !self.members(member).is_empty();
        let why = "exact writes reach single devices only; use a type with pulses";
        require(rule.is_pulsed() || !is_cell, "update", "pulse_type", why)?;
        self.complete(node, vec![member], vec![1.0], Rule::Mixed(Box::new(rule)));
        Ok(())
    }
}

/// The devices of a cell.
struct Devices<'a> {
    configs: Vec<&'a Crosspoint>,
    path: &'a str,
    /// How many of them have a configuration of their own.
    given: usize,
}

impl<'a> Devices<'a> {
    /// As many as are given, with copies of the last of the first `own` behind these.
    fn new(given: &'a [Crosspoint], path: &'a str, own: usize) -> Result<Self> {
        require(!given.is_empty(), path, "unit_cell_devices", "needs devices, got none")?;
        let configs = (0..given.len()).map(|at| &given[at.min(own - 1)]).collect();
        Ok(Self { configs, path, given: own })
    }

    /// The first two; a single one is used for both.
    fn pair(given: &'a [Crosspoint], path: &'a str) -> Result<Self> {
        let all = Self::new(given, path, given.len())?;
        let own = given.len().min(2);
        Ok(Self { configs: vec![&given[0], &given[own - 1]], given: own, ..all })
    }
}

fn device(config: &Crosspoint) -> Option<&DeviceConfig> {
    match config {
        Crosspoint::Device(device) => Some(device),
        Crosspoint::Cell(_) => None,
    }
}

fn two_devices(given: &[Crosspoint], path: &str) -> Result<()> {
    let why = format!("needs exactly 2 devices, got {}", given.len());
    require(given.len() == 2, path, "unit_cell_devices", why)
}

/// Number of states between the configured bounds.
fn states(pulsed: Option<&PulsedParameters>, granularity: f64) -> f64 {
    pulsed.map_or(0.0, |pulsed| (pulsed.w_max - pulsed.w_min) / granularity)
}
