//! What a component file is: checked from its bytes and its own exports and imports, never from a claim. `describe`
//! runs in a throw-away instance under limits.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wasmparser::Payload;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::abilities::OFFERED;
use crate::after::{ABILITIES, SHARED_TYPES};
use crate::bindings::lifecycle::{Description, HookDefault};
use crate::code_cache::hex;
use crate::error::LoadError;
use crate::hook::{BindingScope, Hook, Policy};

const PACKAGE: &str = "kith:plugin/";
const MAJOR: u64 = 1;
const NAME_CHARS_MAX: usize = 64;
const MOST_RECENT: u32 = 20;

/// What a component is and asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inspection {
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// `sha256:` and 64 hexadecimal digits, of the file.
    pub digest: String,
    /// The hooks the binary exports.
    pub hooks: Vec<Hook>,
    /// How it would like to be bound; one for each hook.
    pub defaults: Vec<BindingDefault>,
    /// The abilities it imports, such as `log`.
    pub abilities: Vec<String>,
    /// JSON Schema of the configuration.
    pub config_schema: Value,
    /// Bytes of the file.
    pub size: u64,
}

impl Inspection {
    /// It exports a hook that is called on a message's path.
    pub(crate) fn is_on_path(&self) -> bool {
        self.hooks.iter().any(|hook| !hook.is_after_commit())
    }
}

/// How a plugin would like to be bound to a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingDefault {
    pub hook: Hook,
    /// Lower runs earlier.
    pub order: i32,
    pub scope: BindingScope,
    pub on_failed: Policy,
    pub on_absent: Policy,
    /// Soft budget of a call, microseconds; 0 takes the runtime's.
    pub budget_us: u32,
    /// How many of the newest entries the hook wants to see, at most 20.
    pub recent: u32,
}

impl BindingDefault {
    fn of(hook: Hook) -> Self {
        let policy = hook.default_policy();
        Self {
            hook,
            order: 100,
            scope: BindingScope::All,
            on_failed: policy,
            on_absent: policy,
            budget_us: 0,
            recent: 0,
        }
    }
}

/// What the binary alone says.
pub(crate) struct Shape {
    pub hooks: Vec<Hook>,
    pub abilities: Vec<String>,
}

