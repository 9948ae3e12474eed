//! One product on both processors.

use mho_core::config::IoParameters;
use mho_core::gpu::{GpuTile, Pick, Product};
use mho_core::mvm::{Direction, Lines, Mvm, Request};
use mho_core::{Key, TileConfig, TileSpec};

use super::values;

fn line<'a>(lines: &'a [(&'static str, Vec<f32>)], name: &str) -> &'a [f32] {
    lines.iter().find(|(key, _)| *key == name).map_or(&[], |(_, values)| values)
}

fn borrow<'a>(lines: &'a [(&'static str, Vec<f32>)]) -> Lines<'a> {
    Lines {
        out_noise_values: line(lines, "out_noise_values"),
        v_offset: line(lines, "v_offset"),
        w_asymmetry: line(lines, "w_asymmetry"),
        out_nonlinearity: line(lines, "out_nonlinearity"),
        out_nonlinearity_factor: line(lines, "out_nonlinearity_factor")[0],
    }
}

/// One product on both processors.
pub(super) struct Case {
    pub(super) io: IoParameters,
    pub(super) direction: Direction,
    pub(super) sizes: [usize; 3],
    pub(super) bias: Option<f32>,
    pub(super) scale: f32,
}

pub(super) struct Outcome {
    pub(super) host: Vec<f32>,
    pub(super) gpu: Vec<f32>,
    pub(super) host_mask: Vec<u8>,
    pub(super) gpu_mask: Vec<u8>,
    pub(super) running: [f32; 2],
}

impl Case {
    pub(super) fn new(io: IoParameters, direction: Direction, sizes: [usize; 3]) -> Self {
        Self { io, direction, sizes, bias: None, scale: 1.0 }
    }

    pub(super) fn run(&self, pick: &Pick) -> Outcome {
        let [samples, d_size, x_size] = self.sizes;
        let weights: Vec<_> = values(d_size * x_size, 1).iter().map(|w| 0.5 * w).collect();
        let mvm = Mvm::new(&self.io, self.direction, d_size, x_size).unwrap();
        let lines = mvm.construct_lines(7).unwrap();
        let given = mvm.n_in() - usize::from(self.bias.is_some());
        let mut x = values(samples * given, 2);
        x.iter_mut().for_each(|x| *x *= self.scale);
        // One zero row, if there are several.
        if samples > 2 {
            x[given..2 * given].fill(0.0);
        }
        let count = samples * mvm.n_out();
        let key = Key::new(0x1234_5678_9abc, 0x2_0000_0005);
        let mut outcome = Outcome {
            host: vec![0.0; count],
            gpu: vec![0.0; count],
            host_mask: vec![9; count],
            gpu_mask: vec![9; count],
            running: [-1.0; 2],
        };
        let [host_running, gpu_running] = &mut outcome.running;
        mvm.run(Request::new(&x, &weights, &mut outcome.host, borrow(&lines), key).with(|u| {
            u.bias = self.bias;
            u.running = Some(host_running);
            u.mask = Some(&mut outcome.host_mask);
        }))
        .unwrap();
        let config = TileConfig::default().with(|p| {
            p.forward = self.io.clone();
            p.backward = self.io.clone();
        });
        let spec = TileSpec::new(config, d_size, x_size, self.bias.is_some()).unwrap();
        let mut tile = GpuTile::new(spec, pick).unwrap();
        tile.set_weights(&weights).unwrap();
        tile.set_lines(self.direction, &borrow(&lines)).unwrap();
        // Twice: the second call finds used buffers.
        for _ in 0..2 {
            *gpu_running = -1.0;
            outcome.gpu.fill(7.0);
            tile.product(Product {
                direction: self.direction,
                x: &x,
                bias: self.bias,
                drop_last: false,
                y: &mut outcome.gpu,
                key,
                is_test: false,
                running: Some(gpu_running),
                mask: Some(&mut outcome.gpu_mask),
            })
            .unwrap();
        }
        outcome
    }

    /// Number of outputs that differ by more than rounding: sums of `n_in` products, each rounded
    /// to half an ulp, in another order. Such an output may be one level of the ADC off, because its
    /// current lies between two levels up to that rounding.
    pub(super) fn check(&self, name: &str, pick: &Pick) {
        let outcome = self.run(pick);
        let n_in = match self.direction {
            Direction::Forward => self.sizes[2],
            Direction::Backward => self.sizes[1],
        };
        let largest = outcome.host.iter().fold(1e-3f32, |max, y| max.max(y.abs()));
        let rounding = largest * f32::EPSILON * (16.0 + n_in as f32 / 4.0);
        let mut off = 0;
        let mut worst = 0.0f32;
        for (host, gpu) in outcome.host.iter().zip(&outcome.gpu) {
            let difference = (host - gpu).abs();
            if difference.is_nan() || difference > rounding {
                off += 1;
                worst = worst.max(if difference.is_nan() { f32::INFINITY } else { difference });
            }
        }
        let count = outcome.host.len();
        println!("{name}: {off} of {count} off, worst {worst:.2e}, rounding {rounding:.2e}");
        let masks = outcome.host_mask.iter().zip(&outcome.gpu_mask).filter(|(a, b)| a != b).count();
        assert!(masks <= off, "{name}: {masks} masks differ");
        assert_eq!(outcome.running[0], outcome.running[1], "{name}: running average");
        assert!(off <= self.allowed(count), "{name}: {off} of {count} outputs differ, {worst}");
    }

    /// Outputs that may lie between two levels: the distance of two levels is at least 1e4 times the
    /// rounding of a sum, so one in 1000 is generous; none without a converter.
    pub(super) fn allowed(&self, count: usize) -> usize {
        let quantised = !self.io.is_perfect && self.io.out_res > 0.0 && self.io.out_bound > 0.0;
        if quantised { 2 + count / 1000 } else { 0 }
    }
}
