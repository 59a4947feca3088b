//! The glue of `upgrade`: the contract's bindings,
//! and what they are made of and become.

#[cfg(target_arch = "wasm32")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-upgrade; world upgrade-part { export kith:plugin/upgrade@1.0.0; }",
        generate_all,
        world: "kith:sdk-upgrade/upgrade-part",
        pub_export_macro: true,
        export_macro_name: "export_upgrade",
        default_bindings_module: "kith_plugin::exports::upgrade",
    });
}

#[cfg(target_arch = "wasm32")]
pub use bindings::*;

#[cfg(target_arch = "wasm32")]
use self::exports::kith::plugin::upgrade as wit;

#[cfg(target_arch = "wasm32")]
pub fn need(need: crate::Need) -> wit::Need {
    match need {
        crate::Need::Compatible => wit::Need::Compatible,
        crate::Need::Migrate => wit::Need::Migrate,
        crate::Need::Rebuild(commits) => wit::Need::Rebuild(commits),
    }
}

#[cfg(target_arch = "wasm32")]
pub fn items(items: Vec<wit::Item>) -> Vec<crate::Kept> {
    let kept = |item: wit::Item| crate::Kept {
        key: item.key,
        value: item.value,
        ends_at_ms: item.ends_at_ms,
    };
    items.into_iter().map(kept).collect()
}

#[cfg(target_arch = "wasm32")]
pub fn writes(kept: Vec<crate::Kept>) -> Vec<wit::Write> {
    let write = |kept: crate::Kept| wit::Write {
        key: kept.key,
        value: kept.value,
        ends_at_ms: kept.ends_at_ms,
    };
    kept.into_iter().map(write).collect()
}

/// Exports `upgrade` for a plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_upgrade {
    ($plugin:ty) => {
        impl $crate::exports::upgrade::exports::kith::plugin::upgrade::Guest for Component {
            fn needs(
                from_version: String,
            ) -> Result<$crate::exports::upgrade::exports::kith::plugin::upgrade::Need, String> {
                $crate::Upgrade::needs(plugin(), &from_version).map($crate::exports::upgrade::need)
            }

            fn migrate(
                from_version: String,
                items: Vec<$crate::exports::upgrade::exports::kith::plugin::upgrade::Item>,
            ) -> Result<Vec<$crate::exports::upgrade::exports::kith::plugin::upgrade::Write>, String> {
                let items = $crate::exports::upgrade::items(items);
                let kept = $crate::Upgrade::migrate(plugin(), &from_version, &items)?;
                Ok($crate::exports::upgrade::writes(kept))
            }
        }
        $crate::exports::upgrade::export_upgrade!(Component with_types_in $crate::exports::upgrade);
    };
}
