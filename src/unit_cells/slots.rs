//! Names, kinds and sizes of the state of a cell.

use super::mirror::Mirror;
use super::spec::{CellSpec, Content, Leaf, Rule};
use super::transfer::Kind as TransferKind;
use crate::mvm::OneLine;

/// An entry of the state of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Name, with the numbers of the devices that it belongs to behind it, as in `max_bound_0`.
    pub name: String,
    /// What it holds.
    pub kind: SlotKind,
    /// Number of values: those of all crosspoints, row-major, or of all lines, or a few.
    pub len: usize,
    pub(super) place: Place,
}

/// What an entry of the state holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SlotKind {
    /// A hidden parameter of a device at each crosspoint, `f32`, drawn at construction. Not stored where the
    /// configuration makes it equal everywhere; the value is given then.
    Parameter {
        /// The value at all crosspoints.
        constant: Option<f32>,
    },
    /// Weights at each crosspoint, `f32`.
    Weights,
    /// Digital values at each crosspoint, `f32`.
    Buffer,
    /// Frozen values of the lines of a read, `f32`, drawn at construction.
    Lines,
    /// Signs, 1 or -1, or switches, 0 or 1, one per line, `i8`.
    Signs,
    /// Counters, `i64`.
    Integers,
    /// Running values, `f64`.
    Reals,
}

/// Where the values of a slot go in a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Parameter { leaf: usize, number: usize },
    Matrix(usize),
    Persistent(usize),
    Buffer(usize),
    Lines { node: usize, name: &'static str },
    Updates(usize),
    Current(usize),
    NextLines,
    Sweeps,
    Row,
    Averages,
    CountLr,
    Signs(usize),
    Switched,
}

