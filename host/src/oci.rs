//! Plugins as OCI artifacts, in layouts on disk and in registries. Every blob is read to its stated size and no
//! further, and believed once it has its digest. What is a plugin the server decides; this knows no server.

mod archive;
mod artifact;
mod challenge;
mod documents;
mod folder;
pub mod layout;
pub mod reference;
pub mod remote;

use std::io;

use async_trait::async_trait;

pub use artifact::{Artifact, Described};
pub use documents::{Descriptor, Digest};
use documents::{Document, INDEX, MANIFEST};

/// The layer of a component, as all tools for WebAssembly have it.
pub const COMPONENT: &str = "application/wasm";
/// The annotation of that layer with the component's signature: base64 ed25519 over its sha256.
pub const SIGNATURE: &str = "kith.plugin.signature";
/// Largest index, manifest or configuration that is read, bytes: what registries take at the least.
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Most manifests below one index, and how deep indexes may lie in each other.
const MANIFESTS_MAX: usize = 1_000;
const DEPTH_MAX: usize = 3;

/// Why a layout or a registry gave no plugin.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("{place} is no OCI layout: {why}")]
    NotALayout { place: String, why: String },
    #[error("{what} is refused: {why}")]
    Refused { what: String, why: &'static str },
    #[error("{what} is missing")]
    Missing { what: String },
    #[error("{what} has more than the {most} bytes it may have")]
    TooLarge { what: String, most: u64 },
    #[error("{what} has {found} bytes, but {stated} are stated: it is cut off or damaged")]
    Size {
        what: String,
        stated: u64,
        found: u64,
    },
    #[error("{what} has another content: its digest is {found}")]
    Digest { what: String, found: Digest },
    #[error("{what} cannot be read: {why}")]
    Malformed { what: String, why: String },
    #[error("there is no plugin: none of {manifests} manifests has a layer {COMPONENT}")]
    NoPlugin { manifests: usize },
    #[error("{reference} is no REGISTRY/REPOSITORY@sha256:…: {why}")]
    Reference { reference: String, why: String },
    /// A registry's answer.
    #[error("{host} {what}")]
    Answer { host: String, what: String },
    #[error("{host} cannot be asked: {why}")]
    Unreachable { host: String, why: String },
}

/// What is asked for by its digest: registries keep the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A manifest or an index.
    Manifest,
    Blob,
}

/// Where parts are read from. It is not trusted: `verified` looks at what it gives.
#[async_trait]
pub trait Source: Send + Sync {
    /// A part's bytes; of more than `most` an error.
    async fn fetch(&self, part: Part, digest: &Digest, most: u64) -> Result<Vec<u8>, OciError>;
}

/// A component that a manifest offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub manifest: Digest,
    pub component: Descriptor,
    pub signature: Option<String>,
}

/// The bytes of a part, exactly as its descriptor states them.
async fn verified(
    source: &dyn Source,
    part: Part,
    descriptor: &Descriptor,
    most: u64,
) -> Result<Vec<u8>, OciError> {
    let digest = Digest::parse(&descriptor.digest)?;
    let what = || format!("the blob {digest}");
    if descriptor.size > most {
        return Err(OciError::TooLarge { what: what(), most });
    }
    let bytes = source.fetch(part, &digest, descriptor.size).await?;
    if bytes.len() as u64 != descriptor.size {
        return Err(OciError::Size {
            what: what(),
            stated: descriptor.size,
            found: bytes.len() as u64,
        });
    }
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(OciError::Digest {
            what: what(),
            found,
        });
    }
    Ok(bytes)
}

/// Every component that an index or a manifest leads to; other artifacts beside them are passed over.
pub async fn offers(source: &dyn Source, root: &[u8]) -> Result<Vec<Offer>, OciError> {
    let mut offers: Vec<Offer> = Vec::new();
    let (mut manifests, mut read) = (0, 0);
    let mut waiting: Vec<(Descriptor, usize)> = Vec::new();
    let (mut bytes, mut depth) = (root.to_vec(), 0);
    loop {
        read += 1;
        let digest = Digest::of(&bytes);
        match Document::read(&digest, &bytes)? {
            Document::Manifest { config, layers } => {
                manifests += 1;
                let offer = offer(source, digest, &config, layers).await?;
                offers.extend(offer.filter(|offer| !offers.contains(offer)));
            }
            Document::Index(listed) => {
                let many = read + waiting.len() + listed.len() > MANIFESTS_MAX;
                if many || depth == DEPTH_MAX {
                    let what = format!("the index {digest}");
                    let why = "it leads to too many manifests, or too deep";
                    return Err(OciError::Refused { what, why });
                }
                let known = |entry: &Descriptor| [MANIFEST, INDEX].contains(&&*entry.media_type);
                // The last is taken first.
                let wanted = listed.into_iter().rev().filter(known);
                waiting.extend(wanted.map(|entry| (entry, depth + 1)));
            }
        }
        let Some((next, deeper)) = waiting.pop() else {
            break;
        };
        bytes = verified(source, Part::Manifest, &next, DOCUMENT_BYTES_MAX).await?;
        depth = deeper;
    }
    if offers.is_empty() {
        return Err(OciError::NoPlugin { manifests });
    }
    Ok(offers)
}

/// The component of a manifest; `None` where the manifest is of something else.
async fn offer(
    source: &dyn Source,
    manifest: Digest,
    config: &Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Option<Offer>, OciError> {
    if layers.iter().all(|layer| layer.media_type != COMPONENT) {
        return Ok(None);
    }
    let what = format!("the manifest {manifest}");
    let Ok([component]) = <[Descriptor; 1]>::try_from(layers) else {
        let why = "a plugin is one layer, and it has several";
        return Err(OciError::Refused { what, why });
    };
    verified(source, Part::Blob, config, DOCUMENT_BYTES_MAX).await?;
    let annotations = component.annotations.as_ref();
    let signature = annotations.and_then(|known| known.get(SIGNATURE));
    let signature = signature.map(|text| text.trim().to_owned());
    if signature
        .as_deref()
        .is_some_and(|text| !kith_runtime::is_signature(text))
    {
        let why = "its signature is not 64 bytes in base64".to_owned();
        return Err(OciError::Malformed { what, why });
    }
    Ok(Some(Offer {
        manifest,
        component,
        signature,
    }))
}

/// The component of an offer: the bytes of its digest.
pub async fn component(source: &dyn Source, offer: &Offer) -> Result<Vec<u8>, OciError> {
    let most = kith_runtime::MAX_COMPONENT_BYTES as u64;
    verified(source, Part::Blob, &offer.component, most).await
}
