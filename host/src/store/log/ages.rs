//! What is kept in memory of conversations, bounded, in two ages: what was not asked for while a whole age went by is
//! forgotten. Loading happens under a shard's lock, so that no reader puts something older over something newer.

use parking_lot::Mutex;

use crate::ids::ConversationId;
use crate::maps::HashMap;

pub const SHARDS: usize = 32;

struct Shard<V> {
    young: HashMap<ConversationId, V>,
    old: HashMap<ConversationId, V>,
    /// Of the young ones.
    weight: usize,
}

pub struct Ages<V> {
    shards: Vec<Mutex<Shard<V>>>,
    /// Weight of one age in one shard.
    most: usize,
    weigh: fn(&V) -> usize,
}

impl<V: Clone> Ages<V> {
    /// `most` is the weight kept in all.
    pub fn new(most: usize, weigh: fn(&V) -> usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                young: HashMap::default(),
                old: HashMap::default(),
                weight: 0,
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            most: (most / SHARDS / 2).max(1),
            weigh,
        }
    }

    fn shard(&self, id: ConversationId) -> &Mutex<Shard<V>> {
        &self.shards[id.0 as usize % SHARDS]
    }

    /// What is kept of a conversation, loaded when it is not in memory; `None` when there is nothing to load.
    pub fn get<E>(
        &self,
        id: ConversationId,
        load: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E> {
        let mut shard = self.shard(id).lock();
        if let Some(value) = shard.young.get(&id) {
            return Ok(Some(value.clone()));
        }
        let value = match shard.old.remove(&id) {
            Some(value) => value,
            None => match load()? {
                Some(value) => value,
                None => return Ok(None),
            },
        };
        self.keep(&mut shard, id, value.clone());
        Ok(Some(value))
    }

    /// What is kept from now on.
    pub fn put(&self, id: ConversationId, value: V) {
        let mut shard = self.shard(id).lock();
        shard.old.remove(&id);
        self.keep(&mut shard, id, value);
    }

    /// Changes what is in memory; what is not is right when it is loaded.
    pub fn change(&self, id: ConversationId, change: impl FnOnce(&V) -> V) {
        let mut shard = self.shard(id).lock();
        let known = shard.young.get(&id).or_else(|| shard.old.get(&id));
        if let Some(changed) = known.map(change) {
            shard.old.remove(&id);
            self.keep(&mut shard, id, changed);
        }
    }

    fn keep(&self, shard: &mut Shard<V>, id: ConversationId, value: V) {
        let (before, new) = (
            shard.young.get(&id).map_or(0, self.weigh),
            (self.weigh)(&value),
        );
        let weight = shard.weight - before + new;
        if weight > self.most && !shard.young.is_empty() {
            shard.young.remove(&id);
            shard.old = std::mem::take(&mut shard.young);
            shard.weight = new;
        } else {
            shard.weight = weight;
        }
        shard.young.insert(id, value);
    }
}
