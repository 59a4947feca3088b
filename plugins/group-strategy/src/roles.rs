//! Roles as the host names them, and the other facts it tells.
//! Reads a command; decides nothing.

use kith_plugin::Command;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Outside,
    Member,
    Admin,
    Owner,
}

impl Role {
    /// A role this plugin does not know is nobody's.
    pub fn of(name: &str) -> Self {
        match name {
            "owner" => Self::Owner,
            "admin" => Self::Admin,
            "member" => Self::Member,
            _ => Self::Outside,
        }
    }
}

pub fn in_charge(command: &Command) -> bool {
    Role::of(&command.sender_role) >= Role::Admin
}

/// The sender's role is above that of whom it is about; above nobody's when it is about nobody.
pub fn over_peer(command: &Command) -> bool {
    command.peer.is_empty() || Role::of(&command.sender_role) > Role::of(&command.peer_role)
}

/// Something the host tells by name; empty when it does not.
pub fn fact<'a>(command: &'a Command, name: &str) -> &'a str {
    command
        .facts
        .iter()
        .find(|fact| fact.name == name)
        .map_or("", |fact| fact.value.as_str())
}
