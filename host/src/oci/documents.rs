//! The documents of OCI artifacts: digests, descriptors, indexes and manifests, as far as plugins need them. Reads and
//! writes JSON and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::OciError;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";

const SHA256: &str = "sha256:";

/// `sha256:` and 64 lower-case hexadecimal digits: safe as a file's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        use std::fmt::Write as _;
        let mut text = SHA256.to_owned();
        for byte in Sha256::digest(bytes) {
            write!(text, "{byte:02x}").expect("a String takes every write");
        }
        Self(text)
    }

    pub fn parse(text: &str) -> Result<Self, OciError> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let hex = text.strip_prefix(SHA256);
        if hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_hex)) {
            return Ok(Self(text.to_owned()));
        }
        Err(OciError::Malformed {
            what: format!("the digest {}", super::remote::clean(text)),
            why: "it is not sha256: and 64 hexadecimal digits".to_owned(),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn hex(&self) -> &str {
        &self.0[SHA256.len()..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A blob by what it is, how large and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).0,
            size: bytes.len() as u64,
            annotations: None,
        }
    }
}

/// What a digest of a registry or an entry of an index may lead to.
#[derive(Debug)]
pub enum Document {
    Index(Vec<Descriptor>),
    Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Either {
    schema_version: u32,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Document {
    pub fn read(digest: &Digest, bytes: &[u8]) -> Result<Self, OciError> {
        let malformed = |why: String| OciError::Malformed {
            what: format!("the manifest {digest}"),
            why,
        };
        let either: Either =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if either.schema_version != 2 {
            return Err(malformed("its schemaVersion is not 2".to_owned()));
        }
        match (either.manifests, either.config, either.layers) {
            (Some(manifests), None, None) => Ok(Self::Index(manifests)),
            (None, Some(config), Some(layers)) => Ok(Self::Manifest { config, layers }),
            _ => Err(malformed(
                "it is neither an index with manifests nor a manifest with config and layers"
                    .to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha256_in_lower_case_and_never_a_path() {
        let digest = Digest::of(b"");
        assert_eq!(Digest::parse(digest.as_str()).expect("a digest"), digest);
        assert_eq!(&digest.hex()[..8], "e3b0c442");
        let upper = digest.as_str().to_uppercase();
        let path = format!("sha256:{:.<64}", "../../../passwords");
        for text in ["", "sha256:", "sha512:00", &upper, &path, digest.hex()] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_document_that_is_two_things_or_none_is_refused() {
        let descriptor = r#"{"mediaType":"a","digest":"b","size":1}"#;
        let digest = Digest::of(b"");
        for (text, good) in [
            (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), true),
            (
                format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[]}}"#),
                true,
            ),
            (
                format!(
                    r#"{{"schemaVersion":2,"config":{descriptor},"layers":[],"manifests":[]}}"#
                ),
                false,
            ),
            (
                r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#.to_owned(),
                false,
            ),
            (r#"{"schemaVersion":1,"manifests":[]}"#.to_owned(), false),
            (
                r#"{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"b","size":-1}]}"#
                    .to_owned(),
                false,
            ),
            ("[]".to_owned(), false),
        ] {
            assert_eq!(
                Document::read(&digest, text.as_bytes()).is_ok(),
                good,
                "{text}"
            );
        }
    }
}
