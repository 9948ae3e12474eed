//! What the pulses of a segment do to a weight on which the steps depend.
//!
//! Near a weight `z` a pulse up moves `w` to `w + f(w) + g(w) xi`, a pulse down likewise with other
//! `f` and `g`. Composed, `u` pulses up and `d` down are the flow over unit time of the field
//!
//! ```text
//! F = u L(f_up) + d L(f_down) + (p - u d / 2) (f_up f_down' - f_down f_up')
//! ```
//!
//! up to third order in the relative steps (Magnus expansion):
//! `L(f) = f ln(1 + f') / f' + f^2 f'' / 12` is the field whose flow is one pulse, and `p` counts the pairs of pulses of which that up comes first.
//! With the fields expanded to second order around the middle `z` of the path, the mean weight
//! follows in closed form; pulses of one direction and linear steps are exact. The noise of a
//! segment has the variance `v = sum g^2`, each term carried on by the pulses that follow, and the
//! third central moment `t`, as noise changes the noise of later pulses; the weight is drawn as
//! `m + s xi + t / (6 v) (xi^2 - 1)`, `s^2 = v`.
//!
//! A segment is too long for that where the path comes within `MARGIN` standard deviations of a
//! bound or `KINK_MARGIN` of a kink of the steps, where the relative steps add up to more than `MAX_CHANGE`, which
//! the series allow, where both directions add up to so much that their third order counts
//! (`MAX_ORDER` keeps it below 4 % of the noise of the segment for the worst order of pulses, ten
//! times less for pulses in random order), where `t` or what follows it matter (`MAX_SPREAD` keeps
//! the excess kurtosis that is left out below 0.05), or where the steps bend (`MAX_BEND` keeps the
//! fourth order of the expansion below 1e-5 of a step, `MAX_DETOUR` the effect of detours from a
//! straight path below 7e-4 of it).

mod limits;
pub(crate) mod mixed;
pub(crate) mod one_way;
