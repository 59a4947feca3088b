//! Members and join requests of groups on disk:
//! the reads of both. Every read sees what is committed, nothing else.

use super::tables::{Tables, damaged, unavailable};
use crate::conversation::Member;
use crate::ids::{ConversationId, JoinRequestId, UserId};
use crate::store::StoreError;
use crate::store::groups::{JoinRequest, MemberRow};
use crate::store::log::rows::Reader;
use crate::store::log::{join_request, key};

fn decode_member(bytes: &[u8]) -> Result<Member, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|_| damaged("a member"))
}

impl Tables {
    pub fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        match self.row(&key::member(conversation, user))? {
            Some(bytes) => decode_member(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Present members of a conversation after one, by id.
    pub fn member_page(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let first = after.map_or(0, |after| after.0.saturating_add(1));
        let mut members = Vec::new();
        if limit == 0 || after == Some(UserId(u64::MAX)) {
            return Ok(members);
        }
        let range =
            key::member(conversation, UserId(first))..=key::member(conversation, UserId(u64::MAX));
        for guard in self.rows.range(range) {
            let (found, bytes) = guard.into_inner().map_err(unavailable)?;
            let member = decode_member(&bytes)?;
            if member.left.is_some() {
                continue;
            }
            let user = Reader(found.get(17..).unwrap_or_default())
                .u64()
                .ok_or_else(|| damaged("a member's key"))?;
            members.push((UserId(user), member));
            if members.len() == limit {
                break;
            }
        }
        Ok(members)
    }

    /// The request under an id.
    pub fn join_request(
        &self,
        conversation: ConversationId,
        id: JoinRequestId,
    ) -> Result<Option<JoinRequest>, StoreError> {
        match self.row(&key::join_request(conversation, id))? {
            Some(bytes) => join_request::decode(id, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The request of a user that waits.
    pub fn request_of(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<JoinRequestId>, StoreError> {
        match self.row(&key::request_of(conversation, user))? {
            Some(bytes) => Reader(&bytes)
                .u64()
                .map(|id| Some(JoinRequestId(id)))
                .ok_or_else(|| damaged("a join request")),
            None => Ok(None),
        }
    }

    /// Requests that wait after one, oldest first.
    pub fn join_requests(
        &self,
        conversation: ConversationId,
        after: Option<JoinRequestId>,
        limit: usize,
    ) -> Result<Vec<JoinRequest>, StoreError> {
        let first = JoinRequestId(after.map_or(0, |after| after.0.saturating_add(1)));
        let range = key::join_request(conversation, first)
            ..=key::join_request(conversation, JoinRequestId(u64::MAX));
        let mut requests = Vec::new();
        for guard in self.rows.range(range).take(limit) {
            let (found, bytes) = guard.into_inner().map_err(unavailable)?;
            let id = Reader(found.get(17..).unwrap_or_default())
                .u64()
                .ok_or_else(|| damaged("a join request's key"))?;
            requests.push(join_request::decode(JoinRequestId(id), &bytes)?);
        }
        Ok(requests)
    }
}
