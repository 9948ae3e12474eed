//! Operations on the weights other than products and pulses.
