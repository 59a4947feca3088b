//! Who somebody is: passwords, access tokens, refresh tokens, and ending what lives of them.
//!
//! Access tokens are short-lived and signed; a device's sign-in is a family that both kinds of token belong to, so
//! that ending it ends both. Knows no HTTP and no sockets.

mod passwords;
mod tokens;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

pub use self::passwords::{PasswordCost, Passwords};
pub use self::tokens::Tokens;
use crate::clock::Clock;
use crate::conversation::Profile;
use crate::delivery::restoring::StillGood;
use crate::gateway::rate::UserRates;
use crate::gateway::{Caller, Doorkeeper};
use crate::ids::UserId;
use crate::journey::store_refusal;
use crate::moderation::Rules;
use crate::moderation::bans::Visitor;
use crate::plugins::Occasion;
use crate::refusal::{Code, Refusal};
use crate::session::registry::Registry;
use crate::session::{Bye, Session};
use crate::store::accounts::{Accounts, Device, Rotation, User, UserKind};

/// How long tokens last.
#[derive(Debug, Clone, Copy)]
pub struct TokenLife {
    /// Seconds an access token is good.
    pub access_s: u64,
    /// Seconds a refresh token is good after its last use.
    pub refresh_s: u64,
}

/// A sign-in as a client is given it.
#[derive(Debug, Clone)]
pub struct Issued {
    pub access_token: String,
    pub refresh_token: String,
    pub expires_in: u64,
}

/// Why no token was given, in the words of RFC 6749.
#[derive(Debug)]
pub enum GrantError {
    InvalidGrant(&'static str),
    Refused(Refusal),
}

impl From<Refusal> for GrantError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Checks and issues; the one place that ends devices.
pub struct Identity {
    pub accounts: Arc<dyn Accounts>,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub clock: Arc<dyn Clock>,
    pub registry: Arc<Registry>,
    pub life: TokenLife,
    /// Devices a user may be signed in on.
    pub devices_most: usize,
    pub rules: Arc<Rules>,
    /// `None` when rates are off.
    pub rates: Option<UserRates>,
}

/// What a device says of itself when it signs in.
#[derive(Debug, Clone)]
pub struct NewDevice {
    pub id: String,
    pub kind: String,
}

impl Identity {
    /// RFC 6749 password grant.
    pub async fn sign_in(
        &self,
        username: &str,
        password: &str,
        device: NewDevice,
        address: Option<IpAddr>,
    ) -> Result<Issued, GrantError> {
        let stranger = Visitor {
            user: None,
            device: Some(&device.id),
            address,
        };
        self.let_in(stranger)?;
        let wrong = GrantError::InvalidGrant("the user name or the password is wrong");
        let user = self
            .accounts
            .user_named(username)
            .await
            .map_err(|e| store_refusal(&e))?;
        let stored = user.as_ref().and_then(|user| user.password.clone());
        if !self.passwords.verify(password.to_owned(), stored).await? {
            return Err(wrong);
        }
        let Some(user) = user.filter(|user| user.kind == UserKind::Person) else {
            return Err(wrong);
        };
        if user.disabled {
            return Err(GrantError::InvalidGrant("the user is disabled"));
        }
        let known = Visitor {
            user: Some(user.profile.id),
            ..stranger
        };
        self.let_in(known)?;
        self.rule_on_login(&user.profile, &device, address).await?;
        let now = self.clock.now_ms();
        let (refresh_token, refresh) = new_refresh();
        let device = Device {
            user: user.profile.id,
            id: device.id,
            name: device.kind.clone(),
            kind: device.kind,
            family: rand::random(),
            refresh,
            refresh_expires_at: now + self.life.refresh_s * 1000,
            created_at: now,
            seen_at: now,
        };
        let ended = self
            .accounts
            .put_device(&device, self.devices_most)
            .await
            .map_err(|e| store_refusal(&e))?;
        for surplus in &ended {
            self.registry
                .end(surplus.user, Some(&surplus.id), None, Bye::Unauthenticated);
        }
        // The same device's earlier sign-in is over, and so is whatever lives of it.
        self.registry
            .end(device.user, Some(&device.id), None, Bye::Unauthenticated);
        Ok(self.issue(&device, refresh_token, now)?)
    }

