//! How media go out: who may read one now gets a link that ends; behind a link the bytes, whole or in part, so that
//! no browser takes them for a page of this server.

use std::ops::Range;

use super::blobs::{ByteStream, Presentation};
use super::kinds::is_safe_to_show;
use super::links::Purpose;
use super::{Media, blob_refusal};
use crate::ids::{MediaId, UserId};
use crate::refusal::Refusal;
use crate::store::media::Found;

use super::intake::millis;

/// What a link of this server's own carries beside the id.
#[derive(Debug, Clone)]
pub struct Link {
    /// Milliseconds since 1970 UTC.
    pub expires_at: u64,
    pub signature: String,
}

/// A blob behind a good link.
#[derive(Debug, Clone)]
pub struct Served {
    pub shown: Presentation,
    pub bytes: u64,
    /// Changes with the content.
    pub tag: String,
    /// Seconds it may be kept by the reader alone.
    pub keep_s: u64,
}

impl Media {
    /// Where the bytes of a media are for a user who may read it: a link that ends.
    pub async fn locate(&self, user: UserId, id: MediaId) -> Result<String, Refusal> {
        let blobs = self.blobs()?;
        let found = self.readable(user, id).await?;
        let shown = presentation(&found);
        let direct = blobs.direct_download(id, &shown, self.rules.link);
        Ok(direct.unwrap_or_else(|| {
            let ends = self.clock.now_ms() + millis(self.rules.link);
            self.links.sign(Purpose::Download, id, ends)
        }))
    }

    pub(super) fn check_link(
        &self,
        purpose: Purpose,
        id: MediaId,
        link: &Link,
    ) -> Result<(), Refusal> {
        let now = self.clock.now_ms();
        self.links
            .check(purpose, id, link.expires_at, &link.signature, now)
    }

    /// What is behind a link of this server.
    pub async fn served(&self, id: MediaId, link: &Link) -> Result<Served, Refusal> {
        self.check_link(Purpose::Download, id, link)?;
        let found = self.complete_upload(id).await?;
        let left = link.expires_at.saturating_sub(self.clock.now_ms());
        Ok(Served {
            shown: presentation(&found),
            bytes: if found.is_thumb {
                found.record.thumb_bytes
            } else {
                found.record.bytes
            },
            tag: format!("\"{id}\""),
            keep_s: left / 1000,
        })
    }

    /// A part of what is behind a link that was good.
    pub async fn read(&self, id: MediaId, range: Range<u64>) -> Result<ByteStream, Refusal> {
        let read = self.blobs()?.read(id, range).await;
        read.map_err(|error| blob_refusal(&error))
    }
}

/// What can hold programs is only ever given to be saved.
fn presentation(found: &Found) -> Presentation {
    let record = &found.record;
    let mime = match &record.thumb_mime {
        Some(thumb) if found.is_thumb => thumb,
        _ => &record.mime,
    };
    let how = if is_safe_to_show(mime) {
        "inline"
    } else {
        "attachment"
    };
    let disposition = if found.is_thumb {
        how.to_owned()
    } else {
        format!("{how}; {}", file_name(&record.name))
    };
    Presentation {
        mime: mime.clone(),
        disposition,
    }
}

/// The parameters of RFC 6266: one every program reads, one that is exact.
fn file_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '/' | '%' => '_',
            c if c.is_ascii() && !c.is_ascii_control() => c,
            _ => '_',
        })
        .collect();
    let mut exact = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            exact.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_parameter() {
        assert_eq!(
            file_name("a\"b; x=猫.png"),
            "filename=\"a_b; x=_.png\"; filename*=UTF-8''a%22b%3B%20x%3D%E7%8C%AB.png"
        );
    }
}
