//! Signatures of component files: ed25519 over the file's sha256, base64 in `FILE.wasm.sig`. Keys are written
//! `ed25519:` and base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

const SCHEME: &str = "ed25519:";

/// Why a signature does not count.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    #[error("the signature is not 64 bytes in base64")]
    Malformed,
    #[error("{0} is not a key: `ed25519:` and 32 bytes in base64")]
    BadKey(String),
    #[error("no trusted key made this signature over this file")]
    Untrusted,
}

/// The trusted key that signed a component.
pub fn verify_signature(
    component: &[u8],
    signature: &str,
    trusted: &[String],
) -> Result<String, SignatureError> {
    let signature = read_signature(signature)?;
    let digest = Sha256::digest(component);
    for key in trusted {
        if verifying_key(key)?
            .verify_strict(&digest, &signature)
            .is_ok()
        {
            return Ok(key.clone());
        }
    }
    Err(SignatureError::Untrusted)
}

/// The text of a component's signature by a secret key: 32 bytes, `ed25519:` and base64.
pub fn sign(component: &[u8], secret: &str) -> Result<String, SignatureError> {
    let key = SigningKey::from_bytes(&key_bytes(secret)?);
    Ok(STANDARD.encode(key.sign(&Sha256::digest(component)).to_bytes()))
}

/// The public key, as `trusted_keys` has it, of a secret one.
pub fn public_key(secret: &str) -> Result<String, SignatureError> {
    let key = SigningKey::from_bytes(&key_bytes(secret)?);
    Ok(format!(
        "{SCHEME}{}",
        STANDARD.encode(key.verifying_key().to_bytes())
    ))
}

/// Whether a text has a signature's form, whoever made it and over what.
pub fn is_signature(text: &str) -> bool {
    read_signature(text).is_ok()
}

/// Whether a key can be one of `trusted_keys`.
pub fn check_key(key: &str) -> Result<(), SignatureError> {
    verifying_key(key).map(drop)
}

fn read_signature(text: &str) -> Result<Signature, SignatureError> {
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|_| SignatureError::Malformed)?;
    Signature::from_slice(&bytes).map_err(|_| SignatureError::Malformed)
}

fn verifying_key(key: &str) -> Result<VerifyingKey, SignatureError> {
    VerifyingKey::from_bytes(&key_bytes(key)?).map_err(|_| SignatureError::BadKey(key.to_owned()))
}

fn key_bytes(key: &str) -> Result<[u8; 32], SignatureError> {
    // The key may be a secret one: it is never repeated in an error.
    let bad = || {
        SignatureError::BadKey(
            key.chars()
                .take(SCHEME.len() + 4)
                .chain("…".chars())
                .collect(),
        )
    };
    let encoded = key.trim().strip_prefix(SCHEME).ok_or_else(bad)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| bad())?;
    bytes.try_into().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const OTHER: &str = "ed25519:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[test]
    fn a_text_that_is_no_key_is_told_apart_and_not_repeated() {
        assert_eq!(check_key(&public_key(SECRET).expect("key")), Ok(()));
        for text in ["", "AQEBAQ==", "ed25519:AQEBAQ==", "ed25519:not base64"] {
            let error = check_key(text).expect_err(text);
            assert!(matches!(error, SignatureError::BadKey(_)), "{text}");
        }
        let told = sign(b"wasm", "ed25519:AQEBAQEB").expect_err("too short");
        assert!(!told.to_string().contains("AQEBAQEB"), "{told}");
    }

    #[test]
    fn only_a_trusted_key_over_the_same_bytes_counts() {
        let signature = sign(b"wasm", SECRET).expect("signs");
        let (own, other) = (
            public_key(SECRET).expect("key"),
            public_key(OTHER).expect("key"),
        );
        let both = [other.clone(), own.clone()];
        assert_eq!(verify_signature(b"wasm", &signature, &both), Ok(own));
        assert_eq!(
            verify_signature(b"wasn", &signature, &both),
            Err(SignatureError::Untrusted)
        );
        assert_eq!(
            verify_signature(b"wasm", &signature, &[other]),
            Err(SignatureError::Untrusted)
        );
        assert_eq!(
            verify_signature(b"wasm", "AAAA", &both),
            Err(SignatureError::Malformed)
        );
    }
}
