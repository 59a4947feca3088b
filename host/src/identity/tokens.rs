//! Access tokens: JWTs signed with the deployment's own Ed25519 key,
//! which outlives restarts.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ids::UserId;
use crate::journey::store_refusal;
use crate::refusal::{Code, Refusal};
use crate::store::accounts::Accounts;

const ISSUER: &str = "kith";
const SECRET: &str = "token-signing-key";

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub user: UserId,
    pub device: String,
    pub family: u64,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    iss: String,
    sub: UserId,
    /// The device's id.
    device: String,
    /// The sign-in's family.
    sid: String,
    iat: u64,
    exp: u64,
}

/// Signs and reads access tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    kid: String,
    public: [u8; 32],
}

impl Tokens {
    /// With the deployment's key, made the first time.
    pub async fn load(accounts: &dyn Accounts) -> Result<Self, Refusal> {
        let fresh: [u8; 32] = rand::random();
        let kept = accounts
            .put_secret(SECRET, &fresh)
            .await
            .map_err(|error| store_refusal(&error))?;
        let damaged = || Refusal::new(Code::Internal, "the stored signing key could not be read");
        let seed: [u8; 32] = kept.try_into().map_err(|_| damaged())?;
        let signing = SigningKey::from_bytes(&seed);
        let private = signing.to_pkcs8_der().map_err(|_| damaged())?;
        let public = signing.verifying_key().to_bytes();
        let encoded = BASE64_URL_SAFE_NO_PAD.encode(public);
        Ok(Self {
            encoding: EncodingKey::from_ed_der(private.as_bytes()),
            decoding: DecodingKey::from_ed_components(&encoded).map_err(|_| damaged())?,
            kid: BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(public)[..12]),
            public,
        })
    }

    /// A token of a device's sign-in; times in seconds since 1970 UTC.
    pub fn sign(
        &self,
        user: UserId,
        device: &str,
        family: u64,
        now_s: u64,
        expires_s: u64,
    ) -> Result<String, Refusal> {
        let header = Header {
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        let claims = Wire {
            iss: ISSUER.to_owned(),
            sub: user,
            device: device.to_owned(),
            sid: family.to_string(),
            iat: now_s,
            exp: expires_s,
        };
        jsonwebtoken::encode(&header, &claims, &self.encoding)
            .map_err(|_| Refusal::new(Code::Internal, "the token could not be signed"))
    }

    /// What a good token says; `expired` for one that was good, `unauthenticated` for everything else.
    pub fn read(&self, token: &str, now_s: u64) -> Result<Claims, Refusal> {
        let bad = || Refusal::new(Code::Unauthenticated, "the token is not one of ours");
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        // Expiry is looked at below, by this process's own clock.
        validation.validate_exp = false;
        let read =
            jsonwebtoken::decode::<Wire>(token, &self.decoding, &validation).map_err(|_| bad())?;
        let Wire {
            sub,
            device,
            sid,
            exp,
            ..
        } = read.claims;
        if exp <= now_s {
            return Err(Refusal::new(Code::Expired, "the token has expired"));
        }
        Ok(Claims {
            user: sub,
            device,
            family: sid.parse().map_err(|_| bad())?,
        })
    }

    /// The public keys, as RFC 7517 and RFC 8037 have them.
    pub fn jwks(&self) -> Value {
        json!({"keys": [{
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": "EdDSA",
            "kid": self.kid,
            "x": BASE64_URL_SAFE_NO_PAD.encode(self.public),
        }]})
    }
}
