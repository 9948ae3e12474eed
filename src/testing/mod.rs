//! What any device must fulfil, as a test of one's own device: [`conforms`].
//!
//! | file | what is checked |
//! | --- | --- |
//! | `report` | what is broken |
//! | `subjects` | tiles and values that checks use |
//! | `description` | names, numbers of draws, parameters |
//! | `rule` | the derivatives of a rule, noise, where they hold |
//! | `updates` | bounds, the mean of a step, kernels against pulse after pulse |
//! | `state` | repeated and resumed calls, threads, calls that fail |
//! | `faulty` | a device that fails in the middle of an update |
//! | `conforms` | all of these |

mod conforms;
mod description;
mod faulty;
mod report;
mod rule;
mod state;
mod subjects;
mod updates;

pub use conforms::conforms;
pub use report::Report;
