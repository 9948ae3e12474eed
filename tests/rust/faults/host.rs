//! The kernels of the processor.

use mho_core::config::{IoParameters, NoiseManagement};
use mho_core::devices::{Cells, DriftState};
use mho_core::hooks::panic_in_block;
use mho_core::mvm::{Direction, Lines, Mvm, Request};
use mho_core::pulse::{self, Update};
use mho_core::{Error, Key, par};

use crate::{Work, alone, bits, devices, interrupt_at, refs, values};

/// Rows and columns: several blocks of rows and of columns, and some that are not full.
const SIZES: [usize; 2] = [21, 70];
const CELLS: usize = SIZES[0] * SIZES[1];

/// What goes wrong at its `nth` opportunity; 0 is none.
pub fn arm(fault: Fault, nth: usize) {
    match fault {
        Fault::Panic => panic_in_block(nth),
        Fault::Interrupt => interrupt_at(nth),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    Panic,
    Interrupt,
}

#[derive(Debug, Clone)]
struct State {
    weights: Vec<f32>,
    persistent: Option<Vec<f32>>,
    counts: Vec<i64>,
    clock: f64,
    start: Vec<f64>,
    written: Vec<f32>,
    previous: Vec<f32>,
}

/// All of a state, bit for bit.
#[derive(Debug, PartialEq)]
struct Bits([Vec<u32>; 4], Vec<i64>, Vec<u64>);

impl State {
    /// Weights that were written and have drifted once.
    fn new(work: &Work) -> Self {
        let mut state = Self {
            weights: work.weights.clone(),
            persistent: work.spec.device().write_noise().map(|_| work.weights.clone()),
            counts: (0..2 * CELLS as i64).collect(),
            clock: 0.0,
            start: vec![0.0; CELLS],
            written: work.weights.clone(),
            previous: work.weights.clone(),
        };
        state.drift(work);
        state
    }

    fn drift(&mut self, work: &Work) {
        let device = work.spec.device();
        let parameters = device.config().drift().unwrap();
        let Self { weights, persistent, clock, start, written, previous, .. } = self;
        let planes = refs(&work.planes);
        let cells = Cells { weights, persistent: persistent.as_deref_mut(), planes: &planes };
        let drift = DriftState { clock, start, written, previous };
        device.drift(cells, &parameters, drift, 3.0, Key::new(9, 7)).unwrap();
    }

    fn update(&mut self, work: &Work) -> Result<(), Error> {
        pulse::update(
            Update::new(
                work.spec.device(),
                &mut self.weights,
                &refs(&work.planes),
                [&work.x, &work.d],
                work.learning_rate,
                work.key,
            )
            .with(|u| {
                u.persistent = self.persistent.as_deref_mut();
                u.counts = Some(&mut self.counts);
            }),
        )
    }

    fn bits(&self) -> Bits {
        let persistent = self.persistent.as_deref().unwrap_or(&[]);
        let weights = [&self.weights, persistent, &self.written, &self.previous].map(bits);
        let times = self.start.iter().chain([&self.clock]).map(|time| time.to_bits()).collect();
        Bits(weights, self.counts.clone(), times)
    }

    /// What it is after the update and a drift.
    fn after(mut self, work: &Work) -> Bits {
        self.update(work).unwrap();
        self.drift(work);
        self.bits()
    }
}

#[test]
fn failed_updates_change_nothing() {
    let _alone = alone();
    silence_the_hook();
    // In the calling thread, and in others.
    for threads in [1, 2] {
        par::set_num_threads(threads).unwrap();
        // Infinitely fine steps know one way only.
        let fine = devices(0.1).into_iter().map(|mut device| {
            device.pulsed_mut().unwrap().dw_min = 0.0;
            (device, 1)
        });
        for (device, ways) in devices(0.1).into_iter().map(|device| (device, 6)).chain(fine) {
            for work in Work::all(&device, SIZES, [3, 300]).into_iter().take(ways) {
                let before = State::new(&work);
                let expected = before.clone().after(&work);
                assert!(expected != before.bits(), "{}", work.name);
                for fault in [Fault::Panic, Fault::Interrupt] {
                    let failures = failures(&work, &before, &expected, fault);
                    // The blocks of rows of one chunk at least, and one check.
                    let least = if fault == Fault::Panic { 2 } else { 1 };
                    assert!(failures >= least, "{}: {failures} {fault:?}", work.name);
                }
            }
        }
    }
}

/// Panics of the hook are no news; others are.
pub fn silence_the_hook() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&"test hook") {
            print(info);
        }
    }));
}

/// Lets an update fail at the first opportunity, at the second, and so on; their number.
fn failures(work: &Work, before: &State, expected: &Bits, fault: Fault) -> usize {
    let untouched = before.bits();
    for nth in 1.. {
        let mut state = before.clone();
        arm(fault, nth);
        let result = state.update(work);
        arm(fault, 0);
        match (fault, result) {
            (_, Ok(())) => {
                state.drift(work);
                assert!(state.bits() == *expected, "{}: {fault:?}", work.name);
                return nth - 1;
            }
            (Fault::Panic, Err(Error::Panic(_))) | (Fault::Interrupt, Err(Error::Interrupted)) => {}
            (_, Err(error)) => panic!("{}: {error}", work.name),
        }
        assert!(state.bits() == untouched, "{}: {fault:?} {nth} left its traces", work.name);
        assert!(state.after(work) == *expected, "{}: again after {fault:?} {nth}", work.name);
    }
    unreachable!("a call has an end")
}

#[test]
fn interrupted_products_change_nothing() {
    let _alone = alone();
    let io = IoParameters::default().with(|p| p.noise_management = NoiseManagement::AverageAbsMax);
    let (samples, d_size, x_size) = (6000, 40, 60);
    let mvm = Mvm::new(&io, Direction::Forward, d_size, x_size).unwrap();
    let (weights, x) = (values(d_size * x_size, 1), values(samples * x_size, 2));
    let product = |running: &mut f32| {
        let mut y = vec![0.0; samples * d_size];
        let request = Request::new(&x, &weights, &mut y, Lines::default(), Key::new(3, 1))
            .with(|u| u.running = Some(running));
        mvm.run(request).map(|()| bits(&y))
    };
    let mut running = 0.7;
    let expected = product(&mut running).unwrap();
    let mut checks = 0;
    for nth in 1.. {
        let mut found = 0.7;
        arm(Fault::Interrupt, nth);
        let result = product(&mut found);
        arm(Fault::Interrupt, 0);
        let Err(error) = result else { break };
        assert_eq!((error, found), (Error::Interrupted, 0.7));
        assert!(product(&mut found).unwrap() == expected && found == running);
        checks = nth;
    }
    assert!(checks > 1, "{checks} checks");
}
