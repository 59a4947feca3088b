//! A member as it stood at a stamp, where its conversation went on meanwhile: receipts are written in place, and may be of
//! entries that are not moved. No I/O.

use crate::conversation::Member;
use crate::entry::Seq;

/// The newest entry up to the stamp, and how many messages there were with it.
pub type Head = (Seq, u64);

/// `head` is there only where the conversation went on; `None` for whoever came later.
pub fn as_of(member: Member, head: Option<&Head>, stamp: u64) -> Option<Member> {
    let Some((head, ordinal)) = head else {
        return Some(member);
    };
    if member.joined_seq > *head || *head == 0 {
        return None;
    }
    let mut member = member;
    if member.read > *head {
        (member.read, member.read_ordinal) = (*head, *ordinal);
    }
    member.received = member.received.min(*head).max(member.read);
    member.own_above.retain(|own| own <= head);
    member.hidden_at = member.hidden_at.min(*head);
    member.left = member.left.filter(|left| *left <= stamp);
    Some(member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Role;

    #[test]
    fn receipts_go_back_to_the_head_there_was() {
        let mut one = Member::new(Role::Member, 5, 1, 3, 0, 90);
        (one.received, one.read, one.read_ordinal) = (9, 8, 7);
        (one.own_above, one.left) = (vec![4, 9], Some(200));
        assert_eq!(as_of(one.clone(), None, 100), Some(one.clone()));
        let then = as_of(one.clone(), Some(&(6, 5)), 100).expect("was there");
        assert_eq!((then.received, then.read, then.read_ordinal), (6, 6, 5));
        assert_eq!((then.own_above, then.left), (vec![4], None));
        one.joined_seq = 7;
        assert_eq!(as_of(one, Some(&(6, 5)), 100), None);
    }
}
