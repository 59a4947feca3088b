//! Password hashing: argon2id, off the async threads,
//! a few at a time. Verifying against no user costs the same.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use crate::refusal::{Code, Refusal};

/// How much a guess costs.
#[derive(Debug, Clone, Copy)]
pub struct PasswordCost {
    /// KiB of memory, at least 8.
    pub memory_kib: u32,
    /// Passes over it, at least 1.
    pub passes: u32,
}

/// Hashes at once; each takes its memory.
const AT_ONCE: usize = 2;
/// Requests that may wait for a hash before more are refused (I5).
const WAITING_MOST: usize = 256;

/// Hashes and verifies passwords.
pub struct Passwords {
    argon2: Argon2<'static>,
    /// Of a password nobody has: what unknown users are verified against.
    nobody: String,
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// Fails when the cost is outside what argon2 takes.
    pub fn new(cost: PasswordCost) -> Result<Self, String> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None)
            .map_err(|error| error.to_string())?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = argon2
            .hash_password(&rand::random::<[u8; 32]>())
            .map_err(|error| error.to_string())?
            .to_string();
        Ok(Self {
            argon2,
            nobody,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING_MOST)),
        })
    }

    /// The PHC string to keep.
    pub async fn hash(&self, password: String) -> Result<String, Refusal> {
        let argon2 = self.argon2.clone();
        let hashed = self.in_turn(move || {
            argon2
                .hash_password(password.as_bytes())
                .map(|hash| hash.to_string())
        });
        hashed
            .await?
            .map_err(|_| Refusal::new(Code::Internal, "the password could not be hashed"))
    }

    /// Whether the password is the one that was hashed; always false without a hash.
    pub async fn verify(&self, password: String, hashed: Option<String>) -> Result<bool, Refusal> {
        let argon2 = self.argon2.clone();
        let known = hashed.is_some();
        let hashed = hashed.unwrap_or_else(|| self.nobody.clone());
        let verified = self.in_turn(move || {
            let parsed = PasswordHash::new(&hashed).ok()?;
            argon2.verify_password(password.as_bytes(), &parsed).ok()
        });
        Ok(verified.await?.is_some() && known)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = || Refusal::unavailable("too many sign-ins at once");
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let _turn = self.turns.acquire().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| busy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_verifies_and_nobody_has_none() {
        let passwords = Passwords::new(PasswordCost {
            memory_kib: 8,
            passes: 1,
        })
        .expect("a cost argon2 takes");
        let hashed = passwords
            .hash("correct horse".into())
            .await
            .expect("hashes");
        assert!(hashed.starts_with("$argon2id$"));
        assert_eq!(
            passwords
                .verify("correct horse".into(), Some(hashed.clone()))
                .await,
            Ok(true)
        );
        assert_eq!(
            passwords.verify("wrong".into(), Some(hashed)).await,
            Ok(false)
        );
        assert_eq!(
            passwords.verify("correct horse".into(), None).await,
            Ok(false)
        );
        assert!(
            Passwords::new(PasswordCost {
                memory_kib: 1,
                passes: 1
            })
            .is_err()
        );
    }
}
