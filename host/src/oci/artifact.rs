//! A plugin's version as an artifact: the component as its one layer, a configuration that says what it exports and
//! imports, a manifest. The same version makes the same bytes everywhere and always.

use std::collections::BTreeMap;

use serde_json::json;
use wasmparser::Payload;

use super::documents::{CONFIG, Descriptor, MANIFEST};
use super::{COMPONENT, SIGNATURE};

/// When every artifact was made, so that its digest depends on nothing but the plugin.
const CREATED: &str = "1970-01-01T00:00:00Z";
const TAG_CHARS_MAX: usize = 128;

/// What of a version goes into its artifact.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub summary: &'a str,
    pub component: &'a [u8],
    pub signature: Option<&'a str>,
}

/// An artifact that can be written.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Each with its descriptor; the manifest is the last.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
    /// The manifest, as an index lists it.
    pub entry: Descriptor,
}

impl Artifact {
    pub fn of(plugin: Described<'_>) -> Self {
        let mut layer = Descriptor::of(COMPONENT, plugin.component);
        let file = format!("{}-{}.wasm", plugin.name, plugin.version);
        let mut annotations = BTreeMap::from([("org.opencontainers.image.title".to_owned(), file)]);
        if let Some(signature) = plugin.signature {
            annotations.insert(SIGNATURE.to_owned(), signature.to_owned());
        }
        layer.annotations = Some(annotations);
        let (imports, exports) = interfaces(plugin.component);
        let config = json!({
            "created": CREATED,
            "architecture": "wasm",
            // What the layout's guide has for a component, whatever it imports.
            "os": "wasip2",
            "layerDigests": [layer.digest],
            "component": {"exports": exports, "imports": imports},
        });
        let config = config.to_string().into_bytes();
        let config_entry = Descriptor::of(CONFIG, &config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_entry,
            "layers": [layer],
            "annotations": {
                "org.opencontainers.image.title": plugin.name,
                "org.opencontainers.image.version": plugin.version,
                "org.opencontainers.image.description": plugin.summary,
            },
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = Descriptor::of(MANIFEST, &manifest);
        let tag = tag(plugin.name, plugin.version);
        let name = ("org.opencontainers.image.ref.name".to_owned(), tag);
        entry.annotations = Some(BTreeMap::from([name]));
        let blobs = vec![
            (layer, plugin.component.to_vec()),
            (config_entry, config),
            (entry.clone(), manifest),
        ];
        Self { blobs, entry }
    }
}

/// What other tools call the artifact by in a layout: a tag has no `+`.
fn tag(name: &str, version: &str) -> String {
    let tag = format!("{name}-{version}").replace('+', "_");
    tag.chars().take(TAG_CHARS_MAX).collect()
}

/// The names a component imports and exports.
fn interfaces(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    let payloads = wasmparser::Parser::new(0).parse_all(component);
    for payload in payloads.map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                let names = section.into_iter().map_while(Result::ok);
                imports.extend(names.map(|import| import.name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                let names = section.into_iter().map_while(Result::ok);
                exports.extend(names.map(|export| export.name.name.to_owned()));
            }
            _ => {}
        }
    }
    (imports, exports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_same_artifact_every_time_and_another_one_when_signed() {
        let plugin = Described {
            name: "words",
            version: "1.0.0+x",
            summary: "Masks words.",
            component: b"\0asm",
            signature: None,
        };
        let (one, two) = (Artifact::of(plugin), Artifact::of(plugin));
        assert_eq!(one.entry, two.entry);
        let signed = Artifact::of(Described {
            signature: Some("c2lnbmVk"),
            ..plugin
        });
        assert_ne!(one.entry.digest, signed.entry.digest);
        assert_eq!(one.blobs[0].0.digest, signed.blobs[0].0.digest);
        let names = one.entry.annotations.expect("a name");
        assert_eq!(names["org.opencontainers.image.ref.name"], "words-1.0.0_x");
    }
}
