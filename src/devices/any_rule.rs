//! The rule of any device behind a pointer, for code that all of them share.

use std::fmt::Debug;

use super::rule::{Branch, CellRef, Reach, Rule, Shape};

/// A rule that is known at run time only. It does what the rule behind it does, to the bit, by a call for
/// each cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnyRule<'a>(&'a dyn Callable);

impl<'a> AnyRule<'a> {
    pub(crate) fn new<R: Rule>(rule: &'a R) -> Self {
        Self(rule)
    }
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        /// The methods of [`Rule`], of a rule that is pointed to.
        trait Callable: Debug + Send + Sync {
            $(fn $name(&self, $($argument: $type),*) -> $result;)*
        }

        impl<R: Rule> Callable for R {
            $(fn $name(&self, $($argument: $type),*) -> $result {
                Rule::$name(*self, $($argument),*)
            })*
        }

        impl Rule for AnyRule<'_> {
            const SHARED: bool = true;

            $(#[inline(always)]
            fn $name(self, $($argument: $type),*) -> $result {
                self.0.$name($($argument),*)
            })*
        }
    };
}

calls! {
    shape() -> Shape;
    prepare(cell: CellRef) -> CellRef;
    mean(w: f32, up: bool, cell: CellRef) -> f32;
    noise(mean: f32, w: f32, up: bool, cell: CellRef) -> f32;
    place(w: f32, cell: CellRef) -> u32;
    look_up(place: u32) -> [f32; 4];
    localize(w: f32, cell: CellRef, found: [f32; 4]) -> CellRef;
    branch(w: f32, up: bool, cell: CellRef) -> Branch;
    smooth(w: f32, cell: CellRef) -> [f32; 2];
    std() -> f32;
    step(w: f32, up: bool, cell: CellRef, xi: f32) -> f32;
    flow(w: f32, up: bool, u: f32, cell: CellRef) -> f32;
    advance(from: Reach, up: bool, cell: CellRef, found: [f32; 4]) -> Reach;
}
