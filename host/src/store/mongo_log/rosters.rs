//! Who is in the groups that are spoken in, in memory. Each is known by the stamp of its last change, which is looked up
//! with every use: what another node changed is never served from here. Bounded by the members kept in all.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::ids::ConversationId;
use crate::store::groups::Roster;

/// Members kept in all; all are forgotten when there are more.
const MEMBERS_MOST: usize = 4_000_000;

#[derive(Default)]
pub struct Rosters(Mutex<Known>);

#[derive(Default)]
struct Known {
    rosters: HashMap<ConversationId, (u64, Roster)>,
    members: usize,
}

impl Rosters {
    /// A roster as of a change of who is a member.
    pub fn get(&self, id: ConversationId, moved: u64) -> Option<Roster> {
        let known = self.0.lock();
        let (of, roster) = known.rosters.get(&id)?;
        (*of == moved).then(|| roster.clone())
    }

    pub fn put(&self, id: ConversationId, moved: u64, roster: Roster) {
        let mut known = self.0.lock();
        if known.members + roster.users.len() > MEMBERS_MOST {
            *known = Known::default();
        }
        known.members += roster.users.len();
        if let Some((_, before)) = known.rosters.insert(id, (moved, roster)) {
            known.members -= before.users.len();
        }
    }
}
