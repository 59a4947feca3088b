//! Who is in the groups that are spoken in, in memory, so that delivering an entry reads no rows. Bounded by the number of
//! members kept in all; made again from the rows. The committer brings a roster up to date after each commit.

use std::sync::Arc;

use super::ages::Ages;
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};
use crate::store::StoreError;
use crate::store::groups::{MemberRow, Roster};

/// One change of a group's membership: since when the user is a member, or that it is none any more.
pub type Move = (ConversationId, UserId, Option<Seq>);

pub struct Rosters(Ages<Roster>);

impl Rosters {
    /// `most` is how many members are kept in all.
    pub fn new(most: usize) -> Self {
        Self(Ages::new(most, |roster| roster.users.len()))
    }

    /// A group's roster.
    pub fn get(
        &self,
        id: ConversationId,
        load: impl FnOnce() -> Result<Vec<MemberRow>, StoreError>,
    ) -> Result<Roster, StoreError> {
        let load = || {
            load().map(|rows| {
                Some(Roster {
                    users: rows.iter().map(|(user, _)| *user).collect(),
                    since: rows.iter().map(|(_, member)| member.joined_seq).collect(),
                })
            })
        };
        Ok(self.0.get(id, load)?.unwrap_or_default())
    }

    /// Brings the rosters in memory up to date with what has been committed; in the order of the log.
    pub fn apply(&self, mut moves: Vec<Move>) {
        // Stable, so that of two moves of one user the later one stays the later.
        moves.sort_by_key(|(id, user, _)| (*id, *user));
        for group in moves.chunk_by(|one, next| one.0 == next.0) {
            self.0.change(group[0].0, |roster| moved(roster, group));
        }
    }
}

/// A roster after moves that are sorted by user.
fn moved(roster: &Roster, moves: &[Move]) -> Roster {
    let most = roster.users.len() + moves.len();
    let (mut users, mut since) = (Vec::with_capacity(most), Vec::with_capacity(most));
    let mut known = roster.users.iter().zip(&*roster.since).peekable();
    for of_user in moves.chunk_by(|one, next| one.1 == next.1) {
        let user = of_user[0].1;
        while let Some((other, from)) = known.next_if(|(other, _)| **other < user) {
            users.push(*other);
            since.push(*from);
        }
        known.next_if(|(other, _)| **other == user);
        if let Some((.., Some(from))) = of_user.last() {
            users.push(user);
            since.push(*from);
        }
    }
    for (other, from) in known {
        users.push(*other);
        since.push(*from);
    }
    Roster {
        users: Arc::from(users),
        since: Arc::from(since),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{Member, Role};
    use crate::store::log::ages::SHARDS;

    const GROUP: ConversationId = ConversationId(16);

    fn rows(users: &[u64]) -> Vec<MemberRow> {
        let member = Member::new(Role::Member, 0, 1, 0, 0, 0);
        users
            .iter()
            .map(|user| (UserId(*user), member.clone()))
            .collect()
    }

    fn users(roster: &Roster) -> Vec<(u64, Seq)> {
        let pairs = roster.users.iter().zip(&*roster.since);
        pairs.map(|(user, since)| (user.0, *since)).collect()
    }

    #[test]
    fn a_roster_in_memory_follows_who_comes_and_goes_and_comes_again() {
        let rosters = Rosters::new(1_000);
        rosters.get(GROUP, || Ok(rows(&[2, 5, 9]))).expect("loads");
        let to = |user, since| (GROUP, UserId(user), since);
        rosters.apply(vec![
            to(7, Some(4)),
            to(2, None),
            to(9, None),
            to(9, Some(6)),
            to(1, Some(7)),
            to(5, None),
        ]);
        let roster = rosters
            .get(GROUP, || panic!("it is in memory"))
            .expect("known");
        assert_eq!(users(&roster), [(1, 7), (7, 4), (9, 6)]);
        assert!(roster.gets(2, 6) && !roster.gets(2, 5));
    }

    #[test]
    fn what_was_not_asked_for_while_an_age_went_by_is_loaded_again() {
        let rosters = Rosters::new(SHARDS * 2 * 3);
        let other = |n: u128| ConversationId(GROUP.0 + n * SHARDS as u128);
        rosters.get(GROUP, || Ok(rows(&[1, 2]))).expect("loads");
        for n in 1..4 {
            rosters.get(other(n), || Ok(rows(&[1, 2]))).expect("loads");
        }
        let again = rosters.get(GROUP, || Ok(rows(&[3]))).expect("loads");
        assert_eq!(users(&again), [(3, 0)]);
        // A move of a group that is not in memory is nothing: its rows are read when it is asked for.
        rosters.apply(vec![(other(1), UserId(8), Some(1))]);
    }
}
