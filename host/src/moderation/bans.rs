//! The bans in force, in memory, so that asking costs nothing where there are none; what is stored is stored first.
//! Says who is kept out; ends nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::ids::UserId;
use crate::refusal::{Code, Refusal};
use crate::store::StoreError;
use crate::store::moderation::{Ban, BanKind, Moderation, NewBan};

/// Bans by kind and subject.
type Known = [HashMap<String, Ban>; BanKind::ALL.len()];

/// Who is kept out, and from what.
pub struct Bans {
    store: Arc<dyn Moderation>,
    known: RwLock<Known>,
    /// Of `known`, those that are over among them.
    count: AtomicUsize,
    /// One change at a time: the store and the memory agree.
    changing: Mutex<()>,
}

/// Somebody who comes in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visitor<'a> {
    pub user: Option<UserId>,
    pub device: Option<&'a str>,
    pub address: Option<IpAddr>,
}

impl Bans {
    /// Those that are in force at this time.
    pub async fn load(store: Arc<dyn Moderation>, now: u64) -> Result<Self, StoreError> {
        let bans = Self {
            store,
            known: RwLock::default(),
            count: AtomicUsize::new(0),
            changing: Mutex::new(()),
        };
        bans.read_again(now).await?;
        Ok(bans)
    }

    /// Reads the store again: another node has changed it.
    pub async fn read_again(&self, now: u64) -> Result<(), StoreError> {
        let _changing = self.changing.lock().await;
        let mut known = Known::default();
        for ban in self.store.bans(now).await? {
            known[ban.made.kind as usize].insert(ban.made.subject.clone(), ban);
        }
        self.recount(&known);
        *self.known.write() = known;
        Ok(())
    }

    /// The ban of a kind that a subject is under.
    pub fn in_force(&self, kind: BanKind, subject: &str, now: u64) -> Option<Ban> {
        let known = self.known.read();
        let ban = known[kind as usize].get(subject)?;
        ban.made
            .until
            .is_none_or(|until| now < until)
            .then(|| ban.clone())
    }

    /// Refuses whoever is kept out.
    pub fn admit(&self, visitor: Visitor<'_>, now: u64) -> Result<(), Refusal> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let banned = |kind, subject: &str| self.in_force(kind, subject, now).is_some();
        let why = match visitor {
            Visitor {
                user: Some(user), ..
            } if banned(BanKind::User, &user.to_string()) => "the user is banned",
            Visitor {
                device: Some(device),
                ..
            } if banned(BanKind::Device, device) => "the device is banned",
            Visitor {
                address: Some(address),
                ..
            } if banned(BanKind::Address, &address.to_canonical().to_string()) => {
                "this address is banned"
            }
            _ => return Ok(()),
        };
        Err(Refusal::new(Code::Banned, why))
    }

    /// Refuses whoever may not speak anywhere.
    pub fn admit_speech(&self, user: UserId, now: u64) -> Result<(), Refusal> {
        if self.count.load(Ordering::Relaxed) == 0
            || self
                .in_force(BanKind::Speech, &user.to_string(), now)
                .is_none()
        {
            return Ok(());
        }
        Err(Refusal::new(Code::Muted, "one may not speak now"))
    }

    /// Puts a ban in force, in place of the one of its kind and subject.
    pub async fn put(&self, new: NewBan) -> Result<Ban, StoreError> {
        let _changing = self.changing.lock().await;
        let id = self.store.put_ban(&new).await?;
        let now = new.at;
        let ban = Ban { id, made: new };
        let mut known = self.known.write();
        for bans in known.iter_mut() {
            bans.retain(|_, old| old.made.until.is_none_or(|until| now < until));
        }
        known[ban.made.kind as usize].insert(ban.made.subject.clone(), ban.clone());
        self.recount(&known);
        Ok(ban)
    }

    /// Lifts a ban; `None` where there is no such one.
    pub async fn lift(&self, id: u64) -> Result<Option<Ban>, StoreError> {
        let _changing = self.changing.lock().await;
        if !self.store.remove_ban(id).await? {
            return Ok(None);
        }
        let mut known = self.known.write();
        let mut lifted = None;
        for bans in known.iter_mut() {
            let subject = bans.iter().find(|(_, ban)| ban.id == id);
            if let Some(subject) = subject.map(|(subject, _)| subject.clone()) {
                lifted = bans.remove(&subject);
            }
        }
        self.recount(&known);
        Ok(lifted)
    }

    /// Every ban in force, oldest first.
    pub fn list(&self, now: u64) -> Vec<Ban> {
        let known = self.known.read();
        let in_force = |ban: &&Ban| ban.made.until.is_none_or(|until| now < until);
        let mut bans: Vec<Ban> = known
            .iter()
            .flat_map(|bans| bans.values().filter(in_force).cloned())
            .collect();
        bans.sort_by_key(|ban| ban.id);
        bans
    }

    fn recount(&self, known: &Known) {
        let count = known.iter().map(HashMap::len).sum();
        self.count.store(count, Ordering::Relaxed);
    }
}
