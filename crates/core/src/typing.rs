//! Who types: one state per user, whichever of their devices it is.
//!
//! The room calls it for what local devices say, and for what the bus says. Two halves that never
//! mix: the *local* half decides what this node publishes about its own devices; the *shown* half
//! is what sockets were told, and follows the bus alone (our own publishes come back on it), so
//! every node shows the same. It sends nothing and knows no frames.
//!
//! A published `true` is good for [`RUN_OUT_MS`]. A renewal that comes too early to be published
//! is therefore owed and published when [`RENEWAL_MS`] have passed; dropping it would end the
//! state at the others too soon.

use std::sync::Arc;

use parlance_protocol::UserId;

use crate::{clock::Mono, room::MemberKey, user_map::UserMap};

/// A `true` without renewal ends after this.
pub const RUN_OUT_MS: u64 = 6_000;
/// A standing `true` is published at most once in this time.
pub const RENEWAL_MS: u64 = 2_000;
/// Most users that are shown as typing at once. Rooms where all are told are not larger.
pub const SHOWN_MAX: usize = 200;

/// The typing states of a room. Owns no memory while nobody types.
#[derive(Debug, Default)]
pub struct Typing {
    busy: Option<Box<Busy>>,
}

/// A user began, goes on, or stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypingChange {
    /// Who.
    pub user: UserId,
    /// The shown name.
    pub username: Arc<str>,
    /// Whether they type.
    pub is_typing: bool,
}

/// What came due.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TypingDue {
    /// To say on the bus: run-outs of local users, and owed renewals.
    pub publish: Vec<TypingChange>,
    /// To tell local sockets: users of whom nothing was heard for too long.
    pub show: Vec<TypingChange>,
}

/// Exists while at least one of the maps holds somebody.
#[derive(Debug)]
struct Busy {
    local: UserMap<LocalTyper>,
    shown: UserMap<Shown>,
    /// Nothing comes due before this; perhaps nothing at it.
    next: Mono,
}

#[derive(Debug)]
struct LocalTyper {
    username: Arc<str>,
    /// The devices that type, and when each runs out. Never empty.
    devices: Vec<(MemberKey, Mono)>,
    published: Mono,
    owes_renewal: bool,
}

#[derive(Debug)]
struct Shown {
    username: Arc<str>,
    until: Mono,
}

impl Typing {
    /// A local device of `user` said so. Returns what is to be published about the user, if
    /// anything.
    #[must_use]
    pub fn local(
        &mut self,
        member: MemberKey,
        user: &UserId,
        username: &Arc<str>,
        is_typing: bool,
        now: Mono,
    ) -> Option<bool> {
        if !is_typing {
            return self.gone(member, user).then_some(false);
        }
        let busy = self.busy();
        let publish = match busy.local.get_mut(user) {
            Some(typer) => typer.renew(member, now),
            None => {
                busy.local
                    .insert(user.clone(), LocalTyper::new(member, username, now));
                true
            }
        };
        let next = busy.local.get(user).map_or(busy.next, LocalTyper::next);
        busy.next = busy.next.min(next);
        publish.then_some(true)
    }

    /// A local device of `user` stopped, or its connection ended. Returns whether `false` is to be
    /// published: it was the last that typed.
    #[must_use]
    pub fn gone(&mut self, member: MemberKey, user: &UserId) -> bool {
        let Some(busy) = &mut self.busy else {
            return false;
        };
        let Some(typer) = busy.local.get_mut(user) else {
            return false;
        };
        typer.devices.retain(|(device, _)| *device != member);
        let was_last = typer.devices.is_empty();
        if was_last {
            busy.local.remove(user);
        }
        self.free_if_quiet();
        was_last
    }

    /// `user` sent a message, here or elsewhere: their typing is over on every device. Returns the
    /// shown name if local sockets are to be told `false`. Nothing is to be published, because
    /// every node sees the message.
    #[must_use]
    pub fn sent(&mut self, user: &UserId) -> Option<Arc<str>> {
        let busy = self.busy.as_mut()?;
        busy.local.remove(user);
        let shown = busy.shown.remove(user);
        self.free_if_quiet();
        shown.map(|shown| shown.username)
    }

