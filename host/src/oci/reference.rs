//! References to artifacts in registries: `REGISTRY/REPOSITORY@sha256:…`. Says whether the way there may be without TLS;
//! asks nobody.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use super::{Digest, OciError};

const TAG_CHARS_MAX: usize = 128;

/// What a person writes for an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host, and port where one is given.
    pub host: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
    /// Without TLS: only on this machine.
    pub plain: bool,
}

impl FromStr for Reference {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, OciError> {
        let refused = |why: &str| OciError::Reference {
            reference: super::remote::clean(text),
            why: why.to_owned(),
        };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (rest, None),
        };
        let (host, path) = rest
            .split_once('/')
            .ok_or_else(|| refused("there is no repository"))?;
        if !host.contains(['.', ':']) && host != "localhost" {
            return Err(refused("it must begin with the registry's host"));
        }
        let url = Url::parse(&format!("https://{host}/"));
        let url = url.map_err(|error| refused(&format!("the host: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() || url.path() != "/" {
            return Err(refused("the host is not a host and a port"));
        }
        let plain = match scheme {
            None => is_loopback(&url),
            Some("https") => false,
            Some("http") if is_loopback(&url) => true,
            Some("http") => {
                return Err(refused(
                    "a registry on another machine is asked by https only",
                ));
            }
            Some(_) => return Err(refused("its scheme is neither https nor http")),
        };
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !repository.split('/').all(is_repository_part) {
            return Err(refused(
                "a repository is lower-case letters, digits, `.`, `_`, `-` between `/`",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refused("the tag is none"));
        }
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
            plain,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Whether a URL leads to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_repository_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = part.bytes().next().is_some_and(plain) && part.bytes().last().is_some_and(plain);
    ends && part
        .bytes()
        .all(|byte| plain(byte) || b"._-".contains(&byte))
        && !part.contains("..")
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_CHARS_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Reference, String> {
        text.parse().map_err(|error: OciError| error.to_string())
    }

    #[test]
    fn a_reference_is_host_repository_and_digest() {
        let digest = Digest::of(b"");
        for (text, host, repository, tag, plain) in [
            (
                "registry.example.org/a/b-c",
                "registry.example.org",
                "a/b-c",
                None,
                false,
            ),
            (
                "127.0.0.1:5000/a:1.0",
                "127.0.0.1:5000",
                "a",
                Some("1.0"),
                true,
            ),
            ("http://[::1]:5000/a", "[::1]:5000", "a", None, true),
            (
                "https://localhost:5000/a",
                "localhost:5000",
                "a",
                None,
                false,
            ),
            ("example.org:443/a", "example.org:443", "a", None, false),
        ] {
            for with in [None, Some(&digest)] {
                let written = with.map_or(text.to_owned(), |digest| format!("{text}@{digest}"));
                let found = read(&written).expect(&written);
                assert_eq!(
                    (
                        found.host.as_str(),
                        found.repository.as_str(),
                        found.tag.as_deref()
                    ),
                    (host, repository, tag)
                );
                assert_eq!(
                    (found.plain, found.digest.as_ref()),
                    (plain, with),
                    "{written}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_reason() {
        for (text, why) in [
            ("word-filter", "no repository"),
            ("library/word-filter", "begin with the registry's host"),
            ("example.org/Word", "lower-case"),
            ("example.org/a/../b", "lower-case"),
            ("example.org/a//b", "lower-case"),
            ("example.org/a:", "tag"),
            ("example.org/a@sha256:12", "digest"),
            ("http://example.org/a", "https only"),
            ("http://127.0.0.1.example.org/a", "https only"),
            ("ftp://127.0.0.1/a", "scheme"),
            ("ann:secret@example.org/a", "digest"),
            ("example.org:x/a", "port"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
