//! The kernels: their parts and buffers, and the pipelines made of them.

/// How a kernel uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Parameters, at an offset that each dispatch chooses.
    Uniform,
    /// Read only.
    Read,
    /// Read and written.
    Write,
}

use Access::{Read, Uniform, Write};

/// One kernel: WGSL files in the order of composition, and its bindings.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub name: &'static str,
    pub parts: &'static [&'static str],
    pub access: &'static [Access],
}

/// Text of a file under `shaders/`.
macro_rules! wgsl {
    ($name:literal) => {
        include_str!(concat!("shaders/", $name, ".wgsl"))
    };
}

pub(crate) const RANDOM: &str = wgsl!("threefry");
const NORMAL: &str = wgsl!("normal");
pub(crate) const CONVERTER: &str = wgsl!("converter");
const MVM: &str = wgsl!("mvm");
const PRODUCT: &str = wgsl!("product");

/// Draws of the generator.
pub(crate) static DRAWS: Kernel =
    Kernel { name: "draws", parts: &[RANDOM, NORMAL, wgsl!("draws")], access: &[Uniform, Write] };

/// Lists the rows of the next pass.
pub(crate) static SELECT: Kernel =
    Kernel { name: "select", parts: &[RANDOM, MVM, wgsl!("select")], access: &[Uniform, Write] };

/// Noise management and input stage.
pub(crate) static INPUT: Kernel = Kernel {
    name: "input",
    parts: &[RANDOM, NORMAL, CONVERTER, MVM, wgsl!("input")],
    access: &[Uniform, Read, Write, Write, Write],
};

const PRODUCT_ACCESS: &[Access] = &[Uniform, Read, Read, Read, Read, Write];

/// Product in tiles of 16 rows.
pub(crate) static TILE_16: Kernel = Kernel {
    name: "tile_16",
    parts: &[RANDOM, MVM, PRODUCT, wgsl!("tile_16")],
    access: PRODUCT_ACCESS,
};

/// Product in tiles of 64 rows.
pub(crate) static TILE_64: Kernel = Kernel {
    name: "tile_64",
    parts: &[RANDOM, MVM, PRODUCT, wgsl!("tile_64")],
    access: PRODUCT_ACCESS,
};

/// Product in tiles of 128 rows.
pub(crate) static TILE_128: Kernel = Kernel {
    name: "tile_128",
    parts: &[RANDOM, MVM, PRODUCT, wgsl!("tile_128")],
    access: PRODUCT_ACCESS,
};

/// Array and output stage.
pub(crate) static OUTPUT: Kernel = Kernel {
    name: "output",
    parts: &[RANDOM, NORMAL, CONVERTER, MVM, wgsl!("output")],
    access: &[Uniform, Read, Read, Read, Write, Write],
};

const CELLS: &str = wgsl!("cells");
const PLANES: &str = wgsl!("planes");

/// Draws stochastic pulse trains.
pub(crate) static TRAINS: Kernel = Kernel {
    name: "trains",
    parts: &[RANDOM, NORMAL, CELLS, wgsl!("trains")],
    access: &[Uniform, Read, Read, Write],
};

/// Applies pulses; the response of a device comes before its last part.
pub(crate) static PULSE: Kernel = Kernel {
    name: "pulse",
    parts: &[RANDOM, NORMAL, CELLS, PLANES, wgsl!("pulse")],
    access: &[Uniform, Read, Read, Read, Read, Write, Write, Write],
};

/// Applies exact steps.
pub(crate) static EXACT: Kernel = Kernel {
    name: "exact",
    parts: &[RANDOM, NORMAL, CELLS, PLANES, wgsl!("exact")],
    access: &[Uniform, Read, Read, Read, Write, Write, Read],
};

/// Lets weights follow infinitely fine steps; the response of a device comes before its last part.
pub(crate) static FLOW: Kernel = Kernel {
    name: "flow",
    parts: &[RANDOM, NORMAL, CELLS, PLANES, wgsl!("flow")],
    access: &[Uniform, Read, Read, Read, Write, Write, Read],
};

/// Operations on the weights other than updates.
pub(crate) static LIFECYCLE: Kernel = Kernel {
    name: "lifecycle",
    parts: &[RANDOM, NORMAL, CELLS, PLANES, wgsl!("lifecycle")],
    access: &[Uniform, Read, Write, Write, Read],
};

/// A compiled kernel and the layout of its bindings.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

impl Pipeline {
    /// Compiles `source`, whose parameters are in a buffer of the given type; failures go to the
    /// error scopes of the device.
    pub fn new(
        device: &wgpu::Device,
        kernel: &Kernel,
        source: &str,
        parameters: wgpu::BufferBindingType,
    ) -> Self {
        let label = Some(kernel.name);
        let entries: Vec<_> =
            kernel.access.iter().enumerate().map(|at| entry(at, parameters)).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = module(device, kernel.name, source);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            // Every kernel writes its workgroup memory before it reads it.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        Self { pipeline, layout }
    }
}

/// The module of `source`, with checks of bounds but without counters that end every loop.
#[allow(
    unsafe_code,
    reason = "the counters keep drivers from unrolling, which costs half the speed"
)]
fn module(device: &wgpu::Device, name: &str, source: &str) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(name),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    };
    let checks = wgpu::ShaderRuntimeChecks {
        force_loop_bounding: false,
        ..wgpu::ShaderRuntimeChecks::checked()
    };
    // SAFETY: the sources are those of this crate. Each of their loops counts up or down by a
    // constant to a limit that the loop does not change, so it ends.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

fn entry(
    (at, access): (usize, &Access),
    parameters: wgpu::BufferBindingType,
) -> wgpu::BindGroupLayoutEntry {
    let ty = match access {
        Uniform => parameters,
        Read => wgpu::BufferBindingType::Storage { read_only: true },
        Write => wgpu::BufferBindingType::Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding: at as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: *access == Uniform,
            min_binding_size: None,
        },
        count: None,
    }
}
