//! The one way to declare a parameter group: name, type and default of each field in one line.

/// Declares a strict, documented parameter struct with defaults. A field of type `real` is an
/// `f64` that may be infinite.
macro_rules! params {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $crate::config::params!(@munch [$(#[$meta])*] $name {} {} $($body)*);
    };
    (@munch [$($meta:tt)*] $name:ident {$($fields:tt)*} {$($defaults:tt)*}
        $(#[$doc:meta])* $field:ident : real = $value:expr; $($rest:tt)*) => {
        $crate::config::params!(@munch [$($meta)*] $name
            {$($fields)* $(#[$doc])* #[serde(with = "crate::config::real")] pub $field: f64,}
            {$($defaults)* $field: $value,} $($rest)*);
    };
    (@munch [$($meta:tt)*] $name:ident {$($fields:tt)*} {$($defaults:tt)*}
        $(#[$doc:meta])* $field:ident : $type:ty = $value:expr; $($rest:tt)*) => {
        $crate::config::params!(@munch [$($meta)*] $name
            {$($fields)* $(#[$doc])* pub $field: $type,}
            {$($defaults)* $field: $value,} $($rest)*);
    };
    (@munch [$($meta:tt)*] $name:ident {$($fields:tt)*} {$($defaults:tt)*}) => {
        $($meta)*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[non_exhaustive]
        pub struct $name { $($fields)* }

        impl $name {
            /// The same with what `change` changes.
            #[must_use]
            pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
                change(&mut self);
                self
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($defaults)* }
            }
        }
    };
}
pub(crate) use params;