    /// The bus said so. Returns what local sockets are to be told, if it is news.
    #[must_use]
    pub fn heard(
        &mut self,
        user: &UserId,
        username: &Arc<str>,
        is_typing: bool,
        now: Mono,
    ) -> Option<bool> {
        if !is_typing {
            let was_shown = self
                .busy
                .as_mut()
                .is_some_and(|busy| busy.shown.remove(user).is_some());
            self.free_if_quiet();
            return was_shown.then_some(false);
        }
        let until = now.plus_ms(RUN_OUT_MS);
        let busy = self.busy();
        if let Some(shown) = busy.shown.get_mut(user) {
            shown.until = until;
            return None;
        }
        if busy.shown.len() == SHOWN_MAX {
            return None;
        }
        let username = username.clone();
        busy.shown.insert(user.clone(), Shown { username, until });
        busy.next = busy.next.min(until);
        Some(true)
    }

    /// Who is shown as typing, without `except`: what a joiner is told.
    pub fn typing_now(&self, except: &UserId) -> impl Iterator<Item = (&UserId, &Arc<str>)> {
        self.busy
            .iter()
            .flat_map(|busy| busy.shown.iter())
            .filter(move |(user, _)| *user != except)
            .map(|(user, shown)| (user, &shown.username))
    }

    /// What nodes that open the conversation have to be told: the local users who type.
    #[must_use]
    pub fn local_now(&self) -> Vec<TypingChange> {
        let local = self.busy.iter().flat_map(|busy| busy.local.iter());
        let change = |(user, typer): (&UserId, &LocalTyper)| TypingChange {
            user: user.clone(),
            username: typer.username.clone(),
            is_typing: true,
        };
        local.map(change).collect()
    }

    /// When [`Typing::on_deadline`] wants to be called. May be too early, never too late.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.busy.as_ref().map(|busy| busy.next)
    }

    /// Ends what ran out and collects what is owed.
    #[must_use]
    pub fn on_deadline(&mut self, now: Mono) -> TypingDue {
        let mut due = TypingDue::default();
        if let Some(busy) = &mut self.busy
            && busy.next <= now
        {
            busy.next = Mono(u64::MAX);
            busy.collect_local(now, &mut due.publish);
            busy.collect_shown(now, &mut due.show);
        }
        self.free_if_quiet();
        due
    }

    fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_with(|| {
            Box::new(Busy {
                local: UserMap::default(),
                shown: UserMap::default(),
                next: Mono(u64::MAX),
            })
        })
    }

    fn free_if_quiet(&mut self) {
        self.busy
            .take_if(|busy| busy.local.is_empty() && busy.shown.is_empty());
    }
}

impl Busy {
    fn collect_local(&mut self, now: Mono, publish: &mut Vec<TypingChange>) {
        let next = &mut self.next;
        self.local.retain(|user, typer| {
            typer.devices.retain(|(_, until)| *until > now);
            let goes_on = !typer.devices.is_empty();
            if !goes_on || typer.renewal_due(now) {
                typer.published = now;
                typer.owes_renewal = false;
                publish.push(TypingChange {
                    user: user.clone(),
                    username: typer.username.clone(),
                    is_typing: goes_on,
                });
            }
            if goes_on {
                *next = typer.next().min(*next);
            }
            goes_on
        });
    }

    fn collect_shown(&mut self, now: Mono, show: &mut Vec<TypingChange>) {
        let next = &mut self.next;
        self.shown.retain(|user, shown| {
            let goes_on = shown.until > now;
            if goes_on {
                *next = shown.until.min(*next);
            } else {
                show.push(TypingChange {
                    user: user.clone(),
                    username: shown.username.clone(),
                    is_typing: false,
                });
            }
            goes_on
        });
    }
}

impl LocalTyper {
    fn new(member: MemberKey, username: &Arc<str>, now: Mono) -> Self {
        Self {
            username: username.clone(),
            devices: vec![(member, now.plus_ms(RUN_OUT_MS))],
            published: now,
            owes_renewal: false,
        }
    }

