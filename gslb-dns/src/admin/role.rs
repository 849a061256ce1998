//! Who stands at the admin socket, and what they may do there. Pure: the system is asked in `socket`.

use crate::keeper::By;
use crate::world::Operator;

/// Octets of a name that root speaks for.
const LONGEST_CLAIM: usize = 64;

/// What somebody may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// See everything.
    Reader,
    /// Change things as well.
    Operator,
}

/// The process at the other end of a socket, as the kernel vouches for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    pub uid: u32,
    pub pid: Option<i32>,
    /// The user's name, if the system knows one.
    pub user: Option<String>,
    /// Names of the groups that the user is in.
    pub groups: Vec<String>,
}

impl Peer {
    pub fn role(&self, own_uid: u32, operators: &[Operator]) -> Role {
        let is_named = |operator: &Operator| match operator {
            Operator::User(name) => self.user.as_deref() == Some(name),
            Operator::Group(name) => self.groups.iter().any(|group| **group == **name),
        };
        match self.uid == 0 || self.uid == own_uid || operators.iter().any(is_named) {
            true => Role::Operator,
            false => Role::Reader,
        }
    }

    /// As overrides and the audit log name them. Root may speak for somebody, as sudo makes it.
    pub fn by(&self, claims: Option<&str>) -> By {
        let user = self.user.clone().unwrap_or_else(|| format!("uid {}", self.uid));
        let is_name = |name: &str| {
            (1..=LONGEST_CLAIM).contains(&name.len())
                && name.chars().all(|one| one.is_ascii_alphanumeric() || "._-@".contains(one))
        };
        let claims = claims.filter(|name| self.uid == 0 && **name != user && is_name(name));
        let who = match claims {
            Some(name) => format!("{name} as {user}"),
            None => user,
        };
        By { who: who.into(), uid: Some(self.uid), pid: self.pid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, user: &str, groups: &[&str]) -> Peer {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Peer { uid, pid: Some(1), user: (!user.is_empty()).then(|| user.to_owned()), groups }
    }

    #[test]
    fn root_the_server_itself_and_the_named_may_change_things() {
        let named = [Operator::User("alice".into()), Operator::Group("ops".into())];
        let check = |peer: Peer, expected: Role| {
            assert_eq!(peer.role(53, &named), expected, "{peer:?}");
        };
        check(peer(0, "root", &["root"]), Role::Operator);
        check(peer(53, "gslb", &[]), Role::Operator);
        check(peer(1000, "alice", &["alice"]), Role::Operator);
        check(peer(1001, "bob", &["bob", "ops"]), Role::Operator);
        check(peer(1001, "bob", &["bob", "alice"]), Role::Reader);
        check(peer(1002, "ops", &["nobody"]), Role::Reader);
        check(peer(1003, "", &[]), Role::Reader);
        assert_eq!(peer(1000, "alice", &[]).role(53, &[]), Role::Reader);
    }

    #[test]
    fn only_root_speaks_for_others() {
        let who = |peer: Peer, claims| peer.by(claims).who.to_string();
        assert_eq!(who(peer(0, "root", &[]), Some("alice")), "alice as root");
        assert_eq!(who(peer(0, "root", &[]), None), "root");
        assert_eq!(who(peer(1000, "bob", &[]), Some("alice")), "bob");
        assert_eq!(who(peer(1000, "", &[]), None), "uid 1000");
        let (long, longer) = ("a".repeat(64), "a".repeat(65));
        assert_eq!(who(peer(0, "root", &[]), Some(&long)), format!("{long} as root"));
        for no_name in [&longer, "", "a b", "a\nb", "{}"] {
            assert_eq!(who(peer(0, "root", &[]), Some(no_name)), "root", "{no_name:?}");
        }
    }
}
