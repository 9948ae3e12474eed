//! Cost of the generator per draw, compiled for the vector instructions of this machine.

use criterion::{Criterion, Throughput};
use mho_core::Key;
use mho_core::rng::{Draw, Stream};

const COLUMNS: usize = 1024;

struct Fill<'a, T, F: Fn(&Draw, &mut [T])>(&'a mut [T], F);

impl<T, F: Fn(&Draw, &mut [T])> pulp::WithSimd for Fill<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _simd: S) {
        (self.1)(&Key::new(1, 2).stream(Stream::OutputNoise), self.0);
    }
}

pub fn benches(criterion: &mut Criterion) {
    let arch = pulp::Arch::new();
    let mut group = criterion.benchmark_group("rng");
    group.throughput(Throughput::Elements(COLUMNS as u64));
    let mut words = vec![0u32; COLUMNS];
    group.bench_function("words", |bencher| {
        bencher.iter(|| {
            arch.dispatch(Fill(
                &mut words,
                #[inline(always)]
                |draw, out| draw.fill_words(0, 0, out),
            ));
        });
    });
    let mut normals = vec![0f32; COLUMNS];
    group.bench_function("normals", |bencher| {
        bencher.iter(|| {
            arch.dispatch(Fill(
                &mut normals,
                #[inline(always)]
                |draw, out| {
                    draw.fill_normal(0, 0, out);
                },
            ));
        });
    });
    group.finish();
}