impl CellSpec {
    /// All of the state but the visible weights: hidden parameters and weights of the devices, in the order
    /// in which they are listed, then buffers, then what is no matrix.
    ///
    /// Where the weight of the cell is that of its last device, the visible weights are those of this
    /// device, which has no entry of its own.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        self.list_devices(0, "", &mut slots);
        self.list_buffers(&mut slots);
        self.list_counters(0, "", &mut slots);
        self.list_signs(&mut slots);
        slots
    }

    /// Name that the visible weights have as those of the last device, where the weight of the cell is that
    /// of this device.
    #[must_use]
    pub fn visible_name(&self) -> Option<String> {
        let last = self.members(0).len().checked_sub(1)?;
        self.transfer()?.hidden.then(|| format!("hidden_weights_{last}"))
    }

    pub(super) fn cells(&self) -> usize {
        self.d_size * self.x_size
    }

    fn list_devices(&self, node: usize, suffix: &str, slots: &mut Vec<Slot>) {
        let Content::Cell { members, rule, .. } = &self.nodes[node].content else {
            return self.list_device(node, suffix, slots);
        };
        for (at, member) in members.iter().enumerate() {
            let suffix = self.suffix(node, at, suffix);
            self.list_devices(*member, &suffix, slots);
            let matrix = self.nodes[*member].matrix;
            if matrix != self.nodes[node].matrix {
                let name = format!("hidden_weights{suffix}");
                slots.push(self.matrix(name, SlotKind::Weights, Place::Matrix(matrix)));
            }
        }
        let (read, prefix) = match rule {
            Rule::OneSided(rule) => (&rule.read, "refresh_forward"),
            Rule::Transfer(rule) => (&rule.read, "transfer_forward"),
            Rule::Vector(_) | Rule::Mixed(_) => return,
        };
        list_lines(node, read, prefix, suffix, slots);
    }

    /// Suffix of the names of a member. Mixed precision has one device, whose names stay.
    fn suffix(&self, node: usize, member: usize, suffix: &str) -> String {
        match self.nodes[node].content {
            Content::Cell { rule: Rule::Mixed(_), .. } => suffix.to_owned(),
            _ => format!("_{member}{suffix}"),
        }
    }

    /// Ending of the names of a leaf.
    pub(super) fn ending(&self, leaf: usize) -> String {
        let mut node = self.leaves[leaf].node;
        let mut ending = String::new();
        while let Some(parent) = self.nodes[node].parent {
            let at = self.members(parent).iter().position(|member| *member == node);
            ending.push_str(&self.suffix(parent, at.unwrap_or(0), ""));
            node = parent;
        }
        ending
    }

    fn list_device(&self, node: usize, suffix: &str, slots: &mut Vec<Slot>) {
        let Content::Device(leaf) = self.nodes[node].content else { return };
        let device = &self.leaves[leaf].device;
        for (number, name) in device.hidden_names().into_iter().enumerate() {
            let (kind, place) = if device.persistent_position() == Some(number) {
                (SlotKind::Weights, Place::Persistent(leaf))
            } else {
                let constant = self.constant(&self.leaves[leaf], number);
                (SlotKind::Parameter { constant }, Place::Parameter { leaf, number })
            };
            slots.push(self.matrix(format!("{name}{suffix}"), kind, place));
        }
    }

    /// Value of a hidden parameter that is equal everywhere.
    fn constant(&self, leaf: &Leaf, number: usize) -> Option<f32> {
        let names = leaf.device.hidden_names();
        let Some(mirror) = leaf.mirror else { return leaf.device.hidden_constant(names[number]) };
        let (from, sign) = Mirror::source(&leaf.device, number);
        let other = &self.leaves[mirror.of].device;
        other.hidden_constant(names[from]).map(|value| sign * value)
    }

    fn matrix(&self, name: String, kind: SlotKind, place: Place) -> Slot {
        Slot { name, kind, len: self.cells(), place }
    }

    fn list_buffers(&self, slots: &mut Vec<Slot>) {
        let mut names: Vec<String> = Vec::new();
        let Content::Cell { members, rule, .. } = &self.nodes[0].content else { return };
        match rule {
            Rule::Mixed(_) => names.push("hidden_weights_chi".to_owned()),
            Rule::Transfer(transfer) => match &transfer.kind {
                TransferKind::Direct => {}
                TransferKind::Chopped(chopper) if chopper.reference.is_some() => {
                    let own = ["buffered_FP_weight", "running_mean_weight", "past_mean_weight"];
                    names.extend(own.map(str::to_owned));
                }
                TransferKind::Buffered(_) | TransferKind::Chopped(_) => {
                    let stages = 0..members.len() - 1;
                    names.extend(stages.map(|stage| format!("buffered_FP_weight_{stage}")));
                }
            },
            Rule::Vector(_) | Rule::OneSided(_) => {}
        }
        for (number, name) in names.into_iter().enumerate() {
            slots.push(self.matrix(name, SlotKind::Buffer, Place::Buffer(number)));
        }
    }

    fn list_counters(&self, node: usize, suffix: &str, slots: &mut Vec<Slot>) {
        let Content::Cell { members, rule, .. } = &self.nodes[node].content else { return };
        for (at, member) in members.iter().enumerate() {
            self.list_counters(*member, &self.suffix(node, at, suffix), slots);
        }
        // The names of the device of mixed precision have no number, so the cell has another one.
        let is_mixed = matches!(rule, Rule::Mixed(_));
        let name = if is_mixed { "current_update_index" } else { "current_update_idx" };
        let name = format!("{name}{suffix}");
        slots.push(few(name, SlotKind::Integers, 1, Place::Updates(node)));
        match rule {
            Rule::Vector(_) => {
                let name = format!("current_device_idx{suffix}");
                slots.push(few(name, SlotKind::Integers, 1, Place::Current(node)));
            }
            Rule::Transfer(_) => {
                let name = "current_slice_indices".to_owned();
                slots.push(few(name, SlotKind::Integers, members.len(), Place::NextLines));
            }
            Rule::Mixed(_) => {
                let name = "current_row_index".to_owned();
                slots.push(few(name, SlotKind::Integers, 1, Place::Row));
            }
            Rule::OneSided(_) => {}
        }
    }

    /// What cells with choppers have more.
    fn list_signs(&self, slots: &mut Vec<Slot>) {
        let (Some(transfer), Some(chopper)) = (self.transfer(), self.chopper()) else { return };
        let lines = transfer.lines;
        let others = if transfer.columns { self.d_size } else { self.x_size };
        let mut add = |name: &str, kind, len, place| {
            slots.push(few(name.to_owned(), kind, len, place));
        };
        add("transfer_counter", SlotKind::Integers, 1, Place::Sweeps);
        add("input_error_averages", SlotKind::Reals, 2, Place::Averages);
        add("count_lr", SlotKind::Reals, 1, Place::CountLr);
        add("in_chopper", SlotKind::Signs, lines, Place::Signs(0));
        add("out_chopper", SlotKind::Signs, others, Place::Signs(1));
        if chopper.reference.is_some() {
            add("in_chopper_switched", SlotKind::Signs, lines, Place::Switched);
        }
    }
}

fn few(name: String, kind: SlotKind, len: usize, place: Place) -> Slot {
    Slot { name, kind, len, place }
}

/// Adds the frozen values of the reads of a node.
fn list_lines(node: usize, read: &OneLine, prefix: &str, suffix: &str, slots: &mut Vec<Slot>) {
    for (name, len) in read.frozen() {
        let place = Place::Lines { node, name };
        slots.push(few(format!("{prefix}_{name}{suffix}"), SlotKind::Lines, len, place));
    }
}