    /// A device said `true` while the user already types. Returns whether to publish it now.
    fn renew(&mut self, member: MemberKey, now: Mono) -> bool {
        self.devices.retain(|(device, _)| *device != member);
        self.devices.push((member, now.plus_ms(RUN_OUT_MS)));
        self.owes_renewal = true;
        if !self.renewal_due(now) {
            return false;
        }
        self.owes_renewal = false;
        self.published = now;
        true
    }

    fn renewal_due(&self, now: Mono) -> bool {
        self.owes_renewal && self.published.plus_ms(RENEWAL_MS) <= now
    }

    /// When something about this user comes due.
    fn next(&self) -> Mono {
        let run_outs = self.devices.iter().map(|(_, until)| *until);
        let renewal = self
            .owes_renewal
            .then(|| self.published.plus_ms(RENEWAL_MS));
        run_outs.chain(renewal).min().unwrap_or(Mono(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: MemberKey = MemberKey(1);
    const LAPTOP: MemberKey = MemberKey(2);

    fn ann() -> UserId {
        UserId::new("ann").unwrap()
    }

    fn name() -> Arc<str> {
        "Ann".into()
    }

    fn change(is_typing: bool) -> TypingChange {
        TypingChange {
            user: ann(),
            username: name(),
            is_typing,
        }
    }

    fn says(typing: &mut Typing, member: MemberKey, is_typing: bool, at_ms: u64) -> Option<bool> {
        typing.local(member, &ann(), &name(), is_typing, Mono(at_ms))
    }

    fn hears(typing: &mut Typing, is_typing: bool, at_ms: u64) -> Option<bool> {
        typing.heard(&ann(), &name(), is_typing, Mono(at_ms))
    }

    #[test]
    fn who_asks_is_told_of_the_local_users_who_type() {
        let user = UserId::new("ann").unwrap();
        let name: Arc<str> = "Ann".into();
        let mut typing = Typing::default();
        assert_eq!(typing.local_now(), []);
        let _ = typing.local(MemberKey(0), &user, &name, true, Mono(0));
        let change = TypingChange {
            user: user.clone(),
            username: name,
            is_typing: true,
        };
        assert_eq!(typing.local_now(), [change]);
        assert!(typing.gone(MemberKey(0), &user));
        assert_eq!(typing.local_now(), []);
    }

    #[test]
    fn the_first_true_and_the_last_false_are_published_at_once() {
        let mut typing = Typing::default();
        assert_eq!(says(&mut typing, PHONE, true, 0), Some(true));
        assert_eq!(says(&mut typing, LAPTOP, true, 10), None);
        assert_eq!(says(&mut typing, PHONE, false, 20), None);
        assert_eq!(says(&mut typing, LAPTOP, false, 30), Some(false));
        assert_eq!(says(&mut typing, LAPTOP, false, 40), None);
        assert_eq!(says(&mut typing, LAPTOP, true, 50), Some(true));
    }

    #[test]
    fn a_standing_true_is_published_at_most_every_two_seconds() {
        let mut typing = Typing::default();
        let published = (0..=60)
            .filter(|tick| says(&mut typing, PHONE, true, tick * 100).is_some())
            .collect::<Vec<_>>();
        assert_eq!(published, [0, 20, 40, 60]);
    }

    #[test]
    fn a_renewal_that_came_too_early_is_published_when_it_may_be() {
        let mut typing = Typing::default();
        assert_eq!(says(&mut typing, PHONE, true, 0), Some(true));
        assert_eq!(says(&mut typing, PHONE, true, 1_900), None);

        assert_eq!(typing.deadline(), Some(Mono(2_000)));
        assert_eq!(typing.on_deadline(Mono(1_999)), TypingDue::default());
        assert_eq!(typing.on_deadline(Mono(2_000)).publish, [change(true)]);

        assert_eq!(typing.deadline(), Some(Mono(7_900)));
        assert_eq!(typing.on_deadline(Mono(7_900)).publish, [change(false)]);
        assert_eq!(typing.deadline(), None);
    }

    #[test]
    fn a_device_runs_out_six_seconds_after_its_last_true() {
        let mut typing = Typing::default();
        assert_eq!(says(&mut typing, PHONE, true, 0), Some(true));
        assert_eq!(says(&mut typing, LAPTOP, true, 3_000), Some(true));

        assert_eq!(typing.on_deadline(Mono(6_000)), TypingDue::default());
        assert_eq!(typing.on_deadline(Mono(8_999)), TypingDue::default());
        assert_eq!(typing.on_deadline(Mono(9_000)).publish, [change(false)]);
    }

    #[test]
    fn an_ended_connection_publishes_false_only_if_it_was_the_last_that_typed() {
        let mut typing = Typing::default();
        assert!(!typing.gone(PHONE, &ann()));
        assert_eq!(says(&mut typing, PHONE, true, 0), Some(true));
        assert_eq!(says(&mut typing, LAPTOP, true, 0), None);
        assert!(!typing.gone(PHONE, &ann()));
        assert!(!typing.gone(PHONE, &ann()));
        assert!(typing.gone(LAPTOP, &ann()));
    }

    #[test]
    fn only_changes_are_shown() {
        let mut typing = Typing::default();
        assert_eq!(hears(&mut typing, false, 0), None);
        assert_eq!(hears(&mut typing, true, 0), Some(true));
        assert_eq!(hears(&mut typing, true, 2_000), None);
        assert_eq!(hears(&mut typing, false, 2_100), Some(false));
        assert_eq!(hears(&mut typing, false, 2_200), None);
    }

    #[test]
    fn what_is_shown_runs_out_six_seconds_after_the_last_heard_true() {
        let mut typing = Typing::default();
        assert_eq!(hears(&mut typing, true, 0), Some(true));
        assert_eq!(hears(&mut typing, true, 2_000), None);

        assert_eq!(typing.on_deadline(Mono(6_000)), TypingDue::default());
        assert_eq!(typing.deadline(), Some(Mono(8_000)));
        assert_eq!(typing.on_deadline(Mono(8_000)).show, [change(false)]);
        assert_eq!(hears(&mut typing, false, 8_100), None);
    }

    #[test]
    fn what_local_devices_say_is_not_shown_until_it_is_heard() {
        let mut typing = Typing::default();
        let bob = UserId::new("bob").unwrap();
        assert_eq!(says(&mut typing, PHONE, true, 0), Some(true));
        assert_eq!(typing.typing_now(&bob).count(), 0);
        assert_eq!(hears(&mut typing, true, 1), Some(true));
        assert_eq!(typing.typing_now(&bob).count(), 1);
        assert_eq!(typing.typing_now(&ann()).count(), 0);
    }

    #[test]
    fn a_message_ends_typing_without_a_publish() {
        let mut typing = Typing::default();
        assert!(typing.sent(&ann()).is_none());
        assert_eq!(says(&mut typing, PHONE, true, 0), Some(true));
        assert_eq!(says(&mut typing, LAPTOP, true, 1), None);
        assert_eq!(hears(&mut typing, true, 2), Some(true));

        assert!(typing.sent(&ann()).is_some());

        assert!(typing.sent(&ann()).is_none());
        assert_eq!(says(&mut typing, PHONE, false, 10), None);
        assert_eq!(typing.on_deadline(Mono(60_000)), TypingDue::default());
        assert_eq!(says(&mut typing, PHONE, true, 60_000), Some(true));
    }

    #[test]
    fn more_than_the_most_users_are_not_shown() {
        let mut typing = Typing::default();
        for n in 0..SHOWN_MAX {
            let user = UserId::new(&format!("u{n}")).unwrap();
            assert_eq!(typing.heard(&user, &name(), true, Mono(0)), Some(true));
        }
        assert_eq!(hears(&mut typing, true, 0), None);
        assert_eq!(hears(&mut typing, false, 0), None);
        assert_eq!(typing.on_deadline(Mono(6_000)).show.len(), SHOWN_MAX);
    }

    #[test]
    fn a_quiet_room_owns_no_memory() {
        let mut typing = Typing::default();
        assert_eq!(says(&mut typing, PHONE, true, 0), Some(true));
        assert_eq!(hears(&mut typing, true, 0), Some(true));
        let due = typing.on_deadline(Mono(6_000));
        assert_eq!((due.publish.len(), due.show.len()), (1, 1));
        assert!(typing.busy.is_none());
        assert_eq!(size_of::<Typing>(), 8);
    }
}