    /// RFC 6749 refresh grant; a token used twice ends its device.
    pub async fn refresh(
        &self,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<Issued, GrantError> {
        let now = self.clock.now_ms();
        // Before the token is used up: a ban may end before it does.
        let whose = self.accounts.device_of_refresh(hash(token)).await;
        let whose = whose.map_err(|e| store_refusal(&e))?;
        self.let_in(Visitor {
            user: whose.as_ref().map(|device| device.user),
            device: whose.as_ref().map(|device| device.id.as_str()),
            address,
        })?;
        let (refresh_token, refresh) = new_refresh();
        let expires_at = now + self.life.refresh_s * 1000;
        let rotated = self
            .accounts
            .rotate_refresh(hash(token), refresh, expires_at, now)
            .await;
        match rotated.map_err(|e| store_refusal(&e))? {
            Rotation::Rotated(device) => {
                let user = self
                    .accounts
                    .user(device.user)
                    .await
                    .map_err(|e| store_refusal(&e))?;
                if user.is_none_or(|user| user.disabled) {
                    return Err(GrantError::InvalidGrant("the user is disabled"));
                }
                Ok(self.issue(&device, refresh_token, now)?)
            }
            Rotation::Reused(device) => {
                self.registry
                    .end(device.user, Some(&device.id), None, Bye::Unauthenticated);
                Err(GrantError::InvalidGrant(
                    "this refresh token was used before; the device is signed out",
                ))
            }
            Rotation::Unknown => Err(GrantError::InvalidGrant(
                "the refresh token is not good any more",
            )),
        }
    }

    /// Keeps the banned out, in the words of RFC 6749.
    fn let_in(&self, visitor: Visitor<'_>) -> Result<(), GrantError> {
        let admitted = self.rules.bans.admit(visitor, self.clock.now_ms());
        admitted
            .map_err(|_| GrantError::InvalidGrant("the user, the device or the address is banned"))
    }

    async fn rule_on_login(
        &self,
        who: &Profile,
        device: &NewDevice,
        address: Option<IpAddr>,
    ) -> Result<(), GrantError> {
        let asked = self.rules.ask_to_come_in(|| Occasion {
            kind: "login",
            user: who.id.to_string(),
            username: who.username.clone(),
            address: shown(address),
            device: device.id.clone(),
            device_kind: device.kind.clone(),
            ..Occasion::default()
        });
        asked.await.map_err(|refusal| match refusal.code {
            Code::Unavailable | Code::Timeout | Code::Internal => GrantError::Refused(refusal),
            _ => GrantError::InvalidGrant("a rule of the administrators keeps this sign-in out"),
        })
    }

    fn issue(&self, device: &Device, refresh_token: String, now: u64) -> Result<Issued, Refusal> {
        let expires_at_s = now / 1000 + self.life.access_s;
        let access_token = self.tokens.sign(
            device.user,
            &device.id,
            device.family,
            now / 1000,
            expires_at_s,
        )?;
        Ok(Issued {
            access_token,
            refresh_token,
            expires_in: self.life.access_s,
        })
    }

    /// RFC 7009: ends the device a token of either kind belongs to; unknown tokens are no error.
    pub async fn revoke(&self, token: &str) -> Result<(), Refusal> {
        let by_refresh = self
            .accounts
            .device_of_refresh(hash(token))
            .await
            .map_err(|e| store_refusal(&e))?;
        let device = match by_refresh {
            Some(device) => Some((device.user, device.id)),
            None => match self.tokens.read(token, self.clock.now_ms() / 1000) {
                Ok(claims) => self
                    .in_force(&claims)
                    .await?
                    .map(|device| (device.user, device.id.clone())),
                Err(_) => None,
            },
        };
        match device {
            Some((user, id)) => self.end_device(user, &id).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Signs a device out and ends its session; whether there was one.
    pub async fn end_device(&self, user: UserId, device: &str) -> Result<bool, Refusal> {
        let ended = self
            .accounts
            .end_device(user, device)
            .await
            .map_err(|e| store_refusal(&e))?;
        self.registry
            .end(user, Some(device), None, Bye::Unauthenticated);
        Ok(ended.is_some())
    }

    /// Sets a new password and ends every other device.
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: &str,
        new: &str,
    ) -> Result<(), Refusal> {
        let user = self.known_user(caller.user).await?;
        if !self
            .passwords
            .verify(current.to_owned(), user.password.clone())
            .await?
        {
            return Err(Refusal::new(
                Code::Forbidden,
                "the current password is wrong",
            ));
        }
        let hashed = self.passwords.hash(new.to_owned()).await?;
        let keep = Some(caller.device.as_str());
        self.accounts
            .set_password(caller.user, &hashed, keep)
            .await
            .map_err(|e| store_refusal(&e))?;
        self.registry
            .end(caller.user, None, keep, Bye::Unauthenticated);
        Ok(())
    }

    /// One more of what `ask` counts; never refused when rates are off.
    pub fn admit(
        &self,
        ask: impl FnOnce(&UserRates) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.rates.as_ref().map_or(Ok(()), ask)
    }

    async fn known_user(&self, id: UserId) -> Result<Arc<User>, Refusal> {
        let user = self
            .accounts
            .user(id)
            .await
            .map_err(|e| store_refusal(&e))?;
        user.ok_or_else(|| Refusal::new(Code::Unauthenticated, "the user does not exist any more"))
    }

    /// The device a token's family is in force on.
    async fn in_force(&self, claims: &tokens::Claims) -> Result<Option<Arc<Device>>, Refusal> {
        let device = self
            .accounts
            .device(claims.user, &claims.device)
            .await
            .map_err(|e| store_refusal(&e))?;
        Ok(device.filter(|device| device.family == claims.family))
    }
}

#[async_trait]
impl Doorkeeper for Identity {
    async fn authenticate(&self, token: &str) -> Result<Caller, Refusal> {
        let claims = self.tokens.read(token, self.clock.now_ms() / 1000)?;
        if self.known_user(claims.user).await?.disabled {
            return Err(Refusal::new(Code::Banned, "the user is disabled"));
        }
        let visitor = Visitor {
            user: Some(claims.user),
            device: Some(&claims.device),
            address: None,
        };
        self.rules.bans.admit(visitor, self.clock.now_ms())?;
        match self.in_force(&claims).await? {
            Some(_) => Ok(Caller {
                user: claims.user,
                device: claims.device,
                family: claims.family,
            }),
            None => Err(Refusal::new(
                Code::Unauthenticated,
                "the device was signed out",
            )),
        }
    }

    async fn admit_connection(
        &self,
        caller: &Caller,
        device_kind: &str,
        address: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let visitor = Visitor {
            address,
            ..Visitor::default()
        };
        self.rules.bans.admit(visitor, self.clock.now_ms())?;
        let user = self.known_user(caller.user).await?;
        let asked = self.rules.ask_to_come_in(|| Occasion {
            kind: "connect",
            user: caller.user.to_string(),
            username: user.profile.username.clone(),
            address: shown(address),
            device: caller.device.clone(),
            device_kind: device_kind.to_owned(),
            ..Occasion::default()
        });
        asked.await
    }

    async fn profile(&self, user: UserId) -> Result<serde_json::Value, Refusal> {
        let user = self.known_user(user).await?;
        Ok(serde_json::to_value(&user.profile).expect("a profile encodes"))
    }

    async fn name_device(&self, caller: &Caller, name: &str) -> Result<(), Refusal> {
        let known = self
            .accounts
            .device(caller.user, &caller.device)
            .await
            .map_err(|e| store_refusal(&e))?;
        if known.is_none_or(|device| device.name == name) {
            return Ok(());
        }
        self.accounts
            .name_device(caller.user, &caller.device, name)
            .await
            .map_err(|e| store_refusal(&e))
    }

    fn admit_send(&self, user: UserId) -> Result<(), Refusal> {
        self.admit(|rates| rates.admit_send(user))
    }

    fn admit_request(&self, user: UserId) -> Result<(), Refusal> {
        self.admit(|rates| rates.admit_request(user))
    }

    fn admit_search(&self, user: UserId) -> Result<(), Refusal> {
        self.admit(|rates| rates.admit_search(user))
    }

    fn admit_signal(&self, user: UserId) -> Result<(), Refusal> {
        self.admit(|rates| rates.admit_signal(user))
    }
}

#[async_trait]
impl StillGood for Identity {
    async fn ended(&self, session: &Session) -> Option<Bye> {
        let user = self.accounts.user(session.user).await.ok()?;
        if user.is_none_or(|user| user.disabled) {
            return Some(Bye::Banned);
        }
        let visitor = Visitor {
            user: Some(session.user),
            device: Some(&session.device),
            address: None,
        };
        if self.rules.bans.admit(visitor, self.clock.now_ms()).is_err() {
            return Some(Bye::Banned);
        }
        let device = self
            .accounts
            .device(session.user, &session.device)
            .await
            .ok()?;
        let good = device.is_some_and(|device| device.family == session.family);
        (!good).then_some(Bye::Unauthenticated)
    }
}

impl crate::gateway::admin::Ender for Identity {
    fn end_user(&self, user: UserId) {
        self.registry.end(user, None, None, Bye::Banned);
    }
}

/// An address as rules are told it.
fn shown(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, |address| address.to_canonical().to_string())
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn new_refresh() -> (String, [u8; 32]) {
    let secret: [u8; 32] = rand::random();
    let token = BASE64_URL_SAFE_NO_PAD.encode(secret);
    let hashed = hash(&token);
    (token, hashed)
}
