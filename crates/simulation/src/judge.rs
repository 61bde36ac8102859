//! The verdict at the end of a run, when everything healed and nothing is under way.

use std::collections::BTreeSet;

use parlance_core::{entry::Entry, ports::History};
use parlance_protocol::{ConversationId, LocalId, Position, UserId};

use crate::{adapter::Handle, client::Client, net::Direct, world::World};

/// What an event is called in all verdicts.
pub(crate) fn name(sender: &UserId, local_id: Option<&LocalId>) -> String {
    format!("{sender}/{}", local_id.map_or("", LocalId::as_str))
}

/// What a client is for the verdict.
pub(crate) struct Witness {
    pub(crate) of: ConversationId,
    pub(crate) is_extended: bool,
    pub(crate) device: usize,
    pub(crate) known: std::rc::Rc<std::cell::RefCell<crate::client::Known>>,
}

impl Witness {
    pub(crate) fn of(device: usize, client: &Client) -> Self {
        Self {
            of: client.of.clone(),
            is_extended: client.is_extended,
            device,
            known: std::rc::Rc::clone(&client.known),
        }
    }
}

/// Whether nobody waits for anything that should come.
pub(crate) fn is_quiet(world: &World, witnesses: &[Witness]) -> bool {
    let rests = |it: &Witness| {
        let known = it.known.borrow();
        known.is_live && known.waiting == 0
    };
    world.redis.borrow().waiting() == 0 && witnesses.iter().all(rests)
}

/// Everything that exists of a conversation by what servers hold now.
async fn history(world: &World, of: &ConversationId) -> Result<Vec<Entry>, String> {
    let redis = world.redis.borrow().clone();
    let store = std::sync::Arc::new(parlance_testkit::store::MemoryStore::default());
    copy_store(world, of, &store).await;
    let direct = Direct::in_run(redis, store, world.call());
    let (net, _feed) = direct.attach();
    let handle = Handle::new(net);
    let replay = handle.replay(of, Position::ZERO, usize::MAX).await;
    let replay = replay.map_err(|error| format!("HISTORY of {of} cannot be read: {error}"))?;
    Ok(replay.events.into_iter().map(|event| event.entry).collect())
}

async fn copy_store(world: &World, of: &ConversationId, to: &parlance_testkit::store::MemoryStore) {
    use parlance_core::store::{Archive, Store};
    let events = world.store.everything(of);
    to.put_events(of, &events).await.expect("it takes all");
    for row in world.store.epochs(of).await.expect("it answers") {
        to.put_epoch(of, row).await.expect("it takes all");
    }
}

/// What is wrong, if anything.
pub(crate) async fn verdict(
    world: &World,
    witnesses: &[Witness],
    may_lose: bool,
) -> Result<(), String> {
    let conversations: BTreeSet<&ConversationId> = witnesses.iter().map(|it| &it.of).collect();
    for of in conversations {
        let entries = history(world, of).await?;
        let named = entries
            .iter()
            .map(|entry| (entry.position, name(&entry.sender, entry.local_id.as_ref())));
        let named: Vec<(Position, String)> = named.collect();
        let mut once = BTreeSet::new();
        for (position, name) in &named {
            world.expose(of, *position, name);
            if !once.insert(name) {
                return Err(format!("DOUBLE {name} stands twice in {of}"));
            }
        }
        for it in witnesses.iter().filter(|it| it.of == *of) {
            let known = it.known.borrow();
            for name in &known.acked {
                if !once.contains(name) && (it.is_extended || !may_lose) {
                    return Err(format!("LOST {name} was acknowledged to c{}", it.device));
                }
            }
            let exists = |(at, _): &(&Position, &String)| {
                it.is_extended || !may_lose || named.iter().any(|(of, _)| of == *at)
            };
            let shown: Vec<(Position, String)> = known
                .view
                .iter()
                .filter(exists)
                .map(|(at, name)| (*at, name.clone()))
                .collect();
            if shown != named {
                let lacks = named.iter().find(|one| !shown.contains(one));
                let extra = shown.iter().find(|one| !named.contains(one));
                return Err(format!(
                    "SILENT c{} lacks {lacks:?} and shows {extra:?}",
                    it.device
                ));
            }
        }
        let stored = world.store.everything(of);
        for (position, _) in &named {
            if !stored.iter().any(|event| event.entry.position == *position) {
                return Err(format!("UNSTORED {position} of {of}"));
            }
        }
    }
    Ok(())
}
