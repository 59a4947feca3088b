//! The glue of `schedules`: the contract's bindings,
//! and what they are made of.

#[cfg(target_arch = "wasm32")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-schedules; world schedules-part { export kith:plugin/schedules@1.0.0; }",
        generate_all,
        world: "kith:sdk-schedules/schedules-part",
        pub_export_macro: true,
        export_macro_name: "export_schedules",
        default_bindings_module: "kith_plugin::exports::schedules",
    });
}

#[cfg(target_arch = "wasm32")]
pub use bindings::*;

/// Exports `schedules` for a plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_schedules {
    ($plugin:ty) => {
        impl $crate::exports::schedules::exports::kith::plugin::schedules::Guest for Component {
            fn times() -> Vec<$crate::exports::schedules::exports::kith::plugin::schedules::Schedule> {
                use $crate::exports::schedules::exports::kith::plugin::schedules::Schedule;
                let times = $crate::Schedules::times(plugin()).into_iter();
                times.map(|(name, when)| Schedule { name, when }).collect()
            }
        }
        $crate::exports::schedules::export_schedules!(Component with_types_in $crate::exports::schedules);
    };
}
