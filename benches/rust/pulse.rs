//! The pulsed update of a 512 x 512 tile with 128 samples.

use std::hint::black_box;

use criterion::Criterion;
use mho_core::UpdateParameters;
use mho_core::devices::{Device, DeviceConfig};
use mho_core::pulse::{self, Update};
use mho_core::rng::{Key, Stream};

const SIZE: usize = 512;
const BATCH: usize = 128;

/// Normal values, one row after another.
fn normals(rows: usize, block: u32, scale: f32) -> Vec<f32> {
    let draw = Key::new(3, 0).stream(Stream::Read);
    let mut out = vec![0.0; rows * SIZE];
    for (row, values) in out.chunks_mut(SIZE).enumerate() {
        draw.fill_normal(row as u32, block, values);
        values.iter_mut().for_each(|value| *value *= scale);
    }
    out
}

/// Long trains that saturate (`d` of order 1), and trains of a few slots (`d` of order 0.01), both
/// with learning rate 0.01. Weights start near zero each time; copying them takes about 0.05 ms.
pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update");
    for name in DeviceConfig::PULSED {
        let Some(config) = DeviceConfig::pulsed_default(name) else { continue };
        let Ok(device) = Device::new(&config, &UpdateParameters::default(), SIZE, SIZE, false)
        else {
            continue;
        };
        let planes = device.construct(1).unwrap();
        let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let mut start = normals(SIZE, 2, 0.05);
        device.clip(&mut start, &planes).unwrap();
        let x = normals(BATCH, 0, 1.0);
        for (regime, scale) in [("saturated", 1.0), ("small", 0.01)] {
            let d = normals(BATCH, 1, scale);
            let mut weights = start.clone();
            let mut call = 0;
            group.bench_function(format!("{name}/{regime}"), |bencher| {
                bencher.iter(|| {
                    weights.copy_from_slice(&start);
                    call += 1;
                    black_box(pulse::update(Update::new(
                        &device,
                        &mut weights,
                        &planes,
                        [&x, &d],
                        0.01,
                        Key::new(1, call),
                    )))
                });
            });
        }
    }
    group.finish();
}