/// What a look at a component found.
pub(crate) struct Looked {
    pub inspection: Inspection,
    /// As it came, not baked.
    pub plain: Component,
    /// Hooks its description has a wish for, as it calls them.
    pub wished: Vec<String>,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Refuses what is not a component of bearable size, before anything is compiled.
pub(crate) fn check_bytes(bytes: &[u8], limit: usize) -> Result<(), LoadError> {
    if bytes.len() > limit {
        return Err(LoadError::TooLarge {
            size: bytes.len(),
            limit,
        });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    if wasmparser::Parser::is_core_wasm(bytes) {
        return Err(LoadError::CoreModule);
    }
    let features = wasmparser::WasmFeatures::default();
    let valid = wasmparser::Validator::new_with_features(features).validate_all(bytes);
    valid
        .map(drop)
        .map_err(|error| LoadError::Malformed(error.to_string()))
}

/// The hooks and imports of a component, or why it is none of this host's plugins.
pub(crate) fn shape(engine: &Engine, component: &Component) -> Result<Shape, LoadError> {
    let ty = component.component_type();
    let mut abilities = Vec::new();
    for (name, _) in ty.imports(engine) {
        // A toolchain's WASI leads to nothing.
        if name.starts_with("wasi:") {
            continue;
        }
        let interface = contract_interface(name)?;
        let offered =
            |interface: &&str| OFFERED.contains(interface) || ABILITIES.contains(interface);
        match interface.filter(|interface| offered(interface) || SHARED_TYPES.contains(interface)) {
            Some(shared) if shared == "types" || SHARED_TYPES.contains(&shared) => {}
            Some(ability) => abilities.push(ability.to_owned()),
            None => return Err(LoadError::UnknownImport(name.to_owned())),
        }
    }
    let mut hooks = Vec::new();
    let mut has_lifecycle = false;
    for (name, _) in ty.exports(engine) {
        if let Some(interface) = contract_interface(name)? {
            has_lifecycle |= interface == "lifecycle";
            hooks.extend(Hook::from_name(interface));
        }
    }
    if !has_lifecycle {
        return Err(LoadError::NoLifecycle);
    }
    if hooks.is_empty() {
        return Err(LoadError::NoHook);
    }
    hooks.sort_unstable();
    Ok(Shape { hooks, abilities })
}

/// The hooks a component file exports, read from its bytes without compiling it; of one that cannot be read, none.
pub fn exported_hooks(bytes: &[u8]) -> Vec<Hook> {
    let mut hooks = Vec::new();
    let mut depth = 0_usize;
    for payload in wasmparser::Parser::new(0)
        .parse_all(bytes)
        .map_while(Result::ok)
    {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(exports) if depth == 0 => {
                let names = exports.into_iter().map_while(Result::ok);
                let interface = |name: &str| {
                    contract_interface(name)
                        .ok()
                        .flatten()
                        .and_then(Hook::from_name)
                };
                hooks.extend(names.filter_map(|export| interface(export.name.name)));
            }
            _ => {}
        }
    }
    hooks.sort_unstable();
    hooks
}

/// The interface of the contract a name means; `None` for anything else. One of another contract is an error.
fn contract_interface(name: &str) -> Result<Option<&str>, LoadError> {
    let Some(rest) = name.strip_prefix(PACKAGE) else {
        return Ok(None);
    };
    let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
    let spoken = semver::Version::parse(version)
        .is_ok_and(|version| version.major == MAJOR && version.minor == 0);
    if !spoken {
        return Err(LoadError::OtherContract {
            name: interface.to_owned(),
            found: version.to_owned(),
        });
    }
    Ok(Some(interface))
}

/// Puts together what the binary and its description say.
pub(crate) fn inspection(
    bytes: &[u8],
    shape: Shape,
    said: Description,
) -> Result<Inspection, LoadError> {
    let bad = LoadError::BadDescription;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name = said.name;
    if name.is_empty()
        || name.len() > NAME_CHARS_MAX
        || !name.chars().all(plain)
        || name.starts_with('-')
    {
        return Err(bad(format!(
            "the name {name:?} is not lower case letters, digits and `-`, 1 to 64 of them"
        )));
    }
    if semver::Version::parse(&said.version).is_err() {
        return Err(bad(format!(
            "the version {:?} is not a semantic version",
            said.version
        )));
    }
    let schema = if said.config_schema.is_empty() {
        "{}"
    } else {
        &said.config_schema
    };
    let config_schema: Value = serde_json::from_str(schema)
        .map_err(|error| bad(format!("the configuration's schema is not JSON: {error}")))?;
    if !config_schema.is_object() {
        return Err(bad(
            "the configuration's schema is not a JSON object".to_owned()
        ));
    }
    let wished = |hook: &Hook| match said.hooks.iter().find(|wish| wish.hook == hook.as_str()) {
        Some(wish) => binding_default(*hook, wish),
        None => Ok(BindingDefault::of(*hook)),
    };
    let defaults = shape.hooks.iter().map(wished).collect::<Result<_, _>>()?;
    Ok(Inspection {
        name,
        version: said.version,
        summary: said.summary,
        digest: digest(bytes),
        hooks: shape.hooks,
        defaults,
        abilities: shape.abilities,
        config_schema,
        size: bytes.len() as u64,
    })
}

/// Refuses wishes for a hook that there is not, or that the component does not export: nobody would be called. Of what an
/// author builds and pushes; a version that serves already goes on.
pub(crate) fn check_wishes(wished: &[String], exported: &[Hook]) -> Result<(), LoadError> {
    let list = |hooks: &[Hook]| {
        let names: Vec<_> = hooks.iter().map(|hook| hook.as_str()).collect();
        names.join(", ")
    };
    for name in wished {
        let why = match Hook::from_name(name) {
            Some(hook) if exported.contains(&hook) => continue,
            Some(_) => format!(
                "it wishes for the hook {name}, which the component does not export; it exports {}",
                list(exported)
            ),
            None => format!(
                "it wishes for the hook {name:?}, which there is not; there are {}",
                list(&Hook::ALL)
            ),
        };
        return Err(LoadError::BadDescription(why));
    }
    Ok(())
}

fn binding_default(hook: Hook, wish: &HookDefault) -> Result<BindingDefault, LoadError> {
    let unknown = |what: &str, name: &str, known: &str| {
        LoadError::BadDescription(format!("{name:?} is not a {what}; there are {known}"))
    };
    let policy = |name: &str| match name {
        "" => Ok(hook.default_policy()),
        "pass" => Ok(Policy::Pass),
        "reject" => Ok(Policy::Reject),
        "unavailable" => Ok(Policy::Unavailable),
        "hold" => Ok(Policy::Hold),
        other => Err(unknown(
            "failure policy",
            other,
            "pass, reject, unavailable, hold",
        )),
    };
    let scope = match wish.scope.as_str() {
        "" | "all" => BindingScope::All,
        "direct" => BindingScope::Direct,
        "group" => BindingScope::Group,
        "self" => BindingScope::Own,
        other => return Err(unknown("scope", other, "all, direct, group, self")),
    };
    Ok(BindingDefault {
        hook,
        order: wish.order,
        scope,
        on_failed: policy(&wish.on_failed)?,
        on_absent: policy(&wish.on_absent)?,
        budget_us: wish.budget_us,
        recent: wish.recent.min(MOST_RECENT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_a_hook_that_cannot_be_called_is_named() {
        let exported = [Hook::ContentFilter];
        let check = |name: &str| {
            let said = check_wishes(&[name.to_owned()], &exported);
            said.map_err(|error| error.to_string())
        };
        assert_eq!(check("content-filter"), Ok(()));
        let absent = check("observer").expect_err("it is not exported");
        assert!(
            absent.contains(
                "the hook observer, which the component does not export; it exports content-filter"
            ),
            "{absent}"
        );
        let unknown = check("content-filters").expect_err("there is none");
        assert!(
            unknown.contains("\"content-filters\", which there is not; there are message-strategy"),
            "{unknown}"
        );
    }

    #[test]
    fn a_wrong_wish_is_refused_with_what_there_is() {
        let wish = |scope: &str, on_failed: &str| HookDefault {
            hook: "content-filter".into(),
            order: 1,
            scope: scope.into(),
            on_failed: on_failed.into(),
            on_absent: String::new(),
            budget_us: 0,
            recent: 0,
        };
        let refused = |wish: HookDefault| {
            let refused = binding_default(Hook::ContentFilter, &wish);
            refused.expect_err("it is wrong").to_string()
        };
        let policy = refused(wish("all", "ignore"));
        assert!(
            policy.ends_with(
                "\"ignore\" is not a failure policy; there are pass, reject, unavailable, hold"
            ),
            "{policy}"
        );
        let scope = refused(wish("groups", ""));
        assert!(
            scope.ends_with("\"groups\" is not a scope; there are all, direct, group, self"),
            "{scope}"
        );
    }
}
