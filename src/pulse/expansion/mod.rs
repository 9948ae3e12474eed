//! What several pulses do to a weight on which the steps depend, and how far that holds.
//!
//! Near a weight `z` a pulse up moves `w` to `w + f(w) + g(w) xi`, a pulse down likewise with other
//! `f` and `g`. Composed, `u` pulses up and `d` down are the flow over unit time of the field
//!
//! ```text
//! F = u L(f_up) + d L(f_down) + (p - u d / 2) (f_up f_down' - f_down f_up')
//! ```
//!
//! up to third order in the relative steps `f'`, where `p` counts the pairs of pulses of which that
//! up comes first: the Magnus expansion (W. Magnus, "On the exponential solution of differential
//! equations for a linear operator", Commun. Pure Appl. Math. 7, 649, 1954; S. Blanes, F. Casas,
//! J. A. Oteo, J. Ros, "The Magnus expansion and some of its applications", Phys. Rep. 470, 151,
//! 2009) for the piecewise constant field that pulses are.
//!
//! # One pulse
//!
//! `L(f)` is the field whose flow over unit time is one pulse. With `L = f + a + b`, of second and
//! third order, the flow `w + L + L L' / 2 + (L L'^2 + L^2 L'') / 6` equals `w + f` for
//! `a = -f f' / 2` and `b = f f'^2 / 3 + f^2 f'' / 12`. The terms without `f''` are the beginning of
//! `f ln(1 + f') / f'`, which is exact for linear steps: `L(f) = f ln(1 + f') / f' + f^2 f'' / 12`.
//!
//! # Several pulses
//!
//! The second order of the expansion is half of the sum of the brackets of all ordered pairs. Pairs
//! of one kind have none, so it is `(p - (u d - p)) / 2` brackets of a pulse up with a pulse down.
//! With the fields expanded to second order around the middle `z` of the path, the mean weight
//! follows in closed form; pulses of one direction and linear steps are exact.
//!
//! # Noise
//!
//! The noise of a segment has the variance `v = sum g^2`, each term carried on by the pulses that
//! follow: an integral along the path, by Simpson's rule. Noise changes the noise of later pulses:
//! with `g' = dg/dw` the sum is `sum g xi_j + g g' sum_{i<j} xi_i xi_j`, so the third central moment
//! is `t = 3 n (n - 1) g^3 g'` for `n` equal pulses. The weight is drawn as
//! `m + s xi + t / (6 v) (xi^2 - 1)`, `s^2 = v`, which has this variance up to a relative
//! `t^2 / (18 v^3)`, this skewness, and 3/4 of the excess kurtosis (see `MAX_SPREAD`).
//!
//! [`mixed`] has pulses of both directions, [`one_way`] the same for one, in half of the work;
//! `limits` says when a segment is too long for them, and why each limit is what it is.

pub(crate) mod limits;
pub(crate) mod mixed;
pub(crate) mod one_way;
