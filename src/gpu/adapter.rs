//! Adapters of this machine and the choice of one.

use crate::error::{Error, Result};

/// What kind of hardware an adapter is, in the order in which one is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AdapterKind {
    /// A card with memory of its own.
    Discrete,
    /// Part of the processor.
    Integrated,
    /// Of a virtual machine.
    Virtual,
    /// Unknown.
    Other,
    /// Software on the processor: only used when it is named.
    Software,
}

impl AdapterKind {
    /// Name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        }
    }
}

/// One adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterSummary {
    /// Name of the hardware.
    pub name: String,
    /// Kind of the hardware.
    pub kind: AdapterKind,
    /// Name and version of the driver.
    pub driver: String,
    /// Programming interface, for example `vulkan`.
    pub backend: String,
}

impl AdapterSummary {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Other => AdapterKind::Other,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
        };
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
        Self { name: info.name, kind, driver, backend: info.backend.to_string() }
    }
}

/// All adapters, best first; their positions are the numbers by which one can be chosen. Takes
/// about 0.1 s, for every driver is loaded.
#[must_use]
pub fn adapters() -> Vec<AdapterSummary> {
    found().into_iter().map(|(summary, _)| summary).collect()
}

fn found() -> Vec<(AdapterSummary, wgpu::Adapter)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let mut found: Vec<_> =
        adapters.into_iter().map(|adapter| (AdapterSummary::of(&adapter), adapter)).collect();
    found.sort_by_key(|(summary, _)| summary.kind);
    found
}

/// The adapter with number or part of a name `wanted`; without one the best that is not software.
pub(super) fn choose(wanted: Option<&str>) -> Result<(AdapterSummary, wgpu::Adapter)> {
    let mut found = found();
    let summaries: Vec<_> = found.iter().map(|(summary, _)| summary.clone()).collect();
    match position(&summaries, wanted) {
        Some(at) => Ok(found.swap_remove(at)),
        None => Err(none_found(&summaries, wanted)),
    }
}

fn position(summaries: &[AdapterSummary], wanted: Option<&str>) -> Option<usize> {
    let Some(wanted) = wanted else {
        return summaries.iter().position(|summary| summary.kind != AdapterKind::Software);
    };
    if let Ok(number) = wanted.parse::<usize>() {
        return (number < summaries.len()).then_some(number);
    }
    let wanted = wanted.to_lowercase();
    summaries.iter().position(|summary| summary.name.to_lowercase().contains(&wanted))
}

fn none_found(summaries: &[AdapterSummary], wanted: Option<&str>) -> Error {
    let list: Vec<_> = summaries
        .iter()
        .enumerate()
        .map(|(at, s)| format!("{at}: {} ({:?}, {})", s.name, s.kind, s.backend))
        .collect();
    let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let cause = match wanted {
        Some(wanted) => format!("no adapter matches {wanted:?}; found {list}"),
        None => format!("no hardware adapter; found {list}"),
    };
    let remedy = "install a Vulkan, Metal or Direct3D 12 driver, or name an adapter with the \
                  variable MHO_GPU (its number or a part of its name); software adapters are used \
                  only when named";
    Error::backend(cause, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(name: &str, kind: AdapterKind) -> AdapterSummary {
        AdapterSummary {
            name: name.to_owned(),
            kind,
            driver: String::new(),
            backend: "vulkan".to_owned(),
        }
    }

    #[test]
    fn software_is_used_only_when_named() {
        let software = [summary("llvmpipe (LLVM 15)", AdapterKind::Software)];
        assert_eq!(position(&software, None), None);
        assert_eq!(position(&software, Some("LLVMpipe")), Some(0));
        assert_eq!(position(&software, Some("0")), Some(0));
        assert_eq!(position(&software, Some("1")), None);
        let both = [summary("Card", AdapterKind::Discrete), software[0].clone()];
        assert_eq!(position(&both, None), Some(0));
        assert!(none_found(&both, Some("x")).to_string().contains("0: Card"));
    }

    #[test]
    fn discrete_comes_first() {
        let mut kinds = [AdapterKind::Software, AdapterKind::Integrated, AdapterKind::Discrete];
        kinds.sort();
        assert_eq!(kinds[0], AdapterKind::Discrete);
        assert_eq!(kinds[2], AdapterKind::Software);
    }
}
