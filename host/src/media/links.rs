//! Links to this server's own uploads and downloads: signed, good for a while, for one thing.
//! A link carries no identity: whoever has it may use it until it ends.

use crate::ids::MediaId;
use crate::refusal::{Code, Refusal};

/// What a link is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Upload,
    Download,
}

/// Signs and checks links.
pub struct Links {
    key: [u8; 32],
}

impl Links {
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The path and query of a link that is good until `expires_at`, milliseconds since 1970 UTC.
    pub fn sign(&self, purpose: Purpose, media: MediaId, expires_at: u64) -> String {
        let place = match purpose {
            Purpose::Upload => "uploads",
            Purpose::Download => "blobs",
        };
        let signature = self.signature(purpose, media, expires_at).to_hex();
        format!("/v1/media/{place}/{media}?expires={expires_at}&signature={signature}")
    }

    /// Refuses a link that was not signed here for this, and one whose time is over.
    pub fn check(
        &self,
        purpose: Purpose,
        media: MediaId,
        expires_at: u64,
        signature: &str,
        now: u64,
    ) -> Result<(), Refusal> {
        // Comparing hashes takes the same time wherever they differ.
        let signed = blake3::Hash::from_hex(signature)
            .is_ok_and(|given| given == self.signature(purpose, media, expires_at));
        if !signed {
            return Err(Refusal::new(
                Code::Unauthenticated,
                "the link is not one of ours",
            ));
        }
        if expires_at <= now {
            return Err(Refusal::new(Code::Expired, "the link has expired"));
        }
        Ok(())
    }

    fn signature(&self, purpose: Purpose, media: MediaId, expires_at: u64) -> blake3::Hash {
        let mut message = [0; 17];
        message[0] = purpose as u8;
        message[1..9].copy_from_slice(&media.0.to_be_bytes());
        message[9..].copy_from_slice(&expires_at.to_be_bytes());
        blake3::keyed_hash(&self.key, &message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_one_thing_until_its_end() {
        let links = Links::new([7; 32]);
        let link = links.sign(Purpose::Upload, MediaId(5), 100);
        let signature = link.rsplit('=').next().expect("a signature");
        let check = |purpose, media, expires, now| {
            links
                .check(purpose, MediaId(media), expires, signature, now)
                .map_err(|refusal| refusal.code)
        };
        assert_eq!(check(Purpose::Upload, 5, 100, 99), Ok(()));
        assert_eq!(check(Purpose::Upload, 5, 100, 100), Err(Code::Expired));
        for wrong in [
            check(Purpose::Download, 5, 100, 99),
            check(Purpose::Upload, 6, 100, 99),
            check(Purpose::Upload, 5, 101, 99),
        ] {
            assert_eq!(wrong, Err(Code::Unauthenticated));
        }
        let other = Links::new([8; 32]);
        assert!(
            other
                .check(Purpose::Upload, MediaId(5), 100, signature, 99)
                .is_err()
        );
    }
}
